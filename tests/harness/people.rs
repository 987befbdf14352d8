//! People: a tiny tenant, and what they do to it.

use std::sync::Arc;

use fastrand::Rng;
use m365_simulator::tenant::drive::{Content, FileTimes, NameConflict};
use m365_simulator::{MailboxKind, NewMessage, Tenant, Throttling};

/// The one user of a tiny tenant.
pub const USER: &str = "adele@contoso.example";

/// A tenant with one mailbox and one drive and little in them.
pub fn tiny(seed: u64) -> Tenant {
    let tenant = Tenant::empty(seed);
    tenant.add_user(USER, "Adele", MailboxKind::User);
    for folder in UNUSED {
        tenant.delete_folder(USER, folder);
    }
    tenant.set_throttling(Throttling::documented(1));
    tenant.give_drive(USER);
    let mut rng = Rng::with_seed(seed);
    tenant.add_folder(USER, "inbox", "Projects", false);
    for _ in 0..7 {
        receive(&tenant, &mut rng);
    }
    for _ in 0..6 {
        file(&tenant, &mut rng);
    }
    tenant
}

/// Folders without which a mailbox is read faster.
const UNUSED: &[&str] = &[
    "junkemail",
    "outbox",
    "archive",
    "conversationhistory",
    "syncissues",
    "clutter",
    "scheduled",
];

/// Does `amount` things to mail and files, and returns what was done.
pub fn change(tenant: &Tenant, seed: u64, amount: u64) -> Vec<&'static str> {
    let mut rng = Rng::with_seed(seed ^ 0x6368_616e_6765);
    (0..amount).map(|_| one(tenant, &mut rng)).collect()
}

/// Changes, or takes away, what a request is about; something else where it is about everything.
pub fn touch(tenant: &Tenant, path: &str, away: bool, seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let messages = tenant.messages(USER);
    let about = |id: &str| path.contains(&format!("/{id}/"));
    if let Some(message) = messages.iter().find(|message| about(&message.id)) {
        match (away, rng.u8(..3)) {
            (true, _) => tenant.delete_message(USER, &message.id),
            (false, 0) => tenant.move_message(USER, &message.id, "deleteditems"),
            _ => tenant.edit_subject(USER, &message.id, &words(&mut rng)),
        };
        return;
    }
    let files = tenant.with_drive(USER, |drive| {
        let file = drive.walk().into_iter().find(|item| about(item.id()));
        let file = file.map(|item| item.id().to_owned())?;
        let content = Arc::new(Content::from_bytes(text(&mut rng)));
        match away {
            true => drive.delete(&file).ok().map(drop),
            false => drive.set_content(&file, content, times(&mut rng)).ok(),
        }
    });
    if files.flatten().is_some() {
        return;
    }
    let folder = messages.iter().find(|message| about(&message.folder));
    let own = |path: &str| path.matches('/').count() > 0;
    match folder {
        Some(message) if away && own(&message.folder_path) => {
            tenant.delete_folder(USER, &message.folder);
        }
        _ => drop(change(tenant, seed, 1)),
    }
}

fn one(tenant: &Tenant, rng: &mut Rng) -> &'static str {
    match rng.u8(..20) {
        0..4 => receive(tenant, rng),
        4 | 5 => with_message(tenant, rng, |tenant, id, rng| {
            tenant.edit_subject(USER, id, &words(rng));
        }),
        6 => with_message(tenant, rng, |tenant, id, rng| {
            tenant.set_read(USER, id, rng.bool());
        }),
        7..10 => with_message(tenant, rng, |tenant, id, rng| {
            if let Some(folder) = folder(tenant, rng) {
                tenant.move_message(USER, id, &folder);
            }
        }),
        10..12 => with_message(tenant, rng, |tenant, id, _| {
            tenant.delete_message(USER, id);
        }),
        12 => folders(tenant, rng),
        13..16 => file(tenant, rng),
        _ => files(tenant, rng),
    }
}

/// Moves a message to another folder.
pub fn shuffle(tenant: &Tenant, seed: u64) {
    let mut rng = Rng::with_seed(seed);
    with_message(tenant, &mut rng, |tenant, id, rng| {
        if let Some(folder) = folder(tenant, rng) {
            tenant.move_message(USER, id, &folder);
        }
    });
}

/// Adds a folder that holds one message.
pub fn add_folder_with_message(tenant: &Tenant, name: &str) {
    let id = tenant.add_folder(USER, "inbox", name, false).unwrap();
    let message = NewMessage {
        subject: format!("in {name}"),
        text: Some(name.to_owned()),
        ..NewMessage::default()
    };
    tenant.add_message(USER, &id, message);
}

/// Moves what lies in the folder of this name to another place, also to one that is as new.
pub fn move_out(tenant: &Tenant, name: &str, seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let messages = tenant.messages(USER);
    let inside = |path: &str| path.ends_with(&format!("/{name}"));
    let own = |path: &str| path.contains('/') && !inside(path);
    let mut places = ["inbox", "sentitems", "deleteditems", "drafts"]
        .map(str::to_owned)
        .to_vec();
    let others = messages.iter().filter(|message| own(&message.folder_path));
    places.extend(others.map(|message| message.folder.clone()));
    for message in messages
        .iter()
        .filter(|message| inside(&message.folder_path))
    {
        tenant.move_message(USER, &message.id, &places[rng.usize(..places.len())]);
    }
}

fn receive(tenant: &Tenant, rng: &mut Rng) -> &'static str {
    let message = NewMessage {
        subject: words(rng),
        text: Some(text(rng)),
        draft: rng.u8(..9) == 0,
        ..NewMessage::default()
    };
    if let Some(folder) = folder(tenant, rng) {
        tenant.add_message(USER, &folder, message);
    }
    "receive"
}

fn with_message(
    tenant: &Tenant,
    rng: &mut Rng,
    act: impl FnOnce(&Tenant, &str, &mut Rng),
) -> &'static str {
    let messages = tenant.messages(USER);
    if !messages.is_empty() {
        let id = messages[rng.usize(..messages.len())].id.clone();
        act(tenant, &id, rng);
    }
    "message"
}

/// A folder that holds messages, or can.
fn folder(_: &Tenant, rng: &mut Rng) -> Option<String> {
    let places = ["inbox", "inbox", "sentitems", "deleteditems", "drafts"];
    Some(places[rng.usize(..places.len())].to_owned())
}

fn folders(tenant: &Tenant, rng: &mut Rng) -> &'static str {
    let of_messages = tenant.messages(USER);
    let odd = of_messages
        .iter()
        .find(|message| message.folder_path.contains('/'));
    match (rng.u8(..3), odd) {
        (0, Some(message)) => {
            tenant.delete_folder(USER, &message.folder);
        }
        (1, Some(message)) => {
            tenant.rename_folder(USER, &message.folder, &words(rng));
        }
        _ => {
            let id = tenant.add_folder(USER, "inbox", &words(rng), false);
            if let Some(id) = id {
                let message = NewMessage {
                    subject: words(rng),
                    text: Some(text(rng)),
                    ..NewMessage::default()
                };
                tenant.add_message(USER, &id, message);
            }
        }
    }
    "folder"
}

fn file(tenant: &Tenant, rng: &mut Rng) -> &'static str {
    tenant.with_drive(USER, |drive| {
        let folders = drive.walk().into_iter().filter(|item| item.is_folder());
        let mut places: Vec<String> = folders.map(|item| item.id().to_owned()).collect();
        places.push(drive.root().to_owned());
        places.sort();
        let mut at = places[rng.usize(..places.len())].clone();
        if rng.u8(..4) == 0
            && let Ok(id) = drive.add_folder(&at, &words(rng), NameConflict::Rename, times(rng))
        {
            at = id;
        }
        let name = format!("{}.txt", words(rng));
        let content = Arc::new(Content::from_bytes(text(rng)));
        drive.put_file(&at, &name, content, NameConflict::Rename, times(rng))
    });
    "file"
}

fn files(tenant: &Tenant, rng: &mut Rng) -> &'static str {
    tenant.with_drive(USER, |drive| {
        let root = drive.root().to_owned();
        let mut all: Vec<(String, bool)> = drive
            .walk()
            .into_iter()
            .filter(|item| item.id() != root)
            .map(|item| (item.id().to_owned(), item.is_folder()))
            .collect();
        all.sort();
        if all.is_empty() {
            return;
        }
        let (id, is_folder) = all[rng.usize(..all.len())].clone();
        let done = match rng.u8(..4) {
            0 => drive.delete(&id).map(drop),
            1 if !is_folder => {
                let content = Arc::new(Content::from_bytes(text(rng)));
                drive.set_content(&id, content, times(rng)).map(drop)
            }
            2 => drive.relocate(&id, Some(&root), None),
            _ => drive.relocate(&id, None, Some(&words(rng))),
        };
        // What a drive refuses, such as a folder moved below itself, does not happen.
        done.ok();
    });
    "files"
}

fn times(rng: &mut Rng) -> FileTimes {
    FileTimes::both(1_700_000_000_000 + rng.i64(0..1_000_000) * 1000)
}

fn words(rng: &mut Rng) -> String {
    format!("subject {}", rng.u32(..))
}

fn text(rng: &mut Rng) -> String {
    let length = rng.usize(10..400);
    (0..length).map(|_| rng.alphanumeric()).collect()
}
