//! Drives: the Graph paths below `/drives` and `/users/{id}/drive`.

mod address;
mod delta;
#[cfg(test)]
mod tests;
mod view;
mod write;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde_json::json;

use super::answer::{self, Outcome, Refusal};
use super::call::Call;
use super::directory::context;
use crate::tenant::drive;

use address::Address;

pub(super) use address::{drive_mut, drive_of};
pub(super) use view::{etag, item as show_item};

const READ: [&str; 4] = [
    "Files.Read.All",
    "Files.ReadWrite.All",
    "Sites.Read.All",
    "Sites.ReadWrite.All",
];
const WRITE: [&str; 2] = ["Files.ReadWrite.All", "Sites.ReadWrite.All"];

/// Children per page.
const PAGE: usize = 200;

/// Answers one request about drives.
pub(super) fn route(call: &Call) -> Outcome {
    let reads = matches!(call.method, Method::GET | Method::HEAD);
    require(call, if reads { &READ } else { &WRITE })?;
    let (drive_id, rest) = address::drive_named(call)?;
    if call.keys().first() == Some(&"users") && call.keys().get(2) == Some(&"drives") {
        return if rest.is_empty() {
            drives(call, &drive_id)
        } else {
            Err(no_such(call))
        };
    }
    if rest.is_empty() {
        return one_drive(call, &drive_id);
    }
    let address = Address::parse(&rest).ok_or_else(|| no_such(call))?;
    let action = address.action.to_ascii_lowercase();
    match (call.method.as_str(), action.as_str()) {
        ("GET", "") => item(call, &drive_id, &address),
        ("PATCH", "") => write::update(call, &drive_id, &address),
        ("DELETE", "") => write::delete(call, &drive_id, &address),
        ("GET", "children") => children(call, &drive_id, &address),
        ("POST", "children") => write::create_folder(call, &drive_id, &address),
        ("GET", "content") => download(call, &drive_id, &address),
        ("PUT", "content") => write::put_content(call, &drive_id, &address),
        ("POST", "createuploadsession" | "microsoft.graph.createuploadsession") => {
            write::create_upload_session(call, &drive_id, &address)
        }
        ("GET", name) if name.starts_with("delta") || name.starts_with("microsoft.graph.delta") => {
            delta_page(call, &drive_id, &address)
        }
        (_, "" | "children" | "content" | "createuploadsession" | "delta") => {
            Err(call.wrong_verb())
        }
        _ => Err(no_such(call)),
    }
}

/// Refuses as drives do.
fn require(call: &Call, permissions: &[&str]) -> Result<(), Refusal> {
    call.require(permissions)
        .map_err(|_| Refusal::new(403, "accessDenied", "Access denied"))
}

fn no_such(call: &Call) -> Refusal {
    Refusal::no_such_segment(call)
}

/// Refuses an item that is not there.
pub(super) fn not_found() -> Refusal {
    Refusal::new(404, "itemNotFound", "The resource could not be found.")
}

/// Refuses a request that makes no sense to a drive.
pub(super) fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(400, "invalidRequest", message)
}

/// Puts the drive's own refusal into Graph's words.
pub(super) fn refused(refusal: drive::Refusal) -> Refusal {
    match refusal {
        drive::Refusal::NotFound => not_found(),
        drive::Refusal::NameTaken => Refusal::new(409, "nameAlreadyExists", "Name already exists"),
        drive::Refusal::NameNotAllowed => invalid("The provided name cannot be used for an item."),
        drive::Refusal::WrongPlace => invalid("The operation is not possible on this item."),
    }
}

fn drives(call: &Call, drive_id: &str) -> Outcome {
    call.query.allow(&["select", "top"])?;
    let state = call.tenant.lock();
    let (user, drive) = drive_of(&state, drive_id)?;
    let body = json!({
        "@odata.context": context(call, "drives"),
        "value": [view::drive(&state, user, drive)],
    });
    Ok(answer::json(200, &body))
}

fn one_drive(call: &Call, drive_id: &str) -> Outcome {
    if call.method != Method::GET {
        return Err(call.wrong_verb());
    }
    call.query.allow(&["select"])?;
    let state = call.tenant.lock();
    let (user, drive) = drive_of(&state, drive_id)?;
    let mut body = view::drive(&state, user, drive);
    if let Some(names) = call.query.select() {
        body = super::directory::pick(&body, &names);
    }
    body["@odata.context"] = json!(context(call, "drives/$entity"));
    Ok(answer::json(200, &body))
}

fn item(call: &Call, drive_id: &str, address: &Address) -> Outcome {
    call.query.allow(&["select", "expand"])?;
    let state = call.tenant.lock();
    let (user, drive) = drive_of(&state, drive_id)?;
    let item = address.find(drive)?;
    let select = call.query.select();
    let mut body = show_item(call, &state, user, drive, item, select.as_deref())?;
    body["@odata.context"] = json!(context(call, "driveItems/$entity"));
    Ok(answer::json(200, &body))
}

fn children(call: &Call, drive_id: &str, address: &Address) -> Outcome {
    call.query.allow(&["select", "expand", "top", "orderby"])?;
    let state = call.tenant.lock();
    let (user, drive) = drive_of(&state, drive_id)?;
    let folder = address.find(drive)?;
    let top = call.query.number("top")?.unwrap_or(PAGE).clamp(1, 1000);
    let after = match call.query.get("skiptoken") {
        None => String::new(),
        Some(token) => URL_SAFE_NO_PAD
            .decode(token)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(|| invalid("The skip token is not valid."))?,
    };
    let select = call.query.select();
    let mut value = Vec::new();
    let mut last = None;
    let mut more = false;
    for item in drive
        .children(folder.id())
        .filter(|item| item.name().to_lowercase() > after)
    {
        if value.len() == top {
            more = true;
            break;
        }
        value.push(show_item(
            call,
            &state,
            user,
            drive,
            item,
            select.as_deref(),
        )?);
        last = Some(item.name().to_lowercase());
    }
    let mut body = json!({"@odata.context": context(call, "driveItems"), "value": value});
    if let Some(last) = last.filter(|_| more) {
        let mut link = call.tenant.urls().graph.clone();
        link.set_path(&format!(
            "/v1.0/drives/{drive_id}/items/{}/children",
            folder.id()
        ));
        link.query_pairs_mut().append_pair("$top", &top.to_string());
        if let Some(select) = select {
            link.query_pairs_mut()
                .append_pair("$select", &select.join(","));
        }
        let token = URL_SAFE_NO_PAD.encode(last);
        link.query_pairs_mut().append_pair("$skiptoken", &token);
        body["@odata.nextLink"] = json!(link.to_string());
    }
    Ok(answer::json(200, &body))
}

fn download(call: &Call, drive_id: &str, address: &Address) -> Outcome {
    let state = call.tenant.lock();
    let (_, drive) = drive_of(&state, drive_id)?;
    let item = address.find(drive)?;
    if item.is_folder() {
        return Err(Refusal::new(
            400,
            "notSupported",
            "A folder has no content.",
        ));
    }
    state.downloadable(item.id())?;
    let url = super::content::download_url_at(call, &state, drive, item);
    let mut answer = answer::empty(302);
    answer::put_header(&mut answer, "location", &url);
    Ok(answer)
}

fn delta_page(call: &Call, drive_id: &str, address: &Address) -> Outcome {
    if !address.is_root() {
        return Err(Refusal::new(
            501,
            "notSupported",
            "Delta is supported on the root only.",
        ));
    }
    let argument = address
        .action
        .split_once("token='")
        .and_then(|(_, rest)| rest.split_once('\''))
        .map(|(token, _)| token);
    delta::page(call, drive_id, argument.or_else(|| call.query.get("token")))
}
