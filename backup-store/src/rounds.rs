//! Rounds: what prune has condemned, what it has deleted, and what is therefore absent.
//!
//! Everything here is decided from records that never change; only [`Store::read_rounds`] does IO.

pub(crate) mod records;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

pub(crate) use self::records::{Ack, BrokenLease, Damage, Done, Plan, SlotSet, Verdict};
use crate::backend::ObjectName;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{LeaseId, PackId, SnapshotId};
use crate::seal::ObjectKind;
use crate::store::Store;

/// Numbers the rounds of prune of one store: 1, 2, …; 0 stands before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RoundNumber(u32);

impl RoundNumber {
    /// Wraps a number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// Returns the number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Returns the number of the round after this one.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    const fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for RoundNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The objects of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum RoundPart {
    Plan,
    Verdict,
    Done,
}

impl RoundPart {
    const ALL: [Self; 3] = [Self::Plan, Self::Verdict, Self::Done];

    const fn word(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Verdict => "verdict",
            Self::Done => "done",
        }
    }

    pub(crate) const fn kind(self) -> ObjectKind {
        match self {
            Self::Plan => ObjectKind::Plan,
            Self::Verdict => ObjectKind::Verdict,
            Self::Done => ObjectKind::Done,
        }
    }
}

/// Names an object of a round: `gc/12.plan`.
pub(crate) fn round_name(round: RoundNumber, part: RoundPart) -> Result<ObjectName> {
    ObjectName::new(format!("gc/{round}.{}", part.word()))
}

/// Reads round and part back from an object's name.
pub(crate) fn parse_round_name(name: &ObjectName) -> Option<(RoundNumber, RoundPart)> {
    let (number, word) = name.as_str().strip_prefix("gc/")?.split_once('.')?;
    let part = RoundPart::ALL
        .into_iter()
        .find(|part| part.word() == word)?;
    let round = RoundNumber(number.parse().ok()?);
    (round_name(round, part).ok()? == *name).then_some((round, part))
}

/// Names an acknowledgement: `acks/L.e`.
pub(crate) fn ack_name(lease: &LeaseId, round: RoundNumber) -> Result<ObjectName> {
    ObjectName::new(format!("acks/{lease}.{round}"))
}

/// Reads lease and round back from the name of an acknowledgement.
pub(crate) fn parse_ack_name(name: &ObjectName) -> Option<(LeaseId, RoundNumber)> {
    let (lease, round) = name.as_str().strip_prefix("acks/")?.split_once('.')?;
    let (lease, round) = (lease.parse().ok()?, RoundNumber(round.parse().ok()?));
    (ack_name(&lease, round).ok()? == *name).then_some((lease, round))
}

/// What the rounds say at one moment: the last that is done, and the one after it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Rounds {
    pub(crate) done: Arc<Done>,
    /// The plan of the round that is not done, and its verdict if there is one.
    pub(crate) open: Option<(Arc<Plan>, Option<Arc<Verdict>>)>,
}

impl Rounds {
    /// Says which records tell the state: the number of the round that is done, and whether the
    /// next one is open.
    ///
    /// A round is planned only after the one before it is done, so that a listing which shows a
    /// plan proves that every earlier round is done, even when it missed that.
    pub(crate) fn state(
        names: impl Iterator<Item = (RoundNumber, RoundPart)>,
    ) -> (RoundNumber, bool) {
        match names.max() {
            None => (RoundNumber(0), false),
            Some((round, RoundPart::Done)) => (round, false),
            Some((round, _)) => (round.before(), true),
        }
    }

    /// The round that is open, or that comes next.
    pub(crate) fn current(&self) -> RoundNumber {
        self.done.round.next()
    }

    /// The plan that is not done.
    pub(crate) fn plan(&self) -> Option<&Arc<Plan>> {
        self.open.as_ref().map(|(plan, _)| plan)
    }

    /// Orders what was read at different times.
    pub(crate) fn progress(&self) -> (RoundNumber, bool, bool) {
        (
            self.done.round,
            self.open.is_some(),
            self.verdict().is_some(),
        )
    }

    fn verdict(&self) -> Option<&Arc<Verdict>> {
        self.open.as_ref().and_then(|(_, verdict)| verdict.as_ref())
    }

    /// Tells whether a pack was swept: nobody may use it, even if a late put brought it back.
    pub(crate) fn is_dead(&self, pack: &PackId) -> bool {
        self.done.dead.contains(pack)
    }

    /// Tells whether a pack is dead or condemned: no writer may refer to it.
    pub(crate) fn is_absent(&self, pack: &PackId) -> bool {
        self.is_dead(pack) || self.plan().is_some_and(|plan| plan.packs.contains(pack))
    }

    /// Tells whether a snapshot whose object was seen exists: no verdict and no done names it.
    pub(crate) fn exists(&self, place: (&LeaseId, u32), snapshot: &SnapshotId) -> bool {
        let named = |forget: &BTreeSet<SnapshotId>| forget.contains(snapshot);
        !named(&self.done.forgotten)
            && !self.done.is_gone(place.0, place.1)
            && !self.verdict().is_some_and(|verdict| named(&verdict.forget))
    }

    /// Tells whether a snapshot whose object was seen may be continued: it exists, and the open
    /// plan does not forget it.
    pub(crate) fn may_be_parent(&self, place: (&LeaseId, u32), snapshot: &SnapshotId) -> bool {
        self.exists(place, snapshot)
            && !self
                .plan()
                .is_some_and(|plan| plan.forget.contains(snapshot))
    }
}

impl Store {
    /// Reads what the rounds and the damage records say, now; what was read before is not read
    /// again.
    pub(crate) async fn read_rounds(&self) -> Result<Arc<Rounds>> {
        let listed = self.backend().list("gc/").await?;
        self.read_damage(&listed).await?;
        let names = listed
            .iter()
            .filter_map(|info| parse_round_name(&info.name));
        let (done, open) = Rounds::state(names);
        let known = self.rounds();
        let done = if known.done.round == done {
            Arc::clone(&known.done)
        } else {
            let record = self.read_round(done, RoundPart::Done, Done::decode).await?;
            Arc::new(record.ok_or_else(|| lost(done, RoundPart::Done))?)
        };
        let mut rounds = Rounds { done, open: None };
        if open {
            let round = rounds.current();
            let plan = match known.plan() {
                Some(plan) if plan.round == round => Arc::clone(plan),
                _ => {
                    let record = self
                        .read_round(round, RoundPart::Plan, Plan::decode)
                        .await?;
                    Arc::new(record.ok_or_else(|| lost(round, RoundPart::Plan))?)
                }
            };
            let verdict = self
                .read_round(round, RoundPart::Verdict, Verdict::decode)
                .await?;
            rounds.open = Some((plan, verdict.map(Arc::new)));
        }
        let rounds = Arc::new(rounds);
        self.note_rounds(&rounds);
        Ok(rounds)
    }

    async fn read_round<T>(
        &self,
        round: RoundNumber,
        part: RoundPart,
        decode: fn(&[u8]) -> Result<T>,
    ) -> Result<Option<T>> {
        let name = round_name(round, part)?;
        let plain = match self.get_object(part.kind(), &name).await {
            Ok(plain) => plain,
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(cause),
        };
        let record = decode(&plain).map_err(|cause| {
            Error::damaged(format_args!("object {name}"), "its record").with_source(cause)
        })?;
        Ok(Some(record))
    }
}

fn lost(round: RoundNumber, part: RoundPart) -> Error {
    let cause = "it is missing, though later rounds need it";
    Error::damaged(format_args!("object gc/{round}.{}", part.word()), cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_back_to_what_it_names() {
        let round = RoundNumber(12);
        for part in RoundPart::ALL {
            let name = round_name(round, part).unwrap();
            assert_eq!(parse_round_name(&name), Some((round, part)));
        }
        for strange in ["gc/012.plan", "gc/1.plans", "gc/.plan", "gc/1"] {
            assert!(
                ObjectName::new(strange).is_err() || {
                    parse_round_name(&ObjectName::new(strange).unwrap()).is_none()
                }
            );
        }
        let lease = LeaseId::from_bytes([1; 16]);
        let name = ack_name(&lease, round).unwrap();
        assert_eq!(parse_ack_name(&name), Some((lease, round)));
    }

    #[test]
    fn the_newest_name_tells_the_state_even_when_a_done_was_missed() {
        let at = |names: &[(u32, RoundPart)]| {
            Rounds::state(
                names
                    .iter()
                    .map(|(round, part)| (RoundNumber(*round), *part)),
            )
        };
        assert_eq!(at(&[]), (RoundNumber(0), false));
        assert_eq!(at(&[(1, RoundPart::Plan)]), (RoundNumber(0), true));
        assert_eq!(
            at(&[(1, RoundPart::Plan), (1, RoundPart::Verdict)]),
            (RoundNumber(0), true)
        );
        assert_eq!(
            at(&[(1, RoundPart::Done), (1, RoundPart::Plan)]),
            (RoundNumber(1), false)
        );
        assert_eq!(
            at(&[(2, RoundPart::Plan), (1, RoundPart::Plan)]),
            (RoundNumber(1), true)
        );
    }

    #[test]
    fn what_a_plan_names_is_absent_to_writers_and_exists_for_readers() {
        let (pack, swept) = (PackId::from_bytes([1; 16]), PackId::from_bytes([2; 16]));
        let (lease, id) = (
            LeaseId::from_bytes([3; 16]),
            SnapshotId::from_bytes([4; 16]),
        );
        let plan = Plan {
            round: RoundNumber(2),
            forget: [id].into(),
            packs: [pack].into(),
        };
        let done = Done {
            round: RoundNumber(1),
            dead: [swept].into(),
            ..Done::default()
        };
        let mut rounds = Rounds {
            done: Arc::new(done.clone()),
            open: Some((Arc::new(plan), None)),
        };
        assert!(rounds.is_absent(&pack) && rounds.is_absent(&swept));
        assert!(!rounds.is_dead(&pack) && rounds.is_dead(&swept));
        assert!(rounds.exists((&lease, 0), &id) && !rounds.may_be_parent((&lease, 0), &id));
        let verdict = Verdict {
            round: RoundNumber(2),
            forget: [id].into(),
            ..Verdict::default()
        };
        rounds.open = rounds.open.map(|(plan, _)| (plan, Some(Arc::new(verdict))));
        assert!(!rounds.exists((&lease, 0), &id));
        rounds = Rounds {
            done: Arc::new(Done {
                gone: [(lease, [5].into())].into(),
                ..done
            }),
            open: None,
        };
        assert!(!rounds.is_absent(&pack));
        assert!(rounds.exists((&lease, 4), &id) && !rounds.exists((&lease, 5), &id));
    }
}
