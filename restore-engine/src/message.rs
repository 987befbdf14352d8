//! Message: builds, from the stored forms of one message, the JSON that creates it anew.
//!
//! The Graph form gives what only the mailbox knows (read state, flag, categories, dates, blind
//! copies); the MIME form gives headers, body and attachments.

#[cfg(test)]
mod laws;
pub(crate) mod mime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::loss::LossCode;
use mime::{Attachment, Mailbox, MimeView};

/// The named property that carries the source item's id on every restored message.
///
/// A second run finds by it what is already there. The set id was drawn for this program.
pub const SOURCE_ITEM_PROPERTY: &str =
    "String {7b1f4d0e-52c6-4b59-9a86-0c3d7e9a41f2} Name M365BackupSourceItem";

/// What the source item property starts with while a message still lacks attachments.
pub(crate) const INCOMPLETE_PREFIX: &str = "incomplete:";

/// The create call stays below this, so that the whole request stays below 4 MB.
///
/// *Source*: the limit for ordinary writes of 4 MB, see `FIDELITY.md`.
const CREATE_BYTES_MAX: usize = 3_400_000;

/// An attachment up to this size may travel inside the create call; larger ones go in calls of
/// their own, so that one attachment does not crowd out the others.
const INLINE_BYTES_MAX: usize = 2_200_000;

/// How many headers the service accepts on one message.
const X_HEADERS_MAX: usize = 5;

/// Message flag: the message has been read.
const FLAG_READ: u32 = 0x1;

/// One message, ready to be created.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NewMessage {
    /// The body of the create call.
    pub(crate) create: Value,
    /// Attachments that are added after it, each in a call of its own.
    pub(crate) later: Vec<Attachment>,
    /// What will differ.
    pub(crate) losses: Vec<LossCode>,
}

/// Builds the message `source_id` from its Graph form and its MIME form.
pub(crate) fn build(source_id: &str, properties: &Value, view: MimeView) -> NewMessage {
    let mut losses = view.losses.clone();
    let mut message = Map::new();
    copy_properties(&mut message, properties);
    put_headers(&mut message, properties, &view, &mut losses);
    let kind = if view.body.html { "html" } else { "text" };
    message.insert(
        "body".into(),
        json!({"contentType": kind, "content": view.body.content}),
    );

    let mut create = Value::Object(message);
    let mut size = create.to_string().len() + 1024;
    let mut inside = Vec::new();
    let mut later = Vec::new();
    for attachment in view.attachments {
        let encoded = attachment.bytes.len().div_ceil(3) * 4 + 512;
        let fits = attachment.bytes.len() <= INLINE_BYTES_MAX && size + encoded < CREATE_BYTES_MAX;
        if fits {
            size += encoded;
            inside.push(file_attachment(&attachment));
        } else {
            later.push(attachment);
        }
    }
    if !inside.is_empty() {
        create["attachments"] = Value::Array(inside);
    }
    create["singleValueExtendedProperties"] =
        extended_properties(source_id, properties, !later.is_empty());
    NewMessage {
        create,
        later,
        losses,
    }
}

/// Says whether the stored message is a draft; it then stays one.
pub(crate) fn is_draft(properties: &Value) -> bool {
    properties
        .get("isDraft")
        .and_then(Value::as_bool)
        .unwrap_or(false)
}

fn copy_properties(message: &mut Map<String, Value>, properties: &Value) {
    const COPIED: [&str; 7] = [
        "importance",
        "categories",
        "isRead",
        "inferenceClassification",
        "isReadReceiptRequested",
        "isDeliveryReceiptRequested",
        "flag",
    ];
    for name in COPIED {
        let Some(value) = properties.get(name).filter(|value| !value.is_null()) else {
            continue;
        };
        let value = if name == "flag" {
            flag(value)
        } else {
            value.clone()
        };
        message.insert(name.to_owned(), value);
    }
}

/// Leaves out what the service adds to a flag on its own.
fn flag(value: &Value) -> Value {
    let known = [
        "flagStatus",
        "startDateTime",
        "dueDateTime",
        "completedDateTime",
    ];
    let fields = known.iter().filter_map(|name| {
        let field = value.get(*name).filter(|field| !field.is_null())?;
        Some(((*name).to_owned(), field.clone()))
    });
    Value::Object(fields.collect())
}

fn put_headers(
    message: &mut Map<String, Value>,
    properties: &Value,
    view: &MimeView,
    losses: &mut Vec<LossCode>,
) {
    let present = |name: &str| {
        properties
            .get(name)
            .filter(|value| !value.is_null())
            .cloned()
    };
    let text = |name: &str, other: &Option<String>| {
        present(name).or_else(|| other.clone().map(Value::String))
    };
    let one = |name: &str, other: &[Mailbox]| {
        let is_address = |value: &Value| value["emailAddress"]["address"].is_string();
        present(name)
            .filter(is_address)
            .or_else(|| other.first().map(recipient))
    };
    let many = |name: &str, other: &[Mailbox]| {
        let stored = present(name).filter(Value::is_array);
        stored.or_else(|| Some(Value::Array(other.iter().map(recipient).collect())))
    };
    let headers = [
        ("subject", text("subject", &view.subject)),
        (
            "internetMessageId",
            text("internetMessageId", &view.message_id),
        ),
        ("from", one("from", &view.from)),
        (
            "sender",
            one("sender", &view.sender).or_else(|| one("from", &view.from)),
        ),
        ("toRecipients", many("toRecipients", &view.to)),
        ("ccRecipients", many("ccRecipients", &view.cc)),
        ("bccRecipients", many("bccRecipients", &view.bcc)),
        ("replyTo", many("replyTo", &view.reply_to)),
    ];
    for (name, value) in headers {
        if let Some(value) = value {
            message.insert(name.to_owned(), value);
        }
    }
    if view.x_headers.len() > X_HEADERS_MAX {
        losses.push(LossCode::HeadersOverLimit);
    }
    let kept = view.x_headers.iter().take(X_HEADERS_MAX);
    let kept: Vec<Value> = kept
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    if !kept.is_empty() {
        message.insert("internetMessageHeaders".into(), Value::Array(kept));
    }
}

fn recipient(mailbox: &Mailbox) -> Value {
    let name = mailbox.name.as_deref().unwrap_or(&mailbox.address);
    json!({"emailAddress": {"name": name, "address": mailbox.address}})
}

/// The properties that make the message what it was: not a draft, read or unread, with its dates.
fn extended_properties(source_id: &str, properties: &Value, incomplete: bool) -> Value {
    let mut list = Vec::new();
    if !is_draft(properties) {
        let read = properties
            .get("isRead")
            .and_then(Value::as_bool)
            .unwrap_or(false);
        let flags = if read { FLAG_READ } else { 0 };
        list.push(json!({"id": "Integer 0x0E07", "value": flags.to_string()}));
    }
    let dates = [
        ("sentDateTime", "SystemTime 0x0039"),
        ("receivedDateTime", "SystemTime 0x0E06"),
    ];
    for (name, tag) in dates {
        if let Some(value) = properties.get(name).and_then(Value::as_str) {
            list.push(json!({"id": tag, "value": value}));
        }
    }
    list.push(source_property(source_id, incomplete));
    Value::Array(list)
}

/// Returns the named property that says which item this is, and whether it is whole.
pub(crate) fn source_property(source_id: &str, incomplete: bool) -> Value {
    let prefix = if incomplete { INCOMPLETE_PREFIX } else { "" };
    json!({"id": SOURCE_ITEM_PROPERTY, "value": format!("{prefix}{source_id}")})
}

fn file_attachment(attachment: &Attachment) -> Value {
    let mut value = json!({
        "@odata.type": "#microsoft.graph.fileAttachment",
        "name": attachment.name,
        "contentType": attachment.content_type,
        "isInline": attachment.inline,
        "contentBytes": STANDARD.encode(&attachment.bytes),
    });
    if let Some(content_id) = &attachment.content_id {
        value["contentId"] = json!(content_id);
    }
    value
}
