//! Requests by hand: what the tenant serves and this client never asks.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use m365_auth::{Body, Transport};
use m365_simulator::Tenant;
use serde_json::{Value, json};

use crate::recording::Recording;
use crate::tour::Place;

/// Somebody with a token and nothing else.
pub struct Hand {
    transport: Arc<dyn Transport>,
    graph: String,
    token: String,
}

impl Hand {
    /// Signs in; what is sent is kept in a recording.
    pub async fn new(tenant: &Tenant, recording: &Recording) -> Self {
        let app = tenant.app();
        let graph = tenant.urls().graph.to_string();
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}&scope={graph}.default",
            app.client_id, app.client_secret
        );
        let login = format!("{}{}/oauth2/v2.0/token", tenant.urls().login, app.tenant_id);
        let request = Request::post(login)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(form))
            .unwrap();
        let transport = recording.transport(tenant);
        let answer = transport.send(request).await.unwrap();
        let answer = answer.into_body().collect(1 << 20).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        Self {
            transport,
            graph,
            token: answer["access_token"].as_str().unwrap().to_owned(),
        }
    }

    /// Sends JSON to a path below the version; returns status and answer.
    pub async fn send(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let url = format!("{}v1.0{path}", self.graph);
        let body = match body {
            Value::Null => Bytes::new(),
            body => body.to_string().into(),
        };
        self.send_to(method, &url, "application/json", body).await
    }

    /// Sends bytes to an address, with the token where it is one of Graph.
    pub async fn send_to(&self, method: &str, url: &str, kind: &str, body: Bytes) -> (u16, Value) {
        let (head, answer) = self.whole(method, url, kind, body).await;
        (head.status.as_u16(), answer)
    }

    async fn whole(
        &self,
        method: &str,
        url: &str,
        kind: &str,
        body: Bytes,
    ) -> (http::response::Parts, Value) {
        let url: String = url.replace(' ', "%20").replace('"', "%22");
        let mut request = Request::builder()
            .method(method)
            .uri(&url)
            .header("prefer", "IdType=\"ImmutableId\"")
            .header("content-type", kind);
        if url.starts_with(&self.graph) {
            request = request.header("authorization", format!("Bearer {}", self.token));
        }
        let request = request.body(Body::from(body)).unwrap();
        let (head, answer) = self.transport.send(request).await.unwrap().into_parts();
        let answer = answer.collect(64 << 20).await.unwrap();
        (head, serde_json::from_slice(&answer).unwrap_or_default())
    }

    /// Sends what must succeed; returns the answer.
    async fn done(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.send(method, path, body).await;
        assert!(status < 400, "{method} {path}: {status} {answer}");
        answer
    }

    /// Begins what takes a while; returns the address at which it is asked after.
    async fn begun(&self, path: &str, body: Value) -> String {
        let url = format!("{}v1.0{path}", self.graph);
        let bytes = body.to_string().into();
        let (head, _) = self.whole("POST", &url, "application/json", bytes).await;
        assert_eq!(head.status, 202);
        head.headers["location"].to_str().unwrap().to_owned()
    }

    async fn get(&self, path: &str) -> Value {
        self.done("GET", path, Value::Null).await
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.done("POST", path, body).await
    }
}

fn id(object: &Value) -> &str {
    object["id"].as_str().unwrap()
}

/// Asks for everything that the client does not.
pub async fn by_hand(place: &Place, recording: &Recording) {
    let hand = Hand::new(&place.tenant, recording).await;
    people(place, &hand).await;
    mail(place, &hand).await;
    drives(place, &hand).await;
    mailboxes(place, &hand).await;
    collections(place, &hand).await;
    new_team(&hand).await;
    existing_channel(place, &hand).await;
    subscriptions(place, &hand).await;
}

async fn people(place: &Place, hand: &Hand) {
    let user = format!("/users/{}", place.user);
    hand.get(&format!("{user}/settings/exchange")).await;
    hand.get(&format!("{user}/drives")).await;
    let page = hand
        .get(&format!("{user}/mailFolders/inbox/messages"))
        .await;
    let message = id(&page["value"][0]);
    let wish = json!({
        "inputIds": [message, "nothing"],
        "sourceIdType": "restImmutableEntryId",
        "targetIdType": "restId",
    });
    hand.post(&format!("{user}/translateExchangeIds"), wish)
        .await;
}

async fn mail(place: &Place, hand: &Hand) {
    let user = format!("/users/{}", place.user);
    let folders = format!("{user}/mailFolders");
    hand.get(&folders).await;
    let made = hand.post(&folders, json!({"displayName": "By hand"})).await;
    let folder = format!("{folders}/{}", id(&made));
    hand.done("PATCH", &folder, json!({"displayName": "Renamed"}))
        .await;
    let inside = json!({"destinationId": "inbox"});
    hand.post(&format!("{folder}/move"), inside.clone()).await;
    hand.done("DELETE", &folder, Value::Null).await;
    let messages = format!("{user}/messages");
    let message = hand.post(&messages, json!({"subject": "By hand"})).await;
    let message = format!("{messages}/{}", id(&message));
    let attachment = json!({
        "@odata.type": "#microsoft.graph.fileAttachment",
        "name": "a.txt",
        "contentBytes": "aGVsbG8=",
    });
    let attachments = format!("{message}/attachments");
    let attachment = hand.post(&attachments, attachment).await;
    hand.get(&attachments).await;
    let attachment = format!("{attachments}/{}", id(&attachment));
    hand.get(&attachment).await;
    hand.get(&format!("{attachment}/$value")).await;
    hand.post(&format!("{message}/move"), inside).await;
}

async fn drives(place: &Place, hand: &Hand) {
    let drive = format!("/drives/{}", place.drive);
    hand.get(&drive).await;
    let page = hand.get(&format!("{drive}/root/delta")).await;
    let whole = format!("{drive}/root/delta(token='latest')");
    hand.get(&whole).await;
    let files = page["value"].as_array().unwrap();
    let file = files.iter().find(|item| item["file"].is_object()).unwrap();
    let content = format!("{drive}/items/{}/content", id(file));
    hand.get(&content).await;
    let url = |path: &str| format!("{}v1.0{path}", place.tenant.urls().graph);
    let bytes = || Bytes::from_static(b"hello");
    let kind = "application/octet-stream";
    for path in [&content, &format!("{drive}/root:/by hand.txt:/content")] {
        let (status, answer) = hand.send_to("PUT", &url(path), kind, bytes()).await;
        assert!(status < 400, "PUT {path}: {status} {answer}");
    }
    hand.get(&format!("{drive}/root:/by hand.txt:/content"))
        .await;
    let session = format!("{drive}/items/{}/createUploadSession", id(file));
    let opened = hand.post(&session, json!({"item": {"fileSize": 5}})).await;
    let address = opened["uploadUrl"].as_str().unwrap();
    for method in ["GET", "DELETE"] {
        let (status, _) = hand.send_to(method, address, kind, Bytes::new()).await;
        assert!(status < 400);
    }
}

async fn mailboxes(place: &Place, hand: &Hand) {
    let mailbox = format!("/admin/exchange/mailboxes/{}", place.mailbox);
    let page = hand.get(&format!("{mailbox}/folders?$top=50")).await;
    let folders = page["value"].as_array().unwrap();
    let inbox = folders.iter().find(|own| own["displayName"] == "Inbox");
    let inbox = inbox.or(folders.iter().find(|own| own["totalItemCount"] != 0));
    let folder = format!("{mailbox}/folders/{}", id(inbox.unwrap()));
    hand.get(&folder).await;
    hand.get(&format!("{folder}/childFolders")).await;
    let items = hand.get(&format!("{folder}/items")).await;
    let item = id(&items["value"][0]);
    hand.get(&format!("{folder}/items/{item}")).await;
    let wish = json!({"itemIds": [item, "nothing"]});
    let exported = hand.post(&format!("{mailbox}/exportItems"), wish).await;
    let session = format!("{mailbox}/createImportSession");
    let session = hand.post(&session, Value::Null).await;
    let wish = json!({
        "FolderId": id(inbox.unwrap()),
        "Mode": "create",
        "Data": exported["value"][0]["data"],
    });
    let address = session["importUrl"].as_str().unwrap();
    let body = wish.to_string().into();
    let (status, answer) = hand
        .send_to("POST", address, "application/json", body)
        .await;
    assert_eq!(status, 200, "{answer}");
    hand.done("DELETE", &format!("{folder}/items/{item}"), Value::Null)
        .await;
}

async fn collections(place: &Place, hand: &Hand) {
    let user = format!("/users/{}", place.user);
    let window = "startDateTime=2026-03-01T00:00:00&endDateTime=2026-04-01T00:00:00";
    for path in [
        "/sites".to_owned(),
        format!("{user}/contacts"),
        format!("{user}/contactFolders/f/contacts"),
        format!("{user}/calendarView?{window}"),
        format!("{user}/calendars/c/calendarView?{window}"),
        format!("{user}/todo/lists"),
        format!("{user}/todo/lists/l/tasks"),
    ] {
        let page = hand.get(&path).await;
        assert_eq!(page["value"].as_array().unwrap().len(), 1, "{path}");
    }
}

/// A team made for messages of the past, with a channel.
async fn new_team(hand: &Hand) {
    let team = json!({
        "@microsoft.graph.teamCreationMode": "migration",
        "template@odata.bind": "https://graph.microsoft.com/v1.0/teamsTemplates('standard')",
        "displayName": "Old days",
        "description": "From before",
        "createdDateTime": "2020-03-14T11:22:17.067Z",
    });
    let made = hand.begun("/teams", team).await;
    let begun = made.replace("('", "/").replace("')", "");
    while hand.get(&begun).await["status"] != "succeeded" {}
    let team = begun.split("/operations").next().unwrap();
    let channel = json!({
        "@microsoft.graph.channelCreationMode": "migration",
        "displayName": "Import",
        "createdDateTime": "2020-03-14T11:22:17.067Z",
    });
    hand.post(&format!("{team}/channels"), channel).await;
    let channels = hand.get(&format!("{team}/channels")).await;
    for channel in channels["value"].as_array().unwrap() {
        let channel = format!("{team}/channels/{}", id(channel));
        let complete = format!("{channel}/completeMigration");
        hand.post(&complete, Value::Null).await;
    }
    hand.post(&format!("{team}/completeMigration"), Value::Null)
        .await;
    hand.get("/teams").await;
}

/// A channel that is there, opened for messages of the past, and closed.
async fn existing_channel(place: &Place, hand: &Hand) {
    let team = format!("/teams/{}", place.team);
    hand.get(&team).await;
    hand.get(&format!("{team}/channels")).await;
    hand.get(&format!("{team}/allChannels")).await;
    hand.get(&format!("{team}/channels/getAllMessages?$top=50"))
        .await;
    let new = json!({"displayName": "Plans of old", "membershipType": "standard"});
    hand.post(&format!("{team}/channels"), new).await;
    let channel = format!("{team}/channels/{}", place.channel);
    hand.get(&channel).await;
    let begins = json!({"conversationCreationDateTime": "2019-01-01T00:00:00Z"});
    hand.post(&format!("{channel}/startMigration"), begins)
        .await;
    let message = json!({
        "createdDateTime": "2019-02-04T19:58:15.511Z",
        "from": {"user": {"id": place.user, "displayName": "A", "userIdentityType": "aadUser"}},
        "body": {"contentType": "html", "content": "<p>Hello</p>"},
    });
    let messages = format!("{channel}/messages");
    let post = hand.post(&messages, message.clone()).await;
    let post = format!("{messages}/{}", id(&post));
    hand.post(&format!("{post}/replies"), message).await;
    hand.get(&messages).await;
    hand.get(&post).await;
    hand.get(&format!("{post}/replies")).await;
    hand.post(&format!("{channel}/completeMigration"), Value::Null)
        .await;
}

async fn subscriptions(place: &Place, hand: &Hand) {
    place.tenant.set_notification_listener(|request| {
        let query = request.uri().query().unwrap_or_default();
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        let mut tokens = pairs.filter(|(name, _)| name == "validationToken");
        let token = tokens.next().map(|(_, token)| token.into_owned());
        Response::builder()
            .header("content-type", "text/plain")
            .body(Bytes::from(token.unwrap_or_default()))
            .unwrap()
    });
    let soon = "2026-11-15T01:00:00Z";
    let wish = json!({
        "changeType": "created,updated",
        "notificationUrl": "https://listener.contoso.example/hook",
        "lifecycleNotificationUrl": "https://listener.contoso.example/life",
        "resource": format!("users/{}/mailFolders('inbox')/messages", place.user),
        "expirationDateTime": soon,
        "clientState": "known",
    });
    let made = hand.post("/subscriptions", wish).await;
    let own = format!("/subscriptions/{}", id(&made));
    hand.get("/subscriptions").await;
    hand.get(&own).await;
    hand.done("PATCH", &own, json!({"expirationDateTime": soon}))
        .await;
    hand.post(&format!("{own}/reauthorize"), Value::Null).await;
    hand.done("DELETE", &own, Value::Null).await;
}
