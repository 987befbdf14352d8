//! Views: drives and items as Graph shows them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::answer::{Refusal, instant};
use super::super::call::Call;
use super::super::directory::pick;
use crate::tenant::drive::{Drive, Item};
use crate::tenant::ids;
use crate::tenant::people::UserState;
use crate::tenant::{Oddity, State};

/// Shows a drive.
pub(super) fn drive(state: &State, user: &UserState, drive: &Drive) -> Value {
    let used = drive.size(drive.root());
    let times = drive
        .item(drive.root())
        .map(|root| root.times().created)
        .unwrap_or(0);
    json!({
        "id": drive.id(),
        "driveType": "business",
        "name": "OneDrive",
        "description": "",
        "createdDateTime": instant(times / 1000),
        "lastModifiedDateTime": instant(times / 1000),
        "webUrl": format!("https://contoso-my.example/personal/{}/Documents", user.id),
        "owner": {"user": identity(user)},
        "quota": {
            "deleted": 0,
            "remaining": state.drive_quota.saturating_sub(used),
            "state": "normal",
            "total": state.drive_quota,
            "used": used,
        },
    })
}

/// Shows an item with the properties selected; `None` shows all but the download URL.
///
/// *Errors*: a 500, when a file on disk that stands for the content cannot be read.
pub(in super::super) fn item(
    call: &Call,
    state: &State,
    user: &UserState,
    drive: &Drive,
    item: &Item,
    select: Option<&[String]>,
) -> Result<Value, Refusal> {
    let mut view = common(state, user, drive, item)?;
    if let Some(parent) = item.parent() {
        view["parentReference"]["path"] = json!(format!(
            "/drives/{}/root:{}",
            drive.id(),
            drive.path(parent)
        ));
        view["parentReference"]["name"] = json!(drive.item(parent).map(Item::name));
    }
    Ok(selected(call, state, drive, item, view, select))
}

/// Shows an item in a delta: without the path of its parent.
///
/// *Errors*: as [`item`].
pub(super) fn changed(
    call: &Call,
    state: &State,
    user: &UserState,
    drive: &Drive,
    item: &Item,
    select: Option<&[String]>,
) -> Result<Value, Refusal> {
    let view = common(state, user, drive, item)?;
    Ok(selected(call, state, drive, item, view, select))
}

/// Shows a deleted item: without name and cTag.
pub(super) fn deleted(drive: &Drive, item: &Item) -> Value {
    let mut view = json!({
        "id": item.id(),
        "parentReference": {"driveType": "business", "driveId": drive.id(), "id": item.parent()},
        "deleted": {"state": "deleted"},
        "size": 0,
    });
    view[facet(item)] = json!({});
    view
}

/// Returns the eTag of an item.
pub(in super::super) fn etag(item: &Item) -> String {
    format!("\"{{{}}},{}\"", unique_id(item), item.version)
}

/// Returns the cTag of an item: the version of its content.
pub(super) fn ctag(item: &Item) -> String {
    format!("\"c:{{{}}},{}\"", unique_id(item), item.content_version)
}

fn unique_id(item: &Item) -> String {
    ids::guid(0, item.id(), 0).to_uppercase()
}

fn facet(item: &Item) -> &'static str {
    if item.is_folder() { "folder" } else { "file" }
}

fn identity(user: &UserState) -> Value {
    json!({"displayName": user.display_name, "email": user.principal_name, "id": user.id})
}

fn common(state: &State, user: &UserState, drive: &Drive, item: &Item) -> Result<Value, Refusal> {
    let (created, modified) = (item.times().created / 1000, item.times().modified / 1000);
    let (created, modified) = (instant(created), instant(modified));
    let mut view = json!({
        "id": item.id(),
        "name": item.name(),
        "eTag": etag(item),
        "createdDateTime": created,
        "lastModifiedDateTime": modified,
        "webUrl": format!("https://contoso-my.example/personal/{}/{}", user.id, item.id()),
        "size": item.content().map_or_else(|| drive.size(item.id()), |content| content.length()),
        "createdBy": {"user": identity(user)},
        "lastModifiedBy": {"user": identity(user)},
        "parentReference": {"driveType": "business", "driveId": drive.id()},
        "fileSystemInfo": {"createdDateTime": created, "lastModifiedDateTime": modified},
    });
    if let Some(parent) = item.parent() {
        view["parentReference"]["id"] = json!(parent);
    } else {
        view["root"] = json!({});
    }
    match item.content() {
        None => view["folder"] = json!({"childCount": drive.children(item.id()).count()}),
        Some(content) => {
            let hash = content.quick_xor_hash().map_err(|cause| {
                Refusal::new(500, "generalException", format!("{}: {cause}", item.name()))
            })?;
            view["cTag"] = json!(ctag(item));
            view["file"] = json!({
                "mimeType": media_type(item.name()),
                "hashes": {"quickXorHash": STANDARD.encode(hash)},
            });
        }
    }
    match state.oddity(item.id()) {
        Some(Oddity::Malware) => view["malware"] = json!({"description": "Simulated malware"}),
        Some(Oddity::Package) => {
            view["package"] = json!({"type": "oneNote"});
            if let Some(members) = view.as_object_mut() {
                members.remove("file");
            }
        }
        _ => {}
    }
    Ok(view)
}

/// Names the two spellings by which the download URL can be selected.
const DOWNLOAD_URL: [&str; 2] = ["@microsoft.graph.downloadUrl", "content.downloadUrl"];

fn selected(
    call: &Call,
    state: &State,
    drive: &Drive,
    item: &Item,
    mut view: Value,
    select: Option<&[String]>,
) -> Value {
    let Some(names) = select else {
        return view;
    };
    let wants_url = names.iter().any(|name| {
        DOWNLOAD_URL
            .iter()
            .any(|url| url.eq_ignore_ascii_case(name))
    });
    view = pick(&view, names);
    if wants_url && !item.is_folder() {
        view[DOWNLOAD_URL[0]] = json!(super::super::content::download_url_at(
            call, state, drive, item
        ));
    }
    view
}

fn media_type(name: &str) -> &'static str {
    match name
        .rsplit('.')
        .next()
        .unwrap_or("")
        .to_lowercase()
        .as_str()
    {
        "txt" | "log" | "md" => "text/plain",
        "csv" => "text/csv",
        "html" => "text/html",
        "json" => "application/json",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "jpg" => "image/jpeg",
        "zip" => "application/zip",
        "mp4" => "video/mp4",
        _ => "application/octet-stream",
    }
}
