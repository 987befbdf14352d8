//! Basic: names and passwords, as servers on premises take them where an administrator allows it.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::server::answer::Refusal;
use crate::server::call::Call;
use crate::tenant::{Tenant, sign_ins};

/// Who signs in to EWS by name and password.
#[derive(Debug, Clone, Default)]
pub(crate) struct Passwords {
    /// Whether they are taken at all.
    taken: bool,
    /// Ids of those who may act for every mailbox.
    impersonators: BTreeSet<String>,
}

/// Who calls, when it is not an app by its token.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) id: String,
    pub(super) impersonates: bool,
}

/// Tells whether a call shows a name and a password, to a server that takes them.
pub(super) fn is_shown(call: &Call) -> bool {
    let header = call.header("authorization").unwrap_or_default();
    header.starts_with("Basic ") && call.tenant.lock().ews.passwords.taken
}

/// Finds the person whose name and password a call shows.
pub(super) fn person(call: &Call) -> Result<Person, Refusal> {
    let shown = call.header("authorization").unwrap_or_default();
    let decoded = shown
        .strip_prefix("Basic ")
        .and_then(|text| STANDARD.decode(text).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok());
    let state = call.tenant.lock();
    let found = decoded.as_deref().and_then(|pair| {
        let (name, password) = pair.split_once(':')?;
        // Servers on premises know accounts by their domain too.
        let name = name.rsplit('\\').next().unwrap_or(name);
        let user = state.user(name).or_else(|| {
            let whole = format!("{name}@contoso.example");
            state.user(&whole)
        })?;
        (sign_ins::password(state.seed, &user.id) == password).then(|| user.id.clone())
    });
    match found {
        Some(id) => Ok(Person {
            impersonates: state.ews.passwords.impersonators.contains(&id),
            id,
        }),
        None => Err(Refusal::new(401, "Unauthorized", "")
            .with_header("www-authenticate", "Basic realm=\"contoso.example\"")),
    }
}

impl Tenant {
    /// Lets people sign in to EWS by name and password, and `principal_name` act for every mailbox
    /// in that way: what servers on premises do, and Exchange Online does not.
    pub fn take_ews_passwords(&self, principal_name: &str) {
        let mut state = self.lock();
        let id = state.user(principal_name).map(|user| user.id.clone());
        state.ews.passwords.taken = true;
        state.ews.passwords.impersonators.extend(id);
    }
}
