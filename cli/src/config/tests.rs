//! Tests of the config: what is understood, and in which words the rest is refused.

use std::path::Path;

use backup_store::backend::BackendPlace;

use super::{Config, CredentialChoice, EXAMPLE, Machine, ProxyChoice, SecretSource, Users};

fn check(text: &str, expected: &str) {
    let failure = Config::parse(text, "set.toml").unwrap_err();
    assert_eq!(failure.to_string(), expected);
}

/// Says what is wrong with the table of a tenant, which begins in line 2.
#[track_caller]
fn check_tenant(table: &str, cause: &str) {
    let text = format!("name = 'a'\n[tenant]\n{table}");
    let failure = Config::parse(&text, "set.toml").unwrap_err();
    let words = failure.to_string();
    assert!(words.contains(&format!("  cause: {cause}\n")), "{words}");
}

fn parse(tenant: &str) -> Config {
    let text = format!("name = 'a'\n[tenant]\nid = 't'\n{tenant}");
    Config::parse(&text, "set.toml").unwrap()
}

#[test]
fn the_example_is_a_config() {
    let config = Config::parse(EXAMPLE, "example").unwrap();
    assert_eq!(config.name, "contoso");
    assert_eq!(config.selection.users, Users::Word("all".to_owned()));
    assert_eq!(config.tenant.cloud, m365_auth::Cloud::global());
    let CredentialChoice::Secret { source, .. } = config.tenant.app.credential else {
        panic!("the example shows a secret");
    };
    let expected = SecretSource::Env("M365_BACKUP_CLIENT_SECRET".to_owned());
    assert_eq!(source, expected);
}

#[test]
fn every_commented_setting_of_the_example_is_one_that_is_understood() {
    let mut table = String::new();
    let mut tried = 0;
    for line in EXAMPLE.lines() {
        let setting = line.strip_prefix("# ").unwrap_or(line);
        if setting.starts_with('[') && !setting.contains(' ') {
            table = setting.to_owned();
        }
        let key = setting.split(" = ").next().unwrap_or_default();
        let is_setting = line.starts_with("# ") && key.len() < setting.len() && !key.contains(' ');
        // A table of its own begins with its first key.
        if !is_setting || table == "[tenant.restore]" {
            continue;
        }
        let text = with_setting(&table, key, setting);
        if let Err(failure) = Config::parse(&text, "example") {
            panic!("{line}: {failure}\n{text}");
        }
        tried += 1;
    }
    assert!(tried > 30, "{tried}");
}

/// Puts one setting into a small config, in the place of what contradicts it.
fn with_setting(table: &str, key: &str, setting: &str) -> String {
    let proofs = [
        "client-secret",
        "client-certificate",
        "federated-token-file",
        "managed-identity",
    ];
    let secret = match key {
        "client-key" | "client-certificate-password" => "client-certificate = 'c.pfx'",
        "token-file" | "token-key" => "sign-in-as = 'a'",
        key if proofs.contains(&key) => "",
        _ => "client-secret = { env = 'S' }",
    };
    let mut tables = vec![
        ("", "name = 'a'".to_owned()),
        ("[tenant]", format!("id = 't'\nclient-id = 'c'\n{secret}")),
    ];
    match tables.iter_mut().find(|(name, _)| *name == table) {
        Some((_, lines)) => *lines = format!("{lines}\n{setting}"),
        None => tables.push((table, setting.to_owned())),
    }
    let tables = tables
        .iter()
        .map(|(name, lines)| format!("{name}\n{lines}\n"));
    tables.collect()
}

#[test]
fn the_table_for_restores_of_the_example_is_understood() {
    let (_, table) = EXAMPLE.split_once("# [tenant.restore]").unwrap();
    let lines = table.lines().take_while(|line| !line.starts_with('['));
    let lines: Vec<&str> = lines.filter_map(|line| line.strip_prefix("# ")).collect();
    let config = parse(&format!(
        "client-id = 'a'\nclient-secret = {{ env = 'S' }}\n[tenant.restore]\n{}",
        lines.join("\n")
    ));
    let restore = config.tenant.restore.unwrap();
    assert!(restore.client_id.unwrap().ends_with("1"));
}

#[test]
fn a_custom_cloud_is_its_addresses() {
    let config = parse(
        "client-id = 'a'\nclient-secret = { env = 'S' }\nsharepoint = 'https://127.0.0.1:4'\n\
         cloud = { login = 'http://127.0.0.1:1', graph = 'http://127.0.0.1:2', \
         ews = 'http://127.0.0.1:3/EWS/Exchange.asmx', sharepoint = ['127.0.0.1'] }\n\
         ews = { endpoint = 'https://mail.example/ews' }",
    );
    let cloud = config.tenant.cloud;
    assert_eq!(cloud.authority.as_str(), "http://127.0.0.1:1/");
    assert_eq!(cloud.ews.as_str(), "https://mail.example/ews");
    assert_eq!(cloud.sharepoint_domains, ["127.0.0.1"]);
}

#[test]
fn every_way_to_prove_oneself_is_understood() {
    let credential = |lines: &str| parse(lines).tenant.app.credential;
    let certificate = credential("client-id = 'a'\nclient-certificate = 'c.pem'\nclient-key = 'k'");
    assert!(matches!(
        certificate,
        CredentialChoice::Certificate { key: Some(_), .. }
    ));
    let federated = credential("client-id = 'a'\nfederated-token-file = '/t'");
    assert!(matches!(federated, CredentialChoice::Federated(path) if path == Path::new("/t")));
    let machine = credential("managed-identity = 'app-service'");
    assert!(matches!(
        machine,
        CredentialChoice::Machine(Machine::AppService)
    ));
    let config = parse("client-id = 'a'\nsign-in-as = 'ada@contoso.example'");
    assert!(matches!(
        config.tenant.app.credential,
        CredentialChoice::Public
    ));
    assert_eq!(
        config.tenant.app.person.unwrap().account,
        "ada@contoso.example"
    );
}

#[test]
fn what_contradicts_itself_is_named_with_its_line() {
    let app = "id = 't'\nclient-id = 'a'";
    let secret = "client-secret = { env = 'S' }";
    let basic = "authentication = 'basic', user = 'u', password = { env = 'P' }";
    for (table, cause) in [
        (
            format!("{app}\n{secret}\nclient-certificate = 'c'"),
            "line 2: both `client-secret` and `client-certificate` are given: leave one out",
        ),
        (
            app.to_owned(),
            "line 2: no credential is given: set `client-secret` or `client-certificate` or \
             `federated-token-file` or `managed-identity` or `sign-in-as`",
        ),
        (
            format!("id = 't'\n{secret}"),
            "line 2: missing field `client-id`",
        ),
        (
            format!("client-id = 'a'\n{secret}"),
            "line 2: missing field `id`",
        ),
        (
            format!("{app}\n{secret}\nclient-key = 'k'"),
            "line 2: `client-key` is given without `client-certificate`",
        ),
        (
            format!("{app}\n{secret}\n[tenant.restore]\nid = 'x'\nclient-id = 'b'"),
            "line 2: `id` stands in [tenant] only, not in [tenant.restore]",
        ),
        (
            format!("{app}\n{secret}\ncloud = 'germany'"),
            "line 6: unknown cloud \"germany\": choose global, us-gov-l4, us-gov-l5 or china; or \
             give login, graph and ews",
        ),
        (
            format!("{app}\n{secret}\ncloud = {{ login = 'x' }}"),
            "line 6: relative URL without a base: \"x\"",
        ),
        (
            format!("{app}\n{secret}\news = {{ authentication = 'ntlm' }}"),
            "line 6: ews authentication \"ntlm\" is not supported: turn on hybrid modern \
             authentication at the server and take \"oauth\", or let it take \"basic\" over TLS \
             from this machine",
        ),
        (
            format!("{app}\n{secret}\news = {{ authentication = 'basic', user = 'u' }}"),
            "line 6: ews authentication \"basic\" needs both `user` and `password`",
        ),
        (
            format!("{app}\n{secret}\news = {{ user = 'u' }}"),
            "line 6: ews has `user` or `password` without `authentication = \"basic\"`: add it, or \
             leave them out",
        ),
        (
            format!("{app}\n{secret}\news = {{ {basic} }}"),
            "line 2: Exchange Online takes no passwords: name the address of a server on premises in \
             ews `endpoint`, or take \"oauth\"",
        ),
        (
            format!("{app}\n{secret}\news = {{ endpoint = 'http://127.0.0.1:1', {basic} }}"),
            "line 2: ews authentication \"basic\" sends the password with every call: its address \
             must be https",
        ),
        (
            format!(
                "{app}\n{secret}\news = {{ authentication = 'basic', user = 'u', \
                 password = 'canary' }}"
            ),
            "line 6: a secret is never written here: give { file = … } or { command = … } or \
             { env = … }",
        ),
        (
            format!("{app}\nclient-secret = 'canary'"),
            "line 5: a secret is never written here: give { file = … } or { command = … } or \
             { env = … }",
        ),
        (
            format!("{app}\n{secret}\n[network]\nproxy = 'http://user:pass@proxy'"),
            "line 7: unknown proxy: write \"system\" or \"none\" or \
             { url = … }",
        ),
        (
            format!("{app}\n{secret}\n[network]\nproxy = {{ url = 'http://u:canary@proxy' }}"),
            "line 7: the address of the proxy holds a name or a password: set `user` and \
             `password` instead",
        ),
    ] {
        check_tenant(&table, cause);
    }
}

#[test]
fn places_and_paths_start_at_the_folder_of_the_config() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("set.toml");
    let write = |store: &str| {
        let text = format!(
            "name = 'a'\nstore = '{store}'\n[tenant]\nid = 't'\nclient-id = 'a'\n\
             client-certificate = 'c.pem'\n[network]\nca-file = 'ca.pem'\n\
             proxy = {{ url = 'http://p', user = 'u', password = {{ file = 'p' }} }}\n"
        );
        std::fs::write(&path, text).unwrap();
        Config::read(&path).unwrap()
    };
    let config = write("store");
    let expected = BackendPlace::Directory(folder.path().join("store"));
    assert_eq!(config.store, Some(expected));
    assert_eq!(config.network.ca_file, Some(folder.path().join("ca.pem")));
    let ProxyChoice::Server(server) = config.network.proxy else {
        panic!("a server");
    };
    let password = SecretSource::File(folder.path().join("p"));
    assert_eq!(server.password, Some(password));
    let bucket = write("s3://bucket/contoso").store.unwrap();
    assert_eq!(bucket.to_string(), "s3://bucket/contoso");
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_a_suggestion() {
    check(
        "name = 'a'\nstroe = '/x'\n[tenant]\nid = 'a'\nclient-id = 'b'\n\
         client-secret = { env = 'C' }\n",
        "the config set.toml cannot be understood\n  cause: line 2: unknown field `stroe`\n  \
         next:  did you mean `store`?",
    );
}

#[test]
fn users_are_all_or_a_list() {
    let text = EXAMPLE.replace("users = \"all\"", "users = \"everyone\"");
    check(
        &text,
        "the config set.toml has a `selection.users` that is neither \"all\" nor a list\n  \
         next:  write users = \"all\", or users = [\"ada@contoso.example\"]",
    );
}
