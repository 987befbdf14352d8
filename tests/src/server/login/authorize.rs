//! Authorize: the sign-in page, with a person behind it who consents at once.

use std::time::Duration;

use http::Method;
use url::Url;

use super::{Denial, check_client, check_tenant, required, wish};
use crate::server::answer::{self, Answer};
use crate::server::call::Call;
use crate::tenant::sign_ins::Code;

/// How long a code can be redeemed.
const CODE_LIFETIME: Duration = Duration::from_secs(600);

/// Answers a browser that opens the sign-in page: back to the program at once.
pub(super) fn answer(call: &Call, tenant: &str) -> Result<Answer, Denial> {
    check_tenant(&call.tenant, tenant, true)?;
    if call.method != Method::GET {
        return Err(Denial::new(
            "invalid_request",
            900_561,
            "The endpoint only accepts GET requests.",
        ));
    }
    check_client(call, required(&call.query, "client_id")?)?;
    let redirect = redirect_of(call)?;
    // From here on the program learns of failures by the redirect, as on the real page.
    let fields = match code(call, &redirect) {
        Ok(code) => vec![("code".to_string(), code)],
        Err(denial) => vec![
            ("error".to_string(), denial.error.to_string()),
            ("error_description".to_string(), denial.description(call)),
        ],
    };
    Ok(back(call, &redirect, fields))
}

/// Answers a browser that opens the page for admin consent.
pub(super) fn consent(call: &Call, tenant: &str) -> Result<Answer, Denial> {
    check_tenant(&call.tenant, tenant, tenant == "organizations")?;
    check_client(call, required(&call.query, "client_id")?)?;
    let redirect = redirect_of(call)?;
    let scope = required(&call.query, "scope")?.to_string();
    let mut fields = vec![("admin_consent".to_string(), "True".to_string())];
    if call.tenant.lock().sign_ins.people_decline {
        let denial = declined();
        fields.push(("error".to_string(), denial.error.to_string()));
        fields.push(("error_description".to_string(), denial.description(call)));
    } else {
        fields.push(("tenant".to_string(), call.tenant.app().tenant_id));
        fields.push(("scope".to_string(), scope));
    }
    Ok(back(call, &redirect, fields))
}

fn declined() -> Denial {
    Denial::new(
        "access_denied",
        65_004,
        "User declined to consent to access the app.",
    )
}

fn code(call: &Call, redirect: &str) -> Result<String, Denial> {
    let query = &call.query;
    if query.get("response_type") != Some("code") {
        return Err(Denial::new(
            "unsupported_response_type",
            700_054,
            "The response_type is not enabled for the application.",
        ));
    }
    let wish = wish::of_person(&call.tenant, required(query, "scope")?)?;
    let challenge = query.get("code_challenge").map(|challenge| {
        let method = query.get("code_challenge_method").unwrap_or("plain");
        (challenge.to_string(), method.to_string())
    });
    let mut state = call.tenant.lock();
    if state.sign_ins.people_decline {
        return Err(declined());
    }
    let hint = query.get("login_hint").filter(|hint| !hint.is_empty());
    let user = match hint {
        Some(hint) => state.user(hint),
        None => state.users.first(),
    };
    let user = user.map(|user| user.id.clone()).ok_or_else(|| {
        Denial::new(
            "invalid_request",
            50_034,
            "The user account does not exist in the directory.",
        )
    })?;
    let text = format!("0.{}", state.next_secret("code"));
    let expires = (state.clock)() + CODE_LIFETIME;
    state.sign_ins.codes.insert(
        text.clone(),
        Code {
            user,
            redirect: redirect.to_string(),
            challenge,
            nonce: query.get("nonce").map(str::to_string),
            wish,
            expires,
            redeemed: false,
        },
    );
    Ok(text)
}

/// Refuses redirect addresses that the app does not have; such a browser goes nowhere.
fn redirect_of(call: &Call) -> Result<String, Denial> {
    let text = required(&call.query, "redirect_uri")?;
    let native = format!("{}common/oauth2/nativeclient", call.tenant.urls().login);
    let known = text == native
        || Url::parse(text).is_ok_and(|url| {
            // The port of a loopback address does not matter to the platform.
            let loopback = url.scheme() == "http" && url.host_str() == Some("localhost");
            loopback && ["/", "/web"].contains(&url.path()) && url.query().is_none()
        });
    known.then(|| text.to_string()).ok_or_else(|| {
        Denial::new(
            "invalid_request",
            50_011,
            format!(
                "The redirect URI '{text}' specified in the request does not match the redirect \
                 URIs configured for the application."
            ),
        )
    })
}

/// Tells whether a redirect address is one of a server that keeps a secret.
pub(super) fn is_web(redirect: &str) -> bool {
    Url::parse(redirect).is_ok_and(|url| url.path() == "/web")
}

fn back(call: &Call, redirect: &str, mut fields: Vec<(String, String)>) -> Answer {
    if let Some(state) = call.query.get("state") {
        fields.push(("state".to_string(), state.to_string()));
    }
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish();
    let mark = match call.query.get("response_mode") {
        Some("fragment") => '#',
        _ => '?',
    };
    let mut answer = answer::empty(302);
    answer::put_header(&mut answer, "location", &format!("{redirect}{mark}{query}"));
    answer::put_header(&mut answer, "cache-control", "no-store, no-cache");
    answer
}
