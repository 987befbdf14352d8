//! Places that this open store does not rely on: what a check has found damaged there.
//!
//! A repair keeps them in the cache directory, so that later runs of this machine store anew what
//! was there. Packs are never written twice, so that a place once bad stays so.

use std::fs;
use std::path::PathBuf;
use std::sync::PoisonError;

use crate::backend::create_directories;
use crate::check::BadPlaces;
use crate::codec::{Decoder, Encoder};
use crate::error::{Error, ErrorKind, Result};
use crate::id::PackId;
use crate::offload::offload;
use crate::pack::Location;
use crate::store::Store;

const FILE: &str = "distrusted";
const PURPOSE: &str = "distrusted places";

impl Store {
    /// Stops relying on places: chunks there count as absent, so that they are stored again.
    pub(crate) fn distrust(&self, places: BadPlaces) {
        let distrusted = &self.0.distrusted;
        let mut known = distrusted.write().unwrap_or_else(PoisonError::into_inner);
        known.packs.extend(places.packs);
        known.blocks.extend(places.blocks);
        known.tables.extend(places.tables);
    }

    /// Leaves out the places that are not relied on.
    pub(crate) fn leave_out_distrusted(&self, found: &mut [Vec<Location>]) {
        let distrusted = &self.0.distrusted;
        let known = distrusted.read().unwrap_or_else(PoisonError::into_inner);
        if known.is_empty() {
            return;
        }
        for places in found {
            places.retain(|place| !known.holds(place));
        }
    }

    /// Keeps what is not relied on for later runs, if there is a cache directory.
    pub(crate) async fn remember_distrusted(&self) -> Result<()> {
        let Some(path) = self.distrusted_path() else {
            return Ok(());
        };
        let plain = {
            let known = self.0.distrusted.read();
            encode(&known.unwrap_or_else(PoisonError::into_inner))
        };
        let record = self.seal_local(PURPOSE, self.id().as_bytes(), &plain)?;
        let shown = path.display().to_string();
        let written = offload(self.offload().as_ref(), move || {
            if let Some(parent) = path.parent() {
                create_directories(parent)?;
            }
            let staged = path.with_extension("new");
            fs::write(&staged, record)?;
            fs::rename(&staged, path)
        });
        let written = written.await?;
        written.map_err(|cause| Error::from_io(ErrorKind::Local, shown, cause))
    }

    /// Reads what an earlier repair found; a file that cannot be read is as good as none.
    pub(super) async fn recall_distrusted(&self) -> Result<()> {
        let Some(path) = self.distrusted_path() else {
            return Ok(());
        };
        let read = offload(self.offload().as_ref(), move || fs::read(path));
        let Ok(record) = read.await? else {
            return Ok(());
        };
        let opened = self.open_local(PURPOSE, self.id().as_bytes(), &record);
        match opened.and_then(|plain| decode(&plain)) {
            Ok(places) => self.distrust(places),
            Err(cause) => tracing::warn!(%cause, "what earlier repairs found is not known"),
        }
        Ok(())
    }

    fn distrusted_path(&self) -> Option<PathBuf> {
        Some(self.cache_dir()?.join(FILE))
    }
}

fn encode(places: &BadPlaces) -> Vec<u8> {
    let mut encoder = Encoder::new();
    let packs: Vec<&PackId> = places.packs.iter().collect();
    encoder.list(&packs, |encoder, pack| encoder.raw(pack.as_bytes()));
    let blocks: Vec<&(PackId, u32)> = places.blocks.iter().collect();
    encoder.list(&blocks, |encoder, (pack, block)| {
        encoder.raw(pack.as_bytes());
        encoder.varint((*block).into());
    });
    encoder.finish()
}

/// Reads a record and writes it again.
#[cfg(feature = "fuzzing")]
pub(crate) fn parse_again(plain: &[u8]) -> Result<Vec<u8>> {
    decode(plain).map(|places| encode(&places))
}

fn decode(plain: &[u8]) -> Result<BadPlaces> {
    let mut decoder = Decoder::new("distrusted places", plain);
    let pack = |decoder: &mut Decoder<'_>| Ok(PackId::from_bytes(decoder.array()?));
    let packs = decoder.list(16, pack)?;
    let blocks = decoder.list(17, |decoder| Ok((pack(decoder)?, decoder.varint_u32()?)))?;
    decoder.finish()?;
    Ok(BadPlaces {
        packs: packs.into_iter().collect(),
        blocks: blocks.into_iter().collect(),
        ..BadPlaces::default()
    })
}
