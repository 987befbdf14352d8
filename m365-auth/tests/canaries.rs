//! Secrets planted everywhere; no log, error, `Debug`, panic or recording shows one.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod common;

use std::error::Error as StdError;
use std::fmt::{Debug, Write as _};
use std::io;
use std::sync::{Arc, Mutex, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use common::{Clock, answer, service};
use http::{Request, Response};
use m365_auth::{
    AuthorizationOptions, AuthorizedTransport, BasicCredential, Body, CachedTokenProvider,
    CallbackAnswer, CallbackAssertion, Certificate, Cloud, CountingTransport, Credential, Error,
    KeptTokenProvider, ManagedIdentity, ManagedIdentityEndpoint, ManagedIdentityName,
    MemoryTokenStore, OriginPolicy, Recording, RecordingTransport, ReplayTransport,
    SealedTokenFile, Secret, SignIn, TokenClient, TokenProvider, TokenStore, Transport,
    UserTokenProvider,
};
use url::Url;

/// What every planted secret holds.
const CANARY: &str = "canary7f3a";

/// Takes everything that is logged, at every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Everything that anyone could read.
#[derive(Default)]
struct Outputs {
    text: String,
    errors: usize,
}

impl Outputs {
    fn show(&mut self, value: &dyn Debug) {
        writeln!(self.text, "{value:?}\n{value:#?}").unwrap();
    }

    fn fail<T: Debug>(&mut self, result: Result<T, Error>) {
        match result {
            Ok(value) => self.show(&value),
            Err(error) => {
                self.errors += 1;
                self.show(&error);
                let mut next: Option<&dyn StdError> = Some(&error);
                while let Some(cause) = next {
                    writeln!(self.text, "{cause} {cause:?}").unwrap();
                    next = cause.source();
                }
                // What a panic would print.
                let broken = std::panic::AssertUnwindSafe(error);
                let panic = std::panic::catch_unwind(|| {
                    let whole = broken;
                    panic!("{:?}", whole.0);
                });
                let message = panic.unwrap_err();
                let message = message.downcast_ref::<String>().unwrap();
                self.text.push_str(message);
            }
        }
    }
}

/// Answers as every service does at once, with secrets wherever there is room.
fn respond(request: &Request<Bytes>) -> Response<Bytes> {
    let path = request.uri().path();
    let form = String::from_utf8_lossy(request.body()).into_owned();
    let mut response = if path.ends_with("/devicecode") {
        answer(
            200,
            &format!(
                r#"{{"device_code":"{CANARY}","user_code":"{CANARY}","expires_in":900,"interval":1,
                "verification_uri":"https://login.example/{CANARY}","message":"{CANARY}"}}"#
            ),
        )
    } else if path.contains("bad") || form.contains("bad") {
        answer(
            400,
            &format!(
                r#"{{"error":"invalid_grant","error_description":"AADSTS50173: {CANARY}\r\n{CANARY}",
                "error_codes":[1],"claims":"{CANARY}","{CANARY}":"{CANARY}"}}"#
            ),
        )
    } else if path.contains("html") || form.contains("html") {
        answer(200, &format!("<html>{CANARY}</html>"))
    } else if path.contains("token") {
        answer(
            200,
            &format!(
                r#"{{"token_type":"Bearer","expires_in":3600,"access_token":"{CANARY}.access",
                "refresh_token":"{CANARY}.refresh","id_token":"{CANARY}","scope":"x y"}}"#
            ),
        )
    } else if path.contains("redirect") {
        answer(302, CANARY)
    } else {
        answer(
            401,
            &format!(
                r#"{{"id":"{CANARY}","size":7,"{CANARY}":{{"code":"{CANARY}"}},"value":[{{
                "subject":"{CANARY}","@odata.nextLink":"https://x.example/{CANARY}?a={CANARY}",
                "receivedDateTime":"2026-01-01T00:00:00Z{CANARY}","n":5551234567}}]}}"#
            ),
        )
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (
            "location",
            format!("https://x.example/{CANARY}?tempauth={CANARY}"),
        ),
        ("set-cookie", CANARY.to_owned()),
        (
            "www-authenticate",
            format!("Bearer realm=\"{CANARY}\", error=\"{CANARY}\""),
        ),
        ("x-canary", CANARY.to_owned()),
        ("etag", CANARY.to_owned()),
    ] {
        headers.insert(name, value.parse().unwrap());
    }
    response
}

/// Leaves of an answer what is ours to show: the headers are the service's.
fn status(response: Response<Body>) -> u16 {
    response.status().as_u16()
}

fn ask(method: &str, url: &str) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(url)
        .header("cookie", CANARY)
        .header("authorization", format!("Bearer {CANARY}"))
        .header("x-canary", CANARY)
        .header("content-type", "application/json")
        .body(format!(r#"{{"{CANARY}":"{CANARY}","subject":"{CANARY}"}}"#).into())
        .unwrap()
}

async fn sign_in(transport: &Arc<dyn Transport>, clock: &Arc<Clock>, out: &mut Outputs) {
    let cloud = Cloud::global();
    let store = Arc::new(MemoryTokenStore::new());
    let sign_in = |tenant: &str| {
        let (transport, clock) = (Arc::clone(transport), clock.clone());
        SignIn::new(
            transport,
            &cloud,
            tenant,
            "app",
            Credential::public(),
            clock,
        )
        .unwrap()
    };
    for tenant in ["good", "bad", "html"] {
        let sign_in = sign_in(tenant);
        let redirect = sign_in.paste_redirect().unwrap();
        let mut options = AuthorizationOptions::default();
        options.login_hint = Some(CANARY.to_owned());
        let begin = || {
            sign_in
                .begin(&redirect, &[CANARY.to_owned()], &options)
                .unwrap()
        };
        for pasted in [
            format!("{redirect}?code={CANARY}&state={CANARY}"),
            format!("{redirect}?code={CANARY}#{CANARY}"),
            format!("https://{CANARY}.example/?code={CANARY}"),
            format!("https://[{CANARY}"),
            format!("error={CANARY}&state={CANARY}&error_description={CANARY}"),
        ] {
            out.fail(CallbackAnswer::from_paste(&pasted, &begin()));
        }
        let begun = begin();
        let state = begun.url().query_pairs().find(|(name, _)| name == "state");
        let state = state.unwrap().1.into_owned();
        let refused = format!("error=x&error_description={CANARY}&state={state}");
        out.fail(CallbackAnswer::from_paste(&refused, &begun));
        let code = CallbackAnswer::from_paste(CANARY, &begun).unwrap();
        out.show(&(&begun, &code));
        let signed_in = sign_in.finish(begun, &code).await;
        let device = sign_in.begin_device(&["x".to_owned()]).await;
        if let Ok(device) = &device {
            out.fail(sign_in.ask_for_device(device).await);
        }
        out.fail(device);
        let person = UserTokenProvider::new(sign_in, store.clone(), CANARY);
        if let Ok(signed_in) = &signed_in {
            person.adopt(signed_in).await.unwrap();
        }
        out.fail(signed_in);
        out.fail(person.token(&cloud.graph_audience()).await);
        out.show(&person);
    }
}

async fn applications(transport: &Arc<dyn Transport>, clock: &Arc<Clock>, out: &mut Outputs) {
    let cloud = Cloud::global();
    let graph = cloud.graph_audience();
    let federated = || {
        let source = CallbackAssertion::new(|| async { Ok(Secret::new(CANARY)) });
        Credential::federated(Arc::new(source))
    };
    let certified = || {
        let certificate = Certificate::from_pem(key_pair().as_bytes()).unwrap();
        Credential::certificate(certificate)
    };
    for tenant in ["good", "bad", "html"] {
        let mut credentials = vec![Credential::secret(CANARY), federated()];
        // What a refusal says is told unless it repeats what was sent: no canary is, here.
        if tenant != "bad" {
            credentials.push(certified());
        }
        for credential in credentials {
            out.show(&credential);
            let client = TokenClient::new(
                Arc::clone(transport),
                &cloud,
                tenant,
                "app",
                credential,
                clock.clone(),
            )
            .unwrap();
            let client = Arc::new(client);
            let store: Arc<dyn TokenStore> = Arc::new(MemoryTokenStore::new());
            let kept = KeptTokenProvider::new(client.clone(), store, CANARY, clock.clone());
            let cached = Arc::new(CachedTokenProvider::new(Arc::new(kept), clock.clone()));
            out.fail(cached.token(&graph).await);
            out.show(&(&client, &cached));
            let policy = OriginPolicy::new([&cloud.graph]).unwrap();
            let (inner, graph) = (Arc::clone(transport), graph.clone());
            let door = AuthorizedTransport::new(inner, cached, graph, policy);
            for path in [CANARY, "redirect", "bad", "html"] {
                let url = format!("https://graph.microsoft.com/v1.0/{path}?$search={CANARY}");
                out.fail(door.send(ask("GET", &url)).await.map(status));
                out.fail(door.send_following(ask("GET", &url)).await.map(status));
                let stranger = format!("http://{CANARY}.example/{CANARY}");
                let url = Url::parse(&format!("https://x.example/{CANARY}?t={CANARY}")).unwrap();
                out.fail(door.check(&url));
                out.fail(
                    door.send_preauthenticated(ask("PUT", url.as_str()))
                        .await
                        .map(status),
                );
                let refused = door
                    .send_preauthenticated(ask("GET", &stranger))
                    .await
                    .map(status);
                // The host is named: whoever reads the error must learn where it leads.
                let shown = refused
                    .unwrap_err()
                    .to_string()
                    .replace(&format!("//{CANARY}"), "");
                out.show(&shown);
            }
            out.show(&door);
        }
    }
    let mail = Url::parse("https://mail.contoso.example/EWS/Exchange.asmx").unwrap();
    let password = BasicCredential::new(CANARY, &CANARY.into()).unwrap();
    out.show(&password);
    let policy = OriginPolicy::new([&mail]).unwrap();
    let door = AuthorizedTransport::with_password(Arc::clone(transport), password, policy);
    let door = door.unwrap();
    out.show(&door);
    out.fail(door.send(ask("POST", mail.as_str())).await.map(status));
    out.fail(BasicCredential::new(CANARY, &format!("{CANARY}\n").into()));
    out.fail(BasicCredential::new(&format!("{CANARY}:"), &CANARY.into()));
    let endpoint = ManagedIdentityEndpoint::AppService {
        url: Url::parse(&format!("https://localhost/{CANARY}/token")).unwrap(),
        header: Secret::new(CANARY),
    };
    let name = ManagedIdentityName::SystemAssigned;
    let machine = ManagedIdentity::new(Arc::clone(transport), endpoint, name, clock.clone());
    let machine = machine.unwrap();
    out.fail(machine.token(&graph).await);
    out.show(&machine);
    for pem in [
        CANARY.to_owned(),
        format!("-----BEGIN CERTIFICATE-----\n{CANARY}\n-----END CERTIFICATE-----"),
        format!("-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----"),
    ] {
        out.fail(Certificate::from_pem(pem.as_bytes()));
    }
    let folder = tempfile::tempdir().unwrap();
    let file = SealedTokenFile::new(folder.path().join("t"), [7; 32], clock.clone());
    file.save(CANARY, &CANARY.into()).await.unwrap();
    out.show(&file);
    std::fs::write(folder.path().join("t"), format!("M365TOK1{CANARY}")).unwrap();
    out.fail(file.load(CANARY).await);
}

/// A certificate with its key, both PEM, made once.
fn key_pair() -> &'static str {
    static MADE: OnceLock<String> = OnceLock::new();
    MADE.get_or_init(|| {
        let made = m365_simulator::server::tls::Credential::generate().unwrap();
        made.certificate + &made.key
    })
}

/// Everything that may be in no output: what was planted, the key, and what was signed with it.
fn secrets(seen: &[Request<Bytes>]) -> Vec<String> {
    let mut secrets = vec![CANARY.to_owned()];
    let (_, key) = key_pair().split_once("PRIVATE KEY").unwrap();
    secrets.push(key.lines().nth(1).unwrap().to_owned());
    for request in seen {
        let form = String::from_utf8_lossy(request.body()).into_owned();
        let assertion = form
            .split('&')
            .find_map(|pair| pair.strip_prefix("client_assertion="));
        secrets.extend(assertion.filter(|text| text.len() > 100).map(str::to_owned));
    }
    // What a name and a password become in a header.
    secrets.push(STANDARD.encode(format!("{CANARY}:{CANARY}")));
    secrets
}

#[test]
fn no_output_shows_a_secret() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let mut out = Outputs::default();
    // The panics below are meant, and their messages are searched.
    std::panic::set_hook(Box::new(|_| {}));
    let (recording, traffic, seen) = tracing::subscriber::with_default(subscriber, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let clock = Arc::new(Clock::default());
            let (inner, seen) = service(respond);
            let recorder = Arc::new(RecordingTransport::new(inner));
            let counter = Arc::new(CountingTransport::new(recorder.clone()));
            let transport: Arc<dyn Transport> = counter.clone();
            sign_in(&transport, &clock, &mut out).await;
            applications(&transport, &clock, &mut out).await;
            let replay = ReplayTransport::new(&Recording::default());
            let url = format!("https://graph.microsoft.com/{CANARY}?x={CANARY}");
            out.fail(replay.send(ask("GET", &url)).await.map(status));
            out.show(&(&recorder, &counter, &replay));
            (recorder.recording(), counter.traffic(), seen)
        })
    });
    drop(std::panic::take_hook());
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let recording = recording.to_text();
    // The net was wide: secrets went out and came in, and everything was written.
    let sent = format!("{:?}", seen.lock().unwrap());
    assert!(
        sent.matches(CANARY).count() > 100 && out.errors > 30,
        "{}",
        out.errors
    );
    assert!(log.contains("answered") && log.len() > 10_000);
    assert!(recording.contains("client_secret=") && traffic.requests > 50);
    let secrets = secrets(&seen.lock().unwrap());
    assert!(secrets.len() > 3, "assertions were signed");
    let outputs = [
        ("log", &log),
        ("output", &out.text),
        ("recording", &recording),
    ];
    let pairs = outputs
        .iter()
        .flat_map(|output| secrets.iter().map(move |secret| (output, secret)));
    for ((name, text), secret) in pairs {
        if let Some(place) = text.find(secret) {
            let from = text.floor_char_boundary(place.saturating_sub(300));
            let until = text.ceil_char_boundary((place + 100).min(text.len()));
            panic!("the {name} shows a secret: …{}…", &text[from..until]);
        }
    }
}

/// Speaks to the simulated tenant as in the worldwide cloud: by a proxy that takes a password, over
/// TLS, with a secret, a token of each audience, and a password for Exchange.
#[cfg(feature = "reqwest")]
async fn speak(server: &m365_simulator::Server, ca: String) -> Vec<String> {
    use m365_auth::{Proxy, ReqwestTransport, TransportOptions};

    let (tenant, app) = (server.tenant(), server.tenant().app());
    let cloud = Cloud::global();
    let mut options = TransportOptions::default();
    options.extra_roots_pem.push(ca.into_bytes());
    options.proxy = Proxy::Server {
        url: format!("http://{}", server.proxy().unwrap()),
        credentials: Some(("u".to_owned(), CANARY.into())),
        bypass: Vec::new(),
    };
    let transport: Arc<dyn Transport> = Arc::new(ReqwestTransport::new(&options).unwrap());
    let client = TokenClient::client_secret(
        transport.clone(),
        &cloud,
        "contoso.example",
        &app.client_id,
        app.client_secret.as_str().into(),
        Arc::new(m365_auth::SystemEnvironment),
    );
    let client = Arc::new(client.unwrap());
    let site = Url::parse("https://contoso.sharepoint.com").unwrap();
    let audiences = [
        (cloud.graph_audience(), cloud.graph.clone()),
        (cloud.ews_audience(), cloud.ews.clone()),
        (cloud.sharepoint_audience(&site).unwrap(), site),
    ];
    for (audience, origin) in audiences {
        let policy = OriginPolicy::new([&origin]).unwrap();
        let door = AuthorizedTransport::new(transport.clone(), client.clone(), audience, policy);
        let url = origin.join(&format!("/v1.0/users/{CANARY}?$search={CANARY}"));
        let request = Request::get(url.unwrap().as_str()).body(Body::empty());
        let status = door.send(request.unwrap()).await.unwrap().status();
        assert!(status.is_client_error(), "{origin}: {status}");
    }
    let user = tenant.users()[0].principal_name.clone();
    tenant.take_ews_passwords(&user);
    let password = tenant.password(&user).unwrap();
    let credential = BasicCredential::new(&user, &password.as_str().into()).unwrap();
    let policy = OriginPolicy::new([&cloud.ews]).unwrap();
    let door = AuthorizedTransport::with_password(transport, credential, policy).unwrap();
    let request = Request::post(cloud.ews.as_str()).body(CANARY.into());
    assert_eq!(
        door.send(request.unwrap()).await.unwrap().status(),
        500,
        "no soap"
    );
    let mut secrets = tenant.secrets_given();
    assert!(secrets.len() >= 3, "a token for each audience");
    let pairs = [format!("u:{CANARY}"), format!("{user}:{password}")];
    secrets.extend(pairs.map(|pair| STANDARD.encode(pair)));
    secrets.extend([app.client_secret, password, CANARY.to_owned()]);
    secrets
}

#[cfg(feature = "reqwest")]
#[test]
fn the_network_stack_logs_no_secret_either() {
    use m365_simulator::server::tls::Identity;
    use m365_simulator::{Server, Tenant, TenantSpec};

    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let secrets = tracing::subscriber::with_default(subscriber, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let identity = Identity::generate().unwrap();
            let spec = TenantSpec {
                users: 1,
                messages_per_user: 1,
                files_per_user: 0,
                logical_bytes: 10_000,
                ..TenantSpec::default()
            };
            let tenant = Tenant::generate(spec).unwrap();
            let server = Server::start_tls(tenant, &identity).await.unwrap();
            speak(&server, identity.ca_pem().to_owned()).await
        })
    });
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("answered"), "{log}");
    println!(
        "{} secrets, {} bytes of log searched",
        secrets.len(),
        log.len()
    );
    for secret in secrets {
        let place = log.find(&secret);
        assert_eq!(
            place,
            None,
            "{}",
            &log[place.unwrap_or(0).saturating_sub(300)..]
        );
    }
}
