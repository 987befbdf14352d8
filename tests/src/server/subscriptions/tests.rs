//! Tests of subscriptions: the handshake, notifications, those that get lost, the end.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Value, json};

use crate::server::testing::Client;
use crate::tenant::LifecycleEvent;
use crate::{MailboxKind, NewMessage, Tenant};

const ALICE: &str = "alice@contoso.example";
/// 2027-01-15T08:00:00Z.
const NOW: u64 = 1_800_000_000;

type Heard = Arc<Mutex<Vec<Value>>>;

async fn world() -> (Client, Heard) {
    let tenant = Tenant::empty(1);
    tenant.set_clock(|| UNIX_EPOCH + Duration::from_secs(NOW));
    tenant.add_user(ALICE, "Alice Adler", MailboxKind::User);
    tenant.give_drive(ALICE);
    let heard = Heard::default();
    let kept = Arc::clone(&heard);
    tenant.set_notification_listener(move |request: Request<Bytes>| {
        let query = request.uri().query().unwrap_or_default();
        if let Some(token) = query.strip_prefix("validationToken=") {
            let token = percent_encoding::percent_decode_str(token)
                .decode_utf8()
                .unwrap();
            let body = match request.uri().path() {
                "/deaf" => Bytes::new(),
                _ => Bytes::from(token.into_owned()),
            };
            let answer = Response::builder().header("content-type", "text/plain");
            return answer.body(body).unwrap();
        }
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        kept.lock().unwrap().push(body["value"][0].clone());
        Response::builder().status(202).body(Bytes::new()).unwrap()
    });
    (Client::new(tenant).await, heard)
}

fn wish(resource: &str, kinds: &str) -> Value {
    json!({
        "changeType": kinds,
        "notificationUrl": "https://listener.example/n",
        "lifecycleNotificationUrl": "https://listener.example/l",
        "resource": resource,
        "expirationDateTime": "2027-01-17T08:00:00Z",
        "clientState": "sesame",
    })
}

fn add(client: &Client) -> String {
    let message = NewMessage::default();
    client.tenant.add_message(ALICE, "inbox", message).unwrap()
}

fn inbox() -> String {
    format!("users/{ALICE}/mailFolders('inbox')/messages")
}

#[tokio::test]
async fn an_address_that_does_not_answer_is_refused() {
    let (client, _) = world().await;
    let mut wish = wish(&inbox(), "created");
    wish["notificationUrl"] = json!("https://listener.example/deaf");
    let (status, body) = client.call("POST", "/subscriptions", wish.clone()).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (400, &json!("ValidationError"))
    );
    wish["notificationUrl"] = json!("https://listener.example/n");
    wish["lifecycleNotificationUrl"] = json!("https://listener.example/deaf");
    assert_eq!(client.call("POST", "/subscriptions", wish).await.0, 400);
    assert_eq!(client.get("/subscriptions").await.1["value"], json!([]));
}

#[tokio::test]
async fn changes_are_told_once_and_only_those_asked_for() {
    let (client, heard) = world().await;
    add(&client);
    let wish = wish(&inbox(), "created,deleted");
    let (status, made) = client.call("POST", "/subscriptions", wish).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(
        client.tenant.deliver_notifications(),
        0,
        "nothing is new yet"
    );
    let id = add(&client);
    assert_eq!(client.tenant.deliver_notifications(), 1);
    assert_eq!(client.tenant.deliver_notifications(), 0);
    client.tenant.set_read(ALICE, &id, true);
    assert_eq!(client.tenant.deliver_notifications(), 0, "an update");
    client.tenant.delete_message(ALICE, &id);
    assert_eq!(client.tenant.deliver_notifications(), 1);
    let heard = heard.lock().unwrap();
    let kinds: Vec<&Value> = heard.iter().map(|told| &told["changeType"]).collect();
    assert_eq!(kinds, ["created", "deleted"]);
    assert_eq!(heard[0]["subscriptionId"], made["id"]);
    assert_eq!(heard[0]["clientState"], "sesame");
    assert!(heard[0]["resourceData"]["id"].is_string());
}

#[tokio::test]
async fn lost_notifications_are_admitted_for_mail_and_not_for_drives() {
    let (client, heard) = world().await;
    for (resource, kinds) in [
        (inbox(), "created"),
        (format!("users/{ALICE}/drive/root"), "updated"),
    ] {
        let (status, made) = client
            .call("POST", "/subscriptions", wish(&resource, kinds))
            .await;
        assert_eq!(status, 201, "{made}");
    }
    client.tenant.lose_notifications(2);
    add(&client);
    let folder = json!({"name": "x", "folder": {}});
    let path = format!("/users/{ALICE}/drive/root/children");
    assert_eq!(client.call("POST", &path, folder.clone()).await.0, 201);
    assert_eq!(client.tenant.deliver_notifications(), 1);
    assert_eq!(heard.lock().unwrap()[0]["lifecycleEvent"], "missed");
    let (status, _) = client
        .call("POST", &path, json!({"name": "y", "folder": {}}))
        .await;
    assert_eq!((status, client.tenant.deliver_notifications()), (201, 1));
    assert_eq!(heard.lock().unwrap()[1]["changeType"], "updated");
}

#[tokio::test]
async fn a_subscription_is_renewed_reauthorized_and_ends() {
    let (client, heard) = world().await;
    let (_, made) = client
        .call("POST", "/subscriptions", wish(&inbox(), "created"))
        .await;
    let own = format!("/subscriptions/{}", made["id"].as_str().unwrap());
    let later = |time: &str| json!({"expirationDateTime": time});
    let (status, body) = client
        .call("PATCH", &own, later("2027-01-18T06:00:00Z"))
        .await;
    assert_eq!(
        (status, &body["expirationDateTime"]),
        (200, &json!("2027-01-18T06:00:00Z"))
    );
    let (status, _) = client
        .call("PATCH", &own, later("2027-01-18T07:00:00Z"))
        .await;
    assert_eq!(status, 400, "more than 4,230 minutes");
    let other = json!({"lifecycleNotificationUrl": "https://listener.example/x"});
    assert_eq!(client.call("PATCH", &own, other).await.0, 400);
    client
        .tenant
        .send_lifecycle_event(LifecycleEvent::ReauthorizationRequired);
    let path = format!("{own}/reauthorize");
    assert_eq!(client.call("POST", &path, Value::Null).await.0, 200);
    client
        .tenant
        .set_clock(|| UNIX_EPOCH + Duration::from_secs(NOW + 5 * 86_400));
    let fresh = Client::new(client.tenant.clone()).await;
    assert_eq!(fresh.get(&own).await.0, 404);
    add(&fresh);
    assert_eq!(fresh.tenant.deliver_notifications(), 0);
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0]["lifecycleEvent"], "reauthorizationRequired");
}

#[tokio::test]
async fn wishes_that_the_service_does_not_take_are_refused() {
    let (client, _) = world().await;
    for (resource, kinds, status) in [
        (format!("users/{ALICE}/drive/root"), "created", 400),
        (inbox(), "moved", 400),
        ("users/nobody/messages".to_owned(), "created", 404),
        ("planets".to_owned(), "created", 400),
    ] {
        let (got, body) = client
            .call("POST", "/subscriptions", wish(&resource, kinds))
            .await;
        assert_eq!(got, status, "{resource}: {body}");
    }
    let mut past = wish(&inbox(), "created");
    past["expirationDateTime"] = json!("2027-01-15T07:59:59Z");
    assert_eq!(client.call("POST", "/subscriptions", past).await.0, 400);
    assert_eq!(client.get("/subscriptions/none").await.0, 404);
    let sent = client
        .tenant
        .send_lifecycle_event(LifecycleEvent::SubscriptionRemoved);
    assert_eq!(sent, 0, "nobody has subscribed");
}
