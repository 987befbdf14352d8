//! Limits: what Microsoft publishes about how much its services take, as data; each request is
//! charged accordingly.
//!
//! The names of the nodes, from the topmost down:
//!
//! | depth | name |
//! | --- | --- |
//! | 0, 1 | the app and the tenant, as [`GraphOptions::limited_as`](crate::GraphOptions) names them |
//! | 2 | `exchange`, `sharepoint`, `teams`, `teams-export`, `directory`, `onenote`, `reports`, `graph` |
//! | 3 | the mailbox, drive, site or team by the id that the request names, in lower case; `-` where it names none |
//! | 4 | `list`, `changes`, `read`, `content`, `write`, `permissions`, `transfer` |
//!
//! A mailbox asked for now by id and now by principal name has two nodes: keep to one of them.

mod charge;

use std::collections::BTreeMap;
use std::time::Duration;

use m365_auth::{LimitTable, Limits, Unit};

pub(crate) use charge::{Node, of_request, together};

/// The month in which the published numbers were looked up.
pub const LIMITS_AS_OF: &str = "2026-11";

/// Says how large a tenant is, on which some limits depend; by default it is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TenantSize {
    /// Licences bought, for SharePoint and OneDrive; 0 when not known: then the tier is found out.
    pub licences: u64,
    /// Users of the directory.
    pub users: u64,
}

/// One published limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublishedLimit {
    /// The names of the nodes that it holds for below app and tenant; `*` stands for any one.
    pub node: &'static [&'static str],
    /// What is limited.
    pub bound: Bound,
    /// The page that says so, with its date or revision.
    pub source: &'static str,
}

/// Says what is limited, and to how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bound {
    /// So many requests under way at once.
    Concurrency(u32),
    /// So much of a unit in any span of that many seconds.
    Window(Unit, Amount, u64),
}

/// Says how much, which may depend on the size of the tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Amount {
    /// Always the same.
    Fixed(u64),
    /// For up to 1,000, 5,000, 15,000 and 50,000 licences, and for more.
    ByLicences([u64; 5]),
    /// For less than 50 users, up to 500, and more.
    ByUsers([u64; 3]),
}

impl Amount {
    /// Returns the number for a tenant of that size.
    pub fn of(self, size: TenantSize) -> u64 {
        match self {
            Self::Fixed(amount) => amount,
            Self::ByLicences(tiers) => {
                let ends = [1_000, 5_000, 15_000, 50_000];
                tiers[ends.partition_point(|end| *end < size.licences)]
            }
            Self::ByUsers(tiers) => tiers[[49, 500].partition_point(|end| *end < size.users)],
        }
    }
}

/// Lists the published limits that hold for one app in one tenant.
pub fn published_limits() -> &'static [PublishedLimit] {
    PUBLISHED
}

/// Builds the table of a limiter for tenants of that size; more rules may be added to it.
///
/// *Shape*: patterns begin with two `*`, for any app and any tenant.
pub fn limit_table(size: TenantSize) -> LimitTable {
    let mut nodes: BTreeMap<&[&str], Limits> = BTreeMap::new();
    for limit in PUBLISHED {
        let held = nodes.remove(limit.node).unwrap_or_default();
        let held = match limit.bound {
            Bound::Concurrency(most) => held.with_concurrency(most),
            Bound::Window(unit, Amount::ByLicences(tiers), seconds) if size.licences == 0 => {
                held.with_rungs(unit, tiers, Duration::from_secs(seconds))
            }
            Bound::Window(unit, amount, seconds) => {
                held.with_window(unit, amount.of(size), Duration::from_secs(seconds))
            }
        };
        nodes.insert(limit.node, held);
    }
    let rows = nodes.into_iter();
    rows.fold(LimitTable::new(), |table, (node, limits)| {
        table.with(["*", "*"].iter().chain(node).copied(), limits)
    })
}

const PUBLISHED: &[PublishedLimit] = {
    use Amount::{ByLicences, ByUsers, Fixed};
    use Bound::{Concurrency, Window};
    use Unit::{ReceivedBytes, Requests, SentBytes, Units};
    const fn row(
        node: &'static [&'static str],
        bound: Bound,
        source: &'static str,
    ) -> PublishedLimit {
        PublishedLimit {
            node,
            bound,
            source,
        }
    }
    &[
        row(&["exchange", "*"], Concurrency(4), GRAPH),
        row(
            &["exchange", "*"],
            Window(Requests, Fixed(10_000), 600),
            GRAPH,
        ),
        row(
            &["exchange", "*"],
            Window(SentBytes, Fixed(150_000_000), 300),
            GRAPH,
        ),
        row(
            &["sharepoint"],
            Window(
                Units,
                ByLicences([1_250, 2_500, 3_750, 5_000, 6_250]),
                MINUTE,
            ),
            SHAREPOINT,
        ),
        row(
            &["sharepoint"],
            Window(
                Units,
                ByLicences([1_200_000, 2_400_000, 3_600_000, 4_800_000, 6_000_000]),
                DAY,
            ),
            SHAREPOINT,
        ),
        row(
            &["sharepoint"],
            Window(SentBytes, Fixed(400_000_000_000), HOUR),
            SHAREPOINT,
        ),
        row(
            &["sharepoint"],
            Window(ReceivedBytes, Fixed(400_000_000_000), HOUR),
            SHAREPOINT,
        ),
        row(
            &["directory"],
            Window(Units, ByUsers([3_500, 5_000, 8_000]), 10),
            GRAPH,
        ),
        // The least of the limits of its operations: messages 20, teams and tabs 30, lists 60.
        row(&["teams"], Window(Requests, Fixed(20), 1), GRAPH),
        row(&["teams", "*"], Window(Requests, Fixed(4), 1), GRAPH),
        // Without a team there is only the creation of one.
        row(
            &["teams", "-", "write"],
            Window(Requests, Fixed(10), 1),
            GRAPH,
        ),
        row(&["teams-export"], Window(Requests, Fixed(200), 1), GRAPH),
        row(&["onenote"], Concurrency(20), ONENOTE),
        row(&["onenote"], Window(Requests, Fixed(240), MINUTE), ONENOTE),
        row(&["onenote"], Window(Requests, Fixed(800), HOUR), ONENOTE),
        row(
            &["reports", "-", "*"],
            Window(Requests, Fixed(14), 600),
            GRAPH,
        ),
    ]
};

const MINUTE: u64 = 60;
const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;

const GRAPH: &str = "Microsoft Graph, service-specific throttling limits, 2024-06";
const ONENOTE: &str = "Microsoft Graph, service-specific throttling limits, OneNote, app-only";
const SHAREPOINT: &str =
    "SharePoint Online, avoid getting throttled or blocked, 2025-10-02, per app and tenant";

#[cfg(test)]
mod tests {
    use super::{Amount, TenantSize, limit_table, published_limits};
    use m365_auth::limiter::RefusalCause;
    use m365_auth::{Charge, Limiter, Unit};
    use std::time::Duration;

    #[test]
    fn tiers_begin_where_the_pages_say() {
        let licences = Amount::ByLicences([1, 2, 3, 4, 5]);
        let of = |licences| TenantSize { licences, users: 0 };
        let ends = [
            (0, 1),
            (1_000, 1),
            (1_001, 2),
            (5_000, 2),
            (15_000, 3),
            (15_001, 4),
            (50_001, 5),
        ];
        for (number, tier) in ends {
            assert_eq!(licences.of(of(number)), tier, "{number} licences");
        }
        let users = Amount::ByUsers([1, 2, 3]);
        for (number, tier) in [(0, 1), (49, 1), (50, 2), (500, 2), (501, 3)] {
            let size = TenantSize {
                licences: 0,
                users: number,
            };
            assert_eq!(users.of(size), tier, "{number} users");
        }
    }

    #[test]
    fn every_number_names_its_source() {
        assert!(published_limits().len() >= 15);
        for limit in published_limits() {
            assert!(limit.source.len() > 20, "{:?}", limit.node);
        }
    }

    #[test]
    fn the_table_holds_what_is_published() {
        let small = TenantSize {
            licences: 1,
            users: 1,
        };
        let mut limiter = Limiter::new(limit_table(small));
        let mailbox = Charge::at(["a", "t", "exchange", "ada", "read"]);
        for _ in 0..4 {
            limiter.admit(Duration::ZERO, &mailbox).unwrap();
        }
        let refusal = limiter.admit(Duration::ZERO, &mailbox).unwrap_err();
        assert_eq!(
            (refusal.cause, refusal.depth),
            (RefusalCause::Concurrency, 3)
        );
        let other = Charge::at(["a", "t", "exchange", "ben", "read"]);
        limiter.admit(Duration::ZERO, &other).unwrap();
        let drive = Charge::at(["a", "t", "sharepoint", "d", "list"]).with_units(1_250);
        limiter.admit(Duration::ZERO, &drive).unwrap();
        let refusal = limiter
            .admit(Duration::from_secs(1), &drive.clone().with_units(1))
            .unwrap_err();
        assert_eq!((refusal.cause, refusal.depth), (RefusalCause::Window, 2));
        let large = TenantSize {
            licences: 1_001,
            users: 0,
        };
        let mut limiter = Limiter::new(limit_table(large));
        limiter.admit(Duration::ZERO, &drive).unwrap();
        limiter.admit(Duration::ZERO, &drive).unwrap();
        assert_eq!(drive.amount(Unit::Units), 1_250);
    }
}
