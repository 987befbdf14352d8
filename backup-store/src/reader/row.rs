//! Row: chunks that are read one after the other, their places looked up in batches.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::error::Result;
use crate::id::ChunkId;
use crate::pack::Location;
use crate::store::Store;

/// Chunks whose places are looked up at once.
const LOOKUP: usize = 64;

/// Chunks that are yet to be read.
#[derive(Debug, Default)]
pub(super) struct Row {
    chunks: std::vec::IntoIter<ChunkId>,
    /// Places of the next chunks, as far as they were looked up.
    places: VecDeque<Vec<Location>>,
}

impl Row {
    pub(super) fn new(chunks: Vec<ChunkId>) -> Self {
        Self {
            chunks: chunks.into_iter(),
            places: VecDeque::new(),
        }
    }

    /// Looks up the places of several rows at once, if that is not too many.
    pub(super) async fn look_up(rows: &mut [&mut Self], store: &Store) -> Result<()> {
        let ids: Vec<ChunkId> = rows
            .iter()
            .flat_map(|row| row.chunks.as_slice())
            .copied()
            .collect();
        if ids.len() > LOOKUP {
            return Ok(());
        }
        let mut places = store.locate_to_read(&ids).await?.into_iter();
        for row in rows {
            row.places = places.by_ref().take(row.chunks.len()).collect();
        }
        Ok(())
    }

    /// Reads the next chunk; `None` at the end.
    ///
    /// *Cancel safety*: when dropped, the row is where it was.
    pub(super) async fn next(&mut self, store: &Store) -> Result<Option<Bytes>> {
        let rest = self.chunks.as_slice();
        let Some(id) = rest.first() else {
            return Ok(None);
        };
        if self.places.is_empty() {
            let ids = &rest[..rest.len().min(LOOKUP)];
            self.places = store.locate_to_read(ids).await?.into();
        }
        let ahead: Vec<Location> = self
            .places
            .iter()
            .skip(1)
            .map_while(|places| places.first().copied())
            .collect();
        let places = self.places.front().map_or(&[][..], Vec::as_slice);
        let chunk = store.follow_chunk(id, places, &ahead).await?;
        self.chunks.next();
        self.places.pop_front();
        Ok(Some(chunk))
    }
}
