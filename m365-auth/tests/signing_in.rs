//! Every way of signing in, against the simulated identity platform.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::Clock;
use http::Request;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use m365_auth::{
    Audience, AuthorizationOptions, AuthorizedTransport, Body, CachedTokenProvider, CallbackAnswer,
    CallbackAssertion, Certificate, Cloud, ConsentRequest, Credential, Environment, ErrorKind,
    FileAssertion, KeptTokenProvider, LoopbackRedirect, ManagedIdentity, ManagedIdentityEndpoint,
    ManagedIdentityName, MemoryTokenStore, OriginPolicy, Secret, ServiceTransport, SignIn,
    TokenClient, TokenContents, TokenProvider, TokenStore, Transport, UserTokenProvider,
};
use m365_simulator::{Tenant, TenantSpec};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use url::Url;

struct World {
    tenant: Tenant,
    clock: Arc<Clock>,
    transport: Arc<dyn Transport>,
    cloud: Cloud,
}

fn world() -> World {
    let tenant = Tenant::generate(TenantSpec {
        users: 2,
        messages_per_user: 1,
        files_per_user: 0,
        logical_bytes: 10_000,
        ..TenantSpec::default()
    })
    .unwrap();
    let clock = Arc::new(Clock::default());
    let told = Arc::clone(&clock);
    tenant.set_clock(move || told.now());
    let service = tenant.clone();
    let transport = Arc::new(ServiceTransport::new(move |request| {
        let tenant = service.clone();
        async move { tenant.handle(request).await }
    }));
    let urls = tenant.urls().clone();
    let cloud = Cloud::from_urls("simulated", urls.login, urls.graph, urls.ews).unwrap();
    World {
        tenant,
        clock,
        transport,
        cloud,
    }
}

impl World {
    fn graph(&self) -> Audience {
        self.cloud.graph_audience()
    }

    fn ews(&self) -> Audience {
        self.cloud.ews_audience()
    }

    fn client(&self, credential: Credential) -> TokenClient {
        let app = self.tenant.app();
        TokenClient::new(
            Arc::clone(&self.transport),
            &self.cloud,
            &app.tenant_id,
            &app.client_id,
            credential,
            self.clock.clone(),
        )
        .unwrap()
    }

    fn sign_in(&self) -> SignIn {
        let app = self.tenant.app();
        SignIn::new(
            Arc::clone(&self.transport),
            &self.cloud,
            "organizations",
            &app.client_id,
            Credential::public(),
            self.clock.clone(),
        )
        .unwrap()
    }

    fn scopes(&self) -> Vec<String> {
        vec![self.graph().default_scope()]
    }

    fn door(&self, tokens: Arc<dyn TokenProvider>) -> AuthorizedTransport {
        let policy = OriginPolicy::new([&self.cloud.graph]).unwrap();
        AuthorizedTransport::new(Arc::clone(&self.transport), tokens, self.graph(), policy)
    }

    /// Asks Graph for its users and returns the status.
    async fn users(&self, door: &AuthorizedTransport) -> u16 {
        let url = self.cloud.graph.join("v1.0/users").unwrap();
        let request = Request::get(url.as_str()).body(Body::empty()).unwrap();
        door.send(request).await.unwrap().status().as_u16()
    }

    /// Does what a browser does: opens the page and ends where it is sent.
    async fn browse(&self, url: &Url) -> Url {
        let request = Request::get(url.as_str()).body(Body::empty()).unwrap();
        let response = self.transport.send(request).await.unwrap();
        assert_eq!(response.status(), 302, "{url}");
        let target = response.headers()["location"].to_str().unwrap();
        Url::parse(target).unwrap()
    }

    /// Signs the first person in by the paste flow, and keeps the refresh token.
    async fn person(&self, store: Arc<dyn TokenStore>) -> UserTokenProvider {
        let sign_in = self.sign_in();
        let redirect = sign_in.paste_redirect().unwrap();
        let begun = sign_in
            .begin(&redirect, &self.scopes(), &AuthorizationOptions::default())
            .unwrap();
        let end = self.browse(begun.url()).await;
        let answer = CallbackAnswer::from_paste(end.as_str(), &begun).unwrap();
        let signed_in = sign_in.finish(begun, &answer).await.unwrap();
        let person = UserTokenProvider::new(sign_in, store, "adele");
        person.adopt(&signed_in).await.unwrap();
        person
    }
}

struct Signer {
    pem: String,
    certificate: String,
    key: KeyPair,
}

fn signer() -> Signer {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let certificate = CertificateParams::default()
        .self_signed(&key)
        .unwrap()
        .pem();
    Signer {
        pem: format!("{}{certificate}", key.serialize_pem()),
        certificate,
        key,
    }
}

#[tokio::test]
async fn an_application_signs_in_by_secret_and_by_certificate() {
    let world = world();
    let secret = Credential::secret(world.tenant.app().client_secret);
    let token = world.client(secret).token(&world.graph()).await.unwrap();
    let contents = TokenContents::of(&token).unwrap();
    assert!(contents.permits("Mail.ReadWrite") && !contents.permits("Mail.Send"));
    assert_eq!(
        contents.client_id(),
        Some(world.tenant.app().client_id.as_str())
    );
    assert_eq!(contents.expires_at(), Some(token.expires_at()));

    let signer = signer();
    let certificate = Certificate::from_pem(signer.pem.as_bytes()).unwrap();
    let client = world.client(Credential::certificate(certificate.clone()));
    let error = client.token(&world.graph()).await.unwrap_err();
    assert_eq!(error.service_code(), Some("AADSTS700027"));
    assert!(
        error
            .next_step()
            .unwrap()
            .contains("register the certificate")
    );
    let thumbprint = world
        .tenant
        .register_certificate(&signer.certificate)
        .unwrap();
    assert_eq!(certificate.thumbprint(), thumbprint);
    for audience in [world.graph(), world.ews()] {
        client.token(&audience).await.unwrap();
    }
    let legacy = Credential::certificate(certificate.with_legacy_signature());
    world.client(legacy).token(&world.graph()).await.unwrap();
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_named() {
    let world = world();
    let signer = signer();
    world
        .tenant
        .register_certificate(&signer.certificate)
        .unwrap();
    let certificate = Certificate::from_pem(signer.pem.as_bytes()).unwrap();
    let clock = Arc::clone(&world.clock);
    world
        .tenant
        .set_clock(move || clock.now() + Duration::from_secs(7_200));
    let client = world.client(Credential::certificate(certificate));
    let error = client.token(&world.graph()).await.unwrap_err();
    assert_eq!(error.service_code(), Some("AADSTS700024"));
    let text = error.to_string();
    assert!(text.contains("120 minutes behind"), "{text}");
}

#[tokio::test]
async fn a_federated_token_opens_when_issuer_subject_and_audience_fit() {
    let world = world();
    let signer = signer();
    let now = world
        .clock
        .now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let key = EncodingKey::from_rsa_pem(signer.key.serialize_pem().as_bytes()).unwrap();
    let token = |subject: &str| {
        let claims = serde_json::json!({
            "iss": "https://oidc.example/", "sub": subject,
            "aud": "api://AzureADTokenExchange", "exp": now + 600,
        });
        jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &key).unwrap()
    };
    let public = signer.key.public_key_pem();
    world.tenant.trust_federation(
        "https://oidc.example/",
        "system:serviceaccount:backup:worker",
        "api://AzureADTokenExchange",
        &public,
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, token("somebody else")).unwrap();
    let client = world.client(Credential::federated(Arc::new(FileAssertion::new(&path))));
    let error = client.token(&world.graph()).await.unwrap_err();
    assert_eq!(error.service_code(), Some("AADSTS700213"));
    // The platform rotates the file; it is read anew.
    let good = token("system:serviceaccount:backup:worker");
    std::fs::write(&path, format!("{good}\n")).unwrap();
    client.token(&world.graph()).await.unwrap();

    let callback = CallbackAssertion::new(move || {
        let good = Secret::new(good.clone());
        async move { Ok(good) }
    });
    let client = world.client(Credential::federated(Arc::new(callback)));
    client.token(&world.graph()).await.unwrap();

    std::fs::write(&path, "  ").unwrap();
    let client = world.client(Credential::federated(Arc::new(FileAssertion::new(&path))));
    let error = client.token(&world.graph()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
}

#[tokio::test]
async fn the_machine_gives_tokens_of_its_identities() {
    let world = world();
    let ask = |endpoint, name| {
        let (transport, clock) = (Arc::clone(&world.transport), world.clock.clone());
        ManagedIdentity::new(transport, endpoint, name, clock).unwrap()
    };
    let login = &world.cloud.authority;
    let machine = || {
        let url = login.join("metadata/identity/oauth2/token").unwrap();
        ManagedIdentityEndpoint::LikeVirtualMachine(url)
    };
    let own = ask(machine(), ManagedIdentityName::SystemAssigned);
    let token = own.token(&world.graph()).await.unwrap();
    let lifetime = token
        .expires_at()
        .duration_since(world.clock.now())
        .unwrap();
    assert_eq!(lifetime.as_secs(), 3_599, "written as a string");

    let name = || ManagedIdentityName::ClientId("id-1".to_owned());
    let error = ask(machine(), name())
        .token(&world.graph())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CredentialRefused);
    world.tenant.assign_identity("id-1");
    ask(machine(), name()).token(&world.graph()).await.unwrap();

    let service = |header: String| ManagedIdentityEndpoint::AppService {
        url: login.join("msi/token").unwrap(),
        header: Secret::new(header),
    };
    let good = ask(service(world.tenant.identity_header()), name());
    good.token(&world.ews()).await.unwrap();
    let bad = ask(service("guess".to_owned()), name());
    let error = bad.token(&world.graph()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CredentialRefused);

    let far = Url::parse("http://metadata.example/").unwrap();
    let endpoint = ManagedIdentityEndpoint::LikeVirtualMachine(far);
    let (transport, clock) = (Arc::clone(&world.transport), world.clock.clone());
    assert!(ManagedIdentity::new(transport, endpoint, name(), clock).is_err());
}

#[tokio::test]
async fn a_person_pastes_the_address_or_the_code() {
    let world = world();
    let sign_in = world.sign_in();
    let redirect = sign_in.paste_redirect().unwrap();
    for whole in [true, false] {
        let mut options = AuthorizationOptions::default();
        options.login_hint = Some(world.tenant.users()[1].principal_name.clone());
        let begun = sign_in.begin(&redirect, &world.scopes(), &options).unwrap();
        let end = world.browse(begun.url()).await;
        let pasted = if whole {
            // Terminals break long lines.
            let (first, second) = end.as_str().split_at(60);
            format!("  {first}\n  {second}\n")
        } else {
            let mut pairs = end.query_pairs();
            pairs
                .find(|(name, _)| name == "code")
                .unwrap()
                .1
                .into_owned()
        };
        let answer = CallbackAnswer::from_paste(&pasted, &begun).unwrap();
        let signed_in = sign_in.finish(begun, &answer).await.unwrap();
        assert!(signed_in.refresh().is_some());
        let contents = TokenContents::of(signed_in.access()).unwrap();
        assert!(contents.permits("Mail.ReadWrite"), "{contents:?}");
    }
}

#[tokio::test]
async fn answers_of_other_sign_ins_are_not_taken() {
    let world = world();
    let sign_in = world.sign_in();
    let redirect = sign_in.paste_redirect().unwrap();
    let begin = || {
        let options = AuthorizationOptions::default();
        sign_in.begin(&redirect, &world.scopes(), &options).unwrap()
    };
    let (one, other) = (begin(), begin());
    let end = world.browse(other.url()).await;
    let kind = |text: &str| CallbackAnswer::from_paste(text, &one).unwrap_err().kind();
    assert_eq!(kind(end.as_str()), ErrorKind::AnswerRefused);
    assert_eq!(kind(end.query().unwrap()), ErrorKind::AnswerRefused);
    assert_eq!(
        kind("https://evil.example/?code=x&state=y"),
        ErrorKind::AnswerRefused
    );
    let own = world.browse(one.url()).await;
    let twice = format!("{own}&state=x");
    assert_eq!(kind(&twice), ErrorKind::Malformed);
    for nothing in ["", " \n", "https://", &redirect, &"x".repeat(20_000)] {
        assert_eq!(kind(nothing), ErrorKind::Malformed, "{nothing}");
    }
    world.tenant.set_people_decline(true);
    let declined = world.browse(one.url()).await;
    let error = CallbackAnswer::from_paste(declined.as_str(), &one).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InteractionNeeded);
    assert_eq!(error.service_code(), Some("AADSTS65004"));
    // A code belongs to the verifier with which it was asked for.
    world.tenant.set_people_decline(false);
    let stolen = CallbackAnswer::from_paste(end.as_str(), &other).unwrap();
    let error = sign_in.finish(one, &stolen).await.unwrap_err();
    assert_eq!(error.service_code(), Some("AADSTS501481"));
}

#[tokio::test]
async fn a_browser_on_this_machine_brings_the_code_itself() {
    let world = world();
    let sign_in = world.sign_in();
    let listening = LoopbackRedirect::bind().await.unwrap();
    let options = AuthorizationOptions::default();
    let begun = sign_in
        .begin(&listening.uri(), &world.scopes(), &options)
        .unwrap();
    let end = world.browse(begun.url()).await;
    let address = format!("127.0.0.1:{}", end.port().unwrap());
    let visit = async |path: &str| {
        let mut browser = tokio::net::TcpStream::connect(&address).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        browser.write_all(head.as_bytes()).await.unwrap();
        let mut page = String::new();
        browser.read_to_string(&mut page).await.unwrap();
        page
    };
    let browser = async {
        // A silent guest holds nobody up.
        let _silent = tokio::net::TcpStream::connect(&address).await.unwrap();
        assert!(visit("/favicon.ico").await.starts_with("HTTP/1.1 404"));
        assert!(
            visit("/?code=guess&state=guess")
                .await
                .starts_with("HTTP/1.1 404")
        );
        let target = format!("{}?{}", end.path(), end.query().unwrap());
        assert!(visit(&target).await.contains("You are signed in"));
    };
    let (answer, ()) = tokio::join!(listening.wait(&begun), browser);
    let signed_in = sign_in.finish(begun, &answer.unwrap()).await.unwrap();
    assert!(TokenContents::of(signed_in.access()).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_device_waits_at_the_interval_and_slows_down_when_told() {
    let world = world();
    let sign_in = world.sign_in();
    // The tenant's clock follows the paused one.
    let started = tokio::time::Instant::now();
    let clock = Arc::clone(&world.clock);
    world
        .tenant
        .set_clock(move || clock.now() + started.elapsed());
    world.tenant.set_device_patience(3);
    let device = sign_in.begin_device(&world.scopes()).await.unwrap();
    assert!(device.message().contains(device.user_code()));
    let signed_in = sign_in.wait_for_device(&device).await.unwrap();
    assert!(signed_in.refresh().is_some());
    assert_eq!(
        started.elapsed().as_secs(),
        20,
        "four questions, five seconds apart"
    );
    assert!(!format!("{device:?}").contains(device.user_code()));

    world.tenant.set_people_decline(true);
    let device = sign_in.begin_device(&world.scopes()).await.unwrap();
    let error = sign_in.wait_for_device(&device).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InteractionNeeded);

    world.tenant.set_people_decline(false);
    world.tenant.set_device_patience(u32::MAX);
    let device = sign_in.begin_device(&world.scopes()).await.unwrap();
    let name = world.tenant.users()[1].principal_name.clone();
    let (signed_in, ()) = tokio::join!(sign_in.wait_for_device(&device), async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(world.tenant.type_device_code(device.user_code(), &name));
    });
    signed_in.unwrap();

    let device = sign_in.begin_device(&world.scopes()).await.unwrap();
    let quick = sign_in.ask_for_device(&device).await.unwrap().unwrap_err();
    assert_eq!(quick, m365_auth::DevicePoll::Pending);
    let quick = sign_in.ask_for_device(&device).await.unwrap().unwrap_err();
    assert_eq!(quick, m365_auth::DevicePoll::SlowDown);
    // The program's own clock stands, the service's runs on: its word ends the wait.
    let error = sign_in.wait_for_device(&device).await.unwrap_err();
    assert_eq!(error.service_code(), Some("AADSTS70020"));
}

#[tokio::test]
async fn every_refresh_token_that_comes_is_kept() {
    let world = world();
    world.tenant.set_single_use_refresh(true);
    let store = Arc::new(MemoryTokenStore::new());
    let person = Arc::new(world.person(store.clone()).await);
    for audience in [world.graph(), world.ews(), world.graph()] {
        let token = person.token(&audience).await.unwrap();
        let contents = TokenContents::of(&token).unwrap();
        assert_eq!(contents.audience(), Some(audience.as_str()));
    }
    // However many ask at once, each renewal uses the token that the last one gave.
    let (graph, ews) = (world.graph(), world.ews());
    let (one, other) = tokio::join!(person.token(&graph), person.token(&ews));
    assert!(one.is_ok() && other.is_ok());
    let door = world.door(person.clone());
    assert_eq!(world.users(&door).await, 200);
    world.tenant.revoke_sessions();
    let error = person.token(&world.graph()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InteractionNeeded);
    assert_eq!(error.service_code(), Some("AADSTS50173"));
    person.forget().await.unwrap();
    let error = person.token(&world.graph()).await.unwrap_err();
    assert_eq!(error.to_string(), "nobody has signed in yet");
}

#[tokio::test]
async fn a_challenge_is_answered_with_the_claims_it_names() {
    let world = world();
    let secret = Credential::secret(world.tenant.app().client_secret);
    let client = world
        .client(secret.clone())
        .with_continuous_access_evaluation();
    let tokens = Arc::new(CachedTokenProvider::new(
        Arc::new(client),
        world.clock.clone(),
    ));
    let door = world.door(tokens.clone());
    assert_eq!(world.users(&door).await, 200);
    world.clock.advance(Duration::from_secs(10));
    world.tenant.raise_security_event();
    world.tenant.reset_counters();
    assert_eq!(world.users(&door).await, 200);
    assert_eq!(
        world.tenant.counters().billed(),
        3,
        "refused, a token, once more"
    );
    assert_eq!(world.users(&door).await, 200);
    // A client that does not answer challenges is not challenged.
    let deaf = world.client(secret);
    let deaf = world.door(Arc::new(CachedTokenProvider::new(
        Arc::new(deaf),
        world.clock.clone(),
    )));
    assert_eq!(world.users(&deaf).await, 200);
    let token = tokens.token(&world.graph()).await.unwrap();
    assert!(TokenContents::of(&token).unwrap().answers_challenges());
}

#[tokio::test]
async fn kept_tokens_outlive_the_program() {
    let world = world();
    let store: Arc<dyn TokenStore> = Arc::new(MemoryTokenStore::new());
    let program = || {
        let secret = Credential::secret(world.tenant.app().client_secret);
        let (client, store) = (Arc::new(world.client(secret)), Arc::clone(&store));
        KeptTokenProvider::new(client, store, "contoso app", world.clock.clone())
    };
    let first = program().token(&world.graph()).await.unwrap();
    assert_eq!(program().token(&world.graph()).await.unwrap(), first);
    assert_ne!(program().token(&world.ews()).await.unwrap(), first);
    program().invalidate(&world.graph(), &first).await;
    let second = program().token(&world.graph()).await.unwrap();
    assert_ne!(second, first);
    // A late report of the first token does not cost the second.
    program().invalidate(&world.graph(), &first).await;
    assert_eq!(program().token(&world.graph()).await.unwrap(), second);
    world.clock.advance(Duration::from_secs(3_300));
    assert_ne!(program().token(&world.graph()).await.unwrap(), second);
}

#[tokio::test]
async fn an_administrator_consents_or_declines() {
    let world = world();
    let app = world.tenant.app();
    let request = || {
        let scope = world.graph().default_scope();
        let (id, client) = (&app.tenant_id, &app.client_id);
        ConsentRequest::new(&world.cloud, id, client, &scope, "http://localhost/", "s").unwrap()
    };
    let end = world.browse(request().url()).await;
    let consent = request().answer(end.as_str()).unwrap();
    assert_eq!(consent.tenant(), Some(app.tenant_id.as_str()));
    world.tenant.set_people_decline(true);
    let end = world.browse(request().url()).await;
    let error = request().answer(end.as_str()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InteractionNeeded);
}
