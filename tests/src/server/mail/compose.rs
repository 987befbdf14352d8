//! Composing: a message from the JSON that a client posts, and changes from the JSON it patches.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;

use super::filter::canonical_property;
use crate::server::answer::Refusal;
use crate::tenant::ids;
use crate::tenant::mailbox::Draft;
use crate::tenant::message::{Address, Attachment, Content, Flag, Importance, MessageView};

/// `PR_MESSAGE_FLAGS`, `PR_CLIENT_SUBMIT_TIME`, `PR_MESSAGE_DELIVERY_TIME`.
/// *Source*: [MS-OXPROPS].
const FLAGS: &str = "Integer 0xe07";
const SUBMIT_TIME: &str = "SystemTime 0x39";
const DELIVERY_TIME: &str = "SystemTime 0xe06";

/// Bits of `PR_MESSAGE_FLAGS`.
const READ: i64 = 1;
const UNSENT: i64 = 8;

/// Properties that may be sent but are decided by the service.
const IGNORED: [&str; 16] = [
    "id",
    "createdDateTime",
    "lastModifiedDateTime",
    "changeKey",
    "receivedDateTime",
    "sentDateTime",
    "hasAttachments",
    "bodyPreview",
    "parentFolderId",
    "conversationId",
    "conversationIndex",
    "isDraft",
    "webLink",
    "uniqueBody",
    "isDeliveryReceiptRequested",
    "isReadReceiptRequested",
];

/// Properties that are understood.
const KNOWN: [&str; 18] = [
    "subject",
    "body",
    "from",
    "sender",
    "toRecipients",
    "ccRecipients",
    "bccRecipients",
    "replyTo",
    "importance",
    "isRead",
    "flag",
    "categories",
    "internetMessageId",
    "internetMessageHeaders",
    "attachments",
    "singleValueExtendedProperties",
    "inferenceClassification",
    "multiValueExtendedProperties",
];

/// Refuses properties that a message does not have.
pub(super) fn check_names(body: &Value) -> Result<(), Refusal> {
    let object = body
        .as_object()
        .ok_or_else(|| Refusal::bad_request("Empty Payload. JSON content expected."))?;
    for name in object.keys() {
        let known = IGNORED.contains(&name.as_str()) || KNOWN.contains(&name.as_str());
        if !known && !name.contains('@') {
            return Err(Refusal::new(
                400,
                "RequestBodyRead",
                format!(
                    "The property '{name}' does not exist on type 'microsoft.graph.message'. Make \
                     sure to only use property names that are defined by the type."
                ),
            ));
        }
    }
    Ok(())
}

/// Makes a new message of the posted JSON.
///
/// Without `PR_MESSAGE_FLAGS` it is a draft, as of now; with them and without the unsent bit it is
/// a message that was sent and delivered at the given times.
pub(super) fn new_message(body: &Value, now: i64, seed: u64) -> Result<Draft, Refusal> {
    check_names(body)?;
    let properties = properties(body)?;
    let of = |wanted: &str| {
        let found = properties.iter().find(|(id, _)| id == wanted);
        found.map(|(_, value)| value.as_str())
    };
    let flags = of(FLAGS)
        .map(|text| text.parse::<i64>().map_err(|_| invalid_property(FLAGS)))
        .transpose()?;
    let time = |id: &str| {
        of(id)
            .map(|text| {
                text.parse::<jiff::Timestamp>()
                    .map_err(|_| invalid_property(id))
            })
            .transpose()
    };
    let sent = time(SUBMIT_TIME)?.map_or(now, jiff::Timestamp::as_second);
    let received = time(DELIVERY_TIME)?.map_or(now, jiff::Timestamp::as_second);
    let draft = flags.is_none_or(|bits| bits & UNSENT != 0);
    let read = match (flags, body["isRead"].as_bool()) {
        (_, Some(read)) => read,
        (Some(bits), None) => bits & READ != 0,
        (None, None) => true,
    };
    let mut view = MessageView {
        internet_message_id: format!("<{}@mail.contoso.example>", ids::guid(seed, "composed", 0)),
        ..MessageView::default()
    };
    write_view(&mut view, body)?;
    view.attachments = attachments(body)?;
    let special = [FLAGS, SUBMIT_TIME, DELIVERY_TIME];
    Ok(Draft {
        now,
        received,
        sent,
        draft,
        read,
        flag: flag(body)?.unwrap_or_default(),
        importance: importance(body)?.unwrap_or_default(),
        categories: categories(body).unwrap_or_default(),
        properties: properties
            .iter()
            .filter(|(id, _)| !special.contains(&id.as_str()))
            .cloned()
            .collect(),
        content: Content::Composed(Arc::new(view)),
    })
}

/// Puts what the JSON says into the view.
pub(super) fn write_view(view: &mut MessageView, body: &Value) -> Result<(), Refusal> {
    if let Some(subject) = body["subject"].as_str() {
        view.subject = subject.to_string();
    }
    if let Some(id) = body["internetMessageId"].as_str() {
        view.internet_message_id = id.to_string();
    }
    if let Some(content) = body["body"]["content"].as_str() {
        let kind = body["body"]["contentType"].as_str().unwrap_or("text");
        let html = kind.eq_ignore_ascii_case("html");
        view.html = html.then(|| content.to_string());
        view.text = (!html).then(|| content.to_string());
    }
    for name in ["from", "sender"] {
        if !body[name].is_null() {
            view.from = Some(recipient(&body[name])?);
        }
    }
    let lists = [
        ("toRecipients", &mut view.to),
        ("ccRecipients", &mut view.cc),
        ("bccRecipients", &mut view.bcc),
        ("replyTo", &mut view.reply_to),
    ];
    for (name, list) in lists {
        if let Some(values) = body[name].as_array() {
            *list = values.iter().map(recipient).collect::<Result<_, _>>()?;
        }
    }
    for header in body["internetMessageHeaders"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let name = header["name"].as_str().unwrap_or("");
        if !name.to_ascii_lowercase().starts_with("x-") {
            return Err(Refusal::new(
                400,
                "InvalidInternetMessageHeader",
                format!(
                    "The internet message header name '{name}' should start with 'x-' or 'X-'."
                ),
            ));
        }
        let value = header["value"].as_str().unwrap_or("");
        view.headers.push((name.to_string(), value.to_string()));
    }
    Ok(())
}

/// Reads the flag of the JSON.
pub(super) fn flag(body: &Value) -> Result<Option<Flag>, Refusal> {
    let Some(text) = body["flag"]["flagStatus"].as_str() else {
        return Ok(None);
    };
    match Flag::from_text(text) {
        Some(flag) => Ok(Some(flag)),
        None => Err(invalid_property("flag")),
    }
}

/// Reads the importance of the JSON.
pub(super) fn importance(body: &Value) -> Result<Option<Importance>, Refusal> {
    let Some(text) = body["importance"].as_str() else {
        return Ok(None);
    };
    match Importance::from_text(text) {
        Some(importance) => Ok(Some(importance)),
        None => Err(invalid_property("importance")),
    }
}

/// Reads the categories of the JSON.
pub(super) fn categories(body: &Value) -> Option<Vec<String>> {
    let list = body["categories"].as_array()?;
    let text = |value: &Value| value.as_str().map(str::to_string);
    Some(list.iter().filter_map(text).collect())
}

/// Reads the extended properties of the JSON: canonical id and value.
pub(super) fn properties(body: &Value) -> Result<Vec<(String, String)>, Refusal> {
    let list = body["singleValueExtendedProperties"].as_array();
    list.into_iter()
        .flatten()
        .map(|property| {
            let id = property["id"].as_str().unwrap_or("");
            let value = property["value"].as_str().unwrap_or("");
            let id = canonical_property(id).ok_or_else(|| {
                Refusal::new(
                    400,
                    "ErrorInvalidExtendedProperty",
                    format!("The extended property id '{id}' is not valid."),
                )
            })?;
            Ok((id, value.to_string()))
        })
        .collect()
}

/// Reads one attachment of the JSON.
pub(super) fn attachment(value: &Value) -> Result<Attachment, Refusal> {
    let kind = value["@odata.type"].as_str().unwrap_or("");
    if kind.trim_start_matches('#') != "microsoft.graph.fileAttachment" {
        return Err(Refusal::new(
            400,
            "ErrorInvalidAttachment",
            format!("Attachments of type '{kind}' are not taken here."),
        ));
    }
    let name = value["name"].as_str().unwrap_or("");
    let bytes = STANDARD
        .decode(value["contentBytes"].as_str().unwrap_or(""))
        .map_err(|_| invalid_property("contentBytes"))?;
    let media_type = value["contentType"]
        .as_str()
        .unwrap_or("application/octet-stream");
    let mut file = Attachment::new(name, media_type, Bytes::from(bytes));
    file.inline = value["isInline"].as_bool().unwrap_or(false);
    file.content_id = value["contentId"].as_str().map(str::to_string);
    Ok(file)
}

fn attachments(body: &Value) -> Result<Vec<Attachment>, Refusal> {
    let list = body["attachments"].as_array();
    list.into_iter().flatten().map(attachment).collect()
}

fn recipient(value: &Value) -> Result<Address, Refusal> {
    let one = &value["emailAddress"];
    let address = one["address"].as_str().unwrap_or("");
    if one.is_null() || address.contains(char::is_whitespace) {
        return Err(Refusal::new(
            400,
            "ErrorInvalidRecipients",
            "At least one recipient is not valid.",
        ));
    }
    Ok(Address::new(
        one["name"].as_str().unwrap_or(address),
        address,
    ))
}

fn invalid_property(name: &str) -> Refusal {
    Refusal::new(
        400,
        "ErrorInvalidProperty",
        format!("The value of the property '{name}' is not valid."),
    )
}
