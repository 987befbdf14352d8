//! Subscriptions: the Graph paths below `/subscriptions`, with the handshake that proves an address.

#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::answer::{self, Outcome, Refusal};
use super::call::Call;
use super::directory::context;
use crate::tenant::State;
use crate::tenant::ids;
use crate::tenant::subscriptions::{Subscription, Target};

/// Longest lifetimes, in minutes: of messages, of drives.
/// *Source*: Graph, subscription lifetimes (0be37c4).
const MESSAGES_MINUTES: u64 = 4_230;
const DRIVE_MINUTES: u64 = 42_300;
/// Subscriptions to one mailbox at most, over all apps.
/// *Source*: Graph, Outlook change notifications.
const PER_MAILBOX: usize = 1_000;

/// Answers one request about subscriptions.
pub(super) fn route(call: &Call) -> Outcome {
    match (call.keys().as_slice(), call.method.as_str()) {
        (["subscriptions"], "GET") => list(call),
        (["subscriptions"], "POST") => create(call),
        (["subscriptions", _], "GET") => with(call, |own| Ok(own.to_json())),
        (["subscriptions", _], "PATCH") => renew(call),
        (["subscriptions", _], "DELETE") => delete(call),
        // It renews the authorization, which does not end here, and leaves the expiry alone.
        (["subscriptions", _, "reauthorize"], "POST") => {
            with(call, |own| Ok(own.to_json())).map(|_| answer::empty(200))
        }
        _ => Err(call.wrong_verb()),
    }
}

fn list(call: &Call) -> Outcome {
    let mut state = call.tenant.lock();
    expire(&mut state);
    let active = &state.subscriptions.active;
    let value: Vec<Value> = active.iter().map(Subscription::to_json).collect();
    let body = json!({"@odata.context": context(call, "subscriptions"), "value": value});
    Ok(answer::json(200, &body))
}

fn expire(state: &mut State) {
    let now = (state.clock)();
    state.subscriptions.active.retain(|own| own.expires > now);
}

fn with(call: &Call, act: impl FnOnce(&mut Subscription) -> Result<Value, Refusal>) -> Outcome {
    let mut state = call.tenant.lock();
    expire(&mut state);
    let mut active = state.subscriptions.active.iter_mut();
    let own = active.find(|own| own.id == call.segment(1));
    let mut body = act(own.ok_or_else(not_found)?)?;
    body["@odata.context"] = json!(context(call, "subscriptions/$entity"));
    Ok(answer::json(200, &body))
}

fn not_found() -> Refusal {
    Refusal::new(
        404,
        "ExtensionError",
        "Operation: Read; Exception: [Status Code: NotFound; Reason: The object was not found.]",
    )
}

fn delete(call: &Call) -> Outcome {
    with(call, |own| Ok(own.to_json()))?;
    let mut state = call.tenant.lock();
    let id = call.segment(1);
    state.subscriptions.active.retain(|own| own.id != id);
    Ok(answer::empty(204))
}

fn renew(call: &Call) -> Outcome {
    let body = call.json()?;
    if !body["lifecycleNotificationUrl"].is_null() {
        return Err(invalid(
            "lifecycleNotificationUrl cannot be changed after the subscription was created.",
        ));
    }
    let now = (call.tenant.lock().clock)();
    with(call, |own| {
        own.expires = expiry(&body, now, &own.target)?;
        Ok(own.to_json())
    })
}

fn create(call: &Call) -> Outcome {
    let body = call.json()?;
    let text = |name: &str| {
        let found = body[name].as_str().filter(|text| !text.is_empty());
        found.ok_or_else(|| invalid(&format!("The property '{name}' is required.")))
    };
    let (kinds, resource, url) = (
        text("changeType")?,
        text("resource")?,
        text("notificationUrl")?,
    );
    let words = ["created", "updated", "deleted"];
    if kinds.split(',').any(|kind| !words.contains(&kind.trim())) {
        return Err(invalid("The value of changeType is not valid."));
    }
    let (target, expires) = {
        let state = call.tenant.lock();
        let target = target(&state, resource)?;
        if matches!(target, Target::Drive { .. }) && kinds != "updated" {
            return Err(invalid(
                "Only 'updated' is supported for the root of a drive.",
            ));
        }
        let expires = expiry(&body, (state.clock)(), &target)?;
        check_room(&state, &target)?;
        (target, expires)
    };
    for address in [Some(url), body["lifecycleNotificationUrl"].as_str()] {
        let Some(address) = address else { continue };
        validate(call, address)?;
    }
    let mut state = call.tenant.lock();
    let shown = json!({
        "resource": resource,
        "applicationId": state.app.app.client_id,
        "changeType": kinds,
        "clientState": body["clientState"],
        "notificationUrl": url,
        "lifecycleNotificationUrl": body["lifecycleNotificationUrl"],
        "creatorId": state.app.app.client_id,
        "includeResourceData": false,
    });
    let mut made = state.subscribe(shown, expires, target).to_json();
    made["@odata.context"] = json!(context(call, "subscriptions/$entity"));
    Ok(answer::json(201, &made))
}

fn check_room(state: &State, target: &Target) -> Result<(), Refusal> {
    let Target::Messages { user, .. } = target else {
        return Ok(());
    };
    let of_user =
        state.subscriptions.active.iter().filter(
            |own| matches!(&own.target, Target::Messages { user: other, .. } if other == user),
        );
    if of_user.count() < PER_MAILBOX {
        return Ok(());
    }
    let text = "The maximum number of subscriptions of the mailbox is reached.";
    Err(Refusal::new(403, "ExtensionError", text))
}

/// Sends the token that whoever listens must send back as plain text.
///
/// *Source*: Graph, change notifications by webhooks: 200 within ten seconds.
fn validate(call: &Call, address: &str) -> Result<(), Refusal> {
    let (listener, token) = {
        let mut state = call.tenant.lock();
        state.requests += 1;
        let token = format!(
            "Validation: {}",
            ids::guid(state.seed, "validation", state.requests)
        );
        (state.subscriptions.listener.clone(), token)
    };
    let mark = if address.contains('?') { '&' } else { '?' };
    let encoded = utf8_percent_encode(&token, NON_ALPHANUMERIC);
    let request = Request::post(format!("{address}{mark}validationToken={encoded}"))
        .header("content-type", "text/plain; charset=utf-8")
        .body(Bytes::new());
    let answer = listener
        .zip(request.ok())
        .map(|(listen, request)| listen(request));
    let plain = |answer: &Response<Bytes>| {
        let kind = answer.headers().get("content-type");
        let kind = kind.and_then(|kind| kind.to_str().ok());
        kind.is_some_and(|kind| kind.starts_with("text/plain"))
    };
    let valid = answer.as_ref().is_some_and(|answer| {
        answer.status() == 200 && plain(answer) && answer.body() == token.as_bytes()
    });
    if valid {
        return Ok(());
    }
    Err(Refusal::new(
        400,
        "ValidationError",
        "Subscription validation request failed. Notification endpoint must respond with 200 OK to \
         validation request.",
    ))
}

fn invalid(text: &str) -> Refusal {
    Refusal::new(400, "InvalidRequest", text)
}

fn expiry(body: &Value, now: SystemTime, target: &Target) -> Result<SystemTime, Refusal> {
    let text = body["expirationDateTime"].as_str().unwrap_or_default();
    let expires = text
        .parse::<jiff::Timestamp>()
        .map(SystemTime::from)
        .map_err(|_| invalid("The property 'expirationDateTime' is required."))?;
    let minutes = match target {
        Target::Messages { .. } => MESSAGES_MINUTES,
        Target::Drive { .. } => DRIVE_MINUTES,
    };
    if expires <= now {
        return Err(invalid(
            "Subscription expiration can only be in the future.",
        ));
    }
    if expires > now + Duration::from_secs(minutes * 60) {
        return Err(invalid(&format!(
            "Subscription expiration can only be {minutes} minutes in the future."
        )));
    }
    Ok(expires)
}

/// Finds what a subscription is to listen to.
fn target(state: &State, resource: &str) -> Result<Target, Refusal> {
    let unsupported = || invalid(&format!("Resource '{resource}' is not supported."));
    let plain = resource.replace("('", "/").replace("')", "");
    let parts: Vec<&str> = plain.trim_matches('/').split('/').collect();
    let user = |name: &str| {
        let user = state.user(name);
        user.ok_or_else(|| super::directory::unknown_user(name))
    };
    match parts.as_slice() {
        ["users", name, "drive", "root"] => Ok(Target::Drive {
            user: user(name)?.id.clone(),
        }),
        ["drives", id, "root"] => {
            let (owner, _) = super::drives::drive_of(state, id)?;
            Ok(Target::Drive {
                user: owner.id.clone(),
            })
        }
        ["users", name, "messages"] => Ok(Target::Messages {
            user: user(name)?.id.clone(),
            folder: None,
        }),
        ["users", name, folders, folder, "messages"]
            if folders.eq_ignore_ascii_case("mailFolders") =>
        {
            let user = user(name)?;
            let mailbox = user
                .mailbox
                .as_ref()
                .ok_or_else(super::directory::no_mailbox)?;
            let folder = mailbox
                .folder_key(folder)
                .ok_or_else(Refusal::item_not_found)?;
            Ok(Target::Messages {
                user: user.id.clone(),
                folder: Some(folder),
            })
        }
        _ => Err(unsupported()),
    }
}
