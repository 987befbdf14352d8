//! The published bodies of requests: this client sends the same for the same wish.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use m365_auth::{Body, RetryPolicy};
use m365_graph::{GraphClient, GraphOptions, NewAttachment, OnConflict, UploadOptions};
use serde_json::{Value, json};

use crate::known::NOT_SENT;
use crate::scripted::{self, Seen};

/// A client whose service takes everything, and says of everything what may be wanted.
fn taken() -> (GraphClient, Seen) {
    let options = GraphOptions {
        retry: RetryPolicy::none(),
        ..GraphOptions::default()
    };
    scripted::client(options, |_| {
        let answer = json!({
            "id": "new",
            "uploadUrl": "https://content.contoso.example/up",
            "responses": [{"id": "0", "status": 201, "body": {"id": "new"}}],
        });
        scripted::json(200, &answer)
    })
}

/// Sends what a sample sends, as the client would; returns the body that arrived, or `None` where
/// no call of the client sends it.
pub async fn sent(operation: &str, body: &Value) -> Option<Value> {
    let (client, seen) = taken();
    let mail = client.mail("u");
    let text = |name: &str| body[name].as_str().map(str::to_owned);
    match operation {
        "PATCH /drives/{drive-id}/items/{driveItem-id}" => {
            client.drive("d").update("i", body).await.ok()?;
        }
        "PATCH /users/{user-id}/messages/{message-id}" => {
            mail.update_message("m", body).await.ok()?;
        }
        "POST /users/{user-id}/mailFolders/{mailFolder-id}/childFolders" => {
            let hidden = body["isHidden"].as_bool().unwrap_or_default();
            let name = text("displayName")?;
            mail.create_folder("f", &name, hidden).await.ok()?;
        }
        "POST /users/{user-id}/messages/{message-id}/move" => {
            let mut batch = client.batch();
            let folder = text("destinationId")?;
            batch.move_message("u", "m", &folder).ok()?;
            batch.send().await.ok()?;
            let envelope = scripted::body(&seen, 0);
            return envelope["requests"][0].get("body").cloned();
        }
        "POST /users/{user-id}/messages/{message-id}/attachments" => {
            let content = STANDARD.decode(text("contentBytes")?).ok()?;
            let mut attachment = NewAttachment::new(text("name")?, content);
            attachment.content_type = text("contentType");
            mail.add_attachment("m", &attachment).await.ok()?;
        }
        "POST /users/{user-id}/messages/{message-id}/attachments/createUploadSession" => {
            let item = &body["AttachmentItem"];
            let length = usize::try_from(item["size"].as_u64()?).ok()?;
            let name = item["name"].as_str()?;
            let attachment = NewAttachment::new(name, vec![7; length]);
            mail.add_attachment("m", &attachment).await.ok()?;
        }
        "POST /drives/{drive-id}/items/{driveItem-id}:/{file-name}:/createUploadSession" => {
            let item = &body["item"];
            assert_eq!(item["@microsoft.graph.conflictBehavior"], "rename");
            let options = UploadOptions {
                size: 5_000_000,
                conflict: OnConflict::Rename,
                ..UploadOptions::default()
            };
            let content = Body::from(vec![7; 5_000_000]);
            let upload = client.drive("d");
            let name = item["name"].as_str()?;
            upload.upload("p", name, options, content).await.ok()?;
        }
        _ => return None,
    }
    Some(scripted::body(&seen, 0))
}

/// Tells whether all of `part` is in `whole`.
fn holds(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part
            .iter()
            .all(|(name, value)| whole.get(name).is_some_and(|own| holds(own, value))),
        _ => whole == part,
    }
}

/// Compares the body of a sample with what the client sends; complains, or does not.
pub async fn compare(id: &str, operation: &str, body: &Value) -> Option<String> {
    let known = NOT_SENT.iter().find(|(own, _)| *own == id);
    let sent = sent(operation, body).await;
    let same = sent.as_ref().is_some_and(|sent| holds(sent, body));
    match (same, known) {
        (true, None) | (false, Some(_)) => None,
        (true, Some((_, reason))) => Some(format!("{id} is sent now; no longer {reason}")),
        (false, None) => Some(format!(
            "{id} {operation}: sent is {sent:?}, published {body}"
        )),
    }
}
