//! SharePoint: its own REST interface on the tenant's own host, as far as signing in to it goes.
//!
//! *Source*: SharePoint, app-only access with a certificate (a token got by a secret is refused).

use http::Method;
use serde_json::json;

use super::answer::{self, Outcome, Refusal};
use super::call::Call;
use super::login;

/// Permissions of which one opens a site to an app.
const READS: [&str; 4] = [
    "Sites.Read.All",
    "Sites.ReadWrite.All",
    "Sites.Manage.All",
    "Sites.FullControl.All",
];

/// Answers one request below `/_api`.
pub(super) fn route(call: &Call) -> Outcome {
    login::check_bearer(call, &call.tenant.home().content)?;
    let token = call.header("authorization").unwrap_or_default();
    let token = token.strip_prefix("Bearer ").unwrap_or_default();
    let state = call.tenant.lock();
    let known = state.app.tokens.get(token);
    let by_secret = known.is_some_and(|token| token.by_secret);
    let permitted = READS
        .iter()
        .any(|name| state.app.permissions.contains(*name));
    drop(state);
    if by_secret {
        let body = json!({ "error_description": "Unsupported app only token." });
        let mut answer = answer::json(401, &body);
        let said = "3001000;reason=\"Unsupported app only token.\";category=\"invalid_client\"";
        answer::put_header(&mut answer, "x-ms-diagnostics", said);
        return Ok(answer);
    }
    if !permitted {
        let text = "Access denied. You do not have permission to perform this action or access \
                    this resource.";
        let body = json!({ "odata.error": {
            "code": "-2147024891, System.UnauthorizedAccessException",
            "message": { "lang": "en-US", "value": text },
        }});
        return Ok(answer::json(403, &body));
    }
    match call.keys().as_slice() {
        ["_api", "web"] if call.method == Method::GET => {
            Ok(answer::json(200, &json!({ "Title": "Contoso" })))
        }
        _ => Err(Refusal::no_such_segment(call)),
    }
}
