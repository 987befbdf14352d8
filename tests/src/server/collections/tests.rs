//! Tests of collections: pages, changes, views of calendars, refusals in each service's words.
#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};

use crate::server::testing::Client;
use crate::{MailboxKind, Tenant};

async fn client() -> (Client, String) {
    let tenant = Tenant::empty(1);
    let alice = tenant.add_user("alice@contoso.example", "Alice Adler", MailboxKind::User);
    (Client::new(tenant).await, alice)
}

fn ids(page: &Value) -> Vec<&str> {
    let value = page["value"].as_array().unwrap();
    value
        .iter()
        .map(|own| own["id"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_change_is_told_once_and_a_removal_after_it() {
    let (client, alice) = client().await;
    let contacts = format!("users/{alice}/contacts");
    let add = |name: &str| {
        let contact = json!({"displayName": name});
        client.tenant.put_object(&contacts, contact)
    };
    let all: Vec<String> = ["a", "b", "c", "d"].map(add).to_vec();
    let (_, list) = client
        .get(&format!("/{contacts}?$top=3&$select=displayName"))
        .await;
    assert_eq!(ids(&list), all[..3]);
    let (_, rest) = client.get(list["@odata.nextLink"].as_str().unwrap()).await;
    assert_eq!(ids(&rest), all[3..]);
    let path = "/users/alice@contoso.example/contacts/delta";
    let (status, page) = client.get(path).await;
    assert_eq!(
        (status, ids(&page)),
        (200, all[..3].iter().map(String::as_str).collect())
    );
    let (_, page) = client.get(page["@odata.nextLink"].as_str().unwrap()).await;
    assert_eq!(ids(&page), all[3..]);
    let link = page["@odata.deltaLink"].as_str().unwrap();
    let again = json!({"id": all[1], "displayName": "b2"});
    client.tenant.put_object(&contacts, again);
    assert!(client.tenant.remove_object(&contacts, &all[0]));
    assert!(!client.tenant.remove_object(&contacts, &all[0]));
    let (_, page) = client.get(link).await;
    assert_eq!(ids(&page), [all[1].as_str(), &all[0]]);
    assert_eq!(page["value"][1]["@removed"]["reason"], "deleted");
    client.tenant.expire_collection_cursors(&contacts);
    let (status, body) = client.get(link).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (410, &json!("SyncStateNotFound"))
    );
    let (status, _) = client.get(&format!("{path}?$deltatoken=x")).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn a_view_of_a_calendar_shows_its_span_and_removes_the_rest() {
    let (client, alice) = client().await;
    let add = |day: &str| {
        let time = |hour: &str| json!({"dateTime": format!("{day}T{hour}:00"), "timeZone": "UTC"});
        let event = json!({"subject": day, "start": time("09:00"), "end": time("10:00")});
        client
            .tenant
            .put_object(&format!("users/{alice}/events"), event)
    };
    let (inside, outside) = (add("2026-03-02"), add("2026-05-02"));
    let view = format!("/users/{alice}/calendarView/delta");
    assert_eq!(client.get(&view).await.0, 400, "without a span");
    let span = "startDateTime=2026-03-01T00:00:00&endDateTime=2026-04-01T00:00:00";
    let (status, page) = client.get(&format!("{view}?{span}")).await;
    assert_eq!(status, 200, "{page}");
    assert_eq!(ids(&page), [inside.as_str(), &outside]);
    assert!(page["value"][1]["@removed"].is_object());
    let new = add("2026-03-03");
    let (_, page) = client.get(page["@odata.deltaLink"].as_str().unwrap()).await;
    assert_eq!(ids(&page), [new.as_str()], "the link keeps the span");
    assert_eq!(
        client.get(&format!("{view}?{span}&$select=id")).await.0,
        400
    );
}

#[tokio::test]
async fn lists_of_sites_say_deleted_and_others_are_forbidden() {
    let (client, _) = client().await;
    client
        .tenant
        .put_object("sites", json!({"id": "s1", "name": "plans"}));
    let items = "sites/s1/lists/l1/items";
    let id = client
        .tenant
        .put_object(items, json!({"fields": {"Title": "x"}}));
    let (_, page) = client.get(&format!("/{items}/delta")).await;
    assert_eq!(ids(&page), [id.as_str()]);
    client.tenant.remove_object(items, &id);
    let (_, page) = client.get(page["@odata.deltaLink"].as_str().unwrap()).await;
    assert_eq!(page["value"][0]["deleted"]["state"], "deleted");
    let (_, sites) = client.get("/sites/getAllSites").await;
    assert_eq!(ids(&sites), ["s1"]);
    client.tenant.set_permissions(["Mail.Read"]);
    for path in [items, "groups", "sites/delta"] {
        assert_eq!(client.get(&format!("/{path}")).await.0, 403, "{path}");
    }
}

#[tokio::test]
async fn the_users_of_the_directory_are_told_as_they_are_now() {
    let (client, alice) = client().await;
    let bob = client
        .tenant
        .add_user("bob@contoso.example", "Bob Brown", MailboxKind::Shared);
    let (status, page) = client.get("/users/delta?$select=displayName,mail").await;
    assert_eq!(
        (status, ids(&page)),
        (200, vec![alice.as_str(), bob.as_str()])
    );
    assert_eq!(page["value"][1]["displayName"], "Bob Brown");
    let link = page["@odata.deltaLink"].as_str().unwrap();
    client.tenant.remove_mailbox(&alice);
    assert!(client.tenant.remove_user(&bob));
    let carol = client
        .tenant
        .add_user("carol@contoso.example", "Carol Cook", MailboxKind::User);
    assert!(carol != alice && carol != bob);
    let (_, changes) = client.get(link).await;
    assert_eq!(ids(&changes), [alice.as_str(), &bob, &carol]);
    assert_eq!(changes["value"][0]["mail"], Value::Null);
    assert_eq!(changes["value"][1]["@removed"]["reason"], "deleted");
    client.tenant.expire_collection_cursors("users");
    let (status, refusal) = client.get(link).await;
    assert_eq!(
        (status, &refusal["error"]["code"]),
        (410, &json!("resyncRequired"))
    );
}
