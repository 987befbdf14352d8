//! Export: whole items as streams that nobody but the service reads.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};

use super::{mailbox, mailbox_id};
use crate::server::answer::{self, Outcome, Refusal};
use crate::server::call::Call;
use crate::server::directory::context;
use crate::tenant::State;
use crate::tenant::mailbox::Mailbox;
use crate::tenant::message::Message;

/// Items in one call at most.
/// *Source*: Graph, mailbox: exportItems (2026-02).
const ITEMS_MAX: usize = 20;

/// What a stream begins with.
pub(super) const MAGIC: &[u8] = b"\x01\0\0\0FXS1";

/// Answers one request to export items: each has its own outcome in a 200.
pub(super) fn route(call: &Call) -> Outcome {
    call.check(Method::POST, &["MailboxItem.Export.All"])?;
    let body = call.json()?;
    let ids = super::import::member(&body, "itemIds")
        .and_then(Value::as_array)
        .filter(|ids| ids.iter().all(Value::is_string))
        .ok_or_else(|| Refusal::bad_request("The property 'itemIds' must be a list of ids."))?;
    if ids.is_empty() || ids.len() > ITEMS_MAX {
        return Err(Refusal::new(
            400,
            "ErrorInvalidRequest",
            format!("Between 1 and {ITEMS_MAX} items can be exported at once."),
        ));
    }
    let state = call.tenant.lock();
    let mailbox = mailbox(&state, call.segment(3))?;
    let value: Vec<Value> = ids
        .iter()
        .filter_map(Value::as_str)
        .map(|id| one(call, &state, mailbox, id))
        .collect();
    let what = "Collection(microsoft.graph.exportItemResponse)";
    let body = json!({"@odata.context": context(call, what), "value": value});
    Ok(answer::json(200, &body))
}

fn one(call: &Call, state: &State, mailbox: &Mailbox, id: &str) -> Value {
    let failed = |code: &str, message: &str| json!({"itemId": id, "error": {"code": code, "message": message}});
    let Some(message) = mailbox.message(id) else {
        return failed(
            "ErrorItemNotFound",
            "The specified object was not found in the store.",
        );
    };
    let own = mailbox.message_id(message, true);
    if let Some(home) = state.archives.get(&mailbox.folder_id(message.folder)) {
        // The message of this error is the address to ask instead.
        let address = format!(
            "{}v1.0/admin/exchange/mailboxes/{}/exportItems",
            call.tenant.urls().graph,
            mailbox_id(state, home)
        );
        return failed("ErrorArchiveFolderMovedPermanently", &address);
    }
    if let Err(refusal) = state.readable(&own) {
        return failed(&refusal.code, &refusal.message);
    }
    json!({
        "itemId": id,
        "changeKey": mailbox.change_key(message.change),
        "data": STANDARD.encode(stream(message)),
    })
}

/// Writes a message with all that its mailbox knows of it.
fn stream(message: &Message) -> Vec<u8> {
    let state = json!({
        "created": message.created,
        "received": message.received,
        "sent": message.sent,
        "draft": message.draft,
        "read": message.read,
        "flag": message.flag.as_str(),
        "importance": message.importance.as_str(),
        "categories": message.categories,
        "properties": message.properties,
        "mime": STANDARD.encode(message.mime()),
    });
    [MAGIC, state.to_string().as_bytes()].concat()
}
