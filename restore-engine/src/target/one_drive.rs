//! OneDrive target: writes the files of one drive through Graph.
//!
//! Content streams from the store into the upload: a file of any size passes through a few
//! fragments of memory. Every upload says that it must not meet a file of its name.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use backup_store::catalog::{Container, Item, ItemState, RepresentationKind, Service};
use backup_store::{ContentReader, ContentRef, Store};
use futures_util::{StreamExt, stream};
use m365_auth::{Body, Charge};
use m365_graph::{DriveClient, DriveItem, GraphClient, OnConflict, QuickXorHash, UploadOptions};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{
    FoundContainer, NewContainer, Occupant, Place, ServiceLimits, Target, WriteCost, WriteJob,
    Written,
};
use crate::content::read_json;
use crate::error::{Error, ErrorKind, Result};
use crate::loss::LossCode;

/// Writes the files of one user's drive.
#[derive(Clone)]
pub struct DriveTarget {
    client: GraphClient,
    owner: String,
    drive: Arc<OnceCell<DriveClient>>,
}

impl DriveTarget {
    /// Creates the target for the drive of `owner`, a principal name or an id.
    ///
    /// `client` shall have no retry of its own: the engine decides when to try again.
    pub fn new(client: GraphClient, owner: impl Into<String>) -> Self {
        Self {
            client,
            owner: owner.into(),
            drive: Arc::default(),
        }
    }

    async fn drive(&self) -> Result<&DriveClient> {
        let find = || async {
            let drive = self.client.user_drive(&self.owner).await.map_err(|cause| {
                Error::from(cause).in_context(format_args!("drive of {}", self.owner))
            })?;
            Ok(self.client.drive(&drive.id))
        };
        self.drive.get_or_try_init(find).await
    }

    async fn children(&self, folder: &str) -> Result<Vec<Occupant>> {
        let drive = self.drive().await?;
        let mut list = Vec::new();
        let mut next = None;
        loop {
            let page = drive.children(folder, next.as_ref()).await?;
            list.extend(page.items.iter().map(|item| occupant(item)));
            match page.next {
                Some(link) => next = Some(link),
                None => return Ok(list),
            }
        }
    }
}

#[async_trait]
impl Target for DriveTarget {
    fn service(&self) -> Service {
        Service::OneDrive
    }

    async fn place(&self) -> Result<Place> {
        let user = self.client.user(&self.owner).await.map_err(|cause| {
            Error::from(cause).in_context(format_args!("drive of {}", self.owner))
        })?;
        let drive = self.client.user_drive(&self.owner).await.map_err(|cause| {
            Error::from(cause).in_context(format_args!("drive of {}", self.owner))
        })?;
        let root = self.client.drive(&drive.id).root().await?;
        let owner = user.user_principal_name.as_deref().unwrap_or(&self.owner);
        Ok(Place::new(&Service::OneDrive, &drive.id, owner, &root.id))
    }

    async fn charge(&self) -> Result<Charge> {
        Ok(self.drive().await?.lane())
    }

    fn names_are_unique(&self) -> bool {
        true
    }

    fn standing_losses(&self) -> &'static [LossCode] {
        &[
            LossCode::NewIdentity,
            LossCode::Versions,
            LossCode::Permissions,
            LossCode::Authors,
        ]
    }

    /// *Source*: the service's throttling page, smallest tenants: 1,250 resource units a minute for
    /// an app in a tenant, 400 GB an hour inwards.
    fn limits(&self) -> ServiceLimits {
        ServiceLimits {
            units: 1_250,
            unit_window: Duration::from_secs(60),
            bytes: 400_000_000_000,
            byte_window: Duration::from_secs(3600),
            concurrency: 4,
        }
    }

    fn cost(&self, item: &Item) -> WriteCost {
        let bytes = content(item).map_or(item.size_bytes, |content| content.length);
        // A session (2 units) and a read back (1); an empty file takes a write and its times.
        let (requests, units) = if bytes == 0 { (3, 5) } else { (2, 3) };
        let memory_bytes = bytes.min(FRAGMENTS_BYTES_MAX);
        WriteCost {
            requests,
            units,
            bytes,
            memory_bytes,
        }
    }

    fn unavailable(&self, item: &Item) -> Option<LossCode> {
        if content(item).is_some() {
            return None;
        }
        Some(match item.state {
            ItemState::Quarantined { .. } => LossCode::Quarantined,
            ItemState::Skipped { .. } => LossCode::SkippedAtBackup,
            _ => LossCode::NoContent,
        })
    }

    async fn well_known(&self, _: &str) -> Result<Option<String>> {
        Ok(None)
    }

    async fn child_containers(&self, parent: &str) -> Result<Vec<FoundContainer>> {
        let children = self.children(parent).await?.into_iter();
        let folders = children.filter(|child| child.folder);
        Ok(folders
            .map(|Occupant { id, name, .. }| FoundContainer { id, name })
            .collect())
    }

    async fn occupants(&self, container: &str) -> Result<Vec<Occupant>> {
        self.children(container).await
    }

    async fn create_container(&self, parent: &str, new: &NewContainer) -> Result<String> {
        let folder = self.drive().await?.create_folder(parent, &new.name).await?;
        Ok(folder.id.clone())
    }

    async fn stored_hash(&self, store: &Store, item: &Item) -> Result<Option<String>> {
        match item.representation(&RepresentationKind::GraphJson) {
            Some(properties) => {
                let properties = read_json(store, properties).await?;
                Ok(properties["file"]["hashes"]["quickXorHash"]
                    .as_str()
                    .map(str::to_owned))
            }
            None => Ok(None),
        }
    }

    async fn write(&self, store: &Store, job: &WriteJob<'_>) -> Result<Written> {
        let context = |error: Error| error.in_context(format_args!("file \"{}\"", job.name));
        let stored = stored_content(job.item)?;
        let times = times(store, job.item).await?;
        let options = UploadOptions {
            size: stored.length,
            conflict: OnConflict::Fail,
            created: times.0,
            modified: times.1,
            ..UploadOptions::default()
        };
        let reader = store.open_content(stored);
        // An error of the store cannot travel through a body whole: it is kept beside it.
        let trouble = Arc::new(Mutex::new(None));
        let body = body_of(reader, stored.length, trouble.clone());
        let drive = self.drive().await?;
        let uploaded = drive.upload(job.container, job.name, options, body).await;
        if let Some(error) = trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            return Err(context(Error::from(error)));
        }
        let uploaded = uploaded.map_err(|error| context(error.into()))?;
        Ok(Written {
            id: uploaded.id.clone(),
            bytes: stored.length,
            losses: Vec::new(),
        })
    }

    async fn find(&self, store: &Store, job: &WriteJob<'_>) -> Result<Option<Occupant>> {
        let Some(found) = self.drive().await?.child(job.container, job.name).await? else {
            return Ok(None);
        };
        // Only a file with this content can be the one that was written.
        let stored = stored_content(job.item)?;
        let same = found.size == Some(stored.length)
            && found.quick_xor_hash() == Some(hash_of(store, stored).await?.as_str());
        Ok(same.then(|| occupant(&found)))
    }

    async fn verify(&self, store: &Store, job: &WriteJob<'_>, id: &str) -> Result<Vec<String>> {
        let stored = stored_content(job.item)?;
        let actual = self.drive().await?.item(id).await?;
        let hash = hash_of(store, stored).await?;
        let times = times(store, job.item).await?;
        let mut list = Vec::new();
        let mut differ = |field: &str, same: bool| {
            if !same {
                list.push(format!("{field} differs"));
            }
        };
        differ("name", actual.name.as_deref() == Some(job.name));
        differ("folder", actual.parent_id() == Some(job.container));
        differ("size", actual.size == Some(stored.length));
        differ("content", actual.quick_xor_hash() == Some(hash.as_str()));
        let info = &actual.raw()["fileSystemInfo"];
        differ(
            "created",
            same_time(times.0.as_deref(), &info["createdDateTime"]),
        );
        differ(
            "modified",
            same_time(times.1.as_deref(), &info["lastModifiedDateTime"]),
        );
        Ok(list)
    }

    fn interim_name(&self, item: &Item) -> String {
        // The same for every try, so that an interrupted replacement is found again.
        let digest = blake3::hash(item.key.id.as_bytes()).to_hex();
        format!("{} {}.restoring", short(&item.name), &digest[..8])
    }

    async fn rename(&self, id: &str, name: &str) -> Result<()> {
        let changes = json!({"name": name});
        self.drive().await?.update(id, &changes).await?;
        Ok(())
    }

    async fn remove(&self, id: &str) -> Result<()> {
        match self.drive().await?.delete(id).await {
            Err(error) if error.kind() == m365_graph::ErrorKind::NotFound => Ok(()),
            other => Ok(other?),
        }
    }

    async fn finish_container(&self, store: &Store, id: &str, source: &Container) -> Result<()> {
        let properties = match &source.properties {
            Some(properties) => read_json(store, properties).await?,
            None => Value::Null,
        };
        let stated = |field: &str| {
            properties["fileSystemInfo"][field]
                .as_str()
                .map(str::to_owned)
        };
        let created = stated("createdDateTime").or(source.created.map(|time| time.to_string()));
        let modified =
            stated("lastModifiedDateTime").or(source.modified.map(|time| time.to_string()));
        let mut info = json!({});
        if let Some(created) = created {
            info["createdDateTime"] = json!(created);
        }
        if let Some(modified) = modified {
            info["lastModifiedDateTime"] = json!(modified);
        }
        self.drive()
            .await?
            .update(id, &json!({"fileSystemInfo": info}))
            .await?;
        Ok(())
    }
}

impl fmt::Debug for DriveTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DriveTarget").finish_non_exhaustive()
    }
}

/// An upload holds at most so much of a file in memory: two fragments and a chunk.
const FRAGMENTS_BYTES_MAX: u64 = 24 << 20;

/// At most so many characters of a name go into an interim one.
const INTERIM_NAME_CHARS: usize = 100;

fn short(name: &str) -> &str {
    let end = name
        .char_indices()
        .nth(INTERIM_NAME_CHARS)
        .map_or(name.len(), |(at, _)| at);
    &name[..end]
}

fn content(item: &Item) -> Option<&ContentRef> {
    item.representation(&RepresentationKind::Content)
}

fn stored_content(item: &Item) -> Result<&ContentRef> {
    content(item).ok_or_else(|| {
        let cause = format!("file \"{}\": its content is not stored", item.name);
        Error::new(ErrorKind::Damaged, cause)
    })
}

fn occupant(item: &DriveItem) -> Occupant {
    Occupant {
        id: item.id.clone(),
        name: item.name.clone().unwrap_or_default(),
        folder: !item.is_file(),
        change_key: item.e_tag.clone(),
        size: item.size.unwrap_or_default(),
        content_hash: item.quick_xor_hash().map(str::to_owned),
        ..Occupant::default()
    }
}

/// Returns when the file was made and last changed where it came from.
async fn times(store: &Store, item: &Item) -> Result<(Option<String>, Option<String>)> {
    let properties = match item.representation(&RepresentationKind::GraphJson) {
        Some(properties) => read_json(store, properties).await?,
        None => Value::Null,
    };
    let stated = |field: &str| {
        properties["fileSystemInfo"][field]
            .as_str()
            .map(str::to_owned)
    };
    let created = stated("createdDateTime").unwrap_or_else(|| item.key.created.to_string());
    let modified = stated("lastModifiedDateTime").or(item.modified.map(|time| time.to_string()));
    Ok((Some(created), modified))
}

fn same_time(wanted: Option<&str>, actual: &Value) -> bool {
    use backup_store::Timestamp;
    let Some(wanted) = wanted else { return true };
    let seconds = |text: &str| {
        Timestamp::parse_rfc3339(text)
            .ok()
            .map(|time| time.as_millis().div_euclid(1000))
    };
    seconds(wanted) == actual.as_str().and_then(seconds)
}

/// Streams stored content as a request body.
fn body_of(
    reader: ContentReader,
    length: u64,
    trouble: Arc<Mutex<Option<backup_store::Error>>>,
) -> Body {
    let chunks = stream::unfold((reader, trouble), |(mut reader, trouble)| async move {
        let chunk = reader.next_chunk().await?;
        let chunk = chunk.map_err(|error| {
            *trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            let cause = "stored content: cannot be read";
            m365_auth::Error::new(m365_auth::ErrorKind::Transport, cause)
        });
        Some((chunk, (reader, trouble)))
    });
    // Whoever reads a body may ask once more after its end.
    Body::from_stream(chunks.fuse(), Some(length))
}

/// Reads stored content once more, to hash it as the service does.
async fn hash_of(store: &Store, stored: &ContentRef) -> Result<String> {
    let mut reader = store.open_content(stored);
    let mut hash = QuickXorHash::new();
    while let Some(chunk) = reader.next_chunk().await {
        hash.update(&chunk?);
    }
    Ok(hash.finish_base64())
}
