//! One call: how its address is built, what it carries, how its answer is read.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use m365_auth::{Body, Charge};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use url::Url;

use super::{Dialect, GraphClient, GraphOptions, header, read_some};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{self, Node};
use crate::page::{DeltaLink, PageLink};
use crate::{json, odata, retry_after};

/// Describes one request, so that it can be sent more than once.
#[derive(Clone)]
pub(crate) struct Call {
    about: &'static str,
    method: Method,
    url: Url,
    headers: HeaderMap,
    prefer: Vec<String>,
    body: Bytes,
    repeat: Repeat,
    charge: Charged,
    redirect: bool,
}

/// Says who pays for a call, and with it whether a token goes along.
#[derive(Debug, Clone)]
enum Charged {
    /// The node that its address names; a token goes along.
    ByAddress,
    /// What its parts add up to; a token goes along.
    Parts(Charge),
    /// A node; the address is its own authorization.
    Transfer(Node),
}

/// Says whether sending a request twice does harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Twice is as once.
    Safe,
    /// Twice makes two; sent again only when the service has certainly not acted.
    Creates,
}

/// Says what to do with the body of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    /// Read it and parse it; an empty one is null.
    Json,
    /// Leave it for the caller.
    Stream,
}

/// Holds an answer that is no refusal.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) json: Value,
    pub(crate) body: Body,
}

/// One piece of a path.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Segment<'s> {
    /// A word of the service, put in as it is.
    Word(&'static str),
    /// An id, opaque: percent-encoded.
    Id(&'s str),
    /// An item addressed by its parent and name: `{parent}:/{name}`, followed by a colon if more
    /// follows.
    Child {
        parent: &'s str,
        name: &'s str,
        more: bool,
    },
    /// A function of SharePoint with its argument in brackets.
    Function(&'static str, Given<'s>),
}

/// One argument of a function in a path.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Given<'s> {
    /// `guid'…'`, checked by the caller.
    Guid(&'s str),
    Number(u64),
    /// `'…'`, quotes within doubled.
    Text(&'s str),
    /// `Name='…'`.
    Named(&'static str, &'s str),
}

/// Names a word of the service.
pub(crate) fn segment<'s>(word: &'static str) -> Segment<'s> {
    Segment::Word(word)
}

impl<'s> From<&'s str> for Segment<'s> {
    fn from(id: &'s str) -> Self {
        Self::Id(id)
    }
}

impl GraphClient {
    pub(crate) fn get(&self, about: &'static str, path: &[Segment<'_>]) -> Result<Call> {
        self.call(about, Method::GET, path)
    }

    pub(crate) fn call(
        &self,
        about: &'static str,
        method: Method,
        path: &[Segment<'_>],
    ) -> Result<Call> {
        let repeat = if method == Method::POST {
            Repeat::Creates
        } else {
            Repeat::Safe
        };
        Call {
            about,
            method,
            url: self.0.root.clone(),
            headers: HeaderMap::new(),
            prefer: Vec::new(),
            body: Bytes::new(),
            repeat,
            charge: Charged::ByAddress,
            redirect: false,
        }
        .path(path)
    }

    /// Follows a link of the service, which is sent back as it came.
    pub(crate) fn follow(&self, about: &'static str, url: &Url) -> Result<Call> {
        let mut call = self.call(about, Method::GET, &[])?;
        call.url = url.clone();
        Ok(call)
    }

    /// Begins a list, or goes on with it.
    pub(crate) fn page(
        &self,
        about: &'static str,
        next: Option<&PageLink>,
        first: impl FnOnce() -> Result<Call>,
    ) -> Result<Call> {
        next.map_or_else(first, |link| self.follow(about, link.url()))
    }

    /// Begins a feed of changes, or goes on with it.
    pub(crate) fn changes(
        &self,
        about: &'static str,
        from: Option<&DeltaLink>,
        first: impl FnOnce() -> Result<Call>,
    ) -> Result<Call> {
        from.map_or_else(first, |link| self.follow(about, link.url()))
    }
}

impl Call {
    /// Prepares a request to an address that is its own authorization, for content of `node`.
    pub(crate) fn preauthenticated(
        about: &'static str,
        method: Method,
        url: &Url,
        node: &Node,
    ) -> Self {
        Self {
            about,
            method,
            url: url.clone(),
            headers: HeaderMap::new(),
            prefer: Vec::new(),
            body: Bytes::new(),
            repeat: Repeat::Safe,
            charge: Charged::Transfer(node.clone()),
            redirect: false,
        }
    }

    pub(crate) fn about(&self) -> &'static str {
        self.about
    }

    /// Appends to the path.
    pub(crate) fn path(mut self, segments: &[Segment<'_>]) -> Result<Self> {
        let mut path = self.url.path().trim_end_matches('/').to_owned();
        for segment in segments {
            path.push('/');
            match segment {
                Segment::Word(word) => path.push_str(word),
                Segment::Id(id) => path.push_str(&encode(self.about, id)?),
                Segment::Child { parent, name, more } => {
                    path.push_str(&encode(self.about, parent)?);
                    path.push_str(":/");
                    path.push_str(&encode(self.about, name)?);
                    if *more {
                        path.push(':');
                    }
                }
                Segment::Function(name, given) => {
                    path.push_str(name);
                    path.push('(');
                    path.push_str(&argument(self.about, given)?);
                    path.push(')');
                }
            }
        }
        self.url.set_path(&path);
        Ok(self)
    }

    /// Adds a query option.
    pub(crate) fn query(mut self, name: &'static str, value: &str) -> Self {
        let value = utf8_percent_encode(value, ESCAPED_IN_QUERY);
        let pair = format!("{name}={value}");
        let query = match self.url.query() {
            Some(query) if !query.is_empty() => format!("{query}&{pair}"),
            _ => pair,
        };
        self.url.set_query(Some(&query));
        self
    }

    /// Adds a preference, beside the one for immutable ids that every call states.
    pub(crate) fn prefer(mut self, preference: String) -> Self {
        self.prefer.push(preference);
        self
    }

    /// Sets a header.
    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Result<Self> {
        let value = HeaderValue::from_str(value).map_err(|_| {
            let message = format!("{}: a header cannot hold its value", self.about);
            Error::new(ErrorKind::InvalidRequest, message)
        })?;
        self.headers.insert(name, value);
        Ok(self)
    }

    /// Sets a JSON body.
    pub(crate) fn json(mut self, body: &Value) -> Self {
        self.headers
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.body = body.to_string().into();
        self
    }

    /// Sets a body of bytes.
    pub(crate) fn bytes(mut self, body: Bytes) -> Self {
        self.headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        );
        self.body = body;
        self
    }

    /// Charges the call with what its parts add up to.
    pub(crate) fn charged(mut self, charge: Charge) -> Self {
        self.charge = Charged::Parts(charge);
        self
    }

    /// Says whether twice is as once.
    pub(crate) fn repeat(mut self, repeat: Repeat) -> Self {
        self.repeat = repeat;
        self
    }

    /// Takes a redirect as an answer instead of a fault.
    pub(crate) fn expecting_redirect(mut self) -> Self {
        self.redirect = true;
        self
    }

    /// Tells whether the call may be sent again after `error`.
    pub(crate) fn may_repeat(&self, error: &Error) -> bool {
        match self.repeat {
            Repeat::Safe => true,
            // Refused or never sent: nothing was made.
            Repeat::Creates => matches!(error.kind(), ErrorKind::Connect | ErrorKind::Throttled),
        }
    }

    /// Returns the same call, or, for a link that an answer to it gave, that for the address of the
    /// link and no other query.
    pub(crate) fn or_following(&self, link: Option<&Url>) -> Self {
        Self {
            url: link.unwrap_or(&self.url).clone(),
            ..self.clone()
        }
    }

    pub(crate) fn repeats(&self) -> Repeat {
        self.repeat
    }

    pub(crate) fn method(&self) -> &Method {
        &self.method
    }

    /// Returns the preferences, with the one that every call states.
    pub(crate) fn preferences(&self) -> String {
        let mut prefer = IMMUTABLE_IDS.to_owned();
        for preference in &self.prefer {
            prefer.push_str(", ");
            prefer.push_str(preference);
        }
        prefer
    }

    /// Returns the JSON body, where there is one.
    pub(crate) fn json_body(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// Returns the address below `root`, with its query, as parts of a batch are addressed.
    pub(super) fn below(&self, root: &Url) -> String {
        let path = self.url.path();
        let path = path.strip_prefix(root.path()).unwrap_or(path);
        match self.url.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        }
    }

    fn is_authorized(&self) -> bool {
        !matches!(self.charge, Charged::Transfer(_))
    }

    /// Says what the call costs, and at which nodes of a limiter.
    pub(crate) fn charge(&self, client: &GraphClient) -> Charge {
        let root = &client.options().limited_as;
        let charge = match &self.charge {
            Charged::ByAddress => limits::of_request(root, &client.0.root, &self.method, &self.url),
            Charged::Parts(charge) => charge.clone(),
            Charged::Transfer(node) => node.transfer(root),
        };
        charge.with_sent_bytes(self.body.len() as u64)
    }

    fn request(&self, client: &GraphClient) -> Result<Request<Body>> {
        let options = client.options();
        let mut request = Request::builder()
            .method(&self.method)
            .uri(self.url.as_str());
        if let Some(headers) = request.headers_mut() {
            headers.extend(self.headers.clone());
        }
        request = request.header(USER_AGENT, &options.user_agent);
        if self.is_authorized() {
            request = request.header("client-request-id", request_id(options)?);
            let accept = match client.0.dialect {
                Dialect::Graph => {
                    request = request.header("prefer", self.preferences());
                    "application/json"
                }
                Dialect::SharePoint => "application/json;odata=nometadata",
            };
            if !self.headers.contains_key(ACCEPT) {
                request = request.header(ACCEPT, accept);
            }
        }
        request
            .extension(self.charge(client))
            .body(Body::from(self.body.clone()))
            .map_err(|cause| {
                let message = format!("{}: the request could not be built", self.about);
                Error::new(ErrorKind::InvalidRequest, message).with_source(cause)
            })
    }
}

/// Sends a call once and reads its answer.
pub(super) async fn once(client: &GraphClient, call: &Call, read: Read) -> Result<Answer> {
    exchange(client, call, read)
        .await
        .map_err(|error| error.about(call.about))
}

/// Sends a call once and reads its answer as it came.
pub(super) async fn text(client: &GraphClient, call: &Call) -> Result<Bytes> {
    let answer = once(client, call, Read::Stream).await?;
    let text = answer.body.collect(client.options().max_json_bytes).await;
    text.map_err(|cause| Error::from(cause).about(call.about))
}

async fn exchange(client: &GraphClient, call: &Call, read: Read) -> Result<Answer> {
    let (door, options) = (&client.0.door, client.options());
    let request = call.request(client)?;
    let response = if call.is_authorized() {
        door.send(request).await?
    } else {
        door.send_preauthenticated(request).await?
    };
    let (parts, body) = response.into_parts();
    options.observe(call.about, &parts.headers);
    let redirected = parts.status.is_redirection() && parts.headers.contains_key(LOCATION);
    if parts.status.is_success() || (call.redirect && redirected) {
        let mut answer = Answer {
            status: parts.status,
            headers: parts.headers,
            json: Value::Null,
            body,
        };
        if read == Read::Json {
            let body = std::mem::take(&mut answer.body);
            answer.json = json::parse(&body.collect(options.max_json_bytes).await?)?;
        }
        return Ok(answer);
    }
    let explanation = read_some(body, MAX_ERROR_BYTES).await;
    let error = odata::error(parts.status, &parts.headers, &explanation);
    let refused = matches!(parts.status.as_u16(), 429 | 503);
    let hint = retry_after::hint(&parts.headers, refused, options.environment.now());
    Err(match hint {
        Some(wait) => error.with_retry_after(wait),
        None => error,
    })
}

/// Encodes an id or name as one segment of a path.
fn encode(about: &str, text: &str) -> Result<String> {
    // These would be taken for directions, however they are encoded.
    if matches!(text, "" | "." | "..") {
        let message = format!("{about}: an id or name is empty or only dots");
        return Err(Error::new(ErrorKind::InvalidRequest, message));
    }
    Ok(utf8_percent_encode(text, ESCAPED_IN_PATH).to_string())
}

/// Writes the argument of a function.
fn argument(about: &str, given: &Given<'_>) -> Result<String> {
    let quoted =
        |text: &str| Ok::<_, Error>(format!("'{}'", encode(about, &text.replace('\'', "''"))?));
    match given {
        Given::Guid(guid) => Ok(format!("guid'{guid}'")),
        Given::Number(number) => Ok(number.to_string()),
        Given::Text(text) => quoted(text),
        Given::Named(name, text) => Ok(format!("{name}={}", quoted(text)?)),
    }
}

/// Makes the id under which the service logs a request.
fn request_id(options: &GraphOptions) -> Result<String> {
    let mut bytes = [0; 16];
    options.environment.fill(&mut bytes)?;
    bytes[6] = (bytes[6] & 0x0F) | 0x40;
    bytes[8] = (bytes[8] & 0x3F) | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    let [a, b, c, d, e] = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ];
    Ok(format!("{a}-{b}-{c}-{d}-{e}"))
}

impl Answer {
    /// Returns a header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
}

/// What a path segment keeps as it is: letters, digits and the marks that no server misreads.
const ESCAPED_IN_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'=');
const ESCAPED_IN_QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b',')
    .remove(b'$')
    .remove(b'(')
    .remove(b')')
    .remove(b'@')
    .remove(b'\'');
/// Ids that survive a move between folders (Outlook immutable ids, 2023).
const IMMUTABLE_IDS: &str = "IdType=\"ImmutableId\"";
/// How much of a refusal's explanation is read, in bytes.
const MAX_ERROR_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use m365_auth::Environment;
    use proptest::prelude::*;

    use super::{GraphOptions, encode, request_id};

    #[derive(Debug)]
    struct Fixed;

    impl Environment for Fixed {
        fn now(&self) -> std::time::SystemTime {
            std::time::UNIX_EPOCH
        }

        fn fill(&self, bytes: &mut [u8]) -> m365_auth::Result<()> {
            bytes.fill(0xFF);
            Ok(())
        }
    }

    #[test]
    fn request_ids_are_version_4_uuids() {
        let options = GraphOptions {
            environment: Arc::new(Fixed),
            ..GraphOptions::default()
        };
        assert_eq!(
            request_id(&options).unwrap(),
            "ffffffff-ffff-4fff-bfff-ffffffffffff"
        );
    }

    #[test]
    fn dots_and_nothing_are_no_segments() {
        for text in ["", ".", ".."] {
            assert!(encode("x", text).is_err());
        }
    }

    proptest! {
        #[test]
        fn a_segment_stays_one_segment_and_decodes_to_itself(
            text in "\\PC{1,40}|[/?#%:\\\\\t\r\n .]{1,9}"
        ) {
            prop_assume!(!matches!(text.as_str(), "." | ".."));
            let encoded = encode("x", &text).unwrap();
            let mut url = url::Url::parse("https://h.example/v1.0").unwrap();
            url.set_path(&format!("/v1.0/{encoded}/x"));
            let segments: Vec<_> = url.path_segments().unwrap().collect();
            prop_assert_eq!(segments.len(), 3);
            let decoded = percent_encoding::percent_decode_str(segments[1]).decode_utf8().unwrap();
            prop_assert_eq!(decoded, text);
        }
    }
}
