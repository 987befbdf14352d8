//! Wire truth: published values and the service's own samples, where the folder that holds them is
//! at hand (`M365_CONFORMANCE_DIR`, by default `../shared` beside the workspace).

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod common;

use std::fs;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::{scripted, text};
use m365_graph::feed::{
    Calendar, ChannelMessage, Contact, ContactFolder, Event, Group, ListItem, MailboxFolder,
    MailboxItem, Site, SiteList, TodoList, TodoTask,
};
use m365_graph::{
    Change, Drive, DriveItem, Entity, MailFolder, MailboxSettings, Message, QuickXorHash, User,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

#[allow(clippy::disallowed_methods, reason = "tests read where the data lies")]
fn folder() -> Option<PathBuf> {
    let named = std::env::var_os("M365_CONFORMANCE_DIR").map(PathBuf::from);
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = named
        .unwrap_or_else(|| workspace.join("../shared"))
        .join("graph");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("no conformance data here; nothing checked");
    None
}

fn read(path: PathBuf) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn every_published_hash_is_met() {
    let Some(folder) = folder() else { return };
    let file = read(folder.join("quickxorhash-vectors.json"));
    let vectors = file["vectors"].as_array().unwrap();
    for vector in vectors {
        let length = vector["len"].as_u64().unwrap();
        let input = match vector["inputBase64"].as_str() {
            Some(input) => STANDARD.decode(input).unwrap(),
            None => {
                assert_eq!(vector["pattern"], "i mod 251");
                (0..length)
                    .map(|i| u8::try_from(i % 251).unwrap())
                    .collect()
            }
        };
        assert_eq!(input.len() as u64, length);
        let mut hash = QuickXorHash::new();
        hash.update(&input);
        assert_eq!(
            hash.finish_base64(),
            vector["quickXorHash"].as_str().unwrap()
        );
    }
    println!("{} published hashes met", vectors.len());
    assert!(vectors.len() >= 20, "the file of vectors has shrunk");
}

/// Reads an object, and checks that nothing of it is lost.
fn whole<T: DeserializeOwned>(name: &str, raw: &Value) -> usize {
    let mut raw = raw.clone();
    // Some pages of the documentation leave the id out; the service never does.
    if raw.get("id").is_none() {
        raw["id"] = json!("left-out");
    }
    let entity =
        Entity::<T>::from_raw(raw.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(entity.raw(), &raw, "{name}");
    let again = Entity::<T>::from_json(entity.raw_json().as_bytes()).unwrap();
    assert_eq!(again.raw(), &raw, "{name}");
    1
}

fn each<T: DeserializeOwned>(name: &str, page: &Value) -> usize {
    page["value"]
        .as_array()
        .unwrap()
        .iter()
        .map(|raw| whole::<T>(name, raw))
        .sum()
}

/// Reads one sample by the operation it belongs to; returns how many objects it held.
fn check(operation: &str, name: &str, body: &Value) -> Option<usize> {
    Some(match operation {
        "GET /users" => each::<User>(name, body),
        "GET /users/{user-id}" => whole::<User>(name, body),
        "GET /users/{user-id}/mailboxSettings" => whole::<MailboxSettings>(name, body),
        "GET /users/delta" => each::<User>(name, body),
        "GET /groups" | "GET /groups/delta" => each::<Group>(name, body),
        "GET /users/{user-id}/contactFolders" | "GET /users/{user-id}/contactFolders/delta" => {
            each::<ContactFolder>(name, body)
        }
        "GET /users/{user-id}/contacts"
        | "GET /users/{user-id}/contacts/delta"
        | "GET /users/{user-id}/contactFolders/{contactFolder-id}/contacts"
        | "GET /users/{user-id}/contactFolders/{contactFolder-id}/contacts/delta" => {
            each::<Contact>(name, body)
        }
        "GET /users/{user-id}/calendars" => each::<Calendar>(name, body),
        "GET /users/{user-id}/events"
        | "GET /users/{user-id}/events/delta"
        | "GET /users/{user-id}/calendarView"
        | "GET /users/{user-id}/calendarView/delta"
        | "GET /users/{user-id}/calendars/{calendar-id}/events"
        | "GET /users/{user-id}/calendars/{calendar-id}/events/delta" => each::<Event>(name, body),
        "GET /users/{user-id}/todo/lists" | "GET /users/{user-id}/todo/lists/delta" => {
            each::<TodoList>(name, body)
        }
        "GET /users/{user-id}/todo/lists/{todoTaskList-id}/tasks"
        | "GET /users/{user-id}/todo/lists/{todoTaskList-id}/tasks/delta" => {
            each::<TodoTask>(name, body)
        }
        "GET /admin/exchange/mailboxes/{mailbox-id}/folders"
        | "GET /admin/exchange/mailboxes/{mailbox-id}/folders/delta" => {
            each::<MailboxFolder>(name, body)
        }
        "GET /admin/exchange/mailboxes/{mailbox-id}/folders/{mailboxFolder-id}/items"
        | "GET /admin/exchange/mailboxes/{mailbox-id}/folders/{mailboxFolder-id}/items/delta" => {
            each::<MailboxItem>(name, body)
        }
        "GET /sites" | "GET /sites/getAllSites()" | "GET /sites/delta" => each::<Site>(name, body),
        "GET /sites/{site-id}/lists" => each::<SiteList>(name, body),
        "GET /sites/{site-id}/lists/{list-id}/items"
        | "GET /sites/{site-id}/lists/{list-id}/items/delta" => each::<ListItem>(name, body),
        "GET /teams/{team-id}/channels/{channel-id}/messages"
        | "GET /teams/{team-id}/channels/{channel-id}/messages/delta" => {
            each::<ChannelMessage>(name, body)
        }
        "GET /users/{user-id}/mailFolders"
        | "GET /users/{user-id}/mailFolders/delta"
        | "GET /users/{user-id}/mailFolders/{mailFolder-id}/childFolders" => {
            each::<MailFolder>(name, body)
        }
        "GET /users/{user-id}/mailFolders/{mailFolder-id}"
        | "POST /users/{user-id}/mailFolders/{mailFolder-id}/childFolders"
        | "POST /users/{user-id}/mailFolders" => whole::<MailFolder>(name, body),
        "GET /users/{user-id}/messages"
        | "GET /users/{user-id}/mailFolders/{mailFolder-id}/messages"
        | "GET /users/{user-id}/mailFolders/{mailFolder-id}/messages/delta" => {
            each::<Message>(name, body)
        }
        "GET /users/{user-id}/messages/{message-id}"
        | "PATCH /users/{user-id}/messages/{message-id}"
        | "POST /users/{user-id}/messages" => whole::<Message>(name, body),
        "GET /drives/{drive-id}" => whole::<Drive>(name, body),
        "GET /users/{user-id}/drives" => each::<Drive>(name, body),
        "GET /drives/{drive-id}/root/delta"
        | "GET /drives/{drive-id}/items/{driveItem-id}/children" => each::<DriveItem>(name, body),
        "GET /drives/{drive-id}/root"
        | "GET /drives/{drive-id}/items/{driveItem-id}"
        | "PATCH /drives/{drive-id}/items/{driveItem-id}"
        | "PUT /drives/{drive-id}/items/{driveItem-id}/content"
        | "PUT /drives/{drive-id}/root:/{item-path}:/content"
        | "POST {uploadUrl}" => whole::<DriveItem>(name, body),
        "GET /groups/{group-id}/members" => each::<User>(name, body),
        "POST /users/{user-id}/messages/{message-id}/move" => whole::<Message>(name, body),
        // Of these the address alone is read, or nothing; all of it survives.
        "POST /users/{user-id}/messages/{message-id}/attachments/createUploadSession"
        | "POST /drives/{drive-id}/items/{driveItem-id}:/{file-name}:/createUploadSession" => {
            let address = body["uploadUrl"].as_str().unwrap();
            assert!(address.parse::<url::Url>().is_ok(), "{name}: {address}");
            whole::<Value>(name, body)
        }
        "POST /users/{user-id}/messages/{message-id}/attachments" => whole::<Value>(name, body),
        _ => return None,
    })
}

/// Operations of the client whose answers hold no JSON.
const BARE: [&str; 4] = [
    "DELETE /drives/{drive-id}/items/{driveItem-id}",
    "DELETE /users/{user-id}/messages/{message-id}",
    "GET /drives/{drive-id}/items/{driveItem-id}/content",
    "GET /users/{user-id}/messages/{message-id}/$value",
];

#[test]
fn every_sample_of_our_operations_is_read_without_loss() {
    let Some(folder) = folder() else { return };
    let (mut all, mut read_whole, mut objects, mut bare) = (0, 0, 0, 0);
    let mut paths: Vec<_> = fs::read_dir(folder.join("samples"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.ends_with("index.json"))
        .collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let sample = read(path);
        all += 1;
        let Some(operation) = sample["operation"].as_str() else {
            continue;
        };
        let body = &sample["response"]["body"];
        let status = sample["response"]["status"].as_u64().unwrap_or_default();
        if status < 300 && body.is_object() {
            let count = check(operation, &name, body);
            read_whole += usize::from(count.is_some());
            objects += count.unwrap_or_default();
        } else if BARE.contains(&operation) || check(operation, &name, &empty()).is_some() {
            // Nothing to read, or a refusal, which another test reads.
            assert!(status < 500, "{name}");
            bare += 1;
        }
    }
    println!(
        "of {all} samples {} belong to operations of the client: {read_whole} read without loss, \
         {objects} objects in them; {bare} without an object",
        read_whole + bare
    );
    assert!(read_whole >= 55, "only {read_whole} samples found");
    assert!(bare >= 4, "only {bare} without an object");
}

/// An answer that any operation could give.
fn empty() -> Value {
    json!({"value": [], "uploadUrl": "https://content.contoso.example/"})
}

#[tokio::test]
async fn the_sample_of_a_drive_delta_is_read_as_changes() {
    let Some(folder) = folder() else { return };
    let sample = read(folder.join("samples/g045-GET-drives-drive-id-root-delta.json"));
    let body = sample["response"]["body"].to_string();
    let body = body.replace(
        "https://graph.microsoft.com",
        "https://graph.contoso.example",
    );
    let (client, _) = scripted(vec![text(200, &body)]);
    let page = client.drive("d").delta(None).await.unwrap();
    let gone = page
        .changes
        .iter()
        .filter(|change| matches!(change, Change::Removed { .. }));
    assert_eq!((page.changes.len(), gone.count()), (3, 1));
}

#[tokio::test]
async fn every_sample_of_a_refusal_has_its_code() {
    let Some(folder) = folder() else { return };
    let mut refusals = 0;
    for entry in fs::read_dir(folder.join("samples")).unwrap() {
        let sample = read(entry.unwrap().path());
        let status = sample["response"]["status"].as_u64().unwrap_or_default();
        let body = &sample["response"]["body"];
        let Some(code) = body["error"]["code"].as_str() else {
            continue;
        };
        let (client, _) = scripted(vec![text(
            u16::try_from(status).unwrap(),
            &body.to_string(),
        )]);
        let error = client.user("u").await.unwrap_err();
        assert_eq!(error.code(), Some(code));
        refusals += 1;
    }
    println!("{refusals} samples of refusals read");
    assert!(refusals > 0);
}
