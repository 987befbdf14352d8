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
        .map(|(name, value)| format!("{name}={}", value.replace('+', "%2B")))
        .collect();
    pairs.join("&")
}

async fn refused(tenant: &Tenant, changes: &[(&str, &str)]) -> (u16, u64) {
    let (status, answer) = login(tenant, "contoso.example", form(tenant, changes)).await;
    (status, answer["error_codes"][0].as_u64().unwrap_or(0))
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
    check(&[("grant_type", "password")], 400, 70_003).await;
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
