//! Damage: stored objects flipped, cut, deleted, swapped, replayed, and taken from another store.
//!
//! A check reports it, or nothing that can be reached depended on it; what is read is what was
//! written, or an error; and repair brings back all that is still there and names what is not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;

use super::*;
use crate::catalog::{Browse, ItemState};
use crate::example_store::{
    Contents, Dice, Sample, open, read_all, run, sample, sample_of, writer_options,
};
use crate::{
    Backend, MemoryBackend, ObjectName, RepairOptions, RepairPlan, RepairReport, RunId, Store,
};

async fn check(store: &Store, depth: CheckDepth) -> CheckReport {
    store.check(depth, &|_| {}).await.unwrap()
}

#[test]
fn whole_store_is_clean_and_counted() {
    run(async {
        let sample = sample().await;
        let store = open(&sample.backend()).await.unwrap();
        let half = CheckDepth::Sample(Share::percent(50.0).unwrap());
        let depths = [
            CheckDepth::Structure,
            half,
            CheckDepth::AllData,
            CheckDepth::Contents,
        ];
        for depth in depths {
            let report = check(&store, depth).await;
            assert!(report.is_clean(), "{depth:?}: {:?}", report.problems);
            assert!(report.remarks.is_empty(), "{depth:?}: {:?}", report.remarks);
            assert_eq!(report.snapshots, 4);
            // Each tree is one leaf, so that the second run has a leaf of its own.
            assert_eq!(report.items, 2 * (12 + 24));
            assert!(report.bytes > 600_000, "{report:?}");
            assert_eq!(report.unreferenced, Some(Unreferenced::default()));
            let packs = sample.objects.iter();
            let packs = packs
                .filter(|(name, _)| name.as_str().starts_with("packs/"))
                .count();
            match depth {
                CheckDepth::Structure => assert_eq!(report.blocks, 0),
                CheckDepth::Sample(_) => {
                    let drawn = report.sample.unwrap();
                    assert_eq!(drawn.packs, packs as u64);
                    assert_eq!(report.blocks, drawn.read);
                    assert_eq!(drawn.read, drawn.blocks.div_ceil(2));
                }
                _ => {
                    assert_eq!(report.packs, packs as u64);
                    assert!(report.read_bytes > 600_000, "{report:?}");
                }
            }
        }
    });
}

/// One way to damage a store.
#[derive(Clone, PartialEq, Eq)]
enum Damage {
    Flip(ObjectName, usize),
    Cut(ObjectName, usize),
    Delete(ObjectName),
    Swap(ObjectName, ObjectName),
    /// Bytes that this store once wrote under another name, or that another store wrote.
    Replace(ObjectName, Bytes),
}

/// Draws an object: first what kind, so that the few of a kind are hit as often as the many.
fn draw_object<'a>(sample: &'a Sample, dice: &mut Dice) -> (&'a ObjectName, &'a Bytes) {
    let folder = |name: &ObjectName| name.as_str().split('/').next().unwrap().to_owned();
    let folders: BTreeSet<String> = sample
        .objects
        .iter()
        .map(|(name, _)| folder(name))
        .collect();
    let mut chosen = folders.iter().nth(dice.below(folders.len())).unwrap();
    if ["config", "epochs", "keys", "leases"].contains(&chosen.as_str()) && dice.below(3) > 0 {
        // What is refused at once says little: mostly packs, segments, sets and runs.
        chosen = folders.iter().nth(dice.below(folders.len())).unwrap();
    }
    let of_kind: Vec<_> = sample
        .objects
        .iter()
        .filter(|(name, _)| folder(name) == *chosen)
        .collect();
    let (name, bytes) = of_kind[dice.below(of_kind.len())];
    (name, bytes)
}

/// Draws a byte: headers and trailers are short, and hit as often as what lies between.
fn draw_offset(length: usize, dice: &mut Dice) -> usize {
    match dice.below(4) {
        0 => dice.below(length.min(128)),
        1 => length - 1 - dice.below(length.min(64)),
        2 => dice.below(length.min(8_192)),
        _ => dice.below(length),
    }
}

impl fmt::Debug for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flip(name, bit) => write!(f, "flip {name}, bit {bit}"),
            Self::Cut(name, at) => write!(f, "cut {name} at {at}"),
            Self::Delete(name) => write!(f, "delete {name}"),
            Self::Swap(a, b) => write!(f, "swap {a} and {b}"),
            Self::Replace(name, bytes) => write!(f, "{} other bytes as {name}", bytes.len()),
        }
    }
}

impl Damage {
    fn draw(sample: &Sample, other: &Sample, dice: &mut Dice) -> Self {
        let (name, bytes) = draw_object(sample, dice);
        let name = name.clone();
        match dice.below(10) {
            0 => Self::Delete(name),
            1 => Self::Cut(name, draw_offset(bytes.len(), dice)),
            2 => Self::Swap(name, draw_object(sample, dice).0.clone()),
            3 => Self::Replace(name, draw_object(sample, dice).1.clone()),
            4 => {
                let (theirs, bytes) = draw_object(other, dice);
                let name = if dice.below(2) == 0 {
                    theirs.clone()
                } else {
                    name
                };
                Self::Replace(name, bytes.clone())
            }
            _ => {
                let at = draw_offset(bytes.len(), dice);
                Self::Flip(name, at * 8 + dice.below(8))
            }
        }
    }

    fn apply(&self, sample: &Sample, backend: &MemoryBackend) {
        let bytes = |wanted: &ObjectName| {
            let found = sample.objects.iter().find(|(name, _)| name == wanted);
            found.unwrap().1.clone()
        };
        match self {
            Self::Delete(name) => backend.tamper(name, None),
            Self::Cut(name, at) => backend.tamper(name, Some(bytes(name).slice(..*at))),
            Self::Flip(name, bit) => {
                let mut damaged = bytes(name).to_vec();
                damaged[bit / 8] ^= 1 << (bit % 8);
                backend.tamper(name, Some(damaged.into()));
            }
            Self::Swap(a, b) => {
                backend.tamper(a, Some(bytes(b)));
                backend.tamper(b, Some(bytes(a)));
            }
            Self::Replace(name, bytes) => backend.tamper(name, Some(bytes.clone())),
        }
    }

    /// Tells whether it concerns what the keys come from.
    fn hits_keys(&self) -> bool {
        let names = match self {
            Self::Flip(name, _)
            | Self::Cut(name, _)
            | Self::Delete(name)
            | Self::Replace(name, _) => {
                vec![name]
            }
            Self::Swap(a, b) => vec![a, b],
        };
        let folders = ["config", "epochs/", "keys/"];
        let hits = |name: &&ObjectName| folders.iter().any(|of| name.as_str().starts_with(of));
        names.iter().any(hits)
    }
}

/// What came of a damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// The store said so when it was opened.
    Refused,
    /// The check said so, and something could not be read.
    Harmed,
    /// The check said so, though everything could be read.
    Reported,
    /// Nothing that can be reached depended on it.
    Harmless,
}

async fn judge(sample: &Sample, damage: &Damage, seed: u64) -> Verdict {
    let backend = sample.backend();
    damage.apply(sample, &backend);
    let opened = if damage.hits_keys() {
        open(&backend).await
    } else {
        sample.reopen(&backend, seed).await
    };
    let Ok(store) = opened else {
        return Verdict::Refused;
    };
    let mut trouble = Vec::new();
    let contents = read_all(&store, &mut trouble).await;
    for (name, bytes) in &contents {
        let expected = sample.contents.get(name);
        assert_eq!(Some(bytes), expected, "{damage:?} changed {name}");
    }
    let harmed = contents.len() < sample.contents.len() || !trouble.is_empty();
    let all = check(&store, CheckDepth::AllData).await;
    assert!(
        !harmed || !all.is_clean(),
        "{damage:?} is not reported: {trouble:?}"
    );
    if seed.is_multiple_of(4) {
        let structure = check(&store, CheckDepth::Structure).await;
        assert!(
            structure.is_clean() || !all.is_clean(),
            "{damage:?}: {:?} but {:?}",
            structure.problems,
            all.problems
        );
    }
    if seed.is_multiple_of(2) {
        let replica = sample.reopen(&sample.backend(), seed + 1).await.unwrap();
        repaired_from_replica(sample, &backend, &store, replica, damage).await;
    } else {
        repaired_alone(sample, &backend, &store, &contents, damage).await;
    }
    match (harmed, all.is_clean()) {
        (true, _) => Verdict::Harmed,
        (false, false) => Verdict::Reported,
        (false, true) => Verdict::Harmless,
    }
}

async fn repair(store: &Store, replicas: Vec<Store>) -> (RepairPlan, RepairReport) {
    let options = RepairOptions { replicas };
    let plan = store.plan_repair(options, &|_| {}).await.unwrap();
    if plan.is_empty() {
        return (plan, RepairReport::default());
    }
    let spool = tempfile::tempdir().unwrap();
    let writer = writer_options(spool.path(), RunId::from_bytes([77; 16]));
    let report = store.repair(plan.clone(), writer, &|_| {}).await.unwrap();
    (plan, report)
}

/// With a replica, everything comes back under the ids that it had.
async fn repaired_from_replica(
    sample: &Sample,
    backend: &MemoryBackend,
    store: &Store,
    replica: Store,
    damage: &Damage,
) {
    let (plan, _) = repair(store, vec![replica]).await;
    assert_eq!(plan.lost_chunks, 0, "{damage:?}");
    assert!(
        plan.snapshots.is_empty(),
        "{damage:?}: {:?}",
        plan.snapshots
    );
    // What was never in the store cannot be brought back.
    let strange = |name: &ObjectName| sample.objects.iter().all(|(known, _)| known != name);
    assert!(
        plan.beyond.iter().all(strange),
        "{damage:?}: {:?}",
        plan.beyond
    );
    let again = sample.reopen(backend, 9).await.unwrap();
    let mut trouble = Vec::new();
    let contents = read_all(&again, &mut trouble).await;
    for (name, bytes) in &sample.contents {
        let found = contents.get(name);
        assert_eq!(found, Some(bytes), "{damage:?}: {name}; {trouble:?}");
    }
    let report = check(&again, CheckDepth::AllData).await;
    assert!(report.harms_nothing(), "{damage:?}: {:?}", report.problems);
}

/// Without one, what is still there comes back, the rest is named, and the snapshots that were
/// published again can be read from end to end.
async fn repaired_alone(
    sample: &Sample,
    backend: &MemoryBackend,
    store: &Store,
    before: &Contents,
    damage: &Damage,
) {
    let (plan, report) = repair(store, Vec::new()).await;
    let again = sample.reopen(backend, 9).await.unwrap();
    let mut trouble = Vec::new();
    let contents = read_all(&again, &mut trouble).await;
    for (name, bytes) in before {
        assert_eq!(
            contents.get(name),
            Some(bytes),
            "{damage:?} and repair: {name}"
        );
    }
    let entries = again.snapshot_listing().await.unwrap().snapshots;
    for repair in &plan.snapshots {
        let old = repair.snapshot;
        let new = report.repaired.iter().find(|(damaged, _)| *damaged == old);
        let new = new
            .unwrap_or_else(|| panic!("{damage:?}: {old} was not published again"))
            .1;
        let new = entries.iter().find(|entry| entry.id == new).unwrap();
        assert_eq!(new.snapshot.parent, Some(old));
        assert!(new.snapshot.totals.check(), "{damage:?}");
        let mut items = Browse::new(&again, &new.snapshot).items();
        let mut found = BTreeMap::new();
        while let Some(item) = items.next().await {
            let item = item.unwrap_or_else(|cause| panic!("{damage:?}: {cause}"));
            for each in &item.representations {
                let content = again.open_content(&each.content).collect(1 << 20).await;
                let content = content.unwrap_or_else(|cause| panic!("{damage:?}: {cause}"));
                let name = format!("{old}/{}/{}/{}", item.key.container, item.key.id, each.kind);
                assert_eq!(
                    sample.contents.get(&name),
                    Some(&content),
                    "{damage:?}: {name}"
                );
                found.insert(name, item.state.clone());
            }
        }
        let gone = |name: &&String| {
            name.starts_with(&format!("{old}/inbox/"))
                && name.split('/').count() == 4
                && !found.contains_key(*name)
        };
        for name in sample.contents.keys().filter(gone) {
            assert!(!before.contains_key(name), "{damage:?}: {name} was there");
            let id = name.split('/').nth(2).unwrap();
            let named = plan.refetch.iter().any(|each| each.item.id == id);
            assert!(
                named || repair.records > 0,
                "{damage:?}: {name} is not named"
            );
        }
        let quarantined = found
            .values()
            .filter(|state| **state != ItemState::Stored)
            .count();
        assert!(quarantined as u64 <= 2 * repair.items, "{damage:?}");
    }
}

/// Draws and judges damages, and says how many came out how.
async fn damages(first: u64, count: u64) -> BTreeMap<Verdict, u64> {
    let (sample, other) = (sample().await, sample_of(2).await);
    let mut verdicts = BTreeMap::new();
    for seed in first..first + count {
        let damage = Damage::draw(&sample, &other, &mut Dice::new(seed));
        *verdicts
            .entry(judge(&sample, &damage, seed).await)
            .or_default() += 1;
    }
    println!("{count} damages from seed {first}: {verdicts:?}");
    verdicts
}

fn many_damages(first: u64, count: u64) {
    run(async {
        let verdicts = damages(first, count).await;
        let count_of = |verdict| verdicts.get(&verdict).copied().unwrap_or(0);
        // A harness that hits nothing would find everything in order.
        assert!(count_of(Verdict::Refused) * 20 > count, "{verdicts:?}");
        assert!(count_of(Verdict::Harmed) * 8 > count, "{verdicts:?}");
        assert!(count_of(Verdict::Reported) * 20 > count, "{verdicts:?}");
    });
}

#[test]
fn a_thousand_damages_are_reported_or_harmless_and_repaired_1() {
    many_damages(0, 500);
}

#[test]
fn a_thousand_damages_are_reported_or_harmless_and_repaired_2() {
    many_damages(500, 500);
}

/// `DAMAGE_SEED` and `DAMAGE_COUNT` choose others than the first 10,000.
#[test]
#[ignore = "long: the damages of the issue, ten thousand"]
fn ten_thousand_damages() {
    #[allow(
        clippy::disallowed_methods,
        reason = "a named command takes its seed from there"
    )]
    let number = |name: &str, otherwise| {
        let text = std::env::var(name).ok();
        text.map_or(otherwise, |text| text.parse().unwrap())
    };
    let (first, count) = (number("DAMAGE_SEED", 0), number("DAMAGE_COUNT", 10_000));
    many_damages(first, count);
}

#[test]
fn lost_pack_is_reported_with_the_items_that_need_it() {
    run(async {
        let sample = sample().await;
        let mut named = 0;
        let packs = sample
            .objects
            .iter()
            .filter(|(name, _)| name.as_str().starts_with("packs/"));
        for (name, _) in packs {
            let backend = sample.backend();
            backend.tamper(name, None);
            let store = sample.reopen(&backend, 1).await.unwrap();
            let report = check(&store, CheckDepth::Structure).await;
            let dependents: Vec<_> = report
                .problems
                .iter()
                .flat_map(|problem| &problem.dependents)
                .collect();
            assert!(!dependents.is_empty(), "{name}: {:?}", report.problems);
            named += dependents
                .iter()
                .filter(|dependent| dependent.item.is_some())
                .count();
        }
        assert!(named > 0, "no item was named");
    });
}

#[test]
fn lost_slot_is_reported() {
    run(async {
        let sample = sample().await;
        let backend = sample.backend();
        backend.tamper(&sample.sole("snaps/", 0), None);
        let store = sample.reopen(&backend, 1).await.unwrap();
        let report = check(&store, CheckDepth::Structure).await;
        let objects: Vec<_> = report
            .problems
            .iter()
            .map(|each| each.object.as_str())
            .collect();
        assert!(
            objects.iter().any(|object| object.starts_with("lease ")),
            "{objects:?}"
        );
        assert!(
            objects.iter().any(|object| object.starts_with("snapshot ")),
            "{objects:?}"
        );
    });
}

#[test]
fn counts_that_do_not_add_up_are_reported() {
    run(async {
        let sample = sample().await;
        let store = sample.reopen(&sample.backend(), 1).await.unwrap();
        let mut snapshot = store.snapshots().await.unwrap().remove(0).snapshot;
        snapshot.totals.seen += 1;
        let spool = tempfile::tempdir().unwrap();
        let options = writer_options(spool.path(), RunId::from_bytes([9; 16]));
        let writer = store.begin(options).await.unwrap();
        let id = writer.publish(vec![snapshot]).await.unwrap()[0];
        let report = check(&store, CheckDepth::Structure).await;
        let [problem] = &report.problems[..] else {
            panic!("{:?}", report.problems);
        };
        assert_eq!(
            problem.to_string(),
            format!("snapshot {id}: its totals do not add up")
        );
        assert_eq!(problem.dependents[0].snapshot, id);
    });
}

#[test]
fn what_is_not_ours_is_remarked_on_and_is_no_damage() {
    run(async {
        let sample = sample().await;
        let backend = sample.backend();
        let name = ObjectName::new("notes.txt").unwrap();
        backend
            .put_new(&name, Bytes::from_static(b"?"))
            .await
            .unwrap();
        let store = sample.reopen(&backend, 1).await.unwrap();
        let spool = tempfile::tempdir().unwrap();
        let options = writer_options(spool.path(), RunId::from_bytes([9; 16]));
        let writer = store.begin(options).await.unwrap();
        let gatherer = writer.gatherer();
        let class = crate::ContentClass::Binary;
        gatherer.put(class, b"nobody needs this").await.unwrap();
        gatherer.commit().await.unwrap();
        writer.end().await.unwrap();
        let report = check(&store, CheckDepth::AllData).await;
        assert!(report.is_clean(), "{:?}", report.problems);
        let remarks: Vec<String> = report.remarks.iter().map(ToString::to_string).collect();
        assert_eq!(remarks, ["object notes.txt: not a name of this store"]);
        assert_eq!(report.unreferenced.unwrap().packs, 1);
    });
}
