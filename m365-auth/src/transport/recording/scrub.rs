//! Scrubbing: what of an exchange may be kept, by allow list, and pseudonyms for all the rest.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use http::response::Parts;
use http::{Method, Request};
use serde_json::{Map, Value};
use url::{Url, form_urlencoded};

use super::MAX_BODY_BYTES;
use super::format::{Payload, RecordedRequest, RecordedResponse};
use super::xml;
use super::xml::Names as _;
use crate::redact;
use crate::transport::Body;

/// Replaces what is not known to be harmless; the same text by the same pseudonym.
pub(super) struct Scrubber {
    names: HashMap<String, usize>,
    fields: HashSet<String>,
}

impl Scrubber {
    pub(super) fn new(fields: HashSet<String>) -> Self {
        Self {
            names: HashMap::new(),
            fields,
        }
    }

    pub(super) fn request(&mut self, request: &Request<Body>) -> RecordedRequest {
        let kind = content_type(request.headers());
        let body = match request.body().as_bytes() {
            Some(bytes) if bytes.len() <= MAX_BODY_BYTES => self.body(kind, bytes),
            Some(bytes) => Payload::Omitted(bytes.len() as u64),
            None => Payload::Omitted(request.body().length().unwrap_or(0)),
        };
        RecordedRequest {
            method: known_method(request.method()),
            url: self.url_of(&request.uri().to_string()),
            headers: self.headers(request.headers()),
            body,
        }
    }

    pub(super) fn response(
        &mut self,
        head: &Parts,
        bytes: Option<&Bytes>,
        length: u64,
    ) -> RecordedResponse {
        let body = match bytes {
            Some(bytes) => self.body(content_type(&head.headers), bytes),
            None => Payload::Omitted(length),
        };
        RecordedResponse {
            status: head.status,
            headers: self.headers(&head.headers),
            body,
        }
    }

    fn headers(&mut self, headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
        let mut kept = Vec::new();
        for (name, value) in headers {
            let shown = match value.to_str() {
                // What is said of the body's length and packing does not fit it any more.
                _ if BODY_HEADERS.contains(&name.as_str()) => continue,
                Ok(text) if name == LOCATION => Some(self.text_url(text)),
                Ok(text) if redact::is_safe_header(name) => Some(text.to_owned()),
                _ => None,
            };
            let name = match redact::is_safe_header(name) || KNOWN_HEADERS.contains(&name.as_str())
            {
                true => name.clone(),
                false => continue,
            };
            let value = shown.and_then(|text| HeaderValue::from_str(&text).ok());
            kept.push((name, value.unwrap_or(HeaderValue::from_static("{}"))));
        }
        kept
    }

    fn body(&mut self, kind: &str, bytes: &Bytes) -> Payload {
        if bytes.is_empty() {
            return Payload::Bytes(Bytes::new());
        }
        if kind == "application/x-www-form-urlencoded" {
            return Payload::Bytes(self.form(bytes).into());
        }
        if xml::is_xml(kind) {
            return match xml::scrub(bytes, self) {
                Some(document) => Payload::Bytes(document.into()),
                None => Payload::Omitted(bytes.len() as u64),
            };
        }
        match serde_json::from_slice(bytes) {
            Ok(value @ (Value::Object(_) | Value::Array(_))) => {
                let scrubbed = self.value("", value, 0);
                Payload::Bytes(scrubbed.to_string().into())
            }
            _ => Payload::Omitted(bytes.len() as u64),
        }
    }

    fn form(&mut self, bytes: &[u8]) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form_urlencoded::parse(bytes) {
            let name = match KNOWN_FORM.contains(&&*name) {
                true => name.into_owned(),
                false => self.pseudonym("field", &name),
            };
            let shown = match name.as_str() {
                "grant_type" if GRANTS.contains(&&*value) => value.into_owned(),
                _ => self.pseudonym("id", &value),
            };
            form.append_pair(&name, &shown);
        }
        form.finish()
    }

    fn value(&mut self, field: &str, value: Value, depth: usize) -> Value {
        if depth > MAX_DEPTH {
            return Value::Null;
        }
        match value {
            Value::Null | Value::Bool(_) => value,
            Value::Number(_) if self.is_known(field) => value,
            Value::Number(_) => Value::from(0),
            Value::String(text) => Value::String(self.text(field, &text)),
            Value::Array(items) => items
                .into_iter()
                .map(|item| self.value(field, item, depth + 1))
                .collect(),
            Value::Object(entries) => {
                let mut kept = Map::new();
                for (name, value) in entries {
                    let shown = match self.is_known(&name) {
                        true => name.clone(),
                        false => self.pseudonym("field", &name),
                    };
                    kept.insert(shown, self.value(&name, value, depth + 1));
                }
                Value::Object(kept)
            }
        }
    }

    fn text(&mut self, field: &str, text: &str) -> String {
        // Words of the services have no digits; what opens doors nearly always has.
        let is_word = text.len() <= 64
            && text
                .chars()
                .all(|c| c.is_ascii_alphabetic() || "#._-".contains(c));
        if WORD_FIELDS.contains(&field) && is_word {
            text.to_owned()
        } else if text.starts_with("http://") || text.starts_with("https://") {
            self.text_url(text)
        } else if is_timestamp(text) {
            A_TIMESTAMP.to_owned()
        } else if text.is_empty() {
            String::new()
        } else {
            self.pseudonym("id", text)
        }
    }

    fn text_url(&mut self, text: &str) -> String {
        self.url_of(text).into()
    }

    /// Returns an address in which only words of the services are left as they were.
    fn url_of(&mut self, text: &str) -> Url {
        let whole = Url::parse(text);
        let mut url = match &whole {
            Ok(url) => self.origin(url),
            Err(_) => nowhere(),
        };
        let Ok(whole) = whole else {
            let name = self.pseudonym("id", text);
            url.set_path(&name);
            return url;
        };
        let mut path = String::new();
        for segment in whole.path().split('/').skip(1) {
            path.push('/');
            match segment.is_empty() || redact::is_safe_segment(segment) {
                true => path.push_str(segment),
                false => {
                    let decoded = decode(segment);
                    path.push_str(&self.pseudonym("id", &decoded));
                }
            }
        }
        url.set_path(&path);
        if let Some(query) = whole.query() {
            let mut pairs = Vec::new();
            for (name, value) in form_urlencoded::parse(query.as_bytes()) {
                let name = match redact::is_safe_query(&name) {
                    true => name.into_owned(),
                    false => self.pseudonym("field", &name),
                };
                let is_count = value.len() <= 6 && value.chars().all(|c| c.is_ascii_digit());
                let value = match name.as_str() {
                    "$top" | "$skip" if is_count => value.into_owned(),
                    "$count" | "includeHiddenFolders" if value == "true" || value == "false" => {
                        value.into_owned()
                    }
                    "$select" => {
                        let names = value.split(',').map(|word| match self.is_known(word) {
                            true => word.to_owned(),
                            false => self.pseudonym("field", word),
                        });
                        names.collect::<Vec<_>>().join(",")
                    }
                    _ if value.is_empty() => String::new(),
                    _ => self.pseudonym("id", &value),
                };
                pairs.push((name, value));
            }
            url.query_pairs_mut().extend_pairs(pairs);
        }
        url
    }

    fn origin(&mut self, url: &Url) -> Url {
        let host = url.host_str().unwrap_or_default();
        let known = KNOWN_HOSTS.contains(&host);
        let host = match known {
            true => host.to_owned(),
            false => format!("{}.example", self.pseudonym("host", host)),
        };
        let port = url
            .port()
            .map(|port| format!(":{port}"))
            .unwrap_or_default();
        let scheme = if url.scheme() == "http" {
            "http"
        } else {
            "https"
        };
        Url::parse(&format!("{scheme}://{host}{port}/")).unwrap_or_else(|_| nowhere())
    }
}

impl xml::Names for Scrubber {
    fn is_known(&self, field: &str) -> bool {
        KNOWN_FIELDS.contains(&field) || self.fields.contains(field)
    }

    fn pseudonym(&mut self, kind: &str, text: &str) -> String {
        // What a replay sends back is a pseudonym already, but not one of this recording.
        let next = self.names.len() + 1;
        let number = *self.names.entry(text.to_owned()).or_insert(next);
        format!("{kind}-{number}")
    }
}

#[allow(clippy::expect_used, reason = "a literal")]
fn nowhere() -> Url {
    Url::parse("https://host-0.example/").expect("a literal is an address")
}

fn known_method(method: &Method) -> Method {
    let known = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
    ];
    match known.contains(method) {
        true => method.clone(),
        false => Method::GET,
    }
}

fn content_type(headers: &HeaderMap) -> &str {
    let text = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let kind = text.unwrap_or_default().split(';').next();
    kind.unwrap_or_default().trim()
}

fn decode(segment: &str) -> String {
    let plain = segment
        .replace('+', "%2B")
        .replace('&', "%26")
        .replace('=', "%3D");
    form_urlencoded::parse(plain.as_bytes())
        .next()
        .map_or_else(|| segment.to_owned(), |(name, _)| name.into_owned())
}

/// Tells whether a text is a time such as `2026-11-22T12:00:00Z`.
pub(super) fn is_timestamp(text: &str) -> bool {
    let shape: String = text
        .chars()
        .take(40)
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    let rest = shape.strip_prefix("0000-00-00T00:00:00");
    rest.is_some_and(|rest| rest.chars().all(|c| "0.Z+-:".contains(c)))
}

/// What stands in the place of every time.
pub(super) const A_TIMESTAMP: &str = "2000-01-01T00:00:00Z";
/// How deep bodies are looked into.
const MAX_DEPTH: usize = 64;

/// Hosts that all tenants share.
const KNOWN_HOSTS: &[&str] = &[
    "dod-graph.microsoft.us",
    "graph.microsoft.com",
    "graph.microsoft.us",
    "localhost",
    "login.chinacloudapi.cn",
    "login.microsoftonline.com",
    "login.microsoftonline.us",
    "login.partner.microsoftonline.cn",
    "microsoftgraph.chinacloudapi.cn",
    "outlook-dod.office365.us",
    "outlook.office365.com",
    "outlook.office365.us",
    "partner.outlook.cn",
];

/// Headers whose names are kept although their values are not.
const KNOWN_HEADERS: &[&str] = &[
    "authorization",
    "etag",
    "if-match",
    "location",
    "www-authenticate",
];
/// Headers that speak of the body as it went over the line.
const BODY_HEADERS: &[&str] = &["content-encoding", "content-length", "transfer-encoding"];

/// Fields of forms to the identity platform.
const KNOWN_FORM: &[&str] = &[
    "claims",
    "client_assertion",
    "client_assertion_type",
    "client_id",
    "client_secret",
    "code",
    "code_verifier",
    "device_code",
    "grant_type",
    "redirect_uri",
    "refresh_token",
    "scope",
];
const GRANTS: &[&str] = &[
    "authorization_code",
    "client_credentials",
    "refresh_token",
    "urn:ietf:params:oauth:grant-type:device_code",
];

/// Fields whose value is a word of the services.
const WORD_FIELDS: &[&str] = &[
    "@odata.type",
    "code",
    "contentType",
    "error",
    "importance",
    "method",
    "reason",
    "suberror",
    "token_type",
    "userPurpose",
    "wellKnownName",
];

/// Names of fields that every answer may have; those of a schema come from its client.
const KNOWN_FIELDS: &[&str] = &[
    "@microsoft.graph.downloadUrl",
    "@odata.context",
    "@odata.count",
    "@odata.deltaLink",
    "@odata.etag",
    "@odata.nextLink",
    "@odata.type",
    "@removed",
    "access_token",
    "body",
    "changeKey",
    "childFolderCount",
    "client-request-id",
    "code",
    "contentType",
    "correlation_id",
    "createdDateTime",
    "date",
    "device_code",
    "displayName",
    "error",
    "error_codes",
    "error_description",
    "expirationDateTime",
    "expires_in",
    "ext_expires_in",
    "file",
    "folder",
    "hashes",
    "headers",
    "id",
    "importance",
    "innerError",
    "interval",
    "isDraft",
    "isRead",
    "lastModifiedDateTime",
    "message",
    "method",
    "name",
    "nextExpectedRanges",
    "parentFolderId",
    "quickXorHash",
    "reason",
    "receivedDateTime",
    "refresh_token",
    "request-id",
    "requests",
    "responses",
    "scope",
    "size",
    "status",
    "suberror",
    "subject",
    "timestamp",
    "token_type",
    "totalItemCount",
    "trace_id",
    "unreadItemCount",
    "uploadUrl",
    "url",
    "userPrincipalName",
    "userPurpose",
    "value",
    "wellKnownName",
];
