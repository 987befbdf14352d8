//! Certificates: the key that signs assertions, and the thumbprint by which it is known.

use std::fmt;
use std::time::SystemTime;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::EncodingKey;
use zeroize::Zeroizing;

use super::der;
use crate::error::{Error, ErrorKind, Result};
#[cfg(feature = "pfx")]
use crate::secret::Secret;

/// Holds a certificate and its private RSA key.
///
/// Signs by PS256 with the SHA-256 thumbprint, as the identity platform documents.
#[derive(Clone)]
pub struct Certificate {
    key: EncodingKey,
    der: Vec<u8>,
    thumbprint: String,
    valid_from: SystemTime,
    valid_until: SystemTime,
    legacy: bool,
}

impl Certificate {
    /// Reads a certificate and its key from PEM text, which may be one file or two joined.
    ///
    /// *Shape*: the first `CERTIFICATE` block, and a `PRIVATE KEY` (PKCS#8) or `RSA PRIVATE KEY`
    /// block in any order; others, such as those of a chain, are passed over.
    ///
    /// *Errors*: [`ErrorKind::Configuration`] when one of the two is missing, cannot be read, is
    /// encrypted, or is not of an RSA key.
    pub fn from_pem(pem: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(pem).map_err(|_| unreadable("the pem text is not utf-8"))?;
        if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
            || text.contains("Proc-Type: 4,ENCRYPTED")
        {
            let message = "the private key is encrypted";
            return Err(
                unreadable(message).with_next_step("take the passphrase off it, or use a pfx file")
            );
        }
        let der = block(text, "CERTIFICATE")
            .ok_or_else(|| unreadable("the pem text holds no certificate"))?;
        let validity = validity(&der)?;
        let key = ["PRIVATE KEY", "RSA PRIVATE KEY"]
            .into_iter()
            .find_map(|label| rsa_key(text, label))
            .ok_or_else(|| unreadable("the pem text holds no private rsa key"))?;
        Ok(Self::new(der.to_vec(), key, validity))
    }

    /// Reads a certificate and its key from a PFX (PKCS#12) file.
    ///
    /// *Errors*: [`ErrorKind::Configuration`] for a file that is none, a wrong password, or a key
    /// that is not RSA.
    #[cfg(feature = "pfx")]
    pub fn from_pfx(pfx: &[u8], password: &Secret) -> Result<Self> {
        use p12_keystore::{KeyStore, Pkcs12ImportPolicy};

        let unopened = || unreadable("the pfx file cannot be opened with this password");
        let store = KeyStore::from_pkcs12(pfx, password.expose(), Pkcs12ImportPolicy::Relaxed)
            .map_err(|_| unopened())?;
        let (_, chain) = store
            .private_key_chain()
            .ok_or_else(|| unreadable("the pfx file holds no private key"))?;
        let certificate = chain
            .certs()
            .first()
            .ok_or_else(|| unreadable("the pfx file holds no certificate of its key"))?;
        let body = Zeroizing::new(STANDARD.encode(chain.key().as_der()));
        let key = rsa_pem(&body, "PRIVATE KEY")
            .ok_or_else(|| unreadable("the private key of the pfx file is not an rsa key"))?;
        let der = certificate.as_der().to_vec();
        let validity = validity(&der)?;
        Ok(Self::new(der, key, validity))
    }

    fn new(der: Vec<u8>, key: EncodingKey, validity: (SystemTime, SystemTime)) -> Self {
        let (valid_from, valid_until) = validity;
        let thumbprint = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &der));
        Self {
            key,
            der,
            thumbprint,
            valid_from,
            valid_until,
            legacy: false,
        }
    }

    /// Signs by RS256 with the SHA-1 thumbprint instead, for clouds that know nothing newer.
    #[must_use]
    pub fn with_legacy_signature(mut self) -> Self {
        self.legacy = true;
        self
    }

    /// Returns the SHA-256 thumbprint, base64url as in `x5t#S256`.
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// Returns the SHA-1 thumbprint in hexadecimal, as portals show it.
    pub fn portal_thumbprint(&self) -> String {
        let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &self.der);
        digest
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect()
    }

    /// Returns from when on the certificate is valid.
    pub fn valid_from(&self) -> SystemTime {
        self.valid_from
    }

    /// Returns until when the certificate is valid.
    pub fn valid_until(&self) -> SystemTime {
        self.valid_until
    }

    pub(super) fn is_legacy(&self) -> bool {
        self.legacy
    }

    pub(super) fn thumbprint_sha1(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &self.der))
    }

    pub(super) fn key(&self) -> &EncodingKey {
        &self.key
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("thumbprint", &self.thumbprint)
            .field("valid_until", &self.valid_until)
            .finish_non_exhaustive()
    }
}

fn validity(der: &[u8]) -> Result<(SystemTime, SystemTime)> {
    der::validity(der).ok_or_else(|| unreadable("the certificate is not x.509"))
}

fn unreadable(message: &str) -> Error {
    Error::new(ErrorKind::Configuration, message)
}

/// Returns the base64 text between the lines of a PEM block.
fn body<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    Some(body)
}

fn block(text: &str, label: &str) -> Option<Zeroizing<Vec<u8>>> {
    let body: Zeroizing<String> = Zeroizing::new(body(text, label)?.split_whitespace().collect());
    STANDARD.decode(body.as_bytes()).ok().map(Zeroizing::new)
}

fn rsa_key(text: &str, label: &str) -> Option<EncodingKey> {
    let body: Zeroizing<String> = Zeroizing::new(body(text, label)?.split_whitespace().collect());
    rsa_pem(&body, label)
}

/// Reads a key from its base64; the block is written anew, because readers of PEM differ in what
/// else they take.
fn rsa_pem(base64: &str, label: &str) -> Option<EncodingKey> {
    let mut pem = Zeroizing::new(format!("-----BEGIN {label}-----\n"));
    for line in base64.as_bytes().chunks(64) {
        pem.push_str(std::str::from_utf8(line).ok()?);
        pem.push('\n');
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    EncodingKey::from_rsa_pem(pem.as_bytes()).ok()
}
