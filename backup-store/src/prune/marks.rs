//! Marks: a sorted list of the beginnings of chunk ids, in a file beside the caches.
//!
//! Marks are gathered, sorted in memory a million at a time, kept in files of their own and merged
//! from those. Where there is no cache directory, or no room in it, they are in memory.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::backend::create_directories;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{ChunkId, RunId};
use crate::offload::offload;
use crate::store::Store;

/// Marks that are sorted together before they go to a file.
const SPILLED: usize = 1 << 20;
/// Files that are merged into one.
const FILES: usize = 16;
/// Marks of a block of a file: the first one of each block is in memory.
const BLOCK: usize = 512;
/// Blocks that are read together when a file is read from its beginning to its end.
const BLOCKS_AHEAD: usize = 16;
/// Marks that are gathered at least before they are joined with those in memory.
const GATHERED_LEAST: usize = 1 << 16;
/// So many times more marks are in memory, sorted, than gathered.
const SORTED_TIMES: usize = 8;

/// The beginning of an id, by which a chunk is marked.
pub(super) fn beginning(id: &ChunkId) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&id.as_bytes()[..8]);
    u64::from_be_bytes(bytes)
}

/// Which chunks are marked; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Marks(Arc<Lists>);

impl Marks {
    /// Counts the marks.
    pub(super) fn count(&self) -> u64 {
        self.0.count
    }

    /// Tells of each of some things whether its chunk is marked; they come in the order of their
    /// chunks.
    pub(super) async fn among<T: Send + 'static>(
        &self,
        store: &Store,
        things: Vec<T>,
        id: fn(&T) -> &ChunkId,
    ) -> Result<(Vec<T>, Vec<bool>)> {
        let lists = Arc::clone(&self.0);
        offload(store.offload().as_ref(), move || {
            let wanted: Vec<u64> = things.iter().map(|thing| beginning(id(thing))).collect();
            let found = lists.find(&wanted)?;
            Ok((things, found))
        })
        .await?
    }
}

/// Sorted lists of marks. One list has them all, unless there was no room for it.
#[derive(Debug, Default)]
struct Lists {
    /// How many different marks there are.
    count: u64,
    memory: Vec<u64>,
    files: Vec<Spilled>,
}

impl Lists {
    /// Looks for numbers, which ascend.
    fn find(&self, wanted: &[u64]) -> Result<Vec<bool>> {
        let mut ahead = &self.memory[..];
        let in_memory = wanted.iter().map(|wanted| {
            ahead = from_on(ahead, *wanted);
            ahead.first() == Some(wanted)
        });
        let mut found: Vec<bool> = in_memory.collect();
        for file in &self.files {
            file.find(wanted, &mut found)?;
        }
        Ok(found)
    }

    /// Visits all marks in order, each once; returns how many there are.
    fn each(&self, mut visit: impl FnMut(u64) -> Result<()>) -> Result<u64> {
        let files = self.files.iter().map(Ahead::of_file);
        let mut lists: Vec<Ahead<'_>> = files.chain([Ahead::of_memory(&self.memory)]).collect();
        let mut count = 0;
        loop {
            let mut least = None;
            for list in &mut lists {
                let first = list.first()?;
                least = least.map_or(first, |least: u64| {
                    Some(first.map_or(least, |first| first.min(least)))
                });
            }
            let Some(least) = least else {
                return Ok(count);
            };
            visit(least)?;
            count += 1;
            for list in &mut lists {
                if list.first()? == Some(least) {
                    list.at += 1;
                }
            }
        }
    }
}

/// Returns the end of a sorted list that begins with what is not below `wanted`; quick when that is
/// near.
fn from_on(list: &[u64], wanted: u64) -> &[u64] {
    let mut near = 1;
    while list.get(near).is_some_and(|mark| *mark < wanted) {
        near *= 2;
    }
    let near = (near + 1).min(list.len());
    &list[list[..near].partition_point(|mark| *mark < wanted)..]
}

/// Marks as they are gathered.
#[derive(Default)]
pub(super) struct Gathering {
    /// Where files go, and how their names begin.
    place: Option<(PathBuf, String)>,
    /// Files that were made so far.
    made: u64,
    lists: Lists,
    gathered: Vec<u64>,
}

impl Gathering {
    pub(super) fn new(store: &Store) -> Result<Self> {
        let place = match store.cache_dir() {
            Some(directory) => {
                let id = RunId::random(store.environment().as_ref())?;
                Some((directory.clone(), format!("marks-{id}")))
            }
            None => None,
        };
        Ok(Self {
            place,
            made: 0,
            lists: Lists::default(),
            gathered: Vec::new(),
        })
    }

    pub(super) fn push(&mut self, id: &ChunkId) {
        self.gathered.push(beginning(id));
    }

    /// Tells whether [`settle`](Self::settle) is due.
    pub(super) fn is_full(&self) -> bool {
        let in_memory = (self.lists.memory.len() / SORTED_TIMES).max(GATHERED_LEAST);
        let most = if self.place.is_some() {
            SPILLED
        } else {
            in_memory
        };
        self.gathered.len() >= most
    }

    /// Sorts what was gathered and puts it away. Blocks.
    pub(super) fn settle(&mut self) -> Result<()> {
        if self.place.is_none() {
            join(&mut self.lists.memory, &mut self.gathered);
            return Ok(());
        }
        self.gathered.sort_unstable();
        self.gathered.dedup();
        let marks = std::mem::take(&mut self.gathered);
        let spilled = self.spill(|file| marks.iter().try_for_each(|mark| file.push(*mark)));
        self.gathered = marks;
        match spilled? {
            Some(file) => {
                self.gathered.clear();
                self.lists.files.push(file);
            }
            None => join(&mut self.lists.memory, &mut self.gathered),
        }
        if self.lists.files.len() >= FILES {
            self.merge()?;
        }
        Ok(())
    }

    /// Ends it. Blocks.
    pub(super) fn finish(mut self) -> Result<Marks> {
        self.settle()?;
        if self.lists.files.len() > 1 {
            self.merge()?;
        }
        self.lists.count = match (&self.lists.memory[..], &self.lists.files[..]) {
            (memory, []) => memory.len() as u64,
            ([], [file]) => file.count,
            _ => self.lists.each(|_| Ok(()))?,
        };
        Ok(Marks(Arc::new(self.lists)))
    }

    /// Makes one list of all, where there is room for it.
    fn merge(&mut self) -> Result<()> {
        let lists = std::mem::take(&mut self.lists);
        let merged = self.spill(|file| lists.each(|mark| file.push(mark)).map(drop));
        self.lists = match merged? {
            Some(file) => Lists {
                files: vec![file],
                ..Lists::default()
            },
            None => lists,
        };
        Ok(())
    }

    /// Writes a file; `None` where there is no room for it, and from then on.
    fn spill(
        &mut self,
        write: impl FnOnce(&mut Spilling) -> Result<()>,
    ) -> Result<Option<Spilled>> {
        let Some((directory, name)) = &self.place else {
            return Ok(None);
        };
        self.made += 1;
        let path = directory.join(format!("{name}.{}", self.made));
        let spilled = Spilling::create(path).and_then(|mut file| {
            write(&mut file)?;
            file.finish()
        });
        match spilled {
            Ok(file) => Ok(Some(file)),
            // Prune is what makes room.
            Err(cause) if cause.kind() == ErrorKind::StorageFull => {
                tracing::warn!(%cause, "no room for marks: they stay in memory");
                self.place = None;
                Ok(None)
            }
            Err(cause) => Err(cause),
        }
    }
}

/// Moves what was gathered to its places among the sorted, without a second copy of those.
fn join(sorted: &mut Vec<u64>, gathered: &mut Vec<u64>) {
    gathered.sort_unstable();
    gathered.dedup();
    let mut known = sorted.iter().peekable();
    gathered.retain(|mark| {
        while known.next_if(|known| *known < mark).is_some() {}
        known.peek() != Some(&mark)
    });
    let (mut from, mut to) = (sorted.len(), sorted.len() + gathered.len());
    sorted.reserve_exact(gathered.len());
    sorted.resize(to, 0);
    // From the end on, so that nothing is written over that is still to be moved.
    while let Some(mark) = gathered.pop() {
        while from > 0 && sorted[from - 1] > mark {
            (from, to) = (from - 1, to - 1);
            sorted[to] = sorted[from];
        }
        to -= 1;
        sorted[to] = mark;
    }
    gathered.shrink_to(0);
}

/// A file of marks. It loses its name as soon as it is open, so that nothing stays of a prune that
/// is killed; where the system does not allow that, dropping this deletes it.
#[derive(Debug)]
struct OwnFile {
    path: PathBuf,
    nameless: bool,
}

impl OwnFile {
    fn opened(path: PathBuf) -> Self {
        let nameless = fs::remove_file(&path).is_ok();
        Self { path, nameless }
    }

    fn failed(&self, cause: io::Error) -> Error {
        Error::from_io(ErrorKind::Local, self.path.display(), cause)
    }
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        if self.nameless {
            return;
        }
        if let Err(cause) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %cause, "a file of marks stays; delete it");
        }
    }
}

/// A file that marks are written to, in order.
struct Spilling {
    file: BufWriter<File>,
    own: OwnFile,
    heads: Vec<u64>,
    count: u64,
}

impl Spilling {
    fn create(path: PathBuf) -> Result<Self> {
        let directories = path.parent().map_or(Ok(()), create_directories);
        let mut options = File::options();
        let options = options.read(true).write(true).create_new(true);
        let file = directories.and_then(|()| options.open(&path));
        let file = file.map_err(|cause| Error::from_io(ErrorKind::Local, path.display(), cause))?;
        Ok(Self {
            file: BufWriter::with_capacity(BLOCK * 8, file),
            own: OwnFile::opened(path),
            heads: Vec::new(),
            count: 0,
        })
    }

    fn push(&mut self, mark: u64) -> Result<()> {
        if self.count.is_multiple_of(BLOCK as u64) {
            self.heads.push(mark);
        }
        self.count += 1;
        let written = self.file.write_all(&mark.to_le_bytes());
        written.map_err(|cause| self.own.failed(cause))
    }

    fn finish(self) -> Result<Spilled> {
        let Self {
            file,
            own,
            heads,
            count,
        } = self;
        let flushed = file.into_inner().map_err(io::IntoInnerError::into_error);
        Ok(Spilled {
            file: Mutex::new(flushed.map_err(|cause| own.failed(cause))?),
            own,
            heads,
            count,
        })
    }
}

/// A file that sorted marks were written to.
#[derive(Debug)]
struct Spilled {
    file: Mutex<File>,
    own: OwnFile,
    /// The first mark of each block.
    heads: Vec<u64>,
    count: u64,
}

impl Spilled {
    /// Reads blocks that lie one behind the other.
    fn read(&self, block: usize, blocks: usize) -> Result<Vec<u64>> {
        let from = (block * BLOCK) as u64;
        let count = self.count.saturating_sub(from).min((blocks * BLOCK) as u64);
        let mut bytes = vec![0; usize::try_from(count * 8).unwrap_or(0)];
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let read = file.seek(SeekFrom::Start(from * 8));
        let read = read.and_then(|_| file.read_exact(&mut bytes));
        read.map_err(|cause| self.own.failed(cause))?;
        let (marks, _) = bytes.as_chunks();
        Ok(marks.iter().map(|mark| u64::from_le_bytes(*mark)).collect())
    }

    /// Looks for numbers, which ascend, and notes which are here.
    fn find(&self, wanted: &[u64], found: &mut [bool]) -> Result<()> {
        let (mut next, mut marks) = (0, Vec::new());
        for (wanted, found) in wanted.iter().zip(found) {
            // The block before `next` is at hand.
            if self.heads.get(next).is_some_and(|head| head <= wanted) {
                next = self.heads.partition_point(|head| head <= wanted);
                marks = self.read(next - 1, 1)?;
            }
            *found |= marks.binary_search(wanted).is_ok();
        }
        Ok(())
    }
}

/// A sorted list that is gone through.
struct Ahead<'a> {
    file: Option<&'a Spilled>,
    /// The next block to read.
    next: usize,
    read: Vec<u64>,
    memory: &'a [u64],
    at: usize,
}

impl<'a> Ahead<'a> {
    fn of_memory(memory: &'a [u64]) -> Self {
        Self {
            file: None,
            next: 0,
            read: Vec::new(),
            memory,
            at: 0,
        }
    }

    fn of_file(file: &'a Spilled) -> Self {
        Self {
            file: Some(file),
            ..Self::of_memory(&[])
        }
    }

    fn first(&mut self) -> Result<Option<u64>> {
        let Some(file) = self.file else {
            return Ok(self.memory.get(self.at).copied());
        };
        if self.at == self.read.len() {
            self.read = file.read(self.next, BLOCKS_AHEAD)?;
            self.next += BLOCKS_AHEAD;
            self.at = 0;
        }
        Ok(self.read.get(self.at).copied())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn gathering(directory: Option<&std::path::Path>) -> Gathering {
        Gathering {
            place: directory.map(|directory| (directory.to_owned(), "marks".to_owned())),
            made: 0,
            lists: Lists::default(),
            gathered: Vec::new(),
        }
    }

    /// Gathers batches; from some batch on there is no room for files.
    fn gather(
        directory: Option<&std::path::Path>,
        batches: &[Vec<u64>],
        room: usize,
    ) -> (Lists, BTreeSet<u64>) {
        let mut gathering = gathering(directory);
        for (at, batch) in batches.iter().enumerate() {
            gathering.gathered.extend(batch);
            if at == room {
                gathering.place = None;
            }
            gathering.settle().unwrap();
            assert!(gathering.gathered.is_empty());
        }
        let marks = gathering.finish().unwrap();
        let all = batches.iter().flatten().copied().collect();
        (Arc::into_inner(marks.0).unwrap(), all)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn gathered_marks_are_those_of_a_set_wherever_they_are_kept(
            batches in prop::collection::vec(prop::collection::vec(0u64..4000, 0..900), 0..22),
            in_files: bool,
            room in 0usize..40,
            mut wanted in prop::collection::vec(0u64..4010, 0..200),
        ) {
            wanted.sort_unstable();
            let directory = tempfile::tempdir().unwrap();
            let place = in_files.then(|| directory.path());
            let (lists, set) = gather(place, &batches, room);
            prop_assert_eq!(lists.count, set.len() as u64);
            let expected: Vec<bool> = wanted.iter().map(|mark| set.contains(mark)).collect();
            prop_assert_eq!(lists.find(&wanted).unwrap(), expected);
            let mut all = Vec::new();
            lists.each(|mark| { all.push(mark); Ok(()) }).unwrap();
            prop_assert!(all.iter().eq(&set));
            drop(lists);
            let left = fs::read_dir(directory.path()).unwrap().count();
            prop_assert_eq!(left, 0, "files stay");
        }
    }

    #[test]
    fn marks_are_in_one_file_where_there_is_room() {
        let directory = tempfile::tempdir().unwrap();
        let batches: Vec<Vec<u64>> = (0..40).map(|from| (from..9_000 + from).collect()).collect();
        let (lists, set) = gather(Some(directory.path()), &batches, usize::MAX);
        assert_eq!((lists.memory.len(), lists.files.len()), (0, 1));
        assert_eq!(lists.count, set.len() as u64);
        #[cfg(unix)]
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
