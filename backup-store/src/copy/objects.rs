//! Verifying sealed objects before they are copied: a damaged object never takes a name that
//! could not be given again.

use std::sync::Arc;

use bytes::Bytes;

use crate::index::file::SegmentFile;
use crate::index::sealing::segment_id;
use crate::offload::offload;
use crate::pack::layout::{TRAILER, open_block, open_table, open_trailer};
use crate::pack::{HEADER, PackSealer, pack_id};
use crate::rounds::parse_round_name;
use crate::seal::ObjectKind;
use crate::{Error, ObjectInfo, ObjectName, Result, Store};

/// Larger objects are not copied: none that a store writes is as large.
const OBJECT_MAX: u64 = 640 << 20;

impl Store {
    /// Reads an object as it is stored, and verifies it by what it is.
    ///
    /// *Errors*: `Damaged` when it is not what was sealed under its name.
    pub(super) async fn read_verified(&self, info: &ObjectInfo) -> Result<Bytes> {
        let damaged = |cause: &str| Error::damaged(format_args!("object {}", info.name), cause);
        if info.size > OBJECT_MAX {
            return Err(damaged("it is larger than any that a store writes"));
        }
        let bytes = self.backend().get(&info.name, None).await?;
        if let Some(pack) = pack_id(&info.name) {
            let (keys, whole) = (Arc::clone(self.keys()), bytes.clone());
            let verified = offload(self.offload().as_ref(), move || {
                let header = whole.get(..HEADER).unwrap_or_default();
                verify_pack(&PackSealer::open(&keys, header, Some(&pack))?, &whole)
            });
            verified.await??;
        } else if let Some(id) = segment_id(&info.name) {
            let (keys, whole) = (Arc::clone(self.keys()), bytes.clone());
            let verified = offload(self.offload().as_ref(), move || {
                SegmentFile::open_whole(&keys, id, &whole)?.verify_whole(&whole)
            });
            verified.await??;
        } else if let Some(kind) = kind_of(&info.name) {
            self.open_sealed(kind, &info.name, bytes.clone()).await?;
        }
        Ok(bytes)
    }
}

/// Opens every message of a pack.
fn verify_pack(sealer: &PackSealer, whole: &Bytes) -> Result<()> {
    let slice = |from: u64, length: u64| {
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let to = from.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
        let found = whole.get(from..to);
        found.ok_or_else(|| sealer.damaged("it is cut off"))
    };
    let end = (whole.len() as u64).saturating_sub(TRAILER as u64);
    let place = open_trailer(sealer, slice(end, TRAILER as u64)?)?;
    let table = open_table(sealer, &place, slice(place.offset, place.sealed.into())?)?;
    let mut offset = HEADER as u64;
    for (number, entry) in (0..).zip(&table.blocks) {
        let sealed = slice(offset, entry.sealed.into())?;
        open_block(sealer, number, entry.plain, sealed.into())?;
        offset += u64::from(entry.sealed);
    }
    Ok(())
}

/// Says as what a small object was sealed; key slots and epochs are not sealed that way, and are
/// verified when they are used.
fn kind_of(name: &ObjectName) -> Option<ObjectKind> {
    let folder = name.as_str().split('/').next().unwrap_or_default();
    match folder {
        "snaps" => Some(ObjectKind::Slot),
        "runs" => Some(ObjectKind::Run),
        "gc" => parse_round_name(name).map(|(_, part)| part.kind()),
        _ => None,
    }
}
