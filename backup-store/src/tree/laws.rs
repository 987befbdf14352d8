//! Laws of the tree: one map has one tree, and a tree behaves like a sorted map.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};

use bytes::Bytes;
use futures_util::FutureExt;
use proptest::prelude::*;

use super::memory::MemoryNodes;
use super::node::Node;
use super::*;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

const BOUNDARY: BoundaryKey = BoundaryKey::new([7; 32]);

/// Nodes in memory are there at once: no future of these tests ever waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().unwrap()
}

fn key(number: u16, long: bool) -> Vec<u8> {
    let spread = u32::from(number).wrapping_mul(2_654_435_761);
    let mut key = spread.to_be_bytes().to_vec();
    let length = if long {
        600 + spread as usize % 3_000
    } else {
        40
    };
    key.resize(length, b'k');
    key
}

fn value(number: u16, version: u8) -> Vec<u8> {
    let mixed = (u32::from(number) << 8 | u32::from(version)).wrapping_mul(2_246_822_519) >> 7;
    // One in sixteen is too long to stand in the node.
    let length = if mixed % 16 == 0 {
        5_000
    } else {
        mixed as usize % 900
    };
    vec![version; length]
}

fn build(nodes: &MemoryNodes, model: &Model) -> TreeRoot {
    now(async {
        let mut builder = Builder::new(nodes, &BOUNDARY);
        for (key, value) in model {
            builder.push(key.clone(), value.clone()).await.unwrap();
        }
        builder.finish().await.unwrap()
    })
}

/// The rule of PROTOCOL section 5, written again as plainly as possible.
fn build_plainly(nodes: &MemoryNodes, model: &Model) -> TreeRoot {
    let put = |bytes: Vec<u8>| now(nodes.put(bytes.into())).unwrap();
    let prefixed = |bytes: &[u8]| {
        let mut encoder = crate::codec::Encoder::new();
        encoder.bytes(bytes);
        encoder.finish()
    };
    let leaf = |(key, value): (&Vec<u8>, &Vec<u8>)| {
        let inline = [&prefixed(key)[..], &[0], &prefixed(value)].concat();
        if inline.len() <= 4096 {
            return (key.clone(), inline, 1);
        }
        let mut length = crate::codec::Encoder::new();
        length.varint(value.len() as u64);
        let id = put(value.clone());
        (
            key.clone(),
            [&prefixed(key)[..], &[1], &length.finish(), id.as_bytes()].concat(),
            1,
        )
    };
    let mut records: Vec<(Vec<u8>, Vec<u8>, u64)> = model.iter().map(leaf).collect();
    for level in 0.. {
        let mut above = Vec::new();
        let (mut node, mut entries) = (vec![b'T', 1, level], 0u64);
        for (at, (key, record, count)) in records.iter().enumerate() {
            node.extend_from_slice(record);
            entries += count;
            let hash = blake3::keyed_hash(&[7; 32], &[&[level][..], key].concat());
            let h = u64::from(u32::from_le_bytes(hash.as_bytes()[..4].try_into().unwrap()));
            let rate: u64 = match (level, node.len()) {
                (0, x) if x >= 6_144 => 1_398_101,
                (1.., x) if x >= 16_384 => 524_288,
                _ => 0,
            };
            let ends = h < (record.len() as u64 * rate).min(4_294_967_295);
            if node.len() >= 131_072 || ends || at + 1 == records.len() {
                let id = put(std::mem::replace(&mut node, vec![b'T', 1, level]));
                let count = std::mem::take(&mut entries);
                let index = [&prefixed(key)[..], id.as_bytes(), &count.to_le_bytes()].concat();
                above.push((key.clone(), index, count, id));
            }
        }
        match &above[..] {
            [] => {
                return TreeRoot {
                    node: put(node),
                    level: 0,
                    entries: 0,
                };
            }
            [(_, _, entries, node)] => {
                return TreeRoot {
                    node: *node,
                    level,
                    entries: *entries,
                };
            }
            _ => {
                records = above
                    .into_iter()
                    .map(|(k, r, count, _)| (k, r, count))
                    .collect();
            }
        }
    }
    unreachable!("the first level with one node ends the loop")
}

fn scan(nodes: &MemoryNodes, root: &TreeRoot, range: impl RangeBounds<Vec<u8>>) -> Model {
    let mut scan = Scan::new(nodes, root, range);
    let mut found = Model::new();
    while let Some(entry) = now(scan.next()) {
        let (key, value) = entry.unwrap();
        assert!(
            found
                .last_key_value()
                .is_none_or(|(last, _)| last[..] < key[..])
        );
        found.insert(key.to_vec(), value.to_vec());
    }
    found
}

fn model_difference(a: &Model, b: &Model) -> Vec<Difference> {
    let keys: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
    let bytes = |value: &Vec<u8>| Bytes::from(value.clone());
    keys.into_iter()
        .filter(|key| a.get(*key) != b.get(*key))
        .map(|key| Difference {
            key: bytes(key),
            before: a.get(key).map(bytes),
            after: b.get(key).map(bytes),
        })
        .collect()
}

fn differences(nodes: &MemoryNodes, a: &TreeRoot, b: &TreeRoot) -> Vec<Difference> {
    let mut differences = Differences::new(nodes, a, b);
    std::iter::from_fn(|| now(differences.next()).map(Result::unwrap)).collect()
}

/// All nodes of a tree by level, in key order.
fn levels(nodes: &MemoryNodes, root: &TreeRoot) -> Vec<Vec<Node>> {
    let mut levels = vec![vec![now(read_node(nodes, root)).unwrap()]];
    while levels[0][0].level > 0 {
        let level = levels[0][0].level - 1;
        let child = |record: &Record| now(walk::read_child(nodes, record, level)).unwrap();
        let below = levels[0]
            .iter()
            .flat_map(|node| &node.records)
            .map(child)
            .collect();
        levels.insert(0, below);
    }
    levels
}

fn check_sizes(nodes: &MemoryNodes, root: &TreeRoot) {
    for (height, level) in levels(nodes, root).iter().enumerate() {
        let least = if height == 0 { 6 << 10 } else { 16 << 10 };
        for (at, node) in level.iter().enumerate() {
            let length = node.encoded.len();
            assert!(length <= NODE_MAX_BYTES, "{length}");
            assert!(at + 1 == level.len() || length >= least, "{length}");
        }
    }
}

#[derive(Debug, Clone)]
enum Batch {
    Scattered(BTreeMap<u16, Option<u8>>),
    Run {
        from: u16,
        length: u16,
        version: Option<u8>,
    },
}

fn batch(keys: u16) -> impl Strategy<Value = Batch> {
    let scattered = prop::collection::btree_map(0..keys, any::<Option<u8>>(), 0..40);
    let run = (0..keys, 0..keys, any::<Option<u8>>());
    prop_oneof![
        scattered.prop_map(Batch::Scattered),
        run.prop_map(|(from, length, version)| Batch::Run {
            from,
            length,
            version
        }),
    ]
}

/// Turns a batch into sorted edits, and applies them to the model.
fn edits(model: &mut Model, batch: &Batch, long: bool) -> Vec<Edit> {
    let numbers: BTreeMap<u16, Option<u8>> = match batch {
        Batch::Scattered(map) => map.clone(),
        Batch::Run {
            from,
            length,
            version,
        } => {
            let to = from.saturating_add(*length);
            (*from..to).map(|number| (number, *version)).collect()
        }
    };
    let mut edits = BTreeMap::new();
    for (number, version) in numbers {
        let (key, value) = (
            key(number, long),
            version.map(|version| value(number, version)),
        );
        match &value {
            Some(value) => model.insert(key.clone(), value.clone()),
            None => model.remove(&key),
        };
        edits.insert(key, value);
    }
    edits.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn tree_depends_on_the_map_alone(
        long: bool, batches in prop::collection::vec(batch(700), 1..8),
    ) {
        let nodes = MemoryNodes::default();
        let mut model = Model::new();
        let mut root = now(empty(&nodes)).unwrap();
        for batch in &batches {
            let before = (root, model.clone());
            let edits = edits(&mut model, batch, long);
            root = now(apply(&nodes, &BOUNDARY, &root, edits)).unwrap();
            prop_assert_eq!(root, build(&nodes, &model));
            prop_assert_eq!(root.entries, model.len() as u64);
            let expected = model_difference(&before.1, &model);
            prop_assert_eq!(differences(&nodes, &before.0, &root), expected);
            let reverse = model_difference(&model, &before.1);
            prop_assert_eq!(differences(&nodes, &root, &before.0), reverse);
        }
        prop_assert_eq!(root, build_plainly(&nodes, &model));
        check_sizes(&nodes, &root);
        // The same map by another way: everything at once, in one apply.
        let all = model.iter().map(|(key, value)| (key.clone(), Some(value.clone())));
        let start = now(empty(&nodes)).unwrap();
        prop_assert_eq!(now(apply(&nodes, &BOUNDARY, &start, all)).unwrap(), root);
        // And away again.
        let none = model.keys().map(|key| (key.clone(), None));
        prop_assert_eq!(now(apply(&nodes, &BOUNDARY, &root, none)).unwrap(), start);
    }

    #[test]
    fn reading_equals_the_map(
        long: bool,
        batches in prop::collection::vec(batch(500), 1..3),
        from in 0u16..500, to in 0u16..500, absent in 500u16..600,
    ) {
        let nodes = MemoryNodes::default();
        let mut model = Model::new();
        for batch in &batches {
            edits(&mut model, batch, long);
        }
        let root = build(&nodes, &model);
        prop_assert_eq!(&scan(&nodes, &root, ..), &model);
        let (from, to) = (key(from, long), key(to, long));
        let (from, to) = (from.clone().min(to.clone()), from.max(to));
        for each in [&from, &to, &key(absent, long), &Vec::new()] {
            let found = now(get(&nodes, &root, each)).unwrap();
            prop_assert_eq!(found.as_deref(), model.get(each).map(Vec::as_slice));
        }
        let within = |range: (Bound<&Vec<u8>>, Bound<&Vec<u8>>)| -> Model {
            model.range::<Vec<u8>, _>(range).map(|(k, v)| (k.clone(), v.clone())).collect()
        };
        let half_open = within((Bound::Included(&from), Bound::Excluded(&to)));
        prop_assert_eq!(scan(&nodes, &root, from.clone()..to.clone()), half_open);
        if from < to {
            let bounds = (Bound::Excluded(from.clone()), Bound::Included(to.clone()));
            let open = within((Bound::Excluded(&from), Bound::Included(&to)));
            prop_assert_eq!(scan(&nodes, &root, bounds), open);
        }
    }
}

/// An inbox: one container, ascending times, records of a usual size.
fn inbox(messages: u32) -> Model {
    let entry = |number: u32| {
        let mixed = number.wrapping_mul(2_654_435_761);
        let mut key = b"container-id-of-some-length".to_vec();
        key.extend_from_slice(&number.to_be_bytes());
        key.extend_from_slice(&[b'i'; 100]);
        (
            key,
            vec![mixed.to_le_bytes()[1]; 200 + (mixed >> 16) as usize % 400],
        )
    };
    (0..messages).map(entry).collect()
}

#[test]
fn few_changes_write_few_nodes() {
    let nodes = MemoryNodes::default();
    let mut model = inbox(40_000);
    let late: Vec<_> = (0..10).filter_map(|_| model.pop_last()).collect();
    let root = build(&nodes, &model);
    assert!(root.level >= 1);
    let leaves = levels(&nodes, &root)[0].len();
    nodes.take_counts();
    // Ten new messages.
    let mut new: Vec<Edit> = late
        .into_iter()
        .map(|(key, value)| (key, Some(value)))
        .collect();
    new.reverse();
    let root = now(apply(&nodes, &BOUNDARY, &root, new)).unwrap();
    let (gets, puts) = nodes.take_counts();
    assert!(
        puts <= 2 + 2 * usize::from(root.level),
        "{puts} nodes for ten new messages"
    );
    assert!(
        gets <= 8 * (1 + usize::from(root.level)),
        "{gets} reads for ten new messages"
    );
    // A hundred changed flags, scattered.
    let changed = model.keys().step_by(397).take(100);
    let changed: Vec<Edit> = changed
        .map(|key| (key.clone(), Some(vec![1; 300])))
        .collect();
    let before = root;
    let root = now(apply(&nodes, &BOUNDARY, &root, changed.clone())).unwrap();
    let (_, puts) = nodes.take_counts();
    assert!(
        puts <= 130,
        "{puts} nodes for a hundred scattered changes in {leaves} leaves"
    );
    let found = differences(&nodes, &before, &root);
    let (gets, _) = nodes.take_counts();
    assert_eq!(found.len(), changed.len());
    assert!(
        gets <= 2 * 130,
        "{gets} nodes read to find a hundred differences"
    );
    // Nothing new, said again.
    assert_eq!(now(apply(&nodes, &BOUNDARY, &root, changed)).unwrap(), root);
    assert_eq!(
        nodes.take_counts().1,
        0,
        "an edit without effect writes nothing"
    );
    assert!(differences(&nodes, &root, &root).is_empty());
    assert_eq!(
        nodes.take_counts().0,
        0,
        "equal trees are equal without being read"
    );
}

#[test]
fn high_tree_grows_and_shrinks_like_any_other() {
    let nodes = MemoryNodes::default();
    let model: Model = (0..2_500).map(|n| (key(n, true), value(n, 1))).collect();
    let root = build(&nodes, &model);
    assert!(root.level >= 2, "level {}", root.level);
    assert_eq!(root, build_plainly(&nodes, &model));
    for kept in [1_000, 100, 9, 1] {
        let keep: Model = model
            .iter()
            .step_by(2_500 / kept)
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        let away = model.keys().filter(|key| !keep.contains_key(*key));
        let away = away.map(|key| (key.clone(), None));
        let small = now(apply(&nodes, &BOUNDARY, &root, away)).unwrap();
        assert_eq!(small, build(&nodes, &keep));
        assert_eq!(
            differences(&nodes, &root, &small),
            model_difference(&model, &keep)
        );
        let back = model.iter().filter(|(key, _)| !keep.contains_key(*key));
        let back = back.map(|(key, value)| (key.clone(), Some(value.clone())));
        assert_eq!(now(apply(&nodes, &BOUNDARY, &small, back)).unwrap(), root);
    }
}

#[test]
fn nodes_are_written_while_edits_still_come() {
    let nodes = MemoryNodes::default();
    let model = inbox(20_000);
    let root = build(&nodes, &model);
    let leaves = levels(&nodes, &root)[0].len();
    nodes.take_counts();
    let mut editor = Editor::new(&nodes, &BOUNDARY, &root);
    let mut written = 0;
    for (number, key) in (0usize..).zip(model.keys()) {
        now(editor.edit(key.clone(), Some(vec![number.to_le_bytes()[0]; 200]))).unwrap();
        written += nodes.take_counts().1;
        // About 9 KiB to a node of 300 bytes a record, none held back for long.
        assert!(
            written + 2 >= number / 100,
            "{written} nodes at edit {number}"
        );
    }
    assert!(written + 3 >= leaves / 2, "{written} nodes of {leaves}");
    let changed = now(editor.finish()).unwrap();
    assert_eq!(changed.entries, root.entries);
}

#[test]
fn nodes_have_the_expected_sizes() {
    let nodes = MemoryNodes::default();
    let root = build(&nodes, &inbox(60_000));
    let mut sizes: Vec<usize> = levels(&nodes, &root)[0]
        .iter()
        .map(|n| n.encoded.len())
        .collect();
    sizes.sort_unstable();
    let mean = sizes.iter().sum::<usize>() / sizes.len() / 1024;
    let (p1, p99) = (
        sizes[sizes.len() / 100] / 1024,
        sizes[sizes.len() * 99 / 100] / 1024,
    );
    println!(
        "{} leaves: mean {mean} KiB, p1 {p1} KiB, p99 {p99} KiB",
        sizes.len()
    );
    assert!((8..=10).contains(&mean), "mean {mean} KiB");
    assert!(p1 >= 6 && p99 <= 24, "p1 {p1} KiB, p99 {p99} KiB");
}

#[test]
fn tree_of_a_known_map_has_a_known_root() {
    let nodes = MemoryNodes::default();
    let root = build(&nodes, &inbox(3_000));
    assert_eq!((root.level, root.entries), (2, 3_000));
    let known = "ef54de8c53213d03612e4c0356689ac0f4d05631fd9b87e94b9147f0194f41f9";
    assert_eq!(root.node.to_string(), known);
}

#[test]
fn keys_out_of_order_and_over_the_limit_are_refused() {
    let nodes = MemoryNodes::default();
    let root = now(empty(&nodes)).unwrap();
    let edit = |key: &[u8]| (key.to_vec(), Some(vec![1]));
    for edits in [vec![edit(b"b"), edit(b"a")], vec![edit(b"a"), edit(b"a")]] {
        let error = now(apply(&nodes, &BOUNDARY, &root, edits)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    let long = vec![edit(&[0; KEY_MAX_BYTES + 1])];
    let error = now(apply(&nodes, &BOUNDARY, &root, long)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
}

#[test]
fn node_in_the_wrong_place_is_damage() {
    let nodes = MemoryNodes::default();
    let root = build(&nodes, &inbox(3_000));
    let leaf = levels(&nodes, &root)[0][1].encoded.clone();
    let other = TreeRoot {
        node: now(nodes.put(leaf)).unwrap(),
        ..root
    };
    let entry = now(Scan::new(&nodes, &other, ..).next()).unwrap();
    assert_eq!(entry.unwrap_err().kind(), ErrorKind::Damaged);
    let miscounted = TreeRoot {
        entries: root.entries + 1,
        ..root
    };
    let error = now(get(&nodes, &miscounted, b"")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
}
