//! Client assertions: a JWT signed with the key of a registered certificate.

use std::time::UNIX_EPOCH;

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

use super::{DOMAIN, Denial};
use crate::tenant::Tenant;

/// The only type of assertion the platform takes.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Seconds by which clocks may differ.
const SKEW_SECONDS: f64 = 300.0;

/// What an assertion claims; times may be fractional (facts/clients.md).
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
pub(super) fn check(tenant: &Tenant, kind: Option<&str>, text: &str) -> Result<(), Denial> {
    if kind != Some(JWT_BEARER) {
        return Err(Denial::new(
            "invalid_request",
            900_144,
            format!("The 'client_assertion_type' must be '{JWT_BEARER}'."),
        ));
    }
    let claims = verify(tenant, text)?;
    check_names(tenant, &claims)?;
    check_times(tenant, &claims)?;
    remember(tenant, &claims)
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
    let pem = tenant.lock().app.certificates.get(&thumbprint).cloned();
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
