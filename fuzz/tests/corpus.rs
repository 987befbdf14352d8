//! Replays every seed, and damaged forms of every seed, on stable.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "test code; the long form takes its seed from the environment"
)]

use std::fs;
use std::path::{Path, PathBuf};

use backup_store::catalog::{
    Container, ContainerKind, Drift, Findings, Item, ItemKey, ItemKind, ItemState, Outcome,
    Resource, ResourceId, ResourceKind, RunNote, RunRecord, Service, Snapshot, Totals,
};
use backup_store::{ChunkId, RunId, Timestamp, TreeRoot};
use m365_fuzz::{STORED, TARGETS, parser};

/// Damaged forms of each seed.
const MUTATIONS: u64 = 300;

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target)
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(corpus(target))
        .unwrap_or_else(|cause| panic!("{target} has no seeds: {cause}"))
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn damaged(seed: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..random.usize(1..5) {
        let at = random.usize(..=bytes.len());
        let end = (at + random.usize(..9)).min(bytes.len());
        match random.u8(..4) {
            0 if at < bytes.len() => bytes[at] = random.u8(..),
            1 => bytes.truncate(at),
            2 => drop(bytes.drain(at..end)),
            _ => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

#[test]
fn every_seed_and_its_damaged_forms_are_survived() {
    survive(MUTATIONS, 1);
}

#[test]
#[ignore = "the long form: M365_FUZZ_SEED=7 cargo test --release -p m365-fuzz -- --ignored many --nocapture"]
fn many_damaged_forms_of_every_seed_are_survived() {
    let seed = std::env::var("M365_FUZZ_SEED").ok();
    survive(
        MUTATIONS * 300,
        seed.map_or(1, |seed| seed.parse().unwrap()),
    );
}

fn survive(mutations: u64, seed_of_damage: u64) {
    let mut inputs = 0u64;
    // Some targets only, by how their names begin, as in `auth,ews`.
    let chosen = std::env::var("M365_FUZZ_TARGETS").unwrap_or_default();
    let is_chosen = |name: &&str| chosen.split(',').any(|begin| name.starts_with(begin));
    for (name, target) in TARGETS.iter().filter(|(name, _)| is_chosen(name)) {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name} has no seeds");
        let mut random = fastrand::Rng::with_seed(seed_of_damage);
        for seed in &seeds {
            target(seed);
            for _ in 0..mutations {
                target(&damaged(seed, &mut random));
                inputs += 1;
            }
        }
        println!(
            "{name}: {} seeds, {mutations} damaged forms of each",
            seeds.len()
        );
    }
    println!("{inputs} damaged inputs");
}

#[test]
fn every_target_has_a_shell_and_every_folder_a_target() {
    for (name, _) in TARGETS {
        let shell = format!("{}/fuzz_targets/{name}.rs", env!("CARGO_MANIFEST_DIR"));
        assert!(fs::read_to_string(shell).unwrap().contains(name));
    }
    for entry in fs::read_dir(corpus("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            TARGETS.iter().any(|(known, _)| *known == name),
            "{name} is no target"
        );
    }
}

/// The seeds of the store's records, which no editor can write.
fn records() -> Vec<(&'static str, Vec<u8>)> {
    let at = Timestamp::from_millis(1_700_000_000_000);
    let key = ItemKey {
        container: "inbox".to_owned(),
        created: at,
        id: "AAMk".to_owned(),
    };
    let item = Item {
        key: key.clone(),
        kind: ItemKind::Message,
        name: "Minutes".to_owned(),
        sender: Some("a@contoso.example".to_owned()),
        recipients: vec!["b@contoso.example".to_owned()],
        change_key: "CQAAABYA".to_owned(),
        content_key: None,
        size_bytes: 1234,
        modified: Some(at),
        draft: false,
        state: ItemState::Skipped {
            reason: "malware".to_owned(),
        },
        representations: Vec::new(),
    };
    let container = Container {
        id: "inbox".to_owned(),
        parent: Some("root".to_owned()),
        name: "Inbox".to_owned(),
        kind: ContainerKind::MailFolder,
        well_known: Some("inbox".to_owned()),
        hidden: false,
        change_key: Some("1".to_owned()),
        created: Some(at),
        modified: None,
        properties: None,
    };
    let prefixed = |key: &[u8], record: Vec<u8>| {
        let mut bytes = vec![u8::try_from(key.len()).unwrap()];
        bytes.extend_from_slice(key);
        bytes.extend(record);
        bytes
    };
    let note = RunNote {
        first_seen: at,
        tries: 2,
        content_assumed: true,
        route: "graph".to_owned(),
    };
    let mut tree = vec![0];
    tree.extend_from_slice(&backup_store::tree::empty_node());
    vec![
        ("store_item_key", key.encode()),
        ("store_item", prefixed(&key.encode(), item.encode())),
        (
            "store_container",
            prefixed(&container.key(), container.encode()),
        ),
        ("store_run_note", note.encode()),
        ("store_run_record", run_record(at).encode()),
        ("store_snapshot", snapshot(at).encode()),
        ("store_tree", tree),
    ]
}

/// Seeds of what is sealed in a store, by target and file; the first byte chooses the parser.
fn stored() -> Vec<(&'static str, String, Vec<u8>)> {
    let samples = backup_store::fuzzing::samples().unwrap();
    let mut seeds = Vec::new();
    for (target, names) in STORED {
        for (choice, name) in (0u8..).zip(*names) {
            let (_, sample) = samples
                .iter()
                .find(|(of, _)| of == name)
                .unwrap_or_else(|| panic!("{name} has no sample"));
            let again = parser(name).unwrap()(sample);
            assert_eq!(again.unwrap(), *sample, "{name}");
            let seed = [&[choice][..], sample].concat();
            seeds.push((*target, format!("{}.bin", name.replace(' ', "-")), seed));
        }
    }
    seeds
}

#[test]
fn every_parser_of_stored_bytes_has_a_target() {
    for (name, _) in backup_store::fuzzing::PARSERS {
        let targets = STORED.iter().filter(|(_, names)| names.contains(name));
        assert_eq!(targets.count(), 1, "{name}");
    }
}

fn run_record(at: Timestamp) -> RunRecord {
    RunRecord {
        run: RunId::from_bytes([1; 16]),
        set: "nightly".to_owned(),
        started: at,
        finished: at,
        outcome: Outcome::Partial,
        totals: Totals::default(),
        snapshots: Vec::new(),
        unchanged: vec![ResourceId::of(&Service::Outlook, "u")],
        failed: vec![(
            ResourceId::of(&Service::OneDrive, "d"),
            "refused".to_owned(),
        )],
        drift: Some(Drift {
            listed: 9,
            stale: 1,
            ..Drift::default()
        }),
        findings: Findings::default(),
    }
}

fn snapshot(at: Timestamp) -> Snapshot {
    let root = TreeRoot {
        node: ChunkId::from_bytes([3; 32]),
        level: 1,
        entries: 9,
    };
    Snapshot {
        resource: Resource {
            id: ResourceId::of(&Service::Outlook, "u"),
            service: Service::Outlook,
            kind: ResourceKind::SharedMailbox,
            owner: "u@contoso.example".to_owned(),
            owner_id: "u".to_owned(),
            service_id: "u".to_owned(),
            name: "U".to_owned(),
        },
        set: "nightly".to_owned(),
        run: RunId::from_bytes([1; 16]),
        outcome: Outcome::Complete,
        token: 2,
        sequence: 3,
        parent: None,
        parent_hash: None,
        started: at,
        finished: at,
        containers: root,
        items: root,
        notes: root,
        enumerations: Vec::new(),
        cursors: Vec::new(),
        totals: Totals::default(),
        routes: vec!["graph".to_owned()],
        journal_sequence: 4,
    }
}

#[test]
fn the_seeds_of_records_are_what_the_store_writes_today() {
    for (target, record) in records() {
        let path = corpus(target).join("sample.bin");
        let kept = fs::read(&path).unwrap_or_default();
        assert!(kept == record, "{} is old; run write_seeds", path.display());
    }
    for (target, file, seed) in stored() {
        let path = corpus(target).join(file);
        let kept = fs::read(&path).unwrap_or_default();
        assert!(kept == seed, "{} is old; run write_seeds", path.display());
    }
}

#[test]
#[ignore = "writes seeds into the source tree; run it after a change of format"]
fn write_seeds() {
    for (target, record) in records() {
        fs::create_dir_all(corpus(target)).unwrap();
        fs::write(corpus(target).join("sample.bin"), record).unwrap();
    }
    for (target, file, seed) in stored() {
        fs::create_dir_all(corpus(target)).unwrap();
        fs::write(corpus(target).join(file), seed).unwrap();
    }
}
