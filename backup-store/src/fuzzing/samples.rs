//! Valid bytes for every parser of stored bytes: the seeds of the fuzz targets.

use super::parsers::{EPOCH_PLACE, PACK, SLOT_PLACE, STORE, root};
use crate::backend::Capabilities;
use crate::check::BadPlaces;
use crate::codec::Encoder;
use crate::content::recipe::{Recipe, Step};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{ChunkId, LeaseId, PackId};
use crate::index::filter::Shard;
use crate::index::layout::{BlockEntry, Directory, Trailer, encode_entry};
use crate::keys::config::Config;
use crate::keys::epoch::{self, EpochContent};
use crate::keys::key_file::KeyFile;
use crate::keys::recovery_code::RecoveryCode;
use crate::keys::slot::{self, Info, Recipient};
use crate::keys::{KEY_LENGTH, StableKeys};
use crate::pack::layout::{BlockEntry as TableEntry, Table, TablePlace, encode_frame_entry};
use crate::pack::{Location, PackKind};
use crate::rounds::RoundNumber;
use crate::rounds::records::{Ack, BrokenLease, Damage, Done, Plan, Verdict};
use crate::seal::{compress, payload};
use crate::slots::Slot;
use crate::time::Timestamp;

/// Bytes of a sample, with the parser that accepts them.
type Sample = (&'static str, Vec<u8>);

/// The same bytes and the same time whenever it is asked.
#[derive(Debug)]
struct Fixed;

impl Environment for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp::EPOCH
    }

    fn fill(&self, bytes: &mut [u8]) -> Result<()> {
        bytes.fill(7);
        Ok(())
    }
}

/// Writes valid bytes for every parser.
///
/// *Errors*: those of writing them, which is a defect.
pub fn samples() -> Result<Vec<Sample>> {
    let mut samples = index();
    samples.extend(packs()?);
    samples.extend(rounds());
    samples.extend(keys()?);
    samples.extend(local());
    samples.push(("slot", Slot::Fence.encode()));
    samples.push(("recipe", recipe()));
    samples.push(("tree node", crate::tree::empty_node().to_vec()));
    samples.push(("small object", payload(&[b'a'; 500])?));
    samples.push(("object name", format!("packs/01/{PACK}").into_bytes()));
    Ok(samples)
}

fn chunk(number: u8) -> ChunkId {
    ChunkId::from_bytes(*blake3::hash(&[number]).as_bytes())
}

fn index() -> Vec<Sample> {
    let block = |head, sealed| BlockEntry { head, sealed };
    let directory = Directory {
        kind: PackKind::Content,
        entries: 300,
        supersedes: vec![crate::SegmentId::from_bytes([2; 16])],
        packs: vec![PACK],
        shards: vec![500, 600],
        blocks: vec![block(1, 9_000), block(9, 700)],
    };
    let trailer = Trailer {
        filters: 70_000,
        directory: 71_100,
        length: 90,
    };
    let mut ids: Vec<_> = (0..40).map(chunk).collect();
    ids.sort_unstable();
    let mut block = Encoder::new();
    for (start, id) in (0..).step_by(15_000).zip(&ids[..3]) {
        let place = Location {
            pack: PACK,
            block: 0,
            offset: 108,
            sealed: 30_000,
            plain: 500_000,
            start,
            length: 15_000,
        };
        encode_entry(&mut block, 0, &(*id, place));
    }
    vec![
        ("segment directory", directory.encode()),
        ("segment trailer", trailer.encode().to_vec()),
        ("segment block", block.finish()),
        ("filter shard", Shard::encode(&ids, 0)),
    ]
}

fn packs() -> Result<Vec<Sample>> {
    let table = Table {
        blocks: vec![TableEntry {
            sealed: 60,
            plain: 50,
            chunks: vec![(chunk(0), 20), (chunk(1), 30)],
        }],
    };
    let place = TablePlace {
        offset: 168,
        sealed: 112,
        blocks: 1,
    };
    // 511 bytes, as the first two bytes say by a 1.
    let mut block = vec![0, 1, 1];
    block.extend_from_slice(&511u32.to_le_bytes());
    block.extend(compress(&[b'b'; 511])?.unwrap_or_default());
    Ok(vec![
        ("pack table", table.encode()),
        ("spool entry", encode_frame_entry(&table.blocks[0])),
        ("pack trailer", place.encode().to_vec()),
        ("block", block),
    ])
}

fn rounds() -> Vec<Sample> {
    let round = RoundNumber::new(1);
    let lease = LeaseId::from_bytes([4; 16]);
    let plan = Plan {
        round,
        packs: [PACK].into(),
        ..Plan::default()
    };
    let verdict = Verdict {
        round,
        slots: [(lease, [0, 3].into())].into(),
        ..Verdict::default()
    };
    let done = Done {
        round,
        dead: plan.packs.clone(),
        ..Done::default()
    };
    let broken = BrokenLease {
        lease,
        at: Timestamp::EPOCH,
        reason: "the machine is gone".to_owned(),
    };
    let damage = Damage::of(&BadPlaces {
        packs: [PACK].into(),
        blocks: [(PackId::from_bytes([6; 16]), 3)].into(),
        ..BadPlaces::default()
    });
    let json = format!(r#"{{"lease":"{lease}","run":"{lease}","adopts":["{lease}"]}}"#);
    vec![
        ("plan", plan.encode()),
        ("verdict", verdict.encode()),
        ("done", done.encode()),
        ("ack", Ack { lease, round }.encode()),
        ("broken lease", broken.encode()),
        ("lease", json.into_bytes()),
        ("damage record", damage.encode()),
    ]
}

fn recipe() -> Vec<u8> {
    let recipe = Recipe {
        steps: vec![Step::Literal(300)],
    };
    let mut encoder = Encoder::new();
    encoder.raw(&300u16.to_be_bytes());
    Recipe::encode(Some(&recipe), &mut encoder);
    encoder.finish()
}

fn keys() -> Result<Vec<Sample>> {
    let no_key = || Error::new(ErrorKind::InvalidInput, "a key of another length");
    let found = Capabilities {
        put_if_absent: true,
        listed_after_put: true,
    };
    let config = Config::new(STORE, Timestamp::EPOCH, found).encode()?;
    let last_line = 8 + 2 * KEY_LENGTH;
    let root = root().ok_or_else(no_key)?;
    let stable = StableKeys {
        chunk_id: root.clone(),
        chunker: root.clone(),
    };
    let content = EpochContent {
        stable,
        roots: vec![root.clone()],
    };
    let epoch = epoch::wrap(&content, &EPOCH_PLACE, &Fixed)?;
    let file = KeyFile::generate(&Fixed)?;
    let kdf = crate::KdfParams::minimum();
    let recipient = Recipient::new(&file.clone().into(), kdf, None, &Fixed)?;
    let info = Info {
        label: "laptop".to_owned(),
        created: Timestamp::EPOCH,
    };
    let slot = slot::wrap(&root, &recipient, &root, &info, &SLOT_PLACE, &Fixed)?;
    let before = |object: &[u8], end: usize| object[..object.len() - end].to_vec();
    let code = RecoveryCode::generate(&Fixed)?;
    Ok(vec![
        ("config", before(&config, last_line)),
        ("key epoch", before(&epoch, KEY_LENGTH)),
        ("key slot", before(&slot, KEY_LENGTH)),
        ("key file", file.to_text().as_bytes().to_vec()),
        ("recovery code", code.to_text().as_bytes().to_vec()),
    ])
}

/// What is kept on the local disk, sealed.
fn local() -> Vec<Sample> {
    let mut seen = Encoder::new();
    seen.byte(1);
    seen.varint(2);
    seen.list(&["outlook:1"], |encoder, resource| {
        encoder.text(resource);
        encoder.varint(3);
        encoder.varint(300);
        encoder.raw(&[7; 32]);
        encoder.raw(&[1; 16]);
        encoder.raw(&[2; 16]);
        encoder.varint(5);
    });
    let mut memory = Encoder::new();
    memory.byte(1);
    memory.list(&[9u64], |encoder, blocks| {
        encoder.raw(PACK.as_bytes());
        encoder.varint(*blocks);
        encoder.raw(&[0x81, 1]);
        encoder.option(Some(-5), |encoder, time| encoder.signed(time));
    });
    vec![
        ("memory of snapshots", seen.finish()),
        ("memory of samples", memory.finish()),
    ]
}
