//! Memory of samples: a local file that says which blocks were read, and when.
//!
//! It is sealed like every local record, and may be deleted at any time: the next sample then
//! begins anew.

use crate::codec::{Decoder, Encoder};
use crate::store::LocalRecord;
use crate::{PackId, Result, Store, Timestamp};

use super::sample::{Memory, Remembered};

const RECORD: LocalRecord = LocalRecord {
    file: "sampled",
    purpose: "sampled blocks",
};
const LAYOUT: u8 = 1;

impl Store {
    /// Reads what is remembered; nothing where there is no file that can be read.
    pub(super) async fn recall_samples(&self) -> Result<Memory> {
        let Some(plain) = RECORD.read(self).await? else {
            return Ok(Memory::new());
        };
        Ok(decode(&plain).unwrap_or_else(|cause| {
            tracing::warn!(%cause, "the memory of earlier samples begins anew");
            Memory::new()
        }))
    }

    /// Keeps what is remembered, if there is a place for it.
    pub(super) async fn remember_samples(&self, memory: &Memory) -> Result<()> {
        let plain = encode(memory);
        RECORD.update(self, |_| Some(plain)).await
    }
}

fn encode(memory: &Memory) -> Vec<u8> {
    let mut encoder = Encoder::new();
    encoder.byte(LAYOUT);
    encoder.varint(memory.len() as u64);
    for (id, pack) in memory {
        encoder.raw(id.as_bytes());
        encoder.varint(pack.blocks.into());
        encoder.raw(&pack.read);
        encoder.option(pack.last, |encoder, time| encoder.signed(time.as_millis()));
    }
    encoder.finish()
}

/// Reads a record and writes it again.
#[cfg(feature = "fuzzing")]
pub(crate) fn parse_again(plain: &[u8]) -> Result<Vec<u8>> {
    decode(plain).map(|memory| encode(&memory))
}

fn decode(plain: &[u8]) -> Result<Memory> {
    let mut decoder = Decoder::new("memory of samples", plain);
    if decoder.byte()? != LAYOUT {
        return Err(decoder.malformed("its layout is not known"));
    }
    let packs = decoder.list(18, |decoder| {
        let id = PackId::from_bytes(decoder.array()?);
        let blocks = decoder.varint_u32()?;
        let read = decoder.raw(blocks.div_ceil(8) as usize)?.to_vec();
        let last = decoder.option(|decoder| Ok(Timestamp::from_millis(decoder.signed()?)))?;
        Ok((id, Remembered { blocks, read, last }))
    })?;
    if !packs.is_sorted_by(|(one, _), (other, _)| one < other) {
        return Err(decoder.malformed("its packs are out of order"));
    }
    decoder.finish()?;
    Ok(packs.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_survives_being_written_and_read() {
        let mut memory = Memory::new();
        memory.insert(PackId::from_bytes([1; 16]), Remembered::new(0));
        let mut pack = Remembered::new(9);
        pack.read = vec![0x81, 1];
        pack.last = Some(Timestamp::from_millis(-5));
        memory.insert(PackId::from_bytes([2; 16]), pack);
        assert_eq!(decode(&encode(&memory)).unwrap(), memory);
        assert!(decode(&encode(&memory)[1..]).is_err());
    }
}
