//! What this machine has seen of a store, so that an older state is not taken for the present one.
//!
//! Whoever can delete or replace objects can put a store back to an older copy of itself: every
//! object is genuine then. Only who remembers something newer can tell. A local record holds, for
//! each resource, the newest snapshot that was seen, and the last round of prune that was done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use crate::backend::ObjectName;
use crate::catalog::ResourceId;
use crate::codec::{Decoder, Encoder};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{LeaseId, SnapshotId};
use crate::rounds::{RoundNumber, Rounds};
use crate::slots::{SlotListing, slot_name};
use crate::snapshots::SnapshotScan;
use crate::snapshots::scan::{Newest, NewestOfEach};
use crate::store::{LocalRecord, Store};

const RECORD: LocalRecord = LocalRecord {
    file: "seen",
    purpose: "newest snapshots seen",
};
const LAYOUT: u8 = 1;

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Remembered {
    round: RoundNumber,
    newest: BTreeMap<ResourceId, Newest>,
}

/// Something that was there and is not, though nobody has forgotten it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Older {
    /// What is older than it was.
    pub(crate) object: String,
    /// How that shows.
    pub(crate) cause: String,
}

impl Remembered {
    /// Takes in what is there now; tells whether that was news.
    fn learn(&mut self, seen: &NewestOfEach, rounds: &Rounds) -> bool {
        let mut news = rounds.done.round > self.round;
        self.round = self.round.max(rounds.done.round);
        for (resource, found) in seen.iter() {
            let known = self.newest.get(resource);
            // A repair may have published it again, in another place.
            let elsewhere = |known: &Newest| known.hash == found.hash && known.id == found.id;
            if known.is_none_or(|known| known.age() < found.age() || elsewhere(known)) {
                news |= self.newest.insert(resource.clone(), *found) != Some(*found);
            }
        }
        news
    }

    /// Joins what another process of this machine has kept meanwhile.
    fn join(&mut self, other: Self) {
        self.round = self.round.max(other.round);
        for (resource, theirs) in other.newest {
            let ours = self.newest.entry(resource).or_insert(theirs);
            if ours.age() < theirs.age() {
                *ours = theirs;
            }
        }
    }

    /// Compares what is there now with what was seen.
    ///
    /// A set that cannot be read is damage, and not missing; what a round of prune has forgotten is
    /// not missing either.
    fn compare(&self, seen: &Seen, rounds: &Rounds) -> Vec<Older> {
        let mut older = Vec::new();
        if rounds.done.round < self.round {
            older.push(Older {
                object: "the rounds of prune".to_owned(),
                cause: format!(
                    "round {} is the last one now, and round {} was done",
                    rounds.done.round, self.round
                ),
            });
        }
        let mut left: BTreeMap<_, _> = self.newest.iter().collect();
        // Older ones than the newest say nothing: what is known is not older than they are.
        for (resource, newest) in seen.newest.iter() {
            let enough = |known: &&Newest| known.hash == newest.hash || known.age() < newest.age();
            if left.get(resource).is_some_and(enough) {
                left.remove(resource);
            }
        }
        left.retain(|_, known| {
            let unreadable =
                slot_name(&known.lease, known.slot).is_ok_and(|name| seen.damaged.contains(&name));
            !unreadable && rounds.exists((&known.lease, known.slot), &known.id)
        });
        older.extend(left.into_iter().map(|(resource, known)| Older {
            object: format!("{resource}"),
            cause: format!(
                "snapshot {}, which this machine has seen, is gone, and no prune has forgotten it",
                known.id
            ),
        }));
        older
    }

    fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::new();
        encoder.byte(LAYOUT);
        encoder.varint(self.round.get().into());
        encoder.varint(self.newest.len() as u64);
        for (resource, newest) in &self.newest {
            encoder.text(resource.as_str());
            encoder.varint(newest.token);
            encoder.varint(newest.sequence);
            encoder.raw(&newest.hash);
            encoder.raw(newest.id.as_bytes());
            encoder.raw(newest.lease.as_bytes());
            encoder.varint(newest.slot.into());
        }
        encoder.finish()
    }

    fn decode(plain: &[u8]) -> Result<Self> {
        let mut decoder = Decoder::new("memory of snapshots", plain);
        if decoder.byte()? != LAYOUT {
            return Err(decoder.malformed("its layout is not known"));
        }
        let round = RoundNumber::new(decoder.varint_u32()?);
        let newest = decoder.list(68, |decoder| {
            let resource = ResourceId::new(decoder.text()?);
            let newest = Newest {
                token: decoder.varint()?,
                sequence: decoder.varint()?,
                hash: decoder.array()?,
                id: SnapshotId::from_bytes(decoder.array()?),
                lease: LeaseId::from_bytes(decoder.array()?),
                slot: decoder.varint_u32()?,
            };
            Ok((resource, newest))
        })?;
        if !newest.is_sorted_by(|a: &(ResourceId, Newest), b| a.0 < b.0) {
            return Err(decoder.malformed("its resources are not in order"));
        }
        decoder.finish()?;
        Ok(Self {
            round,
            newest: newest.into_iter().collect(),
        })
    }
}

/// What a listing shows.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    newest: NewestOfEach,
    /// Sets that cannot be read.
    damaged: BTreeSet<ObjectName>,
}

impl Seen {
    /// Takes what a listing of slots shows.
    pub(crate) async fn in_slots(store: &Store, slots: &SlotListing) -> Result<Self> {
        let mut seen = Self::default();
        let names = slots.damaged.iter().map(|(name, _)| name.clone());
        seen.damaged.extend(names);
        let mut scan = SnapshotScan::new(store, slots.readable(), None);
        while let Some(found) = scan.next_or_unread().await {
            match found? {
                Ok(entry) => seen.newest.see(&entry),
                Err((name, _)) => {
                    seen.damaged.insert(name);
                }
            }
        }
        Ok(seen)
    }
}

/// Reads a record and writes it again.
#[cfg(feature = "fuzzing")]
pub(crate) fn parse_again(plain: &[u8]) -> Result<Vec<u8>> {
    Remembered::decode(plain).map(|remembered| remembered.encode())
}

impl Store {
    /// Takes the state that the store has now for its true one, though this machine has seen a
    /// newer one: somebody put it back from an older copy on purpose.
    ///
    /// *Errors*: [`ErrorKind::Local`] when the local record cannot be removed.
    pub async fn accept_older(&self) -> Result<()> {
        *self.remembered_mut() = Remembered::default();
        RECORD.remove(self).await
    }

    /// Finds what this machine has seen and is there no more; learns what is new.
    pub(crate) async fn compare_with_memory(
        &self,
        seen: &Seen,
        rounds: &Rounds,
    ) -> Result<Vec<Older>> {
        let kept = kept_in(RECORD.read(self).await?);
        let mut known = self.remembered_mut();
        known.join(kept);
        let older = known.compare(seen, rounds);
        if older.is_empty() {
            known.learn(&seen.newest, rounds);
        }
        Ok(older)
    }

    /// Refuses a state of the store that is older than what this machine has seen; remembers it
    /// otherwise.
    ///
    /// *Errors*: [`ErrorKind::RolledBack`].
    pub(crate) async fn refuse_older(&self, slots: &SlotListing, rounds: &Rounds) -> Result<()> {
        let seen = Seen::in_slots(self, slots).await?;
        let older = self.compare_with_memory(&seen, rounds).await?;
        let Some(first) = older.first() else {
            return self.remember().await;
        };
        let words = format!(
            "store: it is older than what this machine has seen, in {} ways; {}: {}; find out who \
             put it back, and accept it if that was meant",
            older.len(),
            first.object,
            first.cause
        );
        Err(Error::new(ErrorKind::RolledBack, words))
    }

    /// Notes snapshots that this machine has just published.
    pub(crate) fn note_published(&self, newest: &NewestOfEach) {
        let rounds = self.rounds();
        self.remembered_mut().learn(newest, &rounds);
    }

    /// Keeps what was seen for later runs, if there is a cache directory.
    pub(crate) async fn remember(&self) -> Result<()> {
        let store = self.clone();
        let join = move |kept: Option<Vec<u8>>| {
            let kept = kept_in(kept);
            let mut known = store.remembered_mut();
            known.join(kept.clone());
            (*known != kept).then(|| known.encode())
        };
        RECORD.update(self, join).await
    }

    fn remembered_mut(&self) -> std::sync::MutexGuard<'_, Remembered> {
        let remembered = &self.0.remembered;
        remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads what was kept; nothing where it cannot be read.
fn kept_in(record: Option<Vec<u8>>) -> Remembered {
    let Some(plain) = record else {
        return Remembered::default();
    };
    Remembered::decode(&plain).unwrap_or_else(|cause| {
        tracing::warn!(%cause, "what this machine has seen of the store is not known");
        Remembered::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example_store::{Sample, run, sample, writer_options};
    use crate::{Backend, CheckDepth, MemoryBackend, PruneOptions, RunId};

    async fn opened(sample: &Sample, backend: &MemoryBackend, cache: &std::path::Path) -> Store {
        let options = crate::StoreOptions {
            environment: std::sync::Arc::new(crate::SystemEnvironment),
            cache_dir: Some(cache.to_owned()),
            ..crate::example_store::options()
        };
        let backend = std::sync::Arc::new(backend.clone());
        sample.store.reopen_at(backend, options).await.unwrap()
    }

    /// Publishes one more snapshot of every resource there is, as the next run would.
    async fn next_run(store: &Store) -> Result<()> {
        let spool = tempfile::tempdir().unwrap();
        let options = writer_options(spool.path(), RunId::from_bytes([50; 16]));
        let writer = store.begin(options).await?;
        let mut snapshots: Vec<_> = writer
            .snapshots()
            .await?
            .into_iter()
            .map(|entry| entry.snapshot)
            .collect();
        snapshots.sort_by_key(|snapshot| (snapshot.resource.id.clone(), snapshot.token));
        snapshots.dedup_by_key(|snapshot| snapshot.resource.id.clone());
        for snapshot in &mut snapshots {
            snapshot.token = writer.claim_token();
        }
        writer.publish(snapshots).await?;
        writer.end().await
    }

    #[test]
    fn a_store_put_back_from_an_older_copy_is_refused_by_who_has_seen_it() {
        run(async {
            let (sample, cache) = (sample().await, tempfile::tempdir().unwrap());
            let backend = sample.backend();
            next_run(&opened(&sample, &backend, cache.path()).await)
                .await
                .unwrap();
            next_run(&opened(&sample, &backend, cache.path()).await)
                .await
                .unwrap();
            // The sample as it was before both runs: every object in it is genuine.
            let older = sample.backend();
            let store = opened(&sample, &older, cache.path()).await;
            let refused = next_run(&store).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::RolledBack, "{refused}");
            let refused = store
                .prune(&PruneOptions::new(), &|_| {})
                .await
                .unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::RolledBack, "{refused}");
            let report = store.check(CheckDepth::Structure, &|_| {}).await.unwrap();
            assert_eq!(
                report.problems.len(),
                2,
                "both mailboxes: {:?}",
                report.problems
            );
            // Reading goes on; a machine that has seen nothing cannot tell.
            assert_eq!(store.snapshots().await.unwrap().len(), 4);
            let other = tempfile::tempdir().unwrap();
            next_run(&opened(&sample, &sample.backend(), other.path()).await)
                .await
                .unwrap();
            store.accept_older().await.unwrap();
            next_run(&opened(&sample, &older, cache.path()).await)
                .await
                .unwrap();
        });
    }

    #[test]
    fn what_prune_has_forgotten_is_not_missed() {
        run(async {
            let (sample, cache) = (sample().await, tempfile::tempdir().unwrap());
            let backend = sample.backend();
            let store = opened(&sample, &backend, cache.path()).await;
            next_run(&store).await.unwrap();
            let before = backend.fork();
            let mut options = PruneOptions::new();
            options.forget = store
                .snapshots()
                .await
                .unwrap()
                .iter()
                .map(|entry| entry.id)
                .collect();
            store.prune(&options, &|_| {}).await.unwrap();
            let store = opened(&sample, &backend, cache.path()).await;
            assert!(store.snapshots().await.unwrap().is_empty());
            next_run(&store).await.unwrap();
            store.prune(&PruneOptions::new(), &|_| {}).await.unwrap();
            // What the prune removed came back with an older copy: the rounds tell.
            let store = opened(&sample, &before, cache.path()).await;
            let refused = next_run(&store).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::RolledBack, "{refused}");
        });
    }

    #[test]
    fn a_newest_set_that_cannot_be_read_is_damage_and_stops_no_backup() {
        run(async {
            let (sample, cache) = (sample().await, tempfile::tempdir().unwrap());
            let backend = sample.backend();
            next_run(&opened(&sample, &backend, cache.path()).await)
                .await
                .unwrap();
            let store = opened(&sample, &backend, cache.path()).await;
            let kept = kept_in(RECORD.read(&store).await.unwrap());
            let newest = kept.newest.into_values().next().unwrap();
            let name = slot_name(&newest.lease, newest.slot).unwrap();
            let mut flipped = backend.get(&name, None).await.unwrap().to_vec();
            flipped[100] ^= 1;
            backend.tamper(&name, Some(flipped.into()));
            let slots = cache
                .path()
                .join(sample.store.id().to_string())
                .join("slots");
            drop(std::fs::remove_dir_all(slots));
            next_run(&opened(&sample, &backend, cache.path()).await)
                .await
                .unwrap();
            // Gone, it is missed.
            let gone = tempfile::tempdir().unwrap();
            let backend = sample.backend();
            next_run(&opened(&sample, &backend, gone.path()).await)
                .await
                .unwrap();
            for info in backend.list("snaps/").await.unwrap() {
                let known = sample.objects.iter().any(|(name, _)| *name == info.name);
                if !known {
                    backend.tamper(&info.name, None);
                }
            }
            let refused = next_run(&opened(&sample, &backend, gone.path()).await).await;
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::RolledBack);
        });
    }

    #[test]
    fn memory_survives_being_written_and_read() {
        let newest = Newest {
            token: 3,
            sequence: 300,
            hash: [7; 32],
            id: SnapshotId::from_bytes([1; 16]),
            lease: LeaseId::from_bytes([2; 16]),
            slot: 9,
        };
        let remembered = Remembered {
            round: RoundNumber::new(5),
            newest: [(ResourceId::new("outlook:1"), newest)].into(),
        };
        let bytes = remembered.encode();
        assert_eq!(Remembered::decode(&bytes).unwrap(), remembered);
        assert!(Remembered::decode(&bytes[1..]).is_err());
    }
}
