//! Basic: a name and a password, for servers that know no tokens.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;

/// Holds what opens a server that knows no tokens: the name of an account and its password.
///
/// It is sent with every request, readable by whoever reads the request: a door takes it for https
/// origins only. `Debug` shows neither.
///
/// *Source*: RFC 7617, in UTF-8.
#[derive(Clone)]
pub struct BasicCredential(HeaderValue);

impl BasicCredential {
    /// Takes the name of an account, as the server knows it, and its password.
    ///
    /// *Errors*: [`ErrorKind::Configuration`] for an empty name or password, a colon in the name,
    /// or a control character in either.
    pub fn new(name: &str, password: &Secret) -> Result<Self> {
        let wrong = |what: &str| {
            let message = format!("the sign-in by name and password {what}");
            Error::new(ErrorKind::Configuration, message)
        };
        let password = password.expose();
        if name.is_empty() || password.is_empty() {
            return Err(wrong("lacks the name or the password"));
        }
        if name.contains(':') {
            return Err(wrong("has a colon in its name, where the password begins"));
        }
        if name.chars().chain(password.chars()).any(char::is_control) {
            return Err(wrong("has a control character in it"));
        }
        let pair = Zeroizing::new(format!("{name}:{password}"));
        let encoded = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
        let text = Zeroizing::new(format!("Basic {}", *encoded));
        let mut header = HeaderValue::from_str(&text)
            .map_err(|cause| wrong("fits no header").with_source(cause))?;
        header.set_sensitive(true);
        Ok(Self(header))
    }

    /// Returns the value of the `Authorization` header.
    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Debug for BasicCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BasicCredential(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::BasicCredential;
    use crate::error::ErrorKind;

    #[test]
    fn name_and_password_are_encoded_as_the_standard_does() {
        // The example of RFC 7617, section 2.1: a password that is not ASCII.
        let credential = BasicCredential::new("test", &"123\u{a3}".into()).unwrap();
        assert_eq!(
            credential.header().to_str().unwrap(),
            "Basic dGVzdDoxMjPCow=="
        );
        assert!(credential.header().is_sensitive());
        assert_eq!(format!("{credential:?}"), "BasicCredential(..)");
    }

    #[test]
    fn what_would_be_read_otherwise_is_refused() {
        for (name, password) in [
            ("", "p"),
            ("u", ""),
            ("a:b", "p"),
            ("u\n", "p"),
            ("u", "p\r\n"),
        ] {
            let error = BasicCredential::new(name, &password.into()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration, "{name}");
            assert!(!error.to_string().contains("a:b"), "{error}");
        }
    }
}
