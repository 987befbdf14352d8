//! Keys: what opens a store, found or made.

use std::fs;
use std::io::Write;
use std::path::Path;

use backup_store::{Environment, KeyFile, Passphrase, RecoveryCode, SystemEnvironment, Unlock};

use super::{from_file, given_passphrase, private_file, prompt, prompt_twice};
use crate::args::{GlobalArgs, KeepArgs};
use crate::config::Config;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::words;

/// Finds what opens a store: a key file or recovery code if one is named, else the passphrase by
/// option, environment, config, then a prompt.
pub(crate) fn unlock(global: &GlobalArgs, config: Option<&Config>) -> Result<Unlock> {
    if let Some(path) = &global.key_file {
        return read_key_file(path).map(Unlock::from);
    }
    if let Some(path) = &global.recovery_code {
        return match path.as_os_str().is_empty() {
            true => recovery_code(prompt("Recovery code: ")?.expose()).map(Unlock::from),
            false => read_recovery_code(path).map(Unlock::from),
        };
    }
    if let Some(secret) = given_passphrase(global, config)? {
        return Ok(Passphrase::new(secret.expose()).into());
    }
    let typed = prompt("Passphrase of the store: ")?;
    Ok(Passphrase::new(typed.expose()).into())
}

/// Finds the passphrase for a new store; one that is typed is typed twice.
pub(crate) fn new_passphrase(global: &GlobalArgs, config: Option<&Config>) -> Result<Passphrase> {
    match given_passphrase(global, config)? {
        Some(secret) => Ok(Passphrase::new(secret.expose())),
        None => ask_new_passphrase(None),
    }
}

/// Takes a new passphrase from a file, or asks for it twice.
pub(crate) fn ask_new_passphrase(file: Option<&Path>) -> Result<Passphrase> {
    let secret = match file {
        Some(path) => from_file(path, "the new passphrase")?,
        None => prompt_twice("New passphrase: ")?,
    };
    Ok(Passphrase::new(secret.expose()))
}

/// Reads the passphrase in the first line of a file.
pub(crate) fn read_passphrase(path: &Path) -> Result<Passphrase> {
    let secret = from_file(path, "the passphrase")?;
    Ok(Passphrase::new(secret.expose()))
}

/// Reads the secrets of those who stay when the root key changes.
pub(crate) fn kept(keep: &KeepArgs) -> Result<Vec<Unlock>> {
    let mut kept = Vec::new();
    for path in &keep.keep_passphrase_file {
        kept.push(read_passphrase(path)?.into());
    }
    for path in &keep.keep_key_file {
        kept.push(read_key_file(path)?.into());
    }
    for path in &keep.keep_recovery_code_file {
        kept.push(read_recovery_code(path)?.into());
    }
    Ok(kept)
}

/// Makes up a passphrase and writes it to a new file that its owner alone may read.
pub(crate) fn generate_passphrase(path: &Path) -> Result<Passphrase> {
    let mut random = [0; GENERATED_BYTES];
    SystemEnvironment
        .fill(&mut random)
        .map_err(|error| cannot_make("a passphrase", &error))?;
    let words: Vec<String> = random.chunks(4).map(words::hex).collect();
    let text = words.join("-");
    write_private(path, "write the passphrase file", &text)?;
    Ok(Passphrase::new(&text))
}

/// Makes a key file, written before it opens anything: a key that nobody holds helps nobody.
pub(crate) fn generate_key_file(path: &Path) -> Result<KeyFile> {
    let file =
        KeyFile::generate(&SystemEnvironment).map_err(|error| cannot_make("a key file", &error))?;
    write_private(path, "write the key file", file.to_text().trim_end())?;
    Ok(file)
}

/// Makes a recovery code.
pub(crate) fn generate_recovery_code() -> Result<RecoveryCode> {
    RecoveryCode::generate(&SystemEnvironment)
        .map_err(|error| cannot_make("a recovery code", &error))
}

/// Writes text to a new file that its owner alone may read.
pub(crate) fn write_private(path: &Path, doing: &str, text: &str) -> Result<()> {
    private_file(path)
        .and_then(|mut file| {
            writeln!(file, "{text}")?;
            file.sync_all()
        })
        .map_err(|error| Failure::file(doing, path, &error))
}

fn read_key_file(path: &Path) -> Result<KeyFile> {
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::file("read the key file", path, &error))?;
    KeyFile::from_text(&text).map_err(|error| {
        Failure::usage(format!("{} is not a key file", path.display()))
            .because(&error)
            .next("name the file that m365-backup key add --new-key-file wrote")
    })
}

fn read_recovery_code(path: &Path) -> Result<RecoveryCode> {
    recovery_code(from_file(path, "the recovery code")?.expose())
}

fn recovery_code(text: &str) -> Result<RecoveryCode> {
    text.parse().map_err(|error: backup_store::Error| {
        Failure::usage("that is not a recovery code")
            .because(&error)
            .next("compare it with the recovery kit, group by group")
    })
}

fn cannot_make(what: &str, error: &backup_store::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot make {what}")).because(error)
}

/// 160 random bits: beyond guessing, and still short enough to copy from paper.
const GENERATED_BYTES: usize = 20;
