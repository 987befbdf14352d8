//! Graph: checks the bearer token, then finds the part of Graph that answers.

use super::answer::{Outcome, Refusal};
use super::call::Call;
use super::{
    batch, collections, directory, drives, exchange, login, mail, permissions, subscriptions, teams,
};

/// Answers one Graph request.
pub(super) fn route(call: &Call) -> Outcome {
    login::check_bearer(call, &call.tenant.home().graph)?;
    permissions::check(call)?;
    match call.keys().as_slice() {
        ["$batch"] => batch::route(call),
        ["users", _, "drive" | "drives", ..] | ["drives", ..] => drives::route(call),
        ["users", "delta"] => collections::route(call),
        ["users"] | ["users", _] | ["users", _, "mailboxsettings"] => directory::route(call),
        [
            "users",
            _,
            "mailfolders" | "messages" | "translateexchangeids",
            ..,
        ] => mail::route(call),
        ["users", _, "settings", "exchange"] => exchange::settings(call),
        keys if collections::knows(keys) => collections::route(call),
        ["subscriptions", ..] => subscriptions::route(call),
        ["teams", ..] => teams::route(call),
        ["admin", "exchange", "mailboxes", _, ..] => exchange::route(call),
        _ => Err(Refusal::no_such_segment(call)),
    }
}
