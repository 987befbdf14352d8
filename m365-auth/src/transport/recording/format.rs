//! The `.http` format: exchanges as plain text, one line of the text per line of the exchange.
//!
//! ```text
//! # whatever follows a hash is for the reader
//! > GET https://graph.microsoft.com/v1.0/users/id-1
//! > accept: application/json
//! < 200
//! < content-type: application/json
//! <
//! < {"id":"id-1"}
//! ```
//!
//! Lines of a request begin with `>`, those of its answer with `<`; a blank one parts headers from
//! the body, which has none when nothing is blank. `:body: base64` among the headers says that the
//! body's lines are base64, `:body: omitted 1234` that a body of that length was left out.
//! `! connect` or `! transport` in the place of an answer says that there was none.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{Method, StatusCode};
use url::Url;

use crate::error::{Error, ErrorKind, Result};

/// Holds exchanges in the order in which they ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recording(Vec<Exchange>);

/// Holds one request and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    pub(crate) request: RecordedRequest,
    pub(crate) outcome: Outcome,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answered(RecordedResponse),
    Unanswered { connected: bool },
}

/// Holds a request as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedRequest {
    /// The method.
    pub method: Method,
    /// The whole address.
    pub url: Url,
    /// The headers, in their order.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: Payload,
}

/// Holds an answer as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers, in their order.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: Payload,
}

/// Holds a recorded body.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Payload {
    /// These bytes.
    Bytes(Bytes),
    /// A body of this length was left out.
    Omitted(u64),
}

impl Exchange {
    /// Joins a request and its answer.
    pub fn answered(request: RecordedRequest, response: RecordedResponse) -> Self {
        Self {
            request,
            outcome: Outcome::Answered(response),
        }
    }

    /// Says that a request had no answer: the connection broke, or none came about.
    pub fn unanswered(request: RecordedRequest, connected: bool) -> Self {
        Self {
            request,
            outcome: Outcome::Unanswered { connected },
        }
    }

    /// Returns the request.
    pub fn request(&self) -> &RecordedRequest {
        &self.request
    }

    /// Returns the answer, if there was one.
    pub fn response(&self) -> Option<&RecordedResponse> {
        match &self.outcome {
            Outcome::Answered(response) => Some(response),
            Outcome::Unanswered { .. } => None,
        }
    }
}

impl Recording {
    /// Holds these exchanges.
    pub fn new(exchanges: Vec<Exchange>) -> Self {
        Self(exchanges)
    }

    /// Returns the exchanges.
    pub fn exchanges(&self) -> &[Exchange] {
        &self.0
    }

    /// Writes the recording as text.
    pub fn to_text(&self) -> String {
        let mut text = String::from("# m365-http 1\n");
        for exchange in &self.0 {
            let request = &exchange.request;
            text.push('\n');
            // Writing to a string cannot fail.
            let _ = writeln!(text, "> {} {}", request.method, request.url);
            write_rest(&mut text, '>', &request.headers, &request.body);
            match &exchange.outcome {
                Outcome::Answered(response) => {
                    let _ = writeln!(text, "< {}", response.status.as_u16());
                    write_rest(&mut text, '<', &response.headers, &response.body);
                }
                Outcome::Unanswered { connected: false } => text.push_str("! connect\n"),
                Outcome::Unanswered { connected: true } => text.push_str("! transport\n"),
            }
        }
        text
    }

    /// Reads a recording.
    ///
    /// *Errors*: [`ErrorKind::Malformed`] with the number of the line, and nothing of the line
    /// itself.
    pub fn parse(text: &str) -> Result<Self> {
        let mut reader = Reader::default();
        for (number, line) in text.lines().enumerate() {
            let Some(mark) = line.chars().next().filter(|c| !c.is_whitespace()) else {
                continue;
            };
            let content = &line[mark.len_utf8()..];
            let content = content.strip_prefix(' ').unwrap_or(content);
            reader.line(number + 1, mark, content)?;
        }
        reader.flush()?;
        match reader.request {
            None => Ok(Self(reader.exchanges)),
            Some(asked) => Err(bad(asked.line, "begins a request that nothing answers")),
        }
    }
}

/// What was read so far.
#[derive(Default)]
struct Reader<'a> {
    exchanges: Vec<Exchange>,
    request: Option<Section<'a>>,
    response: Option<Section<'a>>,
}

/// The lines of a request or of an answer.
struct Section<'a> {
    line: usize,
    lines: Vec<&'a str>,
}

impl<'a> Reader<'a> {
    fn line(&mut self, number: usize, mark: char, content: &'a str) -> Result<()> {
        match mark {
            '#' => {}
            '>' => {
                self.flush()?;
                Section::grow(&mut self.request, number, content);
            }
            '<' => Section::grow(&mut self.response, number, content),
            '!' => {
                let connected = match content.trim() {
                    "connect" => false,
                    "transport" => true,
                    _ => return Err(bad(number, "names no known failure")),
                };
                let asked = self.request.take().filter(|_| self.response.is_none());
                let asked = asked.ok_or_else(|| bad(number, "answers no request"))?;
                let exchange = Exchange::unanswered(asked.request()?, connected);
                self.exchanges.push(exchange);
            }
            _ => return Err(bad(number, "begins with none of the known marks")),
        }
        Ok(())
    }

    /// Ends an exchange whose answer is whole.
    fn flush(&mut self) -> Result<()> {
        let Some(answer) = self.response.take() else {
            return Ok(());
        };
        let asked = self.request.take();
        let asked = asked.ok_or_else(|| bad(answer.line, "answers no request"))?;
        let exchange = Exchange::answered(asked.request()?, answer.response()?);
        self.exchanges.push(exchange);
        Ok(())
    }
}

type Headers = Vec<(HeaderName, HeaderValue)>;

impl<'a> Section<'a> {
    fn grow(section: &mut Option<Self>, line: usize, content: &'a str) {
        let section = section.get_or_insert_with(|| Self {
            line,
            lines: Vec::new(),
        });
        section.lines.push(content);
    }

    fn first(&self) -> &'a str {
        self.lines.first().copied().unwrap_or_default()
    }

    fn request(&self) -> Result<RecordedRequest> {
        let head = self.first().trim().split_once(' ');
        let (method, url) = head.ok_or_else(|| bad(self.line, "names no method and address"))?;
        let (headers, body) = self.rest()?;
        Ok(RecordedRequest {
            method: method
                .parse()
                .map_err(|_| bad(self.line, "names no method"))?,
            url: Url::parse(url).map_err(|_| bad(self.line, "names no address"))?,
            headers,
            body,
        })
    }

    fn response(&self) -> Result<RecordedResponse> {
        let status = self.first().trim().parse();
        let (headers, body) = self.rest()?;
        Ok(RecordedResponse {
            status: status.map_err(|_| bad(self.line, "names no status"))?,
            headers,
            body,
        })
    }

    fn rest(&self) -> Result<(Headers, Payload)> {
        let mut headers = Headers::new();
        let mut kind = BodyKind::Text;
        let mut lines = self.lines.iter().enumerate().skip(1);
        let mut body: Option<Vec<&str>> = None;
        for (place, line) in &mut lines {
            let bad = |cause| bad(self.line + place, cause);
            if line.is_empty() {
                body = Some(Vec::new());
                break;
            }
            if let Some(word) = line.strip_prefix(":body:") {
                kind = BodyKind::parse(word).ok_or_else(|| bad("names no kind of body"))?;
                continue;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| bad("is no header"))?;
            headers.push((
                name.trim().parse().map_err(|_| bad("is no header"))?,
                value.trim().parse().map_err(|_| bad("is no header"))?,
            ));
        }
        if let Some(body) = &mut body {
            body.extend(lines.map(|(_, line)| *line));
        }
        let body = match (kind, body) {
            (BodyKind::Omitted(length), _) => Payload::Omitted(length),
            (_, None) => Payload::Bytes(Bytes::new()),
            (BodyKind::Text, Some(lines)) => Payload::Bytes(lines.join("\n").into()),
            (BodyKind::Base64, Some(lines)) => {
                let bytes = STANDARD.decode(lines.concat());
                let bytes = bytes.map_err(|_| bad(self.line, "has a body that is no base64"))?;
                Payload::Bytes(bytes.into())
            }
        };
        Ok((headers, body))
    }
}

/// How a body is written.
enum BodyKind {
    Text,
    Base64,
    Omitted(u64),
}

impl BodyKind {
    fn parse(text: &str) -> Option<Self> {
        match text.trim() {
            "base64" => Some(Self::Base64),
            text => {
                let length = text.strip_prefix("omitted ")?.trim().parse().ok()?;
                Some(Self::Omitted(length))
            }
        }
    }
}

fn write_rest(
    text: &mut String,
    mark: char,
    headers: &[(HeaderName, HeaderValue)],
    body: &Payload,
) {
    for (name, value) in headers {
        // A value that is no text has no place in a text.
        if let Ok(value) = value.to_str() {
            let _ = writeln!(text, "{mark} {name}: {value}");
        }
    }
    let mut write_lines = |content: &str| {
        let _ = writeln!(text, "{mark}");
        for line in content.split('\n') {
            let space = if line.is_empty() { "" } else { " " };
            let _ = writeln!(text, "{mark}{space}{line}");
        }
    };
    match body {
        Payload::Omitted(length) => {
            let _ = writeln!(text, "{mark} :body: omitted {length}");
        }
        Payload::Bytes(bytes) if bytes.is_empty() => {}
        Payload::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(content) if is_plain(content) => write_lines(content),
            _ => {
                let _ = writeln!(text, "{mark} :body: base64");
                let encoded = STANDARD.encode(bytes);
                let _ = writeln!(text, "{mark}");
                for line in encoded.as_bytes().chunks(76) {
                    let _ = writeln!(text, "{mark} {}", String::from_utf8_lossy(line));
                }
            }
        },
    }
}

/// Tells whether a text survives being written line by line.
fn is_plain(content: &str) -> bool {
    content
        .chars()
        .all(|c| c == '\n' || c == '\t' || !c.is_control())
}

fn bad(line: usize, cause: &str) -> Error {
    let message = format!("the recording cannot be read: line {line} {cause}");
    Error::new(ErrorKind::Malformed, message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn payload() -> impl Strategy<Value = Payload> {
        prop_oneof![
            Just(Payload::Bytes(Bytes::new())),
            any::<u64>().prop_map(Payload::Omitted),
            "[ -~\n\té ]{0,80}".prop_map(|text| Payload::Bytes(text.into())),
            proptest::collection::vec(any::<u8>(), 0..200)
                .prop_map(|bytes| Payload::Bytes(bytes.into())),
        ]
    }

    fn headers() -> impl Strategy<Value = Headers> {
        let header = ("[a-z][a-z0-9-]{0,12}", "([!-~]([ -~]{0,20}[!-~])?)?");
        proptest::collection::vec(header, 0..4).prop_map(|pairs| {
            let parse =
                |(name, value): (String, String)| (name.parse().unwrap(), value.parse().unwrap());
            pairs.into_iter().map(parse).collect()
        })
    }

    fn exchange() -> impl Strategy<Value = Exchange> {
        let request = ("[A-Z]{1,7}", "/([a-z]{1,5}/?){0,3}", headers(), payload()).prop_map(
            |(method, path, headers, body)| RecordedRequest {
                method: method.parse().unwrap(),
                url: Url::parse("https://graph.example")
                    .unwrap()
                    .join(&path)
                    .unwrap(),
                headers,
                body,
            },
        );
        let outcome = prop_oneof![
            any::<bool>().prop_map(|connected| Outcome::Unanswered { connected }),
            (100u16..600, headers(), payload()).prop_map(|(status, headers, body)| {
                Outcome::Answered(RecordedResponse {
                    status: status.try_into().unwrap(),
                    headers,
                    body,
                })
            }),
        ];
        (request, outcome).prop_map(|(request, outcome)| Exchange { request, outcome })
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            exchanges in proptest::collection::vec(exchange(), 0..5)
        ) {
            let recording = Recording::new(exchanges);
            let text = recording.to_text();
            prop_assert_eq!(Recording::parse(&text).unwrap(), recording, "{}", text);
        }

        #[test]
        fn any_text_is_survived(text in "([><!#] ?[ -~]{0,20}\n){0,12}") {
            let _ = Recording::parse(&text);
        }
    }

    #[test]
    fn faults_are_named_by_their_line_only() {
        for (text, line) in [
            ("> GET https://a.example/\n", 1),
            ("# x\n< 200\n", 2),
            ("> GET canary\n< 200\n", 1),
            ("> GET https://a.example/\n< canary\n", 2),
            ("> GET https://a.example/\n> canary\n< 200\n", 2),
            ("> GET https://a.example/\n! canary\n", 2),
            ("canary\n", 1),
            (
                "> GET https://a.example/\n< 200\n< :body: base64\n<\n< can*ary\n",
                2,
            ),
        ] {
            let error = Recording::parse(text).unwrap_err().to_string();
            assert!(error.contains(&format!("line {line} ")), "{text}: {error}");
            assert!(!error.contains("canary"), "{error}");
        }
    }
}
