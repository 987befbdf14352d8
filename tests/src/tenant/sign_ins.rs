//! Sign-ins: codes, refresh tokens and devices on their way, and whom the app trusts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Tenant, ids};

/// Everything that people's sign-ins leave at the identity platform.
#[derive(Debug, Clone, Default)]
pub(crate) struct SignIns {
    /// Codes that can be redeemed, and those that were.
    pub(crate) codes: BTreeMap<String, Code>,
    /// Device codes.
    pub(crate) devices: BTreeMap<String, Device>,
    /// Refresh tokens.
    pub(crate) refresh: BTreeMap<String, Refresh>,
    /// Tokens of other platforms that the app trusts.
    pub(crate) federations: Vec<Federation>,
    /// Identities of the simulated machine, by client id; the empty name is its own.
    pub(crate) identities: BTreeSet<String>,
    /// The value of `X-IDENTITY-HEADER` that the simulated App Service expects.
    pub(crate) identity_header: String,
    /// The moment before which tokens that answer challenges are worth nothing.
    pub(crate) security_event: Option<u64>,
    /// Whether a refresh token works once only.
    pub(crate) single_use_refresh: bool,
    /// Whether people decline what they are asked.
    pub(crate) people_decline: bool,
    /// How many questions a device sign-in waits for before the person has signed in.
    pub(crate) device_patience: u32,
    /// Numbers codes and refresh tokens.
    pub(crate) issued: u64,
}

/// What a redeemed sign-in gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wish {
    /// The origin of the service, without a trailing slash.
    pub(crate) audience: String,
    /// The delegated permissions asked for.
    pub(crate) scopes: Vec<String>,
    /// Whether a refresh token is wanted.
    pub(crate) offline: bool,
    /// Whether an id token is wanted.
    pub(crate) openid: bool,
}

/// A code of a sign-in in a browser.
#[derive(Debug, Clone)]
pub(crate) struct Code {
    pub(crate) user: String,
    pub(crate) redirect: String,
    pub(crate) challenge: Option<(String, String)>,
    pub(crate) nonce: Option<String>,
    pub(crate) wish: Wish,
    pub(crate) expires: SystemTime,
    pub(crate) redeemed: bool,
}

/// A sign-in on another device.
#[derive(Debug, Clone)]
pub(crate) struct Device {
    pub(crate) user_code: String,
    pub(crate) wish: Wish,
    pub(crate) expires: SystemTime,
    pub(crate) last_asked: Option<SystemTime>,
    pub(crate) asked: u32,
    /// Who typed the code, when somebody did before patience ended.
    pub(crate) person: Option<String>,
    pub(crate) redeemed: bool,
}

/// A refresh token.
#[derive(Debug, Clone)]
pub(crate) struct Refresh {
    pub(crate) user: String,
    pub(crate) wish: Wish,
    pub(crate) issued: SystemTime,
    /// Whether the client proved itself when it got the token; `None` when nobody asked.
    pub(crate) confidential: Option<bool>,
}

/// A federated identity credential of the app.
#[derive(Debug, Clone)]
pub(crate) struct Federation {
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) audience: String,
    pub(crate) key_pem: String,
}

impl SignIns {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            identities: BTreeSet::from([String::new()]),
            identity_header: ids::guid(seed, "identity header", 0),
            device_patience: 1,
            ..Self::default()
        }
    }
}

impl Tenant {
    /// Returns a person's password; it opens nothing but this simulation.
    pub fn password(&self, principal_name: &str) -> Option<String> {
        let state = self.lock();
        let user = state.user(principal_name)?;
        Some(password(state.seed, &user.id))
    }

    /// Lists every secret that the identity platform has given out and still knows: access and
    /// refresh tokens, codes of sign-ins, codes of devices. Tests look for them where none may be.
    pub fn secrets_given(&self) -> Vec<String> {
        let state = self.lock();
        let kept = &state.sign_ins;
        let tokens = state.app.tokens.keys().chain(kept.refresh.keys());
        let codes = kept.codes.keys().chain(kept.devices.keys());
        tokens.chain(codes).cloned().collect()
    }

    /// Signs a person in as if in a browser, and returns a refresh token for Graph.
    pub fn refresh_token(&self, principal_name: &str) -> Option<String> {
        let audience = self.urls().graph.origin().ascii_serialization();
        let mut state = self.lock();
        let user = state.user(principal_name)?.id.clone();
        let wish = Wish {
            audience,
            scopes: vec![".default".to_string()],
            offline: true,
            openid: false,
        };
        let issued = (state.clock)();
        let refresh = Refresh {
            user,
            wish,
            issued,
            confidential: None,
        };
        Some(state.keep_refresh(refresh))
    }

    /// Makes the app trust tokens of another platform: by issuer, subject and audience, signed
    /// with the RSA key whose public half is `key_pem`.
    pub fn trust_federation(&self, issuer: &str, subject: &str, audience: &str, key_pem: &str) {
        self.lock().sign_ins.federations.push(Federation {
            issuer: issuer.to_string(),
            subject: subject.to_string(),
            audience: audience.to_string(),
            key_pem: key_pem.to_string(),
        });
    }

    /// Gives the simulated machine an identity of its own name beside the one it has.
    pub fn assign_identity(&self, client_id: &str) {
        self.lock()
            .sign_ins
            .identities
            .insert(client_id.to_string());
    }

    /// Returns the header that the simulated App Service expects of who asks for a token.
    pub fn identity_header(&self) -> String {
        self.lock().sign_ins.identity_header.clone()
    }

    /// Lets something happen after which tokens are challenged: a password was changed, a place
    /// was left. Tokens of clients that answer challenges must meet new claims from now on.
    pub fn raise_security_event(&self) {
        let mut state = self.lock();
        let now = seconds((state.clock)());
        state.sign_ins.security_event = Some(now);
    }

    /// Ends all sessions of people: their refresh tokens are refused.
    pub fn revoke_sessions(&self) {
        self.lock().sign_ins.refresh.clear();
    }

    /// Lets every refresh token work once only, as those of single-page apps do.
    pub fn set_single_use_refresh(&self, single_use: bool) {
        self.lock().sign_ins.single_use_refresh = single_use;
    }

    /// Lets people decline what they are asked, or accept it again.
    pub fn set_people_decline(&self, decline: bool) {
        self.lock().sign_ins.people_decline = decline;
    }

    /// Types the code of a device sign-in as that person; `false` for a code that nobody waits for.
    pub fn type_device_code(&self, user_code: &str, principal_name: &str) -> bool {
        let mut state = self.lock();
        let Some(user) = state.user(principal_name).map(|user| user.id.clone()) else {
            return false;
        };
        let mut devices = state.sign_ins.devices.values_mut();
        let device = devices.find(|device| device.user_code == user_code && !device.redeemed);
        device.is_some_and(|device| {
            device.person = Some(user);
            true
        })
    }

    /// Sets how many questions a device sign-in waits for before the person has signed in.
    pub fn set_device_patience(&self, questions: u32) {
        self.lock().sign_ins.device_patience = questions;
    }
}

impl super::State {
    /// Returns the next text that nobody can guess who does not know the seed.
    pub(crate) fn next_secret(&mut self, purpose: &str) -> String {
        self.sign_ins.issued += 1;
        let bytes = ids::bytes(self.seed, purpose, self.sign_ins.issued);
        blake3::Hash::from(bytes).to_string()
    }

    pub(crate) fn keep_refresh(&mut self, refresh: Refresh) -> String {
        let text = format!("1.{}", self.next_secret("refresh"));
        self.sign_ins.refresh.insert(text.clone(), refresh);
        text
    }
}

/// Returns the password of the user with that id.
pub(crate) fn password(seed: u64, user: &str) -> String {
    format!("pw~{}", ids::guid(seed, user, 0))
}

/// Returns a time as the tokens write it.
pub(crate) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
