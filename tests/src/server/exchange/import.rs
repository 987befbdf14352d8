//! Import: items come back through an address of a second origin, one at a time.

use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use super::{folder_key, mailbox_mut, user_of};
use crate::server::answer::{self, Outcome, Refusal, instant};
use crate::server::call::Call;
use crate::server::content::has_stray_token;
use crate::server::directory::context;
use crate::tenant::State;
use crate::tenant::ids;
use crate::tenant::mailbox::Draft;
use crate::tenant::message::{Flag, Importance};

/// How long a session can be used; the service documents no number.
const SESSION: Duration = Duration::from_secs(3_600);

/// Opens a session by which items of one mailbox are imported.
pub(super) fn open(call: &Call) -> Outcome {
    call.check(Method::POST, &["MailboxItem.ImportExport.All"])?;
    let name = call.segment(3).to_owned();
    let mut state = call.tenant.lock();
    mailbox_mut(&mut state, &name)?;
    state.requests += 1;
    let token = ids::guid(state.seed, "import", state.requests);
    let expires = (state.clock)() + SESSION;
    let seconds = expires.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(seconds.as_secs()).unwrap_or(i64::MAX);
    let address = format!(
        "{}api/gv1.0/Mailboxes('{name}')/importItem?authtoken={token}",
        call.tenant.urls().content
    );
    state.imports.insert(token, (name, expires));
    let body = json!({
        "@odata.context": context(call, "microsoft.graph.mailboxItemImportSession"),
        "importUrl": address,
        "expirationDateTime": instant(seconds),
    });
    Ok(answer::json(201, &body))
}

/// Imports one item; the address is the permission.
pub(in super::super) fn route(call: &Call) -> Outcome {
    if has_stray_token(call) {
        return Err(unauthorized());
    }
    if call.method != Method::POST {
        return Err(call.wrong_verb());
    }
    let body = call.json()?;
    let mut state = call.tenant.lock();
    let token = call.query.get("authtoken").unwrap_or_default();
    let now = (state.clock)();
    let session = state.imports.get(token).filter(|(_, end)| *end > now);
    let (name, _) = session.cloned().ok_or_else(unauthorized)?;
    if !call
        .segment(2)
        .eq_ignore_ascii_case(&format!("Mailboxes('{name}')"))
    {
        return Err(unauthorized());
    }
    let (id, change_key) = take(&mut state, &name, &body)?;
    let what = "microsoft.graph.importMailboxItemResponse";
    let body = json!({
        "@odata.context": context(call, what),
        "itemId": id,
        "changeKey": change_key,
    });
    Ok(answer::json(200, &body))
}

fn unauthorized() -> Refusal {
    Refusal::new(
        401,
        "InvalidAuthenticationToken",
        "The import session is not valid or has expired.",
    )
}

/// Puts an item into a mailbox; returns its id and change key.
fn take(state: &mut State, name: &str, body: &Value) -> Result<(String, String), Refusal> {
    let text = |wanted: &str| member(body, wanted).and_then(Value::as_str);
    let required = |wanted: &str| {
        text(wanted).ok_or_else(|| {
            let message = format!("The property '{wanted}' is missing.");
            Refusal::new(400, "ErrorInvalidRequest", message)
        })
    };
    let (folder, mode) = (required("FolderId")?, required("Mode")?);
    let mut draft = read(required("Data")?)?;
    if let Some(home) = state.archives.get(folder)
        && user_of(state, name) != Some(home)
    {
        let home = super::mailbox_id(state, home);
        return Err(Refusal::new(
            409,
            "Conflict",
            format!("Invalid import session. The target session is expected in mailbox {home}."),
        ));
    }
    let now = state.tick();
    let mailbox = mailbox_mut(state, name)?;
    let folder = folder_key(mailbox, folder)?;
    let serial = match (
        mode.to_ascii_lowercase().as_str(),
        text("ItemId"),
        text("ChangeKey"),
    ) {
        ("create", None, None) => {
            let created = draft.now;
            draft.now = now;
            let serial = mailbox.add_message(folder, draft);
            if let Some(message) = mailbox.messages.get_mut(&serial) {
                message.created = created;
            }
            serial
        }
        ("create", ..) => {
            let message = "An item that is created has neither id nor change key yet.";
            return Err(Refusal::new(400, "ErrorInvalidRequest", message));
        }
        ("update", Some(id), Some(change_key)) => {
            let found = mailbox.message(id).filter(|found| found.folder == folder);
            let found = found.ok_or_else(Refusal::item_not_found)?;
            if mailbox.change_key(found.change) != change_key {
                return Err(Refusal::new(
                    409,
                    "ErrorIrresolvableConflict",
                    "The change key passed in the request does not match the current one.",
                ));
            }
            let serial = found.serial;
            if let Some(message) = mailbox.messages.get_mut(&serial) {
                message.content = draft.content;
                message.subject = None;
                (message.read, message.flag) = (draft.read, draft.flag);
                (message.categories, message.properties) = (draft.categories, draft.properties);
            }
            mailbox.touch(serial, now);
            serial
        }
        _ => {
            let message = "An update names the item and its change key; Mode is create or update.";
            return Err(Refusal::new(400, "ErrorInvalidRequest", message));
        }
    };
    let message = mailbox
        .messages
        .get(&serial)
        .ok_or_else(Refusal::item_not_found)?;
    Ok((
        mailbox.message_id(message, true),
        mailbox.change_key(message.change),
    ))
}

/// Reads a stream as `export.rs` writes it.
fn read(data: &str) -> Result<Draft, Refusal> {
    let corrupt = || Refusal::new(400, "ErrorCorruptData", "The stream is not valid.");
    let bytes = STANDARD.decode(data).map_err(|_| corrupt())?;
    let state = bytes
        .strip_prefix(super::export::MAGIC)
        .ok_or_else(corrupt)?;
    let state: Value = serde_json::from_slice(state).map_err(|_| corrupt())?;
    let text = |name: &str| state[name].as_str();
    let number = |name: &str| state[name].as_i64().ok_or_else(corrupt);
    let mime = text("mime").and_then(|mime| STANDARD.decode(mime).ok());
    let mut draft = crate::generate::mail::import::draft(Bytes::from(mime.ok_or_else(corrupt)?));
    draft.now = number("created")?;
    draft.received = number("received")?;
    draft.sent = number("sent")?;
    draft.draft = state["draft"].as_bool().unwrap_or_default();
    draft.read = state["read"].as_bool().unwrap_or_default();
    draft.flag = text("flag").and_then(Flag::from_text).unwrap_or_default();
    draft.importance = text("importance")
        .and_then(Importance::from_text)
        .unwrap_or_default();
    draft.categories = serde_json::from_value(state["categories"].clone()).unwrap_or_default();
    draft.properties = serde_json::from_value(state["properties"].clone()).unwrap_or_default();
    Ok(draft)
}

/// Finds a member whatever the letter case: description and documentation differ in it.
pub(super) fn member<'v>(body: &'v Value, name: &str) -> Option<&'v Value> {
    let mut members = body.as_object()?.iter();
    let found = members.find(|(own, _)| own.eq_ignore_ascii_case(name));
    found
        .map(|(_, value)| value)
        .filter(|value| !value.is_null())
}
