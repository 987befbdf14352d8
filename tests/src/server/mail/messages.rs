//! Messages: list, read, MIME, create, change, move, delete.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use super::filter::{self, Condition};
use super::json::{Shown, message as render};
use super::{READ, READ_BASIC, WRITE, compose, folder_key, mailbox, mailbox_mut};
use crate::server::answer::{self, Outcome, Refusal};
use crate::server::call::Call;
use crate::server::directory::context;
use crate::tenant::mailbox::Mailbox;
use crate::tenant::message::{Content, Message};

/// Messages per page where nobody asks for another size, and the most there are.
const PAGE_MESSAGES: usize = 10;
const PAGE_MESSAGES_MAX: usize = 1000;

/// The largest JSON body of a write, in bytes: Microsoft Graph, known limits of Outlook.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Refuses a body above the limit of ordinary writes.
pub(super) fn check_size(call: &Call) -> Result<(), Refusal> {
    if call.body.len() <= BODY_BYTES_MAX {
        return Ok(());
    }
    Err(Refusal::new(
        413,
        "RequestEntityTooLarge",
        "The request body is larger than the limit of 4 MB.",
    ))
}

pub(super) fn list(call: &Call) -> Outcome {
    call.check(Method::GET, &READ_BASIC)?;
    call.query.allow(&[
        "select", "expand", "top", "skip", "filter", "orderby", "count",
    ])?;
    let condition = call
        .query
        .get("filter")
        .map(filter::condition)
        .transpose()?;
    let size = call.query.number("top")?.or(call.prefer.page_size());
    let size = size.unwrap_or(PAGE_MESSAGES).clamp(1, PAGE_MESSAGES_MAX);
    let skip = call.query.number("skip")?.unwrap_or(0);
    let immutable = call.prefer.immutable_ids();
    let state = call.tenant.lock();
    let mailbox = mailbox(call, &state)?;
    let folder = folder_key(mailbox, call.segment(3))?;
    let mut found = mailbox
        .messages_in(folder)
        .rev()
        .filter(|message| {
            condition
                .as_ref()
                .is_none_or(|wanted| fits(message, wanted))
        })
        .skip(skip);
    let page: Vec<Shown> = found
        .by_ref()
        .take(size)
        .map(|message| Shown::new(mailbox, message, immutable))
        .collect();
    let more = found.next().is_some();
    drop(found);
    super::readable_page(&state, mailbox, page.iter().map(|shown| &shown.message))?;
    drop(state);
    let select = call.query.select();
    let value: Vec<Value> = page
        .iter()
        .map(|shown| render(shown, select.as_deref(), call.query.get("expand")))
        .collect();
    let mut body = json!({
        "@odata.context": context(call, "users('…')/mailFolders('…')/messages"),
        "value": value,
    });
    if more {
        body["@odata.nextLink"] = json!(call.link_with("skip", &(skip + size).to_string()));
    }
    Ok(answer::json(200, &body))
}

fn fits(message: &Message, wanted: &Condition) -> bool {
    match wanted {
        Condition::MessageId(id) => message.view(false).internet_message_id == *id,
        Condition::Property(id, value) => message
            .properties
            .iter()
            .any(|(own, text)| own == id && text == value),
        Condition::ReceivedFrom(from) => message.received >= *from,
        Condition::IsRead(read) => message.read == *read,
    }
}

pub(super) fn one(call: &Call, id: &str) -> Outcome {
    match call.method {
        Method::GET => read(call, id),
        Method::PATCH => change(call, id),
        Method::DELETE => delete(call, id),
        _ => Err(call.wrong_verb()),
    }
}

/// Finds a message, to show it without holding the lock.
pub(super) fn find(call: &Call, id: &str) -> Result<Shown, Refusal> {
    let state = call.tenant.lock();
    let mailbox = mailbox(call, &state)?;
    let message = mailbox.message(id).ok_or_else(Refusal::item_not_found)?;
    state.readable(&mailbox.message_id(message, true))?;
    Ok(Shown::new(mailbox, message, call.prefer.immutable_ids()))
}

fn read(call: &Call, id: &str) -> Outcome {
    call.require(&READ)?;
    call.query.allow(&["select", "expand"])?;
    Ok(shown(call, &find(call, id)?, 200))
}

fn shown(call: &Call, found: &Shown, status: u16) -> answer::Answer {
    let select = call.query.select();
    let mut body = render(found, select.as_deref(), call.query.get("expand"));
    body["@odata.context"] = json!(context(call, "users('…')/messages/$entity"));
    answer::json(status, &body)
}

pub(super) fn mime(call: &Call, id: &str) -> Outcome {
    call.check(Method::GET, &READ)?;
    let found = find(call, id)?;
    Ok(answer::bytes(200, "text/plain", found.message.mime()))
}

pub(super) fn create(call: &Call, folder: &str) -> Outcome {
    call.check(Method::POST, &WRITE)?;
    check_size(call)?;
    let media_type = call.header("content-type").unwrap_or("");
    if !media_type
        .to_ascii_lowercase()
        .starts_with("application/json")
    {
        return Err(Refusal::new(
            415,
            "UnsupportedMediaType",
            format!("The content type '{media_type}' is not taken here; JSON is expected."),
        ));
    }
    let body = call.json()?;
    let immutable = call.prefer.immutable_ids();
    let mut state = call.tenant.lock();
    let (mailbox, now) = mailbox_mut(call, &mut state)?;
    let folder = folder_key(mailbox, folder)?;
    let seed = mailbox.seed ^ mailbox.last_place();
    let draft = compose::new_message(&body, now, seed)?;
    let serial = mailbox.add_message(folder, draft);
    let found = by_serial(mailbox, serial, immutable)?;
    drop(state);
    Ok(shown(call, &found, 201))
}

fn by_serial(mailbox: &Mailbox, serial: u32, immutable: bool) -> Result<Shown, Refusal> {
    let message = mailbox
        .messages
        .get(&serial)
        .ok_or_else(Refusal::item_not_found)?;
    Ok(Shown::new(mailbox, message, immutable))
}

fn change(call: &Call, id: &str) -> Outcome {
    call.require(&WRITE)?;
    check_size(call)?;
    let body = call.json()?;
    compose::check_names(&body)?;
    let immutable = call.prefer.immutable_ids();
    let mut state = call.tenant.lock();
    let (mailbox, now) = mailbox_mut(call, &mut state)?;
    let message = mailbox.message(id).ok_or_else(Refusal::item_not_found)?;
    let serial = message.serial;
    let etag = Shown::new(mailbox, message, immutable).etag();
    if call
        .header("if-match")
        .is_some_and(|wanted| wanted != "*" && wanted != etag)
    {
        return Err(Refusal::new(
            412,
            "ErrorIrresolvableConflict",
            "The send or update operation could not be performed because the change key passed in \
             the request does not match the current change key for the item.",
        ));
    }
    let message = mailbox
        .messages
        .get_mut(&serial)
        .ok_or_else(Refusal::item_not_found)?;
    apply(message, &body)?;
    mailbox.touch(serial, now);
    let found = by_serial(mailbox, serial, immutable)?;
    drop(state);
    Ok(shown(call, &found, 200))
}

/// Applies a patch; what only drafts may have changed is refused for others.
fn apply(message: &mut Message, body: &Value) -> Result<(), Refusal> {
    const OF_DRAFTS: [&str; 8] = [
        "subject",
        "body",
        "from",
        "sender",
        "toRecipients",
        "ccRecipients",
        "bccRecipients",
        "internetMessageId",
    ];
    let content = OF_DRAFTS.iter().any(|name| !body[*name].is_null());
    if content && !message.draft {
        return Err(Refusal::new(
            400,
            "ErrorInvalidPropertySet",
            "Set action is invalid for property; the message is not a draft.",
        ));
    }
    let flag = compose::flag(body)?;
    let importance = compose::importance(body)?;
    let properties = compose::properties(body)?;
    if content {
        let mut view = message.view(true);
        compose::write_view(&mut view, body)?;
        message.subject = None;
        message.content = Content::Composed(Arc::new(view));
    }
    message.flag = flag.unwrap_or(message.flag);
    message.importance = importance.unwrap_or(message.importance);
    if let Some(categories) = compose::categories(body) {
        message.categories = categories;
    }
    message.read = body["isRead"].as_bool().unwrap_or(message.read);
    for (id, value) in properties {
        message.properties.retain(|(own, _)| *own != id);
        message.properties.push((id, value));
    }
    Ok(())
}

/// Removes a message; the recoverable items are not simulated.
fn delete(call: &Call, id: &str) -> Outcome {
    call.require(&WRITE)?;
    let mut state = call.tenant.lock();
    let (mailbox, _) = mailbox_mut(call, &mut state)?;
    let message = mailbox.message(id).ok_or_else(Refusal::item_not_found)?;
    let serial = message.serial;
    mailbox.remove_message(serial);
    Ok(answer::empty(204))
}

pub(super) fn move_to(call: &Call, id: &str) -> Outcome {
    call.check(Method::POST, &WRITE)?;
    let body = call.json()?;
    let to = body["destinationId"].as_str().unwrap_or("");
    let immutable = call.prefer.immutable_ids();
    let mut state = call.tenant.lock();
    let (mailbox, now) = mailbox_mut(call, &mut state)?;
    let message = mailbox.message(id).ok_or_else(Refusal::item_not_found)?;
    let serial = message.serial;
    let to = folder_key(mailbox, to)?;
    mailbox.move_message(serial, to, now);
    let found = by_serial(mailbox, serial, immutable)?;
    drop(state);
    Ok(shown(call, &found, 201))
}
