//! Upload sessions: fragments in order, committed as one file at the end.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::{Content, Drive, FileTimes, NameConflict, Refusal};

/// Fragments but the last are multiples of this many bytes.
pub(crate) const FRAGMENT_UNIT: u64 = 327_680;

/// Says where uploaded content goes.
#[derive(Debug, Clone)]
pub(crate) enum UploadTarget {
    /// Over the content of this file.
    Existing(String),
    /// Under a name in a folder.
    New { parent: String, name: String },
}

impl UploadTarget {
    /// Returns the name that the file has, or is to have.
    pub(crate) fn name(&self, drive: &Drive) -> String {
        match self {
            Self::Existing(id) => drive.item(id).map_or("", |item| item.name()).to_owned(),
            Self::New { name, .. } => name.clone(),
        }
    }

    /// Puts content where it belongs; says whether a file was created.
    pub(crate) fn commit(
        &self,
        drive: &mut Drive,
        content: Arc<Content>,
        conflict: NameConflict,
        times: FileTimes,
    ) -> Result<(String, bool), Refusal> {
        match self {
            Self::Existing(id) => {
                drive.set_content(id, content, times)?;
                Ok((id.clone(), false))
            }
            Self::New { parent, name } => drive.put_file(parent, name, content, conflict, times),
        }
    }
}

/// What is known when an upload begins.
#[derive(Debug, Clone)]
pub(crate) struct UploadPlan {
    pub(crate) drive: String,
    pub(crate) target: UploadTarget,
    pub(crate) conflict: NameConflict,
    pub(crate) times: FileTimes,
    pub(crate) size: Option<u64>,
    /// Whether the file comes into being when that is asked for, not with its last byte.
    pub(crate) deferred: bool,
}

/// One upload under way.
#[derive(Debug, Clone)]
pub(crate) struct Upload {
    pub(crate) plan: UploadPlan,
    parts: Vec<Content>,
    pub(crate) received: u64,
    pub(crate) total: Option<u64>,
    /// Seconds since 1970 after which the session is gone.
    pub(crate) expires: i64,
    /// The id of the item that came of it.
    pub(crate) finished: Option<String>,
}

/// Says why a fragment was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FragmentFault {
    /// The total differs from what was said before.
    TotalChanged,
    /// The body is not as long as its range.
    Length,
    /// Not a multiple of the unit, and not the last.
    Unaligned,
    /// Not what comes next.
    Order,
}

impl Upload {
    /// Begins an upload.
    pub(crate) fn new(plan: UploadPlan, expires: i64) -> Self {
        Self {
            total: plan.size,
            plan,
            parts: Vec::new(),
            received: 0,
            expires,
            finished: None,
        }
    }

    /// Tells whether all bytes are there.
    pub(crate) fn is_whole(&self) -> bool {
        self.total == Some(self.received) && self.received > 0
    }

    /// Keeps what came of the upload, and none of its bytes.
    pub(crate) fn finish(&mut self, item: &str) {
        self.finished = Some(item.to_owned());
        self.parts.clear();
    }

    /// Takes a fragment; says whether it was the last.
    pub(crate) fn take(
        &mut self,
        range: &Range<u64>,
        total: u64,
        body: &Bytes,
    ) -> Result<bool, FragmentFault> {
        if self.total.is_some_and(|known| known != total) || range.end > total {
            return Err(FragmentFault::TotalChanged);
        }
        let length = range.end - range.start;
        if length == 0 || length != body.len() as u64 {
            return Err(FragmentFault::Length);
        }
        // After a refused commit the last fragment may come again.
        if self.received == total && range.end == total {
            return Ok(true);
        }
        if range.start != self.received {
            return Err(FragmentFault::Order);
        }
        if range.end != total && !length.is_multiple_of(FRAGMENT_UNIT) {
            return Err(FragmentFault::Unaligned);
        }
        self.total = Some(total);
        self.parts.push(Content::from_bytes(body.clone()));
        self.received = range.end;
        Ok(self.received == total)
    }

    /// Returns everything received as one content.
    pub(crate) fn content(&self) -> Content {
        Content::concat(&self.parts)
    }
}
