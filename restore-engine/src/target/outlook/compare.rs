//! Compares a message that was read back with the one that was written. Pure.
//!
//! Both are brought to one form first: addresses without case, times to the second, an HTML body to
//! the text it shows where the service has rewritten its markup.

use std::collections::BTreeMap;

use backup_store::Timestamp;
use mail_parser::decoders::html::html_to_text;
use serde_json::Value;

use crate::message::NewMessage;
use crate::message::mime::Attachment;

/// Tells whether attachments must be fetched to be compared.
pub(super) fn has_attachments(expected: &NewMessage, actual: &Value) -> bool {
    let inside = expected.create["attachments"]
        .as_array()
        .is_some_and(|list| !list.is_empty());
    inside || !expected.later.is_empty() || actual["hasAttachments"].as_bool() == Some(true)
}

/// Returns what differs, one line for each field.
pub(super) fn differences(
    expected: &NewMessage,
    actual: &Value,
    attachments: &[Attachment],
    folder: &str,
) -> Vec<String> {
    let create = &expected.create;
    let mut list = Vec::new();
    let mut differ = |field: &str, same: bool| {
        if !same {
            list.push(format!("{field} differs"));
        }
    };
    for field in ["subject", "internetMessageId", "importance"] {
        differ(
            field,
            text(&create[field]) == text(&actual[field]) || create[field].is_null(),
        );
    }
    for field in ["from", "sender"] {
        differ(field, address(&create[field]) == address(&actual[field]));
    }
    for field in ["toRecipients", "ccRecipients", "bccRecipients", "replyTo"] {
        differ(
            field,
            addresses(&create[field]) == addresses(&actual[field]),
        );
    }
    differ(
        "categories",
        names(&create["categories"]) == names(&actual["categories"]),
    );
    differ("flag", flag(&create["flag"]) == flag(&actual["flag"]));
    let read = create["isRead"].as_bool().unwrap_or(false);
    differ("isRead", actual["isRead"].as_bool() == Some(read));
    let draft = property(create, "Integer 0x0E07").is_none();
    differ("isDraft", actual["isDraft"].as_bool() == Some(draft));
    for (field, tag) in [
        ("sentDateTime", "SystemTime 0x0039"),
        ("receivedDateTime", "SystemTime 0x0E06"),
    ] {
        // A draft has no dates of its own: the service sets them.
        let wanted = property(create, tag).filter(|_| !draft);
        differ(
            field,
            wanted.is_none_or(|wanted| same_time(wanted, &actual[field])),
        );
    }
    let parent = actual["parentFolderId"].as_str();
    differ("folder", parent.is_none_or(|parent| parent == folder));
    differ("body", same_body(&create["body"], &actual["body"]));
    differ("attachments", same_attachments(expected, attachments));
    list
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn address(value: &Value) -> String {
    text(&value["emailAddress"]["address"]).to_lowercase()
}

fn addresses(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().map(address).collect()
}

fn names(list: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = list.as_array().into_iter().flatten().map(text).collect();
    names.sort_unstable();
    names
}

fn flag(value: &Value) -> (&str, Option<i64>, Option<i64>, Option<i64>) {
    let status = value["flagStatus"].as_str().unwrap_or("notFlagged");
    let time = |field: &str| seconds(&value[field]["dateTime"]);
    (
        status,
        time("startDateTime"),
        time("dueDateTime"),
        time("completedDateTime"),
    )
}

/// Flag times come without an offset; their zone stands beside them and is always UTC here.
fn seconds(value: &Value) -> Option<i64> {
    let text = value.as_str()?;
    let zoned = if text.ends_with('Z') {
        text.to_owned()
    } else {
        format!("{text}Z")
    };
    Timestamp::parse_rfc3339(&zoned)
        .ok()
        .map(|time| time.as_millis().div_euclid(1000))
}

fn same_time(wanted: &str, actual: &Value) -> bool {
    let wanted = Timestamp::parse_rfc3339(wanted).ok();
    let actual = actual
        .as_str()
        .and_then(|actual| Timestamp::parse_rfc3339(actual).ok());
    let seconds = |time: Timestamp| time.as_millis().div_euclid(1000);
    wanted.map(seconds) == actual.map(seconds)
}

fn property<'a>(create: &'a Value, id: &str) -> Option<&'a str> {
    let list = create["singleValueExtendedProperties"].as_array();
    let found = list
        .into_iter()
        .flatten()
        .find(|property| property["id"] == id);
    found.and_then(|property| property["value"].as_str())
}

fn same_body(expected: &Value, actual: &Value) -> bool {
    let (wanted, found) = (text(&expected["content"]), text(&actual["content"]));
    if wanted == found {
        return true;
    }
    let html = |body: &Value| text(&body["contentType"]).eq_ignore_ascii_case("html");
    words(wanted, html(expected)) == words(found, html(actual))
}

/// Returns what a reader sees, with all white space as one blank.
fn words(content: &str, html: bool) -> String {
    let shown = if html {
        html_to_text(content)
    } else {
        content.to_owned()
    };
    shown.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Compares attachments by their bytes, whatever their order.
fn same_attachments(expected: &NewMessage, actual: &[Attachment]) -> bool {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let mut balance: BTreeMap<[u8; 32], i64> = BTreeMap::new();
    let mut count = |bytes: &[u8], by: i64| {
        *balance.entry(*blake3::hash(bytes).as_bytes()).or_default() += by;
    };
    for inside in expected.create["attachments"]
        .as_array()
        .into_iter()
        .flatten()
    {
        match STANDARD.decode(text(&inside["contentBytes"])) {
            Ok(bytes) => count(&bytes, 1),
            Err(_) => return false,
        }
    }
    for later in &expected.later {
        count(&later.bytes, 1);
    }
    for found in actual {
        count(&found.bytes, -1);
    }
    balance.values().all(|difference| *difference == 0)
}
