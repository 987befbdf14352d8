//! Limits: what is known of how much Exchange Web Services take, as data; each call is charged
//! accordingly.
//!
//! The names of the nodes, from the topmost down: the app and the tenant, as
//! [`EwsOptions::limited_as`](crate::EwsOptions) names them; `ews`; the address of the mailbox acted
//! for, in lower case, or `-` for the own one; the name of the operation.

use m365_auth::{Charge, LimitTable, Limits};

/// The month in which the published numbers were looked up.
pub const LIMITS_AS_OF: &str = "2026-11";

/// Calls under way at once for one mailbox.
///
/// *Source*: Microsoft, EWS throttling in Exchange, 2026-06: 27 connections for the account that is
/// acted for, shared with all other programs of that account; we take what Outlook services allow an
/// app, which leaves the owner's own programs undisturbed.
pub const MAILBOX_CONCURRENCY: u32 = 4;

/// Builds the table of a limiter; more rules may be added to it.
///
/// *Shape*: patterns begin with two `*`, for any app and any tenant. The budgets of the service are
/// not published in numbers: what it says in an answer comes on top.
pub fn limit_table() -> LimitTable {
    LimitTable::new().with(
        ["*", "*", SERVICE, "*"],
        Limits::none().with_concurrency(MAILBOX_CONCURRENCY),
    )
}

/// Charges a call; a refusal pauses the mailbox, whose budget it is.
pub(crate) fn charge(
    root: &[String; 2],
    mailbox: Option<&str>,
    operation: &str,
    sent: usize,
) -> Charge {
    let [app, tenant] = root;
    let mailbox = mailbox.map_or_else(|| NO_MAILBOX.to_owned(), str::to_lowercase);
    Charge::at([app, tenant, SERVICE, &mailbox, operation])
        .pausing_at(4)
        .with_sent_bytes(sent as u64)
}

const SERVICE: &str = "ews";
/// The name of the mailbox where the call acts for none but the own one.
const NO_MAILBOX: &str = "-";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use m365_auth::Limiter;

    use super::{charge, limit_table};

    #[test]
    fn a_fifth_call_for_one_mailbox_waits() {
        let root = ["app".to_owned(), "tenant".to_owned()];
        let ada = charge(&root, Some("Ada@x.example"), "FindItem", 9);
        assert_eq!(
            ada.path(),
            ["app", "tenant", "ews", "ada@x.example", "FindItem"]
        );
        assert_eq!(ada.paused_path(), &ada.path()[..4]);
        let mut limiter = Limiter::new(limit_table());
        for _ in 0..4 {
            limiter.admit(Duration::ZERO, &ada).unwrap();
        }
        assert!(limiter.admit(Duration::ZERO, &ada).is_err());
        let own = charge(&root, None, "FindItem", 9);
        limiter.admit(Duration::ZERO, &own).unwrap();
    }
}
