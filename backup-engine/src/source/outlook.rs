//! Outlook: mail of user, shared, room and equipment mailboxes, through the Graph API.
//!
//! One feed for the folders, one for the messages of each folder. Content is the MIME form, byte
//! for byte as the service makes it; properties are kept as JSON beside it.

use async_trait::async_trait;
use backup_store::catalog::{
    Container, ContainerKind, Cursor, ItemKind, Representation, RepresentationKind, Resource,
    ResourceId, ResourceKind, Service,
};
use backup_store::{ContentClass, Gatherer};
use m365_auth::Charge;
use m365_graph::mail::{Mail, MailFolder, MessageHead};
use m365_graph::{Entity, ErrorKind as GraphErrorKind, GraphClient};
use serde_json::Value;

use super::graph;
use super::{
    Change, Feed, FeedKind, Fetched, Found, Owner, OwnerPage, Page, Scope, SeenContainer, SeenItem,
    Source,
};
use crate::change;
use crate::error::Result;
use crate::mutant::{Mutant, mutated};
use crate::selection::Selection;

/// Reads mailboxes.
#[derive(Debug, Clone)]
pub struct OutlookSource {
    client: GraphClient,
}

impl OutlookSource {
    /// Creates a source on a client that retries nothing itself.
    pub fn new(client: GraphClient) -> Self {
        Self { client }
    }
}

#[async_trait]
impl Source for OutlookSource {
    fn service(&self) -> Service {
        Service::Outlook
    }

    fn charge(&self, service_id: &str) -> Charge {
        self.client.mail(service_id).lane()
    }

    fn charge_of_owners(&self) -> Charge {
        self.client.directory_lane()
    }

    async fn owners(&self, selection: &Selection, from: Option<&Cursor>) -> Result<OwnerPage> {
        graph::owners(&self.client, selection, from).await
    }

    async fn resource(&self, owner: &Owner) -> Result<Found> {
        let settings = match self.client.mailbox_settings(&owner.id).await {
            Ok(settings) => settings,
            Err(error) => return graph::nothing(error, "no mailbox in Exchange Online"),
        };
        let kind = match settings.user_purpose.as_deref() {
            Some("shared") => ResourceKind::SharedMailbox,
            Some("room") => ResourceKind::RoomMailbox,
            Some("equipment") => ResourceKind::EquipmentMailbox,
            _ => ResourceKind::UserMailbox,
        };
        Ok(Found::Resource(Resource {
            id: ResourceId::of(&Service::Outlook, &owner.id),
            service: Service::Outlook,
            kind,
            owner: owner.principal_name.clone(),
            owner_id: owner.id.clone(),
            service_id: owner.id.clone(),
            name: owner.name.clone(),
        }))
    }

    fn feeds(&self, _resource: &Resource, containers: &[&Container]) -> Vec<Feed> {
        let hierarchy = Feed {
            id: HIERARCHY.to_owned(),
            kind: FeedKind::Hierarchy,
            scope: Scope::Containers,
        };
        let holds_messages = |container: &&&Container| container.kind == ContainerKind::MailFolder;
        let folders = containers
            .iter()
            .filter(holds_messages)
            .map(|container| Feed {
                id: container.id.clone(),
                kind: FeedKind::Delta,
                scope: Scope::Container(container.id.clone()),
            });
        std::iter::once(hierarchy).chain(folders).collect()
    }

    fn well_known(&self) -> &'static [&'static str] {
        WELL_KNOWN
    }

    async fn find_well_known(&self, resource: &Resource, name: &str) -> Result<Option<String>> {
        match self.client.mail(&resource.service_id).folder(name).await {
            Ok(folder) => Ok(Some(folder.id.clone())),
            Err(error) if error.kind() == GraphErrorKind::NotFound => Ok(None),
            Err(error) => Err(graph::error(error)),
        }
    }

    async fn page(
        &self,
        resource: &Resource,
        feed: &Feed,
        cursor: Option<&Cursor>,
    ) -> Result<Page> {
        match feed.kind {
            FeedKind::Hierarchy => self.folder_page(resource, cursor).await,
            FeedKind::Delta => {
                let mail = self.client.mail(&resource.service_id);
                self.message_page(mail, resource, feed, cursor).await
            }
        }
    }

    async fn smaller_page(
        &self,
        resource: &Resource,
        feed: &Feed,
        cursor: Option<&Cursor>,
        items: u32,
    ) -> Result<Page> {
        match feed.kind {
            FeedKind::Hierarchy => self.folder_page(resource, cursor).await,
            FeedKind::Delta => {
                let mail = self.client.mail(&resource.service_id);
                let mail = mail.with_page_size(items);
                self.message_page(mail, resource, feed, cursor).await
            }
        }
    }

    fn content_form(&self) -> RepresentationKind {
        RepresentationKind::Mime
    }

    async fn fetch(
        &self,
        resource: &Resource,
        items: &[SeenItem],
        into: &Gatherer,
    ) -> Vec<Result<Fetched>> {
        let mut outcomes = Vec::with_capacity(items.len());
        for item in items {
            outcomes.push(self.fetch_mime(resource, item, into).await);
        }
        outcomes
    }

    async fn locate(&self, resource: &Resource, item_id: &str) -> Result<Option<SeenItem>> {
        match self
            .client
            .mail(&resource.service_id)
            .message_head(item_id)
            .await
        {
            Ok(message) => {
                let folder = message.raw().get("parentFolderId").and_then(Value::as_str);
                let folder = folder.unwrap_or_default().to_owned();
                Ok(Some(seen(message, folder)?))
            }
            Err(error) if error.kind() == GraphErrorKind::NotFound => Ok(None),
            Err(error) => Err(graph::error(error)),
        }
    }

    async fn has_container(&self, resource: &Resource, container_id: &str) -> Result<bool> {
        let found = self
            .client
            .mail(&resource.service_id)
            .folder(container_id)
            .await;
        graph::is_there(found)
    }
}

impl OutlookSource {
    async fn folder_page(&self, resource: &Resource, cursor: Option<&Cursor>) -> Result<Page> {
        let mail = self.client.mail(&resource.service_id);
        let Some(from) = graph::link(&self.client, cursor) else {
            return Ok(graph::reset());
        };
        let page = match mail.folders_delta(from.as_ref()).await {
            Ok(page) => page,
            Err(error) => return graph::page_error(error),
        };
        let change = |change| match change {
            m365_graph::Change::Upserted(folder) => Change::Container(Box::new(container(&folder))),
            m365_graph::Change::Removed { id, .. } => Change::ContainerRemoved { id },
        };
        Ok(Page {
            changes: page.changes.into_iter().map(change).collect(),
            next: graph::next(page.next),
        })
    }

    async fn message_page(
        &self,
        mail: Mail,
        resource: &Resource,
        feed: &Feed,
        cursor: Option<&Cursor>,
    ) -> Result<Page> {
        let Some(from) = graph::link(&self.client, cursor) else {
            return Ok(graph::reset());
        };
        let page = match mail.message_heads_delta(&feed.id, from.as_ref()).await {
            Ok(page) => page,
            Err(error) => return graph::page_error(error),
        };
        let mut changes = Vec::with_capacity(page.changes.len());
        for change in page.changes {
            changes.push(match change {
                m365_graph::Change::Upserted(message) if is_partial(&message) => {
                    let id = message.id.clone();
                    match self.locate(resource, &id).await? {
                        Some(item) if item.container == feed.id => Change::Item(Box::new(item)),
                        Some(_) | None => Change::Removed { id, deleted: false },
                    }
                }
                m365_graph::Change::Upserted(message) => {
                    Change::Item(Box::new(seen(message, feed.id.clone())?))
                }
                m365_graph::Change::Removed { id, .. } => Change::Removed { id, deleted: false },
            });
        }
        Ok(Page {
            changes,
            next: graph::next(page.next),
        })
    }

    async fn fetch_mime(
        &self,
        resource: &Resource,
        item: &SeenItem,
        into: &Gatherer,
    ) -> Result<Fetched> {
        let mut body = match self.client.mail(&resource.service_id).mime(&item.id).await {
            Ok(body) => body,
            Err(error) if error.kind() == GraphErrorKind::NotFound => return Ok(Fetched::Gone),
            Err(error) => return Err(graph::item_error(error)),
        };
        let mut writer = into.content(ContentClass::Mail);
        while let Some(chunk) = body.chunk().await {
            let chunk = chunk.map_err(graph::body_error)?;
            writer.write(&chunk).await?;
        }
        let content = writer.finish().await?;
        let newer = match mutated(Mutant::LaterChangeKey) {
            true => self.locate(resource, &item.id).await?.map(Box::new),
            false => None,
        };
        Ok(Fetched::Stored {
            representations: vec![Representation {
                kind: RepresentationKind::Mime,
                content,
            }],
            newer,
        })
    }
}

/// The feed of the folders themselves; no folder has this id.
const HIERARCHY: &str = "mail-folders";

/// Folders that mean the same in every language.
///
/// *Source*: Graph reference, resource `mailFolder`, as of 2021; `searchfolders` is left out, since
/// what it holds is shown in other folders.
const WELL_KNOWN: &[&str] = &[
    "msgfolderroot",
    "inbox",
    "drafts",
    "sentitems",
    "deleteditems",
    "junkemail",
    "outbox",
    "archive",
    "clutter",
    "conversationhistory",
    "scheduled",
    "syncissues",
    "conflicts",
    "localfailures",
    "serverfailures",
    "recoverableitemsdeletions",
];

/// Members of a folder that follow its content and say nothing of the folder.
const FOLDER_COUNTS: &[&str] = &[
    "totalItemCount",
    "unreadItemCount",
    "childFolderCount",
    "sizeInBytes",
];

/// Members of a message that change without its content.
const AROUND_CONTENT: &[&str] = &[
    "changeKey",
    "lastModifiedDateTime",
    "isRead",
    "flag",
    "categories",
    "parentFolderId",
    "inferenceClassification",
];

/// Members that the MIME form holds, and that a page does not show but a single read does.
const IN_MIME: &[&str] = &["body", "uniqueBody", "attachments"];

fn container(folder: &Entity<MailFolder>) -> SeenContainer {
    let is_search = folder.raw().get("@odata.type").and_then(Value::as_str)
        == Some("#microsoft.graph.mailSearchFolder");
    let kind = if is_search {
        ContainerKind::Other("mail-search-folder".to_owned())
    } else {
        ContainerKind::MailFolder
    };
    SeenContainer {
        container: Container {
            id: folder.id.clone(),
            parent: folder.parent_folder_id.clone(),
            name: folder.display_name.clone().unwrap_or_default(),
            kind,
            well_known: folder.well_known_name.clone(),
            hidden: folder.is_hidden == Some(true),
            change_key: None,
            created: None,
            modified: None,
            properties: None,
        },
        items: folder.raw().get("totalItemCount").and_then(Value::as_u64),
        properties: folder.lasting(&[FOLDER_COUNTS]),
    }
}

/// A changed message may come with its changed members alone.
fn is_partial(message: &MessageHead) -> bool {
    message.created_date_time.is_none() || message.change_key.is_none()
}

fn seen(message: Entity<MessageHead>, folder: String) -> Result<SeenItem> {
    let content = message.lasting(&[AROUND_CONTENT, IN_MIME]);
    let label = |name| message.member(name).unwrap_or("null".into());
    let labels = ["isRead", "flag", "categories"].map(label).join(",");
    let content_key = change::content_key(&content, labels.as_bytes());
    let properties = message.lasting(&[IN_MIME]);
    let message = message.into_view();
    let created = message.created_date_time.as_deref().unwrap_or_default();
    let mut recipients = message.to_recipients;
    recipients.extend(message.cc_recipients);
    recipients.extend(message.bcc_recipients);
    Ok(SeenItem {
        container: folder,
        created: graph::timestamp(created)?,
        kind: ItemKind::Message,
        sender: message.from.or(message.sender),
        recipients,
        content_key: Some(content_key),
        content_key_is_proof: false,
        size_bytes: None,
        modified: graph::optional_time(message.last_modified_date_time.as_deref()),
        draft: message.is_draft == Some(true),
        skip: None,
        properties,
        name: message.subject.unwrap_or_default(),
        change_key: message.change_key.unwrap_or_default(),
        id: message.id,
    })
}
