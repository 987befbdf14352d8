//! Stories of drives over HTTP, as a client without any of our crates sees them.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};

use super::super::answer::ByteStream;
use crate::tenant::drive::{Content, FileTimes, NameConflict, QuickXor, Texture};
use crate::tenant::{MailboxKind, Tenant, UserState};

struct World {
    tenant: Tenant,
    token: String,
    root: String,
}

const ALICE: &str = "alice@contoso.example";

impl World {
    async fn new() -> Self {
        let tenant = Tenant::empty(1);
        tenant.lock().users.push(UserState {
            id: "a11ce".to_owned(),
            principal_name: ALICE.to_owned(),
            display_name: "Alice Ames".to_owned(),
            kind: MailboxKind::User,
            mailbox: None,
            drive: None,
        });
        let id = tenant.give_drive(ALICE).unwrap();
        let app = tenant.app();
        let url = format!("{}{}/oauth2/v2.0/token", tenant.urls().login, app.tenant_id);
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}&scope={}.default",
            app.client_id,
            app.client_secret.replace('~', "%7E"),
            tenant.urls().graph
        );
        let request = Request::post(url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Bytes::from(form))
            .unwrap();
        let (_, answer) = whole(tenant.handle(request).await.unwrap()).await;
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        let token = answer["access_token"].as_str().expect("a token").to_owned();
        let root = format!("{}v1.0/drives/{id}", tenant.urls().graph);
        Self {
            tenant,
            token,
            root,
        }
    }

    async fn raw(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> (http::response::Parts, Bytes) {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).unwrap();
        whole(self.tenant.handle(request).await.unwrap()).await
    }

    /// Calls Graph with a token, below the drive unless the address is whole.
    async fn call(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let (head, body) = self.call_raw(method, path, body).await;
        (
            head.status.as_u16(),
            serde_json::from_slice(&body).unwrap_or(Value::Null),
        )
    }

    async fn call_raw(
        &self,
        method: &str,
        path: &str,
        body: Value,
    ) -> (http::response::Parts, Bytes) {
        let url = if path.starts_with("http") {
            path.to_owned()
        } else {
            self.root.clone() + path
        };
        let bearer = format!("Bearer {}", self.token);
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.raw(method, &url, &headers, body).await
    }

    fn add(&self, name: &str, content: Content) -> String {
        self.tenant
            .with_drive(ALICE, |drive| {
                let root = drive.root().to_owned();
                let times = FileTimes::both(1_700_000_000_000);
                drive.put_file(&root, name, content.into(), NameConflict::Fail, times)
            })
            .unwrap()
            .unwrap()
            .0
    }
}

async fn whole(response: Response<ByteStream>) -> (http::response::Parts, Bytes) {
    let (head, body) = response.into_parts();
    (head, body.collect().await.unwrap())
}

fn header<'a>(head: &'a http::response::Parts, name: &str) -> &'a str {
    head.headers
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_download_leads_to_the_second_origin_which_refuses_a_token() {
    let world = World::new().await;
    let content = Content::generated(9, Texture::Noise, 300_000);
    let bytes = content.read(0..300_000).unwrap();
    let id = world.add("a b.bin", content);
    let (head, _) = world
        .call_raw("GET", &format!("/items/{id}/content"), Value::Null)
        .await;
    assert_eq!(head.status, StatusCode::FOUND);
    let url = header(&head, "location").to_owned();
    assert!(url.starts_with(world.tenant.urls().content.as_str()));
    let (head, body) = world.raw("GET", &url, &[], "").await;
    assert_eq!((head.status.as_u16(), &body), (200, &bytes));
    let etag = header(&head, "etag").to_owned();
    let range = [("range", "bytes=1000-200999"), ("if-match", etag.as_str())];
    let (head, body) = world.raw("GET", &url, &range, "").await;
    assert_eq!(
        (head.status.as_u16(), &body[..]),
        (206, &bytes[1000..201_000])
    );
    assert_eq!(header(&head, "content-range"), "bytes 1000-200999/300000");
    let (head, _) = world
        .raw("GET", &url, &[("range", "bytes=300000-")], "")
        .await;
    assert_eq!(head.status, StatusCode::RANGE_NOT_SATISFIABLE);
    let (head, _) = world
        .raw("GET", &url, &[("if-match", "\"other\"")], "")
        .await;
    assert_eq!(head.status, StatusCode::PRECONDITION_FAILED);
    let (head, _) = world
        .raw("GET", &url, &[("authorization", "Bearer x")], "")
        .await;
    assert_eq!(head.status, StatusCode::UNAUTHORIZED);
    let changed = url.replace("download/", "download/A");
    let (head, _) = world.raw("GET", &changed, &[], "").await;
    assert_eq!(head.status, StatusCode::NOT_FOUND);
    let later = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(9_000_000_000);
    world.tenant.set_clock(move || later);
    let (head, _) = world.raw("GET", &url, &[], "").await;
    assert_eq!(
        head.status,
        StatusCode::UNAUTHORIZED,
        "an expired address is refused"
    );
}

#[tokio::test]
async fn the_download_url_comes_only_when_selected_and_works() {
    let world = World::new().await;
    let id = world.add("n.txt", Content::from_bytes("hello"));
    let (_, all) = world
        .call("GET", &format!("/items/{id}"), Value::Null)
        .await;
    assert!(all.get("@microsoft.graph.downloadUrl").is_none());
    let mut hash = QuickXor::new();
    hash.update(b"hello");
    let path = format!("/items/{id}?$select=id,file,%40microsoft.graph.downloadUrl");
    let (_, item) = world.call("GET", &path, Value::Null).await;
    assert!(item.get("name").is_none());
    assert_eq!(item["file"]["hashes"], all["file"]["hashes"]);
    let url = item["@microsoft.graph.downloadUrl"].as_str().unwrap();
    assert_eq!(world.raw("GET", url, &[], "").await.1, "hello");
}

fn session_request(size: u64) -> Value {
    json!({"item": {
        "@microsoft.graph.conflictBehavior": "fail",
        "fileSize": size,
        "fileSystemInfo": {
            "createdDateTime": "2020-01-02T03:04:05.678Z",
            "lastModifiedDateTime": "2021-01-02T03:04:05Z",
        },
    }})
}

#[tokio::test]
async fn an_upload_session_takes_aligned_fragments_in_order() {
    let world = World::new().await;
    let content = Content::generated(4, Texture::Text, 700_000);
    let bytes = content.read(0..700_000).unwrap();
    let body = session_request(700_000);
    let path = "/root:/new%20folder/%C3%BC.bin:/createUploadSession";
    let (code, session) = world.call("POST", path, body.clone()).await;
    assert_eq!(
        (code, &session["nextExpectedRanges"]),
        (200, &json!(["0-"]))
    );
    let url = session["uploadUrl"].as_str().unwrap().to_owned();
    let put = async |from: usize, to: usize, total: usize| {
        let range = format!("bytes {from}-{}/{total}", to - 1);
        let headers = [("content-range", range.as_str())];
        let (head, body) = world
            .raw("PUT", &url, &headers, bytes.slice(from..to))
            .await;
        (
            head.status.as_u16(),
            serde_json::from_slice::<Value>(&body).unwrap_or_default(),
        )
    };
    let token = [
        ("authorization", "Bearer x"),
        ("content-range", "bytes 0-327679/700000"),
    ];
    let (head, _) = world
        .raw("PUT", &url, &token, bytes.slice(0..327_680))
        .await;
    assert_eq!(
        head.status,
        StatusCode::UNAUTHORIZED,
        "a token does not belong here"
    );
    assert_eq!(put(0, 1000, 700_000).await.0, 400, "not a multiple");
    assert_eq!(put(0, 327_680, 800_000).await.0, 400, "another total");
    assert_eq!(put(327_680, 655_360, 700_000).await.0, 416, "out of order");
    let (code, status) = put(0, 327_680, 700_000).await;
    assert_eq!(
        (code, &status["nextExpectedRanges"]),
        (202, &json!(["327680-699999"]))
    );
    assert_eq!(put(0, 327_680, 700_000).await.0, 416, "again");
    let (head, body_text) = world.raw("GET", &url, &[], "").await;
    let status: Value = serde_json::from_slice(&body_text).unwrap();
    assert_eq!(
        (head.status.as_u16(), &status["nextExpectedRanges"][0]),
        (200, &json!("327680-699999"))
    );
    let (code, item) = put(327_680, 700_000, 700_000).await;
    assert_eq!((code, &item["name"]), (201, &json!("ü.bin")));
    assert_eq!(
        item["fileSystemInfo"]["createdDateTime"],
        "2020-01-02T03:04:05Z"
    );
    assert_eq!(put(0, 327_680, 700_000).await.0, 404, "the session is gone");
    let (head, _) = world
        .call_raw(
            "GET",
            "/root:/new folder/ü.bin:/content"
                .replace(' ', "%20")
                .replace('ü', "%C3%BC")
                .as_str(),
            Value::Null,
        )
        .await;
    let read = world.raw("GET", header(&head, "location"), &[], "").await.1;
    assert!(read == bytes, "what was uploaded is served");

    let (_, session) = world.call("POST", path, body).await;
    let again = session["uploadUrl"].as_str().unwrap();
    for (range, part) in [
        ("bytes 0-655359/700000", 0..655_360),
        ("bytes 655360-699999/700000", 655_360..700_000),
    ] {
        let (head, _) = world
            .raw("PUT", again, &[("content-range", range)], bytes.slice(part))
            .await;
        assert!(matches!(head.status.as_u16(), 202 | 409));
    }
    let (_, children) = world
        .call("GET", "/root:/new%20folder:/children", Value::Null)
        .await;
    assert_eq!(
        children["value"].as_array().unwrap().len(),
        1,
        "the name was taken"
    );
    assert_eq!(
        world.raw("DELETE", again, &[], "").await.0.status.as_u16(),
        204
    );
    assert_eq!(
        world.raw("GET", again, &[], "").await.0.status.as_u16(),
        404
    );
}

#[tokio::test]
async fn folders_are_made_items_are_renamed_moved_dated_and_deleted() {
    let world = World::new().await;
    let folder = json!({"name": "Plans", "folder": {}});
    let (code, plans) = world.call("POST", "/root/children", folder.clone()).await;
    assert_eq!(code, 201);
    let (code, error) = world.call("POST", "/items/root/children", folder).await;
    assert_eq!(
        (code, &error["error"]["code"]),
        (409, &json!("nameAlreadyExists"))
    );
    let bad = json!({"name": "a:b", "folder": {}});
    assert_eq!(world.call("POST", "/root/children", bad).await.0, 400);
    let (code, empty) = world
        .call("PUT", "/root:/empty.txt:/content", Value::Null)
        .await;
    assert_eq!((code, &empty["size"]), (201, &json!(0)));
    let id = empty["id"].as_str().unwrap();
    let change = json!({
        "name": "moved.txt",
        "parentReference": {"id": plans["id"]},
        "fileSystemInfo": {"lastModifiedDateTime": "2019-05-06T07:08:09Z"},
    });
    let (code, item) = world.call("PATCH", &format!("/items/{id}"), change).await;
    assert_eq!(
        (code, &item["lastModifiedDateTime"]),
        (200, &json!("2019-05-06T07:08:09Z"))
    );
    assert_eq!(item["cTag"], empty["cTag"], "the content did not change");
    assert_ne!(item["eTag"], empty["eTag"], "the item did");
    let by_path = world
        .call("GET", "/root%3A%2FPLANS%2Fmoved.txt%3A", Value::Null)
        .await
        .1;
    assert_eq!(by_path["id"], empty["id"]);
    let plans_id = plans["id"].as_str().unwrap();
    assert_eq!(
        world
            .call("DELETE", &format!("/items/{plans_id}"), Value::Null)
            .await
            .0,
        204
    );
    assert_eq!(
        world
            .call("GET", &format!("/items/{id}"), Value::Null)
            .await
            .0,
        404
    );
}

#[tokio::test]
async fn a_delta_pages_repeats_tells_deletions_without_a_name_and_expires() {
    let world = World::new().await;
    let ids: Vec<String> = (0..7)
        .map(|n| world.add(&format!("{n}"), Content::from_bytes(vec![b'x'; n])))
        .collect();
    let mut url = "/root/delta?$top=2&$select=id,name,deleted,parentReference".to_owned();
    let mut seen = Vec::new();
    let link = loop {
        let (code, page) = world.call("GET", &url, Value::Null).await;
        assert_eq!(code, 200);
        for item in page["value"].as_array().unwrap() {
            assert!(
                item["parentReference"].get("path").is_none(),
                "no path in a delta"
            );
            assert!(item.get("size").is_none(), "options live in the token");
            seen.push(item["id"].as_str().unwrap().to_owned());
        }
        if let Some(link) = page["@odata.deltaLink"].as_str() {
            break link.to_owned();
        }
        url = page["@odata.nextLink"].as_str().unwrap().to_owned();
    };
    assert!(
        ids.iter().all(|id| seen.contains(id)) && seen.len() > ids.len() + 1,
        "repeats"
    );
    let (_, idle) = world.call("GET", &link, Value::Null).await;
    assert_eq!(idle["value"], json!([]));
    world
        .call("DELETE", &format!("/items/{}", ids[0]), Value::Null)
        .await;
    let (_, page) = world.call("GET", &link, Value::Null).await;
    let gone = &page["value"][0];
    assert_eq!((&gone["id"], gone.get("name")), (&json!(ids[0]), None));
    assert!(gone["deleted"].is_object() && gone["file"].is_object());
    let (_, latest) = world
        .call("GET", "/root/delta(token='latest')", Value::Null)
        .await;
    assert_eq!(latest["value"], json!([]));
    assert_eq!(
        world
            .call("GET", "/root/delta?token=forged", Value::Null)
            .await
            .0,
        400
    );
    world.tenant.expire_drive_cursors(ALICE);
    let (head, body) = world.call_raw("GET", &link, Value::Null).await;
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(head.status, StatusCode::GONE);
    assert_eq!(body["error"]["code"], "resyncChangesApplyDifferences");
    let (code, fresh) = world
        .call("GET", header(&head, "location"), Value::Null)
        .await;
    assert_eq!((code, fresh["value"].as_array().unwrap().len()), (200, 7));
}

#[tokio::test]
async fn what_is_not_there_or_not_allowed_is_refused_in_the_services_words() {
    let world = World::new().await;
    let user = format!("{}v1.0/users/{ALICE}/drive", world.tenant.urls().graph);
    let (code, drive) = world.call("GET", &user, Value::Null).await;
    assert_eq!((code, &drive["driveType"]), (200, &json!("business")));
    let (_, root) = world
        .call("GET", &format!("{user}/root"), Value::Null)
        .await;
    assert!(root["root"].is_object());
    world.tenant.set_permissions(["Files.Read.All"]);
    let (code, error) = world.call("DELETE", "/items/x", Value::Null).await;
    assert_eq!(
        (code, &error["error"]["code"]),
        (403, &json!("accessDenied"))
    );
    world.tenant.remove_drive(ALICE);
    let (code, error) = world.call("GET", &user, Value::Null).await;
    assert_eq!(
        (code, &error["error"]["message"]),
        (404, &json!("User's mysite not found."))
    );
}
