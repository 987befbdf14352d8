//! Secrets: where passphrases, keys and the client secret come from, and how new ones are written.

mod keys;

use std::fs;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::Command;

use m365_auth::Secret;

use crate::args::GlobalArgs;
use crate::config::{Config, SecretSource};
use crate::failure::{Failure, Result};

pub(crate) use keys::{
    ask_new_passphrase, generate_key_file, generate_passphrase, generate_recovery_code, kept,
    new_passphrase, read_passphrase, unlock, write_private,
};

/// Reads a secret from where the config says.
pub(crate) fn read(source: &SecretSource, what: &str) -> Result<Secret> {
    match source {
        SecretSource::File(path) => from_file(path, what),
        SecretSource::Command(command) => from_command(command, what),
        SecretSource::Env(name) => from_env(name).ok_or_else(|| {
            Failure::usage(format!(
                "the environment variable {name}, which holds {what}, is not set"
            ))
            .next(format!(
                "set {name}, or read {what} from a file or a command"
            ))
        }),
    }
}

fn given_passphrase(global: &GlobalArgs, config: Option<&Config>) -> Result<Option<Secret>> {
    const WHAT: &str = "the passphrase";
    if let Some(path) = &global.passphrase_file {
        return from_file(path, WHAT).map(Some);
    }
    if let Some(command) = &global.passphrase_command {
        return from_command(command, WHAT).map(Some);
    }
    if let Some(secret) = from_env("M365_BACKUP_PASSPHRASE") {
        return Ok(Some(secret));
    }
    if let Some(path) = from_env("M365_BACKUP_PASSPHRASE_FILE") {
        return from_file(Path::new(path.expose()), WHAT).map(Some);
    }
    match config.and_then(|config| config.passphrase.as_ref()) {
        Some(source) => read(source, WHAT).map(Some),
        None => Ok(None),
    }
}

fn from_file(path: &Path, what: &str) -> Result<Secret> {
    let text = fs::read_to_string(path).map_err(|error| {
        let action = format!("read {what} from");
        Failure::file(&action, path, &error)
    })?;
    first_line(&text).ok_or_else(|| {
        Failure::usage(format!(
            "the file {} holds no {}",
            path.display(),
            bare(what)
        ))
        .next(format!("write {what} into its first line"))
    })
}

fn from_command(command: &str, what: &str) -> Result<Secret> {
    let failed = || {
        Failure::usage(format!("the command that gives {what} failed: {command}"))
            .next("run it by hand to see why")
    };
    let output = shell(command)
        .stdin(std::process::Stdio::inherit())
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|error| failed().because(&error))?;
    if !output.status.success() {
        return Err(failed().cause(output.status.to_string()));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    first_line(&text).ok_or_else(|| failed().cause("it printed nothing"))
}

#[cfg(unix)]
fn shell(command: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]);
    shell
}

#[cfg(not(unix))]
fn shell(command: &str) -> Command {
    let mut shell = Command::new("cmd");
    shell.args(["/C", command]);
    shell
}

#[allow(clippy::disallowed_methods, reason = "the cli reads the environment")]
fn from_env(name: &str) -> Option<Secret> {
    std::env::var(name)
        .ok()
        .filter(|value| !value.is_empty())
        .map(Secret::new)
}

fn prompt(question: &str) -> Result<Secret> {
    if !io::stdin().is_terminal() {
        return Err(
            Failure::usage("no passphrase was given, and nobody is there to type one")
                .next("use --passphrase-file, --passphrase-command or M365_BACKUP_PASSPHRASE_FILE"),
        );
    }
    let typed = rpassword::prompt_password(question)
        .map_err(|error| Failure::usage("cannot read the passphrase").because(&error))?;
    first_line(&typed).ok_or_else(|| Failure::usage("the passphrase is empty").next("try again"))
}

/// Asks for something new, which is typed twice.
fn prompt_twice(question: &str) -> Result<Secret> {
    let typed = prompt(question)?;
    if typed != prompt("The same again: ")? {
        return Err(Failure::usage("the two passphrases differ").next("try again"));
    }
    Ok(typed)
}

fn first_line(text: &str) -> Option<Secret> {
    let line = text.lines().next().unwrap_or_default();
    (!line.is_empty()).then(|| Secret::new(line))
}

fn bare(what: &str) -> &str {
    what.strip_prefix("the ").unwrap_or(what)
}

#[cfg(unix)]
fn private_file(path: &Path) -> io::Result<fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Elsewhere the file inherits the access rules of its folder.
#[cfg(not(unix))]
fn private_file(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
}
