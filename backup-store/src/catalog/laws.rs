//! Laws of the records: what is encoded decodes, one value has one encoding, nothing panics.

use proptest::prelude::*;

use super::*;
use crate::content::base64_lines::{Ending, Lines};
use crate::content::recipe::{Part, Recipe, Step};
use crate::{ChunkId, ContentHash, ContentRef, LeaseId, RunId, SnapshotId, Timestamp, TreeRoot};

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "\\PC{0,20}",
        prop::collection::vec(any::<char>(), 0..6).prop_map(|chars| chars.into_iter().collect())
    ]
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_millis)
}

fn chunks() -> impl Strategy<Value = Vec<ChunkId>> {
    prop::collection::vec(any::<[u8; 32]>().prop_map(ChunkId::from_bytes), 0..4)
}

fn step() -> impl Strategy<Value = Step> {
    let ending = prop_oneof![Just(Ending::Lf), Just(Ending::CrLf)];
    let lines = (0u16..=249, ending).prop_map(|(groups, ending)| Lines {
        width: groups * 4,
        ending,
    });
    let part = (0u64..1 << 40, lines, any::<bool>(), chunks());
    prop_oneof![
        (0u64..1 << 40).prop_map(Step::Literal),
        part.prop_map(|(length, lines, final_ending, chunks)| {
            Step::Base64(Part {
                length,
                lines,
                final_ending,
                chunks,
            })
        })
    ]
}

fn content() -> impl Strategy<Value = ContentRef> {
    let hash = any::<[u8; 32]>().prop_map(ContentHash::from_bytes);
    let steps = prop::collection::vec(step(), 0..4);
    (any::<u64>(), hash, chunks(), steps).prop_map(|(length, hash, chunks, steps)| {
        let recipe = (!steps.is_empty()).then_some(Recipe { steps });
        let joined = recipe.as_ref().and_then(Recipe::joined_length);
        ContentRef {
            length: joined.unwrap_or(length),
            hash,
            chunks,
            recipe,
        }
    })
}

fn root() -> impl Strategy<Value = TreeRoot> {
    (any::<[u8; 32]>(), any::<u8>(), any::<u64>()).prop_map(|(node, level, entries)| TreeRoot {
        node: ChunkId::from_bytes(node),
        level,
        entries,
    })
}

pub(super) fn key() -> impl Strategy<Value = ItemKey> {
    let container = prop_oneof![text(), "[\u{0}\u{1}ab]{0,4}"];
    (container, time(), text()).prop_map(|(container, created, id)| ItemKey {
        container,
        created,
        id,
    })
}

fn representation_kind() -> impl Strategy<Value = RepresentationKind> {
    prop_oneof![Just("mime".to_owned()), text()].prop_map(|name| name.as_str().into())
}

fn state() -> impl Strategy<Value = ItemState> {
    prop_oneof![
        Just(ItemState::Stored),
        text().prop_map(|reason| ItemState::Skipped { reason }),
        (representation_kind(), text()).prop_map(|(representation, cause)| {
            ItemState::Quarantined {
                representation,
                cause,
            }
        }),
    ]
}

fn item() -> impl Strategy<Value = Item> {
    let representation = (representation_kind(), content())
        .prop_map(|(kind, content)| Representation { kind, content });
    let names = (
        text(),
        text(),
        prop::option::of(text()),
        prop::collection::vec(text(), 0..4),
    );
    let keys = (key(), text(), prop::option::of(text()));
    let facts = (
        any::<u64>(),
        prop::option::of(time()),
        any::<bool>(),
        state(),
    );
    let representations = prop::collection::vec(representation, 0..3);
    (names, keys, facts, representations).prop_map(|(names, keys, facts, representations)| {
        let (kind, name, sender, recipients) = names;
        let (key, change_key, content_key) = keys;
        let (size_bytes, modified, draft, state) = facts;
        Item {
            key,
            kind: kind.as_str().into(),
            name,
            sender,
            recipients,
            change_key,
            content_key,
            size_bytes,
            modified,
            draft,
            state,
            representations,
        }
    })
}

fn container() -> impl Strategy<Value = Container> {
    let maybe = || prop::option::of(text());
    let names = (
        text(),
        maybe(),
        text(),
        text(),
        maybe(),
        any::<bool>(),
        maybe(),
    );
    let facts = (
        prop::option::of(time()),
        prop::option::of(time()),
        prop::option::of(content()),
    );
    (names, facts).prop_map(|(names, (created, modified, properties))| {
        let (id, parent, name, kind, well_known, hidden, change_key) = names;
        let kind = kind.as_str().into();
        Container {
            id,
            parent,
            name,
            kind,
            well_known,
            hidden,
            change_key,
            created,
            modified,
            properties,
        }
    })
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop::sample::select(vec![
        Outcome::Complete,
        Outcome::CompleteWithQuarantine,
        Outcome::Partial,
        Outcome::Checkpoint,
    ])
}

fn totals() -> impl Strategy<Value = Totals> {
    any::<[u64; 9]>().prop_map(|[a, b, c, d, e, f, g, h, i]| Totals {
        seen: a,
        stored: b,
        unchanged: c,
        assumed: d,
        skipped: e,
        quarantined: f,
        removed: g,
        moved: h,
        bytes: i,
    })
}

fn resource() -> impl Strategy<Value = Resource> {
    (text(), text(), text(), text(), text(), text()).prop_map(
        |(a, b, owner, owner_id, id, name)| {
            let service = Service::from(a.as_str());
            Resource {
                id: ResourceId::of(&service, &id),
                service,
                kind: b.as_str().into(),
                owner,
                owner_id,
                service_id: id,
                name,
            }
        },
    )
}

fn snapshot() -> impl Strategy<Value = Snapshot> {
    let cursor = || text().prop_map(Cursor::new);
    let enumeration = (
        text(),
        any::<[u8; 16]>(),
        root(),
        prop::option::of(cursor()),
    )
        .prop_map(|(feed, generation, items, cursor)| Enumeration {
            feed,
            generation,
            items,
            cursor,
        });
    let feed = (text(), cursor()).prop_map(|(feed, cursor)| FeedCursor { feed, cursor });
    let parent = prop::option::of((any::<[u8; 16]>(), any::<[u8; 32]>()));
    let place = (
        resource(),
        text(),
        any::<[u8; 16]>(),
        outcome(),
        any::<[u64; 3]>(),
        parent,
    );
    let trees = (
        root(),
        root(),
        root(),
        prop::collection::vec(enumeration, 0..3),
    );
    let rest = (
        prop::collection::vec(feed, 0..3),
        totals(),
        prop::collection::vec(text(), 0..3),
        time(),
        time(),
    );
    (place, trees, rest).prop_map(
        |(place, trees, (cursors, totals, routes, started, finished))| {
            let (resource, set, run, outcome, [token, sequence, journal_sequence], parent) = place;
            let (containers, items, notes, enumerations) = trees;
            Snapshot {
                resource,
                set,
                run: RunId::from_bytes(run),
                outcome,
                token,
                sequence,
                parent: parent.map(|(id, _)| SnapshotId::from_bytes(id)),
                parent_hash: parent.map(|(_, hash)| hash),
                started,
                finished,
                containers,
                items,
                notes,
                enumerations,
                cursors,
                totals,
                routes,
                journal_sequence,
            }
        },
    )
}

fn drift() -> impl Strategy<Value = Drift> {
    (any::<[u64; 8]>(), any::<bool>()).prop_map(|(counts, repaired)| {
        let [
            listed,
            missing,
            stale,
            surplus,
            surplus_bytes,
            containers,
            proved,
            disproved,
        ] = counts;
        Drift {
            listed,
            missing,
            stale,
            surplus,
            surplus_bytes,
            containers,
            proved,
            disproved,
            repaired,
        }
    })
}

fn run() -> impl Strategy<Value = RunRecord> {
    let ids = prop::collection::vec(any::<[u8; 16]>().prop_map(SnapshotId::from_bytes), 0..4);
    let resource = || text().prop_map(ResourceId::new);
    let failed = prop::collection::vec((resource(), text()), 0..3);
    let unchanged = prop::collection::vec(resource(), 0..3);
    (
        any::<[u8; 16]>(),
        text(),
        time(),
        time(),
        outcome(),
        totals(),
        ids,
        unchanged,
        failed,
        prop::option::of(drift()),
        findings(),
    )
        .prop_map(
            |(
                run,
                set,
                started,
                finished,
                outcome,
                totals,
                snapshots,
                unchanged,
                failed,
                drift,
                findings,
            )| {
                RunRecord {
                    run: RunId::from_bytes(run),
                    set,
                    started,
                    finished,
                    outcome,
                    totals,
                    snapshots,
                    unchanged,
                    failed,
                    drift,
                    findings,
                }
            },
        )
}

fn findings() -> impl Strategy<Value = Findings> {
    let gap = (text(), text(), text()).prop_map(|(service, owner, reason)| Gap {
        service: service.as_str().into(),
        owner,
        reason,
    });
    let alarm = (text(), any::<u64>(), any::<u64>(), any::<u64>()).prop_map(
        |(resource, items, rewritten, removed)| Alarm {
            resource: ResourceId::new(resource),
            items,
            rewritten,
            removed,
        },
    );
    let (gaps, alarms) = (
        prop::collection::vec(gap, 0..3),
        prop::collection::vec(alarm, 0..3),
    );
    (any::<bool>(), gaps, alarms).prop_map(|(part, gaps, alarms)| Findings { part, gaps, alarms })
}

/// Decodes as every kind of record; whatever is accepted encodes to the same bytes.
fn check_decoding(key: &[u8], bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(item) = Item::decode(key, bytes) {
        prop_assert_eq!(item.encode(), bytes);
        prop_assert_eq!(item.key.encode(), key);
    }
    if let Ok(container) = Container::decode(key, bytes) {
        prop_assert_eq!(container.encode(), bytes);
        prop_assert_eq!(container.key(), key);
    }
    if let Ok(note) = RunNote::decode(bytes) {
        prop_assert_eq!(note.encode(), bytes);
    }
    if let Ok(snapshot) = Snapshot::decode(bytes) {
        prop_assert_eq!(snapshot.encode(), bytes);
    }
    if let Ok(run) = RunRecord::decode(bytes) {
        prop_assert_eq!(run.encode(), bytes);
    }
    if let Ok(key) = ItemKey::decode(bytes) {
        prop_assert_eq!(key.encode(), bytes);
    }
    Ok(())
}

fn damage(mut bytes: Vec<u8>, at: prop::sample::Index, flip: u8, cut: bool) -> Vec<u8> {
    let at = at.index(bytes.len());
    bytes[at] ^= flip;
    if cut {
        bytes.truncate(at);
    }
    bytes
}

proptest! {
    #[test]
    fn items_round_trip(item in item()) {
        let (key, record) = (item.key.encode(), item.encode());
        prop_assert_eq!(Item::decode(&key, &record).unwrap(), item);
    }

    #[test]
    fn containers_round_trip(container in container()) {
        let (key, record) = (container.key(), container.encode());
        prop_assert_eq!(Container::decode(&key, &record).unwrap(), container);
    }

    #[test]
    fn notes_round_trip(first_seen in time(), tries: u32, content_assumed: bool, route in text()) {
        let note = RunNote { first_seen, tries, content_assumed, route };
        prop_assert_eq!(RunNote::decode(&note.encode()).unwrap(), note);
    }

    #[test]
    fn snapshots_round_trip(snapshot in snapshot()) {
        prop_assert_eq!(Snapshot::decode(&snapshot.encode()).unwrap(), snapshot);
    }

    #[test]
    fn runs_round_trip(run in run()) {
        prop_assert_eq!(RunRecord::decode(&run.encode()).unwrap(), run);
    }

    #[test]
    fn order_of_keys_is_the_order_of_their_bytes(a in key(), b in key()) {
        prop_assert_eq!(a.encode().cmp(&b.encode()), a.cmp(&b));
        prop_assert_eq!(ItemKey::decode(&a.encode()).unwrap(), a);
    }

    #[test]
    fn range_of_a_container_holds_its_keys_and_no_others(a in key(), b in key()) {
        let range = ItemKey::container_range(&a.container);
        prop_assert!(range.contains(&a.encode()));
        prop_assert_eq!(range.contains(&b.encode()), a.container == b.container);
    }

    #[test]
    fn any_bytes_decode_or_are_refused(
        kind in prop::sample::select(b"ICNSR".to_vec()),
        key in prop::collection::vec(any::<u8>(), 0..40),
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        check_decoding(&key, &bytes)?;
        check_decoding(&key, &[&[kind, 1], &bytes[..]].concat())?;
    }

    #[test]
    fn damaged_records_decode_or_are_refused(
        item in item(), container in container(), snapshot in snapshot(), run in run(),
        at: prop::sample::Index, flip in 1u8.., cut: bool,
    ) {
        let key = item.key.encode();
        for bytes in [item.encode(), container.encode(), snapshot.encode(), run.encode()] {
            check_decoding(&key, &damage(bytes, at, flip, cut))?;
        }
    }

    #[test]
    fn totals_agree_when_their_parts_do(parts: [u32; 4], assumed: u32, off in 1u64..9) {
        let [stored, unchanged, skipped, quarantined] = parts.map(u64::from);
        let seen = stored + unchanged + skipped + quarantined;
        let assumed = u64::from(assumed).min(unchanged);
        let totals =
            Totals { seen, stored, unchanged, assumed, skipped, quarantined, ..Totals::default() };
        prop_assert!(totals.check());
        let (more, over) = (seen + off, unchanged + off);
        let wrong = [Totals { seen: more, ..totals }, Totals { assumed: over, ..totals }];
        prop_assert_eq!(wrong.map(|totals| totals.check()), [false, false]);
    }
}

proptest! {
    #[test]
    fn keys_and_names_round_trip_as_json(
        mut key in key(), kind in representation_kind(),
    ) {
        // Text knows the years 0 to 9999 only.
        key.created = Timestamp::from_millis(key.created.as_millis() % 60_000_000_000_000);
        let json = serde_json::to_string(&(&key, &kind)).unwrap();
        let back: (ItemKey, RepresentationKind) = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(back, (key, kind));
    }
}

#[test]
fn record_of_a_later_version_is_named_so() {
    let error = RunNote::decode(&[b'N', 2]).unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::UnsupportedFormat);
}

#[test]
fn parent_is_the_greatest_token_and_sequence() {
    let entry = |id: u8, resource: &str, token: u64, sequence: u64| {
        let empty = TreeRoot {
            node: ChunkId::from_bytes([0; 32]),
            level: 0,
            entries: 0,
        };
        let resource = Resource {
            id: ResourceId::new(resource),
            service: Service::Outlook,
            kind: ResourceKind::UserMailbox,
            owner: String::new(),
            owner_id: String::new(),
            service_id: String::new(),
            name: String::new(),
        };
        let snapshot = Snapshot {
            resource,
            set: String::new(),
            run: RunId::from_bytes([0; 16]),
            outcome: Outcome::Complete,
            token,
            sequence,
            parent: None,
            parent_hash: None,
            started: Timestamp::EPOCH,
            finished: Timestamp::EPOCH,
            containers: empty,
            items: empty,
            notes: empty,
            enumerations: Vec::new(),
            cursors: Vec::new(),
            totals: Totals::default(),
            routes: Vec::new(),
            journal_sequence: 0,
        };
        let (id, lease) = (
            SnapshotId::from_bytes([id; 16]),
            LeaseId::from_bytes([0; 16]),
        );
        SnapshotEntry {
            id,
            lease,
            slot: 0,
            hash: [0; 32],
            snapshot,
        }
    };
    let a = "outlook:a";
    let mut entries = vec![
        entry(1, a, 2, 1),
        entry(2, a, 1, 9),
        entry(3, "outlook:b", 5, 5),
        entry(4, a, 2, 0),
    ];
    let chosen = |entries: &[SnapshotEntry]| {
        choose_parent(entries, &ResourceId::new(a)).map(|entry| entry.id.as_bytes()[0])
    };
    assert_eq!(chosen(&entries), Some(1));
    entries.reverse();
    assert_eq!(chosen(&entries), Some(1));
    assert!(choose_parent(&entries, &ResourceId::new("outlook:c")).is_none());
}
