//! Directory: users and the purpose of their mailboxes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde_json::{Value, json};

use super::answer::{self, Outcome, Refusal};
use super::call::Call;
use crate::tenant::collections::Collection;

/// Users per page where nobody asks for another size, and the most one may ask for.
/// *Source*: Microsoft Graph, list users.
const PAGE_USERS: usize = 100;
const PAGE_USERS_MAX: usize = 999;

/// Properties that come without `$select`.
const DEFAULT_PROPERTIES: [&str; 11] = [
    "businessPhones",
    "displayName",
    "givenName",
    "jobTitle",
    "mail",
    "mobilePhone",
    "officeLocation",
    "preferredLanguage",
    "surname",
    "userPrincipalName",
    "id",
];

/// Permissions of which one is needed to read the directory.
const READ_USERS: [&str; 4] = [
    "User.Read.All",
    "User.ReadBasic.All",
    "User.ReadWrite.All",
    "Directory.Read.All",
];

/// Permissions of which one is needed to be told of changes.
pub(super) const READ_CHANGES: [&str; 4] = [
    "User.Read.All",
    "User.ReadWrite.All",
    "Directory.Read.All",
    "Directory.ReadWrite.All",
];

/// Answers one request about users.
pub(super) fn route(call: &Call) -> Outcome {
    match call.keys().as_slice() {
        ["users"] => list(call),
        ["users", id, "mailboxsettings"] => {
            call.check(
                Method::GET,
                &["MailboxSettings.Read", "MailboxSettings.ReadWrite"],
            )?;
            mailbox_settings(call, id)
        }
        ["users", id] => one(call, id),
        _ => Err(Refusal::no_such_segment(call)),
    }
}

/// Shows the users of a log of changes as they are now.
pub(super) fn as_of_now(call: &Call, mut held: Collection) -> Collection {
    let wanted = call.query.select();
    let state = call.tenant.lock();
    for entry in held.log.values_mut() {
        let Ok(logged) = entry else { continue };
        let user = logged["id"].as_str().and_then(|id| state.user(id));
        if let Some(user) = user {
            let mut shown = selected(&user.to_json(), wanted.as_deref());
            shown["id"] = json!(user.id);
            *logged = shown;
        }
    }
    held
}

/// Refuses a user that the directory does not know.
pub(crate) fn unknown_user(id: &str) -> Refusal {
    Refusal::new(
        404,
        "Request_ResourceNotFound",
        format!(
            "Resource '{id}' does not exist or one of its queried reference-property objects \
             are not present."
        ),
    )
}

/// Refuses a user without a mailbox.
pub(crate) fn no_mailbox() -> Refusal {
    Refusal::new(
        404,
        "MailboxNotEnabledForRESTAPI",
        "The mailbox is either inactive, soft-deleted, or is hosted on-premise.",
    )
}

fn list(call: &Call) -> Outcome {
    call.check(Method::GET, &READ_USERS)?;
    call.query
        .allow(&["select", "top", "skiptoken", "count", "orderby"])?;
    let size = call.query.number("top")?.unwrap_or(PAGE_USERS);
    if size == 0 || size > PAGE_USERS_MAX {
        return Err(Refusal::new(
            400,
            "Request_UnsupportedQuery",
            format!("Invalid page size specified: '{size}'. Must be between 1 and 999 inclusive."),
        ));
    }
    let start = call.query.get("skiptoken").map_or(Ok(0), read_skip_token)?;
    let select = call.query.select();
    let state = call.tenant.lock();
    let users: Vec<Value> = state.users[start.min(state.users.len())..]
        .iter()
        .take(size)
        .map(|user| selected(&user.to_json(), select.as_deref()))
        .collect();
    let end = start + users.len();
    let mut page = json!({
        "@odata.context": context(call, "users"),
        "value": users,
    });
    if end < state.users.len() {
        page["@odata.nextLink"] = json!(next_link(call, end));
    }
    Ok(answer::json(200, &page))
}

fn one(call: &Call, id: &str) -> Outcome {
    call.check(Method::GET, &READ_USERS)?;
    call.query.allow(&["select"])?;
    let state = call.tenant.lock();
    let user = state
        .user(id)
        .ok_or_else(|| unknown_user(call.segment(1)))?;
    let mut body = selected(&user.to_json(), call.query.select().as_deref());
    body["@odata.context"] = json!(context(call, "users/$entity"));
    Ok(answer::json(200, &body))
}

fn mailbox_settings(call: &Call, id: &str) -> Outcome {
    call.query.allow(&["select"])?;
    let state = call.tenant.lock();
    let user = state
        .user(id)
        .ok_or_else(|| unknown_user(call.segment(1)))?;
    if user.mailbox.is_none() {
        return Err(no_mailbox());
    }
    let whole = json!({
        "archiveFolder": null,
        "timeZone": "UTC",
        "delegateMeetingMessageDeliveryOptions": "sendToDelegateOnly",
        "dateFormat": "yyyy-MM-dd",
        "timeFormat": "HH:mm",
        "userPurpose": user.kind.as_str(),
        "language": {"locale": "en-US", "displayName": "English (United States)"},
    });
    let mut body = match call.query.select() {
        None => whole,
        Some(names) => pick(&whole, &names),
    };
    let name = format!("users('{id}')/mailboxSettings");
    body["@odata.context"] = json!(context(call, &name));
    Ok(answer::json(200, &body))
}

/// Keeps the selected properties, or the default ones.
fn selected(user: &Value, select: Option<&[String]>) -> Value {
    match select {
        None => pick(user, &DEFAULT_PROPERTIES.map(str::to_string)),
        Some(names) => pick(user, names),
    }
}

/// Copies the named properties of an object; names without a value are left out.
pub(super) fn pick(whole: &Value, names: &[String]) -> Value {
    let mut kept = serde_json::Map::new();
    for name in names {
        let found = whole.as_object().and_then(|object| {
            object
                .iter()
                .find(|(own, _)| own.eq_ignore_ascii_case(name))
        });
        if let Some((own, value)) = found {
            kept.insert(own.clone(), value.clone());
        }
    }
    Value::Object(kept)
}

/// Returns an `@odata.context`.
pub(crate) fn context(call: &Call, what: &str) -> String {
    format!("{}v1.0/$metadata#{what}", call.tenant.urls().graph)
}

fn next_link(call: &Call, start: usize) -> String {
    let mut link = call.tenant.urls().graph.clone();
    link.set_path("/v1.0/users");
    let mut query = String::new();
    for name in ["select", "top"] {
        if let Some(value) = call.query.get(name) {
            query.push_str(&format!("${name}={value}&"));
        }
    }
    let token = URL_SAFE_NO_PAD.encode(format!("RFNwdAoAAQ:{start}"));
    link.set_query(Some(&format!("{query}$skiptoken={token}")));
    link.to_string()
}

fn read_skip_token(token: &str) -> Result<usize, Refusal> {
    URL_SAFE_NO_PAD
        .decode(token)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .and_then(|text| text.strip_prefix("RFNwdAoAAQ:")?.parse().ok())
        .ok_or_else(|| {
            Refusal::new(
                400,
                "Directory_ExpiredPageToken",
                "The specified page token value has expired.",
            )
        })
}
