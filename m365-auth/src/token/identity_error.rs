//! What the identity platform says when it refuses a token, and what that means for the caller.

use std::fmt;

use serde::{Deserialize, Serialize};

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

    /// Returns the first line of the description, without its code, unless it repeats `secret`.
    pub(crate) fn summary(&self, secret: &str) -> Option<String> {
        let text = self.error_description.as_deref()?.lines().next()?;
        let text = match text.split_once(": ") {
            Some((code, rest)) if code.starts_with("AADSTS") => rest,
            _ => text,
        };
        if !secret.is_empty() && text.contains(secret) {
            return None;
        }
        Some(text.chars().take(MAX_SUMMARY_CHARS).collect())
    }

    /// Returns the kind of this error, and words for it where the code is a common one.
    pub(crate) fn classify(&self) -> (ErrorKind, Option<&'static str>) {
        let known = self.error_codes.iter().find_map(|code| by_code(*code));
        if let Some((kind, words)) = known {
            return (kind, Some(words));
        }
        if self.claims.is_some() {
            return (ErrorKind::InteractionNeeded, None);
        }
        let kind = match self.error.as_str() {
            "invalid_client" | "unauthorized_client" => ErrorKind::CredentialRefused,
            "invalid_grant" | "interaction_required" | "consent_required" | "login_required" => {
                ErrorKind::InteractionNeeded
            }
            "temporarily_unavailable" | "server_error" => ErrorKind::Service,
            _ => ErrorKind::Configuration,
        };
        (kind, None)
    }

    /// Returns the first code as the platform writes it, such as `AADSTS7000215`.
    pub(crate) fn code(&self) -> String {
        match self.error_codes.first() {
            Some(code) => format!("AADSTS{code}"),
            None => self.error.clone(),
        }
    }
}

/// Meaning of the codes that administrators meet, in words that say what to look at.
fn by_code(code: u64) -> Option<(ErrorKind, &'static str)> {
    use ErrorKind::{Configuration, CredentialRefused, InteractionNeeded, Service, Throttled};
    Some(match code {
        7_000_215 => (CredentialRefused, "the client secret is wrong"),
        7_000_222 => (CredentialRefused, "the client secret has expired"),
        7_000_112 => (CredentialRefused, "the application is disabled"),
        700_016 => (
            CredentialRefused,
            "the application is not known in this tenant",
        ),
        700_024 => (
            CredentialRefused,
            "the client assertion is outside its time; check the clock",
        ),
        700_027 => (
            CredentialRefused,
            "the signature of the client assertion does not hold",
        ),
        7_000_218 => (CredentialRefused, "the request holds no client credential"),
        700_025 => (
            CredentialRefused,
            "a public client may not send a credential",
        ),
        90_002 => (Configuration, "the tenant was not found"),
        90_038 => (Configuration, "the tenant lives in another cloud"),
        50_194 => (
            Configuration,
            "the application is for one tenant; name that tenant",
        ),
        9_001_023 => (
            Configuration,
            "a tenant id or domain is needed, not a common endpoint",
        ),
        500_011 => (Configuration, "the service was not found in this tenant"),
        70_011 | 700_022 => (Configuration, "the scope is not valid"),
        650_052 | 650_057 => (
            Configuration,
            "the application has no access to this service",
        ),
        90_014 | 900_144 => (Configuration, "the request lacks a parameter"),
        53_000..=53_004 | 530_032 => (InteractionNeeded, "conditional access forbids it"),
        65_001 | 90_094 => (InteractionNeeded, "an administrator must consent first"),
        50_072 | 50_074 | 50_076 | 50_078 | 50_079 => {
            (InteractionNeeded, "a second factor is needed")
        }
        16_000 | 50_058 | 50_097 | 50_105 | 50_125 | 50_140 | 50_158 | 50_173 | 70_043
        | 700_020 | 700_082 => (InteractionNeeded, "a person must sign in again"),
        90_055 => (Throttled, "the tenant asks for too many tokens"),
        50_196 => (Throttled, "the same token was asked for in a loop"),
        50_033 | 50_087 | 90_006 | 90_012 | 90_024 | 90_033 | 90_090 => {
            (Service, "the identity platform has a passing fault")
        }
        _ => return None,
    })
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the token endpoint answered {}", self.error)?;
        if let Some(suberror) = &self.suberror {
            write!(f, " ({suberror})")?;
        }
        for code in &self.error_codes {
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
    }

    #[test]
    fn the_summary_is_one_line_and_repeats_no_secret() {
        let json = r#"{"error":"x","error_description":"AADSTS1: it is bad\r\nTrace ID: 7"}"#;
        assert_eq!(parse(json).summary("canary").as_deref(), Some("it is bad"));
        let json = r#"{"error":"x","error_description":"secret canary is bad"}"#;
        assert_eq!(parse(json).summary("canary"), None);
        assert!(!format!("{:?} {}", parse(json), parse(json)).contains("canary"));
    }
}
