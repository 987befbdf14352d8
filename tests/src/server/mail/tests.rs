//! Stories of mail over HTTP, as a client without any of our crates sees them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use crate::generate::mail::import::part_bytes;
use crate::server::testing::Client;
use crate::tenant::{MailboxKind, NewMessage, Tenant};
use crate::{ChangeSpec, Fault, FaultPlan, FaultRule, TenantSpec, compare};

const ALICE: &str = "alice@contoso.example";

async fn world() -> Client {
    let tenant = Tenant::empty(1);
    tenant.add_user(ALICE, "Alice Ames", MailboxKind::User);
    Client::new(tenant).await
}

fn note(subject: &str) -> NewMessage {
    NewMessage {
        subject: subject.to_owned(),
        text: Some("Hello.\r\n".to_owned()),
        ..NewMessage::default()
    }
}

fn small(users: usize) -> Tenant {
    Tenant::generate(TenantSpec {
        users,
        messages_per_user: 60,
        files_per_user: 0,
        logical_bytes: 1 << 20,
        ..TenantSpec::default()
    })
    .expect("a tenant")
}

#[tokio::test]
async fn folders_are_found_by_well_known_name_and_listed_flat() {
    let client = Client::new(small(2)).await;
    let users = client.tenant.users();
    for user in &users {
        let root = format!("/users/{}/mailFolders", user.id);
        let (status, inbox) = client.get(&format!("{root}/Inbox")).await;
        assert_eq!(status, 200);
        let url = format!("{root}/delta?includeHiddenFolders=true");
        let (_, all) = client.get(&url).await;
        let mut ids = Vec::new();
        let mut page = all;
        loop {
            for folder in page["value"].as_array().expect("folders") {
                ids.push(folder["id"].as_str().expect("id").to_owned());
            }
            match page["@odata.nextLink"].as_str() {
                Some(next) => page = client.get(next).await.1,
                None => break,
            }
        }
        assert!(ids.contains(&inbox["id"].as_str().expect("id").to_owned()));
    }
    let names: Vec<String> = users
        .iter()
        .map(|user| format!("/users/{}/mailFolders/inbox", user.id))
        .collect();
    let (first, second) = (client.get(&names[0]).await.1, client.get(&names[1]).await.1);
    assert_ne!(first["displayName"], second["displayName"], "two languages");
}

#[tokio::test]
async fn a_message_posted_with_flags_and_dates_is_no_draft() {
    let client = world().await;
    let path = format!("/users/{ALICE}/mailFolders/inbox/messages");
    let mark = "String {11111111-2222-3333-4444-555555555555} Name Source";
    let body = json!({
        "subject": "Größe",
        "body": {"contentType": "HTML", "content": "<p>x</p>"},
        "toRecipients": [{"emailAddress": {"name": "Bob", "address": "bob@contoso.example"}}],
        "categories": ["Red category"],
        "attachments": [{
            "@odata.type": "#microsoft.graph.fileAttachment",
            "name": "a.txt", "contentType": "text/plain", "contentBytes": STANDARD.encode("abc"),
        }],
        "singleValueExtendedProperties": [
            {"id": "Integer 0x0E07", "value": "1"},
            {"id": "SystemTime 0x0039", "value": "2020-01-02T03:04:05Z"},
            {"id": "SystemTime 0x0E06", "value": "2020-01-02T03:04:06Z"},
            {"id": mark, "value": "source-1"},
        ],
    });
    let (status, made) = client.call("POST", &path, body).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(
        (&made["isDraft"], &made["isRead"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(made["sentDateTime"], "2020-01-02T03:04:05Z");
    assert_eq!(made["receivedDateTime"], "2020-01-02T03:04:06Z");
    let id = made["id"].as_str().expect("id");
    let filter = format!(
        "?%24filter=singleValueExtendedProperties/Any(ep:%20ep/id%20eq%20'{}'%20and%20\
         ep/value%20eq%20'source-1')",
        mark.replace(' ', "%20")
            .replace('{', "%7B")
            .replace('}', "%7D")
    );
    let (status, found) = client.get(&format!("{path}{filter}")).await;
    assert_eq!(status, 200, "{found}");
    assert_eq!(found["value"].as_array().map(Vec::len), Some(1));
    let (_, plain) = client
        .call("POST", &path, json!({"subject": "later"}))
        .await;
    assert_eq!(plain["isDraft"], json!(true));
    let url = format!("/users/{ALICE}/messages/{id}/$value");
    let (_, mime) = client.bytes("GET", &url, &Value::Null).await;
    let text = String::from_utf8(mime.to_vec()).expect("text");
    assert!(
        text.contains("Date: Thu, 2 Jan 2020 03:04:05 +0000"),
        "{text}"
    );
    let (_, files) = client
        .get(&format!("/users/{ALICE}/messages/{id}/attachments"))
        .await;
    assert_eq!(
        files["value"][0]["contentBytes"],
        json!(STANDARD.encode("abc"))
    );
}

#[tokio::test]
async fn large_attachments_come_in_ranges_without_a_token() {
    let client = world().await;
    let id = client
        .tenant
        .add_message(ALICE, "drafts", note("big"))
        .expect("id");
    let url = format!("/users/{ALICE}/messages/{id}/attachments/createUploadSession");
    let item = |size: usize| {
        let item = json!({"attachmentType": "file", "name": "big.bin", "size": size});
        json!({"AttachmentItem": item})
    };
    assert_eq!(
        client.call("POST", &url, item(1000)).await.0,
        400,
        "too small for a session"
    );
    let content: Vec<u8> = (0..5_000_000_u32)
        .map(|byte| byte.to_le_bytes()[1])
        .collect();
    let (status, session) = client.call("POST", &url, item(content.len())).await;
    assert_eq!(status, 201);
    let upload = session["uploadUrl"].as_str().expect("url");
    let put = |start: usize, end: usize, token: bool| {
        let mut request = Request::put(upload).header(
            "content-range",
            format!("bytes {start}-{}/{}", end - 1, content.len()),
        );
        if token {
            request = request.header("authorization", "Bearer x");
        }
        request
            .body(Bytes::copy_from_slice(&content[start..end]))
            .expect("a request")
    };
    assert_eq!(client.raw(put(0, 3_000_000, true)).await.0, 401);
    assert_eq!(client.raw(put(0, 3_000_000, false)).await.0, 200);
    assert_eq!(client.raw(put(0, 3_000_000, false)).await.0, 416);
    let (status, head, _) = client.raw(put(3_000_000, content.len(), false)).await;
    assert_eq!(status, 201);
    let location = head["location"].to_str().expect("text");
    let (_, bytes) = client
        .bytes("GET", &format!("{location}/$value"), &Value::Null)
        .await;
    assert!(bytes == content, "the attachment is what was sent");
}

#[tokio::test]
async fn ids_survive_a_move_only_where_immutable_ones_are_asked_for() {
    let mut client = world().await;
    let id = client
        .tenant
        .add_message(ALICE, "inbox", note("m"))
        .expect("id");
    let moved = json!({"destinationId": "archive"});
    let url = format!("/users/{ALICE}/messages/{id}/move");
    let (status, answer) = client.call("POST", &url, moved.clone()).await;
    assert_eq!((status, &answer["id"]), (201, &json!(id)));
    client.immutable = false;
    let (_, shown) = client.get(&format!("/users/{ALICE}/messages/{id}")).await;
    let mutable = shown["id"].as_str().expect("id").to_owned();
    let url = format!("/users/{ALICE}/messages/{mutable}/move");
    let (_, answer) = client
        .call("POST", &url, json!({"destinationId": "inbox"}))
        .await;
    assert_ne!(answer["id"], json!(mutable));
    assert_eq!(
        client
            .get(&format!("/users/{ALICE}/messages/{mutable}"))
            .await
            .0,
        404
    );
}

#[tokio::test]
async fn old_and_foreign_tokens_are_refused_in_the_services_words() {
    let client = world().await;
    for number in 0..20 {
        let message = note(&number.to_string());
        client
            .tenant
            .add_message(ALICE, "inbox", message)
            .expect("id");
    }
    let url = format!("/users/{ALICE}/mailFolders/inbox/messages/delta");
    let (_, first) = client.get(&url).await;
    let old = first["@odata.nextLink"].as_str().expect("more").to_owned();
    assert_eq!(client.get(&old).await.0, 200);
    assert_eq!(
        client.get(&old).await.0,
        200,
        "a page may be asked for again"
    );
    let mut page = first;
    for _ in 0..4 {
        let next = page["@odata.nextLink"].as_str().expect("more").to_owned();
        page = client.get(&next).await.1;
    }
    let (status, refused) = client.get(&old).await;
    assert_eq!(
        (status, &refused["error"]["code"]),
        (410, &json!("SyncStateNotFound"))
    );
    let (status, _) = client.get(&format!("{url}?$deltatoken=AAAA")).await;
    assert_eq!(status, 400);
    let foreign = old.replace("/inbox/", "/archive/");
    assert_eq!(
        client.get(&foreign).await.0,
        400,
        "a token of another folder"
    );
    assert_eq!(client.get(&format!("{url}?$frobnicate=1")).await.0, 400);
    assert_eq!(client.call("PUT", &url, Value::Null).await.0, 405);
    client.tenant.set_permissions(["User.Read.All"]);
    let (status, refused) = client.get(&url).await;
    assert_eq!(
        (status, &refused["error"]["code"]),
        (403, &json!("ErrorAccessDenied"))
    );
}

#[tokio::test]
async fn faults_strike_where_the_plan_says_and_are_counted_when_answered() {
    let client = world().await;
    let route = "GET /users/{id}/mailFolders/{id}";
    let plan = FaultPlan::new(1)
        .with(FaultRule::new(route, Fault::Throttled(Some(7))).times(1))
        .with(FaultRule::new(route, Fault::Reset).times(1));
    client.tenant.set_faults(plan);
    client.tenant.reset_counters();
    let url = format!("/users/{ALICE}/mailFolders/inbox");
    assert_eq!(client.get(&url).await.0, 429);
    let request = Request::get(format!("{}v1.0{url}", client.tenant.urls().graph));
    let request = request.body(Bytes::new()).expect("a request");
    assert!(
        client.tenant.handle(request).await.is_err(),
        "the connection breaks"
    );
    assert_eq!(client.get(&url).await.0, 200);
    assert_eq!(client.tenant.counters().billed(), 2);
    assert_eq!(client.tenant.counters().route(route), 2);
}

#[tokio::test]
async fn a_copy_through_the_api_equals_its_source_and_a_difference_is_named() {
    let tenant = small(1);
    let source = tenant.users()[0].principal_name.clone();
    tenant.add_user("copy@contoso.example", "Copy", MailboxKind::User);
    let client = Client::new(tenant.clone()).await;
    let before = compare::mailbox(&tenant, &source, "copy@contoso.example", None);
    assert_eq!(
        before.mismatches.is_empty(),
        before.compared == 0,
        "nothing is there yet"
    );
    copy(&client, &source, "copy@contoso.example").await;
    let after = compare::mailbox(&tenant, &source, "copy@contoso.example", None);
    assert!(
        after.holds(),
        "{} {:#?}",
        after.compared,
        after.mismatches.first()
    );
    let first = tenant.messages("copy@contoso.example")[0].id.clone();
    tenant.edit_subject("copy@contoso.example", &first, "something else");
    let broken = compare::mailbox(&tenant, &source, "copy@contoso.example", None);
    assert_eq!(broken.mismatches.len(), 1, "{:?}", broken.mismatches);
}

/// Copies every message as a restore would: folders first, then messages with their properties.
async fn copy(client: &Client, source: &str, destination: &str) {
    for message in client.tenant.messages(source) {
        let mut folder = "msgfolderroot".to_owned();
        for name in split_path(&client.tenant, source, &message.folder) {
            let path = format!("/users/{destination}/mailFolders/{folder}/childFolders");
            let (_, all) = client
                .get(&format!("{path}?$top=100&includeHiddenFolders=true"))
                .await;
            let found = all["value"].as_array().expect("folders").iter();
            let mut found = found.filter(|own| own["displayName"] == json!(name));
            folder = match found.next() {
                Some(own) => own["id"].as_str().expect("id").to_owned(),
                None => {
                    let body = json!({"displayName": name});
                    let (status, made) = client.call("POST", &path, body).await;
                    assert_eq!(status, 201, "{made}");
                    made["id"].as_str().expect("id").to_owned()
                }
            };
        }
        let url = format!(
            "/users/{source}/messages/{}?$expand=attachments",
            message.id
        );
        let (status, mut body) = client.get(&url).await;
        assert_eq!(status, 200, "{body}");
        let flags = i64::from(body["isRead"] == json!(true)) + 8 * i64::from(message.draft);
        body["singleValueExtendedProperties"] = json!([
            {"id": "Integer 0x0E07", "value": flags.to_string()},
            {"id": "SystemTime 0x0039", "value": body["sentDateTime"]},
            {"id": "SystemTime 0x0E06", "value": body["receivedDateTime"]},
        ]);
        let object = body.as_object_mut().expect("an object");
        object.retain(|name, _| !name.starts_with('@') && name != "internetMessageHeaders");
        let path = format!("/users/{destination}/mailFolders/{folder}/messages");
        let (status, made) = client.call("POST", &path, body).await;
        assert_eq!(status, 201, "{made}");
    }
}

fn split_path(tenant: &Tenant, user: &str, folder: &str) -> Vec<String> {
    let state = tenant.lock();
    let mailbox = state.user(user).and_then(|user| user.mailbox.as_ref());
    let mailbox = mailbox.expect("a mailbox");
    mailbox.path_of(mailbox.folder_key(folder).expect("a folder"))
}

#[tokio::test]
async fn generated_mime_says_what_the_json_says() {
    let tenant = small(3);
    tenant.change(&ChangeSpec::default());
    let mut attachments = 0;
    for user in tenant.users() {
        for info in tenant.messages(&user.id) {
            let mime = tenant.mime(&user.id, &info.id).expect("mime");
            assert_eq!(
                mime,
                tenant.mime(&user.id, &info.id).expect("mime"),
                "the same twice"
            );
            let parsed = mail_parser::MessageParser::default()
                .parse(&mime[..])
                .expect("mime");
            assert_eq!(parsed.subject().unwrap_or(""), info.subject);
            let state = tenant.lock();
            let mailbox = state.user(&user.id).and_then(|user| user.mailbox.as_ref());
            let view = mailbox
                .and_then(|own| own.message(&info.id))
                .expect("message")
                .view(true);
            drop(state);
            let (body, html) = view.body();
            let shown = if html {
                parsed.body_html(0)
            } else {
                parsed.body_text(0)
            };
            assert_eq!(
                shown.unwrap_or_default().trim_end(),
                body.trim_end(),
                "{}",
                info.subject
            );
            assert_eq!(
                parsed.attachment_count(),
                view.attachments.len(),
                "{}",
                info.subject
            );
            let mut own: Vec<Bytes> = view.attachments.iter().map(|file| file.content()).collect();
            let mut there: Vec<Bytes> = parsed
                .attachments()
                .map(|part| Bytes::from(part_bytes(&parsed, part)))
                .collect();
            own.sort();
            there.sort();
            assert!(own == there, "attachments of {}", info.subject);
            attachments += own.len();
        }
    }
    assert!(
        attachments > 20,
        "only {attachments} attachments were compared"
    );
}

#[test]
fn the_default_tenant_is_about_as_large_as_it_says() {
    let tenant = Tenant::generate(TenantSpec::default()).expect("a tenant");
    let (mut messages, mut bytes) = (0_u64, 0_u64);
    for user in tenant.users() {
        let all = tenant.messages(&user.id);
        messages += all.len() as u64;
        // Every twentieth message stands for its neighbours.
        for info in all.iter().step_by(20) {
            bytes += 20 * tenant.mime(&user.id, &info.id).expect("mime").len() as u64;
        }
    }
    assert!((17_000..19_000).contains(&messages), "{messages} messages");
    let megabytes = bytes / 1_000_000;
    assert!((380..560).contains(&megabytes), "{megabytes} MB of mail");
}

mod law {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::{ALICE, note, world};
    use crate::server::testing::Client;

    /// One thing that happens while somebody reads a folder.
    #[derive(Debug, Clone)]
    enum Step {
        Add,
        Edit(usize),
        Delete(usize),
        MoveAway(usize),
        MoveBack(usize),
        Read,
        Expire,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => Just(Step::Add),
            2 => any::<usize>().prop_map(Step::Edit),
            2 => any::<usize>().prop_map(Step::Delete),
            2 => any::<usize>().prop_map(Step::MoveAway),
            2 => any::<usize>().prop_map(Step::MoveBack),
            8 => Just(Step::Read),
            1 => Just(Step::Expire),
        ]
    }

    /// What a reader believes to be in the folder: id and subject.
    #[derive(Default)]
    struct Reader {
        link: Option<String>,
        seen: BTreeMap<String, String>,
    }

    impl Reader {
        /// Reads one page; tells whether the round is complete.
        async fn read(&mut self, client: &Client) -> bool {
            let first = format!("/users/{ALICE}/mailFolders/inbox/messages/delta?$select=subject");
            let url = self.link.clone().unwrap_or(first);
            let (status, page) = client.get(&url).await;
            if status == 410 {
                *self = Self::default();
                return false;
            }
            assert_eq!(status, 200, "{page}");
            for item in page["value"].as_array().expect("a page") {
                let id = item["id"].as_str().expect("an id").to_owned();
                match &item["@removed"] {
                    Value::Null => {
                        let subject = item["subject"].as_str().expect("selected").to_owned();
                        self.seen.insert(id, subject);
                    }
                    _ => drop(self.seen.remove(&id)),
                }
            }
            let (next, end) = (&page["@odata.nextLink"], &page["@odata.deltaLink"]);
            self.link = next.as_str().or(end.as_str()).map(str::to_owned);
            assert!(self.link.is_some(), "a page has one of both links");
            next.is_null()
        }
    }

    fn act(client: &Client, step: &Step, number: usize) {
        let tenant = &client.tenant;
        let pick = |from: &str, lot: usize| {
            let all: Vec<_> = tenant
                .messages(ALICE)
                .into_iter()
                .filter(|info| info.folder_path.starts_with(from))
                .collect();
            all.get(lot % all.len().max(1)).map(|info| info.id.clone())
        };
        match step {
            Step::Add => {
                tenant.add_message(ALICE, "inbox", note(&format!("n{number}")));
            }
            Step::Edit(lot) => {
                if let Some(id) = pick("Inbox", *lot) {
                    tenant.edit_subject(ALICE, &id, &format!("e{number}"));
                }
            }
            Step::Delete(lot) => {
                if let Some(id) = pick("Inbox", *lot) {
                    tenant.delete_message(ALICE, &id);
                }
            }
            Step::MoveAway(lot) => {
                if let Some(id) = pick("Inbox", *lot) {
                    tenant.move_message(ALICE, &id, "archive");
                }
            }
            Step::MoveBack(lot) => {
                if let Some(id) = pick("Archive", *lot) {
                    tenant.move_message(ALICE, &id, "inbox");
                }
            }
            Step::Expire => tenant.expire_mail_cursors(ALICE),
            Step::Read => {}
        }
    }

    async fn run(steps: Vec<Step>, immutable: bool) {
        let mut client = world().await;
        client.immutable = immutable;
        for number in 0..12 {
            client
                .tenant
                .add_message(ALICE, "inbox", note(&format!("s{number}")));
        }
        let mut reader = Reader::default();
        for (number, step) in steps.iter().enumerate() {
            act(&client, step, number);
            if matches!(step, Step::Read) {
                reader.read(&client).await;
            }
        }
        for _ in 0..200 {
            if reader.read(&client).await {
                break;
            }
        }
        // An empty round must follow a complete one.
        assert!(reader.read(&client).await, "nothing changes any more");
        let mut truth: Vec<String> = client
            .tenant
            .messages(ALICE)
            .into_iter()
            .filter(|info| info.folder_path == "Inbox")
            .map(|info| info.subject)
            .collect();
        let mut seen: Vec<String> = reader.seen.into_values().collect();
        truth.sort();
        seen.sort();
        assert_eq!(seen, truth);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_interleaving_of_changes_and_pages_ends_at_the_true_content(
            steps in proptest::collection::vec(step(), 0..60),
            immutable in any::<bool>(),
        ) {
            tokio::runtime::Builder::new_current_thread()
                .build()
                .expect("a runtime")
                .block_on(run(steps, immutable));
        }
    }
}
