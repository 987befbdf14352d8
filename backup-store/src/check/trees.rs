//! Walking the trees of a snapshot: each distinct node once, in whatever snapshots it is.

use super::Checker;
use super::places::Verdict;
use super::report::{Dependent, ProblemNumber, chain};
use super::seen::{add, short};
use crate::catalog::{Container, Item, ItemKey, ResourceId, RunNote};
use crate::tree::{self, Node, Payload, Record};
use crate::{ChunkId, Result, SnapshotId, TreeRoot};
use bytes::Bytes;

/// Whose tree is walked.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) resource: ResourceId,
    pub(super) snapshot: SnapshotId,
}

impl Subject {
    /// Names the snapshot, or one item or container of it, as what depends on a problem.
    pub(super) fn dependent(&self, item: Option<&ItemKey>, name: Option<&str>) -> Dependent {
        Dependent {
            resource: self.resource.clone(),
            snapshot: self.snapshot,
            item: item.cloned(),
            name: name.map(str::to_owned),
        }
    }
}

/// What the values of a tree are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TreeKind {
    Containers,
    Items,
    Notes,
}

/// A node whose records are being checked.
struct Open {
    key: [u8; 16],
    level: u8,
    /// The key behind which its records lie, if that is known.
    floor: Option<Bytes>,
    records: std::vec::IntoIter<Record>,
    /// Problems met below it.
    problems: Vec<ProblemNumber>,
}

/// How a node is referred to.
struct Reference<'a> {
    root: TreeRoot,
    /// The last key it must have; unknown for a root.
    last_key: Option<&'a [u8]>,
    /// The key that all its keys must be greater than; unknown for the first of a level.
    floor: Option<&'a Bytes>,
}

impl Reference<'_> {
    /// One key for the node and everything that was expected of it.
    fn seen_key(&self, kind: TreeKind) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.root.node.as_bytes());
        hasher.update(&[
            self.root.level,
            kind as u8,
            u8::from(self.last_key.is_some()),
        ]);
        hasher.update(&self.root.entries.to_le_bytes());
        hasher.update(self.last_key.unwrap_or_default());
        short(&hasher)
    }
}

impl Checker<'_> {
    /// Walks one tree; what was walked before is not walked again.
    pub(super) async fn tree(&mut self, subject: &Subject, root: &TreeRoot, kind: TreeKind) {
        if root.entries == 0 {
            return;
        }
        let mut path = Vec::new();
        let reference = Reference {
            root: *root,
            last_key: None,
            floor: None,
        };
        // Problems of the root itself have no node above to belong to.
        let (open, _) = self.enter(subject, &reference, kind).await;
        path.extend(open);
        while let Some(mut open) = path.pop() {
            let Some(record) = open.records.next() else {
                self.nodes.note_problems(open.key, &open.problems);
                if let Some(above) = path.last_mut() {
                    add(&mut above.problems, &open.problems);
                }
                continue;
            };
            if let Payload::Child { id, entries } = record.payload {
                let level = open.level.saturating_sub(1);
                let root = TreeRoot {
                    node: id,
                    level,
                    entries,
                };
                let floor = open.floor.replace(record.key.clone());
                let reference = Reference {
                    root,
                    last_key: Some(&record.key),
                    floor: floor.as_ref(),
                };
                let (child, problems) = self.enter(subject, &reference, kind).await;
                add(&mut open.problems, &problems);
                path.push(open);
                path.extend(child);
            } else {
                let problems = self.entry(subject, &record, kind).await;
                add(&mut open.problems, &problems);
                path.push(open);
            }
        }
    }

    /// Reads a node that was not walked yet; returns it, or the problems that are known there.
    async fn enter(
        &mut self,
        subject: &Subject,
        reference: &Reference<'_>,
        kind: TreeKind,
    ) -> (Option<Open>, Vec<ProblemNumber>) {
        let key = reference.seen_key(kind);
        if !self.nodes.insert(key) {
            let problems = self.nodes.problems(&key);
            for number in &problems {
                self.findings
                    .depends(*number, subject.dependent(None, None));
            }
            return (None, problems);
        }
        match self.read_node(reference).await {
            Ok(node) => {
                let (level, records) = (node.level, node.records.into_iter());
                (
                    Some(Open {
                        key,
                        level,
                        floor: reference.floor.cloned(),
                        records,
                        problems: Vec::new(),
                    }),
                    Vec::new(),
                )
            }
            Err(cause) => {
                self.blind = true;
                let id = reference.root.node;
                let number = self.findings.note(format!("tree node {id}"), chain(&cause));
                if let Some(number) = number {
                    self.findings.depends(number, subject.dependent(None, None));
                }
                let problems: Vec<ProblemNumber> = number.into_iter().collect();
                self.nodes.note_problems(key, &problems);
                (None, problems)
            }
        }
    }

    async fn read_node(&mut self, reference: &Reference<'_>) -> Result<Node> {
        self.visit_chunk(&reference.root.node).await;
        let node = tree::read_node(self.store, &reference.root).await?;
        let damaged = |cause| {
            let object = format!("tree node {}", reference.root.node);
            Err(crate::Error::damaged(object, cause))
        };
        let first = node.records.first().map(|record| &record.key);
        if reference
            .floor
            .is_some_and(|floor| first.is_some_and(|key| key <= floor))
        {
            return damaged("it begins before the end of the one before it");
        }
        if reference
            .last_key
            .is_some_and(|key| node.last_key().is_none_or(|last| last != key))
        {
            return damaged("it ends at another key than referred to");
        }
        Ok(node)
    }

    /// Marks where a chunk that is about to be read lies.
    async fn visit_chunk(&mut self, id: &ChunkId) {
        self.findings.report.chunks += 1;
        // What cannot be located cannot be read either, which the caller reports.
        if let Ok(located) = self.store.locate(std::slice::from_ref(id)).await {
            for place in located.iter().flatten() {
                self.needed.insert(place.pack);
                let _: Verdict = self.judge(place);
            }
        }
    }

    /// Checks one entry of a leaf.
    async fn entry(
        &mut self,
        subject: &Subject,
        record: &Record,
        kind: TreeKind,
    ) -> Vec<ProblemNumber> {
        if let Payload::Outline { id, .. } = &record.payload {
            self.visit_chunk(id).await;
        }
        let checked = match tree::read_value(self.store, &record.payload).await {
            Ok(value) => self.value(subject, &record.key, &value, kind).await,
            Err(cause) => Err(cause),
        };
        checked.unwrap_or_else(|cause| {
            let item = match kind {
                TreeKind::Containers => None,
                TreeKind::Items | TreeKind::Notes => ItemKey::decode(&record.key).ok(),
            };
            let object = match &item {
                Some(key) => format!("record of item {}", key.id),
                None => format!("record of {}", String::from_utf8_lossy(&record.key)),
            };
            let number = self.findings.note(object, chain(&cause));
            if let Some(number) = number {
                self.findings
                    .depends(number, subject.dependent(item.as_ref(), None));
            }
            number.into_iter().collect()
        })
    }

    /// Decodes a value, and checks the contents it refers to.
    async fn value(
        &mut self,
        subject: &Subject,
        key: &[u8],
        value: &[u8],
        kind: TreeKind,
    ) -> Result<Vec<ProblemNumber>> {
        let mut problems = Vec::new();
        match kind {
            TreeKind::Containers => {
                let container = Container::decode(key, value)?;
                if let Some(content) = &container.properties {
                    let dependent = subject.dependent(None, Some(&container.name));
                    problems = self.content(content, &dependent).await;
                }
            }
            TreeKind::Items => {
                let item = Item::decode(key, value)?;
                self.findings.report.items += 1;
                let dependent = subject.dependent(Some(&item.key), Some(&item.name));
                for representation in &item.representations {
                    let found = self.content(&representation.content, &dependent).await;
                    add(&mut problems, &found);
                }
            }
            TreeKind::Notes => {
                ItemKey::decode(key)?;
                RunNote::decode(value)?;
            }
        }
        Ok(problems)
    }
}
