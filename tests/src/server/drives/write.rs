//! Writes: folders, small files, upload sessions, renames, moves, dates and deletions.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::answer::{self, Outcome, Refusal};
use super::super::call::Call;
use super::super::content::begin_upload;
use super::super::directory::context;
use super::address::{Address, drive_mut, drive_of};
use super::{etag, invalid, not_found, refused, show_item};
use crate::tenant::State;
use crate::tenant::drive::{Content, Drive, FileTimes, NameConflict};
use crate::tenant::drive::{UploadPlan, UploadTarget};

/// Creates a folder in the folder that is addressed.
pub(super) fn create_folder(call: &Call, drive_id: &str, address: &Address) -> Outcome {
    let body = call.json()?;
    let name = text(&body, "name").ok_or_else(|| invalid("The property 'name' is missing."))?;
    if !body["folder"].is_object() {
        return Err(invalid(
            "One of the properties 'folder' must be given to create an item.",
        ));
    }
    let conflict = conflict(&body)?.unwrap_or_default();
    let mut state = call.tenant.lock();
    let now = FileTimes::both(state.tick() * 1000);
    let times = times(&body, now)?;
    let drive = drive_mut(&mut state, drive_id)?;
    let parent = address.find(drive)?.id().to_owned();
    let id = drive
        .add_folder(&parent, &name, conflict, times)
        .map_err(refused)?;
    show(call, &state, drive_id, &id, 201)
}

/// Takes the whole content of a small file.
pub(super) fn put_content(call: &Call, drive_id: &str, address: &Address) -> Outcome {
    let conflict = match call.query.get("@microsoft.graph.conflictbehavior") {
        Some(word) => conflict_named(word)?,
        None => NameConflict::Replace,
    };
    let mut state = call.tenant.lock();
    let now = FileTimes::both(state.tick() * 1000);
    check_match(call, &state, drive_id, address)?;
    let target = target(drive_mut(&mut state, drive_id)?, address, now)?;
    let name = target.name(drive_mut(&mut state, drive_id)?);
    let content = state.drifted(&name, Content::from_bytes(call.body.clone()));
    let content = Arc::new(content);
    let drive = drive_mut(&mut state, drive_id)?;
    let (id, created) = target
        .commit(drive, content, conflict, now)
        .map_err(refused)?;
    show(call, &state, drive_id, &id, if created { 201 } else { 200 })
}

/// Begins an upload in fragments.
pub(super) fn create_upload_session(call: &Call, drive_id: &str, address: &Address) -> Outcome {
    let body = if call.body.is_empty() {
        json!({})
    } else {
        call.json()?
    };
    let item = &body["item"];
    let mut state = call.tenant.lock();
    let now = FileTimes::both(state.tick() * 1000);
    check_match(call, &state, drive_id, address)?;
    let quota = state.drive_quota;
    let drive = drive_mut(&mut state, drive_id)?;
    let size = item["fileSize"].as_u64();
    if size.is_some_and(|size| size > quota.saturating_sub(drive.size(drive.root()))) {
        return Err(Refusal::new(
            507,
            "quotaLimitReached",
            "Insufficient space available.",
        ));
    }
    let target = target(drive, address, now)?;
    let target = match (target, text(item, "name")) {
        (UploadTarget::New { parent, .. }, Some(name)) => UploadTarget::New { parent, name },
        (target, _) => target,
    };
    if let UploadTarget::New { name, .. } = &target
        && !crate::tenant::drive::is_allowed(name)
    {
        return Err(invalid("The provided name cannot be used for an item."));
    }
    let plan = UploadPlan {
        drive: drive_id.to_owned(),
        target,
        conflict: conflict(item)?.unwrap_or_default(),
        times: times(item, now)?,
        size,
        deferred: body["deferCommit"].as_bool().unwrap_or_default(),
    };
    Ok(begin_upload(call, &mut state, plan))
}

/// Renames an item, moves it, sets its dates.
pub(super) fn update(call: &Call, drive_id: &str, address: &Address) -> Outcome {
    let body = call.json()?;
    let mut state = call.tenant.lock();
    check_match(call, &state, drive_id, address)?;
    let drive = drive_mut(&mut state, drive_id)?;
    let item = address.find(drive)?;
    let (id, old) = (item.id().to_owned(), item.times());
    let new = times(&body, old)?;
    let reference = &body["parentReference"];
    if reference["driveId"]
        .as_str()
        .is_some_and(|other| other != drive_id)
    {
        return Err(invalid(
            "Items cannot be moved to another drive by an update.",
        ));
    }
    let parent = match (reference["id"].as_str(), reference["path"].as_str()) {
        (Some("root"), _) => Some(drive.root().to_owned()),
        (Some(id), _) => Some(id.to_owned()),
        (None, Some(path)) => {
            let (_, path) = path.split_once("root:").ok_or_else(not_found)?;
            let names: Vec<String> = path
                .split('/')
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect();
            let folder = drive.at_path(drive.root(), &names).ok_or_else(not_found)?;
            Some(folder.id().to_owned())
        }
        (None, None) => None,
    };
    let name = text(&body, "name");
    if parent.is_some() || name.is_some() {
        drive
            .relocate(&id, parent.as_deref(), name.as_deref())
            .map_err(refused)?;
    }
    if new != old {
        drive.set_times(&id, new).map_err(refused)?;
    }
    show(call, &state, drive_id, &id, 200)
}

/// Deletes an item and all that it holds.
pub(super) fn delete(call: &Call, drive_id: &str, address: &Address) -> Outcome {
    let mut state = call.tenant.lock();
    check_match(call, &state, drive_id, address)?;
    let drive = drive_mut(&mut state, drive_id)?;
    let id = address.find(drive)?.id().to_owned();
    drive.delete(&id).map_err(refused)?;
    Ok(answer::empty(204))
}

fn show(call: &Call, state: &State, drive_id: &str, id: &str, code: u16) -> Outcome {
    let (user, drive) = drive_of(state, drive_id)?;
    let item = drive.item(id).ok_or_else(not_found)?;
    let mut body = show_item(call, state, user, drive, item, None)?;
    body["@odata.context"] = json!(context(call, "driveItems/$entity"));
    Ok(answer::json(code, &body))
}

/// Says where content goes: over an existing file, or under a name in a folder.
///
/// Folders missing on a path are created, as the service does.
fn target(drive: &mut Drive, address: &Address, now: FileTimes) -> Result<UploadTarget, Refusal> {
    let start = address.start_id(drive).to_owned();
    let Some((name, folders)) = address.names.as_deref().and_then(<[String]>::split_last) else {
        let item = drive.item(&start).ok_or_else(not_found)?;
        if item.is_folder() {
            return Err(invalid("Content cannot be written to a folder."));
        }
        return Ok(UploadTarget::Existing(start));
    };
    let mut parent = drive.item(&start).ok_or_else(not_found)?.id().to_owned();
    for folder in folders {
        let known = drive
            .child(&parent, folder)
            .map(|item| item.id().to_owned());
        parent = match known {
            Some(id) => id,
            None => drive
                .add_folder(&parent, folder, NameConflict::Fail, now)
                .map_err(refused)?,
        };
    }
    let name = name.clone();
    Ok(UploadTarget::New { parent, name })
}

/// Refuses when the item is not as the caller knows it.
fn check_match(
    call: &Call,
    state: &State,
    drive_id: &str,
    address: &Address,
) -> Result<(), Refusal> {
    let (_, drive) = drive_of(state, drive_id)?;
    if let Ok(item) = address.find(drive) {
        state.writable(item.id())?;
    }
    let Some(wanted) = call.header("if-match").filter(|wanted| *wanted != "*") else {
        return Ok(());
    };
    let item = address.find(drive)?;
    let known = [etag(item), super::view::ctag(item)];
    if known.iter().any(|tag| tag == wanted) {
        return Ok(());
    }
    Err(Refusal::new(
        412,
        "resourceModified",
        "ETag does not match current item's value",
    ))
}

fn text(body: &Value, name: &str) -> Option<String> {
    body[name].as_str().map(str::to_owned)
}

fn conflict(body: &Value) -> Result<Option<NameConflict>, Refusal> {
    [
        "@microsoft.graph.conflictBehavior",
        "@name.conflictBehavior",
    ]
    .iter()
    .find_map(|name| body[*name].as_str())
    .map(conflict_named)
    .transpose()
}

fn conflict_named(word: &str) -> Result<NameConflict, Refusal> {
    match word.to_ascii_lowercase().as_str() {
        "fail" => Ok(NameConflict::Fail),
        "replace" => Ok(NameConflict::Replace),
        "rename" => Ok(NameConflict::Rename),
        _ => Err(invalid(format!("'{word}' is no conflict behavior."))),
    }
}

/// Reads fileSystemInfo; a date that is not given stays what it was.
fn times(body: &Value, default: FileTimes) -> Result<FileTimes, Refusal> {
    let date = |name: &str, default: i64| match body["fileSystemInfo"][name].as_str() {
        None => Ok(default),
        Some(text) => text
            .parse::<jiff::Timestamp>()
            .map(|time| time.as_millisecond())
            .map_err(|_| invalid(format!("'{text}' is no date."))),
    };
    Ok(FileTimes {
        created: date("createdDateTime", default.created)?,
        modified: date("lastModifiedDateTime", default.modified)?,
    }
    .to_seconds())
}
