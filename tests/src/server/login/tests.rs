//! Signing in: with a secret, with a certificate, and in all the ways that fail.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Request;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};

use crate::server::testing::{Client, login};
use crate::tenant::Tenant;

/// Returns the time by which the tenant judges.
fn now(tenant: &Tenant) -> SystemTime {
    (tenant.lock().clock)()
}

fn form(tenant: &Tenant, changes: &[(&str, &str)]) -> String {
    let app = tenant.app();
    let scope = format!("{}.default", tenant.urls().graph);
    let mut fields = vec![
        ("grant_type", "client_credentials"),
        ("client_id", &app.client_id),
        ("client_secret", &app.client_secret),
        ("scope", &scope),
    ];
    for change in changes {
        fields.retain(|(name, _)| *name != change.0);
        fields.push(*change);
    }
    let pairs: Vec<String> = fields
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}={}", value.replace('+', "%2B").replace('&', "%26")))
        .collect();
    pairs.join("&")
}

async fn refused(tenant: &Tenant, changes: &[(&str, &str)]) -> (u16, u64) {
    let (status, answer) = login(tenant, "contoso.example", form(tenant, changes)).await;
    (status, answer["error_codes"][0].as_u64().unwrap_or(0))
}

#[tokio::test]
async fn a_tenant_of_another_cloud_is_sent_there() {
    let tenant = Tenant::empty(1);
    for name in ["contoso.onmicrosoft.us", "Contoso.partner.onmschina.cn"] {
        let (status, answer) = login(&tenant, name, form(&tenant, &[])).await;
        let number = &answer["error_codes"][0];
        assert_eq!((status, number), (400, &json!(90_038)), "{name}");
    }
}

#[tokio::test]
async fn every_wrong_field_has_its_code() {
    let tenant = Tenant::empty(1);
    let graph = format!("{0}.default {0}.default", tenant.urls().graph);
    let check = async |changes: &[(&str, &str)], status: u16, code: u64| {
        assert_eq!(
            refused(&tenant, changes).await,
            (status, code),
            "{changes:?}"
        );
    };
    check(&[], 200, 0).await;
    check(&[("client_secret", "wrong")], 401, 7_000_215).await;
    check(&[("client_secret", "")], 401, 7_000_218).await;
    check(&[("client_id", "nobody")], 400, 700_016).await;
    check(&[("grant_type", "implicit")], 400, 70_003).await;
    check(&[("grant_type", "")], 400, 900_144).await;
    check(&[("scope", &graph)], 400, 70_011).await;
    check(
        &[("scope", "https://elsewhere.example/.default")],
        400,
        500_011,
    )
    .await;
    let (status, answer) = login(&tenant, "fabrikam.example", form(&tenant, &[])).await;
    assert_eq!((status, &answer["error_codes"][0]), (400, &json!(90_002)));
    let text = answer["error_description"].as_str().expect("text");
    assert!(text.starts_with("AADSTS90002: "), "{text}");
}

#[tokio::test]
async fn basic_authentication_works_and_tokens_expire_and_are_revoked() {
    let tenant = Tenant::empty(1);
    let app = tenant.app();
    let pair = STANDARD.encode(format!("{}:{}", app.client_id, app.client_secret));
    let url = format!("{}{}/oauth2/v2.0/token", tenant.urls().login, app.tenant_id);
    let body = format!(
        "grant_type=client_credentials&scope={}.default",
        tenant.urls().graph
    );
    let request = Request::post(url).header("authorization", format!("Basic {pair}"));
    let answer = tenant
        .handle(request.body(Bytes::from(body)).expect("request"))
        .await;
    assert_eq!(answer.expect("an answer").status(), 200);
    let client = Client::new(tenant.clone()).await;
    assert_eq!(client.get("/users").await.0, 200);
    let now = now(&tenant);
    tenant.set_clock(move || now + std::time::Duration::from_secs(4000));
    let (status, answer) = client.get("/users").await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (401, &json!("InvalidAuthenticationToken"))
    );
    let client = Client::new(tenant.clone()).await;
    tenant.revoke_tokens();
    assert_eq!(client.get("/users").await.0, 401);
}

struct Signer {
    key: EncodingKey,
    thumbprint: String,
}

impl Signer {
    fn new(tenant: &Tenant) -> Self {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key");
        let certificate = CertificateParams::default()
            .self_signed(&key)
            .expect("a certificate");
        Self {
            thumbprint: tenant
                .register_certificate(&certificate.pem())
                .expect("registered"),
            key: EncodingKey::from_rsa_pem(key.serialize_pem().as_bytes()).expect("a key"),
        }
    }

    fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::PS256);
        header.x5t_s256 = Some(self.thumbprint.clone());
        jsonwebtoken::encode(&header, claims, &self.key).expect("signed")
    }
}

fn claims(tenant: &Tenant, jti: &str) -> Value {
    let app = tenant.app();
    let now = now(tenant)
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs_f64();
    json!({
        "aud": format!("{}{}/oauth2/v2.0/token", tenant.urls().login, app.tenant_id),
        "iss": app.client_id, "sub": app.client_id, "jti": jti,
        "nbf": now, "iat": now, "exp": now + 600.5,
    })
}

#[tokio::test]
async fn a_signed_assertion_opens_once_and_only_as_it_should_be() {
    let tenant = Tenant::empty(1);
    let signer = Signer::new(&tenant);
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let send = async |text: &str| {
        let changes = [
            ("client_secret", ""),
            ("client_assertion_type", kind),
            ("client_assertion", text),
        ];
        refused(&tenant, &changes).await
    };
    let good = signer.sign(&claims(&tenant, "1"));
    assert_eq!(send(&good).await, (200, 0));
    assert_eq!(send(&good).await, (401, 7_000_219), "a replay");
    let mut late = claims(&tenant, "2");
    late["exp"] = json!(1_000_000.0);
    assert_eq!(send(&signer.sign(&late)).await, (401, 700_024));
    let mut other = claims(&tenant, "3");
    other["aud"] = json!("https://elsewhere.example/token");
    assert_eq!(send(&signer.sign(&other)).await, (401, 700_023));
    let mut foreign = claims(&tenant, "4");
    foreign["iss"] = json!("somebody");
    assert_eq!(send(&signer.sign(&foreign)).await, (401, 700_021));
    let mut forged = signer.sign(&claims(&tenant, "5"));
    let last = if forged.ends_with('A') { "B" } else { "A" };
    forged.replace_range(forged.len() - 3..forged.len() - 2, last);
    assert_eq!(send(&forged).await, (401, 700_027), "a broken signature");
    let stranger = Signer::new(&Tenant::empty(2));
    assert_eq!(
        send(&stranger.sign(&claims(&tenant, "6"))).await,
        (401, 700_027)
    );
    assert_eq!(send("not.a.token").await, (401, 50_027));
}

async fn open(tenant: &Tenant, path: &str, query: &[(&str, &str)]) -> (u16, Option<url::Url>) {
    let mut url = tenant.urls().login.join(path).expect("an address");
    url.query_pairs_mut().extend_pairs(query);
    let request = Request::get(url.as_str()).body(Bytes::new());
    let answer = tenant.handle(request.expect("a request")).await;
    let answer = answer.expect("an answer");
    let target = answer.headers().get("location").map(|value| {
        let text = value.to_str().expect("ascii");
        url::Url::parse(text).expect("an address")
    });
    (answer.status().as_u16(), target)
}

fn field(url: &url::Url, name: &str) -> Option<String> {
    let mut pairs = url.query_pairs();
    pairs
        .find(|(own, _)| own == name)
        .map(|(_, value)| value.into_owned())
}

/// A tenant of three people.
fn people() -> Tenant {
    Tenant::generate(crate::TenantSpec {
        users: 3,
        messages_per_user: 1,
        files_per_user: 0,
        logical_bytes: 10_000,
        ..crate::TenantSpec::default()
    })
    .expect("a tenant")
}

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// The challenge of that verifier, from RFC 7636, appendix B.
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// Signs in and returns the code.
async fn code(tenant: &Tenant, redirect: &str) -> String {
    let app = tenant.app();
    let scope = format!("{}.default offline_access openid", tenant.urls().graph);
    let query = [
        ("client_id", app.client_id.as_str()),
        ("response_type", "code"),
        ("redirect_uri", redirect),
        ("scope", &scope),
        ("state", "s"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    let (status, target) = open(tenant, "organizations/oauth2/v2.0/authorize", &query).await;
    let target = target.expect("a redirect");
    assert_eq!(
        (status, field(&target, "state").as_deref()),
        (302, Some("s"))
    );
    field(&target, "code").unwrap_or_else(|| panic!("{target}"))
}

#[tokio::test]
async fn a_code_opens_once_for_who_asked_for_it() {
    let tenant = people();
    let local = "http://localhost:5000/";
    let send = async |code: &str, changes: &[(&str, &str)]| {
        let mut all = vec![
            ("grant_type", "authorization_code"),
            ("client_secret", ""),
            ("scope", ""),
            ("code", code),
            ("redirect_uri", local),
            ("code_verifier", VERIFIER),
        ];
        for change in changes {
            all.retain(|(name, _)| *name != change.0);
            all.push(*change);
        }
        let (status, answer) = login(&tenant, "common", form(&tenant, &all)).await;
        (
            status,
            answer["error_codes"][0].as_u64().unwrap_or(0),
            answer,
        )
    };
    let good = code(&tenant, local).await;
    for (change, number) in [
        (
            (
                "code_verifier",
                "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXX",
            ),
            501_481,
        ),
        (("code_verifier", ""), 501_481),
        (("redirect_uri", "http://localhost:5001/"), 500_112),
        (
            ("client_secret", tenant.app().client_secret.as_str()),
            700_025,
        ),
        (("code", "0.other"), 9_002_313),
    ] {
        let (status, found, _) = send(&good, &[change]).await;
        assert_eq!((status / 100, found), (4, number), "{change:?}");
    }
    let (status, _, answer) = send(&good, &[("client_info", "1")]).await;
    assert_eq!(status, 200, "{answer}");
    assert!(answer["refresh_token"].is_string() && answer["id_token"].is_string());
    assert!(answer["client_info"].is_string());
    assert_eq!(send(&good, &[]).await.1, 54_005, "a second time");
    let late = code(&tenant, local).await;
    let now = now(&tenant);
    tenant.set_clock(move || now + std::time::Duration::from_secs(601));
    assert_eq!(send(&late, &[]).await.1, 70_008);
}

#[tokio::test]
async fn strange_redirects_go_nowhere_and_people_may_decline() {
    let tenant = people();
    let app = tenant.app();
    for redirect in [
        "https://evil.example/",
        "http://localhost.evil.example/",
        "http://localhost/x",
    ] {
        let query = [
            ("client_id", app.client_id.as_str()),
            ("response_type", "code"),
            ("redirect_uri", redirect),
            ("scope", "User.Read"),
        ];
        let (status, target) = open(&tenant, "common/oauth2/v2.0/authorize", &query).await;
        assert_eq!((status, target), (400, None), "{redirect}");
    }
    tenant.set_people_decline(true);
    let query = [
        ("client_id", app.client_id.as_str()),
        ("response_type", "code"),
        ("redirect_uri", "http://localhost"),
        ("scope", "User.Read"),
    ];
    let (_, target) = open(&tenant, "common/oauth2/v2.0/authorize", &query).await;
    let error = field(&target.expect("a redirect"), "error");
    assert_eq!(error.as_deref(), Some("access_denied"));
}

#[tokio::test]
async fn a_person_sees_what_is_theirs() {
    let tenant = people();
    let users = tenant.users();
    let name = &users[0].principal_name;
    let password = tenant.password(name).expect("a password");
    let changes = [
        ("grant_type", "password"),
        ("username", name.as_str()),
        ("password", &password),
        ("client_secret", ""),
        ("scope", "User.Read Mail.Read"),
    ];
    let (status, answer) = login(&tenant, "organizations", form(&tenant, &changes)).await;
    assert_eq!(status, 200, "{answer}");
    let client = Client {
        tenant: tenant.clone(),
        token: answer["access_token"].as_str().expect("a token").to_owned(),
        immutable: false,
    };
    let (status, me) = client.get("/me").await;
    assert_eq!((status, &me["id"]), (200, &json!(users[0].id)));
    assert_eq!(client.get("/me/mailFolders").await.0, 200);
    let other = format!("/users/{}/mailFolders", users[1].id);
    assert_eq!(client.get(&other).await.0, 403);
    let changes = [
        ("grant_type", "password"),
        ("username", name),
        ("password", "x"),
    ];
    assert_eq!(refused(&tenant, &changes).await.1, 50_126);
}
