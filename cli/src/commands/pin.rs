//! `pin`: keeps snapshots, or everything of a person, whatever retention says.

use serde_json::json;

use crate::args::{PinArgs, PinCommand, PinnedArgs};
use crate::connect::{Context, OpenStore};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::pins::{Pin, PinFile};
use crate::snapshots;
use crate::table::{Align, Table};

/// Runs the command.
pub(crate) async fn run(context: &Context, args: PinArgs) -> Result<Exit> {
    let config = context.required_config()?;
    let out = &context.output;
    match args.command {
        PinCommand::Add { what, reason } => {
            let open = context.open_store(Some(&config)).await?;
            let mut pin = named(&open, what).await?;
            pin.reason = reason;
            PinFile::change(&config.pins, |pins| {
                pins.pin.retain(|one| !one.is_same(&pin));
                pins.pin.push(pin.clone());
                Ok(())
            })?;
            done(out, "pinned", &pin)
        }
        PinCommand::Remove { what } => {
            let pin = match what.owner {
                Some(owner) => removed(&config.pins, |pin| {
                    let is = |known: &String| known.eq_ignore_ascii_case(&owner);
                    pin.owner.as_ref().is_some_and(is)
                }),
                None => {
                    let digits = what.snapshot.unwrap_or_default().to_lowercase();
                    removed(&config.pins, |pin| {
                        pin.snapshot
                            .as_ref()
                            .is_some_and(|id| id.starts_with(&digits))
                    })
                }
            };
            done(out, "no longer pinned", &pin?)
        }
        PinCommand::List => {
            let mut pins = PinFile::read(&config.pins)?.pin;
            let by_config = |snapshot: Option<&String>, owner: Option<&String>| Pin {
                snapshot: snapshot.cloned(),
                owner: owner.cloned(),
                reason: "in the config".to_owned(),
                since: String::new(),
            };
            let retention = &config.retention;
            pins.extend(retention.pins.iter().map(|id| by_config(Some(id), None)));
            pins.extend(
                retention
                    .hold
                    .iter()
                    .map(|owner| by_config(None, Some(owner))),
            );
            list(out, &pins)
        }
    }
}

/// Understands what is to be pinned; it must be there.
async fn named(open: &OpenStore, what: PinnedArgs) -> Result<Pin> {
    let mut pin = Pin {
        snapshot: None,
        owner: None,
        reason: String::new(),
        since: open.store.environment().now().to_string(),
    };
    match (what.owner, what.snapshot) {
        (Some(owner), _) => {
            let filter = crate::args::SnapshotFilter {
                owner: Some(owner.clone()),
                service: None,
            };
            let found = snapshots::list(open, &filter).await?;
            // As the store writes the name, whatever the case that was typed.
            let known = found
                .first()
                .map(|entry| entry.snapshot.resource.owner.clone());
            pin.owner = Some(known.unwrap_or(owner));
        }
        (None, snapshot) => {
            let wanted = snapshot.unwrap_or_default();
            let found = snapshots::select_one(open, &wanted).await?;
            pin.snapshot = Some(found.id.to_string());
        }
    }
    Ok(pin)
}

/// Takes one pin out of the file.
fn removed(path: &std::path::Path, is: impl Fn(&Pin) -> bool) -> Result<Pin> {
    let mut gone = None;
    PinFile::change(path, |pins| {
        let mut found = pins.pin.iter().enumerate().filter(|(_, pin)| is(pin));
        let at = match (found.next(), found.next()) {
            (Some((at, _)), None) => at,
            (None, _) => {
                return Err(Failure::new(Exit::Failed, "there is no such pin")
                    .next("list them with: m365-backup pin list; those of the config are there"));
            }
            (Some(_), Some(_)) => {
                return Err(Failure::usage("several pins are meant").next("give more digits"));
            }
        };
        drop(found);
        gone = Some(pins.pin.remove(at));
        Ok(())
    })?;
    gone.ok_or_else(|| Failure::new(Exit::Failed, "there is no such pin"))
}

fn done(out: &Output, word: &str, pin: &Pin) -> Result<Exit> {
    if out.is_json() {
        out.object("summary", json!({ "outcome": word, "pin": pin }))?;
    } else {
        out.name_line(&format!("{word}: {}", pin.what()))?;
    }
    Ok(Exit::Complete)
}

fn list(out: &Output, pins: &[Pin]) -> Result<Exit> {
    if out.is_json() {
        for pin in pins {
            out.object("pin", pin)?;
        }
        out.object("summary", json!({ "pins": pins.len() }))?;
        return Ok(Exit::Complete);
    }
    if pins.is_empty() {
        out.note("nothing is pinned");
        return Ok(Exit::Complete);
    }
    let mut table = Table::new(&[
        ("pinned", Align::Left),
        ("what", Align::Left),
        ("since (UTC)", Align::Left),
        ("reason", Align::Left),
    ]);
    for pin in pins {
        let kind = match pin.owner {
            Some(_) => "everything of",
            None => "snapshot",
        };
        let since = pin.since.get(..16).unwrap_or(&pin.since).replace('T', " ");
        table.row([
            kind.to_owned(),
            pin.what().to_owned(),
            since,
            pin.reason.clone(),
        ]);
    }
    out.table(&table)?;
    Ok(Exit::Complete)
}
