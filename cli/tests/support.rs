//! A world for one test: a tenant on loopback, a folder, a config, and the program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use m365_simulator::server::tls;
use m365_simulator::{Server, Tenant, TenantSpec};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// The program, as cargo has just built it.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_m365-backup");

/// A tenant on loopback and a folder with a config that points to it.
pub(crate) struct World {
    pub(crate) server: Server,
    folder: TempDir,
    // Dropped last: the server lives on it.
    _runtime: Runtime,
}

/// What a run of the program left: its exit code and what it said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl World {
    /// Makes a small tenant, a config for all of it, and no store yet.
    pub(crate) fn new(seed: u64) -> Self {
        Self::of(small(seed))
    }

    /// Makes a tenant as described.
    pub(crate) fn of(spec: TenantSpec) -> Self {
        let runtime = Runtime::new().unwrap();
        let tenant = Tenant::generate(spec).unwrap();
        let server = runtime.block_on(Server::start(tenant)).unwrap();
        let world = Self {
            server,
            folder: TempDir::new().unwrap(),
            _runtime: runtime,
        };
        fs::write(world.path("passphrase"), "correct horse battery staple\n").unwrap();
        fs::write(world.path("secret"), world.tenant().app().client_secret).unwrap();
        world.configure("store", "users = \"all\"");
        world
    }

    /// Makes a world that speaks TLS by a private authority, and knows the app by a certificate.
    pub(crate) fn secured(seed: u64) -> Self {
        let runtime = Runtime::new().unwrap();
        let tenant = Tenant::generate(small(seed)).unwrap();
        let app = tls::Credential::generate().unwrap();
        tenant.register_certificate(&app.certificate).unwrap();
        let identity = tls::Identity::generate().unwrap();
        let server = runtime.block_on(Server::start_tls(tenant, &identity));
        let world = Self {
            server: server.unwrap(),
            folder: TempDir::new().unwrap(),
            _runtime: runtime,
        };
        fs::write(world.path("passphrase"), "correct horse battery staple\n").unwrap();
        fs::write(world.path("secret"), world.tenant().app().client_secret).unwrap();
        fs::write(world.path("ca.pem"), identity.ca_pem()).unwrap();
        fs::write(world.path("app.pem"), app.certificate).unwrap();
        fs::write(world.path("app.key"), app.key).unwrap();
        world.configure_with(
            "client-certificate = 'app.pem'\nclient-key = 'app.key'",
            "[network]\nproxy = 'none'\nca-file = 'ca.pem'",
        );
        world
    }

    /// Writes a config for everybody: how the app proves itself, and further tables.
    pub(crate) fn configure_with(&self, proof: &str, tables: &str) {
        let (urls, app) = (self.server.urls(), self.tenant().app());
        let text = format!(
            "name = 'test'\nstore = 'store'\nstate = 'state'\n\
             passphrase = {{ file = 'passphrase' }}\n\n\
             [tenant]\nid = '{}'\nclient-id = '{}'\n{proof}\n\
             cloud = {{ login = '{}', graph = '{}', ews = '{}', sharepoint = ['127.0.0.1'] }}\n\n\
             {tables}\n",
            app.tenant_id, app.client_id, urls.login, urls.graph, urls.ews,
        );
        fs::write(self.path("set.toml"), text).unwrap();
    }

    /// Makes a world whose store is created already.
    pub(crate) fn with_store(seed: u64) -> Self {
        let world = Self::new(seed);
        world.run(&["init"]).assert(0);
        world
    }

    pub(crate) fn tenant(&self) -> &Tenant {
        self.server.tenant()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the config: which store (its state lies beside it), which users.
    pub(crate) fn configure(&self, store: &str, selection: &str) {
        let (urls, app) = (self.server.urls(), self.tenant().app());
        let text = format!(
            "name = 'test'\nstore = '{store}'\nstate = '{store}.state'\n\
             passphrase = {{ file = 'passphrase' }}\n\n\
             [tenant]\nid = '{}'\nclient-id = '{}'\nclient-secret = {{ file = 'secret' }}\n\
             cloud = {{ login = '{}', graph = '{}', ews = '{}' }}\n\n\
             [selection]\n{selection}\n\n\
             [parallelism]\nresources = 2\n",
            app.tenant_id, app.client_id, urls.login, urls.graph, urls.ews,
        );
        fs::write(self.path("set.toml"), text).unwrap();
    }

    /// Prepares the program with the config of this world and no environment that could leak in.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = bare(args);
        command
            .arg("--config")
            .arg(self.path("set.toml"))
            .current_dir(self.folder.path());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Said {
        Said::of(&self.command(args).output().unwrap())
    }

    /// Lists everything in the newest snapshots, in a form that does not depend on the run.
    pub(crate) fn contents(&self) -> Vec<Value> {
        let said = self.run(&["ls", "--json"]).assert(0);
        let mut objects = said.objects();
        assert_eq!(objects.pop().unwrap()["message_type"], "summary");
        for object in &mut objects {
            object.as_object_mut().unwrap().remove("snapshot");
        }
        objects.sort_by_key(Value::to_string);
        objects
    }

    /// Replaces what depends on the machine or the run, for comparison with recorded words.
    pub(crate) fn plain(&self, text: &str) -> String {
        let folder = self.folder.path().display().to_string();
        plain(&text.replace(&folder, "[FOLDER]"))
    }

    /// Returns the sealed packs of a store, sorted.
    pub(crate) fn packs(&self, store: &str) -> Vec<PathBuf> {
        let mut found = files(&self.path(store).join("packs"));
        found.sort();
        found
    }
}

fn small(seed: u64) -> TenantSpec {
    TenantSpec {
        seed,
        users: 3,
        messages_per_user: 24,
        files_per_user: 6,
        logical_bytes: 2 << 20,
        ..TenantSpec::default()
    }
}

impl Said {
    pub(crate) fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout.clone()).unwrap(),
            err: String::from_utf8(output.stderr.clone()).unwrap(),
        }
    }

    /// Fails the test unless the program ended with `code`.
    #[track_caller]
    pub(crate) fn assert(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "stdout:\n{}\nstderr:\n{}",
            self.out,
            self.err
        );
        self
    }

    /// Reads what it printed as JSON lines.
    #[track_caller]
    pub(crate) fn objects(&self) -> Vec<Value> {
        let lines = self.out.lines();
        lines
            .map(|line| serde_json::from_str(line).expect("a JSON object a line"))
            .collect()
    }

    /// Returns the last object, which sums up.
    #[track_caller]
    pub(crate) fn summary(&self) -> Value {
        let summary = self.objects().pop().expect("at least one line");
        assert_eq!(summary["message_type"], "summary");
        summary
    }
}

/// Prepares the program without a config.
pub(crate) fn bare(args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(args).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy().to_lowercase();
        if text.starts_with("m365_backup") || text.ends_with("_proxy") {
            command.env_remove(name);
        }
    }
    command.env_remove("NO_COLOR").env("COLUMNS", "100");
    command
}

/// Runs the program without a config.
pub(crate) fn run_bare(args: &[&str]) -> Said {
    Said::of(&bare(args).output().unwrap())
}

/// Returns all files below a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// Copies a folder with everything in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// Replaces ids, which are made anew in each run: eight and more hexadecimal digits, with or
/// without the dashes of a UUID.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_hexdigit()) {
        let (before, from) = rest.split_at(start);
        let length = from
            .find(|c: char| !c.is_ascii_hexdigit() && c != '-')
            .unwrap_or(from.len());
        let (word, after) = from.split_at(length);
        let is_id = |part: &str| part.len() >= 8 && part.contains(|c: char| c.is_ascii_digit());
        let is_uuid = word.len() == 36 && word.split('-').count() == 5;
        plain.push_str(before);
        if is_uuid {
            plain.push_str("[ID]");
        } else {
            let parts = word.split('-');
            let parts = parts.map(|part| if is_id(part) { "[ID]" } else { part });
            plain.push_str(&parts.collect::<Vec<_>>().join("-"));
        }
        rest = after;
    }
    plain.push_str(rest);
    plain
}

/// Compares `text` with the recorded words; `M365_BACKUP_RECORD_WORDS=1` records them anew.
#[track_caller]
#[allow(
    clippy::disallowed_methods,
    reason = "a switch for the developer who changes the words"
)]
pub(crate) fn assert_words(name: &str, text: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/words");
    let path = folder.join(format!("{name}.txt"));
    let text = text
        .lines()
        .map(str::trim_end)
        .collect::<Vec<_>>()
        .join("\n")
        + "\n";
    if std::env::var_os("M365_BACKUP_RECORD_WORDS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let recorded = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        recorded == text,
        "the words of {name} differ from {}.\n--- recorded\n{recorded}\n--- now\n{text}",
        path.display(),
    );
}
