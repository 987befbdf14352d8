//! Login: the token endpoint for client credentials, and the check of the tokens it gave.

mod assertion;
#[cfg(test)]
mod tests;

use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::json;
use url::Url;

use super::answer::{self, Answer, Outcome, Refusal};
use super::call::{Call, Query};
use crate::tenant::app::Token;
use crate::tenant::{Tenant, ids};

/// The domain by which the tenant is known beside its id.
const DOMAIN: &str = "contoso.example";

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

    /// Renders the denial with the keys that every error of the platform has.
    fn into_answer(self, call: &Call) -> Answer {
        let time = answer::graph_date((call.tenant.lock().clock)());
        let time = format!("{}Z", time.replace('T', " "));
        let correlation = call.header("client-request-id").unwrap_or(&call.request_id);
        let body = json!({
            "error": self.error,
            "error_description": format!(
                "AADSTS{}: {} Trace ID: {} Correlation ID: {correlation} Timestamp: {time}",
                self.number, self.text, call.request_id
            ),
            "error_codes": [self.number],
            "timestamp": time,
            "trace_id": call.request_id,
            "correlation_id": correlation,
            "error_uri": format!("{}error?code={}", call.tenant.urls().login, self.number),
        });
        let mut answer = answer::json(self.status, &body);
        answer::put_header(&mut answer, "cache-control", "no-store, no-cache");
        answer
    }
}

/// Answers one request to the identity platform.
pub(super) fn route(call: &Call) -> Outcome {
    match call.keys().as_slice() {
        [tenant, "oauth2", "v2.0", "token"] => {
            Ok(token(call, tenant).unwrap_or_else(|denial| denial.into_answer(call)))
        }
        [tenant, "v2.0", ".well-known", "openid-configuration"] => {
            Ok(metadata(call, tenant).unwrap_or_else(|denial| denial.into_answer(call)))
        }
        _ => Ok(answer::empty(404)),
    }
}

/// Refuses a request to Graph or EWS whose bearer token is missing, unknown, expired or for others.
pub(super) fn check_bearer(call: &Call, service: &Url) -> Result<(), Refusal> {
    let header = call.header("authorization").unwrap_or("");
    let Some(token) = header.strip_prefix("Bearer ") else {
        return Err(unauthorized(call, "Access token is empty."));
    };
    let state = call.tenant.lock();
    let now = (state.clock)();
    let verdict = match state.app.tokens.get(token) {
        None => Some("IDX14100: JWT is not well formed, there are no dots (.)."),
        Some(known) if known.expires <= now => {
            Some("Lifetime validation failed, the token is expired.")
        }
        Some(known) if known.audience != origin(service) => Some("Invalid audience."),
        Some(_) => None,
    };
    drop(state);
    verdict.map_or(Ok(()), |message| Err(unauthorized(call, message)))
}

fn unauthorized(call: &Call, message: &str) -> Refusal {
    let login = &call.tenant.urls().login;
    let tenant = call.tenant.app().tenant_id;
    Refusal::new(401, "InvalidAuthenticationToken", message).with_header(
        "www-authenticate",
        format!(
            "Bearer realm=\"\", authorization_uri=\"{login}{tenant}/oauth2/authorize\", \
             client_id=\"00000003-0000-0000-c000-000000000000\""
        ),
    )
}

/// Returns scheme, host and port without a trailing slash, as an audience is written.
fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

fn metadata(call: &Call, tenant: &str) -> Result<Answer, Denial> {
    check_tenant(&call.tenant, tenant)?;
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

fn check_tenant(tenant: &Tenant, name: &str) -> Result<(), Denial> {
    let id = tenant.app().tenant_id;
    if name.eq_ignore_ascii_case(&id) || name.eq_ignore_ascii_case(DOMAIN) {
        return Ok(());
    }
    if ["common", "organizations", "consumers"].contains(&name) {
        return Err(Denial::new(
            "invalid_request",
            50_194,
            "The application is not configured as a multi-tenant application.",
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

fn token(call: &Call, tenant: &str) -> Result<Answer, Denial> {
    if call.method != Method::POST {
        return Err(Denial::new(
            "invalid_request",
            900_561,
            format!(
                "The endpoint only accepts POST requests. Received a {} request.",
                call.method
            ),
        ));
    }
    check_tenant(&call.tenant, tenant)?;
    let form = Query::parse(&String::from_utf8_lossy(&call.body));
    match required(&form, "grant_type")? {
        "client_credentials" => {}
        other => {
            return Err(Denial::new(
                "unsupported_grant_type",
                70_003,
                format!("The app requested an unsupported grant type '{other}'."),
            ));
        }
    }
    let (client_id, secret) = client_of(call, &form)?;
    let app = call.tenant.app();
    if !client_id.eq_ignore_ascii_case(&app.client_id) {
        return Err(Denial::new(
            "unauthorized_client",
            700_016,
            format!(
                "Application with identifier '{client_id}' was not found in the directory \
                 'Contoso'."
            ),
        ));
    }
    match (form.get("client_assertion"), secret) {
        (Some(text), _) => assertion::check(&call.tenant, form.get("client_assertion_type"), text)?,
        (None, Some(secret)) if secret == app.client_secret => {}
        (None, Some(_)) => {
            return Err(Denial::new(
                "invalid_client",
                7_000_215,
                format!("Invalid client secret provided for app '{client_id}'."),
            ));
        }
        (None, None) => {
            return Err(Denial::new(
                "invalid_client",
                7_000_218,
                "The request body must contain the following parameter: 'client_assertion' or \
                 'client_secret'.",
            ));
        }
    }
    let audience = audience(&call.tenant, required(&form, "scope")?)?;
    Ok(issue(&call.tenant, audience))
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

/// Finds client id and secret in the form or in HTTP Basic.
fn client_of(call: &Call, form: &Query) -> Result<(String, Option<String>), Denial> {
    let basic = call
        .header("authorization")
        .and_then(|value| value.strip_prefix("Basic "))
        .and_then(|value| STANDARD.decode(value).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok());
    if let Some(pair) = basic {
        let pair = Query::parse(&pair.replacen(':', "=", 1).replace('&', "%26"));
        if let Some((id, secret)) = pair.first() {
            return Ok((id.to_string(), Some(secret.to_string())));
        }
    }
    let id = required(form, "client_id")?.to_string();
    Ok((id, form.get("client_secret").map(str::to_string)))
}

/// Finds the one service that the scope asks for.
fn audience(tenant: &Tenant, scope: &str) -> Result<String, Denial> {
    let mut resources = scope.split_whitespace();
    let (Some(first), None) = (resources.next(), resources.next()) else {
        return Err(Denial::new(
            "invalid_scope",
            70_011,
            format!("The provided value for the input parameter 'scope' is not valid: '{scope}'."),
        ));
    };
    let Some(resource) = first.strip_suffix("/.default") else {
        return Err(Denial::new(
            "invalid_scope",
            1_002_012,
            format!(
                "The provided value for scope {first} is not valid. Client credential flows must \
                 have a scope value with /.default suffixed to the resource identifier."
            ),
        ));
    };
    let resource = resource.trim_end_matches('/');
    tenant.audience_of(resource).ok_or_else(|| {
        Denial::new(
            "invalid_resource",
            500_011,
            format!("The resource principal named {resource} was not found in the tenant."),
        )
    })
}

fn issue(tenant: &Tenant, audience: String) -> Answer {
    let mut state = tenant.lock();
    let now = (state.clock)();
    let seed = state.seed;
    state.app.tokens.retain(|_, token| token.expires > now);
    state.app.issued += 1;
    let text = format!(
        "EwB.{}",
        blake3::Hash::from(ids::bytes(seed, "token", state.app.issued))
    );
    let seconds = state.app.token_seconds;
    let expires = now
        .checked_add(Duration::from_secs(seconds))
        .unwrap_or(UNIX_EPOCH);
    state
        .app
        .tokens
        .insert(text.clone(), Token { audience, expires });
    let mut answer = answer::json(
        200,
        &json!({
            "token_type": "Bearer",
            "expires_in": seconds,
            "ext_expires_in": seconds,
            "access_token": text,
        }),
    );
    answer::put_header(&mut answer, "cache-control", "no-store, no-cache");
    answer
}
