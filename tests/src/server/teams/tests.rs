//! Tests of teams: slow creation, the window of changes, and what migration mode allows.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use crate::server::testing::Client;
use crate::{MailboxKind, Tenant};

/// 2027-01-15T08:00:00Z.
const NOW: u64 = 1_800_000_000;

async fn client() -> Client {
    let tenant = Tenant::empty(1);
    tenant.set_clock(|| UNIX_EPOCH + Duration::from_secs(NOW));
    tenant.add_user("alice@contoso.example", "Alice Adler", MailboxKind::User);
    Client::new(tenant).await
}

fn old_message(created: &str) -> Value {
    json!({
        "createdDateTime": created,
        "from": {"user": {"id": "8ea0e38b", "displayName": "Joh Doe"}},
        "body": {"contentType": "html", "content": "<b>hello</b>"},
    })
}

#[tokio::test]
async fn a_new_team_is_not_found_for_a_while() {
    let client = client().await;
    let team = json!({
        "displayName": "Plans",
        "template@odata.bind": "https://graph.microsoft.com/v1.0/teamsTemplates('standard')",
    });
    let request = Request::post(format!("{}v1.0/teams", client.tenant.urls().graph))
        .header("authorization", format!("Bearer {}", client.token))
        .body(Bytes::from(team.to_string()));
    let (status, headers, _) = client.raw(request.unwrap()).await;
    assert_eq!(status, 202);
    let location = headers["location"].to_str().unwrap();
    let (id, operation) = location
        .trim_start_matches("/teams('")
        .trim_end_matches("')")
        .split_once("')/operations('")
        .unwrap();
    let own = format!("/teams/{id}");
    let (status, body) = client.get(&own).await;
    assert_eq!((status, &body["error"]["code"]), (404, &json!("NotFound")));
    let operation = format!("{own}/operations/{operation}");
    assert_eq!(client.get(&operation).await.1["status"], "inProgress");
    assert_eq!(client.get(&operation).await.1["status"], "succeeded");
    assert_eq!(client.get(&own).await.1["displayName"], "Plans");
    let (_, channels) = client.get(&format!("{own}/channels")).await;
    assert_eq!(channels["value"][0]["displayName"], "General");
    let unnamed = json!({"template@odata.bind": team["template@odata.bind"]});
    assert_eq!(client.call("POST", "/teams", unnamed).await.0, 400);
}

#[tokio::test]
async fn changes_of_a_channel_go_back_eight_months() {
    let client = client().await;
    let (team, channel) = client.tenant.add_team("Plans");
    let now = i64::try_from(NOW).unwrap();
    let add = |text: &str, days: i64| {
        let created = now - days * 86_400;
        client
            .tenant
            .add_channel_message(&team, &channel, text, created)
            .unwrap()
    };
    add("long ago", 400);
    let ids: Vec<String> = (0..7).map(|day| add("lately", 100 - day)).collect();
    let path = format!("/teams/{team}/channels/{channel}/messages");
    let (_, all) = client.get(&format!("{path}?$top=50")).await;
    assert_eq!(all["value"].as_array().unwrap().len(), 8);
    let (mut link, mut told) = (format!("{path}/delta?$top=3"), Vec::new());
    let cursor = loop {
        let (status, page) = client.get(&link).await;
        assert_eq!(status, 200, "{page}");
        let posts = page["value"].as_array().unwrap();
        told.extend(
            posts
                .iter()
                .map(|post| post["id"].as_str().unwrap().to_owned()),
        );
        match page["@odata.nextLink"].as_str() {
            Some(next) => link = next.to_owned(),
            None => break page["@odata.deltaLink"].as_str().unwrap().to_owned(),
        }
    };
    assert_eq!(told, ids);
    assert_eq!(client.get(&cursor).await.1["value"], json!([]));
    let new = add("now", 0);
    assert_eq!(client.get(&cursor).await.1["value"][0]["id"], new.as_str());
    assert_eq!(client.get(&format!("{path}?$top=51")).await.0, 400);
    assert_eq!(
        client.get(&format!("{path}/delta?$deltatoken=x")).await.0,
        400
    );
    let export = format!("/teams/{team}/channels/getAllMessages?$top=50");
    let (_, all) = client.get(&export).await;
    assert_eq!(all["value"].as_array().unwrap().len(), 9);
}

#[tokio::test]
async fn an_app_writes_messages_in_migration_mode_only() {
    let client = client().await;
    let (team, channel) = client.tenant.add_team("Plans");
    let own = format!("/teams/{team}/channels/{channel}");
    let post = async |created: &str| {
        let path = format!("{own}/messages");
        client.call("POST", &path, old_message(created)).await.0
    };
    assert_eq!(post("2020-01-01T00:00:00Z").await, 403);
    let start = format!("{own}/startMigration");
    let begin = |time: &str| json!({"conversationCreationDateTime": time});
    let newer = begin("2027-01-14T00:00:00Z");
    assert_eq!(
        client.call("POST", &start, newer).await.0,
        400,
        "newer than the channel"
    );
    let (status, body) = client
        .call("POST", &start, begin("2019-01-01T00:00:00Z"))
        .await;
    assert_eq!(status, 204, "{body}");
    assert_eq!(client.call("POST", &start, json!({})).await.0, 400, "twice");
    assert_eq!(client.get(&own).await.1["migrationMode"], "inProgress");
    assert_eq!(post("2020-01-01T00:00:00Z").await, 201);
    assert_eq!(
        post("2018-01-01T00:00:00Z").await,
        400,
        "before its channel"
    );
    assert_eq!(post("2030-01-01T00:00:00Z").await, 400, "in the future");
    let (_, list) = client.get(&format!("{own}/messages")).await;
    let first = list["value"][0]["id"].as_str().unwrap();
    let replies = format!("{own}/messages/{first}/replies");
    let reply = old_message("2020-01-02T00:00:00Z");
    assert_eq!(client.call("POST", &replies, reply).await.0, 201);
    let (_, replies) = client.get(&replies).await;
    assert_eq!(replies["value"][0]["replyToId"], first);
    let complete = format!("{own}/completeMigration");
    assert_eq!(client.call("POST", &complete, Value::Null).await.0, 204);
    assert_eq!(client.call("POST", &complete, Value::Null).await.0, 400);
    assert_eq!(post("2020-01-01T00:00:00Z").await, 403);
    client.tenant.set_permissions(["ChannelMessage.Read.All"]);
    assert_eq!(client.call("POST", &start, json!({})).await.0, 403);
}

#[tokio::test]
async fn a_team_that_is_migrated_completes_after_its_channels() {
    let client = client().await;
    let team = json!({
        "@microsoft.graph.teamCreationMode": "migration",
        "displayName": "Old plans",
        "template@odata.bind": "https://graph.microsoft.com/v1.0/teamsTemplates('standard')",
        "createdDateTime": "2020-01-01T00:00:00Z",
    });
    let mut undated = team.clone();
    undated["createdDateTime"] = Value::Null;
    assert_eq!(client.call("POST", "/teams", undated).await.0, 400);
    assert_eq!(client.call("POST", "/teams", team).await.0, 202);
    let (mut status, mut id) = (404, String::new());
    while status == 404 {
        id = client.tenant.lock().teams.all[0].id.clone();
        status = client.get(&format!("/teams/{id}")).await.0;
    }
    let channel = json!({
        "@microsoft.graph.channelCreationMode": "migration",
        "displayName": "Old talk",
        "createdDateTime": "2020-02-01T00:00:00Z",
    });
    let channels = format!("/teams/{id}/channels");
    assert_eq!(client.call("POST", &channels, channel).await.0, 201);
    let complete = format!("/teams/{id}/completeMigration");
    assert_eq!(client.call("POST", &complete, Value::Null).await.0, 400);
    let (_, list) = client.get(&channels).await;
    for channel in list["value"].as_array().unwrap() {
        let path = format!(
            "{channels}/{}/completeMigration",
            channel["id"].as_str().unwrap()
        );
        assert_eq!(client.call("POST", &path, Value::Null).await.0, 204);
    }
    assert_eq!(client.call("POST", &complete, Value::Null).await.0, 204);
    assert_eq!(client.call("POST", &complete, Value::Null).await.0, 400);
}
