//! Client assertions: a JWT signed with the key of a registered certificate.

use std::time::UNIX_EPOCH;

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::Value;

use super::{DOMAIN, Denial};
use crate::server::call::Call;
use crate::tenant::Tenant;

/// The only type of assertion the platform takes.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Seconds by which clocks may differ.
const SKEW_SECONDS: f64 = 300.0;

/// What an assertion claims; times may be fractional, as some libraries write them.
#[derive(Debug, Deserialize)]
struct Claims {
    aud: String,
    iss: String,
    sub: String,
    jti: String,
    exp: f64,
    nbf: Option<f64>,
}

/// Refuses an assertion that is not ours, not now, not for us, or was seen before.
pub(super) fn check(call: &Call, kind: Option<&str>, text: &str) -> Result<(), Denial> {
    let tenant = &call.tenant;
    if kind != Some(JWT_BEARER) {
        return Err(Denial::new(
            "invalid_request",
            900_144,
            format!("The 'client_assertion_type' must be '{JWT_BEARER}'."),
        ));
    }
    if is_foreign(text) {
        return check_foreign(tenant, text);
    }
    let claims = verify(tenant, text)?;
    check_names(tenant, &claims)?;
    check_times(tenant, &claims)?;
    remember(tenant, &claims)
}

/// Tells whether an assertion names no certificate: then another platform made it.
fn is_foreign(text: &str) -> bool {
    jsonwebtoken::decode_header(text)
        .is_ok_and(|header| header.x5t.is_none() && header.x5t_s256.is_none())
}

/// What a token of another platform claims.
#[derive(Debug, Deserialize)]
struct Foreign {
    iss: String,
    sub: String,
    aud: Value,
    exp: f64,
}

/// Refuses a token of another platform that no federated credential of the app describes.
fn check_foreign(tenant: &Tenant, text: &str) -> Result<(), Denial> {
    let denial = |number, text: &str| Denial::new("invalid_client", number, text);
    let header = jsonwebtoken::decode_header(text)
        .map_err(|cause| malformed(&format!("The header cannot be read: {cause}.")))?;
    let federations = tenant.lock().sign_ins.federations.clone();
    if federations.is_empty() {
        return Err(malformed("The header names no certificate."));
    }
    let mut rules = Validation::new(header.alg);
    rules.required_spec_claims.clear();
    rules.validate_exp = false;
    rules.validate_aud = false;
    let verified = federations.iter().find_map(|known| {
        let key = DecodingKey::from_rsa_pem(known.key_pem.as_bytes()).ok()?;
        let token = jsonwebtoken::decode::<Foreign>(text, &key, &rules).ok()?;
        Some((known, token.claims))
    });
    let Some((known, claims)) = verified else {
        return Err(malformed("No key of a trusted issuer signed the token."));
    };
    if claims.iss != known.issuer {
        let text = "No matching federated identity record found for presented assertion issuer.";
        return Err(denial(700_211, text));
    }
    if claims.aud != known.audience.as_str() && claims.aud != serde_json::json!([known.audience]) {
        let text = "No matching federated identity record found for presented assertion audience.";
        return Err(denial(700_212, text));
    }
    if claims.sub != known.subject {
        let text = "No matching federated identity record found for presented assertion subject.";
        return Err(denial(700_213, text));
    }
    if claims.exp <= now_seconds(tenant) - SKEW_SECONDS {
        let text = "Client assertion is not within its valid time range.";
        return Err(denial(700_024, text));
    }
    Ok(())
}

/// Verifies the signature with the certificate that the header names.
fn verify(tenant: &Tenant, text: &str) -> Result<Claims, Denial> {
    let header = jsonwebtoken::decode_header(text)
        .map_err(|cause| malformed(&format!("The header cannot be read: {cause}.")))?;
    let thumbprint = match header.alg {
        Algorithm::PS256 => header.x5t_s256,
        Algorithm::RS256 => header.x5t_s256.or(header.x5t),
        other => {
            return Err(malformed(&format!(
                "The algorithm {other:?} is not accepted."
            )));
        }
    };
    let thumbprint = thumbprint.ok_or_else(|| malformed("The header names no certificate."))?;
    // Some clients write the padding of base64, which the platform does not mind.
    let name = thumbprint.trim_end_matches('=');
    let pem = tenant.lock().app.certificates.get(name).cloned();
    let pem = pem.ok_or_else(|| {
        Denial::new(
            "invalid_client",
            700_027,
            format!(
                "The certificate with identifier used to sign the client assertion is not \
                 registered on application. [Reason - The key was not found., Thumbprint of key \
                 used by client: '{thumbprint}']"
            ),
        )
    })?;
    let key = DecodingKey::from_rsa_pem(pem.as_bytes())
        .map_err(|cause| malformed(&format!("The certificate holds no RSA key: {cause}.")))?;
    let mut rules = Validation::new(header.alg);
    // Times and names are judged by the tenant's own clock and in its own words.
    rules.required_spec_claims.clear();
    rules.validate_exp = false;
    rules.validate_aud = false;
    jsonwebtoken::decode::<Claims>(text, &key, &rules)
        .map(|token| token.claims)
        .map_err(|cause| {
            Denial::new(
                "invalid_client",
                700_027,
                format!("Client assertion failed signature validation: {cause}."),
            )
        })
}

fn check_names(tenant: &Tenant, claims: &Claims) -> Result<(), Denial> {
    let app = tenant.app();
    let login = &tenant.urls().login;
    let audiences = [app.tenant_id.as_str(), DOMAIN].map(|name| {
        [
            format!("{login}{name}/oauth2/v2.0/token"),
            format!("{login}{name}/v2.0"),
        ]
    });
    if !audiences.iter().flatten().any(|known| *known == claims.aud) {
        return Err(Denial::new(
            "invalid_client",
            700_023,
            format!(
                "Client assertion audience claim '{}' does not match.",
                claims.aud
            ),
        ));
    }
    if claims.iss != app.client_id || claims.sub != app.client_id {
        return Err(Denial::new(
            "invalid_client",
            700_021,
            "Client assertion application identifier doesn't match 'client_id' parameter.",
        ));
    }
    Ok(())
}

fn check_times(tenant: &Tenant, claims: &Claims) -> Result<(), Denial> {
    let now = now_seconds(tenant);
    let begun = claims.nbf.is_none_or(|nbf| nbf <= now + SKEW_SECONDS);
    if begun && claims.exp > now - SKEW_SECONDS {
        return Ok(());
    }
    Err(Denial::new(
        "invalid_client",
        700_024,
        "Client assertion is not within its valid time range.",
    ))
}

fn remember(tenant: &Tenant, claims: &Claims) -> Result<(), Denial> {
    let now = now_seconds(tenant);
    let mut state = tenant.lock();
    state
        .app
        .seen_assertions
        .retain(|_, until| *until + SKEW_SECONDS > now);
    let seen = state
        .app
        .seen_assertions
        .insert(claims.jti.clone(), claims.exp);
    match seen {
        None => Ok(()),
        Some(_) => Err(Denial::new(
            "invalid_client",
            7_000_219,
            "The client assertion was used before; its 'jti' must be fresh.",
        )),
    }
}

fn now_seconds(tenant: &Tenant) -> f64 {
    (tenant.lock().clock)()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |elapsed| elapsed.as_secs_f64())
}

fn malformed(text: &str) -> Denial {
    Denial::new(
        "invalid_client",
        50_027,
        format!("JWT token is invalid or malformed. {text}"),
    )
}
