//! Mail folders: list, read, create, rename, move, delete.

use http::Method;
use serde_json::{Value, json};

use super::{READ_BASIC, WRITE, filter, folder_key, mailbox, mailbox_mut};
use crate::server::answer::{self, Outcome, Refusal};
use crate::server::call::Call;
use crate::server::directory::{context, pick};
use crate::tenant::mailbox::{Folder, Mailbox, ROOT};

/// Folders per page where nobody asks for another size.
const PAGE_FOLDERS: usize = 10;

/// Longest name of a folder, in characters.
const NAME_MAX: usize = 255;

/// Renders a folder.
pub(super) fn to_json(mailbox: &Mailbox, folder: &Folder, select: Option<&[String]>) -> Value {
    let inside = mailbox.messages_in(folder.key);
    let (mut total, mut unread) = (0_u64, 0_u64);
    for message in inside {
        total += 1;
        unread += u64::from(!message.read);
    }
    let whole = json!({
        "id": mailbox.folder_id(folder.key),
        "displayName": folder.name,
        "parentFolderId": mailbox.folder_id(folder.parent),
        "childFolderCount": mailbox.children(folder.key).count(),
        "unreadItemCount": unread,
        "totalItemCount": total,
        "isHidden": folder.hidden,
    });
    match select {
        None => whole,
        Some(names) => {
            let mut names = names.to_vec();
            names.push("id".to_string());
            pick(&whole, &names)
        }
    }
}

pub(super) fn list(call: &Call, parent: &str) -> Outcome {
    call.check(Method::GET, &READ_BASIC)?;
    call.query
        .allow(&["select", "top", "skip", "filter", "count"])?;
    let state = call.tenant.lock();
    let mailbox = mailbox(call, &state)?;
    let parent = folder_key(mailbox, parent)?;
    let hidden = call
        .query
        .get("includehiddenfolders")
        .is_some_and(|text| text.eq_ignore_ascii_case("true"));
    let wanted = call
        .query
        .get("filter")
        .map(filter::display_name)
        .transpose()?;
    let size = call.query.number("top")?.unwrap_or(PAGE_FOLDERS);
    let skip = call.query.number("skip")?.unwrap_or(0);
    let select = call.query.select();
    let mut found = mailbox
        .children(parent)
        .filter(|folder| hidden || !folder.hidden)
        .filter(|folder| {
            wanted
                .as_ref()
                .is_none_or(|name| name.eq_ignore_ascii_case(&folder.name))
        })
        .skip(skip);
    let value: Vec<Value> = found
        .by_ref()
        .take(size.max(1))
        .map(|folder| to_json(mailbox, folder, select.as_deref()))
        .collect();
    let mut page = json!({
        "@odata.context": context(call, "users('…')/mailFolders"),
        "value": value,
    });
    if found.next().is_some() {
        page["@odata.nextLink"] = json!(call.link_with("skip", &(skip + size.max(1)).to_string()));
    }
    Ok(answer::json(200, &page))
}

pub(super) fn one(call: &Call) -> Outcome {
    match call.method {
        Method::GET => read(call),
        Method::PATCH => rename(call),
        Method::DELETE => delete(call),
        _ => Err(call.wrong_verb()),
    }
}

fn read(call: &Call) -> Outcome {
    call.require(&READ_BASIC)?;
    call.query.allow(&["select"])?;
    let state = call.tenant.lock();
    let mailbox = mailbox(call, &state)?;
    let key = folder_key(mailbox, call.segment(3))?;
    Ok(shown(call, mailbox, key, 200))
}

fn shown(call: &Call, mailbox: &Mailbox, key: u32, status: u16) -> answer::Answer {
    let select = call.query.select();
    let mut body = mailbox
        .folders
        .get(&key)
        .map(|folder| to_json(mailbox, folder, select.as_deref()))
        .unwrap_or_default();
    body["@odata.context"] = json!(context(call, "users('…')/mailFolders/$entity"));
    answer::json(status, &body)
}

pub(super) fn create(call: &Call, parent: &str) -> Outcome {
    call.check(Method::POST, &WRITE)?;
    let body = call.json()?;
    let name = name_of(&body)?;
    let hidden = body["isHidden"].as_bool().unwrap_or(false);
    let mut state = call.tenant.lock();
    let (mailbox, _) = mailbox_mut(call, &mut state)?;
    let parent = folder_key(mailbox, parent)?;
    if mailbox.child_named(parent, name).is_some() {
        return Err(folder_exists());
    }
    let key = mailbox.add_folder(parent, name, hidden, None);
    Ok(shown(call, mailbox, key, 201))
}

fn rename(call: &Call) -> Outcome {
    call.require(&WRITE)?;
    let body = call.json()?;
    let name = name_of(&body)?;
    let mut state = call.tenant.lock();
    let (mailbox, _) = mailbox_mut(call, &mut state)?;
    let key = folder_key(mailbox, call.segment(3))?;
    let parent = changeable(mailbox, key)?.parent;
    if mailbox
        .child_named(parent, name)
        .is_some_and(|other| other != key)
    {
        return Err(folder_exists());
    }
    mailbox.change_folder(key, parent, name);
    Ok(shown(call, mailbox, key, 200))
}

fn delete(call: &Call) -> Outcome {
    call.require(&WRITE)?;
    let mut state = call.tenant.lock();
    let (mailbox, _) = mailbox_mut(call, &mut state)?;
    let key = folder_key(mailbox, call.segment(3))?;
    changeable(mailbox, key)?;
    mailbox.remove_folder(key);
    Ok(answer::empty(204))
}

pub(super) fn move_to(call: &Call) -> Outcome {
    call.check(Method::POST, &WRITE)?;
    let body = call.json()?;
    let to = body["destinationId"].as_str().unwrap_or("");
    let mut state = call.tenant.lock();
    let (mailbox, _) = mailbox_mut(call, &mut state)?;
    let key = folder_key(mailbox, call.segment(3))?;
    let to = folder_key(mailbox, to)?;
    let name = changeable(mailbox, key)?.name.clone();
    if mailbox.child_named(to, &name).is_some() {
        return Err(folder_exists());
    }
    if mailbox.is_below(to, key) {
        return Err(Refusal::new(
            400,
            "ErrorMoveCopyFailed",
            "The move or copy operation failed.",
        ));
    }
    mailbox.change_folder(key, to, &name);
    Ok(shown(call, mailbox, key, 201))
}

fn changeable(mailbox: &Mailbox, key: u32) -> Result<&Folder, Refusal> {
    mailbox
        .folders
        .get(&key)
        .filter(|folder| folder.key != ROOT && folder.well_known.is_none())
        .ok_or_else(|| {
            Refusal::new(
                400,
                "ErrorDeleteDistinguishedFolder",
                "Distinguished folders cannot be deleted, renamed or moved.",
            )
        })
}

fn name_of(body: &Value) -> Result<&str, Refusal> {
    body["displayName"]
        .as_str()
        .filter(|name| !name.trim().is_empty() && name.chars().count() <= NAME_MAX)
        .ok_or_else(|| {
            Refusal::new(
                400,
                "ErrorInvalidFolderName",
                "The folder's display name is missing, empty or too long.",
            )
        })
}

fn folder_exists() -> Refusal {
    Refusal::new(
        409,
        "ErrorFolderExists",
        "A folder with the specified name already exists.",
    )
}
