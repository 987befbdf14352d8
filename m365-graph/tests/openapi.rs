//! The official description of the service against both sides: what our client asks, what the
//! simulated tenant answers, and which permissions it wants for it. Where the folder of the
//! description is at hand (`M365_CONFORMANCE_DIR`, by default `../shared` beside the workspace).

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod description;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use description::Description;
use futures_util::TryStreamExt;
use http::Request;
use m365_auth::{
    Body, CachedTokenProvider, Cloud, Environment, RetryPolicy, Secret, ServiceTransport,
    SystemEnvironment, TokenClient, Transport,
};
use m365_graph::{
    GraphClient, GraphOptions, NewAttachment, OnConflict, UploadOptions, requirements,
};
use m365_simulator::server::permission_table;
use m365_simulator::{ByteStream, Tenant, TenantSpec};
use serde_json::{Value, json};

#[allow(clippy::disallowed_methods, reason = "tests read where the data lies")]
fn folder() -> Option<PathBuf> {
    let named = std::env::var_os("M365_CONFORMANCE_DIR").map(PathBuf::from);
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = named
        .unwrap_or_else(|| workspace.join("../shared"))
        .join("graph");
    if folder.join("openapi-v1.0-subset.yaml").is_file() {
        return Some(folder);
    }
    println!("no description here; nothing checked");
    None
}

fn read(path: PathBuf) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// One exchange with the simulated Graph.
struct Exchange {
    method: String,
    path: String,
    query: String,
    request: Option<Value>,
    status: u16,
    answer: Option<Value>,
}

type Exchanges = Arc<Mutex<Vec<Exchange>>>;

fn parsed(bytes: &Bytes) -> Option<Value> {
    serde_json::from_slice(bytes).ok()
}

/// A client of a tenant, and all that passes between them.
fn observed(tenant: &Tenant) -> (GraphClient, Exchanges) {
    let exchanges = Exchanges::default();
    let (served, kept) = (tenant.clone(), Arc::clone(&exchanges));
    let graph_host = tenant.urls().graph.host_str().unwrap().to_owned();
    let transport: Arc<dyn Transport> = Arc::new(ServiceTransport::new(move |request| {
        let (tenant, kept, graph) = (served.clone(), Arc::clone(&kept), graph_host.clone());
        async move {
            let request: Request<Bytes> = request;
            let uri = request.uri().clone();
            let (method, body) = (request.method().to_string(), request.body().clone());
            let (head, answer) = tenant.handle(request).await?.into_parts();
            let answer = answer.collect().await?;
            if uri.host() == Some(&graph) {
                let path = percent_encoding::percent_decode_str(uri.path());
                kept.lock().unwrap().push(Exchange {
                    method,
                    path: path
                        .decode_utf8()
                        .unwrap()
                        .trim_start_matches("/v1.0")
                        .to_owned(),
                    query: uri.query().unwrap_or_default().to_owned(),
                    request: parsed(&body),
                    status: head.status.as_u16(),
                    answer: parsed(&answer),
                });
            }
            Ok(http::Response::from_parts(
                head,
                ByteStream::from_bytes(answer),
            ))
        }
    }));
    let urls = tenant.urls();
    let (login, graph, ews) = (urls.login.as_str(), urls.graph.as_str(), urls.ews.as_str());
    let cloud = Cloud::from_record("simulated", login, graph, ews).unwrap();
    let environment: Arc<dyn Environment> = Arc::new(SystemEnvironment);
    let app = tenant.app();
    let tokens = TokenClient::client_secret(
        Arc::clone(&transport),
        &cloud,
        &app.tenant_id,
        &app.client_id,
        Secret::new(app.client_secret),
        Arc::clone(&environment),
    );
    let tokens = CachedTokenProvider::new(Arc::new(tokens.unwrap()), environment);
    let options = GraphOptions {
        retry: RetryPolicy::none(),
        message_page_size: 7,
        list_page_size: 5,
        ..GraphOptions::default()
    };
    let client = GraphClient::new(transport, Arc::new(tokens), &cloud, options).unwrap();
    (client, exchanges)
}

/// Does everything once that client and tenant both know.
async fn tour(client: &GraphClient, tenant: &Tenant) {
    let user = tenant.users()[0].id.clone();
    let users: Vec<_> = client.users().unwrap().items().try_collect().await.unwrap();
    assert_eq!(users.len(), tenant.users().len());
    client.user(&user).await.unwrap();
    client.user("nobody").await.unwrap_err();
    client.mailbox_settings(&user).await.unwrap();
    read_mail(client, &user).await;
    write_mail(client, &user).await;
    files(client, &user).await;
    others(client, tenant, &user).await;
    let mut batch = client.batch();
    let parts = [batch.user(&user).unwrap(), batch.user("nobody").unwrap()];
    let mut answers = batch.send().await.unwrap();
    assert!(answers.take(&parts[0]).is_ok() && answers.take(&parts[1]).is_err());
}

async fn read_mail(client: &GraphClient, user: &str) {
    let mail = client.mail(user);
    mail.folders_delta(None).await.unwrap();
    mail.folder("inbox").await.unwrap();
    mail.child_folders("msgfolderroot", None).await.unwrap();
    let feed = client.messages_feed(user, "inbox").unwrap().page_size(9);
    let pages: Vec<_> = feed.pages(None).try_collect().await.unwrap();
    assert!(!pages.is_empty());
    mail.messages_delta("inbox", None).await.unwrap();
    let page = mail.messages_page("inbox", None, None).await.unwrap();
    let message = &page.items[0];
    mail.message(&message.id).await.unwrap();
    mail.mime(&message.id).await.unwrap();
    mail.message("nothing").await.unwrap_err();
}

async fn write_mail(client: &GraphClient, user: &str) {
    let mail = client.mail(user);
    let folder = mail
        .create_folder("inbox", "A new one", false)
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
}

/// Reads what the client knows by its feeds alone.
async fn others(client: &GraphClient, tenant: &Tenant, user: &str) {
    let mailbox = format!("MBX:{user}@{}", tenant.app().tenant_id);
    client
        .mailbox_folders_feed(&mailbox)
        .unwrap()
        .page(None)
        .await
        .unwrap();
    let inbox = client.mail(user).folder("inbox").await.unwrap();
    let items = client.mailbox_items_feed(&mailbox, &inbox.id).unwrap();
    items.page(None).await.unwrap();
    let (team, channel) = tenant.add_team("Plans");
    tenant.add_channel_message(&team, &channel, "hello", 1_700_000_000);
    let posts = client.channel_messages_feed(&team, &channel).unwrap();
    posts.page(None).await.unwrap();
}

async fn files(client: &GraphClient, user: &str) {
    let drive = client.user_drive(user).await.unwrap();
    let drive = client.drive(&drive.id);
    drive.delta(None).await.unwrap();
    let root = drive.root().await.unwrap();
    drive.children(&root.id, None).await.unwrap();
    let folder = drive.create_folder(&root.id, "A new one").await.unwrap();
    let options = UploadOptions {
        size: 5,
        conflict: OnConflict::Replace,
        ..UploadOptions::default()
    };
    let file = drive
        .upload(&folder.id, "small.txt", options, Body::from("hello"))
        .await
        .unwrap();
    let options = UploadOptions {
        size: 5_000_000,
        modified: Some("2026-01-02T03:04:05Z".into()),
        ..UploadOptions::default()
    };
    let body = Body::from(vec![7; 5_000_000]);
    drive
        .upload(&folder.id, "large.bin", options, body)
        .await
        .unwrap();
    drive.item(&file.id).await.unwrap();
    assert!(drive.child(&folder.id, "nothing").await.unwrap().is_none());
    drive.download(&file).await.unwrap();
    drive
        .update(&file.id, &json!({"name": "renamed.txt"}))
        .await
        .unwrap();
    drive.delete(&file.id).await.unwrap();
}

/// Query options that the description does not list where the service takes them.
const UNLISTED: [&str; 5] = [
    // Of tokens, which are opaque.
    "$skiptoken",
    "$deltatoken",
    "token",
    // Mail folders: list (2025) and its delta; drive item: upload (2025).
    "includeHiddenFolders",
    "@microsoft.graph.conflictBehavior",
];

#[tokio::test]
async fn requests_of_the_client_and_answers_of_the_tenant_are_as_described() {
    let Some(folder) = folder() else { return };
    let description = Description::read(&folder);
    let tenant = Tenant::generate(TenantSpec {
        seed: 7,
        users: 3,
        messages_per_user: 40,
        files_per_user: 8,
        logical_bytes: 4 << 20,
        ..TenantSpec::default()
    })
    .unwrap();
    let (client, exchanges) = observed(&tenant);
    tour(&client, &tenant).await;
    let (mut complaints, mut requests, mut answers) = (Vec::new(), 0, 0);
    let mut operations: BTreeMap<String, usize> = BTreeMap::new();
    for exchange in exchanges.lock().unwrap().iter() {
        let name = format!("{} {}", exchange.method, exchange.path);
        // An item named by its parent and name is described under its id alone.
        let path = match exchange.path.split_once(":/") {
            Some((item, name)) if !name.contains(':') => item,
            _ => &exchange.path,
        };
        let Some(operation) = description.operation(&exchange.method, path) else {
            complaints.push(format!("{name}: no such operation"));
            continue;
        };
        let key = format!("{} {}", exchange.method, operation.template);
        *operations.entry(key.clone()).or_default() += 1;
        let options = description.options(&operation);
        for (option, _) in url::form_urlencoded::parse(exchange.query.as_bytes()) {
            if !options.contains(&*option) && !UNLISTED.contains(&&*option) {
                complaints.push(format!("{key}: no option {option}"));
            }
        }
        if let (Some(schema), Some(body)) =
            (description.schema(&operation, None), &exchange.request)
        {
            requests += 1;
            let found = description.complaints(schema, body);
            complaints.extend(found.iter().map(|text| format!("{key} request {text}")));
        }
        let schema = description.schema(&operation, Some(exchange.status));
        if let (Some(schema), Some(body)) = (schema, &exchange.answer) {
            answers += 1;
            let found = description.complaints(schema, body);
            complaints.extend(
                found
                    .iter()
                    .map(|text| format!("{key} {} {text}", exchange.status)),
            );
        }
    }
    complaints.sort();
    complaints.dedup();
    println!(
        "{} operations: {requests} bodies of requests and {answers} of answers checked",
        operations.len()
    );
    assert!(complaints.is_empty(), "{complaints:#?}");
    assert!(
        operations.len() >= 25 && requests >= 8 && answers >= 25,
        "{operations:#?}"
    );
}

#[test]
fn the_published_samples_are_as_described_but_for_the_known_ones() {
    let Some(folder) = folder() else { return };
    let description = Description::read(&folder);
    let index = read(folder.join("samples/index.json"));
    let (mut checked, mut wrong) = (0, BTreeSet::new());
    for entry in index.as_array().unwrap() {
        if entry["schemaCheck"] != "pass" {
            continue;
        }
        let file = entry["file"].as_str().unwrap();
        let sample = read(folder.join("samples").join(file));
        let found = description.operations().find(|operation| {
            entry["endpoint"] == operation.template
                && entry["method"]
                    .as_str()
                    .is_some_and(|method| method.eq_ignore_ascii_case(operation.method))
        });
        let status = u16::try_from(entry["status"].as_u64().unwrap()).unwrap();
        let schema = found.and_then(|operation| description.schema(&operation, Some(status)));
        let Some(schema) = schema else { continue };
        checked += 1;
        let complaints = description.complaints(schema, &sample["response"]["body"]);
        let typed = |text: &&String| !text.contains("not in the description");
        if let Some(first) = complaints.iter().find(typed) {
            println!("{file}: {first}");
            wrong.insert(file[..4].to_owned());
        }
    }
    println!(
        "{checked} samples checked against the description, {} differ",
        wrong.len()
    );
    assert!(checked >= 150, "only {checked} samples found");
    let known = KNOWN.map(str::to_owned).into();
    assert!(
        wrong.is_subset(&known),
        "{wrong:?} are not all of {known:?}"
    );
}

/// Samples that hold placeholders, or dates without a time.
const KNOWN: [&str; 9] = [
    "g029", "g119", "g123", "g124", "g138", "g145", "g171", "g174", "g175",
];

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

#[test]
fn tenant_and_client_want_the_published_permissions() {
    let Some(folder) = folder() else { return };
    let description = Description::read(&folder);
    let (mut compared, mut complaints) = (0, Vec::new());
    let of_client = requirements()
        .iter()
        .map(|need| (need.operation, need.application, need.delegated));
    for (route, application, delegated) in permission_table().chain(of_client) {
        let (method, path) = route.split_once(' ').unwrap();
        let parts = path.split('/').map(|part| match part.starts_with('{') {
            true => "x",
            false => part,
        });
        let path = parts.collect::<Vec<_>>().join("/");
        let Some(operation) = description.operation(method, &path) else {
            complaints.push(format!("{route}: no such operation"));
            continue;
        };
        let published = &operation.value["x-ms-permissions"];
        for (kind, ours) in [("Application", application), ("DelegatedWork", delegated)] {
            let names = |which: &str| {
                published[kind][which]
                    .as_array()
                    .cloned()
                    .unwrap_or_default()
            };
            let (least, higher) = (names("least"), names("higher"));
            if least.is_empty() {
                continue;
            }
            compared += 1;
            let known = |name: &str| least.iter().chain(&higher).any(|own| own == name);
            if !ours.iter().any(|name| known(name)) {
                complaints.push(format!("{route} {kind}: none of ours is published"));
            }
            for name in ours.iter().filter(|name| !known(name)) {
                // Who may write may read, and what is granted for all serves one.
                let implied =
                    name.contains("ReadWrite") && known(&name.replace("ReadWrite", "Read"));
                let basic = name.starts_with("Mail.ReadBasic") && known(&format!("{name}.All"));
                let elsewhere =
                    route.ends_with("createUploadSession") && *name == "Files.ReadWrite.All";
                let broad = name.starts_with("Directory.");
                if !(implied || basic || elsewhere || broad) {
                    complaints.push(format!("{route} {kind}: {name} is not published"));
                }
            }
        }
    }
    println!("{compared} rights of operations compared with the published ones");
    assert!(complaints.is_empty(), "{complaints:#?}");
    assert!(compared >= 100, "only {compared}");
}
