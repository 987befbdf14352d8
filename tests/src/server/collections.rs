//! Collections: lists and changes of what the tenant stores without rules of its own.

#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde_json::{Value, json};

use super::answer::{self, Outcome, Refusal};
use super::call::Call;
use super::directory::{self, context, pick};
use crate::tenant::collections::Collection;

/// Objects of a page where nobody asks for another size, and the most.
const PAGE: usize = 10;
const PAGE_MAX: usize = 1000;

/// Which service a collection belongs to: it decides the words and the marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    Outlook,
    Directory,
    SharePoint,
}

/// What a path asks for.
#[derive(Debug)]
struct Wish {
    service: Service,
    /// The path of the collection; of users by their object id.
    collection: String,
    changes: bool,
    /// Of calendars: events between two times only.
    view: Option<(String, String)>,
}

/// Tells whether a path is one of a collection.
pub(super) fn knows(keys: &[&str]) -> bool {
    let changes = keys.last() == Some(&"delta");
    let keys = &keys[..keys.len() - usize::from(changes)];
    matches!(
        keys,
        ["groups" | "sites" | "users"]
            | ["groups", _, "members"]
            | ["sites", "getallsites"]
            | ["sites", _, "drives" | "lists"]
            | ["sites", _, "lists", _, "items"]
            | [
                "users",
                _,
                "contacts" | "contactfolders" | "calendars" | "events" | "calendarview"
            ]
            | ["users", _, "contactfolders", _, "contacts"]
            | ["users", _, "calendars", _, "events" | "calendarview"]
            | ["users", _, "todo", "lists"]
            | ["users", _, "todo", "lists", _, "tasks"]
    )
}

/// Answers one request about a collection.
pub(super) fn route(call: &Call) -> Outcome {
    let rights = rights(&call.keys());
    call.check(Method::GET, rights)?;
    let wish = wish(call)?;
    let mut held = call.tenant.lock().collections.get(&wish.collection);
    if wish.collection == "users" {
        held = directory::as_of_now(call, held);
    }
    match wish.changes {
        true => changes(call, &wish, &held),
        false => list(call, &wish, &held),
    }
}

/// Returns the permissions of which one opens a collection to an app.
fn rights(keys: &[&str]) -> &'static [&'static str] {
    match keys {
        ["groups", _, "members"] => &["GroupMember.Read.All", "Group.Read.All"],
        ["groups", ..] => &["Group.Read.All", "Group.ReadWrite.All"],
        ["users", "delta"] => &directory::READ_CHANGES,
        ["sites", ..] => &["Sites.Read.All", "Sites.ReadWrite.All"],
        ["users", _, "contacts" | "contactfolders", ..] => &["Contacts.Read", "Contacts.ReadWrite"],
        ["users", _, "todo", ..] => &["Tasks.Read.All", "Tasks.ReadWrite.All"],
        _ => &["Calendars.Read", "Calendars.ReadWrite"],
    }
}

fn wish(call: &Call) -> Result<Wish, Refusal> {
    let keys = call.keys();
    let changes = keys.last() == Some(&"delta");
    let service = match keys.first() {
        Some(&"users") if keys.len() > 2 => Service::Outlook,
        Some(&"groups" | &"users") => Service::Directory,
        _ => Service::SharePoint,
    };
    let mut path: Vec<String> = call.segments[..keys.len() - usize::from(changes)].to_vec();
    if service == Service::Outlook {
        let state = call.tenant.lock();
        let user = state
            .user(call.segment(1))
            .ok_or_else(|| directory::unknown_user(call.segment(1)))?;
        user.mailbox.as_ref().ok_or_else(directory::no_mailbox)?;
        path[1].clone_from(&user.id);
    }
    let mut view = None;
    match keys[path.len() - 1] {
        "getallsites" => drop(path.pop()),
        "calendarview" => {
            let last = path.len() - 1;
            path[last] = "events".to_owned();
            view = Some((time(call, "startdatetime")?, time(call, "enddatetime")?));
        }
        _ => {}
    }
    Ok(Wish {
        service,
        collection: path.join("/"),
        changes,
        view,
    })
}

/// Reads one end of a calendar view; a token keeps both.
fn time(call: &Call, name: &str) -> Result<String, Refusal> {
    if let Some(text) = call.query.get(name) {
        return Ok(text.to_owned());
    }
    let kept = given(call).and_then(read).and_then(|(_, view)| {
        let (begin, end) = view.split_once('|')?;
        Some(if name == "startdatetime" { begin } else { end }.to_owned())
    });
    kept.ok_or_else(|| {
        Refusal::new(
            400,
            "ErrorInvalidParameter",
            format!("This request requires a time window specified by the query string parameter {name}."),
        )
    })
}

fn list(call: &Call, wish: &Wish, held: &Collection) -> Outcome {
    let size = call.query.number("top")?.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let skip = call.query.number("skip")?.unwrap_or(0);
    let all: Vec<&Value> = held
        .objects()
        .filter(|object| within(object, wish.view.as_ref()))
        .collect();
    let names = call.query.select();
    let shown: Vec<Value> = all
        .iter()
        .skip(skip)
        .take(size)
        .map(|object| selected(object, names.as_deref()))
        .collect();
    let mut body = json!({"@odata.context": context(call, &wish.collection), "value": shown});
    if skip + size < all.len() {
        body["@odata.nextLink"] = json!(call.link_with("skip", &(skip + size).to_string()));
    }
    Ok(answer::json(200, &body))
}

fn selected(object: &Value, names: Option<&[String]>) -> Value {
    match names {
        None => object.clone(),
        Some(names) => pick(object, &[names, &["id".to_owned()]].concat()),
    }
}

/// Tells whether an event touches a view; times compare as texts of one zone.
fn within(object: &Value, view: Option<&(String, String)>) -> bool {
    let Some((begin, end)) = view else {
        return true;
    };
    let text = |name: &str| object[name]["dateTime"].as_str().unwrap_or_default();
    text("start") < end.as_str() && text("end") > begin.as_str()
}

fn given(call: &Call) -> Option<&str> {
    ["deltatoken", "skiptoken", "token"]
        .into_iter()
        .find_map(|name| call.query.get(name))
        .filter(|text| !text.is_empty())
}

fn read(text: &str) -> Option<(u64, String)> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (place, view) = text.strip_prefix("c:")?.split_once(':')?;
    Some((place.parse().ok()?, view.to_owned()))
}

fn changes(call: &Call, wish: &Wish, held: &Collection) -> Outcome {
    if wish.view.is_some() {
        // Calendar views take no options of OData but those of tokens.
        call.query.allow(&["deltatoken", "skiptoken"])?;
    }
    let after = match given(call) {
        None => 0,
        Some("latest") => held.place,
        Some(text) => read(text)
            .map(|(place, _)| place)
            .ok_or_else(|| malformed(wish))?,
    };
    if given(call).is_some() && after < held.horizon {
        return Err(expired(call, wish));
    }
    let size = call.prefer.page_size().or(call.query.number("top")?);
    let size = size.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let names = call.query.select();
    let mut value = Vec::new();
    let mut last = after;
    let mut waiting = held.log.range(after + 1..);
    for (place, entry) in waiting.by_ref().take(size) {
        last = *place;
        match entry {
            Ok(object) if within(object, wish.view.as_ref()) => {
                value.push(selected(object, names.as_deref()));
            }
            // What lies outside of a view comes as removed, whether it was shown before or not.
            Ok(object) => value.push(gone(wish, object["id"].as_str().unwrap_or_default())),
            Err(_) if given(call).is_none() => {}
            Err(id) => value.push(gone(wish, id)),
        }
    }
    let more = waiting.next().is_some();
    if !more {
        last = held.place;
    }
    let view = wish.view.as_ref();
    let view = view.map_or_else(String::new, |(begin, end)| format!("{begin}|{end}"));
    let token = URL_SAFE_NO_PAD.encode(format!("c:{last}:{view}"));
    let (link, option) = match (more, wish.service) {
        (true, Service::SharePoint) => ("@odata.nextLink", "token"),
        (false, Service::SharePoint) => ("@odata.deltaLink", "token"),
        (true, _) => ("@odata.nextLink", "%24skiptoken"),
        (false, _) => ("@odata.deltaLink", "%24deltatoken"),
    };
    let mut body = json!({"@odata.context": context(call, &wish.collection), "value": value});
    let select = names.map_or_else(String::new, |names| {
        format!("%24select={}&", names.join(","))
    });
    body[link] = json!(format!("{}?{select}{option}={token}", call.address()));
    Ok(answer::json(200, &body))
}

/// Says that an object is gone: items of lists by a facet, as items of drives; a site has none.
fn gone(wish: &Wish, id: &str) -> Value {
    match wish.collection.ends_with("/items") {
        true => json!({"id": id, "deleted": {"state": "deleted"}}),
        false => json!({"id": id, "@removed": {"reason": "deleted"}}),
    }
}

fn malformed(wish: &Wish) -> Refusal {
    match wish.service {
        Service::Outlook => Refusal::new(400, "SyncStateInvalid", "The sync state is malformed."),
        Service::Directory => Refusal::bad_request("Badly formed token."),
        Service::SharePoint => {
            Refusal::new(400, "invalidRequest", "The provided token is invalid.")
        }
    }
}

fn expired(call: &Call, wish: &Wish) -> Refusal {
    let code = match wish.service {
        Service::Outlook => "SyncStateNotFound",
        Service::Directory => "resyncRequired",
        Service::SharePoint => "resyncChangesApplyDifferences",
    };
    Refusal::new(410, code, "The delta token is too old; begin anew.")
        .with_header("location", call.address())
}
