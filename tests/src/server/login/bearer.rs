//! Bearer: whether a token opens a service, and the challenge when it must meet new claims.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use serde_json::json;
use url::Url;

use super::origin;
use crate::server::answer::Refusal;
use crate::server::call::Call;
use crate::tenant::{State, Tenant};

/// Refuses a request to Graph or EWS whose bearer token is missing, unknown, expired or for others.
pub(in crate::server) fn check(call: &Call, service: &Url) -> Result<(), Refusal> {
    let header = call.header("authorization").unwrap_or("");
    let Some(token) = header.strip_prefix("Bearer ") else {
        return Err(unauthorized(call, "Access token is empty."));
    };
    let state = call.tenant.lock();
    let now = (state.clock)();
    let event = state.sign_ins.security_event;
    let verdict = match state.app.tokens.get(token) {
        None => Some("IDX14100: JWT is not well formed, there are no dots (.)."),
        Some(known) if known.expires <= now => {
            Some("Lifetime validation failed, the token is expired.")
        }
        Some(known) if known.audience != origin(service) => Some("Invalid audience."),
        Some(known) if known.answers_challenges && event > known.claims_met => {
            drop(state);
            return Err(challenged(call, event.unwrap_or_default()));
        }
        Some(known) if !is_own(call, &state, known.user.as_deref()) => {
            drop(state);
            let text = "Access is denied. Check credentials and try again.";
            return Err(Refusal::new(403, "ErrorAccessDenied", text));
        }
        Some(_) => None,
    };
    drop(state);
    verdict.map_or(Ok(()), |message| Err(unauthorized(call, message)))
}

/// Tells whether a call stays within what belongs to the person the token speaks for: the
/// directory, and the person's own mailbox and drive.
fn is_own(call: &Call, state: &State, person: Option<&str>) -> bool {
    let Some(person) = person else { return true };
    let below_user = call.keys().first() == Some(&"users") && call.segments.len() > 2;
    !below_user
        || state
            .user(call.segment(1))
            .is_none_or(|user| user.id == person)
}

/// Returns the id of the person that the token of a request speaks for.
pub(in crate::server) fn person(tenant: &Tenant, headers: &HeaderMap) -> Option<String> {
    let header = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let token = header.strip_prefix("Bearer ")?;
    tenant.lock().app.tokens.get(token)?.user.clone()
}

fn unauthorized(call: &Call, message: &str) -> Refusal {
    Refusal::new(401, "InvalidAuthenticationToken", message)
        .with_header("www-authenticate", realm(call))
}

/// *Source*: the identity platform's page on claims challenges (19cc3f7).
fn challenged(call: &Call, event: u64) -> Refusal {
    let claims = json!({
        "access_token": { "nbf": { "essential": true, "value": event.to_string() } }
    });
    let claims = STANDARD.encode(claims.to_string());
    let message = "Continuous access evaluation resulted in challenge with result: \
                   InteractionRequired and code: TokenIssuedBeforeRevocationTimestamp";
    Refusal::new(401, "InvalidAuthenticationToken", message).with_header(
        "www-authenticate",
        format!(
            "{}, error=\"insufficient_claims\", claims=\"{claims}\"",
            realm(call)
        ),
    )
}

fn realm(call: &Call) -> String {
    let login = &call.tenant.urls().login;
    let tenant = call.tenant.app().tenant_id;
    format!(
        "Bearer realm=\"\", authorization_uri=\"{login}{tenant}/oauth2/authorize\", \
         client_id=\"00000003-0000-0000-c000-000000000000\""
    )
}
