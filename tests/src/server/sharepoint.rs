//! SharePoint: the REST of the tenant's own host, below `_api` of a site.
//!
//! *Source*: SharePoint developer documentation (9ceb30b): apps come with a certificate, never with a
//! secret; list items and role assignments, REST endpoints; the text of that refusal is from memory.

use http::Method;
use serde_json::{Value, json};

use super::answer::{self, Answer, Outcome, Refusal};
use super::call::Call;
use super::directory::pick;
use super::login;
use crate::tenant::sharepoint::{Site, key};

/// Answers one request to the SharePoint host.
pub(super) fn route(call: &Call) -> Outcome {
    login::check_bearer(call, &call.tenant.home().sharepoint)?;
    if is_by_secret(call) {
        return Ok(unsupported());
    }
    let keys = call.keys();
    let Some(at) = keys.iter().position(|key| *key == "_api") else {
        return Err(unknown(call));
    };
    let path = key(&call.segments[..at].join("/"));
    let get = call.method == Method::GET;
    let rest: Vec<&str> = call.segments[at + 1..].iter().map(String::as_str).collect();
    let plain: Vec<&str> = keys[at + 1..]
        .iter()
        .map(|key| key.split('(').next().unwrap_or(key))
        .collect();
    match (plain.as_slice(), get) {
        (["web"], true) => web(call, &path),
        (["web", "roleassignments"], true) => roles(call, &path),
        (["web", "lists", "items", "attachmentfiles"], true) => match argument(rest[3]) {
            None => attachments(call, &path, &rest),
            Some(_) => Err(unknown(call)),
        },
        (["web", "lists", "items", "attachmentfiles", "$value"], true) => {
            content(call, &path, &rest)
        }
        (["web", "lists", "items", "attachmentfiles", "add"], false)
            if call.method == Method::POST =>
        {
            add(call, &path, &rest)
        }
        _ => Err(unknown(call)),
    }
}

/// Tells whether the token is an app's that came with a secret.
fn is_by_secret(call: &Call) -> bool {
    let token = call.header("authorization").unwrap_or_default();
    let token = token.trim_start_matches("Bearer ");
    let state = call.tenant.lock();
    let known = state.app.tokens.get(token);
    known.is_some_and(|known| known.by_secret)
}

fn unsupported() -> Answer {
    let text = "Unsupported app only token.";
    let mut answer = answer::json(401, &json!({ "error_description": text }));
    let said = format!("3001000;reason=\"{text}\";category=\"invalid_client\"");
    answer::put_header(&mut answer, "x-ms-diagnostics", &said);
    answer
}

fn unknown(call: &Call) -> Refusal {
    let last = call.segments.last().map_or("", String::as_str);
    let code = "-1, Microsoft.SharePoint.Client.ResourceNotFoundException";
    let text = format!("Cannot find resource for the request {last}.");
    Refusal::new(404, code, text)
}

fn missing(what: &str) -> Refusal {
    let code = "-2130575338, Microsoft.SharePoint.SPException";
    Refusal::new(404, code, format!("The {what} does not exist."))
}

/// Refuses an app without any of the permissions.
fn require(call: &Call, permissions: &[&str]) -> Result<(), Refusal> {
    let granted = &call.tenant.lock().app.permissions;
    if permissions.iter().any(|wanted| granted.contains(*wanted)) {
        return Ok(());
    }
    let code = "-2147024891, System.UnauthorizedAccessException";
    let text = "Access denied. You do not have permission to perform this action or access this \
                resource.";
    Err(Refusal::new(403, code, text))
}

/// Reads what stands in the brackets of a segment.
fn argument(segment: &str) -> Option<&str> {
    segment.split_once('(')?.1.strip_suffix(')')
}

/// Reads a text in single quotes, those within doubled.
fn text(argument: &str) -> Option<String> {
    let inner = argument.strip_prefix('\'')?.strip_suffix('\'')?;
    let single = inner.replace("''", "\0");
    (!single.contains('\'')).then(|| single.replace('\0', "'"))
}

fn with_site<R>(
    call: &Call,
    path: &str,
    act: impl FnOnce(&mut Site) -> Result<R, Refusal>,
) -> Result<R, Refusal> {
    let mut state = call.tenant.lock();
    let site = state.sites.0.get_mut(path);
    act(site.ok_or_else(|| missing("site"))?)
}

fn web(call: &Call, path: &str) -> Outcome {
    require(call, &READ)?;
    let url = call.tenant.urls().sharepoint.as_str();
    let whole = with_site(call, path, |site| {
        Ok(json!({
            "Id": crate::tenant::ids::guid(0, path, 0),
            "Title": site.title,
            "Url": format!("{url}{path}"),
            "ServerRelativeUrl": format!("/{path}"),
            "WebTemplate": site.template,
            "Configuration": site.kind,
            "Language": 1033,
        }))
    })?;
    let shown = match call.query.select() {
        Some(names) => pick(&whole, &names),
        None => whole,
    };
    Ok(answer::json(200, &shown))
}

fn roles(call: &Call, path: &str) -> Outcome {
    require(call, &["Sites.FullControl.All"])?;
    let expanded = call.query.get("expand").unwrap_or_default().to_lowercase();
    let mut roles = with_site(call, path, |site| Ok(site.roles.clone()))?;
    for name in ["Member", "RoleDefinitionBindings"] {
        if !expanded
            .split(',')
            .any(|own| own.eq_ignore_ascii_case(name))
        {
            for role in roles.iter_mut().filter_map(Value::as_object_mut) {
                role.remove(name);
            }
        }
    }
    Ok(answer::json(200, &json!({ "value": roles })))
}

/// Reads which list and which item a path names.
fn place(rest: &[&str]) -> Option<(String, u64)> {
    let list = argument(rest[1])?.strip_prefix("guid")?;
    Some((text(list)?.to_lowercase(), argument(rest[2])?.parse().ok()?))
}

fn shown(path: &str, place: &(String, u64), name: &str) -> Value {
    let (list, item) = place;
    let address = format!("/{path}/Lists/{list}/Attachments/{item}/{name}");
    json!({
        "FileName": name,
        "FileNameAsPath": {"DecodedUrl": name},
        "ServerRelativePath": {"DecodedUrl": address},
        "ServerRelativeUrl": address,
    })
}

fn attachments(call: &Call, path: &str, rest: &[&str]) -> Outcome {
    require(call, &READ)?;
    let place = place(rest).ok_or_else(|| unknown(call))?;
    let value: Vec<Value> = with_site(call, path, |site| {
        let files = site.attachments.get(&place).into_iter().flatten();
        Ok(files.map(|(name, _)| shown(path, &place, name)).collect())
    })?;
    Ok(answer::json(200, &json!({ "value": value })))
}

fn content(call: &Call, path: &str, rest: &[&str]) -> Outcome {
    require(call, &READ)?;
    let place = place(rest).ok_or_else(|| unknown(call))?;
    let name = argument(rest[3]).and_then(text);
    let name = name.ok_or_else(|| unknown(call))?;
    let bytes = with_site(call, path, |site| {
        let files = site.attachments.get(&place);
        let file = files.and_then(|files| files.get(&name)).cloned();
        file.ok_or_else(|| missing("attachment"))
    })?;
    Ok(answer::bytes(200, "application/octet-stream", bytes))
}

fn add(call: &Call, path: &str, rest: &[&str]) -> Outcome {
    require(call, &WRITE)?;
    let place = place(rest).ok_or_else(|| unknown(call))?;
    let given = argument(rest[4]).and_then(|given| {
        let (name, value) = given.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("FileName")
            .then_some(value.trim())
    });
    let name = given.and_then(text).ok_or_else(|| unknown(call))?;
    with_site(call, path, |site| {
        let files = site.attachments.entry(place.clone()).or_default();
        if files.contains_key(&name) {
            let code = "-2130575257, Microsoft.SharePoint.SPException";
            let text = "The specified name is already in use.";
            return Err(Refusal::new(400, code, text));
        }
        files.insert(name.clone(), call.body.clone());
        Ok(())
    })?;
    Ok(answer::json(200, &shown(path, &place, &name)))
}

const READ: [&str; 4] = [
    "Sites.Read.All",
    "Sites.ReadWrite.All",
    "Sites.Manage.All",
    "Sites.FullControl.All",
];
const WRITE: [&str; 2] = ["Sites.ReadWrite.All", "Sites.FullControl.All"];
