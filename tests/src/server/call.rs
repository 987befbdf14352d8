//! Call: one request, decoded the way the services decode it.

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::answer::Refusal;
use super::{next_request_id, permissions, route_name};
use crate::tenant::Tenant;
use crate::tenant::urls::Door;

/// One request with its path, query options and preferences decoded.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) tenant: Tenant,
    pub(crate) door: Door,
    pub(crate) method: Method,
    /// The decoded segments of the path, in their own letter case; Graph's without the version.
    pub(crate) segments: Vec<String>,
    keys: Vec<String>,
    pub(crate) query: Query,
    pub(crate) prefer: Prefer,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Name of the route for counters and fault plans.
    pub(crate) route: String,
    pub(crate) request_id: String,
}

impl Call {
    pub(crate) fn new(tenant: Tenant, door: Door, request: Request<Bytes>) -> Self {
        let (head, body) = request.into_parts();
        let mut segments = split_path(head.uri.path());
        if door == Door::Graph && segments.first().is_some_and(|first| is_version(first)) {
            segments.remove(0);
        }
        let is_me = segments
            .first()
            .is_some_and(|first| first.eq_ignore_ascii_case("me"));
        if door == Door::Graph
            && is_me
            && let Some(person) = super::login::person(&tenant, &head.headers)
        {
            segments.splice(..1, ["users".to_string(), person]);
        }
        let keys: Vec<String> = segments.iter().map(|text| keyword(text)).collect();
        let route = route_name::of(door, &head.method, &segments, &keys);
        Self {
            request_id: next_request_id(&tenant),
            tenant,
            door,
            method: head.method,
            segments,
            keys,
            query: Query::parse(head.uri.query().unwrap_or("")),
            prefer: Prefer::parse(&head.headers),
            headers: head.headers,
            body,
            route,
        }
    }

    /// Returns the segments in lower case, without `()` and namespace, to match on.
    pub(crate) fn keys(&self) -> Vec<&str> {
        self.keys.iter().map(String::as_str).collect()
    }

    /// Returns the decoded segment at `index`; empty where there is none.
    pub(crate) fn segment(&self, index: usize) -> &str {
        self.segments.get(index).map_or("", String::as_str)
    }

    /// Returns a header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Refuses other verbs, and tokens without any of the permissions.
    pub(crate) fn check(&self, method: Method, permissions: &[&str]) -> Result<(), Refusal> {
        if self.method != method {
            return Err(self.wrong_verb());
        }
        self.require(permissions)
    }

    /// Refuses the verb of this call.
    pub(crate) fn wrong_verb(&self) -> Refusal {
        Refusal::new(
            405,
            "Request_BadRequest",
            format!(
                "Specified HTTP method '{}' is not allowed for the request target.",
                self.method
            ),
        )
    }

    /// Refuses a token without any of the permissions, unless the operation is in the table, which
    /// has been consulted already.
    pub(crate) fn require(&self, permissions: &[&str]) -> Result<(), Refusal> {
        if permissions::knows(self) {
            return Ok(());
        }
        let state = self.tenant.lock();
        let granted = &state.app.permissions;
        if permissions.iter().any(|wanted| granted.contains(*wanted)) {
            return Ok(());
        }
        Err(permissions::denied(self))
    }

    /// Reads the body as JSON.
    pub(crate) fn json(&self) -> Result<Value, Refusal> {
        serde_json::from_slice(&self.body).map_err(|cause| {
            Refusal::bad_request(format!("Unable to read JSON request payload. {cause}"))
        })
    }
}

/// The query options of a request: names in lower case without their `$`.
#[derive(Debug, Default, Clone)]
pub(crate) struct Query {
    options: Vec<(String, String, bool)>,
}

/// Names that OData reserves; without a `$` they mean the same.
const SYSTEM_OPTIONS: [&str; 9] = [
    "select", "expand", "filter", "orderby", "top", "skip", "count", "search", "format",
];

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        let options = text
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                let name = decode(&name.replace('+', " "));
                let system = name.starts_with('$');
                let name = name.trim_start_matches('$').to_ascii_lowercase();
                let system = system || SYSTEM_OPTIONS.contains(&name.as_str());
                (name, decode(&value.replace('+', " ")), system)
            })
            .collect();
        Self { options }
    }

    /// Returns the value of an option, by its lower-case name without `$`.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.options
            .iter()
            .find(|(own, _, _)| own == name)
            .map(|(_, value, _)| value.as_str())
    }

    /// Lists the options: name, value, whether it is one of OData's.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(String, String, bool)> {
        self.options.iter()
    }

    /// Returns the first option's name, as it was written but for case, and its value.
    pub(crate) fn first(&self) -> Option<(&str, &str)> {
        let (name, value, _) = self.options.first()?;
        Some((name, value))
    }

    /// Refuses system options other than those allowed; others are ignored, as the service does.
    pub(crate) fn allow(&self, allowed: &[&str]) -> Result<(), Refusal> {
        for (name, _, system) in &self.options {
            if *system && !allowed.contains(&name.as_str()) {
                return Err(Refusal::bad_request(format!(
                    "The query parameter '${name}' is not supported."
                )));
            }
        }
        Ok(())
    }

    /// Returns the names in `$select`, `None` when everything is wanted.
    pub(crate) fn select(&self) -> Option<Vec<String>> {
        let text = self.get("select")?;
        let names: Vec<String> = text
            .split(',')
            .map(|name| name.trim().to_string())
            .filter(|name| !name.is_empty())
            .collect();
        (!names.is_empty()).then_some(names)
    }

    /// Reads an option that is a number.
    pub(crate) fn number(&self, name: &str) -> Result<Option<usize>, Refusal> {
        self.get(name)
            .map(|text| {
                text.parse().map_err(|_| {
                    Refusal::bad_request(format!(
                        "Invalid value '{text}' for ${name} query option."
                    ))
                })
            })
            .transpose()
    }
}

/// The `Prefer` headers of a request.
#[derive(Debug, Default, Clone)]
pub(crate) struct Prefer(Vec<(String, String)>);

impl Prefer {
    fn parse(headers: &HeaderMap) -> Self {
        let pairs = headers
            .get_all("prefer")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|part| {
                let (name, value) = part.split_once('=').unwrap_or((part, ""));
                let value = value.trim().trim_matches('"');
                (name.trim().to_ascii_lowercase(), value.to_string())
            })
            .filter(|(name, _)| !name.is_empty())
            .collect();
        Self(pairs)
    }

    /// Returns the value of a preference, by its lower-case name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }

    /// Tells whether ids that survive a move are wanted.
    pub(crate) fn immutable_ids(&self) -> bool {
        self.get("idtype")
            .is_some_and(|kind| kind.eq_ignore_ascii_case("ImmutableId"))
    }

    /// Returns the page size asked for.
    pub(crate) fn page_size(&self) -> Option<usize> {
        self.get("odata.maxpagesize")?.parse().ok()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Echoes the preferences for `Preference-Applied`.
    pub(crate) fn applied(&self) -> String {
        let quote = |(name, value): &(String, String)| match value.is_empty() {
            true => name.clone(),
            false if name == "odata.maxpagesize" => format!("{name}={value}"),
            false => format!("{name}=\"{value}\""),
        };
        self.0.iter().map(quote).collect::<Vec<_>>().join(", ")
    }
}

fn split_path(path: &str) -> Vec<String> {
    path.split('/')
        .filter(|segment| !segment.is_empty() && *segment != ".")
        .map(decode)
        .collect()
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn is_version(segment: &str) -> bool {
    segment.eq_ignore_ascii_case("v1.0") || segment.eq_ignore_ascii_case("beta")
}

/// Brings a segment into the form that route functions match on.
fn keyword(segment: &str) -> String {
    let lower = segment.to_ascii_lowercase();
    let plain = lower.strip_suffix("()").unwrap_or(&lower);
    plain
        .strip_prefix("microsoft.graph.")
        .unwrap_or(plain)
        .to_string()
}
