//! The way of a newcomer: init, backup, look, restore, check, with words and with JSON.

use std::fs;

use m365_simulator::compare;

use crate::support::{World, assert_words, run_bare};

#[test]
fn from_an_example_config_to_a_restored_mailbox() {
    let world = World::new(7);
    let said = world.run(&["init"]).assert(0);
    assert_words("init", &world.plain(&said.out));

    let first = world.run(&["backup", "--json"]).assert(0).summary();
    assert_eq!(first["outcome"], "complete");
    let seen = first["totals"]["seen"].as_u64().unwrap();
    assert_eq!(
        first["totals"]["stored"], seen,
        "a first backup stores everything"
    );
    let idle = world.run(&["backup", "--json"]).assert(0).summary();
    assert_eq!(idle["totals"]["stored"], 0, "nothing has changed");
    assert_eq!(idle["resources_unchanged"], idle["resources"]);

    let snapshots = world.run(&["snapshots", "--json"]).assert(0);
    assert_eq!(
        snapshots.summary()["snapshots"],
        first["resources"],
        "idle wrote no snapshot"
    );
    let items: Vec<_> = world.contents();
    let listed = items
        .iter()
        .filter(|object| object["message_type"] == "item")
        .count() as u64;
    assert_eq!(listed, seen);

    restore_one_mailbox(&world);
    world.run(&["check", "--all-data"]).assert(0);
}

fn restore_one_mailbox(world: &World) {
    let users = world.tenant().users();
    let people: Vec<_> = users
        .iter()
        .filter(|user| user.mailbox.is_some() && user.has_drive)
        .collect();
    let (from, to) = (&people[0].principal_name, &people[1].principal_name);
    let restore = |extra: &[&str]| {
        let base = [
            "restore",
            "latest",
            "--owner",
            from,
            "--to",
            to,
            "--into-folder",
            "Restored",
        ];
        world.run(&[&base, extra].concat())
    };
    let before = world.tenant().counters();
    let dry = restore(&["--dry-run"]).assert(0);
    assert!(dry.out.contains(to.as_str()), "{}", dry.out);
    let after = world.tenant().counters();
    let writes = |counters: &m365_simulator::Counters| -> u64 {
        let changing = |route: &str| !route.starts_with("GET") && !route.starts_with("login");
        counters
            .routes()
            .filter(|(route, _)| changing(route))
            .map(|(_, count)| count)
            .sum()
    };
    assert_eq!(writes(&before), writes(&after), "a dry run writes nothing");

    let unasked = restore(&[]).assert(2);
    assert!(unasked.err.contains("--yes"), "{}", unasked.err);
    let summary = restore(&["--yes", "--json"]).assert(0).summary();
    assert_eq!(summary["failed"], 0);
    assert_eq!(summary["mismatched"], 0);
    for comparison in [
        compare::mailbox(world.tenant(), from, to, Some("Restored")),
        compare::drive(world.tenant(), from, to, Some("Restored")),
    ] {
        assert!(comparison.compared > 0);
        assert_eq!(comparison.mismatches, Vec::<String>::new());
    }
    let again = restore(&["--yes", "--json"]).assert(0).summary();
    assert_eq!(
        again["written"], 0,
        "a second restore adds nothing: {again}"
    );
}

#[test]
fn a_store_is_readable_with_its_passphrase_alone() {
    let world = World::with_store(8);
    world.run(&["backup", "-q"]).assert(0);
    let (store, passphrase) = (world.path("store"), world.path("passphrase"));
    let store = ["--store", store.to_str().unwrap()];
    let key = ["--passphrase-file", passphrase.to_str().unwrap()];
    let look = |args: &[&str]| run_bare(&[args, &store, &key].concat()).assert(0).out;
    assert!(look(&["snapshots", "--latest"]).contains("outlook"));
    let listed = look(&["ls", "--service", "onedrive"]);
    assert!(listed.contains("onedrive"), "{listed}");
    let item = world
        .contents()
        .into_iter()
        .find(|object| object["message_type"] == "item");
    let name = item.unwrap()["name"].as_str().unwrap().to_owned();
    assert!(look(&["find", &name]).contains(&name), "find finds {name}");
    look(&["check", "--all-data"]);
}

#[test]
fn init_writes_a_config_that_only_lacks_the_tenant() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("set.toml");
    let path_text = path.to_str().unwrap();
    run_bare(&["init", "--write-config", path_text]).assert(0);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("client-secret"));
    run_bare(&["init", "--write-config", path_text]).assert(1);
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        text,
        "an existing config is left alone"
    );
}

#[test]
fn a_generated_passphrase_opens_the_store_and_is_for_its_owner_only() {
    let folder = tempfile::TempDir::new().unwrap();
    let (store, key) = (folder.path().join("store"), folder.path().join("key"));
    let (store, key_text) = (store.to_str().unwrap(), key.to_str().unwrap());
    run_bare(&["init", "--store", store, "--generate-passphrase", key_text]).assert(0);
    run_bare(&["snapshots", "--store", store, "--passphrase-file", key_text]).assert(0);
    let command = format!("cat '{key_text}'");
    run_bare(&[
        "snapshots",
        "--store",
        store,
        "--passphrase-command",
        &command,
    ])
    .assert(0);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(
            fs::metadata(&key).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}
