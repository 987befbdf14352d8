//! Login: the identity platform, and the check of the tokens it gave.

mod assertion;
mod authorize;
mod bearer;
mod device;
mod issue;
mod machine;
#[cfg(test)]
mod tests;
mod token;
mod wish;

use serde_json::json;
use url::Url;

use super::answer::{self, Answer, Outcome};
use super::call::{Call, Query};
use crate::tenant::Tenant;

pub(super) use bearer::{check as check_bearer, person};

/// The domain by which the tenant is known beside its id.
const DOMAIN: &str = "contoso.example";

/// How domains end whose tenants live in other clouds.
const NATIONAL: [&str; 3] = [
    ".onmicrosoft.us",
    ".onmicrosoft.cn",
    ".partner.onmschina.cn",
];

/// The names under which every tenant's people sign in.
const COMMON: [&str; 3] = ["common", "organizations", "consumers"];

/// A refusal of the identity platform: OAuth error, AADSTS number, text.
struct Denial {
    status: u16,
    error: &'static str,
    number: u32,
    text: String,
}

impl Denial {
    fn new(error: &'static str, number: u32, text: impl Into<String>) -> Self {
        let status = if error == "invalid_client" { 401 } else { 400 };
        Self {
            status,
            error,
            number,
            text: text.into(),
        }
    }

    fn description(&self, call: &Call) -> String {
        let correlation = call.header("client-request-id").unwrap_or(&call.request_id);
        format!(
            "AADSTS{}: {} Trace ID: {} Correlation ID: {correlation} Timestamp: {}",
            self.number,
            self.text,
            call.request_id,
            timestamp(call)
        )
    }

    /// Renders the denial with the keys that every error of the platform has.
    fn into_answer(self, call: &Call) -> Answer {
        let body = json!({
            "error": self.error,
            "error_description": self.description(call),
            "error_codes": [self.number],
            "timestamp": timestamp(call),
            "trace_id": call.request_id,
            "correlation_id": call.header("client-request-id").unwrap_or(&call.request_id),
            "error_uri": format!("{}error?code={}", call.tenant.urls().login, self.number),
        });
        let mut answer = answer::json(self.status, &body);
        answer::put_header(&mut answer, "cache-control", "no-store, no-cache");
        answer
    }
}

fn timestamp(call: &Call) -> String {
    let time = answer::graph_date((call.tenant.lock().clock)());
    format!("{}Z", time.replace('T', " "))
}

/// Answers one request to the identity platform.
pub(super) fn route(call: &Call) -> Outcome {
    let outcome = match call.keys().as_slice() {
        [tenant, "oauth2", "v2.0", "token"] => token::answer(call, tenant, false),
        [tenant, "oauth2", "token"] => token::answer(call, tenant, true),
        [tenant, "oauth2", "v2.0", "devicecode"] => device::begin(call, tenant),
        [tenant, "oauth2", "v2.0", "authorize"] => authorize::answer(call, tenant),
        [tenant, "v2.0", "adminconsent"] => authorize::consent(call, tenant),
        [tenant, "v2.0", ".well-known", "openid-configuration"] => metadata(call, tenant),
        [_, "discovery", "v2.0", "keys"] => Ok(answer::json(200, &json!({ "keys": [] }))),
        ["metadata", "identity", "oauth2", "token"] => Ok(machine::virtual_machine(call)),
        ["msi", "token"] => Ok(machine::app_service(call)),
        _ => return Ok(answer::empty(404)),
    };
    Ok(outcome.unwrap_or_else(|denial| denial.into_answer(call)))
}

/// Returns scheme, host and port without a trailing slash, as an audience is written.
fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

fn metadata(call: &Call, tenant: &str) -> Result<Answer, Denial> {
    check_tenant(&call.tenant, tenant, true)?;
    let login = &call.tenant.urls().login;
    let id = call.tenant.app().tenant_id;
    Ok(answer::json(
        200,
        &json!({
            "token_endpoint": format!("{login}{id}/oauth2/v2.0/token"),
            "token_endpoint_auth_methods_supported":
                ["client_secret_post", "private_key_jwt", "client_secret_basic"],
            "jwks_uri": format!("{login}{id}/discovery/v2.0/keys"),
            "issuer": format!("{login}{id}/v2.0"),
            "authorization_endpoint": format!("{login}{id}/oauth2/v2.0/authorize"),
            "device_authorization_endpoint": format!("{login}{id}/oauth2/v2.0/devicecode"),
            "response_types_supported": ["code", "id_token", "code id_token"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
            "tenant_region_scope": "EU",
            "msgraph_host": call.tenant.urls().graph.host_str(),
        }),
    ))
}

/// Refuses the names of other tenants; those of all tenants are for people only.
fn check_tenant(tenant: &Tenant, name: &str, people: bool) -> Result<(), Denial> {
    let id = tenant.app().tenant_id;
    if name.eq_ignore_ascii_case(&id) || name.eq_ignore_ascii_case(DOMAIN) {
        return Ok(());
    }
    if COMMON.contains(&name) {
        if people && name != "consumers" {
            return Ok(());
        }
        return Err(Denial::new(
            "invalid_request",
            50_194,
            "The application is not configured as a multi-tenant application.",
        ));
    }
    if NATIONAL
        .iter()
        .any(|suffix| name.to_ascii_lowercase().ends_with(suffix) && !DOMAIN.ends_with(suffix))
    {
        return Err(Denial::new(
            "invalid_request",
            90_038,
            format!(
                "Tenant '{name}' request is being redirected to the National Cloud in which the \
                 tenant lives."
            ),
        ));
    }
    Err(Denial::new(
        "invalid_request",
        90_002,
        format!(
            "Tenant '{name}' not found. Check to make sure you have the correct tenant ID and are \
             signing into the correct cloud."
        ),
    ))
}

fn check_client(call: &Call, client_id: &str) -> Result<(), Denial> {
    if client_id.eq_ignore_ascii_case(&call.tenant.app().client_id) {
        return Ok(());
    }
    Err(Denial::new(
        "unauthorized_client",
        700_016,
        format!(
            "Application with identifier '{client_id}' was not found in the directory 'Contoso'."
        ),
    ))
}

fn required<'a>(form: &'a Query, name: &str) -> Result<&'a str, Denial> {
    form.get(name)
        .filter(|value| !value.is_empty())
        .ok_or_else(|| {
            Denial::new(
                "invalid_request",
                900_144,
                format!("The request body must contain the following parameter: '{name}'."),
            )
        })
}
