//! Looking after a store: keys, replicas, copies, figures, samples.

use std::fs;

use m365_simulator::ChangeSpec;

use crate::support::World;

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
