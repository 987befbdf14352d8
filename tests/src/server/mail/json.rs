//! Rendering: a message as Graph's JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::filter;
use crate::server::answer::instant;
use crate::tenant::mailbox::{Mailbox, names};
use crate::tenant::message::{Address, Attachment, Message};

/// A message with the ids that only its mailbox can give; rendered without the tenant's lock.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) id: String,
    change_key: String,
    folder_id: String,
    conversation: String,
    pub(super) message: Message,
}

/// Properties that come only when they are selected.
const ON_REQUEST: [&str; 2] = ["internetMessageHeaders", "uniqueBody"];

impl Shown {
    pub(super) fn new(mailbox: &Mailbox, message: &Message, immutable: bool) -> Self {
        Self {
            id: mailbox.message_id(message, immutable),
            change_key: mailbox.change_key(message.change),
            folder_id: mailbox.folder_id(message.folder),
            conversation: mailbox.folder_id(message.serial | 0x4000_0000),
            message: message.clone(),
        }
    }

    pub(super) fn etag(&self) -> String {
        format!("W/\"{}\"", self.change_key)
    }
}

/// Renders the selected properties of a message, all where nothing is selected.
pub(super) fn message(shown: &Shown, select: Option<&[String]>, expand: Option<&str>) -> Value {
    let wants = |name: &str| match select {
        None => !ON_REQUEST.contains(&name),
        Some(names) => names.iter().any(|own| own.eq_ignore_ascii_case(name)),
    };
    let message = &shown.message;
    let with_body = wants("body") || wants("bodyPreview") || wants("uniqueBody");
    let view = message.view(with_body);
    let (body, html) = view.body();
    let mut out = Map::new();
    let mut put = |name: &str, value: Value| {
        if wants(name) {
            out.insert(name.to_string(), value);
        }
    };
    put("createdDateTime", json!(instant(message.created)));
    put("lastModifiedDateTime", json!(instant(message.modified)));
    put("changeKey", json!(shown.change_key));
    put("categories", json!(message.categories));
    put("receivedDateTime", json!(instant(message.received)));
    put("sentDateTime", json!(instant(message.sent)));
    put(
        "hasAttachments",
        json!(view.attachments.iter().any(|file| !file.inline)),
    );
    put("internetMessageId", json!(view.internet_message_id));
    put("subject", json!(view.subject));
    put("bodyPreview", json!(preview(body)));
    put("importance", json!(message.importance.as_str()));
    put("parentFolderId", json!(shown.folder_id));
    put("conversationId", json!(shown.conversation));
    put("isDeliveryReceiptRequested", Value::Null);
    put("isReadReceiptRequested", json!(false));
    put("isRead", json!(message.read));
    put("isDraft", json!(message.draft));
    put(
        "webLink",
        json!(format!(
            "https://outlook.contoso.example/owa/?ItemID={}",
            shown.id
        )),
    );
    put("inferenceClassification", json!("focused"));
    put("body", body_json(body, html));
    put("uniqueBody", body_json(body, html));
    put("sender", address(view.from.as_ref()));
    put("from", address(view.from.as_ref()));
    put("toRecipients", addresses(&view.to));
    put("ccRecipients", addresses(&view.cc));
    put("bccRecipients", addresses(&view.bcc));
    put("replyTo", addresses(&view.reply_to));
    put("flag", json!({"flagStatus": message.flag.as_str()}));
    let headers: Vec<Value> = view
        .headers
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    put("internetMessageHeaders", json!(headers));
    out.insert("@odata.etag".to_string(), json!(shown.etag()));
    out.insert("id".to_string(), json!(shown.id));
    if let Some(expand) = expand {
        expanded(&mut out, shown, &view.attachments, expand);
    }
    Value::Object(out)
}

fn expanded(out: &mut Map<String, Value>, shown: &Shown, files: &[Attachment], expand: &str) {
    if expand
        .to_ascii_lowercase()
        .contains("singlevalueextendedproperties")
    {
        let wanted = filter::property_ids(expand);
        let found: Vec<Value> = shown
            .message
            .properties
            .iter()
            .filter(|(id, _)| wanted.contains(id))
            .map(|(id, value)| json!({"id": id, "value": value}))
            .collect();
        if !found.is_empty() {
            out.insert("singleValueExtendedProperties".to_string(), json!(found));
        }
    }
    if expand.to_ascii_lowercase().starts_with("attachments") {
        let all: Vec<Value> = files
            .iter()
            .enumerate()
            .map(|(index, file)| attachment(&shown.id, index, file, true))
            .collect();
        out.insert("attachments".to_string(), json!(all));
    }
}

/// Renders an attachment, with its content or without.
pub(super) fn attachment(message: &str, index: usize, file: &Attachment, content: bool) -> Value {
    let mut value = json!({
        "@odata.type": "#microsoft.graph.fileAttachment",
        "@odata.mediaContentType": file.media_type,
        "id": names::attachment_id(message, index),
        "name": file.name,
        "contentType": file.media_type,
        "size": file.size_bytes(),
        "isInline": file.inline,
        "contentId": file.content_id,
        "contentLocation": null,
    });
    if content {
        value["contentBytes"] = json!(STANDARD.encode(file.content()));
    }
    value
}

fn body_json(body: &str, html: bool) -> Value {
    json!({"contentType": if html { "html" } else { "text" }, "content": body})
}

fn address(one: Option<&Address>) -> Value {
    one.map_or(
        Value::Null,
        |one| json!({"emailAddress": {"name": one.name, "address": one.address}}),
    )
}

fn addresses(list: &[Address]) -> Value {
    list.iter().map(|one| address(Some(one))).collect()
}

/// Returns the first 255 characters of the text, tags left out.
fn preview(body: &str) -> String {
    let mut inside = false;
    let plain = |letter: &char| {
        let tag = inside || *letter == '<';
        inside = tag && *letter != '>';
        !tag
    };
    body.chars().filter(plain).take(255).collect()
}
