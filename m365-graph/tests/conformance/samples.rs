//! The published samples: read without loss, and compared with the description.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use m365_graph::feed::{
    Calendar, ChannelMessage, Contact, ContactFolder, Event, Group, ListItem, MailboxFolder,
    MailboxItem, Site, SiteList, TodoList, TodoTask,
};
use m365_graph::{Change, Drive, DriveItem, Entity, MailFolder, MailboxSettings, Message, User};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::description::Description;
use crate::known::{BARE, DIFFERENCES};
use crate::recording::Recording;
use crate::scripted::{scripted, text};
use crate::tour::Place;
use crate::{client_sends, folder, read};

/// One published sample.
pub struct Sample {
    pub id: String,
    pub operation: String,
    pub request: Value,
    pub url: String,
    pub status: u16,
    pub answer: Value,
}

/// Reads all samples, in the order of their ids.
pub fn all(folder: &Path) -> Vec<Sample> {
    let index = read(folder.join("samples/index.json"));
    let sample = |entry: &Value| {
        let file = folder.join("samples").join(entry["file"].as_str().unwrap());
        let sample = read(file);
        Sample {
            id: sample["id"].as_str().unwrap().to_owned(),
            operation: sample["operation"].as_str().unwrap().to_owned(),
            request: sample["request"]["body"].clone(),
            url: sample["request"]["url"].as_str().unwrap().to_owned(),
            status: u16::try_from(sample["response"]["status"].as_u64().unwrap()).unwrap(),
            answer: sample["response"]["body"].clone(),
        }
    };
    let mut samples: Vec<Sample> = index.as_array().unwrap().iter().map(sample).collect();
    samples.sort_by(|one, other| one.id.cmp(&other.id));
    samples
}

/// Names the operations that the client has, as a tour of them shows.
async fn of_the_client(description: &Description) -> BTreeSet<String> {
    let (place, recording) = (Place::new(), Recording::default());
    place.tour(&place.client(&recording)).await;
    let exchanges = recording.exchanges();
    let mut names: BTreeSet<String> = exchanges
        .iter()
        .map(|exchange| exchange.name(description))
        .collect();
    // The samples file an upload below the name of its item, as the address is written.
    let upload = "POST /drives/{drive-id}/items/{driveItem-id}:/{file-name}:/createUploadSession";
    assert!(names.contains(upload), "{names:#?}");
    names.remove("POST /$batch");
    names
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

#[tokio::test]
async fn every_sample_of_our_operations_is_read_without_loss() {
    let Some(folder) = folder() else { return };
    let ours = of_the_client(&Description::read(&folder)).await;
    let (samples, mut complaints) = (all(&folder), Vec::new());
    let (mut whole, mut objects, mut bare) = (0, 0, BTreeSet::new());
    let mut sent = 0;
    let known = |id: &str| BARE.iter().any(|(own, _)| *own == id);
    for sample in samples.iter().filter(|own| ours.contains(&own.operation)) {
        let Sample { id, operation, .. } = sample;
        if sample.request.is_object() {
            let complaint = client_sends::compare(id, operation, &sample.request).await;
            sent += 1;
            complaints.extend(complaint);
        }
        // Refusals are read by another test.
        if sample.status >= 400 {
            continue;
        }
        if !sample.answer.is_object() {
            bare.insert(id.as_str());
            if !known(id) {
                complaints.push(format!("{id} {operation}: no object, and nobody said why"));
            }
            continue;
        }
        match check(operation, id, &sample.answer) {
            Some(count) => (whole, objects) = (whole + 1, objects + count),
            None => complaints.push(format!("{id} {operation}: nobody reads it")),
        }
    }
    for (id, what) in BARE {
        if !bare.contains(id) {
            complaints.push(format!("{id} is no longer {what}"));
        }
    }
    println!(
        "{} operations of the client; of {} samples {} belong to them: {whole} read without loss, \
         {objects} objects in them, {} without an object; {sent} bodies of requests compared with \
         what the client sends",
        ours.len(),
        samples.len(),
        whole + bare.len(),
        bare.len()
    );
    assert!(complaints.is_empty(), "{complaints:#?}");
    assert!(
        whole >= 45 && sent >= 8,
        "only {whole} and {sent} samples found"
    );
}

/// Puts `#` for every place of a list, and leaves out what is wrong there.
fn place(complaint: &str) -> String {
    let path = complaint.split(": ").next().unwrap_or_default();
    let parts = path.split('/').map(|part| match part.parse::<usize>() {
        Ok(_) => "#",
        Err(_) => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

#[test]
fn the_samples_are_as_described_but_where_it_is_known_why_not() {
    let Some(folder) = folder() else { return };
    let description = Description::read(&folder);
    let (mut answers, mut requests) = (0, 0);
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for sample in all(&folder) {
        let operation = description
            .operations()
            .find(|operation| operation.name() == sample.operation);
        let Some(operation) = operation else { continue };
        let sides = [
            ("answer", &sample.answer, Some(sample.status), &mut answers),
            ("request", &sample.request, None, &mut requests),
        ];
        for (side, body, status, count) in sides {
            if body.is_null() {
                continue;
            }
            *count += 1;
            let complaints = match description.schema(&operation, status) {
                Some(schema) => description.complaints(schema, body),
                None => vec![": there is no schema".to_owned()],
            };
            for complaint in complaints {
                let place = place(&complaint);
                let place = format!("{} {side} {place}", sample.id);
                found.insert(place.trim_end().to_owned(), complaint);
            }
        }
    }
    let known: BTreeSet<String> = DIFFERENCES
        .iter()
        .flat_map(|(_, places)| places.iter().map(|place| (*place).to_owned()))
        .collect();
    let samples: BTreeSet<&str> = found.keys().map(|place| &place[..4]).collect();
    println!(
        "{answers} answers and {requests} bodies of requests of samples checked against the \
         description; {} samples differ in {} places, for {} reasons",
        samples.len(),
        found.len(),
        DIFFERENCES.len()
    );
    found.retain(|place, _| !known.contains(place));
    assert!(found.is_empty(), "nobody said why: {found:#?}");
    assert!(answers >= 200 && requests >= 75, "samples are missing");
}

#[test]
fn every_known_difference_is_still_one() {
    let Some(folder) = folder() else { return };
    let description = Description::read(&folder);
    let samples = all(&folder);
    for place_of in DIFFERENCES.iter().flat_map(|(_, places)| *places) {
        let (id, rest) = place_of.split_once(' ').unwrap();
        let (side, wanted) = rest.split_once(' ').unwrap_or((rest, ""));
        let sample = samples.iter().find(|own| own.id == id).unwrap();
        let operation = description
            .operations()
            .find(|operation| operation.name() == sample.operation)
            .unwrap();
        let (body, status) = match side {
            "answer" => (&sample.answer, Some(sample.status)),
            _ => (&sample.request, None),
        };
        let found = match description.schema(&operation, status) {
            Some(schema) => description.complaints(schema, body),
            None => vec![String::new()],
        };
        assert!(
            found.iter().any(|complaint| place(complaint) == wanted),
            "{place_of} is as described now"
        );
    }
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
