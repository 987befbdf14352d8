//! Attachments to write: in one request, or by an upload session when they are large.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, header};
use serde_json::{Value, json};
use url::Url;

use crate::client::{Call, GraphClient, Repeat, segment};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::Node;
use crate::upload;

/// Describes an attachment to add to a message.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewAttachment {
    /// Its file name.
    pub name: String,
    /// Its media type; the service guesses when there is none.
    pub content_type: Option<String>,
    /// Its bytes.
    pub content: Bytes,
    /// Whether the body shows it in place.
    pub is_inline: bool,
    /// The id under which the body refers to it.
    pub content_id: Option<String>,
}

impl NewAttachment {
    /// Describes an attached file.
    pub fn new(name: impl Into<String>, content: impl Into<Bytes>) -> Self {
        Self {
            name: name.into(),
            content_type: None,
            content: content.into(),
            is_inline: false,
            content_id: None,
        }
    }

    /// Sets the media type.
    #[must_use]
    pub fn with_content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// Sets the content id, and whether the body shows the attachment in place.
    #[must_use]
    pub fn with_content_id(mut self, content_id: impl Into<String>, is_inline: bool) -> Self {
        self.content_id = Some(content_id.into());
        self.is_inline = is_inline;
        self
    }

    /// Returns the properties that both ways of adding share.
    fn properties(&self) -> Value {
        let mut object = json!({"name": self.name, "isInline": self.is_inline});
        if let Some(content_type) = &self.content_type {
            object["contentType"] = json!(content_type);
        }
        if let Some(content_id) = &self.content_id {
            object["contentId"] = json!(content_id);
        }
        object
    }
}

impl std::fmt::Debug for NewAttachment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NewAttachment({} bytes)", self.content.len())
    }
}

pub(super) async fn add(
    client: &GraphClient,
    user: &str,
    message: &str,
    attachment: &NewAttachment,
) -> Result<()> {
    if attachment.content.len() > MAX_BYTES {
        let message = format!("{ABOUT}: it is longer than the {MAX_BYTES} bytes allowed");
        return Err(Error::new(ErrorKind::TooLarge, message));
    }
    let path = [
        segment("users"),
        user.into(),
        segment("messages"),
        message.into(),
        segment("attachments"),
    ];
    let call = client
        .call(ABOUT, Method::POST, &path)?
        .repeat(Repeat::Creates);
    if attachment.content.len() < SESSION_FROM_BYTES {
        return inline(client, call, attachment).await;
    }
    let mut item = attachment.properties();
    item["attachmentType"] = json!("file");
    item["size"] = json!(attachment.content.len());
    // A session without content leaves nothing behind, so that it may be asked for twice.
    let open = call
        .clone()
        .path(&[segment("createUploadSession")])?
        .repeat(Repeat::Safe);
    match client
        .json(open.json(&json!({"AttachmentItem": item})))
        .await
    {
        Ok(session) => {
            let url = upload::session_url(ABOUT, &session)?;
            send(client, &url, &Node::mailbox(user), &attachment.content).await
        }
        // Where the border of 3 MB lies exactly is not documented.
        Err(error)
            if error
                .code()
                .is_some_and(|code| code.eq_ignore_ascii_case(TOO_SMALL)) =>
        {
            inline(client, call, attachment).await
        }
        Err(error) => Err(error),
    }
}

/// Sends properties and content in one request.
async fn inline(client: &GraphClient, call: Call, attachment: &NewAttachment) -> Result<()> {
    let mut object = attachment.properties();
    object["@odata.type"] = json!("#microsoft.graph.fileAttachment");
    object["contentBytes"] = json!(STANDARD.encode(&attachment.content));
    client.json(call.json(&object)).await.map(drop)
}

/// Sends the content piece by piece, each as often as the policy allows.
async fn send(client: &GraphClient, url: &Url, node: &Node, content: &Bytes) -> Result<()> {
    let mut begin = 0;
    while begin < content.len() {
        let end = content.len().min(begin + FRAGMENT_BYTES);
        let range = format!("bytes {begin}-{}/{}", end - 1, content.len());
        let call = Call::preauthenticated(ABOUT, Method::PUT, url, node)
            .bytes(content.slice(begin..end))
            .header(header::CONTENT_RANGE, &range)?;
        client.json(call).await?;
        begin = end;
    }
    Ok(())
}

const ABOUT: &str = "the new attachment";
/// From this length an upload session is used, in bytes (attach large files, 2021).
const SESSION_FROM_BYTES: usize = 3_000_000;
/// The code of a session refused because one request would do.
const TOO_SMALL: &str = "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize";
/// The longest attachment, in bytes (same page).
const MAX_BYTES: usize = 150 << 20;
/// The length of a piece, in bytes: below the 4 MB of the same page.
const FRAGMENT_BYTES: usize = 12 * crate::client::UPLOAD_UNIT_BYTES;
