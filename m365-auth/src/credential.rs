//! Credentials: by what an application proves to the identity platform that it is itself.

mod assertion;
mod basic;
mod certificate;
mod der;
mod expiry;
mod federated;

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;

pub use basic::BasicCredential;
pub use certificate::Certificate;
pub use expiry::{ExpiryLevel, ExpiryWarning};
pub use federated::{AssertionSource, CallbackAssertion, FileAssertion};

/// Proves who an application is: not at all, by a secret, a certificate, or another platform's word.
#[derive(Clone)]
pub struct Credential(Inner);

#[derive(Clone)]
enum Inner {
    Public,
    Secret(Secret),
    Certificate(Arc<Certificate>),
    Federated(Arc<dyn AssertionSource>),
}

/// A field of a form that is sent to the token endpoint.
pub(crate) type Field = (&'static str, Zeroizing<String>);

/// What an assertion is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Purpose<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) endpoint: &'a str,
    pub(crate) environment: &'a dyn Environment,
}

impl Credential {
    /// No proof: a public client, such as a program on a person's own machine.
    pub fn public() -> Self {
        Self(Inner::Public)
    }

    /// A client secret.
    pub fn secret(secret: impl Into<Secret>) -> Self {
        Self(Inner::Secret(secret.into()))
    }

    /// A certificate, whose key signs an assertion for every request.
    pub fn certificate(certificate: Certificate) -> Self {
        Self(Inner::Certificate(Arc::new(certificate)))
    }

    /// A token of another platform that the application trusts (workload identity federation).
    pub fn federated(source: Arc<dyn AssertionSource>) -> Self {
        Self(Inner::Federated(source))
    }

    /// Tells whether there is no proof.
    pub(crate) fn is_public(&self) -> bool {
        matches!(self.0, Inner::Public)
    }

    /// Checks what can be checked without asking anyone.
    pub(crate) fn check(&self) -> Result<()> {
        match &self.0 {
            Inner::Secret(secret) if secret.expose().trim().is_empty() => Err(Error::new(
                ErrorKind::Configuration,
                "the client secret is empty",
            )),
            _ => Ok(()),
        }
    }

    /// Returns the fields by which a request proves who sends it.
    pub(crate) async fn fields(&self, purpose: Purpose<'_>) -> Result<Vec<Field>> {
        let assertion = match &self.0 {
            Inner::Public => return Ok(Vec::new()),
            Inner::Secret(secret) => {
                let text = Zeroizing::new(secret.expose().to_owned());
                return Ok(vec![("client_secret", text)]);
            }
            Inner::Certificate(certificate) => assertion::sign(certificate, purpose)?,
            Inner::Federated(source) => source.assertion().await?,
        };
        Ok(vec![
            (
                "client_assertion_type",
                Zeroizing::new(JWT_BEARER.to_owned()),
            ),
            (
                "client_assertion",
                Zeroizing::new(assertion.expose().to_owned()),
            ),
        ])
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Inner::Public => f.write_str("Public"),
            Inner::Secret(_) => f.write_str("Secret(..)"),
            Inner::Certificate(certificate) => certificate.fmt(f),
            Inner::Federated(source) => write!(f, "Federated({source:?})"),
        }
    }
}

/// The one type of assertion that the platform takes.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
