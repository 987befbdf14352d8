//! Redaction: URLs and headers as they may be logged, by allow list.
//!
//! What is not known to be harmless is not shown: ids, names, tokens and query values never are.

use http::{HeaderMap, Uri};
use url::Url;

/// What stands in the place of a value that is not shown.
const HIDDEN: &str = "{}";

/// Renders a URL: scheme, host, port, the known words of its path, the known names of its query.
pub fn url(url: &Url) -> String {
    let mut text = String::new();
    text.push_str(url.scheme());
    text.push_str("://");
    if let Some(host) = url.host_str() {
        text.push_str(host);
    } else {
        text.push_str(HIDDEN);
    }
    if let Some(port) = url.port() {
        text.push_str(&format!(":{port}"));
    }
    push_path_and_query(&mut text, url.path(), url.query());
    text
}

/// Renders the URI of a request as [`url()`] does.
pub fn uri(uri: &Uri) -> String {
    match Url::parse(&uri.to_string()) {
        Ok(parsed) => url(&parsed),
        Err(_) => HIDDEN.to_owned(),
    }
}

/// Renders headers: known harmless ones with their value, a `Location` as [`url()`] does, of the
/// others the name only.
pub fn headers(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| {
            let shown = match value.to_str() {
                Ok(text) if is_safe_header(name) => text.to_owned(),
                Ok(text) if name == http::header::LOCATION => {
                    Url::parse(text).map_or_else(|_| HIDDEN.to_owned(), |target| url(&target))
                }
                _ => HIDDEN.to_owned(),
            };
            (name.as_str().to_owned(), shown)
        })
        .collect()
}

/// Tells whether the value of a header is known to be harmless.
pub(crate) fn is_safe_header(name: &http::HeaderName) -> bool {
    SAFE_HEADERS.contains(&name.as_str())
}

/// Tells whether a path segment is a word of the services.
pub(crate) fn is_safe_segment(segment: &str) -> bool {
    let bare = segment.strip_suffix("()").unwrap_or(segment);
    SAFE_SEGMENTS
        .iter()
        .any(|safe| safe.eq_ignore_ascii_case(bare))
}

/// Tells whether the name of a query option says nothing of a tenant.
pub(crate) fn is_safe_query(name: &str) -> bool {
    SAFE_QUERY
        .iter()
        .any(|safe| safe.eq_ignore_ascii_case(name))
}

fn push_path_and_query(text: &mut String, path: &str, query: Option<&str>) {
    for segment in path.split('/').skip(1) {
        text.push('/');
        if segment.is_empty() || is_safe_segment(segment) {
            text.push_str(segment);
        } else {
            text.push_str(HIDDEN);
        }
    }
    let Some(query) = query else { return };
    let mut separator = '?';
    for pair in query.split('&') {
        let name = pair
            .split('=')
            .next()
            .unwrap_or_default()
            .replace("%24", "$");
        text.push(separator);
        separator = '&';
        text.push_str(if is_safe_query(&name) { &name } else { HIDDEN });
        text.push('=');
        text.push_str(HIDDEN);
    }
}

/// Path segments that are words of the services, never of a tenant.
const SAFE_SEGMENTS: &[&str] = &[
    "$batch",
    "$count",
    "$value",
    "adminconsent",
    "attachments",
    "authorize",
    "beta",
    "calendars",
    "channels",
    "childFolders",
    "children",
    "common",
    "contactFolders",
    "contacts",
    "content",
    "copy",
    "createUploadSession",
    "delta",
    "deletedItems",
    "devicecode",
    "directory",
    "drive",
    "drives",
    "events",
    "ews",
    "exchange.asmx",
    "groups",
    "instances",
    "identity",
    "items",
    "keys",
    "licenseDetails",
    "lists",
    "mailFolders",
    "mailboxSettings",
    "members",
    "messages",
    "metadata",
    "microsoft.graph.delta",
    "move",
    "oauth2",
    "organizations",
    "permissions",
    "root",
    "settings",
    "sites",
    "special",
    "subscribedSkus",
    "teams",
    "thumbnails",
    "todo",
    "token",
    "users",
    "v1.0",
    "v2.0",
    "versions",
];

/// Query options whose names say nothing of a tenant.
const SAFE_QUERY: &[&str] = &[
    "$count",
    "$deltatoken",
    "$expand",
    "$filter",
    "$orderby",
    "$select",
    "$skip",
    "$skiptoken",
    "$top",
    "api-version",
    "changeType",
    "includeHiddenFolders",
    "token",
];

/// Headers whose values name neither a person nor a secret.
const SAFE_HEADERS: &[&str] = &[
    "accept",
    "accept-encoding",
    "client-request-id",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "date",
    "prefer",
    "preference-applied",
    "range",
    "ratelimit-limit",
    "ratelimit-remaining",
    "ratelimit-reset",
    "request-id",
    "retry-after",
    "transfer-encoding",
    "user-agent",
];

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use proptest::prelude::*;
    use url::Url;

    fn check(input: &str, expected: &str) {
        assert_eq!(super::url(&Url::parse(input).unwrap()), expected);
    }

    #[test]
    fn ids_names_and_query_values_are_hidden() {
        check(
            "https://graph.microsoft.com/v1.0/users/a%40b.example/mailFolders/AA=/\
             messages/delta?$deltatoken=s3cret&x=y",
            "https://graph.microsoft.com/v1.0/users/{}/mailFolders/{}/\
             messages/delta?$deltatoken={}&{}={}",
        );
        check(
            "https://u:p@host.example:8443/v1.0/drives/b!1/root:/Documents/a.txt:/content",
            "https://host.example:8443/v1.0/drives/{}/{}/{}/{}/content",
        );
        check("https://h.example/", "https://h.example/");
    }

    #[test]
    fn unknown_headers_show_their_name_only() {
        let mut map = HeaderMap::new();
        map.insert("authorization", HeaderValue::from_static("Bearer canary"));
        map.insert("x-new", HeaderValue::from_static("canary"));
        map.insert(
            "location",
            HeaderValue::from_static("https://h.example/canary?tempauth=canary"),
        );
        map.insert("retry-after", HeaderValue::from_static("7"));
        let shown = super::headers(&map);
        assert!(!format!("{shown:?}").contains("canary"));
        assert!(shown.contains(&("retry-after".to_owned(), "7".to_owned())));
    }

    proptest! {
        #[test]
        fn no_foreign_segment_or_value_survives(
            id in "canary[A-Za-z0-9]{1,20}", value in "canary[A-Za-z0-9%]{0,20}"
        ) {
            let query = format!("$select={value}&{id}={value}#{id}");
            let text = format!("https://h.example/v1.0/users/{id}/x{id}:/{id}?{query}");
            let shown = super::url(&Url::parse(&text).unwrap());
            prop_assert!(!shown.contains("canary"), "{shown}");
        }
    }
}
