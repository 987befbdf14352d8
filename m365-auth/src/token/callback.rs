//! Callback: the address at which a browser ends after sign-in, or what a person pastes of it.

use std::fmt;

use url::{Url, form_urlencoded};

use super::{Authorization, IdentityError};
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;

/// Holds the code that a sign-in gave, checked to belong to that sign-in.
#[derive(Clone)]
pub struct CallbackAnswer {
    code: Secret,
}

impl CallbackAnswer {
    /// Reads what a person pastes: the code alone, or the whole address of the empty page.
    ///
    /// A code alone carries no `state`; the proof of possession (PKCE) still binds it to this
    /// program.
    ///
    /// *Errors*: [`ErrorKind::AnswerRefused`] for an address of another page or another sign-in;
    /// [`ErrorKind::Malformed`] for what holds no code; the refusal of the identity platform, if
    /// the address holds one.
    pub fn from_paste(pasted: &str, authorization: &Authorization) -> Result<Self> {
        // Terminals break long lines.
        let text: String = pasted
            .chars()
            .filter(|c| !c.is_whitespace())
            .take(MAX_ANSWER_CHARS + 1)
            .collect();
        if text.chars().count() > MAX_ANSWER_CHARS {
            return Err(malformed("the answer is longer than an address can be"));
        }
        if text.contains("://") {
            let url = Url::parse(&text).map_err(|_| malformed("the answer is not an address"))?;
            return Self::from_address(&url, authorization);
        }
        if ["code=", "state=", "error="]
            .iter()
            .any(|name| text.contains(name))
        {
            let query = text.trim_start_matches(['?', '#', '/']);
            return Self::from_query(query, authorization);
        }
        let code = percent_decode(&text);
        if code.is_empty() || !code.chars().all(|c| c.is_ascii_graphic()) {
            return Err(malformed("the answer holds no code"));
        }
        Ok(Self {
            code: Secret::new(code),
        })
    }

    /// Reads the address at which the browser ended.
    ///
    /// *Errors*: as [`from_paste`](Self::from_paste).
    pub fn from_address(url: &Url, authorization: &Authorization) -> Result<Self> {
        let expected = authorization.redirect.url();
        let same = url.origin() == expected.origin()
            && url.username().is_empty()
            && url.path().trim_end_matches('/') == expected.path().trim_end_matches('/');
        if !same {
            return Err(refused("it is the address of another page"));
        }
        match (url.query(), url.fragment()) {
            (Some(query), _) if !query.is_empty() => Self::from_query(query, authorization),
            (_, Some(fragment)) => Self::from_query(fragment, authorization),
            _ => Err(malformed("the address holds no code")),
        }
    }

    fn from_query(query: &str, authorization: &Authorization) -> Result<Self> {
        let value = |name: &str| single(query, name);
        let state = value("state")?;
        if state.as_deref() != Some(authorization.state.expose()) {
            return Err(refused("it belongs to another sign-in"));
        }
        if let Some(error) = value("error")? {
            let description = value("error_description")?;
            return Err(refusal(&IdentityError::from_redirect(
                &error,
                description.as_deref(),
            )));
        }
        match value("code")? {
            Some(code) if !code.is_empty() => Ok(Self {
                code: Secret::new(code),
            }),
            _ => Err(malformed("the address holds no code")),
        }
    }

    pub(super) fn code(&self) -> &Secret {
        &self.code
    }
}

impl fmt::Debug for CallbackAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallbackAnswer(..)")
    }
}

/// Returns the value of a field that must not stand there twice.
pub(crate) fn single(query: &str, name: &str) -> Result<Option<String>> {
    let mut values = form_urlencoded::parse(query.as_bytes())
        .filter(|(own, _)| own == name)
        .map(|(_, value)| value.into_owned());
    let first = values.next();
    match values.next() {
        None => Ok(first),
        Some(_) => Err(malformed("the address holds the same field twice")),
    }
}

/// Returns the error for a refusal of the sign-in page.
pub(crate) fn refusal(answer: &IdentityError) -> Error {
    let (kind, words) = answer.classify();
    let cause = words.unwrap_or("the sign-in page refused");
    let mut error = Error::new(kind, format!("the sign-in failed: {cause}"))
        .with_service_code(answer.code())
        .with_source(answer.clone());
    if let Some(step) = answer.next_step() {
        error = error.with_next_step(step);
    }
    error
}

fn percent_decode(text: &str) -> String {
    // The form decoder makes blanks of plus signs, which a code may hold.
    let text = text.replace('+', "%2B");
    form_urlencoded::parse(text.as_bytes())
        .next()
        .map(
            |(name, value)| match value.is_empty() && !text.contains('=') {
                true => name.into_owned(),
                false => format!("{name}={value}"),
            },
        )
        .unwrap_or_default()
}

fn malformed(message: &str) -> Error {
    Error::new(ErrorKind::Malformed, message)
        .with_next_step("paste the whole address of the page at which the browser ended")
}

fn refused(cause: &str) -> Error {
    Error::new(
        ErrorKind::AnswerRefused,
        format!("the answer is not taken: {cause}"),
    )
    .with_next_step("begin the sign-in again, and paste the address it ends at")
}

/// The longest answer that is read, in characters.
const MAX_ANSWER_CHARS: usize = 16 << 10;
