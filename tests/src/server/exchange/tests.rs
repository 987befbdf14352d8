//! Tests of export and import: what leaves a mailbox comes back the same, and refusals.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use crate::server::testing::Client;
use crate::tenant::Flag;
use crate::{MailboxKind, NewMessage, Oddity, Tenant};

const ALICE: &str = "alice@contoso.example";
const BEN: &str = "ben@contoso.example";
const START: SystemTime = UNIX_EPOCH;

struct World {
    client: Client,
    /// The paths of both mailboxes.
    alice: String,
    ben: String,
}

async fn world() -> World {
    let tenant = Tenant::empty(1);
    tenant.set_clock(|| START + Duration::from_secs(1_800_000_000));
    for (name, shown) in [(ALICE, "Alice Adler"), (BEN, "Ben Bell")] {
        tenant.add_user(name, shown, MailboxKind::User);
    }
    for number in 0..25 {
        let message = NewMessage {
            subject: format!("number {number}"),
            ..NewMessage::default()
        };
        tenant.add_message(ALICE, "inbox", message).unwrap();
    }
    let client = Client::new(tenant).await;
    let path = async |user: &str| {
        let (status, body) = client
            .get(&format!("/users/{user}/settings/exchange"))
            .await;
        assert_eq!(status, 200, "{body}");
        let id = body["primaryMailboxId"].as_str().unwrap();
        assert!(id.starts_with("MBX:"), "{id}");
        format!("/admin/exchange/mailboxes/{id}")
    };
    let (alice, ben) = (path(ALICE).await, path(BEN).await);
    World { client, alice, ben }
}

impl World {
    async fn folder(&self, mailbox: &str, name: &str) -> String {
        let (status, top) = self.client.get(&format!("{mailbox}/folders?$top=99")).await;
        assert_eq!(status, 200, "{top}");
        let folders = top["value"].as_array().unwrap();
        let found = folders.iter().find(|folder| folder["displayName"] == name);
        found.unwrap()["id"].as_str().unwrap().to_owned()
    }

    async fn items(&self, mailbox: &str, folder: &str) -> Vec<Value> {
        let path = format!("{mailbox}/folders/{folder}/items?$top=99");
        let (status, body) = self.client.get(&path).await;
        assert_eq!(status, 200, "{body}");
        body["value"].as_array().unwrap().clone()
    }

    async fn export(&self, mailbox: &str, ids: &[&Value]) -> (u16, Value) {
        let body = json!({"itemIds": ids});
        let path = format!("{mailbox}/exportItems");
        self.client.call("POST", &path, body).await
    }

    async fn session(&self, mailbox: &str) -> String {
        let path = format!("{mailbox}/createImportSession");
        let (status, body) = self.client.call("POST", &path, Value::Null).await;
        assert_eq!(status, 201, "{body}");
        body["importUrl"].as_str().unwrap().to_owned()
    }

    /// Posts to an address without a token.
    async fn import(&self, url: &str, body: Value) -> (u16, Value) {
        let request = Request::post(url).body(Bytes::from(body.to_string()));
        let (status, _, bytes) = self.client.raw(request.unwrap()).await;
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }
}

fn code(body: &Value) -> &str {
    body["error"]["code"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn an_item_comes_back_in_another_mailbox_as_it_was() {
    let world = world().await;
    let inbox = world.folder(&world.alice, "Inbox").await;
    let items = world.items(&world.alice, &inbox).await;
    assert_eq!(items.len(), 25);
    let tenant = &world.client.tenant;
    let id = items[3]["id"].as_str().unwrap();
    tenant.set_flag(ALICE, id, Flag::Flagged);
    let before = tenant.mime(ALICE, id).unwrap();
    let (status, exported) = world.export(&world.alice, &[&items[3]["id"]]).await;
    assert_eq!(status, 200, "{exported}");
    let data = exported["value"][0]["data"].clone();
    let url = world.session(&world.ben).await;
    assert!(url.starts_with(tenant.urls().content.as_str()));
    let target = world.folder(&world.ben, "Inbox").await;
    let body = json!({"FolderId": target, "Mode": "create", "Data": data});
    for _ in 0..2 {
        let (status, made) = world.import(&url, body.clone()).await;
        assert_eq!(status, 200, "a session takes many items: {made}");
        let made = made["itemId"].as_str().unwrap();
        assert_eq!(tenant.mime(BEN, made).unwrap(), before);
        let messages = tenant.messages(BEN);
        assert!(messages.iter().any(|message| message.id == made));
    }
    assert_eq!(world.items(&world.ben, &target).await.len(), 2);
}

#[tokio::test]
async fn an_export_takes_twenty_and_says_of_each_how_it_went() {
    let world = world().await;
    let inbox = world.folder(&world.alice, "Inbox").await;
    let items = world.items(&world.alice, &inbox).await;
    let ids: Vec<&Value> = items.iter().map(|item| &item["id"]).collect();
    let (status, body) = world.export(&world.alice, &ids[..21]).await;
    assert_eq!((status, code(&body)), (400, "ErrorInvalidRequest"));
    let corrupt = ids[1].as_str().unwrap();
    world
        .client
        .tenant
        .set_oddity(corrupt, Some(Oddity::Corrupt));
    let unknown = json!("AAkAunknown");
    let (status, body) = world
        .export(&world.alice, &[ids[0], ids[1], &unknown])
        .await;
    assert_eq!(status, 200);
    let outcomes = body["value"].as_array().unwrap();
    assert!(outcomes[0]["data"].is_string() && outcomes[0]["error"].is_null());
    assert_eq!(code(&outcomes[1]), "ErrorCorruptData");
    assert_eq!(code(&outcomes[2]), "ErrorItemNotFound");
    assert_eq!(world.export(&world.alice, &ids[..20]).await.0, 200);
    world
        .client
        .tenant
        .set_permissions(["MailboxItem.Read.All"]);
    assert_eq!(world.export(&world.alice, &ids[..1]).await.0, 403);
}

#[tokio::test]
async fn an_update_must_name_the_item_as_it_is() {
    let world = world().await;
    let inbox = world.folder(&world.alice, "Inbox").await;
    let item = world.items(&world.alice, &inbox).await[0].clone();
    let (_, exported) = world.export(&world.alice, &[&item["id"]]).await;
    let data = exported["value"][0]["data"].clone();
    let url = world.session(&world.alice).await;
    let update = |change_key: &Value| {
        json!({"FolderId": inbox, "Mode": "update", "Data": data,
            "ItemId": item["id"], "ChangeKey": change_key})
    };
    let stale = json!("CQAAABYAAABstale");
    let (status, body) = world.import(&url, update(&stale)).await;
    assert_eq!((status, code(&body)), (409, "ErrorIrresolvableConflict"));
    let (status, body) = world.import(&url, update(&item["changeKey"])).await;
    assert_eq!(status, 200, "{body}");
    assert_ne!(body["changeKey"], item["changeKey"]);
    let (status, _) = world.import(&url, update(&item["changeKey"])).await;
    assert_eq!(status, 409, "the key has changed");
    let mut create = update(&body["changeKey"]);
    create["Mode"] = json!("create");
    assert_eq!(world.import(&url, create).await.0, 400);
    let junk = json!({"FolderId": inbox, "Mode": "create", "Data": "anVuaw=="});
    let (status, body) = world.import(&url, junk).await;
    assert_eq!((status, code(&body)), (400, "ErrorCorruptData"));
}

#[tokio::test]
async fn a_session_takes_no_token_and_ends() {
    let world = world().await;
    let url = world.session(&world.alice).await;
    let (status, _) = world.client.call("POST", &url, json!({})).await;
    assert_eq!(status, 401, "the client sends its token");
    assert_eq!(world.import(&url, json!({})).await.0, 400);
    let other = url.replace("authtoken=", "authtoken=x");
    assert_eq!(world.import(&other, json!({})).await.0, 401);
    let tenant = &world.client.tenant;
    tenant.set_clock(|| START + Duration::from_secs(1_800_003_601));
    assert_eq!(world.import(&url, json!({})).await.0, 401);
}

#[tokio::test]
async fn what_was_archived_away_is_asked_for_elsewhere() {
    let world = world().await;
    let inbox = world.folder(&world.alice, "Inbox").await;
    let item = world.items(&world.alice, &inbox).await[0].clone();
    let (_, exported) = world.export(&world.alice, &[&item["id"]]).await;
    let url = world.session(&world.alice).await;
    world.client.tenant.archive_folder(&inbox, BEN);
    let request = Request::get(format!(
        "{}v1.0{}/folders/{inbox}/items",
        world.client.tenant.urls().graph,
        world.alice
    ));
    let request = request.header("authorization", format!("Bearer {}", world.client.token));
    let (status, headers, _) = world.client.raw(request.body(Bytes::new()).unwrap()).await;
    assert_eq!(status, 308);
    let location = headers["location"].to_str().unwrap();
    assert!(location.contains(&world.ben), "{location}");
    let (status, body) = world.export(&world.alice, &[&item["id"]]).await;
    assert_eq!(status, 200);
    let error = &body["value"][0];
    assert_eq!(code(error), "ErrorArchiveFolderMovedPermanently");
    let address = error["error"]["message"].as_str().unwrap();
    assert!(address.ends_with("/exportItems") && address.contains(&world.ben));
    let data = exported["value"][0]["data"].clone();
    let body = json!({"FolderId": inbox, "Mode": "create", "Data": data});
    let (status, body) = world.import(&url, body).await;
    assert_eq!(status, 409);
    let text = body["error"]["message"].as_str().unwrap();
    assert!(text.contains("expected in mailbox MBX:"), "{text}");
}

#[tokio::test]
async fn changes_of_folders_and_items_are_told_by_delta() {
    let world = world().await;
    let inbox = world.folder(&world.alice, "Inbox").await;
    let follow = async |path: String| {
        let (mut link, mut ids) = (path, Vec::new());
        loop {
            let (status, page) = world.client.get(&link).await;
            assert_eq!(status, 200, "{page}");
            for entry in page["value"].as_array().unwrap() {
                ids.push((entry["id"].clone(), entry.get("@removed").is_some()));
            }
            match page["@odata.nextLink"].as_str() {
                Some(next) => link = next.to_owned(),
                None => return (ids, page["@odata.deltaLink"].as_str().unwrap().to_owned()),
            }
        }
    };
    let (mut all, link) = follow(format!("{}/folders/{inbox}/items/delta", world.alice)).await;
    all.sort_by_key(|(id, _)| id.to_string());
    all.dedup();
    assert_eq!(all.len(), 25);
    let gone = all[0].0.as_str().unwrap();
    assert!(world.client.tenant.delete_message(ALICE, gone));
    let (changes, _) = follow(link).await;
    assert_eq!(changes, [(json!(gone), true)]);
    let (folders, link) = follow(format!("{}/folders/delta", world.alice)).await;
    assert!(folders.len() >= 10);
    world.client.tenant.add_folder(ALICE, "inbox", "new", false);
    let (changes, _) = follow(link).await;
    assert_eq!(changes.len(), 1);
}
