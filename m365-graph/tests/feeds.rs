//! Feeds and listings: what each asks for, page after page, until it ends.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Reply, Seen, header, json, lines, scripted};
use futures_util::TryStreamExt;
use m365_graph::{Change, DeltaNext, DeltaPage, ErrorKind, Feed, GraphClient, Result};
use serde::de::DeserializeOwned;
use serde_json::json as value;

const ROOT: &str = "https://graph.contoso.example/v1.0";

fn page(link: &str, to: &str, ids: &[&str]) -> Reply {
    let objects: Vec<_> = ids.iter().map(|id| value!({"id": id})).collect();
    json(
        200,
        &value!({"value": objects, link: format!("{ROOT}/{to}")}),
    )
}

#[tokio::test]
async fn a_feed_is_read_to_its_end_and_asked_again_from_there() {
    let (client, seen) = scripted(vec![
        page("@odata.nextLink", "groups/delta?$skiptoken=1", &["a"]),
        page("@odata.deltaLink", "groups/delta?$deltatoken=2", &["b"]),
        page("@odata.deltaLink", "groups/delta?$deltatoken=3", &[]),
    ]);
    let feed = client
        .groups_feed()
        .unwrap()
        .select(&["displayName", "members"]);
    let pages: Vec<DeltaPage<_>> = feed.clone().pages(None).try_collect().await.unwrap();
    let counts: Vec<usize> = pages.iter().map(|page| page.changes.len()).collect();
    assert_eq!(counts, [1, 1]);
    let DeltaNext::End(link) = &pages[1].next else {
        panic!("the second page is the last");
    };
    let again: Vec<DeltaPage<_>> = feed.pages(Some(link.clone())).try_collect().await.unwrap();
    assert_eq!(again.len(), 1);
    let expected = [
        "GET /v1.0/groups/delta?$select=displayName,members",
        "GET /v1.0/groups/delta?$skiptoken=1",
        "GET /v1.0/groups/delta?$deltatoken=2",
    ];
    assert_eq!(lines(&seen), expected);
}

#[tokio::test]
async fn a_listing_is_read_page_by_page_as_it_is_wanted() {
    let more = page("@odata.nextLink", "groups?$skiptoken=1", &["a", "b"]);
    let (client, seen) = scripted(vec![more, json(200, &value!({"value": [{"id": "c"}]}))]);
    let mut groups = Box::pin(client.groups().unwrap().page_size(2).items());
    let first = groups.try_next().await.unwrap().unwrap();
    assert_eq!((first.id.as_str(), lines(&seen).len()), ("a", 1));
    let rest: Vec<_> = groups.try_collect().await.unwrap();
    assert_eq!(rest.len(), 2);
    assert_eq!(
        lines(&seen),
        ["GET /v1.0/groups?$top=2", "GET /v1.0/groups?$skiptoken=1"]
    );
}

#[tokio::test]
async fn a_link_to_elsewhere_ends_the_stream() {
    let hostile = value!({"value": [], "@odata.nextLink": "https://graph.contoso.example.evil/x"});
    let (client, seen) = scripted(vec![json(200, &hostile)]);
    let error = client
        .sites()
        .unwrap()
        .items()
        .try_collect::<Vec<_>>()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OriginRefused);
    assert_eq!(lines(&seen).len(), 1);
}

/// Reads one page of a feed with a size asked for; returns what was sent and how it was said.
async fn asked<T: DeserializeOwned>(
    build: impl Fn(&GraphClient) -> Result<Feed<T>>,
) -> (String, bool) {
    let end = page("@odata.deltaLink", "x?$deltatoken=1", &["1"]);
    let (client, seen): (_, Seen) = scripted(vec![end]);
    build(&client)
        .unwrap()
        .page_size(7)
        .page(None)
        .await
        .unwrap();
    let said = header(&seen, 0, "prefer")
        .unwrap()
        .contains("odata.maxpagesize=7");
    (lines(&seen).remove(0), said)
}

#[tokio::test]
async fn every_feed_asks_at_its_own_address_in_its_own_way() {
    macro_rules! check {
        ($build:expr, $path:literal, $said:literal) => {
            let (line, said) = asked($build).await;
            assert_eq!(line, concat!("GET /v1.0", $path));
            assert_eq!(said, $said, "{line}");
        };
    }
    check!(GraphClient::users_feed, "/users/delta", false);
    check!(GraphClient::sites_feed, "/sites/delta", false);
    check!(
        |c| c.mail_folders_feed("u"),
        "/users/u/mailFolders/delta",
        true
    );
    check!(
        |c| c.messages_feed("u", "f"),
        "/users/u/mailFolders/f/messages/delta",
        true
    );
    check!(
        |c| c.contact_folders_feed("u"),
        "/users/u/contactFolders/delta",
        true
    );
    check!(
        |c| c.contacts_feed("u", None),
        "/users/u/contacts/delta",
        true
    );
    check!(
        |c| c.contacts_feed("u", Some("f")),
        "/users/u/contactFolders/f/contacts/delta",
        true
    );
    check!(|c| c.events_feed("u", None), "/users/u/events/delta", true);
    check!(
        |c| c.events_feed("u", Some("k")),
        "/users/u/calendars/k/events/delta",
        true
    );
    check!(
        |c| c.calendar_view_feed("u", None, "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        "/users/u/calendarView/delta?startDateTime=2026-01-01T00%3A00%3A00Z\
         &endDateTime=2027-01-01T00%3A00%3A00Z",
        true
    );
    check!(
        |c| c.todo_lists_feed("u"),
        "/users/u/todo/lists/delta",
        true
    );
    check!(
        |c| c.todo_tasks_feed("u", "l"),
        "/users/u/todo/lists/l/tasks/delta",
        true
    );
    check!(
        |c| c.mailbox_folders_feed("MBX:1@2"),
        "/admin/exchange/mailboxes/MBX%3A1%402/folders/delta",
        true
    );
    check!(
        |c| c.mailbox_items_feed("m", "f"),
        "/admin/exchange/mailboxes/m/folders/f/items/delta",
        true
    );
    check!(|c| c.drive_feed("d"), "/drives/d/root/delta?$top=7", false);
    check!(
        |c| c.list_items_feed("s", "l"),
        "/sites/s/lists/l/items/delta?$top=7",
        false
    );
    check!(
        |c| c.channel_messages_feed("t", "c"),
        "/teams/t/channels/c/messages/delta?$top=7",
        false
    );
}

#[tokio::test]
async fn removals_are_told_in_the_way_of_each_service() {
    let gone = value!([{"id": "1", "deleted": {"state": "deleted"}}, {"id": "2"}]);
    let answer = value!({"value": gone, "@odata.deltaLink": format!("{ROOT}/x")});
    let (client, _) = scripted(vec![json(200, &answer)]);
    let page = client
        .list_items_feed("s", "l")
        .unwrap()
        .page(None)
        .await
        .unwrap();
    assert!(matches!(&page.changes[0], Change::Removed { id, .. } if id == "1"));
    assert!(matches!(&page.changes[1], Change::Upserted(_)));
    let gone = value!([{"id": "1", "@removed": {"reason": "changed"}}]);
    let answer = value!({"value": gone, "@odata.deltaLink": format!("{ROOT}/x")});
    let (client, _) = scripted(vec![json(200, &answer)]);
    let page = client.users_feed().unwrap().page(None).await.unwrap();
    assert!(matches!(&page.changes[0], Change::Removed { .. }));
}
