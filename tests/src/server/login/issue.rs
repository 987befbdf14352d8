//! Issue: tokens in the shape of the real ones, signed by nobody: the tenant knows its own.

use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::Denial;
use crate::server::answer::{self, Answer};
use crate::server::call::{Call, Query};
use crate::tenant::app::Token;
use crate::tenant::sign_ins::{Refresh, Wish, seconds};
use crate::tenant::{State, ids};

/// Whom a token is for.
pub(super) enum Subject<'a> {
    /// The application itself.
    App,
    /// A person, who signed in with the client proving itself or not.
    Person {
        user: &'a str,
        wish: &'a Wish,
        confidential: Option<bool>,
        nonce: Option<&'a str>,
    },
}

/// Answers with a token for `audience`, and what else the form asks for.
pub(super) fn answer(
    call: &Call,
    form: &Query,
    audience: &str,
    subject: &Subject<'_>,
) -> Result<Answer, Denial> {
    let mut body = token(call, form, audience, subject)?;
    if let Some(resource) = form.get("resource") {
        // The old endpoint writes numbers as strings, and says until when.
        let lifetime = body["expires_in"].as_u64().unwrap_or_default();
        let now = seconds((call.tenant.lock().clock)());
        body["expires_in"] = json!(lifetime.to_string());
        body["expires_on"] = json!((now + lifetime).to_string());
        body["resource"] = json!(resource);
    }
    let mut answer = answer::json(200, &body);
    answer::put_header(&mut answer, "cache-control", "no-store, no-cache");
    Ok(answer)
}

/// Makes a token, and returns what is said with it.
pub(super) fn token(
    call: &Call,
    form: &Query,
    audience: &str,
    subject: &Subject<'_>,
) -> Result<Value, Denial> {
    let claims = demanded(form)?;
    let mut state = call.tenant.lock();
    let now = (state.clock)();
    state.app.tokens.retain(|_, token| token.expires > now);
    let lifetime = state.app.token_seconds;
    let expires = now
        .checked_add(Duration::from_secs(lifetime))
        .unwrap_or(UNIX_EPOCH);
    let text = access_token(&mut state, audience, subject, &claims, lifetime);
    let token = Token {
        audience: audience.to_string(),
        expires,
        user: match subject {
            Subject::App => None,
            Subject::Person { user, .. } => Some((*user).to_string()),
        },
        scopes: match subject {
            Subject::App => std::collections::BTreeSet::new(),
            Subject::Person { wish, .. } => wish.scopes.iter().cloned().collect(),
        },
        by_secret: form.get("grant_type") == Some("client_credentials")
            && form.get("client_assertion").is_none(),
        answers_challenges: claims.capable,
        claims_met: claims.not_before,
    };
    state.app.tokens.insert(text.clone(), token);
    let mut body = json!({
        "token_type": "Bearer",
        "expires_in": lifetime,
        "ext_expires_in": lifetime,
        "access_token": text,
    });
    if let Subject::Person {
        user,
        wish,
        confidential,
        nonce,
    } = subject
    {
        let names: Vec<String> = wish
            .scopes
            .iter()
            .map(|name| format!("{audience}/{name}"))
            .collect();
        body["scope"] = json!(names.join(" "));
        if wish.offline {
            let refresh = Refresh {
                user: (*user).to_string(),
                wish: (*wish).clone(),
                issued: now,
                confidential: *confidential,
            };
            body["refresh_token"] = json!(state.keep_refresh(refresh));
        }
        if wish.openid {
            body["id_token"] = json!(id_token(&state, call, user, *nonce, lifetime));
        }
        if form.get("client_info") == Some("1") {
            let info = json!({ "uid": user, "utid": state.app.app.tenant_id });
            body["client_info"] = json!(URL_SAFE_NO_PAD.encode(info.to_string()));
        }
    }
    Ok(body)
}

/// What the `claims` parameter says.
#[derive(Default)]
struct Demand {
    /// Whether the client answers challenges.
    capable: bool,
    /// The moment before which the token may not have been issued.
    not_before: Option<u64>,
}

fn demanded(form: &Query) -> Result<Demand, Denial> {
    let Some(text) = form.get("claims").filter(|text| !text.is_empty()) else {
        return Ok(Demand::default());
    };
    let Ok(Value::Object(claims)) = serde_json::from_str(text) else {
        return Err(Denial::new(
            "invalid_request",
            900_491,
            "The claims parameter is not a JSON object.",
        ));
    };
    let access = claims.get("access_token").cloned().unwrap_or_default();
    let capable = access["xms_cc"]["values"]
        .as_array()
        .is_some_and(|values| values.iter().any(|value| value == "cp1"));
    let not_before = access["nbf"]["value"]
        .as_str()
        .and_then(|text| text.parse().ok());
    Ok(Demand {
        capable,
        not_before,
    })
}

fn access_token(
    state: &mut State,
    audience: &str,
    subject: &Subject<'_>,
    claims: &Demand,
    lifetime: u64,
) -> String {
    let now = seconds((state.clock)());
    state.app.issued += 1;
    let app = &state.app.app;
    let mut body = json!({
        "aud": audience,
        "iss": format!("https://sts.windows.net/{}/", app.tenant_id),
        "iat": now, "nbf": now, "exp": now + lifetime,
        "appid": app.client_id, "tid": app.tenant_id, "ver": "1.0",
        "uti": ids::guid(state.seed, "token id", state.app.issued),
    });
    match subject {
        Subject::App => {
            body["idtyp"] = json!("app");
            body["roles"] = json!(state.app.permissions);
        }
        Subject::Person { user, wish, .. } => {
            body["idtyp"] = json!("user");
            body["oid"] = json!(user);
            body["scp"] = match wish.scopes.iter().any(|name| name == ".default") {
                true => {
                    let all: Vec<&str> = state.app.permissions.iter().map(String::as_str).collect();
                    json!(all.join(" "))
                }
                false => json!(wish.scopes.join(" ")),
            };
        }
    }
    if claims.capable {
        body["xms_cc"] = json!(["cp1"]);
    }
    let signature = ids::bytes(state.seed, "token", state.app.issued);
    jwt(&body, &signature)
}

fn id_token(state: &State, call: &Call, user: &str, nonce: Option<&str>, lifetime: u64) -> String {
    let now = seconds((state.clock)());
    let app = &state.app.app;
    let name = state.user(user).map(|user| user.principal_name.clone());
    let mut body = json!({
        "aud": app.client_id, "tid": app.tenant_id, "ver": "2.0",
        "iss": format!("{}{}/v2.0", call.tenant.urls().login, app.tenant_id),
        "iat": now, "nbf": now, "exp": now + lifetime,
        "oid": user, "sub": user, "preferred_username": name, "unique_name": name,
    });
    if let Some(nonce) = nonce {
        body["nonce"] = json!(nonce);
    }
    jwt(&body, &ids::bytes(state.seed, "id token", state.app.issued))
}

fn jwt(body: &Value, signature: &[u8]) -> String {
    let header = json!({ "typ": "JWT", "alg": "RS256", "kid": "simulated" });
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signature = URL_SAFE_NO_PAD.encode(signature);
    format!("{}.{}.{signature}", encode(&header), encode(body))
}
