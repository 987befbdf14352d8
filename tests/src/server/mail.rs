//! Mail: the Graph paths below `/users/{id}/mailFolders` and `/users/{id}/messages`.

pub(super) mod attachments;
mod compose;
pub(super) mod delta;
mod filter;
mod folders;
mod json;
mod messages;
#[cfg(test)]
mod tests;
mod translate;

pub(crate) use delta::expired;

use http::Method;

use super::answer::{Outcome, Refusal};
use super::call::Call;
use super::directory;
use crate::tenant::State;
use crate::tenant::mailbox::Mailbox;
use crate::tenant::message::Message;

/// Permissions of which one is needed to read mail without its content.
const READ_BASIC: [&str; 4] = [
    "Mail.ReadBasic.All",
    "Mail.ReadBasic",
    "Mail.Read",
    "Mail.ReadWrite",
];
/// Permissions of which one is needed to read mail.
const READ: [&str; 2] = ["Mail.Read", "Mail.ReadWrite"];
/// The permission that writing takes.
const WRITE: [&str; 1] = ["Mail.ReadWrite"];

/// Answers one request about mail.
pub(super) fn route(call: &Call) -> Outcome {
    let keys = call.keys();
    match &keys[2..] {
        ["mailfolders", rest @ ..] => folder_route(call, rest),
        ["messages", rest @ ..] => message_route(call, rest, 3),
        ["translateexchangeids"] => translate::route(call),
        _ => Err(Refusal::no_such_segment(call)),
    }
}

fn folder_route(call: &Call, rest: &[&str]) -> Outcome {
    let get = call.method == Method::GET;
    match rest {
        [] if get => folders::list(call, "msgfolderroot"),
        [] => folders::create(call, "msgfolderroot"),
        ["delta"] => delta::folders(call),
        [_] => folders::one(call),
        [_, "childfolders"] if get => folders::list(call, call.segment(3)),
        [_, "childfolders"] => folders::create(call, call.segment(3)),
        [_, "move"] => folders::move_to(call),
        [_, "messages"] if get => messages::list(call),
        [_, "messages"] => messages::create(call, call.segment(3)),
        [_, "messages", "delta"] => delta::messages(call),
        [_, "messages", deeper @ ..] => message_route(call, deeper, 5),
        _ => Err(Refusal::no_such_segment(call)),
    }
}

/// Answers a request about one message, whose id is the segment at `at`.
fn message_route(call: &Call, rest: &[&str], at: usize) -> Outcome {
    let id = call.segment(at);
    let get = call.method == Method::GET;
    match rest {
        [] => messages::create(call, "drafts"),
        [_] => messages::one(call, id),
        [_, "$value"] => messages::mime(call, id),
        [_, "move"] => messages::move_to(call, id),
        [_, "attachments"] if get => attachments::list(call, id),
        [_, "attachments"] => attachments::add(call, id),
        [_, "attachments", "createuploadsession"] => attachments::open_session(call, id),
        [_, "attachments", _] => attachments::one(call, id, call.segment(at + 2)),
        [_, "attachments", _, "$value"] => attachments::value(call, id, call.segment(at + 2)),
        _ => Err(Refusal::no_such_segment(call)),
    }
}

/// Finds the mailbox that the path names.
fn mailbox<'a>(call: &Call, state: &'a State) -> Result<&'a Mailbox, Refusal> {
    let name = call.segment(1);
    let user = state.user(name).ok_or_else(|| unknown(name))?;
    user.mailbox.as_ref().ok_or_else(directory::no_mailbox)
}

/// Finds the mailbox that the path names, to change it, and the time of the change.
fn mailbox_mut<'a>(call: &Call, state: &'a mut State) -> Result<(&'a mut Mailbox, i64), Refusal> {
    let now = state.tick();
    let name = call.segment(1);
    let user = state.user_mut(name).ok_or_else(|| unknown(name))?;
    let mailbox = user.mailbox.as_mut().ok_or_else(directory::no_mailbox)?;
    Ok((mailbox, now))
}

/// Outlook's words for a user that is not there, unlike the directory's.
fn unknown(name: &str) -> Refusal {
    Refusal::new(
        404,
        "ErrorInvalidUser",
        format!("The requested user '{name}' is invalid."),
    )
}

/// Refuses a page of several messages of which one cannot be read.
fn readable_page<'m>(
    state: &State,
    mailbox: &Mailbox,
    mut messages: impl Iterator<Item = &'m Message> + Clone,
) -> Result<(), Refusal> {
    if messages.clone().nth(1).is_none() {
        return Ok(());
    }
    messages.try_for_each(|message| state.readable(&mailbox.message_id(message, true)))
}

/// Finds a folder by id or well-known name.
fn folder_key(mailbox: &Mailbox, id: &str) -> Result<u32, Refusal> {
    mailbox.folder_key(id).ok_or_else(|| {
        Refusal::new(
            404,
            "ErrorItemNotFound",
            format!(
                "The specified object was not found in the store., Default folder {id} not found."
            ),
        )
    })
}
