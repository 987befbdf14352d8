//! The published samples as requests: the tenant takes them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::description::Description;
use crate::folder;
use crate::hand::Hand;
use crate::known::REFUSED;
use crate::recording::Recording;
use crate::samples::{Sample, all};
use crate::tour::Place;

/// Ids of a tenant, by the names that the description has for them.
async fn ids(place: &Place, hand: &Hand) -> BTreeMap<&'static str, String> {
    let id = |object: &Value| object["id"].as_str().unwrap().to_owned();
    let user = format!("/users/{}", place.user);
    let (_, page) = hand
        .send(
            "GET",
            &format!("{user}/mailFolders/inbox/messages"),
            Value::Null,
        )
        .await;
    let message = id(&page["value"][0]);
    let text = json!({
        "@odata.type": "#microsoft.graph.fileAttachment", "name": "a", "contentBytes": "aGk=",
    });
    let path = format!("{user}/messages/{message}/attachments");
    let (_, attachment) = hand.send("POST", &path, text).await;
    let name = json!({"displayName": "Replayed"});
    let path = format!("{user}/mailFolders");
    let (_, folder) = hand.send("POST", &path, name).await;
    let path = format!("/drives/{}/root/delta", place.drive);
    let (_, page) = hand.send("GET", &path, Value::Null).await;
    let files = page["value"].as_array().unwrap();
    let file = files.iter().find(|item| item["file"].is_object()).unwrap();
    let path = format!(
        "/admin/exchange/mailboxes/{}/folders?$top=50",
        place.mailbox
    );
    let (_, page) = hand.send("GET", &path, Value::Null).await;
    BTreeMap::from([
        ("user-id", place.user.clone()),
        ("mailbox-id", place.mailbox.clone()),
        ("mailboxFolder-id", id(&page["value"][0])),
        ("mailFolder-id", id(&folder)),
        ("message-id", message),
        ("attachment-id", id(&attachment)),
        ("drive-id", place.drive.clone()),
        ("driveItem-id", id(file)),
        ("file-name", "new.dat".to_owned()),
        ("team-id", place.team.clone()),
        ("channel-id", place.channel.clone()),
        ("chatMessage-id", place.post.clone()),
        ("group-id", "g".to_owned()),
        ("site-id", "s".to_owned()),
        ("list-id", "l".to_owned()),
    ])
}

/// Returns the path and query of a sample with the ids of a tenant; `None` where one is missing.
fn address(sample: &Sample, ids: &BTreeMap<&str, String>) -> Option<String> {
    let (_, template) = sample.operation.split_once(' ')?;
    let mut path = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}')?;
        path.push_str(before);
        path.push_str(ids.get(name)?);
        rest = after;
    }
    path.push_str(rest);
    let query = sample.url.split_once('?').map_or("", |(_, query)| query);
    let window = |text: &str| {
        let begin = text.replace("{start_datetime}", "2026-03-01T00:00:00");
        begin.replace("{end_datetime}", "2026-04-01T00:00:00")
    };
    Some(match query {
        "" => path,
        query => format!("{path}?{}", window(query)),
    })
}

/// Every sample finds a tenant of its own, as some of them delete what others read.
#[tokio::test]
async fn the_published_requests_are_taken_by_the_tenant() {
    let Some(folder) = folder() else { return };
    let description = Description::read(&folder);
    let (mut complaints, mut taken, mut unserved) = (Vec::new(), 0, 0);
    let place = Place::new();
    for sample in all(&folder) {
        let described = description
            .operations()
            .any(|operation| operation.name() == sample.operation);
        if !described {
            continue;
        }
        let own = Place {
            tenant: place.tenant.fork(),
            ..place.clone()
        };
        let hand = Hand::new(&own.tenant, &Recording::default()).await;
        let ids = ids(&own, &hand).await;
        let Some(path) = address(&sample, &ids) else {
            unserved += 1;
            continue;
        };
        let (method, _) = sample.operation.split_once(' ').unwrap();
        let (status, answer) = hand.send(method, &path, sample.request.clone()).await;
        let message = answer["error"]["message"].as_str().unwrap_or_default();
        if status == 405 || message.starts_with("Resource not found for the segment") {
            unserved += 1;
            continue;
        }
        let known = REFUSED.iter().find(|(id, _)| *id == sample.id);
        let fits = (status < 400) == (sample.status < 400);
        match (fits, known) {
            (true, None) => taken += 1,
            (false, Some(_)) => {}
            (true, Some((id, why))) => complaints.push(format!("{id} is taken; no longer {why}")),
            (false, None) => {
                complaints.push(format!("{} {method} {path}: {status} {answer}", sample.id));
            }
        }
    }
    println!(
        "samples as requests: {taken} taken by the tenant, {} refused for known reasons, \
         {unserved} of what it does not serve",
        REFUSED.len()
    );
    assert!(complaints.is_empty(), "{complaints:#?}");
    assert!(taken >= 65, "only {taken}");
}
