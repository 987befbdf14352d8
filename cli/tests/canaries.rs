//! Secrets planted wherever the program takes one; no output of any command shows one.

use std::fs;

use m365_simulator::{Fault, FaultPlan, FaultRule};

use crate::support::{World, files};

/// What every planted secret holds.
const CANARY: &str = "canary7f3a";

/// Runs commands as chatty as they can be, and gathers all they say.
struct Ear<'a> {
    world: &'a World,
    heard: String,
    runs: usize,
}

impl Ear<'_> {
    fn hear(&mut self, args: &[&str]) -> Option<i32> {
        let more: [&[&str]; 2] = [&["-vvv", "--log-file", "log"], &["--json", "-vvv"]];
        let mut code = None;
        for more in more {
            let said = self.world.run(&[args, more].concat());
            self.heard.push_str(&said.out);
            self.heard.push_str(&said.err);
            self.runs += 1;
            code = said.code;
        }
        code
    }
}

/// Everything that opens a door: what was planted, and what the tenant gave out.
fn secrets(world: &World) -> Vec<String> {
    let mut secrets = vec![CANARY.to_owned(), "correct horse".to_owned()];
    secrets.push(world.tenant().app().client_secret);
    // Tokens of the tenant are signed JSON, and begin as such do: `{"alg":"`. Fewer letters of it
    // turn up by chance in what is sealed.
    secrets.push("eyJhbGciOiJ".to_owned());
    let key = fs::read_to_string(world.path("app.key")).unwrap_or_default();
    secrets.extend(key.lines().nth(1).map(str::to_owned));
    for user in world.tenant().users() {
        secrets.extend(world.tenant().password(&user.principal_name));
    }
    secrets
}

#[test]
fn no_command_says_a_secret_however_chatty_it_is() {
    let world = World::secured(80);
    let network = "[network]\nproxy = 'none'\nca-file = 'ca.pem'";
    let certificate = "client-certificate = 'app.pem'\nclient-key = 'app.key'";
    let mut ear = Ear {
        world: &world,
        heard: String::new(),
        runs: 0,
    };
    let user = world.tenant().users()[0].principal_name.clone();
    world.run(&["init", "-vvv", "--log-file", "log"]).assert(0);
    for proof in [certificate, "client-secret = { file = 'secret' }"] {
        world.configure_with(proof, network);
        assert_eq!(ear.hear(&["auth", "test"]), Some(0));
        assert_eq!(ear.hear(&["backup"]), Some(0));
    }
    ear.hear(&["auth", "doctor"]);
    ear.hear(&["find", "e"]);
    ear.hear(&["key", "list"]);
    ear.hear(&[
        "restore",
        "latest",
        "--owner",
        &user,
        "--service",
        "onedrive",
        "--yes",
    ]);
    // Now everything fails, with secrets in what is refused.
    fs::write(world.path("planted"), format!("{CANARY}\n")).unwrap();
    for proof in [
        "client-secret = { file = 'planted' }",
        "client-certificate = 'planted'",
        "federated-token-file = 'planted'",
        "sign-in-as = 'ada'\ntoken-key = { file = 'planted' }",
        "managed-identity = 'app-service'",
        &format!("client-secret = '{CANARY}'"),
        &format!("client-secret = {{ value = '{CANARY}' }}"),
    ] {
        world.configure_with(proof, network);
        assert_ne!(ear.hear(&["auth", "test"]), Some(0), "{proof}");
        assert_ne!(ear.hear(&["backup"]), Some(0), "{proof}");
    }
    for proxy in [
        format!("proxy = 'http://u:{CANARY}@127.0.0.1:9'"),
        format!("proxy = {{ url = 'http://u:{CANARY}@127.0.0.1:9' }}"),
        "proxy = { url = 'http://127.0.0.1:9', user = 'u', password = { file = 'planted' } }"
            .to_owned(),
    ] {
        world.configure_with(
            certificate,
            &format!("[network]\nca-file = 'ca.pem'\n{proxy}"),
        );
        assert_ne!(ear.hear(&["auth", "test"]), Some(0), "{proxy}");
    }
    world.configure_with(certificate, network);
    // A backup waits for connections to come back; that is tried elsewhere.
    for (fault, commands) in [
        (Fault::Reset, &["auth"][..]),
        (
            Fault::Refused(403, "ErrorAccessDenied".to_owned()),
            &["auth", "backup"],
        ),
        (Fault::Throttled(Some(7_200)), &["auth", "backup"]),
    ] {
        let rule = FaultRule::new("*", fault);
        world.tenant().set_faults(FaultPlan::new(1).with(rule));
        for command in commands {
            let test: &[&str] = if *command == "auth" { &["test"] } else { &[] };
            ear.hear(&[&[*command], test].concat());
        }
    }
    world.tenant().set_faults(FaultPlan::default());
    let wrong = ["snapshots", "--passphrase-file", "planted"];
    assert_eq!(ear.hear(&wrong), Some(12));
    let log = fs::read_to_string(world.path("log")).unwrap();
    assert!(log.len() > 10_000 && ear.heard.len() > 10_000 && ear.runs > 30);
    let kept: String = files(&world.path("state"))
        .iter()
        .map(|path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned())
        .collect();
    for (name, text) in [
        ("output", &ear.heard),
        ("log", &log),
        ("state folder", &kept),
    ] {
        for secret in secrets(&world) {
            if let Some(place) = text.find(&secret) {
                let from = text.floor_char_boundary(place.saturating_sub(300));
                let until = text.ceil_char_boundary((place + 100).min(text.len()));
                panic!("the {name} shows a secret: …{}…", &text[from..until]);
            }
        }
    }
}
