//! Signing in, and finding out why it does not work: over TLS with a private authority, by config
//! alone.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};

use serde_json::Value;
use url::Url;

use crate::support::{Said, World, assert_words};

/// Replaces what depends on the machine or the run.
fn plain(world: &World, text: &str) -> String {
    let mut text = world.plain(text);
    for url in [
        &world.server.urls().login,
        &world.server.urls().graph,
        &world.server.urls().ews,
    ] {
        let port = url.port().unwrap().to_string();
        text = text.replace(&port, "[PORT]");
    }
    let mut plain = String::new();
    for line in text.lines() {
        let cut = |at: &str, end: &str| {
            let (before, _) = line.split_once(at).filter(|_| line.ends_with(end))?;
            Some(format!("{before}{at}[TIME]{end}"))
        };
        let shown = cut(" after ", " ms").or_else(|| cut(" is valid for ", " days"));
        let line = shown.unwrap_or_else(|| line.to_owned());
        plain.push_str(&line);
        plain.push('\n');
    }
    plain
}

/// Returns what each check of `--json` came to.
fn outcomes(said: &Said) -> Vec<(String, String)> {
    let text = |object: &Value, field: &str| object[field].as_str().unwrap_or_default().to_owned();
    let objects = said.objects();
    let checks = objects
        .iter()
        .filter(|object| object["message_type"] == "check");
    checks
        .map(|object| (text(object, "check"), text(object, "outcome")))
        .collect()
}

#[test]
fn a_whole_story_over_tls_by_config_alone() {
    let world = World::secured(70);
    let said = world.run(&["auth", "test"]).assert(0);
    assert_words("auth-test", &plain(&world, &said.out));
    let found = outcomes(&world.run(&["auth", "test", "--json"]).assert(0));
    let good = found.iter().filter(|(_, outcome)| outcome == "ok").count();
    assert!(good >= 11, "{found:?}");
    world.run(&["init"]).assert(0);
    world.run(&["backup", "-q"]).assert(0);
    let user = world.tenant().users()[0].principal_name.clone();
    let hits = world.run(&["find", "e", "--json"]).assert(0);
    assert!(hits.objects().len() > 10, "{}", hits.out);
    let to = &world.tenant().users()[1].principal_name;
    let restore = [
        "restore",
        "latest",
        "--owner",
        &user,
        "--service",
        "outlook",
        "--to",
        to,
        "--yes",
    ];
    world.run(&restore).assert(0);
    world.run(&["check", "--all-data"]).assert(0);
}

#[test]
fn a_private_authority_that_is_not_trusted_is_named_with_what_to_do() {
    let world = World::secured(71);
    world.configure_with(
        "client-certificate = 'app.pem'\nclient-key = 'app.key'",
        "[network]\nproxy = 'none'",
    );
    let said = world.run(&["auth", "test"]).assert(1);
    assert!(said.out.contains("`network.ca-file`"), "{}", said.out);
    let backup = world.run(&["init"]);
    assert_eq!(
        backup.code,
        Some(0),
        "a store needs no tenant: {}",
        backup.err
    );
}

#[test]
fn every_missing_permission_is_named_with_what_needs_it() {
    let world = World::secured(72);
    let check = |permissions: &[&str], code: i32, words: &str| {
        world.tenant().set_permissions(permissions.iter().copied());
        let said = world.run(&["auth", "doctor"]).assert(code);
        assert_words(words, &plain(&world, &said.out));
    };
    let reading = [
        "User.Read.All",
        "MailboxSettings.Read",
        "Mail.Read",
        "Files.Read.All",
    ];
    check(
        &[&reading[..], &["full_access_as_app"]].concat(),
        0,
        "auth-doctor-read-only",
    );
    check(
        &["User.Read.All", "Mail.ReadBasic.All", "Files.ReadWrite.All"],
        22,
        "auth-doctor-missing",
    );
    let said = world.run(&["auth", "test"]).assert(22);
    assert!(said.out.contains("full_access_as_app"), "{}", said.out);
}

#[test]
fn another_app_may_restore_and_is_examined_too() {
    let world = World::secured(73);
    fs::write(world.path("wrong"), "not the secret").unwrap();
    let app = world.tenant().app().client_id;
    world.configure_with(
        "client-secret = { file = 'secret' }\nclient-secret-expires = 2001-01-01",
        &format!(
            "[tenant.restore]\nclient-id = '{app}'\nclient-secret = {{ file = 'wrong' }}\n\
             [network]\nproxy = 'none'\nca-file = 'ca.pem'"
        ),
    );
    let said = world.run(&["auth", "test"]).assert(20);
    assert!(
        said.out.contains("the client secret has expired"),
        "{}",
        said.out
    );
    assert!(said.out.contains("ok       mail"), "{}", said.out);
    let said = world.run(&["auth", "test", "--restore"]).assert(20);
    assert!(said.out.contains("failed   token"), "{}", said.out);
    assert!(said.out.contains("AADSTS7000215"), "{}", said.out);
    let said = world.run(&["auth", "doctor", "--json"]).assert(20);
    let failed = outcomes(&said)
        .into_iter()
        .filter(|(_, outcome)| outcome == "failed");
    assert_eq!(
        failed.map(|(check, _)| check).collect::<Vec<_>>(),
        ["credential", "token"]
    );
}

#[test]
fn what_cannot_be_reached_is_named() {
    let world = World::secured(74);
    let certificate = "client-certificate = 'app.pem'\nclient-key = 'app.key'";
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let proxy =
        format!("[network]\nca-file = 'ca.pem'\nproxy = {{ url = 'http://127.0.0.1:{port}' }}\n");
    world.configure_with(certificate, &proxy);
    let said = world.run(&["auth", "test"]).assert(1);
    assert!(said.out.contains("failed   proxy"), "{}", said.out);
    assert!(said.out.contains("`network.proxy`"), "{}", said.out);
    let text = fs::read_to_string(world.path("set.toml")).unwrap();
    let graph = world.server.urls().graph.as_str();
    let text = text.replace(graph, "https://graph.contoso.invalid/");
    let text = text.replace(
        proxy.as_str(),
        "[network]\nproxy = 'none'\nca-file = 'ca.pem'\n",
    );
    fs::write(world.path("set.toml"), text).unwrap();
    let said = world.run(&["auth", "test"]).assert(1);
    let words = "no address is found for graph.contoso.invalid";
    assert!(said.out.contains(words), "{}", said.out);
}

/// Starts a sign-in, and returns the program with the first object that it printed.
pub(crate) fn begin(
    world: &World,
    how: &str,
) -> (Child, BufReader<std::process::ChildStdout>, Value) {
    let mut command = world.command(&["auth", "login", "--json", "--how", how]);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut program = piped.stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(program.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    let object = serde_json::from_str(&line).unwrap_or_default();
    (program, out, object)
}

pub(crate) fn end(
    mut program: Child,
    mut out: BufReader<std::process::ChildStdout>,
) -> (i32, String) {
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    let mut error = String::new();
    program
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut error)
        .unwrap();
    (program.wait().unwrap().code().unwrap(), text + &error)
}

/// A world in plain HTTP, which the browser of these tests speaks, with a person to sign in.
fn with_person(seed: u64) -> (World, String) {
    let world = World::new(seed);
    let person = world.tenant().users()[0].principal_name.clone();
    world.configure_with(
        &format!("sign-in-as = '{person}'"),
        "[network]\nproxy = 'none'",
    );
    (world, person)
}

/// Opens an address as a browser does, and returns where it is sent.
fn browse(url: &Url) -> Option<Url> {
    let address = url.socket_addrs(|| None).unwrap();
    let mut socket = TcpStream::connect(&address[..]).unwrap();
    let target = &url[url::Position::BeforePath..];
    let host = &url[url::Position::BeforeHost..url::Position::BeforePath];
    let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    socket.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let mut headers = answer.lines().filter_map(|line| line.split_once(": "));
    let location = headers.find(|(name, _)| name.eq_ignore_ascii_case("location"));
    location.map(|(_, value)| Url::parse(value).unwrap())
}

#[test]
fn a_person_signs_in_by_device_and_the_program_goes_on_alone() {
    let (world, person) = with_person(75);
    let said = world.run(&["auth", "test"]).assert(20);
    assert!(said.out.contains("has not signed in"), "{}", said.out);
    let (program, out, object) = begin(&world, "device");
    let code = object["code"]
        .as_str()
        .unwrap_or_else(|| panic!("{object}"));
    assert!(world.tenant().type_device_code(code, &person));
    let (code, text) = end(program, out);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("signed in"), "{text}");
    world.run(&["auth", "test"]).assert(0);
    world.run(&["init"]).assert(0);
    world.run(&["backup", "-q", "--user", &person]).assert(0);
    world.run(&["auth", "login", "--forget"]).assert(0);
    world.run(&["auth", "test"]).assert(20);
}

#[test]
fn a_person_signs_in_by_browser_or_by_pasting_its_last_address() {
    let (world, _) = with_person(76);
    let (program, out, object) = begin(&world, "browser");
    let page = Url::parse(object["url"].as_str().unwrap()).unwrap();
    let back = browse(&page).unwrap();
    assert_eq!(back.host_str(), Some("localhost"));
    assert_eq!(browse(&back), None);
    let (code, text) = end(program, out);
    assert_eq!(code, 0, "{text}");
    world.run(&["auth", "login", "--forget"]).assert(0);
    let (mut program, out, object) = begin(&world, "paste");
    let page = Url::parse(object["url"].as_str().unwrap()).unwrap();
    let last = browse(&page).unwrap();
    let mut stdin = program.stdin.take().unwrap();
    writeln!(stdin, "{last}").unwrap();
    let (code, text) = end(program, out);
    assert_eq!(code, 0, "{text}");
    world.run(&["auth", "test"]).assert(0);
    let (mut program, out, _) = begin(&world, "paste");
    writeln!(
        program.stdin.take().unwrap(),
        "https://elsewhere.example/?code=canary"
    )
    .unwrap();
    let (code, text) = end(program, out);
    assert_ne!(code, 0, "{text}");
    assert!(!text.contains("canary"), "{text}");
}

#[test]
fn an_app_that_proves_itself_has_nobody_to_sign_in() {
    let world = World::new(77);
    let said = world.run(&["auth", "login"]).assert(2);
    assert_words("auth-login-nobody", &world.plain(&said.err));
}
