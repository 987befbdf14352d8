//! OneDrive: personal drives, through the Graph API.
//!
//! One feed for a whole drive; folders arrive in it like files. Content is fetched only where the
//! cTag changed, and verified against the hash and length that the service states.

use async_trait::async_trait;
use backup_store::catalog::{
    Container, ContainerKind, Cursor, ItemKind, Representation, RepresentationKind, Resource,
    ResourceId, ResourceKind, Service,
};
use backup_store::{ContentClass, Gatherer};
use m365_auth::Charge;
use m365_graph::{DriveItem, Entity, ErrorKind as GraphErrorKind, GraphClient, entity};
use serde_json::Value;

use super::graph;
use super::{
    Change, Feed, FeedKind, Fetched, Found, Owner, OwnerPage, Page, Scope, SeenContainer, SeenItem,
    Source,
};
use crate::error::{Error, ErrorKind, Result};
use crate::selection::Selection;

/// Reads personal drives.
#[derive(Debug, Clone)]
pub struct OneDriveSource {
    client: GraphClient,
}

impl OneDriveSource {
    /// Creates a source on a client that retries nothing itself.
    pub fn new(client: GraphClient) -> Self {
        Self { client }
    }
}

#[async_trait]
impl Source for OneDriveSource {
    fn service(&self) -> Service {
        Service::OneDrive
    }

    fn charge(&self, service_id: &str) -> Charge {
        self.client.drive(service_id).lane()
    }

    fn charge_of_owners(&self) -> Charge {
        self.client.directory_lane()
    }

    async fn owners(&self, selection: &Selection, from: Option<&Cursor>) -> Result<OwnerPage> {
        graph::owners(&self.client, selection, from).await
    }

    async fn resource(&self, owner: &Owner) -> Result<Found> {
        let drive = match self.client.user_drive(&owner.id).await {
            Ok(drive) => drive,
            Err(error) => return graph::nothing(error, "no drive has been provisioned"),
        };
        Ok(Found::Resource(Resource {
            id: ResourceId::of(&Service::OneDrive, &drive.id),
            service: Service::OneDrive,
            kind: ResourceKind::Drive,
            owner: owner.principal_name.clone(),
            owner_id: owner.id.clone(),
            service_id: drive.id.clone(),
            name: drive.name.clone().unwrap_or_else(|| owner.name.clone()),
        }))
    }

    fn feeds(&self, _resource: &Resource, _containers: &[&Container]) -> Vec<Feed> {
        vec![Feed {
            id: FEED.to_owned(),
            kind: FeedKind::Delta,
            scope: Scope::Resource,
        }]
    }

    async fn page(
        &self,
        resource: &Resource,
        _feed: &Feed,
        cursor: Option<&Cursor>,
    ) -> Result<Page> {
        let Some(from) = graph::link(&self.client, cursor) else {
            return Ok(graph::reset());
        };
        let page = match self
            .client
            .drive(&resource.service_id)
            .delta(from.as_ref())
            .await
        {
            Ok(page) => page,
            Err(error) => return graph::page_error(error),
        };
        let mut changes = Vec::with_capacity(page.changes.len());
        for change in page.changes {
            match change {
                m365_graph::Change::Upserted(item) => changes.push(shown(&item)?),
                m365_graph::Change::Removed { id, .. } => {
                    // The facet does not always say what it was; ids of folders and files differ.
                    changes.push(Change::ContainerRemoved { id: id.clone() });
                    changes.push(Change::Removed { id, deleted: true });
                }
            }
        }
        Ok(Page {
            changes,
            next: graph::next(page.next),
        })
    }

    fn content_form(&self) -> RepresentationKind {
        RepresentationKind::Content
    }

    async fn fetch(
        &self,
        resource: &Resource,
        items: &[SeenItem],
        into: &Gatherer,
    ) -> Vec<Result<Fetched>> {
        let mut outcomes = Vec::with_capacity(items.len());
        for item in items {
            outcomes.push(self.fetch_file(resource, item, into).await);
        }
        outcomes
    }

    async fn locate(&self, resource: &Resource, item_id: &str) -> Result<Option<SeenItem>> {
        match self.client.drive(&resource.service_id).item(item_id).await {
            Ok(item) => seen(&item).map(Some),
            Err(error) if error.kind() == GraphErrorKind::NotFound => Ok(None),
            Err(error) => Err(graph::error(error)),
        }
    }

    async fn has_container(&self, resource: &Resource, container_id: &str) -> Result<bool> {
        graph::is_there(
            self.client
                .drive(&resource.service_id)
                .item(container_id)
                .await,
        )
    }
}

impl OneDriveSource {
    /// Downloads a file; one that changed meanwhile is read anew, with its new properties.
    async fn fetch_file(
        &self,
        resource: &Resource,
        item: &SeenItem,
        into: &Gatherer,
    ) -> Result<Fetched> {
        let mut file = Entity::<DriveItem>::from_json(&item.properties).map_err(graph::error)?;
        let mut newer = None;
        for last in [false, false, true] {
            let failure = match self.download(resource, &file, into).await? {
                Downloaded::Whole(representation) => {
                    return Ok(Fetched::Stored {
                        representations: vec![representation],
                        newer,
                    });
                }
                Downloaded::Other(failure) => failure,
            };
            if last {
                return Err(failure);
            }
            file = match self.client.drive(&resource.service_id).item(&item.id).await {
                Ok(present) => present,
                Err(error) if error.kind() == GraphErrorKind::NotFound => return Ok(Fetched::Gone),
                Err(error) => return Err(graph::item_error(error)),
            };
            newer = Some(Box::new(seen(&file)?));
        }
        Err(Error::new(
            ErrorKind::Item,
            "the file changes faster than it can be read",
        ))
    }

    async fn download(
        &self,
        resource: &Resource,
        file: &Entity<DriveItem>,
        into: &Gatherer,
    ) -> Result<Downloaded> {
        let mut download = match self.client.drive(&resource.service_id).download(file).await {
            Ok(download) => download,
            Err(error) => return Downloaded::from_error(error),
        };
        let mut writer = into.content(ContentClass::Binary);
        while let Some(chunk) = download.next_chunk().await {
            match chunk {
                Ok(chunk) => writer.write(&chunk).await?,
                Err(error) => return Downloaded::from_error(error),
            }
        }
        Ok(Downloaded::Whole(Representation {
            kind: RepresentationKind::Content,
            content: writer.finish().await?,
        }))
    }
}

/// What came of one download.
enum Downloaded {
    Whole(Representation),
    /// Something else than what was announced, or nothing: the item says what to make of it.
    Other(Error),
}

impl Downloaded {
    fn from_error(error: m365_graph::Error) -> Result<Self> {
        match error.kind() {
            // The address behind a redirect knows nothing of the item: only a read of the item
            // itself says that it is gone, and a token that it refuses is not ours. There 410 is
            // said of the address, not of a cursor.
            GraphErrorKind::NotFound | GraphErrorKind::CursorReset => {
                let message = "the file is there, and its content is not";
                let failure = Error::new(ErrorKind::Item, message).with_source(error);
                Ok(Self::Other(failure))
            }
            GraphErrorKind::Unauthorized => Ok(Self::Other(graph::error(error))),
            GraphErrorKind::Integrity | GraphErrorKind::PreconditionFailed => {
                Ok(Self::Other(graph::item_error(error)))
            }
            _ => Err(graph::item_error(error)),
        }
    }
}

/// The one feed of a drive.
const FEED: &str = "drive";

/// Members of a folder that follow its content and say nothing of the folder.
const FOLDER_COUNTS: &[&str] = &["size", "cTag"];

/// Canonical properties. A read of one item tells where its folder lies, a feed does not: the same
/// item must look the same however it came, and the record of the folder knows.
fn properties(raw: &Value, without: &[&str]) -> Vec<u8> {
    let mut raw = raw.clone();
    if let Some(parent) = raw
        .get_mut("parentReference")
        .and_then(Value::as_object_mut)
    {
        for member in ["path", "name"] {
            parent.remove(member);
        }
    }
    entity::lasting(&raw, &[without])
}

fn shown(item: &Entity<DriveItem>) -> Result<Change> {
    if item.is_folder() && item.package.is_none() && item.remote_item.is_none() {
        return Ok(Change::Container(Box::new(container(item))));
    }
    Ok(Change::Item(Box::new(seen(item)?)))
}

fn container(folder: &Entity<DriveItem>) -> SeenContainer {
    let is_root = folder.root.is_some();
    let parent = folder.parent_id().map(str::to_owned);
    let mut raw = folder.raw().clone();
    if let Some(facet) = raw.get_mut("folder").and_then(Value::as_object_mut) {
        facet.remove("childCount");
    }
    SeenContainer {
        container: Container {
            id: folder.id.clone(),
            parent: if is_root { None } else { parent },
            name: folder.name.clone().unwrap_or_default(),
            kind: ContainerKind::DriveFolder,
            well_known: is_root.then(|| "root".to_owned()),
            hidden: false,
            change_key: folder.e_tag.clone(),
            created: graph::optional_time(folder.created_date_time.as_deref()),
            modified: graph::optional_time(modified(folder)),
            properties: None,
        },
        items: None,
        properties: properties(&raw, FOLDER_COUNTS),
    }
}

fn seen(item: &Entity<DriveItem>) -> Result<SeenItem> {
    let created = item.created_date_time.as_deref().unwrap_or_default();
    // Business drives may leave the cTag out of a feed; the hash of the content says as much.
    let hash = item
        .quick_xor_hash()
        .map(|hash| format!("quickXorHash:{hash}"));
    Ok(SeenItem {
        id: item.id.clone(),
        container: item.parent_id().unwrap_or_default().to_owned(),
        created: graph::timestamp(created)?,
        kind: ItemKind::File,
        name: item.name.clone().unwrap_or_default(),
        sender: None,
        recipients: Vec::new(),
        change_key: item.e_tag.clone().unwrap_or_default(),
        content_key: item.c_tag.clone().or(hash),
        content_key_is_proof: true,
        size_bytes: item.size,
        modified: graph::optional_time(modified(item)),
        draft: false,
        skip: skip_reason(item).map(str::to_owned),
        properties: properties(item.raw(), &[]),
    })
}

fn skip_reason(item: &DriveItem) -> Option<&'static str> {
    if item.package.is_some() {
        Some("a package, such as a notebook, has no single file")
    } else if item.remote_item.is_some() {
        Some("a shortcut to an item of another drive")
    } else if item.file.is_none() {
        Some("it is neither a file nor a folder")
    } else {
        None
    }
}

fn modified(item: &DriveItem) -> Option<&str> {
    let origin = item.file_system_info.as_ref();
    let origin = origin.and_then(|info| info.last_modified_date_time.as_deref());
    origin.or(item.last_modified_date_time.as_deref())
}
