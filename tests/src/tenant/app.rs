//! App: the registration that may sign in to the tenant, its credentials and its permissions.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::SystemTime;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::{Tenant, ids};

/// What a program needs to sign in to the tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct App {
    /// The tenant's id, a GUID; the domain `contoso.example` works as well.
    pub tenant_id: String,
    /// The app's id, a GUID.
    pub client_id: String,
    /// The app's secret; it opens nothing but this simulation.
    pub client_secret: String,
}

/// An application permission, by the name that the service gives it, such as `Mail.Read`.
pub type Permission = String;

/// The registration with everything the login needs to judge it.
#[derive(Debug, Clone)]
pub(crate) struct Registration {
    pub(crate) app: App,
    pub(crate) permissions: BTreeSet<Permission>,
    /// Certificates by base64url SHA-256 thumbprint, as PEM.
    pub(crate) certificates: BTreeMap<String, String>,
    /// Assertions seen, by their id, with their time of expiry in seconds since 1970.
    pub(crate) seen_assertions: BTreeMap<String, f64>,
    /// Tokens that work.
    pub(crate) tokens: BTreeMap<String, Token>,
    /// Numbers the tokens.
    pub(crate) issued: u64,
    /// How long tokens live, in seconds.
    pub(crate) token_seconds: u64,
}

/// A token that was issued.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    /// The origin it is for, without a trailing slash.
    pub(crate) audience: String,
    pub(crate) expires: SystemTime,
    /// The id of the person it speaks for; `None` when the app speaks for itself.
    pub(crate) user: Option<String>,
    /// What the person allowed it; nothing where the app speaks for itself.
    pub(crate) scopes: BTreeSet<String>,
    /// Whether an app got it for itself by its secret.
    pub(crate) by_secret: bool,
    /// Whether its client answers claims challenges.
    pub(crate) answers_challenges: bool,
    /// The moment that its claims named as the earliest of its issue, in seconds since 1970.
    pub(crate) claims_met: Option<u64>,
}

impl Registration {
    /// Registers an app with every permission that the simulation knows.
    pub(crate) fn new(seed: u64) -> Self {
        let app = App {
            tenant_id: ids::guid(seed, "tenant", 0),
            client_id: ids::guid(seed, "client", 0),
            client_secret: format!("sim~{}", ids::guid(seed, "secret", 0)),
        };
        Self {
            app,
            permissions: ALL_PERMISSIONS.iter().map(ToString::to_string).collect(),
            certificates: BTreeMap::new(),
            seen_assertions: BTreeMap::new(),
            tokens: BTreeMap::new(),
            issued: 0,
            token_seconds: 3599,
        }
    }
}

impl Tenant {
    /// Registers a certificate, in PEM, with whose key the app may sign assertions.
    ///
    /// Returns the base64url SHA-256 thumbprint that `x5t#S256` must name.
    ///
    /// *Errors*: of kind `InvalidData`, when the text holds no certificate.
    pub fn register_certificate(&self, pem: &str) -> io::Result<String> {
        let invalid =
            || io::Error::new(io::ErrorKind::InvalidData, "the text holds no certificate");
        let (_, rest) = pem
            .split_once("-----BEGIN CERTIFICATE-----")
            .ok_or_else(invalid)?;
        let (body, _) = rest
            .split_once("-----END CERTIFICATE-----")
            .ok_or_else(invalid)?;
        let body: String = body.split_whitespace().collect();
        let der = STANDARD.decode(&body).map_err(|_| invalid())?;
        let thumbprint = |digest| URL_SAFE_NO_PAD.encode(digest::digest(digest, &der));
        let (sha256, sha1) = (
            thumbprint(&digest::SHA256),
            thumbprint(&digest::SHA1_FOR_LEGACY_USE_ONLY),
        );
        let pem = format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            lines(&body)
        );
        let mut state = self.lock();
        state.app.certificates.insert(sha1, pem.clone());
        state.app.certificates.insert(sha256.clone(), pem);
        Ok(sha256)
    }

    /// Replaces the app's permissions; what it may do then, it may do at once.
    pub fn set_permissions<P: Into<Permission>>(&self, permissions: impl IntoIterator<Item = P>) {
        self.lock().app.permissions = permissions.into_iter().map(Into::into).collect();
    }

    /// Makes every token that was issued so far invalid.
    pub fn revoke_tokens(&self) {
        self.lock().app.tokens.clear();
    }

    /// Sets how long tokens live from now on, in seconds.
    pub fn set_token_seconds(&self, seconds: u64) {
        self.lock().app.token_seconds = seconds;
    }
}

/// Breaks base64 into the lines that PEM asks for.
fn lines(text: &str) -> String {
    text.as_bytes()
        .chunks(64)
        .map(String::from_utf8_lossy)
        .collect::<Vec<_>>()
        .join("\n")
}

/// What the app of a new tenant may do.
const ALL_PERMISSIONS: [&str; 22] = [
    "User.Read.All",
    "MailboxSettings.Read",
    "Mail.ReadWrite",
    "Files.ReadWrite.All",
    "Sites.ReadWrite.All",
    "Sites.FullControl.All",
    "full_access_as_app",
    "MailboxFolder.Read.All",
    "MailboxItem.ReadWrite.All",
    "MailboxItem.Export.All",
    "MailboxItem.ImportExport.All",
    "Team.Create",
    "Team.ReadBasic.All",
    "Channel.Create",
    "Channel.ReadBasic.All",
    "ChannelMessage.Read.All",
    "Teamwork.Migrate.All",
    "Group.Read.All",
    "GroupMember.Read.All",
    "Contacts.Read",
    "Calendars.Read",
    "Tasks.Read.All",
];
