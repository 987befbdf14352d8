//! What the identity platform says when it refuses a token, and what that means for the caller.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::aadsts;
use crate::error::ErrorKind;

/// Holds an error answer of the token endpoint; found as the `source()` of an
/// [`Error`](crate::Error).
///
/// *Source*: the identity platform's reference of error codes (2024-04).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityError {
    error: String,
    #[serde(default)]
    error_description: Option<String>,
    #[serde(default)]
    error_codes: Vec<u64>,
    #[serde(default)]
    suberror: Option<String>,
    #[serde(default)]
    claims: Option<String>,
    #[serde(default)]
    correlation_id: Option<String>,
    #[serde(default)]
    trace_id: Option<String>,
    #[serde(default)]
    timestamp: Option<String>,
}

impl IdentityError {
    /// Returns the OAuth error, such as `invalid_client`.
    pub fn error(&self) -> &str {
        &self.error
    }

    /// Returns the platform's numeric codes, such as 7000215.
    pub fn error_codes(&self) -> &[u64] {
        &self.error_codes
    }

    /// Returns the finer OAuth error, such as `basic_action`.
    pub fn suberror(&self) -> Option<&str> {
        self.suberror.as_deref()
    }

    /// Returns the claims a new request must ask for.
    pub fn claims(&self) -> Option<&str> {
        self.claims.as_deref()
    }

    /// Returns the id that joins the platform's log entries of this sign-in.
    pub fn correlation_id(&self) -> Option<&str> {
        self.correlation_id.as_deref()
    }

    /// Returns the id under which the platform logged the request.
    pub fn trace_id(&self) -> Option<&str> {
        self.trace_id.as_deref()
    }

    /// Reads the error that a sign-in page put into the address it sent the browser to.
    pub(crate) fn from_redirect(error: &str, description: Option<&str>) -> Self {
        Self {
            error: error.chars().take(MAX_ERROR_CHARS).collect(),
            error_codes: aadsts::codes_in(description.unwrap_or_default()),
            error_description: description.map(str::to_owned),
            suberror: None,
            claims: None,
            correlation_id: None,
            trace_id: None,
            timestamp: None,
        }
    }

    /// Returns what a person can do about it, as a sentence without a full stop.
    pub fn next_step(&self) -> Option<&'static str> {
        let known = self.codes().find_map(aadsts::meaning);
        known
            .map(|meaning| meaning.next)
            .or(match self.classify().0 {
                ErrorKind::InteractionNeeded => Some("sign in again, in a browser"),
                ErrorKind::Service | ErrorKind::Throttled => {
                    Some("wait a few minutes and try again")
                }
                ErrorKind::CredentialRefused => {
                    Some("check the tenant, the client id and the credential of the application")
                }
                _ => None,
            })
    }

    /// Lists the codes, or where the answer has no list of them, those its description names.
    fn codes(&self) -> impl Iterator<Item = u64> {
        let described = match self.error_codes.is_empty() {
            true => aadsts::codes_in(self.error_description.as_deref().unwrap_or_default()),
            false => Vec::new(),
        };
        self.error_codes.clone().into_iter().chain(described)
    }

    /// Returns the first line of the description, without its code, unless it repeats a secret.
    pub(crate) fn summary(&self, repeats_a_secret: impl Fn(&str) -> bool) -> Option<String> {
        let text = self.error_description.as_deref()?.lines().next()?;
        let text = match text.split_once(": ") {
            Some((code, rest)) if code.starts_with("AADSTS") => rest,
            _ => text,
        };
        if repeats_a_secret(text) {
            return None;
        }
        Some(text.chars().take(MAX_SUMMARY_CHARS).collect())
    }

    /// Returns the kind of this error, and words for it where the code is a common one.
    pub(crate) fn classify(&self) -> (ErrorKind, Option<&'static str>) {
        if let Some(meaning) = self.codes().find_map(aadsts::meaning) {
            return (meaning.kind, Some(meaning.cause));
        }
        if self.claims.is_some() {
            return (ErrorKind::InteractionNeeded, None);
        }
        let kind = match self.error.as_str() {
            "invalid_client" | "unauthorized_client" => ErrorKind::CredentialRefused,
            "invalid_grant"
            | "interaction_required"
            | "consent_required"
            | "login_required"
            | "access_denied"
            | "authorization_declined"
            | "expired_token"
            | "bad_verification_code" => ErrorKind::InteractionNeeded,
            "temporarily_unavailable" | "server_error" => ErrorKind::Service,
            _ => ErrorKind::Configuration,
        };
        (kind, None)
    }

    /// Returns the first code as the platform writes it, such as `AADSTS7000215`.
    pub(crate) fn code(&self) -> String {
        match self.codes().next() {
            Some(code) => format!("AADSTS{code}"),
            None => self.short_error(),
        }
    }

    /// Returns the OAuth error, cut where one of the platform would have ended long before.
    pub(crate) fn short_error(&self) -> String {
        self.error.chars().take(MAX_ERROR_CHARS).collect()
    }
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the token endpoint answered {}", self.short_error())?;
        if let Some(suberror) = &self.suberror {
            write!(f, " ({suberror})")?;
        }
        for code in self.error_codes.iter().take(MAX_CODES_SHOWN) {
            write!(f, " AADSTS{code}")?;
        }
        if let Some(id) = &self.correlation_id {
            write!(f, ", correlation id {id}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Description and claims are free text of the other side: not for logs.
        f.debug_struct("IdentityError")
            .field("error", &self.error)
            .field("error_codes", &self.error_codes)
            .field("suberror", &self.suberror)
            .field("correlation_id", &self.correlation_id)
            .field("trace_id", &self.trace_id)
            .field("timestamp", &self.timestamp)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for IdentityError {}

impl oauth2::ErrorResponse for IdentityError {}

/// How many codes are shown.
const MAX_CODES_SHOWN: usize = 8;
/// How much of an OAuth error is passed on, in characters.
const MAX_ERROR_CHARS: usize = 100;
/// How much of a description is passed on, in characters.
const MAX_SUMMARY_CHARS: usize = 300;

#[cfg(test)]
mod tests {
    use super::IdentityError;
    use crate::error::ErrorKind;

    fn parse(json: &str) -> IdentityError {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn common_codes_get_words_and_kinds() {
        let error = parse(r#"{"error":"invalid_client","error_codes":[7000222]}"#);
        let (kind, words) = error.classify();
        assert_eq!(kind, ErrorKind::CredentialRefused);
        assert_eq!(words, Some("the client secret has expired"));
        assert_eq!(error.code(), "AADSTS7000222");
    }

    #[test]
    fn unknown_codes_fall_back_to_the_oauth_error() {
        let error = parse(r#"{"error":"temporarily_unavailable","error_codes":[1]}"#);
        assert_eq!(error.classify().0, ErrorKind::Service);
        let error = parse(r#"{"error":"invalid_grant","claims":"{}"}"#);
        assert_eq!(error.classify().0, ErrorKind::InteractionNeeded);
        assert!(error.next_step().unwrap().contains("sign in"));
    }

    #[test]
    fn codes_of_a_redirect_come_from_its_description() {
        let error = IdentityError::from_redirect(
            "access_denied",
            Some("AADSTS65004: User declined to consent."),
        );
        assert_eq!(error.classify().1, Some("the person declined to consent"));
        assert_eq!(error.code(), "AADSTS65004");
    }

    #[test]
    fn the_summary_is_one_line_and_repeats_no_secret() {
        let json = r#"{"error":"x","error_description":"AADSTS1: it is bad\r\nTrace ID: 7"}"#;
        let canary = |text: &str| text.contains("canary");
        assert_eq!(parse(json).summary(canary).as_deref(), Some("it is bad"));
        let json = r#"{"error":"x","error_description":"secret canary is bad"}"#;
        assert_eq!(parse(json).summary(canary), None);
        assert!(!format!("{:?} {}", parse(json), parse(json)).contains("canary"));
    }
}
