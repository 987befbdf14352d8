//! Client assertions: a short statement of who asks, signed with the key of a certificate.

use std::time::UNIX_EPOCH;

use jsonwebtoken::{Algorithm, Header};
use serde::Serialize;

use super::{Certificate, Purpose};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;

/// *Source*: the identity platform's page on certificate credentials (07bd829, 2025-01).
#[derive(Serialize)]
struct Claims<'a> {
    aud: &'a str,
    iss: &'a str,
    sub: &'a str,
    jti: String,
    iat: u64,
    nbf: u64,
    exp: u64,
}

/// Signs an assertion for one request.
pub(super) fn sign(certificate: &Certificate, purpose: Purpose<'_>) -> Result<Secret> {
    let now = purpose
        .environment
        .now()
        .duration_since(UNIX_EPOCH)
        .map_err(|_| Error::new(ErrorKind::Environment, "the clock is before 1970"))?
        .as_secs();
    let claims = Claims {
        aud: purpose.endpoint,
        iss: purpose.client_id,
        sub: purpose.client_id,
        jti: guid(purpose.environment)?,
        iat: now,
        nbf: now,
        exp: now + LIFETIME_SECONDS,
    };
    let mut header = if certificate.is_legacy() {
        Header::new(Algorithm::RS256)
    } else {
        Header::new(Algorithm::PS256)
    };
    if certificate.is_legacy() {
        header.x5t = Some(certificate.thumbprint_sha1());
    } else {
        header.x5t_s256 = Some(certificate.thumbprint().to_owned());
    }
    jsonwebtoken::encode(&header, &claims, certificate.key())
        .map(Secret::new)
        .map_err(|_| {
            // The cause may name parts of the key: not passed on.
            let message = "the key of the certificate cannot sign; it must be an rsa key";
            Error::new(ErrorKind::Configuration, message)
        })
}

/// Returns a random GUID of version 4.
fn guid(environment: &dyn Environment) -> Result<String> {
    let mut bytes = [0; 16];
    environment.fill(&mut bytes)?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let (a, b, c, d, e) = (
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    );
    Ok(format!("{a}-{b}-{c}-{d}-{e}"))
}

/// How long an assertion may be used; the platform advises 5 to 10 minutes.
const LIFETIME_SECONDS: u64 = 600;
