//! TLS: a private authority, a certificate for loopback, and one for the app; made anew each time.

use std::fmt;
use std::io;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_RSA_SHA256, RsaKeySize,
};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto};

/// Whom the certificate names: this machine, and the worldwide cloud's hosts behind the proxy.
const NAMES: [&str; 7] = [
    "localhost",
    "127.0.0.1",
    "login.microsoftonline.com",
    "graph.microsoft.com",
    "outlook.office365.com",
    "contoso-my.sharepoint.com",
    "contoso.sharepoint.com",
];

/// What the tenant shows of itself under TLS.
pub struct Identity {
    ca_pem: String,
    acceptor: TlsAcceptor,
}

/// A certificate with its key, both PEM.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Credential {
    /// The certificate.
    pub certificate: String,
    /// The key, PKCS #8.
    pub key: String,
}

impl Identity {
    /// Generates an authority, and a certificate of it for loopback.
    ///
    /// *Errors*: of kind `Other`, when keys cannot be made.
    pub fn generate() -> io::Result<Self> {
        let mut authority = CertificateParams::default();
        authority
            .distinguished_name
            .push(DnType::CommonName, "m365-simulator private authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let ca_pem = authority.self_signed(&key).map_err(io::Error::other)?.pem();
        let issuer = Issuer::new(authority, key);
        let mut leaf =
            CertificateParams::new(NAMES.map(str::to_owned)).map_err(io::Error::other)?;
        leaf.use_authority_key_identifier_extension = true;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = leaf.signed_by(&key, &issuer).map_err(io::Error::other)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .map_err(io::Error::other)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Self { ca_pem, acceptor })
    }

    /// Returns the authority's certificate, which clients must trust, as PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl Credential {
    /// Generates an RSA key of 2,048 bits with a certificate, for an app to sign in with.
    ///
    /// *Errors*: of kind `Other`, when the key cannot be made.
    pub fn generate() -> io::Result<Self> {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)
            .map_err(io::Error::other)?;
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "m365-simulator app");
        let certificate = params.self_signed(&key).map_err(io::Error::other)?.pem();
        Ok(Self {
            certificate,
            key: key.serialize_pem(),
        })
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").finish_non_exhaustive()
    }
}
