//! Looking after a store: keys, replicas, copies, figures, samples.

use std::fs;

use m365_simulator::ChangeSpec;

use crate::support::{World, run_bare};

/// Runs with another way to open the store in place of the passphrase of the config.
fn opened_by(world: &World, key: &[&str], args: &[&str]) -> crate::support::Said {
    world.run(&[args, key].concat())
}

#[test]
fn a_key_file_and_a_recovery_kit_open_the_store_until_they_are_removed() {
    let world = World::with_store(41);
    world.run(&["backup", "-q"]).assert(0);
    world
        .run(&["key", "add", "--new-key-file", "k.key", "--label", "laptop"])
        .assert(0);
    world
        .run(&["key", "add", "--recovery-kit", "kit.txt"])
        .assert(0);
    let kit = fs::read_to_string(world.path("kit.txt")).unwrap();
    let mut lines = kit.lines().skip_while(|line| *line != "Recovery code");
    let code = lines.nth(2).unwrap().trim().to_lowercase();
    fs::write(world.path("code"), format!("{code}\n")).unwrap();

    let (key, code) = (["--key-file", "k.key"], ["--recovery-code=code"]);
    opened_by(&world, &key, &["snapshots"]).assert(0);
    opened_by(&world, &code, &["snapshots"]).assert(0);
    let listed = world.run(&["key", "list", "--json"]).assert(0);
    assert_eq!(listed.summary()["keys"], 3);
    let laptop = listed
        .objects()
        .into_iter()
        .find(|key| key["label"] == "laptop")
        .unwrap();
    let laptop = laptop["recipient"].as_str().unwrap().to_owned();

    let keep = ["--keep-recovery-code-file", "code"];
    let said = world.run(&["key", "remove", &laptop[..8]]).assert(1);
    assert!(said.err.contains("recovery code"), "{}", said.err);
    opened_by(&world, &key, &["snapshots"]).assert(0);
    let removed = world.run(&[&["key", "remove", &laptop[..8], "--json"], &keep[..]].concat());
    assert_eq!(removed.assert(0).summary()["key_epoch"], 1);
    opened_by(&world, &key, &["snapshots"]).assert(12);
    opened_by(&world, &code, &["snapshots"]).assert(0);
    world.run(&["backup", "-q"]).assert(0);
    world.run(&["check", "--all-data"]).assert(0);
}

#[test]
fn a_changed_passphrase_opens_and_the_old_one_does_not() {
    let world = World::with_store(42);
    fs::write(world.path("new"), "another horse\n").unwrap();
    world
        .run(&["key", "change", "--new-passphrase-file", "new"])
        .assert(0);
    world.run(&["snapshots"]).assert(12);
    world
        .run(&["snapshots", "--passphrase-file", "new"])
        .assert(0);
}

#[test]
fn what_is_no_key_file_and_no_recovery_code_says_so() {
    let world = World::with_store(43);
    let said = world.run(&["snapshots", "--key-file", "passphrase"]);
    assert!(said.assert(2).err.contains("is not a key file"));
    let said = world.run(&["snapshots", "--recovery-code=passphrase"]);
    assert!(said.assert(2).err.contains("not a recovery code"));
    let said = world.run(&["key", "remove", "0000"]).assert(2);
    assert!(said.err.contains("no recipient begins with 0000"));
}

#[test]
fn a_replica_opens_with_the_same_passphrase_and_follows() {
    let world = World::with_store(44);
    world.run(&["backup", "-q"]).assert(0);
    let replica = ["--store", "replica"];
    world
        .run(&[&["init", "--replica-of", "store"], &replica[..]].concat())
        .assert(0);
    let of = |store: &str| {
        let said = world.run(&["ls", "--json", "--store", store]).assert(0);
        said.objects()
    };
    assert_eq!(of("store"), of("replica"));
    world
        .run(&["check", "--all-data", "--store", "replica"])
        .assert(0);

    world.tenant().change(&ChangeSpec::default());
    world.run(&["backup", "-q"]).assert(0);
    assert_ne!(of("store"), of("replica"));
    world.run(&["copy", "--to", "replica"]).assert(0);
    assert_eq!(of("store"), of("replica"));
    let said = world.run(&["copy", "--to", "replica", "--owner", "x"]);
    assert!(said.assert(2).err.contains("no selection"));
}

#[test]
fn one_owner_is_copied_into_a_store_with_other_keys_once() {
    let world = World::with_store(45);
    world.run(&["backup", "-q"]).assert(0);
    let owner = world.tenant().users()[0].principal_name.clone();
    let made = [
        "init",
        "--store",
        "leaver",
        "--generate-passphrase",
        "leaver.pass",
    ];
    world.run(&made).assert(0);
    let copy = [
        "copy",
        "--to",
        "leaver",
        "--to-passphrase-file",
        "leaver.pass",
        "--owner",
        &owner,
        "--json",
    ];
    let first = world.run(&copy).assert(0).summary();
    assert!(first["snapshots"].as_u64().unwrap() >= 1);
    let again = world.run(&copy).assert(0).summary();
    assert_eq!(
        (&again["snapshots"], &again["known"]),
        (&0.into(), &first["snapshots"])
    );
    let leaver = ["--store", "leaver", "--passphrase-file", "leaver.pass"];
    let said = world
        .run(&[&["ls", "--json"], &leaver[..]].concat())
        .assert(0);
    let items = said
        .objects()
        .into_iter()
        .filter(|object| object["message_type"] == "item");
    assert_eq!(items.count() as u64, first["items"].as_u64().unwrap());
    world
        .run(&[&["check", "--all-data"], &leaver[..]].concat())
        .assert(0);
}

#[test]
fn figures_add_up_and_a_sample_says_how_sure_it_is() {
    let world = World::with_store(46);
    world.run(&["backup", "-q"]).assert(0);
    let said = world.run(&["stats", "--json"]).assert(0);
    let (total, objects) = (said.summary(), said.objects());
    let sum: u64 = objects
        .iter()
        .filter(|object| object["message_type"] == "resource")
        .map(|object| object["logical_bytes"].as_u64().unwrap())
        .sum();
    assert_eq!(total["logical_bytes"].as_u64().unwrap(), sum);
    world
        .run(&["stats", "--snapshots", "--exclusive"])
        .assert(0);

    let sample = world.run(&["check", "--sample", "50", "--json"]).assert(0);
    let found = sample.summary()["sample"].clone();
    assert!(found["read"].as_u64().unwrap() >= 1);
    assert!(found["confidence"].as_f64().unwrap() > 0.0);
    let said = world.run(&["check", "--sample", "0"]).assert(2);
    assert!(said.err.contains("no share to check"), "{}", said.err);
}

#[test]
fn a_synchronization_check_of_a_quiet_tenant_finds_no_drift() {
    let world = World::with_store(47);
    world.run(&["backup", "-q"]).assert(0);
    world.tenant().change(&ChangeSpec {
        amount: 40,
        ..ChangeSpec::default()
    });
    let said = world.run(&["sync-check", "--dry-run", "--json"]).assert(0);
    let dry = said.summary()["drift"].clone();
    let seen = |value: &serde_json::Value| value["listed"].as_u64().unwrap();
    assert!(seen(&dry) > 0);
    for kind in ["missing", "stale", "surplus", "containers", "disproved"] {
        assert_eq!(dry[kind], 0, "{kind}: {dry}");
    }
    assert_eq!(dry["repaired"], false);
    let said = world.run(&["sync-check"]).assert(0);
    assert!(
        said.out.contains("catalog and service agree"),
        "{}",
        said.out
    );
    let fresh = world.run(&["backup", "--json"]).assert(0).summary();
    assert_eq!(fresh["drift"], serde_json::Value::Null, "it is not due yet");
}

#[test]
fn what_is_forgotten_frees_its_space_and_the_rest_restores() {
    let world = World::with_store(48);
    world.run(&["backup", "-q"]).assert(0);
    for seed in 2..5 {
        world.tenant().change(&ChangeSpec { seed, amount: 60 });
        world.run(&["backup", "-q"]).assert(0);
    }
    let before = world.contents();
    let set = world.path("set.toml");
    let text = fs::read_to_string(&set).unwrap();

    let said = world.run(&["retention", "plan"]).assert(2);
    assert!(said.err.contains("has no retention policy"), "{}", said.err);
    fs::write(&set, format!("{text}\n[retention]\nkeep-last = 1\n")).unwrap();
    let plan = world
        .run(&["retention", "plan", "--json"])
        .assert(0)
        .summary();
    let forgotten = plan["forgotten"].as_u64().unwrap();
    assert!(forgotten > 0);

    let all = world.run(&["snapshots", "--json"]).assert(0).objects();
    let pinned = all[0]["id"].as_str().unwrap()[..12].to_owned();
    let pins = format!("{text}\n[retention]\nkeep-last = 1\npins = ['{pinned}']\n");
    fs::write(&set, pins).unwrap();
    let said = world.run(&["retention", "apply"]).assert(2);
    assert!(said.err.contains("--yes"), "{}", said.err);
    world.run(&["retention", "apply", "--dry-run"]).assert(0);
    let said = world
        .run(&["retention", "apply", "--yes", "--json"])
        .assert(0);
    let applied = said.summary();
    assert_eq!(applied["outcome"], "done");
    assert_eq!(
        applied["forgotten"].as_array().unwrap().len() as u64,
        forgotten - 1
    );
    let left = world.run(&["snapshots", "--json"]).assert(0).summary();
    assert_eq!(
        left["snapshots"].as_u64().unwrap(),
        all.len() as u64 - 1 - (forgotten - 1)
    );
    assert_eq!(world.contents(), before, "the newest state is untouched");
    world.run(&["check", "--all-data"]).assert(0);

    let said = world
        .run(&["prune", "--forget", &pinned, "--dry-run"])
        .assert(0);
    assert!(said.out.contains("nothing"), "a pin holds: {}", said.out);
    let (place, secret) = (world.path("store"), world.path("passphrase"));
    let (place, secret) = (place.to_str().unwrap(), secret.to_str().unwrap());
    let mut alone = vec!["prune", "--forget", &pinned, "--dry-run", "--store", place];
    alone.extend(["--passphrase-file", secret]);
    let refused = run_bare(&alone).assert(2);
    assert!(
        refused.err.contains("pins are not known"),
        "{}",
        refused.err
    );
    assert!(refused.err.contains("--ignore-pins"), "{}", refused.err);
    alone.push("--ignore-pins");
    let told = run_bare(&alone).assert(0);
    assert!(told.err.contains("even if they are pinned"), "{}", told.err);
    fs::write(&set, &text).unwrap();
    world
        .run(&["prune", "--forget", &pinned, "--yes"])
        .assert(0);
    world.run(&["check", "--all-data"]).assert(0);
    world.run(&["backup", "-q"]).assert(0);
}

#[test]
fn a_damaged_pack_comes_back_from_a_replica_or_is_named_and_fetched_again() {
    let world = World::with_store(49);
    world.run(&["backup", "-q"]).assert(0);
    let made = ["init", "--replica-of", "store", "--store", "replica"];
    world.run(&made).assert(0);
    let before = world.contents();
    let damage = || {
        let packs = world.packs("store");
        let largest = packs
            .iter()
            .max_by_key(|pack| fs::metadata(pack).unwrap().len());
        let mut bytes = fs::read(largest.unwrap()).unwrap();
        let half = bytes.len() / 2;
        bytes[1000..half].iter_mut().for_each(|byte| *byte ^= 0x55);
        fs::write(largest.unwrap(), bytes).unwrap();
    };
    damage();
    world.run(&["check", "--all-data"]).assert(1);
    let dry = world
        .run(&["repair", "--dry-run", "--from", "replica"])
        .assert(0);
    assert!(dry.out.contains("to repair"), "{}", dry.out);
    world
        .run(&["repair", "--yes", "--from", "replica"])
        .assert(0);
    assert_eq!(world.contents(), before);

    let alone = World::with_store(50);
    alone.run(&["backup", "-q"]).assert(0);
    let intact = alone.contents();
    let packs = alone.packs("store");
    let largest = packs
        .iter()
        .max_by_key(|pack| fs::metadata(pack).unwrap().len());
    fs::remove_file(largest.unwrap()).unwrap();
    let said = alone.run(&["repair", "--yes"]).assert(3);
    assert!(said.out.contains("lost:"), "{}", said.out);
    alone.run(&["backup", "-q"]).assert(0);
    assert_eq!(alone.contents(), intact, "the service still had it");
}
