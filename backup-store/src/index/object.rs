//! The bytes of a segment that is being sealed: in memory, or in a file of the spool directory.
//!
//! A merge makes segments of hundreds of megabytes. Where the backend takes files over, none of
//! them is ever in memory as a whole.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::{Disk, DiskFile};
use crate::error::{Error, ErrorKind, Result};

/// How the names of these files end.
pub(crate) const EXTENSION: &str = "segment";
/// Bytes that are written to the file together, about.
const SPILL: usize = 1 << 20;

/// A file of the spool directory; dropping this deletes it.
#[derive(Debug)]
pub(crate) struct SegmentSpool {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

impl SegmentSpool {
    /// Names a file that is created when something is written to it.
    pub(crate) fn new(disk: Arc<dyn Disk>, path: PathBuf) -> Self {
        Self { disk, path }
    }

    fn failed(&self, cause: io::Error) -> Error {
        let object = format_args!("spool file {}", self.path.display());
        Error::from_io(ErrorKind::Local, object, cause)
    }
}

impl Drop for SegmentSpool {
    fn drop(&mut self) {
        match self.disk.remove(&self.path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                // The next writer that begins with this directory deletes it.
                tracing::debug!(path = %self.path.display(), %cause, "a spool file stays");
            }
            _ => {}
        }
    }
}

/// The bytes of a segment as they grow.
pub(super) struct Growing {
    /// What was not written to the file yet; everything, where there is none.
    buffer: Vec<u8>,
    written: u64,
    file: Option<(Box<dyn DiskFile>, SegmentSpool)>,
}

impl Growing {
    /// Begins in memory; `room` is how long it becomes, about.
    pub(super) fn in_memory(room: usize) -> Self {
        Self {
            buffer: Vec::with_capacity(room),
            written: 0,
            file: None,
        }
    }

    /// Begins in a file that must not exist yet.
    pub(super) fn in_file(spool: SegmentSpool) -> Result<Self> {
        let created = spool.disk.create_new(&spool.path);
        let file = created.map_err(|cause| spool.failed(cause))?;
        Ok(Self {
            buffer: Vec::new(),
            written: 0,
            file: Some((file, spool)),
        })
    }

    /// Where to append; [`settle`](Self::settle) follows.
    pub(super) fn end(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    pub(super) fn length(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Writes what was appended to the file, once it is worth it.
    pub(super) fn settle(&mut self) -> Result<()> {
        if self.buffer.len() < SPILL {
            return Ok(());
        }
        self.spill()
    }

    fn spill(&mut self) -> Result<()> {
        if let Some((file, spool)) = &self.file {
            let appended = file.append(&self.buffer);
            appended.map_err(|cause| spool.failed(cause))?;
            self.written += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Ends it; a file is durable then, and nothing writes to it any more.
    pub(super) fn finish(mut self) -> Result<SegmentObject> {
        self.spill()?;
        let Some((file, spool)) = self.file else {
            return Ok(SegmentObject::Memory(self.buffer.into()));
        };
        file.sync().map_err(|cause| spool.failed(cause))?;
        Ok(SegmentObject::File(spool, self.written))
    }
}

/// The bytes of a sealed segment.
#[derive(Debug)]
pub(crate) enum SegmentObject {
    Memory(Bytes),
    /// The file, and how long it is.
    File(SegmentSpool, u64),
}

impl SegmentObject {
    /// Returns the file that holds it, if one does.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::Memory(_) => None,
            Self::File(spool, _) => Some(&spool.path),
        }
    }

    /// Returns all of it.
    pub(crate) fn whole(&self) -> Result<Bytes> {
        match self {
            Self::Memory(bytes) => Ok(bytes.clone()),
            Self::File(_, length) => self.read(0..*length),
        }
    }

    /// Reads a range of it.
    pub(crate) fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        match self {
            Self::Memory(bytes) => {
                let range = place(range.start)..place(range.end);
                let part = bytes.get(range).map(|part| bytes.slice_ref(part));
                part.ok_or_else(|| Error::new(ErrorKind::Malformed, "segment: it is cut off"))
            }
            Self::File(spool, _) => {
                let length = place(range.end.saturating_sub(range.start));
                let file = spool.disk.open(&spool.path);
                let read = file.and_then(|file| file.read_at(range.start, length));
                read.map(Bytes::from).map_err(|cause| spool.failed(cause))
            }
        }
    }
}

#[cfg(all(test, feature = "fault-injection"))]
mod tests {
    use super::*;
    use crate::backend::{Backend, MemoryBackend, ObjectName, Put};
    use crate::example_store::run;
    use crate::fault::{FaultBackend, FaultPlan, SimulatedDisk};

    #[test]
    fn what_is_handed_over_is_on_the_disk_as_a_whole() {
        let plan = FaultPlan::new();
        let disk = SimulatedDisk::new(plan.clone());
        let memory = Arc::new(MemoryBackend::new());
        let backend = FaultBackend::new(memory, plan).taking_files_of(&disk);
        let path = PathBuf::from("/spool/a.segment");
        disk.create_directories(Path::new("/spool")).unwrap();
        let spool = SegmentSpool::new(Arc::new(disk.clone()), path);
        let mut growing = Growing::in_file(spool).unwrap();
        let mut expected = Vec::new();
        for number in 0..40u8 {
            growing.end().extend_from_slice(&vec![number; 100_000]);
            expected.extend_from_slice(&vec![number; 100_000]);
            growing.settle().unwrap();
            assert_eq!(growing.length(), expected.len() as u64);
        }
        let object = growing.finish().unwrap();
        let name = ObjectName::new("segments/a").unwrap();
        run(async {
            let put = backend.put_new_file(&name, object.path().unwrap()).await;
            assert_eq!(put.unwrap(), Some(Put::Created));
            // The backend has what a power failure would leave of the file.
            let there = backend.get(&name, None).await.unwrap();
            assert!(there == expected, "{} bytes", there.len());
        });
        assert!(object.whole().unwrap() == expected);
        assert_eq!(object.read(99_999..100_001).unwrap(), [0, 1].as_slice());
        drop(object);
        assert_eq!(disk.file_count(), 0);
    }
}
