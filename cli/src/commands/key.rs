//! `key`: lists, adds, changes and removes the keys that open a store.

use std::path::Path;

use backup_store::{KdfParams, KeySlot, Rotation, SlotOptions, Unlock};
use serde_json::json;

use crate::args::{AddKeyArgs, ChangeKeyArgs, KeepArgs, KeyArgs, KeyCommand, RemoveKeyArgs};
use crate::commands::snapshots::short_id;
use crate::config::Config;
use crate::connect::{Context, OpenStore};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::secrets;
use crate::table::{Align, Table};
use crate::words;

/// Runs the command.
pub(crate) async fn run(context: &Context, args: KeyArgs) -> Result<Exit> {
    let config = context.config()?;
    let open = context.open_store(config.as_ref()).await?;
    let keys = Keys {
        context,
        config: config.as_ref(),
        open: &open,
    };
    match args.command {
        KeyCommand::List => keys.list().await,
        KeyCommand::Add(args) => keys.add(args).await,
        KeyCommand::Change(args) => keys.change(args).await,
        KeyCommand::Remove(args) => keys.remove(args).await,
        KeyCommand::Rotate(keep) => keys.rotate(&keep, Vec::new()).await,
    }
}

struct Keys<'a> {
    context: &'a Context,
    config: Option<&'a Config>,
    open: &'a OpenStore,
}

impl Keys<'_> {
    async fn list(&self) -> Result<Exit> {
        let slots = self.slots().await?;
        let out = &self.context.output;
        if out.is_json() {
            for slot in &slots {
                out.object("key", describe(slot))?;
            }
            let epoch = self.open.store.key_epoch();
            out.object(
                "summary",
                json!({ "keys": slots.len(), "key_epoch": epoch }),
            )?;
            return Ok(Exit::Complete);
        }
        let mut table = Table::new(&[
            ("recipient", Align::Left),
            ("opens with", Align::Left),
            ("since (UTC)", Align::Left),
            ("label", Align::Left),
        ]);
        for slot in &slots {
            table.row([
                recipient(slot).map_or_else(|| "-".to_owned(), |id| short_id(&id)),
                slot.kind.to_string(),
                slot.created.map(words::time).unwrap_or_default(),
                slot.label.clone(),
            ]);
        }
        out.table(&table)?;
        Ok(Exit::Complete)
    }

    async fn add(&self, args: AddKeyArgs) -> Result<Exit> {
        if let Some(path) = &args.recovery_kit {
            let slot = write_recovery_kit(self.open, path, &args.label).await?;
            return self.added(&slot, Some(path));
        }
        let unlock: Unlock = match &args.new_key_file {
            Some(path) => secrets::generate_key_file(path)?.into(),
            None => secrets::ask_new_passphrase(args.new_passphrase_file.as_deref())?.into(),
        };
        let options = SlotOptions::labelled(args.label);
        let added = self.open.store.add_key(unlock, options).await;
        let slot = added.map_err(self.open.failed("add a key to"))?;
        self.added(&slot, args.new_key_file.as_deref())
    }

    fn added(&self, slot: &KeySlot, file: Option<&Path>) -> Result<Exit> {
        let out = &self.context.output;
        if out.is_json() {
            out.object("summary", describe(slot))?;
            return Ok(Exit::Complete);
        }
        let file = file.map(|path| format!(", in {}", path.display()));
        let (kind, file) = (slot.kind, file.unwrap_or_default());
        out.line(&format!("added: {kind}{file}"))?;
        Ok(Exit::Complete)
    }

    async fn change(&self, args: ChangeKeyArgs) -> Result<Exit> {
        let old = secrets::unlock(&self.context.global, self.config)?;
        let new = secrets::ask_new_passphrase(args.new_passphrase_file.as_deref())?;
        let changed = self.open.store.change_key(old, new, KdfParams::default());
        let slot = changed.await.map_err(self.open.failed("change a key of"))?;
        let out = &self.context.output;
        if out.is_json() {
            out.object("summary", describe(&slot))?;
            return Ok(Exit::Complete);
        }
        out.line("changed: the new passphrase opens the store, the old secret does not")?;
        out.note(
            "who knew the old secret may have kept the root key: to close what is written from now \
             on, use m365-backup key rotate",
        );
        Ok(Exit::Complete)
    }

    async fn remove(&self, args: RemoveKeyArgs) -> Result<Exit> {
        let slots = self.slots().await?;
        let mut remove = Vec::new();
        for wanted in &args.recipients {
            let begins = |slot: &&KeySlot| recipient(slot).is_some_and(|id| id.starts_with(wanted));
            let mut found = slots.iter().filter(begins);
            match (found.next().and_then(|slot| slot.recipient), found.next()) {
                (Some(id), None) => remove.push(id),
                (None, _) => return Err(unknown_recipient(wanted)),
                (Some(_), Some(_)) => {
                    let message = format!("several recipients begin with {wanted}");
                    return Err(Failure::usage(message).next("give more digits"));
                }
            }
        }
        self.rotate(&args.keep, remove).await
    }

    async fn rotate(
        &self,
        keep: &KeepArgs,
        remove: Vec<backup_store::RecipientId>,
    ) -> Result<Exit> {
        let removed = remove.len() as u64;
        let mut kept = vec![secrets::unlock(&self.context.global, self.config)?];
        kept.extend(secrets::kept(keep)?);
        let rotation = Rotation {
            keep: kept,
            remove,
            ..Rotation::default()
        };
        let rotated = self.open.store.rotate_keys(rotation).await;
        let rotated = rotated.map_err(self.open.failed("change the keys of"))?;
        let out = &self.context.output;
        for name in &rotated.undeleted {
            out.warn(&format!(
                "the old key slot {name} could not be deleted; it opens nothing that is written \
                 from now on"
            ));
        }
        if out.is_json() {
            let fields = json!({
                "key_epoch": rotated.epoch,
                "keys": rotated.slots.len(),
                "removed": removed,
            });
            out.object("summary", fields)?;
            return Ok(Exit::Complete);
        }
        out.line(&format!(
            "the root key is changed: {} removed, {} left; what is written from now on is sealed \
             under key epoch {}",
            words::counted(removed, "key"),
            words::count(rotated.slots.len() as u64),
            rotated.epoch,
        ))?;
        Ok(Exit::Complete)
    }

    async fn slots(&self) -> Result<Vec<KeySlot>> {
        let slots = self.open.store.key_slots().await;
        slots.map_err(self.open.failed("list the keys of"))
    }
}

/// Adds a recovery code to a store, and writes the page that has it.
pub(crate) async fn write_recovery_kit(
    open: &OpenStore,
    path: &Path,
    label: &str,
) -> Result<KeySlot> {
    let code = secrets::generate_recovery_code()?;
    // The page is there before the code opens anything: a code that nobody holds helps nobody.
    secrets::write_private(path, "write the recovery kit", "not finished yet")?;
    let options = SlotOptions::labelled(label);
    let added = open.store.add_key(&code, options).await;
    let slot = added.map_err(open.failed("add a key to"))?;
    let kit = open.store.recovery_kit(open.place.to_string(), &code);
    let kit = kit.await.map_err(open.failed("describe"))?;
    std::fs::write(path, kit.to_text().as_bytes()).map_err(|error| {
        let failure = Failure::file("write the recovery kit", path, &error);
        match recipient(&slot) {
            Some(id) => failure.next(format!(
                "remove the code that nobody has: m365-backup key remove {}",
                short_id(&id)
            )),
            None => failure,
        }
    })?;
    Ok(slot)
}

fn recipient(slot: &KeySlot) -> Option<String> {
    slot.recipient.map(|id| id.to_string())
}

fn describe(slot: &KeySlot) -> serde_json::Value {
    json!({
        "recipient": recipient(slot),
        "kind": slot.kind.to_string(),
        "label": slot.label,
        "created": slot.created.map(|time| time.to_string()),
    })
}

fn unknown_recipient(wanted: &str) -> Failure {
    Failure::usage(format!("no recipient begins with {wanted}"))
        .next("see who there is: m365-backup key list")
}
