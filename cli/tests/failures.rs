//! Failures: each says the object, the cause and the next step, ends with its own exit code, and
//! loses nothing.

use std::fs;

use m365_simulator::{Fault, FaultPlan, FaultRule};

use crate::support::{Said, World, assert_words, run_bare};

#[track_caller]
fn check(world: &World, said: Said, code: i32, words: &str) {
    let said = said.assert(code);
    assert_words(words, &world.plain(&said.err));
}

#[test]
fn a_wrong_passphrase_is_12_and_the_right_one_still_opens() {
    let world = World::with_store(20);
    world.run(&["backup", "-q"]).assert(0);
    fs::write(world.path("wrong"), "not the passphrase\n").unwrap();
    let wrong = ["--passphrase-file", "wrong"];
    check(
        &world,
        world.run(&[&["snapshots"], &wrong[..]].concat()),
        12,
        "wrong-passphrase",
    );
    world.run(&["check", "--all-data"]).assert(0);
}

#[test]
fn no_passphrase_and_nobody_to_ask_is_2() {
    let world = World::with_store(21);
    let store = world.path("store");
    let said = run_bare(&["snapshots", "--store", store.to_str().unwrap()]);
    check(&world, said, 2, "no-passphrase");
}

#[test]
fn no_store_is_10() {
    let world = World::new(22);
    check(&world, world.run(&["snapshots"]), 10, "no-store");
    check(&world, world.run(&["backup"]), 10, "no-store");
}

#[test]
fn a_damaged_pack_is_found_and_named_and_the_rest_is_listed() {
    let world = World::with_store(23);
    world.run(&["backup", "-q"]).assert(0);
    let pack = largest(world.packs("store"));
    let mut bytes = fs::read(&pack).unwrap();
    let half = bytes.len() / 2;
    bytes[1000..half].iter_mut().for_each(|byte| *byte ^= 0x55);
    fs::write(&pack, bytes).unwrap();
    let said = world.run(&["check", "--all-data"]).assert(1);
    let name = pack.file_name().unwrap().to_str().unwrap();
    assert!(
        said.out.contains(name),
        "check names the pack {name}:\n{}",
        said.out
    );
    assert!(said.err.contains("next:"), "{}", said.err);
    world.run(&["snapshots"]).assert(0);
}

#[test]
fn a_refused_login_is_20_and_nothing_is_lost() {
    let world = World::with_store(24);
    world.run(&["backup", "-q"]).assert(0);
    let contents = world.contents();
    fs::write(world.path("secret"), "not the secret").unwrap();
    let said = world.run(&["backup", "--no-progress"]).assert(20);
    assert!(
        !said.err.contains("not the secret"),
        "a secret is never shown"
    );
    assert_words("refused-login", &world.plain(&said.err));
    assert_eq!(world.contents(), contents);
}

#[test]
fn a_user_who_is_not_there_is_named() {
    let world = World::with_store(25);
    let backup = world.run(&[
        "backup",
        "--no-progress",
        "--user",
        "nobody@contoso.example",
    ]);
    check(&world, backup, 1, "unknown-user-backup");
    let user = world.tenant().users()[0].principal_name.clone();
    world.run(&["backup", "-q", "--user", &user]).assert(0);
    let ls = world.run(&["ls", "--owner", "nobody@contoso.example"]);
    check(&world, ls, 1, "unknown-user-ls");
    let to = [
        "restore",
        "latest",
        "--owner",
        &user,
        "--to",
        "nobody@contoso.example",
        "--yes",
    ];
    check(&world, world.run(&to), 1, "unknown-user-restore");
}

#[test]
fn a_missing_permission_is_22() {
    let world = World::with_store(26);
    world.tenant().set_permissions(["Mail.ReadWrite"]);
    let said = world.run(&["backup", "--no-progress"]);
    check(&world, said, 22, "missing-permission");
}

#[test]
fn quarantined_items_are_named_and_end_with_3_until_they_can_be_had() {
    let world = World::with_store(31);
    let corrupt = FaultRule::new("*/$value", Fault::CorruptItem)
        .after(4)
        .times(1);
    world.tenant().set_faults(FaultPlan::new(1).with(corrupt));
    let said = world.run(&["backup", "--no-progress"]).assert(3);
    assert!(said.out.contains("quarantined: outlook:"), "{}", said.out);
    assert!(said.out.contains("1 quarantined"), "{}", said.out);
    assert!(
        world.run(&["ls"]).assert(0).out.contains("(quarantined: "),
        "ls shows it too"
    );
    world.tenant().set_faults(FaultPlan::default());
    let healed = world.run(&["backup", "--json"]).assert(0).summary();
    assert_eq!(healed["totals"]["quarantined"], 0);
    assert!(!world.run(&["ls"]).assert(0).out.contains("(quarantined: "));
}

#[test]
fn a_mailbox_that_cannot_be_read_makes_the_run_partial_and_spares_the_others() {
    let world = World::with_store(32);
    let user = world.tenant().users()[0].clone();
    let denied = Fault::Refused(403, "ErrorAccessDenied".to_owned());
    let refused = FaultRule::new("*mailFolders/delta*", denied).containing(&user.id);
    world.tenant().set_faults(FaultPlan::new(1).with(refused));
    let said = world.run(&["backup", "--no-progress"]).assert(4);
    let failed = format!("failed: {}", user.principal_name);
    assert!(said.out.contains(&failed), "{}", said.out);
    world.tenant().set_faults(FaultPlan::default());
    world.run(&["backup", "--json"]).assert(0);
    world.run(&["check", "--all-data"]).assert(0);
}

#[test]
fn throttling_beyond_patience_is_21() {
    let world = World::with_store(33);
    let for_hours = FaultRule::new("GET */users", Fault::Throttled(Some(7_200)));
    world.tenant().set_faults(FaultPlan::new(1).with(for_hours));
    let said = world.run(&["backup", "--no-progress"]);
    check(&world, said, 21, "throttled");
}

#[test]
fn a_config_that_cannot_be_read_is_2() {
    let world = World::new(27);
    let config = |text: &str, words: &str| {
        fs::write(world.path("set.toml"), text).unwrap();
        check(&world, world.run(&["backup"]), 2, words);
    };
    config("name = 'x\n", "config-not-toml");
    config("name = 'x'\n[tenant]\nid = 1\n", "config-wrong-type");
    config("name = 'x'\n[selection]\nuser = []\n", "config-unknown-key");
    fs::remove_file(world.path("set.toml")).unwrap();
    check(&world, world.run(&["backup"]), 2, "config-missing");
    check(&world, run_bare(&["backup"]), 2, "config-not-named");
}

#[test]
fn init_leaves_what_is_there_alone() {
    let world = World::with_store(28);
    check(&world, world.run(&["init"]), 1, "init-twice");
    world.run(&["check"]).assert(0);
}

#[test]
fn with_json_a_failure_is_an_object_on_stderr() {
    let world = World::new(29);
    let said = world.run(&["snapshots", "--json"]).assert(10);
    let object: serde_json::Value = serde_json::from_str(said.err.trim()).unwrap();
    assert_eq!(object["message_type"], "error");
    assert_eq!(object["exit_code"], 10);
    assert_eq!(said.out, "");
}

fn largest(packs: Vec<std::path::PathBuf>) -> std::path::PathBuf {
    packs
        .into_iter()
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap()
}

/// A file system of a few megabytes, where this machine lets an ordinary user mount one.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_named_and_after_making_room_the_same_command_completes() {
    let world = World::new(30);
    let script = format!(
        "mkdir small && mount -t tmpfs -o size=24m tmpfs small || exit 77
         run() {{ '{program}' \"$@\" --config set.toml; }}
         run init -q >out 2>err || exit 78
         dd if=/dev/zero of=small/filler bs=64k >/dev/null 2>&1
         run backup -q >out 2>err; echo $? >code
         rm small/filler
         run backup -q >out2 2>err2; echo $? >code2
         run check --all-data -q >out3 2>err3; echo $? >code3",
        program = crate::support::PROGRAM,
    );
    world.configure("small/store", "users = \"all\"");
    let status = std::process::Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
        .current_dir(world.path(""))
        .status();
    match status.map(|status| status.code()) {
        Ok(Some(0)) => {}
        other => {
            eprintln!("not checked here: no private file system can be mounted ({other:?})");
            return;
        }
    }
    let read = |name: &str| fs::read_to_string(world.path(name)).unwrap();
    assert_eq!(read("code").trim(), "1", "{}", read("err"));
    assert!(read("err").contains("no space is left"), "{}", read("err"));
    assert!(read("err").contains("next:"), "{}", read("err"));
    assert_eq!(read("code2").trim(), "0", "{}", read("err2"));
    assert_eq!(read("code3").trim(), "0", "{}", read("err3"));
}
