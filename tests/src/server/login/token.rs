//! Token endpoint: the grants, each as strict as the platform is.

use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::Method;

use super::issue::{self, Subject};
use super::{Denial, assertion, check_client, check_tenant, device, required, wish};
use crate::server::answer::Answer;
use crate::server::call::{Call, Query};
use crate::tenant::sign_ins::{Refresh, Wish, password};

/// How long a refresh token works without being used.
/// *Source*: the platform's page on refresh tokens (1c46dd7, 2025-05).
const REFRESH_LIFETIME: Duration = Duration::from_secs(90 * 86_400);

/// Answers one request to the token endpoint, of the old kind (`v1`) or the new.
pub(super) fn answer(call: &Call, tenant: &str, v1: bool) -> Result<Answer, Denial> {
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
    let form = Query::parse(&String::from_utf8_lossy(&call.body));
    let grant = required(&form, "grant_type")?;
    check_tenant(&call.tenant, tenant, grant != "client_credentials")?;
    match grant {
        "client_credentials" => {
            prove(call, &form, true)?;
            let audience = match v1 {
                true => wish::resource_of(&call.tenant, required(&form, "resource")?)?,
                false => wish::of_app(&call.tenant, required(&form, "scope")?)?,
            };
            issue::answer(call, &form, &audience, &Subject::App)
        }
        "authorization_code" => code(call, &form),
        "refresh_token" => refresh(call, &form),
        "password" => by_password(call, &form),
        "urn:ietf:params:oauth:grant-type:device_code" => {
            prove(call, &form, false)?;
            device::redeem(call, &form)
        }
        other => Err(Denial::new(
            "unsupported_grant_type",
            70_003,
            format!("The app requested an unsupported grant type '{other}'."),
        )),
    }
}

/// Checks who the client says it is; tells whether it proved it.
fn prove(call: &Call, form: &Query, must: bool) -> Result<bool, Denial> {
    let (client_id, secret) = client_of(call, form)?;
    check_client(call, &client_id)?;
    match (form.get("client_assertion"), secret) {
        (Some(text), _) => {
            assertion::check(call, form.get("client_assertion_type"), text)?;
            Ok(true)
        }
        (None, Some(secret)) if secret == call.tenant.app().client_secret => Ok(true),
        (None, Some(_)) => Err(Denial::new(
            "invalid_client",
            7_000_215,
            format!("Invalid client secret provided for app '{client_id}'."),
        )),
        (None, None) if !must => Ok(false),
        (None, None) => Err(Denial::new(
            "invalid_client",
            7_000_218,
            "The request body must contain the following parameter: 'client_assertion' or \
             'client_secret'.",
        )),
    }
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
    let secret = form.get("client_secret").filter(|text| !text.is_empty());
    Ok((id, secret.map(str::to_string)))
}

/// Holds a public client to sending no credential, and a confidential one to sending it.
fn check_kind(proved: bool, confidential: bool) -> Result<(), Denial> {
    match (proved, confidential) {
        (true, false) => Err(Denial::new(
            "invalid_client",
            700_025,
            "Client is public so neither 'client_assertion' nor 'client_secret' should be \
             presented.",
        )),
        (false, true) => Err(Denial::new(
            "invalid_client",
            7_000_218,
            "The request body must contain the following parameter: 'client_assertion' or \
             'client_secret'.",
        )),
        _ => Ok(()),
    }
}

fn code(call: &Call, form: &Query) -> Result<Answer, Denial> {
    let proved = prove(call, form, false)?;
    let grant = |number, text: &str| Denial::new("invalid_grant", number, text);
    let text = required(form, "code")?;
    let redirect = required(form, "redirect_uri")?;
    let mut state = call.tenant.lock();
    let now = (state.clock)();
    let Some(code) = state.sign_ins.codes.get_mut(text) else {
        return Err(grant(
            9_002_313,
            "Invalid request. Request is malformed or invalid.",
        ));
    };
    if code.redeemed {
        return Err(grant(
            54_005,
            "OAuth2 Authorization code was already redeemed, please retry with a new valid code.",
        ));
    }
    if code.expires <= now {
        return Err(grant(
            70_008,
            "The provided authorization code or refresh token has expired due to inactivity.",
        ));
    }
    if code.redirect != redirect {
        return Err(grant(
            500_112,
            "The reply address does not match the reply address provided when requesting \
             authorization code.",
        ));
    }
    let verified = match (&code.challenge, form.get("code_verifier")) {
        (None, _) => true,
        (Some((challenge, _)), None) => challenge.is_empty(),
        (Some((challenge, method)), Some(verifier)) => {
            let hashed = digest::digest(&digest::SHA256, verifier.as_bytes());
            let long_enough = (43..=128).contains(&verifier.len());
            long_enough
                && match method.as_str() {
                    "S256" => *challenge == URL_SAFE_NO_PAD.encode(hashed),
                    _ => challenge == verifier,
                }
        }
    };
    if !verified {
        return Err(grant(
            501_481,
            "The Code_Verifier does not match the code_challenge supplied in the authorization \
             request.",
        ));
    }
    check_kind(proved, super::authorize::is_web(redirect))?;
    code.redeemed = true;
    let code = code.clone();
    drop(state);
    let wish = narrowed(call, form, &code.wish)?;
    let subject = Subject::Person {
        user: &code.user,
        wish: &wish,
        confidential: Some(proved),
        nonce: code.nonce.as_deref(),
    };
    issue::answer(call, form, &wish.audience, &subject)
}

/// Returns what the token is for: what the form asks for, else what the sign-in asked for.
fn narrowed(call: &Call, form: &Query, first: &Wish) -> Result<Wish, Denial> {
    match form.get("scope").filter(|text| !text.trim().is_empty()) {
        None => Ok(first.clone()),
        Some(scope) => {
            let mut wish = wish::of_person(&call.tenant, scope)?;
            // A sign-in that was allowed a refresh token stays allowed one.
            wish.offline |= first.offline;
            Ok(wish)
        }
    }
}

fn refresh(call: &Call, form: &Query) -> Result<Answer, Denial> {
    let proved = prove(call, form, false)?;
    let text = required(form, "refresh_token")?;
    let known: Refresh = {
        let mut state = call.tenant.lock();
        let now = (state.clock)();
        let found = state.sign_ins.refresh.get(text).cloned();
        let Some(known) = found else {
            return Err(Denial::new(
                "invalid_grant",
                50_173,
                "The provided grant has expired due to it being revoked, a fresh auth token is \
                 needed.",
            ));
        };
        if known.issued + REFRESH_LIFETIME <= now {
            return Err(Denial::new(
                "invalid_grant",
                700_082,
                "The refresh token has expired due to inactivity.",
            ));
        }
        if state.sign_ins.single_use_refresh {
            state.sign_ins.refresh.remove(text);
        }
        known
    };
    if let Some(confidential) = known.confidential {
        check_kind(proved, confidential)?;
    }
    let wish = narrowed(call, form, &known.wish)?;
    let subject = Subject::Person {
        user: &known.user,
        wish: &wish,
        confidential: known.confidential,
        nonce: None,
    };
    issue::answer(call, form, &wish.audience, &subject)
}

fn by_password(call: &Call, form: &Query) -> Result<Answer, Denial> {
    let proved = prove(call, form, false)?;
    let (name, given) = (required(form, "username")?, required(form, "password")?);
    let wish = wish::of_person(&call.tenant, form.get("scope").unwrap_or_default())?;
    let user = {
        let state = call.tenant.lock();
        let user = state.user(name);
        let right = user.filter(|user| password(state.seed, &user.id) == given);
        right.map(|user| user.id.clone()).ok_or_else(|| {
            Denial::new(
                "invalid_grant",
                50_126,
                "Error validating credentials due to invalid username or password.",
            )
        })?
    };
    let subject = Subject::Person {
        user: &user,
        wish: &wish,
        confidential: Some(proved),
        nonce: None,
    };
    issue::answer(call, form, &wish.audience, &subject)
}
