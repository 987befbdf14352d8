//! Exchange: the Graph paths below `/admin/exchange/mailboxes`, by which whole items leave a mailbox
//! and come back.

mod export;
mod import;
#[cfg(test)]
mod tests;

pub(super) use import::route as import;

use http::Method;
use serde_json::{Value, json};

use super::answer::{self, Outcome, Refusal};
use super::call::Call;
use super::directory::{self, context, pick};
use super::mail::delta;
use crate::tenant::State;
use crate::tenant::mailbox::{Folder, Mailbox, Mark, ROOT};
use crate::tenant::message::Message;

/// Entries of a page where nobody asks for another size.
const PAGE: usize = 10;

/// Answers one request about a mailbox by its export id.
pub(super) fn route(call: &Call) -> Outcome {
    let keys = call.keys();
    let rest = keys.get(4..).unwrap_or_default();
    if let Some(home) = archived(call) {
        return moved(call, rest, &home);
    }
    match (rest, call.method == Method::GET) {
        (["exportitems"], false) => export::route(call),
        (["createimportsession"], false) => import::open(call),
        (["folders"], true) => folders(call, ROOT),
        (["folders", "delta"], true) => folder_changes(call),
        (["folders", _], true) => one_folder(call),
        (["folders", _, "childfolders"], true) => {
            let key = with_mailbox(call, |_, mailbox| folder_key(mailbox, call.segment(5)))?;
            folders(call, key)
        }
        (["folders", _, "items"], true) => items(call),
        (["folders", _, "items", "delta"], true) => item_changes(call),
        (["folders", _, "items", _], true) => one_item(call),
        (["folders", _, "items", _], false) if call.method == Method::DELETE => delete(call),
        (["exportitems" | "createimportsession" | "folders", ..], _) => Err(call.wrong_verb()),
        _ => Err(Refusal::no_such_segment(call)),
    }
}

/// Answers `/users/{id}/settings/exchange`, which names the mailbox as these paths do.
pub(super) fn settings(call: &Call) -> Outcome {
    call.check(
        Method::GET,
        &["MailboxSettings.Read", "MailboxSettings.ReadWrite"],
    )?;
    let state = call.tenant.lock();
    let name = call.segment(1);
    let user = state
        .user(name)
        .ok_or_else(|| directory::unknown_user(name))?;
    if user.mailbox.is_none() {
        return Err(directory::no_mailbox());
    }
    let body = json!({
        "@odata.context": context(call, "users('…')/settings/exchange/$entity"),
        "id": "exchange",
        "primaryMailboxId": mailbox_id(&state, &user.id),
    });
    Ok(answer::json(200, &body))
}

/// Names the mailbox of a user.
fn mailbox_id(state: &State, user: &str) -> String {
    format!("MBX:{user}@{}", state.app.app.tenant_id)
}

/// Returns the id of the user whose mailbox a name is of.
fn user_of<'n>(state: &State, name: &'n str) -> Option<&'n str> {
    let (user, tenant) = name.strip_prefix("MBX:")?.rsplit_once('@')?;
    (tenant == state.app.app.tenant_id).then_some(user)
}

/// Finds the mailbox that a name is of.
fn mailbox<'a>(state: &'a State, name: &str) -> Result<&'a Mailbox, Refusal> {
    user_of(state, name)
        .and_then(|user| state.user(user)?.mailbox.as_ref())
        .ok_or_else(no_such_mailbox)
}

fn mailbox_mut<'a>(state: &'a mut State, name: &str) -> Result<&'a mut Mailbox, Refusal> {
    let user = user_of(state, name).ok_or_else(no_such_mailbox)?;
    state
        .user_mut(user)
        .and_then(|user| user.mailbox.as_mut())
        .ok_or_else(no_such_mailbox)
}

fn no_such_mailbox() -> Refusal {
    Refusal::new(
        404,
        "ErrorMailboxNotFound",
        "The mailbox of this id was not found.",
    )
}

fn with_mailbox<R>(
    call: &Call,
    act: impl FnOnce(&State, &Mailbox) -> Result<R, Refusal>,
) -> Result<R, Refusal> {
    let state = call.tenant.lock();
    let mailbox = mailbox(&state, call.segment(3))?;
    act(&state, mailbox)
}

/// Finds a folder; well-known names are none here, as ids of the export are opaque.
fn folder_key(mailbox: &Mailbox, id: &str) -> Result<u32, Refusal> {
    let key = mailbox.folder_key(id);
    key.filter(|key| mailbox.folder_id(*key) == id)
        .ok_or_else(Refusal::item_not_found)
}

fn folder_json(mailbox: &Mailbox, folder: &Folder) -> Value {
    json!({
        "id": mailbox.folder_id(folder.key),
        "displayName": folder.name,
        "parentFolderId": mailbox.folder_id(folder.parent),
        "childFolderCount": mailbox.children(folder.key).count(),
        "totalItemCount": mailbox.messages_in(folder.key).count(),
        "type": "IPF.Note",
    })
}

fn item_json(mailbox: &Mailbox, message: &Message) -> Value {
    let change_key = mailbox.change_key(message.change);
    json!({
        "@odata.etag": format!("W/\"{change_key}\""),
        "id": mailbox.message_id(message, true),
        "type": "IPM.Note",
        "size": message.mime().len(),
        "changeKey": change_key,
        "categories": message.categories,
        "createdDateTime": answer::instant(message.created),
        "lastModifiedDateTime": answer::instant(message.modified),
    })
}

fn selected(call: &Call, whole: Value) -> Value {
    let Some(mut names) = call.query.select() else {
        return whole;
    };
    names.push("id".to_owned());
    pick(&whole, &names)
}

/// Answers a page of a list, cut out by `$top` and `$skip`.
fn page(call: &Call, what: &str, all: Vec<Value>) -> Outcome {
    let size = call.query.number("top")?.unwrap_or(PAGE).clamp(1, 1000);
    let skip = call.query.number("skip")?.unwrap_or(0);
    let total = all.len();
    let shown: Vec<Value> = all.into_iter().skip(skip).take(size).collect();
    let mut body = json!({"@odata.context": context(call, what), "value": shown});
    if skip + size < total {
        body["@odata.nextLink"] = json!(call.link_with("skip", &(skip + size).to_string()));
    }
    Ok(answer::json(200, &body))
}

fn folders(call: &Call, parent: u32) -> Outcome {
    call.check(Method::GET, &FOLDERS)?;
    call.query
        .allow(&["select", "top", "skip", "count", "filter"])?;
    let class = class_wanted(call)?;
    let all = with_mailbox(call, |_, mailbox| {
        let below = mailbox.children(parent);
        let below = below.map(|folder| folder_json(mailbox, folder));
        Ok(below
            .filter(|folder| class.is_none_or(|class| folder["type"] == class))
            .map(|folder| selected(call, folder))
            .collect())
    })?;
    page(call, "admin/exchange/mailboxes('…')/folders", all)
}

/// Reads the only filter that folders know here: `type eq '…'`.
fn class_wanted(call: &Call) -> Result<Option<&str>, Refusal> {
    let Some(filter) = call.query.get("filter") else {
        return Ok(None);
    };
    let class = filter
        .strip_prefix("type eq '")
        .and_then(|rest| rest.strip_suffix('\''));
    match class {
        Some(class) => Ok(Some(class)),
        None => Err(Refusal::bad_request(format!(
            "The filter '{filter}' is not supported."
        ))),
    }
}

fn one_folder(call: &Call) -> Outcome {
    call.check(Method::GET, &FOLDERS)?;
    with_mailbox(call, |_, mailbox| {
        let key = folder_key(mailbox, call.segment(5))?;
        let folder = mailbox
            .folders
            .get(&key)
            .ok_or_else(Refusal::item_not_found)?;
        Ok(answer::json(
            200,
            &selected(call, folder_json(mailbox, folder)),
        ))
    })
}

fn items(call: &Call) -> Outcome {
    call.check(Method::GET, &ITEMS)?;
    call.query.allow(&["select", "top", "skip", "count"])?;
    let all = with_mailbox(call, |_, mailbox| {
        let key = folder_key(mailbox, call.segment(5))?;
        let messages = mailbox.messages_in(key);
        Ok(messages
            .map(|message| selected(call, item_json(mailbox, message)))
            .collect())
    })?;
    page(
        call,
        "admin/exchange/mailboxes('…')/folders('…')/items",
        all,
    )
}

fn one_item(call: &Call) -> Outcome {
    call.check(Method::GET, &ITEMS)?;
    with_mailbox(call, |_, mailbox| {
        let message = item(call, mailbox)?;
        Ok(answer::json(
            200,
            &selected(call, item_json(mailbox, message)),
        ))
    })
}

/// Finds the item of a path, which must lie in the folder of the path.
fn item<'m>(call: &Call, mailbox: &'m Mailbox) -> Result<&'m Message, Refusal> {
    let folder = folder_key(mailbox, call.segment(5))?;
    mailbox
        .message(call.segment(7))
        .filter(|message| message.folder == folder)
        .ok_or_else(Refusal::item_not_found)
}

fn delete(call: &Call) -> Outcome {
    call.check(Method::DELETE, &["MailboxItem.ReadWrite.All"])?;
    let serial = with_mailbox(call, |_, mailbox| Ok(item(call, mailbox)?.serial))?;
    let mut state = call.tenant.lock();
    mailbox_mut(&mut state, call.segment(3))?.remove_message(serial);
    Ok(answer::empty(204))
}

fn folder_changes(call: &Call) -> Outcome {
    call.check(Method::GET, &FOLDERS)?;
    let mut state = call.tenant.lock();
    let mailbox = mailbox_mut(&mut state, call.segment(3))?;
    let show = |mailbox: &Mailbox, mark: &Mark| match *mark {
        Mark::Live(ROOT) => None,
        Mark::Live(key) => Some(folder_json(mailbox, mailbox.folders.get(&key)?)),
        Mark::Gone(key, _) => Some(delta::removed(&mailbox.folder_id(key))),
    };
    delta::changes(call, mailbox, None, "mailboxes('…')/folders", show)
}

fn item_changes(call: &Call) -> Outcome {
    call.check(Method::GET, &ITEMS)?;
    let mut state = call.tenant.lock();
    let mailbox = mailbox_mut(&mut state, call.segment(3))?;
    let folder = folder_key(mailbox, call.segment(5))?;
    let show = |mailbox: &Mailbox, mark: &Mark| match *mark {
        Mark::Live(serial) => Some(item_json(mailbox, mailbox.messages.get(&serial)?)),
        Mark::Gone(serial, moves) => {
            let live = mailbox.messages.get(&serial);
            let back = live.is_some_and(|message| message.folder == folder);
            let id = mailbox.gone_id(serial, moves, true);
            (!back).then(|| delta::removed(&id))
        }
    };
    let what = "mailboxes('…')/folders('…')/items";
    delta::changes(call, mailbox, Some(folder), what, show)
}

/// Returns the mailbox that keeps what a path names since it was archived away.
fn archived(call: &Call) -> Option<String> {
    let state = call.tenant.lock();
    let user = user_of(&state, call.segment(3))?;
    let home = state.archives.get(call.segment(5))?;
    (home != user).then(|| mailbox_id(&state, home))
}

/// Sends the caller to where a folder was archived.
///
/// *Source*: Graph, handle archive mailbox redirects (2026-04): 308 with the whole address.
fn moved(call: &Call, rest: &[&str], home: &str) -> Outcome {
    if rest.first() != Some(&"folders") {
        return Err(Refusal::no_such_segment(call));
    }
    let path: Vec<&str> = call.segments[4..].iter().map(String::as_str).collect();
    let location = format!(
        "{}v1.0/admin/exchange/mailboxes/{home}/{}",
        call.tenant.urls().graph,
        path.join("/")
    );
    let mut answer = answer::empty(308);
    answer::put_header(&mut answer, "location", &location);
    Ok(answer)
}

const FOLDERS: [&str; 2] = ["MailboxFolder.Read.All", "MailboxFolder.ReadWrite.All"];
const ITEMS: [&str; 2] = ["MailboxItem.Read.All", "MailboxItem.ReadWrite.All"];
