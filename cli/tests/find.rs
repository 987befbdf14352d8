//! Searching: the cache on this machine finds what the store holds, and is there on request only.

use std::collections::BTreeSet;

use m365_simulator::ChangeSpec;

use crate::support::{Said, World};

/// What was found, in any order, and whether it came from the cache.
fn found(said: Said) -> (BTreeSet<String>, bool) {
    let said = said.assert(0);
    let summary = said.summary();
    let mut objects = said.objects();
    objects.retain(|object| object["message_type"] == "item");
    assert_eq!(summary["found"].as_u64(), Some(objects.len() as u64));
    let items = objects.into_iter().map(|object| object.to_string());
    (items.collect(), summary["from_cache"].as_bool().unwrap())
}

/// Searches without the cache and with it; returns how much both found.
fn compare(world: &World, query: &[&str]) -> usize {
    let ask = |how: &[&str]| found(world.run(&[&["find", "--json"], query, how].concat()));
    let (scanned, from_cache) = ask(&["--no-cache"]);
    assert!(!from_cache);
    let (cached, from_cache) = ask(&[]);
    assert!(from_cache);
    assert_eq!(cached, scanned, "{query:?}");
    cached.len()
}

#[test]
fn the_search_cache_finds_what_the_store_holds_and_is_made_on_request_only() {
    let world = World::with_store(46);
    world.run(&["backup", "-q"]).assert(0);
    let contents = world.contents();
    let message = |object: &&serde_json::Value| object["sender"].is_string();
    let message = contents.iter().find(message).unwrap();
    let text = |key: &str| message[key].as_str().unwrap().to_owned();
    let (name, sender) = (text("name"), text("sender"));
    let (_, from_cache) = found(world.run(&["find", "--json", &name]));
    assert!(!from_cache, "nothing makes a cache unasked");
    assert_eq!(caches(&world).len(), 0);

    let built = world.run(&["find", "--build-cache"]).assert(0);
    assert!(built.err.contains("plaintext"), "{}", built.err);
    let [cache] = &caches(&world)[..] else {
        panic!("one cache");
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(cache).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    assert!(cache.exists());
    world.tenant().change(&ChangeSpec::default());
    world.run(&["backup", "-q"]).assert(0);

    assert!(compare(&world, &[&name, "--all-snapshots"]) > 0);
    assert!(
        compare(
            &world,
            &["--subject", &name, "--from", &sender, "--all-snapshots"]
        ) > 0
    );
    assert!(compare(&world, &["--kind", "file", "--all-snapshots"]) > 0);
    assert!(compare(&world, &["--path", "Inbox", "--all-snapshots"]) > 0);
    assert!(compare(&world, &["inbox", &sender, "--all-snapshots"]) > 0);
    assert_eq!(
        compare(&world, &["--kind", "message", "--before", "2000-01-01"]),
        0
    );
    let few = world.run(&["find", "--json", "--path", "Inbox", "--limit", "2"]);
    assert_eq!(found(few).0.len(), 2);
}

#[test]
fn the_config_can_ask_for_the_search_cache() {
    let world = World::with_store(47);
    world.run(&["backup", "-q"]).assert(0);
    let config = std::fs::read_to_string(world.path("set.toml")).unwrap();
    let config = config.replacen("name =", "browse-cache = true\nname =", 1);
    std::fs::write(world.path("set.toml"), config).unwrap();
    let said = world.run(&["find", "--json", "--kind", "message"]);
    assert!(said.err.contains("plaintext"), "{}", said.err);
    let (items, from_cache) = found(said);
    assert!(from_cache && !items.is_empty());
}

/// The caches in the state folder.
fn caches(world: &World) -> Vec<std::path::PathBuf> {
    let folder = world.path("store.state");
    let Ok(stores) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let caches = stores.map(|store| store.unwrap().path().join("browse.sqlite"));
    caches.filter(|path| path.exists()).collect()
}
