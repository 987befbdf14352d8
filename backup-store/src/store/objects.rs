//! Putting and reading objects by the rules of the store, and keeping the index up to date.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::Store;
use crate::backend::{Backend, ObjectName, Put};
use crate::error::{Error, ErrorKind, Result};
use crate::offload::offload;
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

/// Lets the backend take a file over as an object, if it can; tells whether it did.
///
/// Anything else, doubt included, is settled by [putting](put_resolved) the bytes.
pub(crate) async fn hand_over(
    backend: &dyn Backend,
    name: &ObjectName,
    file: &Path,
) -> Result<bool> {
    match backend.put_new_file(name, file).await {
        Ok(put) => Ok(put == Some(Put::Created)),
        Err(cause) if cause.is_retryable() => {
            tracing::debug!(%name, %cause, "whether a file was taken is not known");
            Ok(false)
        }
        Err(cause) => Err(cause),
    }
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
}
