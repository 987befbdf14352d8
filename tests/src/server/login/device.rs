//! Device code: a sign-in that waits for a person elsewhere, who takes a while.

use std::time::Duration;

use http::Method;
use serde_json::json;

use super::issue::{self, Subject};
use super::{Denial, check_client, check_tenant, required, wish};
use crate::server::answer::{self, Answer};
use crate::server::call::{Call, Query};
use crate::tenant::ids;
use crate::tenant::sign_ins::Device;

/// *Source*: the platform's page on the device flow (0358995): 15 minutes, 5 seconds.
const LIFETIME: Duration = Duration::from_secs(900);
const INTERVAL: Duration = Duration::from_secs(5);
/// Clocks of clients run a little fast.
const TOLERANCE: Duration = Duration::from_millis(500);

/// Letters and digits that nobody confuses.
const LETTERS: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// Answers who begins such a sign-in.
pub(super) fn begin(call: &Call, tenant: &str) -> Result<Answer, Denial> {
    check_tenant(&call.tenant, tenant, true)?;
    if call.method != Method::POST {
        return Err(Denial::new(
            "invalid_request",
            900_561,
            "The endpoint only accepts POST requests.",
        ));
    }
    let form = Query::parse(&String::from_utf8_lossy(&call.body));
    check_client(call, required(&form, "client_id")?)?;
    let wish = wish::of_person(&call.tenant, required(&form, "scope")?)?;
    let mut state = call.tenant.lock();
    let code = format!("D{}", state.next_secret("device"));
    let bytes = ids::bytes(state.seed, "user code", state.sign_ins.issued);
    let user_code: String = bytes[..9]
        .iter()
        .map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]))
        .collect();
    let expires = (state.clock)() + LIFETIME;
    state.sign_ins.devices.insert(
        code.clone(),
        Device {
            user_code: user_code.clone(),
            wish,
            expires,
            last_asked: None,
            asked: 0,
            person: None,
            redeemed: false,
        },
    );
    drop(state);
    let page = format!("{}common/oauth2/deviceauth", call.tenant.urls().login);
    Ok(answer::json(
        200,
        &json!({
            "user_code": user_code,
            "device_code": code,
            "verification_uri": page,
            "expires_in": LIFETIME.as_secs(),
            "interval": INTERVAL.as_secs(),
            "message": format!(
                "To sign in, use a web browser to open the page {page} and enter the code \
                 {user_code} to authenticate."
            ),
        }),
    ))
}

/// Answers who asks whether the person has signed in.
pub(super) fn redeem(call: &Call, form: &Query) -> Result<Answer, Denial> {
    // Some clients send the code under both names.
    let text = form
        .get("device_code")
        .or(form.get("code"))
        .ok_or_else(|| required(form, "device_code").err())
        .map_err(|denial| denial.unwrap_or_else(unknown))?;
    let (user, wish) = {
        let mut state = call.tenant.lock();
        let now = (state.clock)();
        let (patience, decline) = (
            state.sign_ins.device_patience,
            state.sign_ins.people_decline,
        );
        let user = state.users.first().map(|user| user.id.clone());
        let device = state.sign_ins.devices.get_mut(text).ok_or_else(unknown)?;
        if device.redeemed {
            return Err(Denial::new(
                "invalid_grant",
                54_005,
                "OAuth2 Authorization code was already redeemed.",
            ));
        }
        if device.expires <= now {
            return Err(Denial::new(
                "expired_token",
                70_020,
                "The provided value for the input parameter 'device_code' is not valid. This \
                 device code has expired.",
            ));
        }
        let last = device.last_asked.replace(now);
        let soon = last.is_some_and(|last| now < last + INTERVAL - TOLERANCE);
        device.asked += 1;
        if soon {
            return Err(Denial::new(
                "slow_down",
                70_016,
                "The client asks more often than the interval allows.",
            ));
        }
        if device.asked <= patience && device.person.is_none() {
            return Err(Denial::new(
                "authorization_pending",
                70_016,
                "OAuth 2.0 device flow error. Authorization is pending. Continue polling.",
            ));
        }
        if decline {
            return Err(Denial::new(
                "authorization_declined",
                65_004,
                "User declined to consent to access the app.",
            ));
        }
        device.redeemed = true;
        let user = device.person.clone().or(user);
        (user.ok_or_else(unknown)?, device.wish.clone())
    };
    let subject = Subject::Person {
        user: &user,
        wish: &wish,
        confidential: Some(false),
        nonce: None,
    };
    issue::answer(call, form, &wish.audience, &subject)
}

fn unknown() -> Denial {
    Denial::new(
        "bad_verification_code",
        9_002_313,
        "The provided value for the input parameter 'device_code' is not valid.",
    )
}
