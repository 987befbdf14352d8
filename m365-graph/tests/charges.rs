//! What requests are charged with: each carries its price to the limiter.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Seen, json, scripted, with};
use m365_auth::{Body, Charge, Unit};
use m365_graph::{NewAttachment, UploadOptions};
use serde_json::json;

/// Returns the charges of all requests: the names below app and tenant, requests, units, bytes.
fn charges(seen: &Seen) -> Vec<(String, u32, u64, u64)> {
    let seen = seen.lock().unwrap();
    let charge = |request: &http::Request<bytes::Bytes>| {
        let charge = request.extensions().get::<Charge>().unwrap();
        assert_eq!(charge.path()[..2], ["app", "tenant"]);
        let (units, sent) = (charge.amount(Unit::Units), charge.amount(Unit::SentBytes));
        let names = charge.path()[2..].join(" ");
        (names, charge.requests(), units, sent)
    };
    seen.iter().map(charge).collect()
}

fn charge(names: &str, units: u64, sent: u64) -> (String, u32, u64, u64) {
    (names.to_owned(), 1, units, sent)
}

#[tokio::test]
async fn a_link_that_is_followed_costs_what_it_names() {
    let next = "https://graph.contoso.example/v1.0/drives/b!1/root/delta?token=x";
    let (client, seen) = scripted(vec![
        json(200, &json!({"value": [], "@odata.nextLink": next})),
        json(200, &json!({"value": [], "@odata.deltaLink": next})),
    ]);
    let drive = client.drive("b!1");
    drive.delta(None).await.unwrap();
    let link = client.parse_delta_link(next).unwrap();
    drive.delta(Some(&link)).await.unwrap();
    assert_eq!(
        charges(&seen),
        [
            charge("sharepoint b!1 changes", 2, 0),
            charge("sharepoint b!1 changes", 1, 0)
        ]
    );
}

#[tokio::test]
async fn content_at_other_origins_is_charged_to_its_drive_or_mailbox() {
    let elsewhere = "https://content.example/1";
    let (client, seen) = scripted(vec![
        json(200, &json!({"uploadUrl": elsewhere})),
        json(201, &json!({"id": "i", "size": 6 << 20})),
        with(302, &[("location", elsewhere)], b""),
        with(200, &[], b"12345"),
        json(201, &json!({"uploadUrl": elsewhere})),
        json(201, &json!({})),
    ]);
    let drive = client.drive("b!1");
    let options = UploadOptions {
        size: 6 << 20,
        ..UploadOptions::default()
    };
    let body = Body::from(vec![0_u8; 6 << 20]);
    drive.upload("p", "n", options, body).await.unwrap();
    let item = m365_graph::Entity::from_raw(json!({"id": "i", "size": 5})).unwrap();
    let download = drive.download(&item).await.unwrap();
    download.collect(99).await.unwrap();
    let attachment = NewAttachment::new("a", vec![1_u8; 3_500_000]);
    let mail = client.mail("Ada");
    mail.add_attachment("m", &attachment).await.unwrap();
    let charges = charges(&seen);
    let opened = |number: usize| charges[number].3;
    assert_eq!(
        charges,
        [
            charge("sharepoint b!1 write", 2, opened(0)),
            charge("sharepoint b!1 transfer", 0, 6 << 20),
            charge("sharepoint b!1 content", 1, 0),
            charge("sharepoint b!1 transfer", 0, 0),
            charge("exchange ada write", 0, opened(4)),
            charge("exchange ada transfer", 0, 3_500_000),
        ]
    );
    assert!(opened(0) > 0 && opened(4) > 0, "bodies count");
}

#[tokio::test]
async fn a_batch_counts_its_parts() {
    let answer = |id: &str| json!({"id": id, "status": 200, "body": {"id": "x"}});
    let (client, seen) = scripted(vec![json(
        200,
        &json!({"responses": [answer("0"), answer("1"), answer("2")]}),
    )]);
    let mut batch = client.batch();
    for message in ["1", "2", "3"] {
        batch.message("ada", message).unwrap();
    }
    batch.send().await.unwrap();
    let charges = charges(&seen);
    assert_eq!(charges[0].0, "exchange ada read");
    assert_eq!(charges[0].1, 3);
}
