//! Drives: changes, items, verified downloads, uploads.

mod download;
mod quick_xor;
mod upload;
mod views;

use std::fmt;

use http::Method;
use m365_auth::{Body, Charge};
use serde_json::{Value, json};

use crate::client::{Call, GraphClient, Repeat, Segment, segment};
use crate::entity::Entity;
use crate::error::{ErrorKind, Result};
use crate::limits::Node;
use crate::page::{self, DeltaLink, DeltaPage, Page, PageLink};

pub use download::Download;
pub use quick_xor::QuickXorHash;
pub use upload::{OnConflict, UploadOptions};
pub use views::{Drive, DriveItem, FileFacet, FileSystemInfo, Hashes, ItemReference};

/// Speaks to one drive.
#[derive(Clone)]
pub struct DriveClient {
    client: GraphClient,
    id: String,
}

impl DriveClient {
    pub(crate) fn new(client: GraphClient, id: &str) -> Self {
        Self {
            client,
            id: id.to_owned(),
        }
    }

    /// Charges one request at the drive, whatever it does: where its work is limited as one.
    pub fn lane(&self) -> Charge {
        Node::drive(&self.id).lane(&self.client.options().limited_as)
    }

    /// Reads one page of the changes of the whole drive; without a link, everything.
    ///
    /// *Shape*: an item's parent is given by id; renaming a folder does not return what it holds.
    ///
    /// *Errors*: [`ErrorKind::CursorReset`] when the feed must begin anew.
    pub async fn delta(&self, from: Option<&DeltaLink>) -> Result<DeltaPage<DriveItem>> {
        const ABOUT: &str = "the changes of the drive";
        let call = self.client.changes(ABOUT, from, || {
            let size = self.client.options().list_page_size.to_string();
            let call = self.call(ABOUT, Method::GET, &[segment("root"), segment("delta")])?;
            Ok(call.query("$top", &size))
        })?;
        page::delta(
            self.client.json(call).await?,
            page::deleted_facet,
            &|link| self.client.check(link),
        )
        .map_err(|error| error.about(ABOUT))
    }

    /// Reads an item by id.
    ///
    /// *Errors*: [`ErrorKind::NotFound`].
    pub async fn item(&self, id: &str) -> Result<Entity<DriveItem>> {
        let path = [segment("items"), id.into()];
        self.client
            .entity(self.call("the drive item", Method::GET, &path)?)
            .await
    }

    /// Reads the root folder.
    pub async fn root(&self) -> Result<Entity<DriveItem>> {
        let path = [segment("root")];
        self.client
            .entity(self.call("the root of the drive", Method::GET, &path)?)
            .await
    }

    /// Reads one page of the items in a folder.
    pub async fn children(&self, parent: &str, next: Option<&PageLink>) -> Result<Page<DriveItem>> {
        const ABOUT: &str = "the items in the drive folder";
        let call = self.client.page(ABOUT, next, || {
            let path = [segment("items"), parent.into(), segment("children")];
            let size = self.client.options().list_page_size.to_string();
            Ok(self.call(ABOUT, Method::GET, &path)?.query("$top", &size))
        })?;
        page::list(self.client.json(call).await?, &|link| {
            self.client.check(link)
        })
        .map_err(|error| error.about(ABOUT))
    }

    /// Reads the item of that name in a folder, if there is one.
    pub async fn child(&self, parent: &str, name: &str) -> Result<Option<Entity<DriveItem>>> {
        let path = [
            segment("items"),
            Segment::Child {
                parent,
                name,
                more: false,
            },
        ];
        let call = self.call("the named item of the drive folder", Method::GET, &path)?;
        match self.client.entity(call).await {
            Ok(item) => Ok(Some(item)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates a folder in a folder.
    ///
    /// *Errors*: [`ErrorKind::Conflict`] when there is something of that name.
    pub async fn create_folder(&self, parent: &str, name: &str) -> Result<Entity<DriveItem>> {
        let path = [segment("items"), parent.into(), segment("children")];
        let folder = json!({
            "name": name,
            "folder": {},
            "@microsoft.graph.conflictBehavior": "fail",
        });
        let call = self.call("the new drive folder", Method::POST, &path)?;
        self.client
            .entity(call.repeat(Repeat::Creates).json(&folder))
            .await
    }

    /// Opens the content of a file for reading.
    ///
    /// *Errors*: [`ErrorKind::Blocked`] for malware, [`ErrorKind::NotFound`].
    pub async fn download(&self, item: &Entity<DriveItem>) -> Result<Download> {
        Download::open(self.client.clone(), &self.id, item).await
    }

    /// Writes a file of `options.size` bytes into a folder.
    ///
    /// *Units and limits*: in memory are at most two fragments (see
    /// [`GraphOptions::upload_fragment_bytes`](crate::GraphOptions)).
    ///
    /// *Errors*: [`ErrorKind::Conflict`] by the rule of `options`; [`ErrorKind::QuotaExceeded`];
    /// [`ErrorKind::InvalidRequest`] when the body is not as long as said. Nothing of an unfinished
    /// file is visible.
    pub async fn upload(
        &self,
        parent: &str,
        name: &str,
        options: UploadOptions,
        body: Body,
    ) -> Result<Entity<DriveItem>> {
        upload::upload(self, parent, name, &options, body).await
    }

    /// Changes properties of an item.
    pub async fn update(&self, id: &str, changes: &Value) -> Result<Entity<DriveItem>> {
        let path = [segment("items"), id.into()];
        let call = self
            .call("the drive item", Method::PATCH, &path)?
            .json(changes);
        self.client.entity(call).await
    }

    /// Deletes an item: it goes to the recycle bin.
    pub async fn delete(&self, id: &str) -> Result<()> {
        let path = [segment("items"), id.into()];
        let call = self.call("the drive item", Method::DELETE, &path)?;
        self.client.json(call).await.map(drop)
    }

    fn call(&self, about: &'static str, method: Method, path: &[Segment<'_>]) -> Result<Call> {
        let drive = [segment("drives"), self.id.as_str().into()];
        self.client.call(about, method, &drive)?.path(path)
    }
}

impl fmt::Debug for DriveClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DriveClient")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}
