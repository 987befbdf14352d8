//! OData errors: from status, headers and body of a refused request to an [`Error`].
//!
//! *Source*: the Graph error reference; codes differ in case between services, the telling one may
//! stand in an inner error, and bodies of 5xx answers may be empty or HTML.

use http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::error::{Error, ErrorKind};

/// Builds the error of a refused request. `body` may be cut, empty or no JSON at all.
pub(crate) fn error(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
    let parsed = serde_json::from_slice::<Value>(body).unwrap_or(Value::Null);
    // The second name is that of SharePoint REST.
    let object = member(&parsed, "error").or_else(|| member(&parsed, "odata.error"));
    let object = object.unwrap_or(&Value::Null);
    let codes = codes(object);
    let throttle_hint = headers.contains_key(http::header::RETRY_AFTER);
    let kind = codes
        .iter()
        .find_map(|code| by_code(&code.to_ascii_lowercase()))
        .filter(|kind| !too_coarse(*kind, status))
        .unwrap_or_else(|| by_status(status, throttle_hint));
    let mut error = Error::new(kind, words(kind)).with_status(status);
    if let Some(code) = codes.first() {
        error = error.with_code((*code).to_owned());
    }
    let message = member(object, "message");
    // SharePoint REST says in which language it speaks.
    let message = message.and_then(|message| member(message, "value").or(Some(message)));
    if let Some(text) = message.and_then(Value::as_str) {
        error = error.with_service_message(text.chars().take(MAX_MESSAGE_CHARS).collect());
    }
    let header = headers
        .get("request-id")
        .and_then(|value| value.to_str().ok());
    let inner = member(object, "innerError").and_then(|inner| member(inner, "request-id"));
    if let Some(id) = header.or_else(|| inner.and_then(Value::as_str)) {
        error = error.with_request_id(id);
    }
    error
}

/// Returns the codes from the outermost to the innermost, leaving out those that say nothing.
fn codes(object: &Value) -> Vec<&str> {
    let mut found = Vec::new();
    let mut level = Some(object);
    for _ in 0..MAX_NESTING {
        let Some(current) = level else { break };
        if let Some(code) = member(current, "code").and_then(Value::as_str)
            && !code.is_empty()
            && !code.eq_ignore_ascii_case("UnknownError")
        {
            found.push(code);
        }
        level = member(current, "innerError");
    }
    found
}

/// Finds a member whatever the case of its name.
fn member<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    let map = value.as_object()?;
    map.get(name).or_else(|| {
        map.iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    })
}

/// A 429 stays a 429 whatever code comes with it.
fn too_coarse(kind: ErrorKind, status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS && kind != ErrorKind::Throttled
}

fn by_code(code: &str) -> Option<ErrorKind> {
    Some(match code {
        "syncstatenotfound"
        | "syncstateinvalid"
        | "resyncrequired"
        | "resyncchangesapplydifferences"
        | "resyncchangesuploaddifferences"
        | "resyncapplydifferences"
        | "resyncuploaddifferences"
        | "errorinvalidsyncstatedata" => ErrorKind::CursorReset,
        "applicationthrottled" | "activitylimitreached" | "toomanyrequests" => ErrorKind::Throttled,
        "errorserverbusy" | "errormailboxstoreunavailable" | "servicenotavailable" => {
            ErrorKind::Service
        }
        "invalidauthenticationtoken" | "unauthenticated" | "authenticationerror" => {
            ErrorKind::Unauthorized
        }
        "accessdenied"
        | "erroraccessdenied"
        | "authorization_requestdenied"
        | "sharingdisabled"
        | "notallowed" => ErrorKind::Forbidden,
        "itemnotfound"
        | "erroritemnotfound"
        | "errorfoldernotfound"
        | "errorsyncfoldernotfound"
        | "request_resourcenotfound"
        | "resourcenotfound"
        | "mailboxnotenabledforrestapi"
        | "errorinvaliduser"
        | "errornonexistentmailbox" => ErrorKind::NotFound,
        "namealreadyexists" | "errorfolderexists" => ErrorKind::Conflict,
        "resourcemodified" | "errorirresolvableconflict" => ErrorKind::PreconditionFailed,
        "errorcorruptdata"
        | "errorcontentconversionfailed"
        | "errormimecontentconversionfailed"
        | "errorcannotopenfileattachment" => ErrorKind::ItemCorrupt,
        "malwaredetected" | "resourcelocked" => ErrorKind::Blocked,
        "errormessagesizeexceeded" | "errorattachmentsizelimitexceeded" => ErrorKind::TooLarge,
        "quotalimitreached" | "errorquotaexceeded" | "insufficientstorage" => {
            ErrorKind::QuotaExceeded
        }
        _ => return None,
    })
}

fn by_status(status: StatusCode, throttle_hint: bool) -> ErrorKind {
    match status.as_u16() {
        401 => ErrorKind::Unauthorized,
        402 | 403 => ErrorKind::Forbidden,
        404 => ErrorKind::NotFound,
        408 => ErrorKind::Service,
        409 => ErrorKind::Conflict,
        410 => ErrorKind::CursorReset,
        412 => ErrorKind::PreconditionFailed,
        413 => ErrorKind::TooLarge,
        423 => ErrorKind::Blocked,
        429 => ErrorKind::Throttled,
        503 if throttle_hint => ErrorKind::Throttled,
        507 => ErrorKind::QuotaExceeded,
        500..=599 => ErrorKind::Service,
        400..=499 => ErrorKind::InvalidRequest,
        _ => ErrorKind::Malformed,
    }
}

fn words(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Throttled => "the service asks to wait",
        ErrorKind::Service => "the service failed",
        ErrorKind::Unauthorized => "the service does not accept the token",
        ErrorKind::Forbidden => "the application may not do this",
        ErrorKind::NotFound => "not found",
        ErrorKind::Conflict => "it exists already, or is in another state",
        ErrorKind::CursorReset => "the cursor is no longer valid",
        ErrorKind::PreconditionFailed => "it has changed in the meantime",
        ErrorKind::ItemCorrupt => "the service cannot read this item",
        ErrorKind::Blocked => "the service refuses this item by policy",
        ErrorKind::TooLarge => "it is larger than the service allows",
        ErrorKind::QuotaExceeded => "the place is full",
        ErrorKind::InvalidRequest => "the service does not understand the request",
        _ => "the answer could not be understood",
    }
}

/// How many levels of inner errors are read.
const MAX_NESTING: usize = 8;
/// How much of the service's own text is kept, in characters.
const MAX_MESSAGE_CHARS: usize = 1_000;

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, StatusCode};
    use proptest::prelude::*;

    use super::error;
    use crate::error::ErrorKind;

    fn check(status: u16, body: &str, kind: ErrorKind, code: Option<&str>) {
        let status = StatusCode::from_u16(status).unwrap();
        let found = error(status, &HeaderMap::new(), body.as_bytes());
        assert_eq!(found.kind(), kind, "{body}");
        assert_eq!(found.code(), code, "{body}");
    }

    #[test]
    fn codes_decide_before_the_status() {
        let body = r#"{"error":{"code":"ErrorItemNotFound","message":"x"}}"#;
        check(500, body, ErrorKind::NotFound, Some("ErrorItemNotFound"));
        let body = r#"{"error":{"code":"errorcorruptdata"}}"#;
        check(500, body, ErrorKind::ItemCorrupt, Some("errorcorruptdata"));
        let body = r#"{"error":{"code":"SYNCSTATENOTFOUND"}}"#;
        check(400, body, ErrorKind::CursorReset, Some("SYNCSTATENOTFOUND"));
        let body = r#"{"error":{"code":"ErrorSyncFolderNotFound"}}"#;
        check(
            404,
            body,
            ErrorKind::NotFound,
            Some("ErrorSyncFolderNotFound"),
        );
    }

    #[test]
    fn inner_codes_are_found() {
        let body = r#"{"error":{"code":"","innerError":{"innererror":{"code":"resyncRequired"}}}}"#;
        check(400, body, ErrorKind::CursorReset, Some("resyncRequired"));
        let body =
            r#"{"error":{"code":"generalException","innererror":{"code":"malwareDetected"}}}"#;
        check(403, body, ErrorKind::Blocked, Some("generalException"));
    }

    #[test]
    fn the_status_decides_without_a_code() {
        check(502, "", ErrorKind::Service, None);
        check(
            504,
            "<html><body>Gateway</body></html>",
            ErrorKind::Service,
            None,
        );
        check(
            504,
            r#"{"error":{"code":"UnknownError"}}"#,
            ErrorKind::Service,
            None,
        );
        check(410, "{\"error\":{\"co", ErrorKind::CursorReset, None);
        check(423, "{}", ErrorKind::Blocked, None);
        check(
            429,
            r#"{"error":{"code":"ErrorAccessDenied"}}"#,
            ErrorKind::Throttled,
            Some("ErrorAccessDenied"),
        );
        check(418, "[]", ErrorKind::InvalidRequest, None);
    }

    #[test]
    fn the_words_of_the_service_stay_out_of_the_text() {
        let body = r#"{"error":{"code":"x","message":"canary","innerError":{"request-id":"7"}}}"#;
        let found = error(StatusCode::BAD_REQUEST, &HeaderMap::new(), body.as_bytes());
        assert_eq!(found.service_message(), Some("canary"));
        assert_eq!(found.request_id(), Some("7"));
        assert!(!format!("{found} {found:?}").contains("canary"));
    }

    #[test]
    fn sharepoint_has_words_of_its_own() {
        for name in ["odata.error", "error"] {
            let code = "-2147024891, System.UnauthorizedAccessException";
            let body = format!(
                r#"{{"{name}":{{"code":"{code}","message":{{"lang":"en-US","value":"canary"}}}}}}"#
            );
            check(403, &body, ErrorKind::Forbidden, Some(code));
            let found = error(StatusCode::FORBIDDEN, &HeaderMap::new(), body.as_bytes());
            assert_eq!(found.service_message(), Some("canary"));
        }
    }

    #[test]
    fn a_refusal_with_a_time_is_throttling() {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", HeaderValue::from_static("3"));
        let found = error(StatusCode::SERVICE_UNAVAILABLE, &headers, b"");
        assert_eq!(found.kind(), ErrorKind::Throttled);
    }

    proptest! {
        #[test]
        fn no_body_breaks_the_parser(status in 100u16..600, body: Vec<u8>) {
            let status = StatusCode::from_u16(status).unwrap();
            let found = error(status, &HeaderMap::new(), &body);
            prop_assert_eq!(found.status(), Some(status));
        }
    }
}
