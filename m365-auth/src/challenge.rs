//! Challenges: what a service writes in `WWW-Authenticate`, and the claims a new token must meet.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;
use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};

/// Holds one challenge of a `WWW-Authenticate` header.
#[derive(Clone, PartialEq, Eq)]
pub struct Challenge {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// Returns the scheme as it was written, such as `Bearer`.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Returns a parameter by its name, whatever the letter case.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Reads every challenge in one header value.
    ///
    /// *Shape*: what cannot be understood is passed over, never an error: a service that challenges
    /// in a strange way has still refused. At most 64 KiB and 64 challenges are read.
    pub fn parse_all(text: &str) -> Vec<Self> {
        let mut found: Vec<Self> = Vec::new();
        let mut rest = Cursor(text.get(..text.len().min(MAX_HEADER_BYTES)).unwrap_or(""));
        loop {
            rest.skip(|c| c == ',' || c.is_ascii_whitespace());
            let name = rest.take(is_token);
            if name.is_empty() {
                // Not the beginning of anything: one character on.
                match rest.next() {
                    Some(_) => continue,
                    None => return found,
                }
            }
            rest.skip(|c| c.is_ascii_whitespace());
            if rest.peek() == Some('=') {
                rest.next();
                let value = rest.value();
                if let Some(challenge) = found.last_mut() {
                    challenge.parameters.push((name.to_owned(), value));
                }
            } else if found.len() < MAX_CHALLENGES {
                found.push(Self {
                    scheme: name.to_owned(),
                    parameters: Vec::new(),
                });
            }
        }
    }
}

impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values may hold addresses and claims: not for logs.
        let names: Vec<&str> = self
            .parameters
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        f.debug_struct("Challenge")
            .field("scheme", &self.scheme)
            .field("parameters", &names)
            .finish()
    }
}

/// Holds the claims that a token must meet, as the JSON object of the `claims` parameter.
#[derive(Clone, PartialEq, Eq)]
pub struct Claims(Map<String, Value>);

impl Claims {
    /// Reads claims from their JSON text.
    ///
    /// *Errors*: [`ErrorKind::Malformed`] for text that is no JSON object, or longer than 16 KiB.
    pub fn parse(json: &str) -> Result<Self> {
        let malformed = || Error::new(ErrorKind::Malformed, "the claims are not a json object");
        if json.len() > MAX_CLAIMS_BYTES {
            return Err(malformed());
        }
        // The cause may repeat the text: not passed on.
        serde_json::from_str(json)
            .map(Self)
            .map_err(|_| malformed())
    }

    /// Reads the claims that a refusal demands, if it demands any that can be understood.
    ///
    /// *Shape*: the `claims` parameter of a `Bearer` challenge, base64 of a JSON object. There may
    /// be several headers, and the parameters come in any order.
    ///
    /// *Source*: the identity platform's page on claims challenges (19cc3f7).
    pub fn demanded(headers: &HeaderMap) -> Option<Self> {
        headers
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(Challenge::parse_all)
            .filter(|challenge| challenge.scheme().eq_ignore_ascii_case("bearer"))
            .filter(|challenge| {
                challenge
                    .parameter("error")
                    .is_none_or(|error| error.eq_ignore_ascii_case("insufficient_claims"))
            })
            .find_map(|challenge| decode(challenge.parameter("claims")?))
    }

    /// Returns the claims as JSON text, together with the statement that the caller answers
    /// challenges (`cp1`) if it does.
    pub(crate) fn request(claims: Option<&Self>, answers_challenges: bool) -> Option<String> {
        let mut whole = claims.map(|claims| claims.0.clone()).unwrap_or_default();
        if answers_challenges {
            let entry = whole
                .entry("access_token")
                .or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(entry) = entry {
                entry.insert(
                    "xms_cc".to_owned(),
                    serde_json::json!({ "values": ["cp1"] }),
                );
            }
        }
        (!whole.is_empty()).then(|| Value::Object(whole).to_string())
    }
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Claims(..)")
    }
}

fn decode(text: &str) -> Option<Claims> {
    let text = text.trim();
    if text.len() > MAX_CLAIMS_BYTES {
        return None;
    }
    let bytes = [&STANDARD, &URL_SAFE, &STANDARD_NO_PAD, &URL_SAFE_NO_PAD]
        .into_iter()
        .find_map(|engine| engine.decode(text).ok());
    // Some services write the JSON as it is.
    let json = bytes.map_or_else(|| Ok(text.to_owned()), String::from_utf8);
    Claims::parse(&json.ok()?).ok()
}

/// What is left to read of a header.
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<char> {
        self.0.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.0.chars();
        let next = chars.next();
        self.0 = chars.as_str();
        next
    }

    fn take(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let end = self.0.find(|c| !wanted(c)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    fn skip(&mut self, wanted: impl Fn(char) -> bool) {
        self.take(wanted);
    }

    /// Reads a quoted or a bare value; a quote that is never closed ends with the text.
    fn value(&mut self) -> String {
        self.skip(|c| c.is_ascii_whitespace());
        if self.peek() != Some('"') {
            return self
                .take(|c| c != ',' && !c.is_ascii_whitespace())
                .to_owned();
        }
        self.next();
        let mut value = String::new();
        while let Some(c) = self.next() {
            match c {
                '"' => break,
                '\\' => value.extend(self.next()),
                c => value.push(c),
            }
        }
        value
    }
}

/// Tells whether a character may stand in a token of RFC 9110.
fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

/// The longest header that is read, in bytes; longer ones are cut.
const MAX_HEADER_BYTES: usize = 64 << 10;
/// The most challenges kept from one header.
const MAX_CHALLENGES: usize = 64;
/// The longest claims taken, in bytes, before and after decoding.
const MAX_CLAIMS_BYTES: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use proptest::prelude::*;

    use super::{Challenge, Claims};

    fn demanded(values: &[&'static str]) -> Option<Claims> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("www-authenticate", HeaderValue::from_static(value));
        }
        Claims::demanded(&headers)
    }

    #[test]
    fn the_documented_challenge_is_read_whatever_the_order() {
        // {"access_token":{"nbf":{"essential":true, "value":"1604106651"}}}
        let claims = "eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZSwgInZhbHVlIjoiMTYwNDEwNjY1MSJ9fX0=";
        let expected =
            Claims::parse(r#"{"access_token":{"nbf":{"essential":true,"value":"1604106651"}}}"#);
        let one = format!(
            "Bearer realm=\"\", authorization_uri=\"https://login.example/a, b\", client_id=\"x\", \
             error=\"insufficient_claims\", claims=\"{claims}\""
        );
        let one: &'static str = one.leak();
        let expected = expected.unwrap();
        assert_eq!(demanded(&[one]).as_ref(), Some(&expected));
        let other = format!(
            r#"Negotiate, Basic realm="a \"quoted\" one", bearer claims={claims} , error = insufficient_claims"#
        );
        let other: &'static str = other.leak();
        assert_eq!(demanded(&["Negotiate", other]).as_ref(), Some(&expected));
    }

    #[test]
    fn other_refusals_demand_nothing() {
        for value in [
            r#"Bearer error="invalid_token", claims="e30=""#,
            r#"Bearer realm="", error="insufficient_claims""#,
            r#"Basic claims="e30=""#,
            r#"Bearer error="insufficient_claims", claims="bm90IGpzb24=""#,
            "",
            "=,=\"",
        ] {
            assert_eq!(demanded(&[value]), None, "{value}");
        }
    }

    #[test]
    fn the_capability_joins_the_claims_and_replaces_none() {
        let claims = Claims::parse(r#"{"access_token":{"nbf":{"value":"1"}}}"#).unwrap();
        assert_eq!(
            Claims::request(Some(&claims), true).unwrap(),
            r#"{"access_token":{"nbf":{"value":"1"},"xms_cc":{"values":["cp1"]}}}"#
        );
        assert_eq!(
            Claims::request(None, true).unwrap(),
            r#"{"access_token":{"xms_cc":{"values":["cp1"]}}}"#
        );
        assert_eq!(Claims::request(None, false), None);
        assert_eq!(format!("{claims:?}"), "Claims(..)");
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            scheme in "[A-Za-z][A-Za-z0-9-]{0,9}",
            pairs in proptest::collection::vec(("[a-z]{1,8}", "[ -~]{0,20}"), 0..5)
        ) {
            let texts: Vec<String> = pairs
                .iter()
                .map(|(name, value)| {
                    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
                    format!("{name}=\"{value}\"")
                })
                .collect();
            let found = Challenge::parse_all(&format!("{scheme} {}", texts.join(", ")));
            prop_assert_eq!(found.len(), 1);
            prop_assert_eq!(found[0].scheme(), scheme);
            prop_assert_eq!(&found[0].parameters, &pairs);
        }

        #[test]
        fn no_text_is_too_strange(text in "\\PC{0,200}") {
            let _ = Challenge::parse_all(&text);
        }
    }
}
