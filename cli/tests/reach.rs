//! What `auth test` and `auth doctor` say of everything that can stand in the way of each service:
//! names, proxies, TLS, tokens, permissions.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write as _};
use std::net::TcpListener;

use m365_simulator::server::tls;
use m365_simulator::{Fault, FaultPlan, FaultRule, Server, Tenant};
use tokio::runtime::Runtime;
use url::Url;

use crate::support::{World, assert_words};

/// The services in the order in which they are tried.
const SERVICES: [&str; 4] = ["login", "graph", "ews", "sharepoint"];
const CERTIFICATE: &str = "client-certificate = 'app.pem'\nclient-key = 'app.key'";
const SECRET: &str = "client-secret = { file = 'secret' }";

/// A config of which one thing at a time is wrong.
struct Setup {
    addresses: [String; 4],
    tenant: String,
    client: String,
    proof: String,
    ews: String,
    network: String,
}

impl Setup {
    fn of(world: &World) -> Self {
        let (urls, app) = (world.server.urls(), world.tenant().app());
        let urls = [&urls.login, &urls.graph, &urls.ews, &urls.sharepoint];
        Self {
            addresses: urls.map(ToString::to_string),
            tenant: app.tenant_id,
            client: app.client_id,
            proof: CERTIFICATE.to_owned(),
            ews: String::new(),
            network: "proxy = 'none'\nca-file = 'ca.pem'".to_owned(),
        }
    }

    /// Puts another host, or another whole address, into the place of a service's.
    fn elsewhere(mut self, service: usize, address: &str) -> Self {
        let mut url = Url::parse(&self.addresses[service]).unwrap();
        match Url::parse(address) {
            Ok(other) => {
                let path = url.path().to_owned();
                url = other;
                url.set_path(&path);
            }
            Err(_) => url.set_host(Some(address)).unwrap(),
        }
        self.addresses[service] = url.into();
        self
    }

    fn write(&self, world: &World) {
        let [login, graph, ews, sharepoint] = &self.addresses;
        let Self {
            tenant,
            client,
            proof,
            network,
            ..
        } = self;
        let text = format!(
            "name = 'test'\nstore = 'store'\nstate = 'state'\n\
             passphrase = {{ file = 'passphrase' }}\n\n\
             [tenant]\nid = '{tenant}'\nclient-id = '{client}'\n{proof}\n\
             cloud = {{ login = '{login}', graph = '{graph}', ews = '{ews}', \
             sharepoint = ['127.0.0.1', 'contoso.invalid'] }}\n\
             sharepoint = '{sharepoint}'\n{}\n\n[network]\n{network}\n",
            self.ews,
        );
        fs::write(world.path("set.toml"), text).unwrap();
    }
}

/// Tells one story after the other, and keeps what went wrong in each, in the program's words.
struct Story<'a> {
    world: &'a World,
    told: String,
}

impl Story<'_> {
    /// Runs `auth test` or `doctor` with a config; keeps the checks that did not end well.
    fn tell(&mut self, title: &str, setup: &Setup, command: &str, code: i32) {
        setup.write(self.world);
        let said = self.world.run(&["auth", command]);
        assert_eq!(said.code, Some(code), "{title}: {}{}", said.out, said.err);
        let ports: Vec<String> = [self.world.server.urls(), self.world.tenant().urls()]
            .iter()
            .flat_map(|urls| [&urls.login, &urls.graph, &urls.ews, &urls.sharepoint])
            .chain(
                &setup
                    .addresses
                    .clone()
                    .map(|text| Url::parse(&text).unwrap()),
            )
            .filter_map(|url| url.port().map(|port| format!(":{port}")))
            .collect();
        writeln!(self.told, "== {title}").unwrap();
        let mut shown = false;
        for line in said.out.lines() {
            let is_check = !line.starts_with(' ');
            if is_check {
                shown = line.starts_with("failed") || line.starts_with("warning");
            }
            if shown {
                let mut line = line.to_owned();
                for port in &ports {
                    line = line.replace(port.as_str(), ":[PORT]");
                }
                // What a name server says of a name that is none, and when, is its own affair.
                for begin in ["failed to lookup address information", "request id "] {
                    if let Some(at) = line.find(begin) {
                        line.truncate(at + begin.len());
                    }
                }
                writeln!(self.told, "{line}").unwrap();
            }
        }
    }

    fn end(self, words: &str) {
        assert_words(words, &self.world.plain(&self.told));
    }
}

/// A proxy that answers everybody with the same words, until the test ends.
#[allow(
    clippy::disallowed_methods,
    reason = "a server for the program, in a test"
)]
fn stubborn_proxy(words: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            // Whoever only looks whether somebody listens sends nothing.
            let mut heard = [0; 1024];
            if socket.read(&mut heard).is_ok_and(|count| count > 0) {
                let _gone = socket.write_all(words.as_bytes());
            }
        }
    });
    port
}

#[test]
fn what_keeps_a_service_from_being_reached_is_named() {
    let world = World::secured(90);
    let mut story = Story {
        world: &world,
        told: String::new(),
    };
    story.tell("all is well", &Setup::of(&world), "test", 0);
    for (place, service) in SERVICES.into_iter().enumerate() {
        let setup = Setup::of(&world).elsewhere(place, &format!("{service}.contoso.invalid"));
        story.tell(&format!("no name for {service}"), &setup, "test", 1);
    }
    // Somebody else's servers: the same names, but a certificate of another authority.
    let runtime = Runtime::new().unwrap();
    let other = tls::Identity::generate().unwrap();
    let other = runtime.block_on(Server::start_tls(Tenant::empty(1), &other));
    let other = other.unwrap();
    let urls = other.urls();
    let urls = [&urls.login, &urls.graph, &urls.ews, &urls.sharepoint];
    for (place, service) in SERVICES.into_iter().enumerate() {
        let setup = Setup::of(&world).elsewhere(place, urls[place].as_str());
        story.tell(
            &format!("a stranger's certificate at {service}"),
            &setup,
            "test",
            1,
        );
    }
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = free.local_addr().unwrap().port();
    drop(free);
    let asks = "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
    let refuses = "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n";
    for (title, kind, port) in [
        ("no proxy where one is named", "http", nobody),
        (
            "a proxy that asks for a password",
            "http",
            stubborn_proxy(asks),
        ),
        ("a proxy that refuses", "http", stubborn_proxy(refuses)),
        (
            "a proxy that is no SOCKS proxy",
            "socks5h",
            stubborn_proxy(refuses),
        ),
    ] {
        let mut setup = Setup::of(&world);
        setup.network =
            format!("ca-file = 'ca.pem'\nproxy = {{ url = '{kind}://127.0.0.1:{port}' }}");
        story.tell(title, &setup, "test", 1);
        let port = port.to_string();
        story.told = story.told.replace(&port, "[PORT]");
    }
    story.end("auth-reach");
}

#[test]
fn why_a_token_is_refused_is_named_by_class() {
    let world = World::secured(91);
    let mut story = Story {
        world: &world,
        told: String::new(),
    };
    fs::write(world.path("wrong"), "not the secret").unwrap();
    let stranger = tls::Credential::generate().unwrap();
    fs::write(
        world.path("other.pem"),
        stranger.certificate + &stranger.key,
    )
    .unwrap();
    let with = |change: &dyn Fn(&mut Setup)| {
        let mut setup = Setup::of(&world);
        change(&mut setup);
        setup
    };
    let nobody = "00000000-0000-0000-0000-000000000001";
    for (title, setup, code) in [
        (
            "a wrong secret",
            with(&|setup| setup.proof = "client-secret = { file = 'wrong' }".to_owned()),
            20,
        ),
        (
            "a certificate that is not registered",
            with(&|setup| setup.proof = "client-certificate = 'other.pem'".to_owned()),
            20,
        ),
        (
            "an unknown app",
            with(&|setup| nobody.clone_into(&mut setup.client)),
            20,
        ),
        (
            "an unknown tenant",
            with(&|setup| nobody.clone_into(&mut setup.tenant)),
            1,
        ),
        (
            "a service that the tenant does not know",
            Setup::of(&world).elsewhere(3, "https://127.0.0.1:9"),
            1,
        ),
    ] {
        story.tell(title, &setup, "test", code);
    }
    for (title, fault, code) in [
        (
            "an identity platform that is busy",
            Fault::Throttled(Some(60)),
            21,
        ),
        ("an identity platform that fails", Fault::EmptyError, 1),
        ("a gateway in its place", Fault::HtmlError, 1),
        ("a connection that breaks", Fault::Reset, 1),
    ] {
        let rule = FaultRule::new("*token", fault);
        world.tenant().set_faults(FaultPlan::new(1).with(rule));
        story.tell(title, &Setup::of(&world), "test", code);
    }
    story.end("auth-tokens");
}

#[test]
fn every_refusal_of_a_service_names_what_is_missing_and_what_needs_it() {
    let world = World::secured(92);
    let mut story = Story {
        world: &world,
        told: String::new(),
    };
    let all = [
        "User.Read.All",
        "MailboxSettings.Read",
        "Mail.ReadWrite",
        "Files.ReadWrite.All",
        "full_access_as_app",
        "Sites.Read.All",
    ];
    let setup = Setup::of(&world);
    for missing in all {
        // To read sites is to read their files, and the drives of people are such.
        let is_granted = |name: &&str| {
            let serves_as_well = missing.starts_with("Files.") && name.starts_with("Sites.");
            *name != missing && !serves_as_well
        };
        let granted = all.into_iter().filter(is_granted);
        world.tenant().set_permissions(granted);
        story.tell(
            &format!("test without {missing}"),
            &setup,
            "test",
            test_code(missing),
        );
        story.tell(&format!("doctor without {missing}"), &setup, "doctor", 22);
    }
    world.tenant().set_permissions(all);
    let by_secret = Setup {
        proof: SECRET.to_owned(),
        ..Setup::of(&world)
    };
    story.tell("SharePoint by a secret", &by_secret, "test", 20);
    world.tenant().turn_ews_off(true);
    story.tell("EWS turned off", &setup, "test", 22);
    world.tenant().turn_ews_off(false);
    for (title, route, fault, code) in [
        ("Graph busy", "GET /users", Fault::Throttled(Some(60)), 21),
        ("Graph down", "GET /users", Fault::Unavailable, 1),
        (
            "a policy against the inbox",
            "GET /users/{id}/mailFolders/{id}",
            Fault::Refused(403, "ErrorAccessDenied".to_owned()),
            22,
        ),
        ("EWS down", "*POST /EWS/Exchange.asmx", Fault::HtmlError, 1),
        ("SharePoint down", "*GET /_api/web", Fault::EmptyError, 1),
        (
            "SharePoint somewhere else",
            "*GET /_api/web",
            Fault::Refused(404, "x".to_owned()),
            1,
        ),
    ] {
        let rule = FaultRule::new(route, fault);
        world.tenant().set_faults(FaultPlan::new(1).with(rule));
        story.tell(title, &setup, "test", code);
    }
    story.end("auth-refused");
}

/// Which permissions the probes of `auth test` notice; the doctor compares all of them.
fn test_code(missing: &str) -> i32 {
    match missing {
        "MailboxSettings.Read" => 0,
        _ => 22,
    }
}

#[test]
fn exchange_on_premises_is_signed_in_to_by_a_password_over_tls() {
    let world = World::secured(93);
    let mut story = Story {
        world: &world,
        told: String::new(),
    };
    let account = world.tenant().users()[0].principal_name.clone();
    let password = world.tenant().password(&account).unwrap();
    fs::write(world.path("ews.password"), format!("{password}\n")).unwrap();
    fs::write(world.path("wrong"), "canary7f3a\n").unwrap();
    let with = |file: &str| Setup {
        ews: format!(
            "ews = {{ authentication = 'basic', user = '{account}', password = {{ file = '{file}' }} }}"
        ),
        ..Setup::of(&world)
    };
    let right = with("ews.password");
    story.tell("a server that takes tokens only", &right, "test", 20);
    world.tenant().take_ews_passwords("nobody@contoso.example");
    story.tell("an account that may not act for others", &right, "test", 22);
    world.tenant().take_ews_passwords(&account);
    story.tell("a password that is not there", &with("nowhere"), "test", 1);
    story.tell("a wrong password", &with("wrong"), "test", 20);
    story.tell("the right one", &right, "test", 0);
    // Its server has no token, so none is asked for; the probe says what it found.
    let said = world.run(&["auth", "test", "-vvv"]).assert(0);
    assert!(
        said.out.contains("ok       ews           0 public folders"),
        "{}",
        said.out
    );
    assert!(!said.out.contains("for EWS"), "{}", said.out);
    for secret in [
        &password,
        "canary7f3a",
        &base64_of(&format!("{account}:{password}")),
    ] {
        assert!(
            !said.out.contains(secret) && !said.err.contains(secret),
            "{}",
            said.err
        );
    }
    story.end("auth-ews-password");
}

/// Encodes as the header does, without a library: the tests of the program have none.
fn base64_of(text: &str) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups = text.as_bytes().chunks_exact(3).map(|group| {
        let number = group
            .iter()
            .fold(0, |number, byte| number << 8 | usize::from(*byte));
        [18, 12, 6, 0].map(|shift| char::from(LETTERS[number >> shift & 63]))
    });
    // What is left over is not needed: the beginning gives it away.
    groups.flatten().collect()
}
