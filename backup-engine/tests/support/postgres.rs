//! A PostgreSQL server of one's own: in a temporary folder, without a network.

#![allow(dead_code, reason = "each of the tests that include this uses a part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// A server that lives as long as this value.
#[derive(Debug)]
pub(crate) struct Postgres {
    bin: PathBuf,
    folder: TempDir,
    user: Option<(u32, u32)>,
    server: Child,
}

impl Postgres {
    /// Starts a server, or says why the test is skipped: there is none on this machine.
    ///
    /// Its disk is not synced: these tests end processes, not machines.
    pub(crate) fn start() -> Option<Self> {
        let Some(bin) = binaries() else {
            println!("skipped: no PostgreSQL server on this machine (Debian: postgresql)");
            return None;
        };
        let folder = TempDir::new().unwrap();
        let user = give_away(folder.path());
        let data = folder.path().join("data");
        let made = as_user(&bin.join("initdb"), user)
            .args(["-A", "trust", "-U", "m365", "-N", "-D"])
            .arg(&data)
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let server = as_user(&bin.join("postgres"), user)
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(folder.path())
            .args(["-c", "listen_addresses=", "-c", "fsync=off"])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let postgres = Self {
            bin,
            folder,
            user,
            server,
        };
        postgres.wait();
        Some(postgres)
    }

    /// Returns the address of the server.
    pub(crate) fn address(&self) -> String {
        format!(
            "host={} user=m365 dbname=postgres",
            self.folder.path().display()
        )
    }

    /// Runs a statement, and returns what it prints.
    pub(crate) fn psql(&self, statement: &str) -> String {
        let output = self.ask(statement);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Ends every connection of the program.
    pub(crate) fn cut(&self) {
        self.psql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE application_name = 'm365-backup'",
        );
    }

    fn ask(&self, statement: &str) -> std::process::Output {
        Command::new(self.bin.join("psql"))
            .args([
                "-X",
                "-q",
                "-t",
                "-A",
                "-d",
                &self.address(),
                "-c",
                statement,
            ])
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn wait(&self) {
        for _ in 0..600 {
            if self.ask("SELECT 1").status.success() {
                return;
            }
            pause(Duration::from_millis(50));
        }
        panic!("the server does not come up");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = as_user(&self.bin.join("pg_ctl"), self.user)
            .args(["stop", "-m", "immediate", "-D"])
            .arg(self.folder.path().join("data"))
            .current_dir(self.folder.path())
            .output();
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Waits in real time, as processes do.
#[allow(
    clippy::disallowed_methods,
    reason = "another process works in real time"
)]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Finds the folder of the server's binaries: in the path, or where Debian keeps them.
#[allow(
    clippy::disallowed_methods,
    reason = "tests look for what is installed"
)]
fn binaries() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        folders.extend(versions.flatten().map(|version| version.path().join("bin")));
    }
    let all = ["initdb", "postgres", "pg_ctl", "psql"];
    folders
        .into_iter()
        .find(|folder| all.iter().all(|name| folder.join(name).is_file()))
}

/// The server refuses to run as root: then the folder goes to another user.
#[cfg(unix)]
fn give_away(folder: &Path) -> Option<(u32, u32)> {
    use std::os::unix::fs::{MetadataExt, chown};

    if fs::metadata(folder).unwrap().uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let find = |name: &str| {
        let line = users
            .lines()
            .find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    let user = find("postgres").or_else(|| find("nobody"))?;
    chown(folder, Some(user.0), Some(user.1)).unwrap();
    Some(user)
}

#[cfg(not(unix))]
fn give_away(_: &Path) -> Option<(u32, u32)> {
    None
}

#[cfg(unix)]
fn as_user(program: &Path, user: Option<(u32, u32)>) -> Command {
    use std::os::unix::process::CommandExt;

    let mut command = Command::new(program);
    if let Some((user, group)) = user {
        command.uid(user).gid(group);
    }
    command.stdin(Stdio::null());
    command
}

#[cfg(not(unix))]
fn as_user(program: &Path, _: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}
