//! Token contents: what a token says about itself, read without verifying it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::AccessToken;

/// Holds what an access token says about itself.
///
/// Tokens are meant for the service, which alone verifies them: this is for diagnosis, never for a
/// decision about rights. Tokens of some services are opaque and say nothing.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TokenContents {
    #[serde(rename = "aud", default)]
    audience: Option<String>,
    #[serde(rename = "tid", default)]
    tenant: Option<String>,
    #[serde(rename = "appid", alias = "azp", default)]
    client_id: Option<String>,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(rename = "scp", default)]
    scopes: Option<String>,
    #[serde(default)]
    exp: Option<u64>,
    #[serde(default, alias = "unique_name", alias = "preferred_username")]
    upn: Option<String>,
    #[serde(rename = "xms_cc", default)]
    capabilities: Vec<String>,
}

impl TokenContents {
    /// Reads a token, or returns `None` for one that is opaque.
    pub fn of(token: &AccessToken) -> Option<Self> {
        let text = token.secret().expose();
        if text.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let mut parts = text.split('.');
        let (_header, body, _signature) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(body.trim_end_matches('=')).ok()?;
        // A list would be taken for the fields in their order.
        bytes
            .starts_with(b"{")
            .then(|| serde_json::from_slice(&bytes).ok())?
    }

    /// Returns the service that the token is for.
    pub fn audience(&self) -> Option<&str> {
        self.audience.as_deref()
    }

    /// Returns the id of the tenant.
    pub fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    /// Returns the id of the application.
    pub fn client_id(&self) -> Option<&str> {
        self.client_id.as_deref()
    }

    /// Returns the name of the person for whom the token speaks, if it says one.
    pub fn account(&self) -> Option<&str> {
        self.upn.as_deref()
    }

    /// Returns the application permissions, such as `Mail.Read`.
    pub fn roles(&self) -> &[String] {
        &self.roles
    }

    /// Returns the delegated permissions, such as `Mail.Read`.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scopes
            .iter()
            .flat_map(|scopes| scopes.split_whitespace())
    }

    /// Tells whether the token carries a permission, as application or delegated one.
    pub fn permits(&self, permission: &str) -> bool {
        self.roles.iter().any(|role| role == permission)
            || self.scopes().any(|scope| scope == permission)
    }

    /// Returns the end that the token itself names.
    pub fn expires_at(&self) -> Option<SystemTime> {
        UNIX_EPOCH.checked_add(Duration::from_secs(self.exp?))
    }

    /// Tells whether the service may refuse the token early by a claims challenge.
    pub fn answers_challenges(&self) -> bool {
        self.capabilities
            .iter()
            .any(|capability| capability == "cp1")
    }
}

/// Longer tokens are not looked into, in bytes.
const MAX_TOKEN_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    use super::{AccessToken, TokenContents};
    use crate::secret::Secret;

    fn contents(text: &str) -> Option<TokenContents> {
        TokenContents::of(&AccessToken::new(Secret::new(text), UNIX_EPOCH))
    }

    #[test]
    fn roles_and_scopes_are_read() {
        let body = r#"{"aud":"https://graph.example","tid":"t","appid":"a","exp":7,
            "roles":["Mail.Read"],"scp":"User.Read Files.Read","upn":"a@b","xms_cc":["cp1"],"x":{"y":1}}"#;
        let token = format!("h.{}.s", URL_SAFE_NO_PAD.encode(body));
        let contents = contents(&token).unwrap();
        assert_eq!(contents.audience(), Some("https://graph.example"));
        assert_eq!(
            (contents.tenant(), contents.client_id()),
            (Some("t"), Some("a"))
        );
        assert!(contents.permits("Mail.Read") && contents.permits("Files.Read"));
        assert_eq!(contents.account(), Some("a@b"));
        assert!(!contents.permits("Mail.Rea") && contents.answers_challenges());
    }

    #[test]
    fn opaque_tokens_say_nothing() {
        for text in ["", "opaque", "a.b.c", "EwB.x", "a.e30.b.c", "a.W10.b"] {
            assert_eq!(contents(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "\\PC{0,80}", body in "[ -~]{0,60}") {
            let _ = contents(&text);
            let _ = contents(&format!("h.{}.s", URL_SAFE_NO_PAD.encode(body)));
        }
    }
}
