//! What uploads of attachments and files share: the answer that opens or continues a session.

use serde_json::Value;
use url::Url;

use crate::error::{Error, ErrorKind, Result};

/// Reads the address of an upload session.
pub(crate) fn session_url(about: &str, session: &Value) -> Result<Url> {
    session
        .get("uploadUrl")
        .and_then(Value::as_str)
        .and_then(|text| Url::parse(text).ok())
        .ok_or_else(|| {
            let message = format!("{about}: the upload session has no address");
            Error::new(ErrorKind::Malformed, message)
        })
}

/// Reads the first byte that the service still expects, if it expects any.
pub(crate) fn next_expected(status: &Value) -> Option<u64> {
    let ranges = status.get("nextExpectedRanges")?.as_array()?;
    let starts = ranges
        .iter()
        .filter_map(|range| range.as_str()?.split('-').next()?.parse().ok());
    starts.min()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{next_expected, session_url};

    #[test]
    fn the_first_missing_byte_is_found() {
        let status = json!({"nextExpectedRanges": ["77829-99375", "12345-55232"]});
        assert_eq!(next_expected(&status), Some(12_345));
        assert_eq!(
            next_expected(&json!({"nextExpectedRanges": ["26-"]})),
            Some(26)
        );
        assert_eq!(next_expected(&json!({"nextExpectedRanges": []})), None);
        assert_eq!(next_expected(&json!({"id": "1"})), None);
    }

    #[test]
    fn a_session_without_address_is_refused() {
        assert!(session_url("x", &json!({"uploadUrl": "no url"})).is_err());
    }
}
