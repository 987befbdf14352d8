//! Reads stored content: a representation as bytes or JSON, verified by the store.

use backup_store::{ContentRef, Store};
use bytes::Bytes;
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};

/// Properties are never longer than this.
const JSON_BYTES_MAX: usize = 16 << 20;

/// Reads a whole representation into memory, up to `limit` bytes.
pub(crate) async fn read_all(store: &Store, content: &ContentRef, limit: usize) -> Result<Bytes> {
    if content.length > limit as u64 {
        let cause = format!(
            "stored content of {} bytes: is more than {limit}",
            content.length
        );
        return Err(Error::new(ErrorKind::Refused, cause));
    }
    Ok(store
        .open_content(content)
        .collect(limit as u64)
        .await?
        .into())
}

/// Reads a representation that is JSON.
pub(crate) async fn read_json(store: &Store, content: &ContentRef) -> Result<Value> {
    let bytes = read_all(store, content, JSON_BYTES_MAX).await?;
    serde_json::from_slice(&bytes).map_err(|cause| {
        Error::new(ErrorKind::Damaged, "stored properties: are no JSON").with_source(cause)
    })
}
