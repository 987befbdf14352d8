//! Requests of the client and answers of the tenant against the description of each operation.

use std::collections::BTreeSet;

use m365_simulator::Tenant;
use serde_json::{Value, json};

use crate::checked::Checked;
use crate::description::{Description, Operation};
use crate::folder;
use crate::hand::{Hand, by_hand};
use crate::recording::Recording;
use crate::tour::Place;

#[tokio::test]
async fn requests_of_the_client_and_answers_of_the_tenant_are_as_described() {
    let Some(folder) = folder() else { return };
    let description = Description::read(&folder);
    let (place, recording) = (Place::new(), Recording::default());
    place.tour(&place.client(&recording)).await;
    let mut checked = Checked::default();
    for exchange in recording.exchanges() {
        checked.check(&description, &exchange);
    }
    println!(
        "client: {} operations, {} bodies of requests and {} of answers checked",
        checked.operations.len(),
        checked.requests,
        checked.answers
    );
    assert!(checked.complaints.is_empty(), "{:#?}", checked.complaints);
    let transfers = [
        "PUT {uploadUrl}",
        "POST {uploadUrl}",
        "DELETE {uploadUrl}",
        "GET {download}",
    ];
    for name in transfers {
        let met = checked.operations.get(name).copied().unwrap_or_default();
        assert!(met > 0, "{name}: {:#?}", checked.operations);
    }
    assert!(checked.operations.len() >= 50 && checked.requests >= 25 && checked.answers >= 80);
}

#[tokio::test]
async fn every_feed_that_is_described_is_one_of_the_client() {
    let Some(folder) = folder() else { return };
    let description = Description::read(&folder);
    let (place, recording) = (Place::new(), Recording::default());
    place.tour(&place.client(&recording)).await;
    let exchanges = recording.exchanges();
    let ours: BTreeSet<String> = exchanges.iter().map(|own| own.name(&description)).collect();
    let feeds = description.operations().map(|operation| operation.name());
    let feeds: Vec<String> = feeds.filter(|name| name.contains("/delta")).collect();
    let other: Vec<&String> = feeds.iter().filter(|name| !ours.contains(*name)).collect();
    println!(
        "{} feeds are described, {} read",
        feeds.len(),
        feeds.len() - other.len()
    );
    // Drives of businesses know the root alone; the token in brackets is the older form of one in
    // the query, and the client takes it from links.
    assert_eq!(
        other,
        [
            "GET /drives/{drive-id}/items/{driveItem-id}/delta",
            "GET /drives/{drive-id}/root/delta(token='{token}')",
            "GET /sites/{site-id}/lists/{list-id}/items/delta(token='{token}')",
        ]
    );
}

/// Asks the tenant for an operation, with ids that lead nowhere; tells whether it knows it.
async fn is_served(hand: &Hand, operation: &Operation<'_>, user: &str, drive: &str) -> bool {
    let path = operation.template;
    let path = path.replace("{user-id}", user).replace("{drive-id}", drive);
    let mut plain = String::new();
    let mut rest = path.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        plain.push_str(before);
        plain.push('x');
        rest = after.split_once('}').unwrap().1;
    }
    plain.push_str(rest);
    let method = operation.method.to_uppercase();
    let (status, answer) = hand.send(&method, &plain, Value::Null).await;
    let message = answer["error"]["message"].as_str().unwrap_or_default();
    let unknown = status == 400 && message.starts_with("Resource not found for the segment");
    // 501 is how drives say that they know it elsewhere only.
    !(unknown || status == 405 || status == 501)
}

#[tokio::test]
async fn whatever_the_tenant_serves_of_the_description_is_as_described() {
    let Some(folder) = folder() else { return };
    let description = Description::read(&folder);
    let probe = Tenant::empty(1);
    let alice = "alice@contoso.example";
    probe.add_user(alice, "Alice Adler", m365_simulator::MailboxKind::User);
    let drive = probe.give_drive(alice).unwrap();
    let hand = Hand::new(&probe, &Recording::default()).await;
    let mut served = BTreeSet::new();
    for operation in description.operations() {
        if is_served(&hand, &operation, alice, &drive).await {
            served.insert(operation.name());
        }
    }
    let (place, recording) = (Place::new(), Recording::default());
    place.tour(&place.client(&recording)).await;
    by_hand(&Place::new(), &recording).await;
    let mut checked = Checked::default();
    for exchange in recording.exchanges() {
        checked.check(&description, &exchange);
    }
    let met = |name: &String| checked.operations.get(name).is_some_and(|times| *times > 0);
    let unmet: Vec<&String> = served.iter().filter(|name| !met(name)).collect();
    println!(
        "tenant: of {} operations described it serves {}, all met; {} bodies of answers checked",
        description.operations().count(),
        served.len(),
        checked.answers
    );
    assert!(unmet.is_empty(), "served and never met: {unmet:#?}");
    assert!(checked.complaints.is_empty(), "{:#?}", checked.complaints);
    let unknown = |name: &&String| !served.contains(*name) && !name.contains(" {");
    let elsewhere: Vec<&String> = checked.operations.keys().filter(unknown).collect();
    assert!(elsewhere.is_empty(), "met and not served: {elsewhere:#?}");
    assert!(served.len() >= 90, "only {}", served.len());
}

#[tokio::test]
async fn a_route_that_is_not_there_is_found_out() {
    let tenant = Tenant::empty(1);
    let hand = Hand::new(&tenant, &Recording::default()).await;
    let (status, answer) = hand.send("GET", "/made/up", Value::Null).await;
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(status == 400 && message.starts_with("Resource not found for the segment"));
}

#[test]
fn a_wrong_body_is_found_out() {
    let Some(folder) = folder() else { return };
    let description = Description::read(&folder);
    let operation = description
        .operation("GET", "/users/u/mailFolders/f/messages/delta")
        .unwrap();
    let schema = description.schema(&operation, Some(200)).unwrap();
    let right = json!({"value": [{"id": "1", "subject": null, "flag": {"flagStatus": "flagged"}}]});
    assert_eq!(description.complaints(schema, &right), Vec::<String>::new());
    for wrong in [
        json!({}),
        json!({"value": {}}),
        json!({"value": [{"id": 1}]}),
        json!({"value": [{"isRead": "yes"}]}),
        json!({"value": [{"body": {"madeUp": 1}}]}),
        json!({"value": [{"receivedDateTime": "yesterday"}]}),
        json!({"value": [{"flag": {"flagStatus": "waving"}}]}),
        json!({"value": [{"toRecipients": [{"emailAddress": "x"}]}]}),
    ] {
        assert_eq!(description.complaints(schema, &wrong).len(), 1, "{wrong}");
    }
}
