//! Putting and reading objects by the rules of the store, and keeping the index up to date.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::Store;
use crate::backend::{Backend, ObjectName, Put};
use crate::error::{Error, ErrorKind, Result};
use crate::index::sealing::{segment_id, segment_name};
use crate::index::segment::Segment;
use crate::offload::offload;
use crate::pack::{PackKind, pack_id};
use crate::seal::{ObjectKind, epoch_of, open_object, seal_object};

/// Tries to put one object before giving up.
const PUT_TRIES: u32 = 3;

/// What lies under a name after a put.
#[derive(Debug)]
pub(crate) enum Resolved {
    /// Our bytes, whoever was told so.
    Ours,
    /// Other bytes.
    Other(Bytes),
}

/// Puts an object; "already exists", and no answer, are settled by reading it back.
pub(crate) async fn put_resolved(
    backend: &dyn Backend,
    name: &ObjectName,
    bytes: Bytes,
) -> Result<Resolved> {
    let mut trouble = None;
    for _ in 0..PUT_TRIES {
        match backend.put_new(name, bytes.clone()).await {
            Ok(Put::Created) => return Ok(Resolved::Ours),
            Ok(Put::AlreadyExists) => {}
            Err(cause) if cause.is_retryable() => trouble = Some(cause),
            Err(cause) => return Err(cause),
        }
        match backend.get(name, None).await {
            Ok(found) if found == bytes => return Ok(Resolved::Ours),
            Ok(found) => return Ok(Resolved::Other(found)),
            Err(cause) if cause.kind() == ErrorKind::NotFound => {
                trouble.get_or_insert(cause);
            }
            Err(cause) => return Err(cause),
        }
    }
    Err(trouble.unwrap_or_else(|| {
        Error::new(
            ErrorKind::Backend,
            format!("object {name}: neither there nor created"),
        )
    }))
}

impl Store {
    /// Seals and puts a small object under a name that must be free.
    pub(crate) async fn put_object(
        &self,
        kind: ObjectKind,
        name: &ObjectName,
        plain: Vec<u8>,
    ) -> Result<Resolved> {
        let sealed = self.seal(kind, name, plain).await?;
        put_resolved(self.backend().as_ref(), name, sealed).await
    }

    /// Seals a small object.
    pub(crate) async fn seal(
        &self,
        kind: ObjectKind,
        name: &ObjectName,
        plain: Vec<u8>,
    ) -> Result<Bytes> {
        let (keys, environment) = (Arc::clone(self.keys()), Arc::clone(self.environment()));
        let name = name.clone();
        let sealed = offload(self.offload().as_ref(), move || {
            seal_object(&keys, kind, name.as_str(), &plain, environment.as_ref())
        });
        sealed.await?.map(Bytes::from)
    }

    /// Opens a small object that was read under `name`.
    pub(crate) async fn open_sealed(
        &self,
        kind: ObjectKind,
        name: &ObjectName,
        sealed: Bytes,
    ) -> Result<Vec<u8>> {
        if epoch_of(&sealed).is_some_and(|epoch| epoch > self.keys().epoch()) {
            self.learn_epochs().await?;
        }
        let (keys, name) = (Arc::clone(self.keys()), name.clone());
        let opened = offload(self.offload().as_ref(), move || {
            open_object(&keys, kind, name.as_str(), &sealed)
        });
        opened.await?
    }

    /// Reads and opens a small object.
    pub(crate) async fn get_object(&self, kind: ObjectKind, name: &ObjectName) -> Result<Vec<u8>> {
        let range = 0..kind.sealed_limit();
        let sealed = self.backend().get(name, Some(range)).await?;
        self.open_sealed(kind, name, sealed).await
    }

    /// Reads one segment whole.
    pub(crate) async fn read_segment(&self, name: &ObjectName) -> Result<Segment> {
        let id = segment_id(name).ok_or_else(|| {
            Error::damaged(format_args!("object {name}"), "not the name of a segment")
        })?;
        let object = self.backend().get(name, None).await?;
        let keys = Arc::clone(self.keys());
        let opened = offload(self.offload().as_ref(), move || {
            Segment::open(&keys, id, &object)
        });
        opened.await?
    }

    /// Seals and puts a segment under a fresh id.
    pub(crate) async fn put_segment(&self, segment: Segment) -> Result<(ObjectName, Segment)> {
        let (keys, environment) = (Arc::clone(self.keys()), Arc::clone(self.environment()));
        let sealed = offload(self.offload().as_ref(), move || {
            let sealed = segment.seal(&keys, environment.as_ref())?;
            Ok((sealed, segment))
        });
        let (sealed, segment) = sealed.await??;
        let name = segment_name(&sealed.file.id())?;
        match put_resolved(self.backend().as_ref(), &name, Bytes::from(sealed.object)).await? {
            Resolved::Ours => Ok((name, segment)),
            Resolved::Other(_) => {
                let words = format!("object {name}: the name of a new segment is taken");
                Err(Error::new(ErrorKind::Conflict, words))
            }
        }
    }

    /// Loads the segments that the cache does not have yet; returns whether there were any.
    ///
    /// A segment that is gone makes the whole cache be loaded again. In place of a damaged one,
    /// the tables of the packs that no other segment names are read; a check reports it.
    pub(crate) async fn refresh_index(&self) -> Result<bool> {
        let listed = self.backend().list("segments/").await?;
        let mut loaded = self.index(|index| index.segments()).await?;
        let names: BTreeSet<&str> = listed.iter().map(|info| info.name.as_str()).collect();
        let mut changed = false;
        if loaded.iter().any(|name| !names.contains(name.as_str())) {
            self.index(|index| index.clear()).await?;
            loaded.clear();
            changed = true;
        }
        let mut damaged = Vec::new();
        for info in &listed {
            if loaded.contains(info.name.as_str()) {
                continue;
            }
            changed = true;
            match self.read_segment(&info.name).await {
                Ok(segment) => self.load_segment(&info.name, segment).await?,
                Err(cause) if cause.kind() == ErrorKind::Damaged => {
                    tracing::warn!(name = %info.name, %cause, "read from pack tables instead");
                    damaged.push(info.name.clone());
                }
                Err(cause) => return Err(cause),
            }
        }
        for name in damaged {
            let rebuilt = self.read_unindexed().await?;
            self.load_segment(&name, rebuilt).await?;
        }
        Ok(changed)
    }

    pub(crate) async fn load_segment(&self, name: &ObjectName, segment: Segment) -> Result<()> {
        let name = name.clone();
        self.index(move |index| index.insert(name.as_str(), &segment))
            .await
    }

    /// Reads the tables of all packs that are in no segment; one that is damaged is left out.
    async fn read_unindexed(&self) -> Result<Segment> {
        let mut rebuilt = Segment::new(PackKind::Content, std::iter::empty());
        for info in self.backend().list("packs/").await? {
            let Some(pack) = pack_id(&info.name) else {
                continue;
            };
            if self.index(move |index| index.has_packs(&[pack])).await? {
                continue;
            }
            match self.packs().table(&pack, info.size).await {
                Ok((sealer, table)) => rebuilt.push(&sealer, &table),
                Err(cause) => tracing::warn!(name = %info.name, %cause, "a pack is left out"),
            }
        }
        rebuilt.sort();
        Ok(rebuilt)
    }
}
