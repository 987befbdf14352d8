//! What runs did and what changed: runs, report, diff, pin, quota, schedule, alarms.

use std::fs;

use m365_simulator::{ChangeSpec, Fault, FaultPlan, FaultRule};
use serde_json::Value;

use crate::support::{World, assert_words};

/// Adds lines to the config.
fn add(world: &World, lines: &str) {
    let path = world.path("set.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}\n{lines}\n")).unwrap();
}

fn change(world: &World, seed: u64, amount: u64) {
    world.tenant().change(&ChangeSpec { seed, amount });
}

fn of_type(objects: &[Value], kind: &str) -> Vec<Value> {
    let own = objects
        .iter()
        .filter(|object| object["message_type"] == kind);
    own.cloned().collect()
}

#[test]
fn runs_lists_every_run_with_what_it_did() {
    let world = World::with_store(61);
    let none = world.run(&["runs"]).assert(0);
    assert!(none.err.contains("no runs yet"), "{}", none.err);
    let first = world.run(&["backup", "--json"]).assert(0).summary();
    let user = world.tenant().users()[0].principal_name.clone();
    world.run(&["backup", "-q", "--user", &user]).assert(0);
    world.run(&["sync-check", "-q"]).assert(0);
    let listed = world.run(&["runs", "--json"]).assert(0);
    let runs = of_type(&listed.objects(), "run");
    assert_eq!(runs.len(), 3);
    assert_eq!(runs[0]["run"], first["run"]);
    assert_eq!(runs[0]["totals"], first["totals"]);
    assert_eq!(runs[0]["resources"], first["resources"]);
    assert_eq!(
        (&runs[0]["part"], &runs[1]["part"]),
        (&false.into(), &true.into())
    );
    assert!(runs[1]["drift"].is_null() && !runs[2]["drift"].is_null());
    assert_eq!(listed.summary()["runs"], 3);
    let last = world.run(&["runs", "--last", "1"]).assert(0);
    assert!(last.out.contains("complete, checked"), "{}", last.out);
    assert_eq!(last.out.lines().count(), 2, "{}", last.out);
}

#[test]
fn the_report_names_everything_that_is_not_protected_by_reason_code() {
    let world = World::with_store(62);
    let none = world.run(&["report"]).assert(1);
    assert!(none.err.contains("no run to report on"), "{}", none.err);
    world.run(&["backup", "-q"]).assert(0);
    let clean = world.run(&["report", "--json"]).assert(0);
    let clean_items = clean.summary()["items"].as_u64().unwrap();
    assert!(clean_items > 60);
    let corrupt = FaultRule::new("*/$value", Fault::CorruptItem);
    world.tenant().set_faults(FaultPlan::new(1).with(corrupt));
    change(&world, 5, 40);
    let after = world.run(&["backup", "--json"]);
    let after = after.objects().pop().unwrap();
    world.tenant().set_faults(FaultPlan::default());
    let said = world.run(&["report", "--json", "--items"]).assert(0);
    let found = of_type(&said.objects(), "unprotected");
    let quarantined: Vec<_> = found
        .iter()
        .filter(|one| one["code"] == "quarantined")
        .collect();
    let expected = after["totals"]["quarantined"].as_u64().unwrap();
    assert!(expected > 0, "{after}");
    let counted: u64 = quarantined
        .iter()
        .map(|one| one["count"].as_u64().unwrap())
        .sum();
    assert_eq!(counted, expected);
    assert!(quarantined.iter().all(|one| one["name"].is_string()));
    assert_eq!(said.summary()["unprotected"]["quarantined"], expected);
    let table = world.run(&["report"]).assert(0);
    assert!(table.out.contains("not protected:"), "{}", table.out);

    let user = world.tenant().users()[0].principal_name.clone();
    let path = world.path("set.toml");
    let text = fs::read_to_string(&path).unwrap();
    let text = text.replace(
        "users = \"all\"",
        &format!("users = \"all\"\nexclude = ['{user}']"),
    );
    fs::write(&path, text).unwrap();
    world.run(&["backup", "-q"]).assert(0);
    let said = world.run(&["report", "--json"]).assert(0);
    let gone = of_type(&said.objects(), "unprotected");
    let gone: Vec<_> = gone
        .iter()
        .filter(|one| one["code"] == "not-selected")
        .collect();
    assert!(
        !gone.is_empty() && gone.iter().all(|one| one["owner"] == user.as_str()),
        "{gone:?}"
    );
    let first = world.run(&["runs", "--json"]).assert(0).objects()[0]["run"].clone();
    let back = world
        .run(&["report", "--json", first.as_str().unwrap()])
        .assert(0);
    assert_eq!(back.summary()["items"], clean_items, "the run as it was");
    assert_eq!(
        back.summary()["unprotected"],
        clean.summary()["unprotected"]
    );
}

#[test]
fn diff_counts_what_the_run_counted() {
    let world = World::with_store(63);
    world.run(&["backup", "-q"]).assert(0);
    change(&world, 7, 60);
    let said = world.run(&["backup", "--json"]).assert(0);
    let mut compared = 0;
    for finished in of_type(&said.objects(), "resource_finished") {
        let totals = &finished["totals"];
        let number = |name: &str| totals[name].as_u64().unwrap();
        let Some(snapshot) = finished["snapshot"].as_str() else {
            continue;
        };
        if number("stored") + number("removed") == 0 {
            continue;
        }
        let newest = world.run(&["snapshots", "--json", "--latest"]).assert(0);
        let all = newest.objects();
        let newest = all
            .iter()
            .find(|entry| entry["resource"] == finished["resource"])
            .unwrap();
        let id = newest["id"].as_str().unwrap();
        let diff = world.run(&["diff", "--json", id]).assert(0).summary();
        let count = |name: &str| diff[name].as_u64().unwrap();
        assert_eq!(
            count("removed"),
            number("removed"),
            "{snapshot} {diff} {totals}"
        );
        assert_eq!(count("moved"), number("moved"), "{diff} {totals}");
        assert!(
            count("added") + count("rewritten") <= number("stored"),
            "{diff} {totals}"
        );
        assert_eq!(diff["after"], id);
        let table = world.run(&["diff", id]).assert(0).out;
        assert!(table.lines().last().unwrap().starts_with("all"), "{table}");
        let before = diff["before"].as_str().unwrap();
        let back = world
            .run(&["diff", "--json", id, before])
            .assert(0)
            .summary();
        assert_eq!(
            (&back["added"], &back["removed"]),
            (&diff["removed"], &diff["added"])
        );
        compared += 1;
    }
    assert!(compared >= 3, "{compared}");
    let ids = world
        .run(&["snapshots", "--json", "--latest"])
        .assert(0)
        .objects();
    let two: Vec<&str> = ids
        .iter()
        .filter_map(|entry| entry["id"].as_str())
        .take(2)
        .collect();
    let said = world.run(&["diff", two[0], two[1]]).assert(2);
    assert!(said.err.contains("the snapshots are of"), "{}", said.err);
}

#[test]
fn a_mass_change_is_an_alarm_in_the_run_its_record_and_the_diff() {
    let world = World::with_store(64);
    add(
        &world,
        "[alarm]\nrewritten-percent = 20\nremoved-percent = 20\nitems-min = 3",
    );
    let first = world.run(&["backup", "--json"]).assert(0).summary();
    assert_eq!(
        first["alarms"],
        Value::Array(Vec::new()),
        "a first backup is no change"
    );
    change(&world, 9, 100);
    let said = world.run(&["backup", "--json"]).assert(0);
    let alarms = said.summary()["alarms"].as_array().unwrap().clone();
    assert!(!alarms.is_empty());
    assert!(said.err.contains("mass change in"), "{}", said.err);
    let runs = world
        .run(&["runs", "--json", "--last", "1"])
        .assert(0)
        .objects();
    assert_eq!(runs[0]["alarms"], Value::Array(alarms.clone()));
    let newest = world
        .run(&["snapshots", "--json", "--latest"])
        .assert(0)
        .objects();
    let alarmed = newest
        .iter()
        .find(|entry| entry["resource"] == alarms[0]["resource"])
        .unwrap();
    let diff = world
        .run(&["diff", "--json", alarmed["id"].as_str().unwrap()])
        .assert(0);
    assert_eq!(diff.summary()["alarming"], true);
    assert_eq!(diff.summary()["rewritten"], alarms[0]["rewritten"]);
    let idle = world.run(&["backup", "--json"]).assert(0).summary();
    assert_eq!(idle["alarms"], Value::Array(Vec::new()));
}

#[test]
fn pins_hold_against_retention_and_prune_until_they_are_removed() {
    let world = World::with_store(65);
    world.run(&["backup", "-q"]).assert(0);
    let first = world.run(&["snapshots", "--json"]).assert(0).objects();
    for seed in 1..4 {
        change(&world, seed, 40);
        world.run(&["backup", "-q"]).assert(0);
    }
    add(&world, "[retention]\nkeep-last = 1");
    let (id, owner) = (
        first[0]["id"].as_str().unwrap(),
        first[0]["owner"].as_str().unwrap(),
    );
    let held = world
        .tenant()
        .users()
        .into_iter()
        .map(|user| user.principal_name);
    let held = held.into_iter().find(|name| name != owner).unwrap();
    world
        .run(&["pin", "add", &id[..10], "--reason", "before the move"])
        .assert(0);
    world
        .run(&[
            "pin",
            "add",
            "--owner",
            &held.to_uppercase(),
            "--reason",
            "case 17",
        ])
        .assert(0);
    world
        .run(&["pin", "add", "--owner", &held, "--reason", "case 18"])
        .assert(0);
    let listed = world.run(&["pin", "list", "--json"]).assert(0);
    assert_eq!(listed.summary()["pins"], 2, "pinning twice is once");
    let table = world.run(&["pin", "list"]).assert(0).out;
    assert!(
        table.contains("case 18") && !table.contains("case 17"),
        "{table}"
    );

    let count_of_held = || {
        let all = world
            .run(&["snapshots", "--json", "--owner", &held])
            .assert(0);
        all.summary()["snapshots"].as_u64().unwrap()
    };
    let before = count_of_held();
    world.run(&["retention", "apply", "--yes", "-q"]).assert(0);
    assert_eq!(count_of_held(), before, "everything of who is held stays");
    let all = world.run(&["snapshots", "--json"]).assert(0).objects();
    assert!(
        all.iter().any(|entry| entry["id"] == id),
        "the pinned snapshot stays"
    );
    let others = all.iter().filter(|entry| entry["owner"] == owner);
    assert!(others.count() < first.len() * 4);
    let forced = world.run(&["prune", "--forget", id, "--dry-run"]).assert(0);
    assert!(forced.out.contains("nothing"), "{}", forced.out);

    world.run(&["pin", "remove", &id[..8]]).assert(0);
    world.run(&["pin", "remove", "--owner", &held]).assert(0);
    world.run(&["pin", "remove", "--owner", &held]).assert(1);
    world.run(&["retention", "apply", "--yes", "-q"]).assert(0);
    assert!(count_of_held() < before);
    let all = world.run(&["snapshots", "--json"]).assert(0).objects();
    assert!(!all.iter().any(|entry| entry["id"] == id));
    world.run(&["check", "--all-data", "-q"]).assert(0);

    fs::write(world.path("set.pins.toml"), "[[pin]]\nsnapshto = 'x'\n").unwrap();
    let said = world.run(&["retention", "apply", "--yes"]).assert(2);
    assert!(said.err.contains("cannot be understood"), "{}", said.err);
}

#[test]
fn a_backup_that_is_not_due_does_nothing_and_says_so() {
    let world = World::with_store(66);
    let before = world
        .tenant()
        .counters()
        .routes()
        .map(|(_, count)| count)
        .sum::<u64>();
    let part = world.tenant().users()[0].principal_name.clone();
    world.run(&["backup", "-q", "--user", &part]).assert(0);
    world.run(&["backup", "--due", "-q"]).assert(0);
    let asked = || {
        world
            .tenant()
            .counters()
            .routes()
            .map(|(_, count)| count)
            .sum::<u64>()
    };
    let first = asked();
    assert!(
        first > before,
        "a part of the set is not the set: the first is due"
    );
    assert_eq!(
        world.run(&["runs", "--json"]).assert(0).summary()["runs"],
        2
    );
    let said = world.run(&["backup", "--due"]).assert(0);
    assert!(
        said.out
            .starts_with("nothing is due; the next backup is due at "),
        "{}",
        said.out
    );
    assert_eq!(asked(), first, "the tenant is not even asked");
    let json = world
        .run(&["backup", "--due", "--json"])
        .assert(0)
        .summary();
    assert_eq!(json["outcome"], "nothing is due");
    world.run(&["backup", "--due", "--user", "x"]).assert(2);
    add(&world, "[schedule]\nevery-hours = 0");
    let said = world.run(&["backup", "--due"]).assert(2);
    assert_words("config-never-due", &world.plain(&said.err));
}

#[test]
fn a_soft_quota_warns_and_a_hard_one_refuses_until_space_is_freed() {
    let world = World::with_store(67);
    let set = fs::read_to_string(world.path("set.toml")).unwrap();
    let quota = |lines: &str| {
        fs::write(world.path("set.toml"), format!("{set}\n{lines}\n")).unwrap();
    };
    quota("[quota]\nstored = { soft-gib = 0.0000001, hard-gib = 1 }");
    let said = world.run(&["backup", "--no-progress"]).assert(0);
    assert!(said.err.contains("nothing is refused yet"), "{}", said.err);
    quota("[quota]\nlogical = { hard-gib = 0.0001 }");
    let said = world.run(&["backup", "--no-progress"]).assert(1);
    assert!(said.err.contains("the quota is used up"), "{}", said.err);
    assert!(said.err.contains("retention apply"), "{}", said.err);
    let before = world.run(&["runs", "--json"]).assert(0).summary();
    assert_eq!(before["runs"], 1, "nothing was begun");
    world.run(&["worker", "--no-progress"]).assert(1);
    quota("[quota]\nlogical = { hard-gib = 1 }");
    world.run(&["backup", "-q"]).assert(0);
    quota("[quota]\nstored = { soft-gib = 2, hard-gib = 1 }");
    let said = world.run(&["backup"]).assert(2);
    assert_words("config-quota", &world.plain(&said.err));
}
