//! A tour of all that the client can ask, on a tenant that has something of everything.

use std::time::Duration;

use futures_util::TryStreamExt;
use m365_auth::Body;
use m365_graph::{
    Feed, GraphClient, GraphOptions, Listing, NewAttachment, OnConflict, UploadOptions,
};
use m365_simulator::{Tenant, TenantSpec};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::recording::Recording;
use crate::simulated::signed_in;

/// A tenant and the ids of what is in it.
#[derive(Clone)]
pub struct Place {
    pub tenant: Tenant,
    pub user: String,
    pub mailbox: String,
    pub drive: String,
    pub team: String,
    pub channel: String,
    pub post: String,
}

/// What each collection of the tenant gets one of.
pub fn objects(user: &str) -> Vec<(String, Value)> {
    let time = json!({"dateTime": "2026-03-02T09:00:00", "timeZone": "UTC"});
    let event = json!({"subject": "Plans", "type": "singleInstance", "start": time, "end": time});
    let contact = json!({
        "displayName": "Bob",
        "emailAddresses": [{"address": "bob@contoso.example", "name": "Bob"}],
    });
    let member = json!({
        "@odata.type": "#microsoft.graph.user", "displayName": "Bob", "userType": "Member",
    });
    let of = |rest: &str| format!("users/{user}/{rest}");
    let named = |name: &str| json!({"displayName": name});
    let task = json!({"title": "Think", "status": "notStarted"});
    vec![
        (
            "groups".into(),
            json!({"displayName": "All", "groupTypes": ["Unified"]}),
        ),
        ("groups/g/members".into(), member),
        (
            "sites".into(),
            json!({"name": "plans", "webUrl": "https://contoso.example/plans"}),
        ),
        (
            "sites/s/drives".into(),
            json!({"name": "Documents", "driveType": "documentLibrary"}),
        ),
        (
            "sites/s/lists".into(),
            json!({"name": "t", "list": {"template": "genericList"}}),
        ),
        (
            "sites/s/lists/l/items".into(),
            json!({"fields": {"Title": "x"}}),
        ),
        (of("contactFolders"), named("Friends")),
        (of("contacts"), contact.clone()),
        (of("contactFolders/f/contacts"), contact),
        (
            of("calendars"),
            json!({"name": "Calendar", "canEdit": true}),
        ),
        (of("events"), event.clone()),
        (of("calendars/c/events"), event),
        (
            of("todo/lists"),
            json!({"displayName": "Tasks", "wellknownListName": "defaultList"}),
        ),
        (of("todo/lists/l/tasks"), task),
    ]
}

/// The time in the tenant, in seconds since 1970: 2026-11-15T00:00:00Z.
const NOW: u64 = 1_794_700_800;

const MARK: &str = "String {66f5a359-4659-4830-9070-00047ec6ac6e} Name Mark";

impl Place {
    pub fn new() -> Self {
        let tenant = Tenant::generate(TenantSpec {
            seed: 7,
            users: 3,
            messages_per_user: 40,
            files_per_user: 8,
            logical_bytes: 4 << 20,
            ..TenantSpec::default()
        })
        .unwrap();
        tenant.set_clock(|| std::time::UNIX_EPOCH + Duration::from_secs(NOW));
        let user = tenant.users()[0].id.clone();
        let mailbox = format!("MBX:{user}@{}", tenant.app().tenant_id);
        let drive = tenant.with_drive(&user, |drive| drive.id().to_owned());
        let (team, channel) = tenant.add_team("Plans");
        let post = tenant.add_channel_message(&team, &channel, "hello", NOW.cast_signed() - 100);
        for (collection, object) in objects(&user) {
            tenant.put_object(&collection, object);
        }
        Self {
            drive: drive.unwrap(),
            post: post.unwrap(),
            tenant,
            user,
            mailbox,
            team,
            channel,
        }
    }

    /// Returns a client, all of whose exchanges are kept.
    pub fn client(&self, recording: &Recording) -> GraphClient {
        let options = GraphOptions {
            message_page_size: 7,
            list_page_size: 5,
            upload_fragment_bytes: 327_680,
            ..GraphOptions::default()
        };
        signed_in(&self.tenant, recording.transport(&self.tenant), options)
    }

    /// Does everything that the client can.
    pub async fn tour(&self, client: &GraphClient) {
        self.directory(client).await;
        self.read_mail(client).await;
        self.write_mail(client).await;
        self.files(client).await;
        self.feeds(client).await;
        self.listings(client).await;
        self.batch(client).await;
    }

    async fn directory(&self, client: &GraphClient) {
        let page = client.users_page(None).await.unwrap();
        assert_eq!(page.items.len(), self.tenant.users().len());
        client.user(&self.user).await.unwrap();
        client.user("nobody").await.unwrap_err();
        client.mailbox_settings(&self.user).await.unwrap();
        client.user_drive(&self.user).await.unwrap();
    }

    async fn read_mail(&self, client: &GraphClient) {
        let mail = client.mail(&self.user);
        mail.folders_delta(None).await.unwrap();
        mail.folder("inbox").await.unwrap();
        mail.child_folders("msgfolderroot", None).await.unwrap();
        mail.messages_delta("inbox", None).await.unwrap();
        mail.message_heads_delta("inbox", None).await.unwrap();
        let page = mail.messages_page("inbox", None, None).await.unwrap();
        for value in [None, Some("x")] {
            let marked = mail.marked_messages_page("inbox", MARK, value, None);
            assert_eq!(marked.await.unwrap().items.is_empty(), value.is_some());
        }
        let message = &page.items[0];
        mail.message(&message.id).await.unwrap();
        mail.message_as_listed(&message.id).await.unwrap();
        mail.message_head(&message.id).await.unwrap();
        mail.mime(&message.id).await.unwrap();
        mail.message("nothing").await.unwrap_err();
    }

    async fn write_mail(&self, client: &GraphClient) {
        let mail = client.mail(&self.user);
        let folder = mail
            .create_folder("inbox", "A new one", true)
            .await
            .unwrap();
        let message = json!({
            "subject": "Hello",
            "body": {"contentType": "text", "content": "there"},
            "toRecipients": [{"emailAddress": {"address": "x@contoso.example", "name": "X"}}],
        });
        let message = mail.create_message(&folder.id, &message).await.unwrap();
        let small = NewAttachment::new("small.txt", "hello");
        mail.add_attachment(&message.id, &small).await.unwrap();
        let large = NewAttachment::new("large.bin", vec![7; 3_200_000]);
        mail.add_attachment(&message.id, &large).await.unwrap();
        let read = json!({"isRead": true});
        mail.update_message(&message.id, &read).await.unwrap();
        mail.delete_message(&message.id).await.unwrap();
    }

    async fn files(&self, client: &GraphClient) {
        let drive = client.drive(&self.drive);
        drive.delta(None).await.unwrap();
        let root = drive.root().await.unwrap();
        drive.children(&root.id, None).await.unwrap();
        let folder = drive.create_folder(&root.id, "A new one").await.unwrap();
        let upload = async |name: &str, options: UploadOptions| {
            let length = usize::try_from(options.size).unwrap();
            let body = Body::from(vec![7; length]);
            drive.upload(&folder.id, name, options, body).await
        };
        let options = |size: u64| UploadOptions {
            size,
            ..UploadOptions::default()
        };
        let replace = UploadOptions {
            conflict: OnConflict::Replace,
            ..options(5)
        };
        let file = upload("small.txt", replace).await.unwrap();
        let dated = UploadOptions {
            modified: Some("2026-01-02T03:04:05Z".into()),
            ..options(700_000)
        };
        upload("large.bin", dated.clone()).await.unwrap();
        // It is refused with its last fragment, and the session is given up.
        upload("large.bin", dated.clone()).await.unwrap_err();
        let deferred = UploadOptions {
            defer_commit: true,
            ..dated
        };
        upload("late.bin", deferred).await.unwrap();
        drive.item(&file.id).await.unwrap();
        assert!(drive.child(&folder.id, "nothing").await.unwrap().is_none());
        drive.download(&file).await.unwrap();
        let name = json!({"name": "renamed.txt"});
        drive.update(&file.id, &name).await.unwrap();
        drive.delete(&file.id).await.unwrap();
    }

    async fn feeds(&self, client: &GraphClient) {
        let (user, begin, end) = (&self.user, "2026-03-01T00:00:00", "2026-04-01T00:00:00");
        let inbox = client.mail(user).folder("inbox").await.unwrap();
        to_the_end(client.users_feed()).await;
        to_the_end(client.groups_feed()).await;
        to_the_end(client.mail_folders_feed(user)).await;
        to_the_end(client.messages_feed(user, "inbox")).await;
        to_the_end(client.contact_folders_feed(user)).await;
        to_the_end(client.contacts_feed(user, None)).await;
        to_the_end(client.contacts_feed(user, Some("f"))).await;
        to_the_end(client.events_feed(user, None)).await;
        to_the_end(client.events_feed(user, Some("c"))).await;
        to_the_end(client.calendar_view_feed(user, None, begin, end)).await;
        to_the_end(client.calendar_view_feed(user, Some("c"), begin, end)).await;
        to_the_end(client.todo_lists_feed(user)).await;
        to_the_end(client.todo_tasks_feed(user, "l")).await;
        to_the_end(client.mailbox_folders_feed(&self.mailbox)).await;
        to_the_end(client.mailbox_items_feed(&self.mailbox, &inbox.id)).await;
        to_the_end(client.drive_feed(&self.drive)).await;
        to_the_end(client.sites_feed()).await;
        to_the_end(client.list_items_feed("s", "l")).await;
        to_the_end(client.channel_messages_feed(&self.team, &self.channel)).await;
    }

    async fn listings(&self, client: &GraphClient) {
        let user = &self.user;
        let root = client.drive(&self.drive).root().await.unwrap();
        all_of(client.users()).await;
        all_of(client.groups()).await;
        all_of(client.group_members("g")).await;
        all_of(client.messages(user, "inbox")).await;
        all_of(client.contact_folders(user)).await;
        all_of(client.calendars(user)).await;
        all_of(client.events(user, None)).await;
        all_of(client.events(user, Some("c"))).await;
        all_of(client.drive_children(&self.drive, &root.id)).await;
        all_of(client.sites()).await;
        all_of(client.site_drives("s")).await;
        all_of(client.site_lists("s")).await;
        all_of(client.list_items("s", "l")).await;
    }

    async fn batch(&self, client: &GraphClient) {
        let (user, mail) = (&self.user, client.mail(&self.user));
        let page = mail.messages_page("inbox", None, None).await.unwrap();
        let [one, other, ..] = page.items.as_slice() else {
            panic!("an inbox with less than two messages");
        };
        let drive = client.drive(&self.drive);
        let root = drive.root().await.unwrap();
        let folder = drive.create_folder(&root.id, "Batched").await.unwrap();
        let mut batch = client.batch();
        let nobody = batch.user("nobody").unwrap();
        batch.user(user).unwrap();
        batch.mail_folder(user, "inbox").unwrap();
        batch.message(user, &one.id).unwrap();
        let changes = json!({"isRead": true});
        batch.update_message(user, &one.id, &changes).unwrap();
        batch.move_message(user, &one.id, "drafts").unwrap();
        batch.delete_message(user, &other.id).unwrap();
        batch.drive_item(&self.drive, &folder.id).unwrap();
        let changes = json!({"name": "Renamed"});
        let item = &folder.id;
        batch
            .update_drive_item(&self.drive, item, &changes)
            .unwrap();
        let mut answers = batch.send().await.unwrap();
        assert!(answers.take(&nobody).is_err());
        let mut batch = client.batch();
        let gone = batch.delete_drive_item(&self.drive, item).unwrap();
        batch.send().await.unwrap().take_raw(&gone).unwrap();
    }
}

async fn to_the_end<T: DeserializeOwned + Send>(feed: m365_graph::Result<Feed<T>>) {
    let feed = feed.unwrap().page_size(9);
    let pages: Vec<_> = feed.pages(None).try_collect().await.unwrap();
    assert!(pages.iter().any(|page| !page.changes.is_empty()));
}

async fn all_of<T: DeserializeOwned + Send>(listing: m365_graph::Result<Listing<T>>) {
    let items: Vec<_> = listing.unwrap().items().try_collect().await.unwrap();
    assert!(!items.is_empty());
}

/// Names what in the sources of the client can send: what waits for an answer, and what prepares a
/// feed, a listing or a part of a batch.
fn senders(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("    pub ") {
        let rest = &text[at + "    pub ".len()..];
        let Some(end) = rest.find(['{', ';']) else {
            continue;
        };
        let signature = &rest[..end];
        let waits = signature.starts_with("async fn ");
        let prepares = ["Result<Feed<", "Result<Listing<", "Result<Part<"]
            .iter()
            .any(|kind| signature.contains(kind));
        let Some(named) = signature.split_once("fn ") else {
            continue;
        };
        if waits || (signature.starts_with("fn ") && prepares) {
            let name = named.1.split(['(', '<']).next().unwrap_or_default();
            found.push(name.to_owned());
        }
    }
    found
}

/// What reads on where another call has sent.
const READERS: [&str; 3] = ["page", "next_chunk", "collect"];

#[test]
fn nothing_that_the_client_can_send_is_missing_on_the_tour() {
    let sources = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![sources];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.extend(senders(&std::fs::read_to_string(path).unwrap()));
            }
        }
    }
    assert!(found.len() >= 60, "the sources are written in another way");
    // Sites have tokens of their own, and tests.
    let here = concat!(include_str!("tour.rs"), include_str!("../sharepoint.rs"));
    let called = |name: &String| here.contains(&format!(".{name}("));
    found.retain(|name| !called(name) && !READERS.contains(&name.as_str()));
    assert_eq!(found, Vec::<String>::new(), "not on the tour");
}

#[test]
fn a_new_sender_is_seen_in_the_sources() {
    let text = "impl X {\n    pub async fn ask(&self) -> R {}\n    pub fn idle(&self) -> u8 {}\n    \
                pub fn told_feed(\n        &self,\n    ) -> Result<Feed<X>> {}\n}";
    assert_eq!(senders(text), ["ask", "told_feed"]);
}
