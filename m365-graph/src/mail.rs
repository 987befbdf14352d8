//! Mail of one user: folders, messages, their changes, and the writing of new ones.

mod attachment;
mod marked;
mod views;

use std::fmt;

use http::Method;
use http::header::ACCEPT;
use m365_auth::{Body, Charge};
use serde_json::{Value, json};

use crate::client::{Call, GraphClient, Repeat, segment};
use crate::entity::Entity;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::Node;
use crate::page::{self, DeltaLink, DeltaPage, Page, PageLink};

pub use attachment::NewAttachment;
pub use views::{EmailAddress, FollowupFlag, MailFolder, Message, MessageHead, Recipient};

/// Speaks to the mail of one user.
///
/// Ids are immutable ones: they stay the same when a message moves to another folder.
#[derive(Clone)]
pub struct Mail {
    client: GraphClient,
    user: String,
    page_size: u32,
}

impl Mail {
    pub(crate) fn new(client: GraphClient, user: &str) -> Self {
        let page_size = client.options().message_page_size;
        Self {
            client,
            user: user.to_owned(),
            page_size,
        }
    }

    /// Asks for so many messages a page, instead of what the options of the client say.
    #[must_use]
    pub fn with_page_size(mut self, messages: u32) -> Self {
        self.page_size = messages.max(1);
        self
    }

    /// Charges one request at the mailbox, whatever it does: where its work is limited as one.
    pub fn lane(&self) -> Charge {
        Node::mailbox(&self.user).lane(&self.client.options().limited_as)
    }

    /// Reads one page of the changes of all mail folders, hidden ones included, in a flat list.
    ///
    /// *Errors*: [`CursorReset`](crate::ErrorKind::CursorReset) when the feed must begin anew.
    pub async fn folders_delta(&self, from: Option<&DeltaLink>) -> Result<DeltaPage<MailFolder>> {
        const ABOUT: &str = "the changes of the mail folders";
        let call = self.client.changes(ABOUT, from, || {
            let call = self
                .get(ABOUT)?
                .path(&[segment("mailFolders"), segment("delta")])?;
            Ok(call.query("includeHiddenFolders", "true"))
        })?;
        let size = self.client.options().list_page_size;
        let answer = self.client.json(call.prefer(page_size(size))).await?;
        page::delta(answer, page::removed_mark, &|link| self.client.check(link))
            .map_err(|error| error.about(ABOUT))
    }

    /// Reads a mail folder, by id or by a well-known name such as `inbox`.
    ///
    /// *Errors*: [`NotFound`](crate::ErrorKind::NotFound).
    pub async fn folder(&self, id_or_well_known: &str) -> Result<Entity<MailFolder>> {
        let path = [segment("mailFolders"), id_or_well_known.into()];
        self.client
            .entity(self.get("the mail folder")?.path(&path)?)
            .await
    }

    /// Reads one page of the folders in a folder, hidden ones included.
    pub async fn child_folders(
        &self,
        parent: &str,
        next: Option<&PageLink>,
    ) -> Result<Page<MailFolder>> {
        const ABOUT: &str = "the folders in the mail folder";
        let call = self.client.page(ABOUT, next, || {
            let path = [
                segment("mailFolders"),
                parent.into(),
                segment("childFolders"),
            ];
            let size = self.client.options().list_page_size.to_string();
            let call = self
                .get(ABOUT)?
                .path(&path)?
                .query("includeHiddenFolders", "true");
            Ok(call.query("$top", &size))
        })?;
        page::list(self.client.json(call).await?, &|link| {
            self.client.check(link)
        })
        .map_err(|error| error.about(ABOUT))
    }

    /// Creates a folder in a folder; whether it is hidden can be set only now.
    ///
    /// *Errors*: [`Conflict`](crate::ErrorKind::Conflict) when there is one of that name.
    pub async fn create_folder(
        &self,
        parent: &str,
        name: &str,
        hidden: bool,
    ) -> Result<Entity<MailFolder>> {
        let path = [
            segment("mailFolders"),
            parent.into(),
            segment("childFolders"),
        ];
        let mut folder = json!({"displayName": name});
        if hidden {
            folder["isHidden"] = Value::Bool(true);
        }
        let call = self.post("the new mail folder")?.path(&path)?.json(&folder);
        self.client.entity(call).await
    }

    /// Reads one page of the changes of the messages of a folder.
    ///
    /// *Shape*: messages carry everything a backup needs, except body and attachments. A message
    /// moved elsewhere is removed here.
    ///
    /// *Errors*: [`CursorReset`](crate::ErrorKind::CursorReset) when the feed must begin anew;
    /// [`NotFound`](crate::ErrorKind::NotFound) when the folder is gone.
    pub async fn messages_delta(
        &self,
        folder: &str,
        from: Option<&DeltaLink>,
    ) -> Result<DeltaPage<Message>> {
        let answer = self.client.json(self.messages_call(folder, from)?).await?;
        page::delta(answer, page::removed_mark, &|link| self.client.check(link))
            .map_err(|error| error.about(CHANGES))
    }

    /// Reads the same page for whoever decides by the heads of messages, and keeps the rest as it
    /// is: for mailboxes of many thousands.
    ///
    /// *Errors*: as [`messages_delta`](Self::messages_delta).
    pub async fn message_heads_delta(
        &self,
        folder: &str,
        from: Option<&DeltaLink>,
    ) -> Result<DeltaPage<MessageHead>> {
        let call = self.messages_call(folder, from)?;
        let check = |link: &str| self.client.check(link);
        self.client
            .text(call, |answer| {
                page::heads_of_text(answer, &check).map_err(|error| error.about(CHANGES))
            })
            .await
    }

    fn messages_call(&self, folder: &str, from: Option<&DeltaLink>) -> Result<Call> {
        let call = self.client.changes(CHANGES, from, || {
            let path = [
                segment("mailFolders"),
                folder.into(),
                segment("messages"),
                segment("delta"),
            ];
            Ok(self
                .get(CHANGES)?
                .path(&path)?
                .query("$select", MESSAGE_PROPERTIES))
        })?;
        Ok(call.prefer(page_size(self.page_size)))
    }

    /// Reads one page of the messages of a folder; `filter` is an OData filter.
    ///
    /// *Shape*: as in [`messages_delta`](Self::messages_delta).
    pub async fn messages_page(
        &self,
        folder: &str,
        filter: Option<&str>,
        next: Option<&PageLink>,
    ) -> Result<Page<Message>> {
        const ABOUT: &str = "the messages in the folder";
        let call = self.client.page(ABOUT, next, || {
            let path = [segment("mailFolders"), folder.into(), segment("messages")];
            let size = self.page_size.to_string();
            let mut call = self
                .get(ABOUT)?
                .path(&path)?
                .query("$select", MESSAGE_PROPERTIES);
            if let Some(filter) = filter {
                call = call.query("$filter", filter);
            }
            Ok(call.query("$top", &size))
        })?;
        page::list(self.client.json(call).await?, &|link| {
            self.client.check(link)
        })
        .map_err(|error| error.about(ABOUT))
    }

    /// Reads a message with all its properties, body included.
    ///
    /// *Errors*: [`NotFound`](crate::ErrorKind::NotFound).
    pub async fn message(&self, id: &str) -> Result<Entity<Message>> {
        let path = [segment("messages"), id.into()];
        self.client
            .entity(self.get("the message")?.path(&path)?)
            .await
    }

    /// Reads a message with the properties that [`messages_delta`](Self::messages_delta) and
    /// [`messages_page`](Self::messages_page) show: without its body.
    ///
    /// *Errors*: [`NotFound`](crate::ErrorKind::NotFound).
    pub async fn message_as_listed(&self, id: &str) -> Result<Entity<Message>> {
        let path = [segment("messages"), id.into()];
        let call = self.get("the message")?.path(&path)?;
        self.client
            .entity(call.query("$select", MESSAGE_PROPERTIES))
            .await
    }

    /// Reads the same message for whoever decides by its head.
    ///
    /// *Errors*: [`NotFound`](crate::ErrorKind::NotFound).
    pub async fn message_head(&self, id: &str) -> Result<Entity<MessageHead>> {
        let message = self.message_as_listed(id).await?;
        Ok(message.map(MessageHead::from))
    }

    /// Reads the MIME form of a message, streamed, byte for byte as the service makes it.
    ///
    /// *Errors*: [`ItemCorrupt`](crate::ErrorKind::ItemCorrupt) when the service cannot make it;
    /// [`Malformed`](crate::ErrorKind::Malformed) when a page of HTML or JSON comes in its place, as
    /// gateways send them; errors in the body are those of the transport.
    pub async fn mime(&self, id: &str) -> Result<Body> {
        let path = [segment("messages"), id.into(), segment("$value")];
        let call = self
            .get("the MIME of the message")?
            .path(&path)?
            .header(ACCEPT, "*/*")?;
        let answer = self.client.stream(call).await?;
        let kind = answer.header("content-type").unwrap_or_default();
        let kind = kind.trim_start().to_ascii_lowercase();
        if NEVER_MIME.iter().any(|never| kind.starts_with(never)) {
            let message = "the MIME of the message: the answer is of another type";
            return Err(Error::new(ErrorKind::Malformed, message));
        }
        Ok(answer.body)
    }

    /// Creates a message in a folder.
    ///
    /// *Errors*: sent again only when the service has certainly not acted; after
    /// [`Transport`](crate::ErrorKind::Transport) or [`Service`](crate::ErrorKind::Service) the
    /// message may exist.
    pub async fn create_message(&self, folder: &str, message: &Value) -> Result<Entity<Message>> {
        let path = [segment("mailFolders"), folder.into(), segment("messages")];
        self.client
            .entity(self.post("the new message")?.path(&path)?.json(message))
            .await
    }

    /// Changes properties of a message.
    pub async fn update_message(&self, id: &str, changes: &Value) -> Result<Entity<Message>> {
        let path = [segment("messages"), id.into()];
        let call = self
            .call("the message", Method::PATCH)?
            .path(&path)?
            .json(changes);
        self.client.entity(call).await
    }

    /// Deletes a message: it goes to the deleted items.
    pub async fn delete_message(&self, id: &str) -> Result<()> {
        let path = [segment("messages"), id.into()];
        let call = self.call("the message", Method::DELETE)?.path(&path)?;
        self.client.json(call).await.map(drop)
    }

    /// Adds an attachment to a message.
    ///
    /// *Units and limits*: below 3 MB in one request, beyond it by an upload session; 150 MB at
    /// most, and less where the tenant limits the size of messages.
    ///
    /// *Errors*: [`TooLarge`](crate::ErrorKind::TooLarge); after
    /// [`Transport`](crate::ErrorKind::Transport) or [`Service`](crate::ErrorKind::Service) the
    /// attachment may exist.
    pub async fn add_attachment(&self, message: &str, attachment: &NewAttachment) -> Result<()> {
        attachment::add(&self.client, &self.user, message, attachment).await
    }

    fn get(&self, about: &'static str) -> Result<Call> {
        self.call(about, Method::GET)
    }

    fn post(&self, about: &'static str) -> Result<Call> {
        Ok(self.call(about, Method::POST)?.repeat(Repeat::Creates))
    }

    fn call(&self, about: &'static str, method: Method) -> Result<Call> {
        self.client.call(
            about,
            method,
            &[segment("users"), self.user.as_str().into()],
        )
    }
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

fn page_size(count: u32) -> String {
    format!("odata.maxpagesize={count}")
}

/// What two readings of the same page are called.
const CHANGES: &str = "the changes of the messages in the folder";
/// What the service never calls the MIME of a message; there is no hash by which to find out later.
const NEVER_MIME: [&str; 2] = ["text/html", "application/json"];
/// What a page of messages carries: all that a backup needs beside the MIME.
const MESSAGE_PROPERTIES: &str = "id,changeKey,subject,from,sender,toRecipients,ccRecipients,\
    bccRecipients,replyTo,receivedDateTime,sentDateTime,createdDateTime,lastModifiedDateTime,\
    hasAttachments,importance,isRead,isDraft,isReadReceiptRequested,isDeliveryReceiptRequested,\
    flag,categories,conversationId,conversationIndex,internetMessageId,parentFolderId,\
    inferenceClassification";
