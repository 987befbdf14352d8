//! Machine: the token services of a virtual machine and of App Service, at which a program on
//! them asks for its managed identity.

use std::time::Duration;

use http::Method;
use serde_json::json;

use super::issue::{self, Subject};
use super::wish;
use crate::server::answer::{self, Answer};
use crate::server::call::{Call, Query};
use crate::tenant::sign_ins::seconds;

/// Answers as a virtual machine does.
///
/// *Source*: the platform's page on tokens of virtual machines (03ffb81, 2025-02).
pub(super) fn virtual_machine(call: &Call) -> Answer {
    if call.header("x-forwarded-for").is_some() {
        return refuse(400, "bad_request_102", "The request came through a proxy");
    }
    if call.header("metadata") != Some("true") {
        return refuse(
            400,
            "bad_request_102",
            "Required metadata header not specified",
        );
    }
    give(call, "2018-02-01", ["client_id", "object_id", "msi_res_id"])
}

/// Answers as App Service does.
pub(super) fn app_service(call: &Call) -> Answer {
    let expected = call.tenant.lock().sign_ins.identity_header.clone();
    if call.header("x-identity-header") != Some(expected.as_str()) {
        return refuse(401, "unauthorized", "The identity header does not match");
    }
    give(
        call,
        "2019-08-01",
        ["client_id", "principal_id", "mi_res_id"],
    )
}

fn give(call: &Call, version: &str, names: [&str; 3]) -> Answer {
    if call.method != Method::GET {
        return refuse(405, "method_not_allowed", "Only GET is allowed");
    }
    if call.query.get("api-version") != Some(version) {
        return refuse(400, "invalid_request", "The api-version is not supported");
    }
    let named = names.into_iter().find_map(|name| call.query.get(name));
    let known = call
        .tenant
        .lock()
        .sign_ins
        .identities
        .contains(named.unwrap_or_default());
    if !known {
        return refuse(400, "invalid_request", "Identity not found");
    }
    let resource = call.query.get("resource").unwrap_or_default();
    if resource.ends_with("/.default") {
        return refuse(400, "invalid_resource", "AADSTS500011: no such resource");
    }
    let Ok(audience) = wish::resource_of(&call.tenant, resource) else {
        return refuse(400, "invalid_resource", "AADSTS500011: no such resource");
    };
    let lifetime = call.tenant.lock().app.token_seconds;
    let now = (call.tenant.lock().clock)();
    let Ok(token) = issue::token(call, &Query::default(), &audience, &Subject::App) else {
        return refuse(500, "server_error", "no token");
    };
    // Numbers come as strings, and a refresh token never.
    let text = |time| seconds(time).to_string();
    answer::json(
        200,
        &json!({
            "access_token": token["access_token"],
            "client_id": named.unwrap_or_default(),
            "refresh_token": "",
            "expires_in": lifetime.to_string(),
            "expires_on": text(now + Duration::from_secs(lifetime)),
            "not_before": text(now),
            "resource": resource,
            "token_type": "Bearer",
        }),
    )
}

fn refuse(status: u16, error: &str, description: &str) -> Answer {
    answer::json(
        status,
        &json!({ "error": error, "error_description": description }),
    )
}
