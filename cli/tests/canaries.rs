//! Secrets planted wherever the program takes one; no output of any command shows one.

use std::fs;

use m365_simulator::{Fault, FaultPlan, FaultRule};

use crate::auth::{begin, end};
use crate::support::{Said, World, files};

/// What every planted secret holds.
const CANARY: &str = "canary7f3a";

/// Runs commands as chatty as they can be, and gathers all they say.
struct Ear<'a> {
    world: &'a World,
    heard: String,
    runs: usize,
}

impl Ear<'_> {
    fn new(world: &World) -> Ear<'_> {
        Ear {
            world,
            heard: String::new(),
            runs: 0,
        }
    }

    fn hear(&mut self, args: &[&str]) -> Option<i32> {
        self.hear_with(args, &[])
    }

    /// Runs a command with secrets in its environment.
    fn hear_with(&mut self, args: &[&str], environment: &[(&str, &str)]) -> Option<i32> {
        let more: [&[&str]; 2] = [&["-vvv", "--log-file", "log"], &["--json", "-vvv"]];
        let mut code = None;
        for more in more {
            let mut command = self.world.command(&[args, more].concat());
            let said = Said::of(&command.envs(environment.iter().copied()).output().unwrap());
            self.heard.push_str(&said.out);
            self.heard.push_str(&said.err);
            self.runs += 1;
            code = said.code;
        }
        code
    }

    /// Looks for what was planted, and for what the tenant gave out, in all that was said, and in all
    /// that was left on disk: the log, the state folder with journal and coordinator, the store.
    fn find_none(&self, planted: &[&str]) {
        let log = fs::read_to_string(self.world.path("log")).unwrap();
        let left = |name: &str| -> String {
            let kept = files(&self.world.path(name)).into_iter();
            // The key of the sign-ins lies beside them by default, and opens this file alone.
            let kept = kept.filter(|path| !path.ends_with("tokens.key"));
            kept.map(|path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned())
                .collect()
        };
        let mut secrets = secrets(self.world);
        secrets.extend(planted.iter().map(|text| (*text).to_owned()));
        let mut searched = 0;
        for (name, text) in [
            ("output", &self.heard),
            ("log", &log),
            ("state folder", &left("state")),
            ("store", &left("store")),
        ] {
            searched += text.len();
            for secret in &secrets {
                if let Some(place) = text.find(secret) {
                    let from = text.floor_char_boundary(place.saturating_sub(300));
                    let until = text.ceil_char_boundary((place + 100).min(text.len()));
                    panic!("the {name} shows a secret: …{}…", &text[from..until]);
                }
            }
        }
        assert!(
            log.len() > 10_000 && self.heard.len() > 10_000,
            "the net was wide"
        );
        println!(
            "{} runs, {} secrets, {searched} bytes of outputs searched",
            self.runs,
            secrets.len()
        );
    }
}

/// Everything that opens a door: what was planted, and what the tenant gave out.
fn secrets(world: &World) -> Vec<String> {
    let mut secrets = vec![CANARY.to_owned(), "correct horse".to_owned()];
    secrets.push(world.tenant().app().client_secret);
    secrets.extend(world.tenant().secrets_given());
    // Tokens and assertions are signed JSON, and begin as such do: `{"alg":"`. Fewer letters of it
    // turn up by chance in what is sealed.
    secrets.push("eyJhbGciOiJ".to_owned());
    // Addresses that are their own permission.
    let content = &world.tenant().urls().content;
    secrets.extend(["download/", "upload/"].map(|path| format!("{content}{path}")));
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
    let site = format!("sharepoint = '{}'", world.tenant().urls().sharepoint);
    let certificate = format!("client-certificate = 'app.pem'\nclient-key = 'app.key'\n{site}");
    let mut ear = Ear::new(&world);
    let user = world.tenant().users()[0].principal_name.clone();
    world.run(&["init", "-vvv", "--log-file", "log"]).assert(0);
    for proof in [&certificate, "client-secret = { file = 'secret' }"] {
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
            &certificate,
            &format!("[network]\nca-file = 'ca.pem'\n{proxy}"),
        );
        assert_ne!(ear.hear(&["auth", "test"]), Some(0), "{proxy}");
    }
    world.configure_with(&certificate, network);
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
    ear.find_none(&[]);
    assert!(ear.runs > 30);
}

#[test]
fn no_key_sign_in_or_database_is_opened_by_what_is_said() {
    let world = World::secured(81);
    let network = "[network]\nproxy = 'none'\nca-file = 'ca.pem'";
    let mut ear = Ear::new(&world);
    fs::write(world.path("planted"), format!("{CANARY}\n")).unwrap();
    let person = world.tenant().users()[0].principal_name.clone();
    world.configure_with(&format!("sign-in-as = '{person}'"), network);
    let (program, out, object) = begin(&world, "device");
    let code = object["code"].as_str().unwrap();
    assert!(world.tenant().type_device_code(code, &person));
    let given = world.tenant().secrets_given();
    let (code, text) = end(program, out);
    assert_eq!(code, 0, "{text}");
    ear.heard.push_str(&text);
    assert_eq!(ear.hear(&["auth", "test"]), Some(0));
    world.run(&["init", "--recovery-kit", "kit.txt"]).assert(0);
    assert_eq!(ear.hear(&["backup", "--user", &person]), Some(0));
    for report in [&["report"][..], &["runs"], &["stats"], &["check"]] {
        ear.hear(report);
    }
    // What opens the store: a page to print, a file, and the same wrongly.
    let kit = fs::read_to_string(world.path("kit.txt")).unwrap();
    let mut lines = kit.lines().skip_while(|line| *line != "Recovery code");
    let recovery = lines.nth(2).unwrap().trim().to_owned();
    fs::write(world.path("code"), &recovery).unwrap();
    assert_eq!(ear.hear(&["snapshots", "--recovery-code=code"]), Some(0));
    fs::write(
        world.path("broken"),
        recovery.replacen(&recovery[..2], "zz", 1),
    )
    .unwrap();
    assert_ne!(ear.hear(&["snapshots", "--recovery-code=broken"]), Some(0));
    assert_ne!(ear.hear(&["snapshots", "--key-file", "planted"]), Some(0));
    world
        .run(&["key", "add", "--new-key-file", "k.key"])
        .assert(0);
    let file = fs::read_to_string(world.path("k.key")).unwrap();
    let file = file
        .lines()
        .max_by_key(|line| line.len())
        .unwrap()
        .to_owned();
    ear.hear(&["key", "list"]);
    // A database and object stores that cannot be reached, and an Exchange that refuses.
    let proof = format!("sign-in-as = '{person}'");
    let nowhere = format!("postgres://u:{CANARY}@127.0.0.1:9/db?application_name={CANARY}");
    for address in [
        nowhere.as_str(),
        CANARY,
        "postgres://canary7f3a:canary7f3a@[::/",
    ] {
        fs::write(world.path("database"), address).unwrap();
        let coordinator = "[coordinator]\npostgres = { file = 'database' }\npatience-seconds = 0";
        world.configure_with(&proof, &format!("{network}\n{coordinator}"));
        assert_ne!(ear.hear(&["backup"]), Some(0), "{address}");
    }
    let environment = [
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", CANARY),
        ("AWS_SESSION_TOKEN", CANARY),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
        ("AZURE_STORAGE_ACCOUNT", "account"),
        ("AZURE_STORAGE_SAS_TOKEN", "sv=2026&sig=canary7f3a"),
    ];
    for place in ["s3://bucket/x", "azure://container/x"] {
        let code = ear.hear_with(&["snapshots", "--store", place], &environment);
        assert_ne!(code, Some(0), "{place}");
    }
    let exchange =
        "ews = { authentication = 'basic', user = 'svc', password = { file = 'planted' } }";
    world.configure_with(&format!("{proof}\n{exchange}"), network);
    assert_ne!(ear.hear(&["auth", "test"]), Some(0));
    let encoded = "c3ZjOmNhbmFyeTdmM2E";
    let mut planted: Vec<&str> = given.iter().map(String::as_str).collect();
    planted.extend([recovery.as_str(), &file, encoded]);
    ear.find_none(&planted);
}
