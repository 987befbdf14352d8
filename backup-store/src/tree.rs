//! An ordered map from bytes to bytes, as a history-independent search tree of content-addressed
//! nodes.
//!
//! Equal maps have equal trees, whatever the order of updates; applying k changes to n entries
//! writes O(k · log n) nodes; the differences of two trees are found in O(differences). Where
//! nodes lie is hidden behind [`NodeSource`] and [`NodeStore`]; what keys and values mean is the
//! caller's.
//!
//! The tree of the empty map is never read, so its node need not be stored.

mod apply;
mod boundary;
mod build;
mod diff;
mod node;
mod walk;

#[cfg(test)]
mod laws;
#[cfg(test)]
pub(crate) mod memory;

use std::future::Future;

use bytes::Bytes;

use crate::{ChunkId, Error, ErrorKind, Result, TreeRoot};

pub use apply::{Edit, Editor, apply};
pub use boundary::BoundaryKey;
pub use build::Builder;
pub use diff::{Difference, Differences};
pub use node::{INLINE_MAX_BYTES, KEY_MAX_BYTES, LEVEL_MAX, NODE_MAX_BYTES, VALUE_MAX_BYTES};
pub(crate) use node::{Node, Payload, Record};
pub use walk::{Scan, get};

/// Reads nodes and large values by their id.
pub trait NodeSource: Send + Sync {
    /// Returns the bytes that were stored under this id, verified.
    fn get(&self, id: &ChunkId) -> impl Future<Output = Result<Bytes>> + Send;
}

/// Reads and stores nodes and large values.
pub trait NodeStore: NodeSource {
    /// Stores bytes and returns their id, a pure function of the bytes; `get` finds them at once.
    fn put(&self, bytes: Bytes) -> impl Future<Output = Result<ChunkId>> + Send;
}

impl<S: NodeSource> NodeSource for &S {
    fn get(&self, id: &ChunkId) -> impl Future<Output = Result<Bytes>> + Send {
        (**self).get(id)
    }
}

impl<S: NodeStore> NodeStore for &S {
    fn put(&self, bytes: Bytes) -> impl Future<Output = Result<ChunkId>> + Send {
        (**self).put(bytes)
    }
}

/// Returns the bytes of the one node of the empty map.
pub fn empty_node() -> Bytes {
    node::empty_node().into()
}

/// Stores the tree of the empty map.
pub async fn empty(nodes: &impl NodeStore) -> Result<TreeRoot> {
    let node = nodes.put(empty_node()).await?;
    Ok(TreeRoot {
        node,
        level: 0,
        entries: 0,
    })
}

/// Reads the node that `reference` names, and checks that it is what the reference says.
pub(crate) async fn read_node(nodes: &impl NodeSource, reference: &TreeRoot) -> Result<Node> {
    let node = Node::decode(&nodes.get(&reference.node).await?)?;
    let expected = node.level == reference.level && node.entries() == Some(reference.entries);
    if expected {
        Ok(node)
    } else {
        let object = format!("tree node {}", reference.node);
        Err(Error::damaged(
            object,
            "it is not the node that is referred to",
        ))
    }
}

/// Returns the bytes of a leaf's value.
pub(crate) async fn read_value(nodes: &impl NodeSource, payload: &Payload) -> Result<Bytes> {
    match payload {
        Payload::Inline(value) => Ok(value.clone()),
        Payload::Outline { id, length } => {
            let value = nodes.get(id).await?;
            if value.len() as u64 == *length {
                Ok(value)
            } else {
                Err(Error::damaged(
                    format!("tree value {id}"),
                    "its length is wrong",
                ))
            }
        }
        Payload::Child { id, .. } => Err(Error::damaged(
            format!("tree node {id}"),
            "it stands where a value should be",
        )),
    }
}

/// Makes the record of one entry, storing its value apart if it is large.
async fn make_record(nodes: &impl NodeStore, key: Bytes, value: Bytes) -> Result<Record> {
    if key.len() > KEY_MAX_BYTES || value.len() > VALUE_MAX_BYTES {
        let sizes = format!("key of {} bytes, value of {} bytes", key.len(), value.len());
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!("tree entry: {sizes}"),
        ));
    }
    let length = value.len() as u64;
    let payload = if node::is_inline(key.len(), length) {
        Payload::Inline(value)
    } else {
        Payload::Outline {
            id: nodes.put(value).await?,
            length,
        }
    };
    Ok(Record { key, payload })
}
