//! `init`: creates an encrypted store, or writes an example config.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use backup_store::{CreateOptions, LocalBackend, Store, StoreOptions};
use serde_json::json;

use crate::args::InitArgs;
use crate::config::EXAMPLE;
use crate::connect::Context;
use crate::exit::Exit;
use crate::failure::{Failure, Result, from_store};
use crate::secrets;

/// Runs the command.
pub(crate) async fn run(context: &Context, args: InitArgs) -> Result<Exit> {
    if let Some(path) = &args.write_config {
        return write_config(context, path);
    }
    let config = context.config()?;
    let place = context.store_path(config.as_ref())?;
    refuse_existing(&place)?;
    let passphrase = match &args.generate_passphrase {
        Some(path) => secrets::generate_passphrase(path)?,
        None => secrets::new_passphrase(&context.global, config.as_ref())?,
    };
    let explain = |error| from_store("create", &place, &error);
    let backend = LocalBackend::create(&place).map_err(explain)?;
    let options = CreateOptions::default();
    let store = Store::create(
        Arc::new(backend),
        &passphrase,
        options,
        StoreOptions::default(),
    )
    .await
    .map_err(explain)?;

    let out = &context.output;
    if out.is_json() {
        out.object(
            "summary",
            json!({
                "store": place,
                "store_id": store.id().to_string(),
                "passphrase_file": args.generate_passphrase,
            }),
        )?;
        return Ok(Exit::Complete);
    }
    out.line(&format!(
        "created the encrypted store {} in {}",
        store.id(),
        place.display()
    ))?;
    out.line("")?;
    out.line("Keep safe, and not only on this machine:")?;
    match &args.generate_passphrase {
        Some(path) => out.line(&format!("  the passphrase, in {}", path.display()))?,
        None => out.line("  the passphrase")?,
    }
    out.line(
        "Without it nobody can read the backups: not you, and not the makers of this program.",
    )?;
    Ok(Exit::Complete)
}

/// A typed passphrase, or a written passphrase file, should not be in vain.
fn refuse_existing(place: &Path) -> Result<()> {
    match fs::read_dir(place).map(|mut entries| entries.next().is_some()) {
        Ok(true) => Err(Failure::new(
            Exit::Failed,
            format!("{} holds something already", place.display()),
        )
        .next("use the store that is there, or choose an empty or new folder")),
        _ => Ok(()),
    }
}

fn write_config(context: &Context, path: &Path) -> Result<Exit> {
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .and_then(|mut file| file.write_all(EXAMPLE.as_bytes()))
        .map_err(|error| Failure::file("write the config", path, &error))?;
    if context.output.is_json() {
        context
            .output
            .object("summary", json!({ "config": path }))?;
    } else {
        let shown = path.display();
        context.output.line(&format!("wrote {shown}"))?;
        context
            .output
            .line(&format!("Edit it, then: m365-backup init --config {shown}"))?;
    }
    Ok(Exit::Complete)
}
