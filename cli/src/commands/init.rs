//! `init`: creates an encrypted store, or writes an example config.

use std::fs;
use std::io::Write;
use std::path::Path;

use backup_store::backend::BackendPlace;
use backup_store::{CreateOptions, ReplicaOptions, Store, StoreOptions};
use serde_json::json;

use super::copy::fill;
use super::key::write_recovery_kit;
use crate::args::InitArgs;
use crate::config::{Config, EXAMPLE};
use crate::connect::{Context, OpenStore, create_backend};
use crate::exit::Exit;
use crate::failure::{Failure, Result, from_store};
use crate::output::Output;
use crate::secrets;

/// Runs the command.
pub(crate) async fn run(context: &Context, args: InitArgs) -> Result<Exit> {
    if let Some(path) = &args.write_config {
        return write_config(context, path);
    }
    let config = context.config()?;
    let place = context.store_path(config.as_ref())?;
    refuse_existing(&place)?;
    if let Some(primary) = &args.replica_of {
        return create_replica(context, config.as_ref(), primary, place).await;
    }
    let passphrase = match &args.generate_passphrase {
        Some(path) => secrets::generate_passphrase(path)?,
        None => secrets::new_passphrase(&context.global, config.as_ref())?,
    };
    let explain = |error| from_store("create", &place, &error);
    let created = Store::create(
        create_backend(&place)?,
        &passphrase,
        CreateOptions::default(),
        StoreOptions::default(),
    );
    let store = created.await.map_err(explain)?;
    let open = context.opened(store, place);
    if let Some(path) = &args.recovery_kit {
        write_recovery_kit(&open, path, "recovery kit").await?;
    }
    describe(&context.output, &open, &args)?;
    Ok(Exit::Complete)
}

fn describe(out: &Output, open: &OpenStore, args: &InitArgs) -> Result<()> {
    let (store, place) = (&open.store, &open.place);
    if out.is_json() {
        return out.object(
            "summary",
            json!({
                "store": place.to_string(),
                "store_id": store.id().to_string(),
                "passphrase_file": args.generate_passphrase,
                "recovery_kit": args.recovery_kit,
            }),
        );
    }
    let (id, shown) = (store.id(), place);
    out.line(&format!("created the encrypted store {id} in {shown}"))?;
    out.line("")?;
    out.line("Keep safe, and not only on this machine:")?;
    match &args.generate_passphrase {
        Some(path) => out.line(&format!("  the passphrase, in {}", path.display()))?,
        None => out.line("  the passphrase")?,
    }
    match &args.recovery_kit {
        Some(path) => {
            let path = path.display();
            out.line(&format!(
                "  the recovery kit, in {path}: print it, then delete the file"
            ))?;
        }
        None => out.line(&format!(
            "  a recovery kit: m365-backup key add --recovery-kit kit.txt --store {shown}"
        ))?,
    }
    out.line("Without any of them nobody can read the backups: not you, and not the makers of this program.")
}

/// Makes the place a replica of a store, and fills it.
async fn create_replica(
    context: &Context,
    config: Option<&Config>,
    primary: &BackendPlace,
    place: BackendPlace,
) -> Result<Exit> {
    let unlock = || secrets::unlock(&context.global, config);
    let from = context
        .open_store_at(primary.clone(), unlock, config)
        .await?;
    let explain = |error| from_store("create", &place, &error);
    let created = from.store.create_replica(create_backend(&place)?).await;
    created.map_err(explain)?;
    let unlock = || secrets::unlock(&context.global, config);
    let to = context.open_store_at(place, unlock, None).await?;
    if !context.output.is_json() {
        let (from, to) = (&from.place, &to.place);
        context
            .output
            .line(&format!("created a replica of {from} in {to}"))?;
    }
    fill(&context.output, &from, &to, ReplicaOptions::default()).await
}

/// A typed passphrase, or a written passphrase file, should not be in vain.
fn refuse_existing(place: &BackendPlace) -> Result<()> {
    let BackendPlace::Directory(place) = place else {
        return Ok(());
    };
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
