//! Targets over the records of the store: what decodes must encode to the same bytes again.

use std::future::{Future, ready};

use backup_store::catalog::{Container, Item, ItemKey, RunNote, RunRecord, Snapshot};
use backup_store::tree::{self, NodeSource};
use backup_store::{ChunkId, Result, TreeRoot};
use bytes::Bytes;

use crate::wire::block_on;

/// Decodes a snapshot.
pub fn store_snapshot(bytes: &[u8]) {
    if let Ok(snapshot) = Snapshot::decode(bytes) {
        assert_eq!(snapshot.encode(), bytes, "a snapshot has one encoding");
    }
}

/// Decodes a run record.
pub fn store_run_record(bytes: &[u8]) {
    if let Ok(record) = RunRecord::decode(bytes) {
        assert_eq!(record.encode(), bytes, "a run record has one encoding");
    }
}

/// Decodes a run note.
pub fn store_run_note(bytes: &[u8]) {
    if let Ok(note) = RunNote::decode(bytes) {
        assert_eq!(note.encode(), bytes, "a run note has one encoding");
    }
}

/// Splits a message and joins it again; the first byte says in what pieces it comes.
pub fn store_mime(bytes: &[u8]) {
    let Some((piece, message)) = bytes.split_first() else {
        return;
    };
    let joined = backup_store::fuzzing::mime_there_and_back(message, usize::from(*piece) * 17);
    assert!(
        joined.is_ok_and(|joined| joined == message),
        "a message comes back"
    );
}

/// Decodes the key of an item.
pub fn store_item_key(bytes: &[u8]) {
    if let Ok(key) = ItemKey::decode(bytes) {
        assert_eq!(key.encode(), bytes, "an item key has one encoding");
    }
}

/// Decodes an item: one byte that says how long the key is, the key, the record.
pub fn store_item(bytes: &[u8]) {
    let (key, record) = key_and_record(bytes);
    if let Ok(item) = Item::decode(key, record) {
        assert_eq!(item.key.encode(), key, "an item key has one encoding");
        assert_eq!(item.encode(), record, "an item has one encoding");
    }
}

/// Decodes a container: one byte that says how long the key is, the key, the record.
pub fn store_container(bytes: &[u8]) {
    let (key, record) = key_and_record(bytes);
    if let Ok(container) = Container::decode(key, record) {
        assert_eq!(container.key(), key, "a container key has one encoding");
        assert_eq!(container.encode(), record, "a container has one encoding");
    }
}

fn key_and_record(bytes: &[u8]) -> (&[u8], &[u8]) {
    let Some((length, rest)) = bytes.split_first() else {
        return (&[], &[]);
    };
    rest.split_at(rest.len().min(usize::from(*length)))
}

/// Every node of a tree is the same bytes: what a walk makes of that must end.
struct OneNode(Bytes);

impl NodeSource for OneNode {
    fn get(&self, _id: &ChunkId) -> impl Future<Output = Result<Bytes>> + Send {
        ready(Ok(self.0.clone()))
    }
}

/// Walks a tree whose every node is these bytes; the first says how high the tree claims to be.
pub fn store_tree(bytes: &[u8]) {
    let Some((level, node)) = bytes.split_first() else {
        return;
    };
    let nodes = OneNode(Bytes::copy_from_slice(node));
    let root = TreeRoot {
        node: ChunkId::from_bytes([0; 32]),
        level: level % 8,
        entries: 1,
    };
    // Any outcome is right as long as it comes; the key is one that a node may hold.
    let _outcome = block_on(tree::get(&nodes, &root, &[1])).is_ok();
}
