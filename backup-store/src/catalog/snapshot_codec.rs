//! Records of snapshots and runs, as they stand in sealed objects.

use super::codec::{begin, expect, expect_one_of, put_root, put_time, take_root, take_time};
use super::{
    Alarm, Cursor, Drift, Enumeration, FeedCursor, Findings, Gap, Outcome, Resource, ResourceId,
    RunRecord, Snapshot, Totals,
};
use crate::codec::{Decoder, Encoder};
use crate::{Result, RunId, SnapshotId};

const SNAPSHOT: u8 = b'S';
const RUN: u8 = b'R';
const VERSION: u8 = 1;
/// A record of a run with findings; one without is written as before.
const VERSION_WITH_FINDINGS: u8 = 2;

/// No entry of the lists of a snapshot is shorter.
const ENUMERATION_MIN_BYTES: usize = 1 + 16 + 34 + 1;

impl Snapshot {
    /// Encodes the record of a snapshot.
    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = begin(SNAPSHOT, VERSION);
        put_resource(&mut encoder, &self.resource);
        encoder.text(&self.set);
        encoder.raw(self.run.as_bytes());
        encoder.byte(outcome_tag(self.outcome));
        encoder.varint(self.token);
        encoder.varint(self.sequence);
        encoder.option(self.parent.as_ref(), |encoder, id| {
            encoder.raw(id.as_bytes());
        });
        encoder.option(self.parent_hash.as_ref(), |encoder, hash| encoder.raw(hash));
        put_time(&mut encoder, self.started);
        put_time(&mut encoder, self.finished);
        put_root(&mut encoder, &self.containers);
        put_root(&mut encoder, &self.items);
        put_root(&mut encoder, &self.notes);
        encoder.list(&self.enumerations, |encoder, each| {
            encoder.text(&each.feed);
            encoder.raw(&each.generation);
            put_root(encoder, &each.items);
            encoder.option(each.cursor.as_ref(), |encoder, it| {
                encoder.text(it.as_str());
            });
        });
        encoder.list(&self.cursors, |encoder, each| {
            encoder.text(&each.feed);
            encoder.text(each.cursor.as_str());
        });
        put_totals(&mut encoder, &self.totals);
        encoder.list(&self.routes, |encoder, each| encoder.text(each));
        encoder.varint(self.journal_sequence);
        encoder.finish()
    }

    /// Decodes the record of a snapshot.
    ///
    /// *Errors*: `Damaged` for anything that [`encode`](Self::encode) does not make.
    pub fn decode(record: &[u8]) -> Result<Self> {
        let mut decoder = Decoder::new("snapshot record", record);
        expect(&mut decoder, SNAPSHOT, VERSION)?;
        let snapshot = Self {
            resource: take_resource(&mut decoder)?,
            set: decoder.text()?,
            run: RunId::from_bytes(decoder.array()?),
            outcome: take_outcome(&mut decoder)?,
            token: decoder.varint()?,
            sequence: decoder.varint()?,
            parent: decoder.option(|decoder| Ok(SnapshotId::from_bytes(decoder.array()?)))?,
            parent_hash: decoder.option(Decoder::array)?,
            started: take_time(&mut decoder)?,
            finished: take_time(&mut decoder)?,
            containers: take_root(&mut decoder)?,
            items: take_root(&mut decoder)?,
            notes: take_root(&mut decoder)?,
            enumerations: decoder.list(ENUMERATION_MIN_BYTES, |decoder| {
                Ok(Enumeration {
                    feed: decoder.text()?,
                    generation: decoder.array()?,
                    items: take_root(decoder)?,
                    cursor: decoder.option(|decoder| Ok(Cursor::new(decoder.text()?)))?,
                })
            })?,
            cursors: decoder.list(2, |decoder| {
                Ok(FeedCursor {
                    feed: decoder.text()?,
                    cursor: Cursor::new(decoder.text()?),
                })
            })?,
            totals: take_totals(&mut decoder)?,
            routes: decoder.list(1, Decoder::text)?,
            journal_sequence: decoder.varint()?,
        };
        decoder.finish()?;
        Ok(snapshot)
    }
}

impl RunRecord {
    /// Encodes the record of a run.
    pub fn encode(&self) -> Vec<u8> {
        let version = match self.findings.is_none() {
            true => VERSION,
            false => VERSION_WITH_FINDINGS,
        };
        let mut encoder = begin(RUN, version);
        encoder.raw(self.run.as_bytes());
        encoder.text(&self.set);
        put_time(&mut encoder, self.started);
        put_time(&mut encoder, self.finished);
        encoder.byte(outcome_tag(self.outcome));
        put_totals(&mut encoder, &self.totals);
        encoder.list(&self.snapshots, |encoder, id| encoder.raw(id.as_bytes()));
        encoder.list(&self.unchanged, |encoder, id| encoder.text(id.as_str()));
        encoder.list(&self.failed, |encoder, (id, cause)| {
            encoder.text(id.as_str());
            encoder.text(cause);
        });
        encoder.option(self.drift.as_ref(), put_drift);
        if version == VERSION_WITH_FINDINGS {
            put_findings(&mut encoder, &self.findings);
        }
        encoder.finish()
    }

    /// Decodes the record of a run.
    ///
    /// *Errors*: `Damaged` for anything that [`encode`](Self::encode) does not make.
    pub fn decode(record: &[u8]) -> Result<Self> {
        let mut decoder = Decoder::new("run record", record);
        let version = expect_one_of(&mut decoder, RUN, &[VERSION, VERSION_WITH_FINDINGS])?;
        let run = Self {
            run: RunId::from_bytes(decoder.array()?),
            set: decoder.text()?,
            started: take_time(&mut decoder)?,
            finished: take_time(&mut decoder)?,
            outcome: take_outcome(&mut decoder)?,
            totals: take_totals(&mut decoder)?,
            snapshots: decoder.list(16, |decoder| Ok(SnapshotId::from_bytes(decoder.array()?)))?,
            unchanged: decoder.list(1, |decoder| Ok(ResourceId::new(decoder.text()?)))?,
            failed: decoder.list(2, |decoder| {
                Ok((ResourceId::new(decoder.text()?), decoder.text()?))
            })?,
            drift: decoder.option(take_drift)?,
            findings: match version {
                VERSION_WITH_FINDINGS => take_findings(&mut decoder)?,
                _ => Findings::default(),
            },
        };
        if version == VERSION_WITH_FINDINGS && run.findings.is_none() {
            return Err(decoder.malformed("has findings that find nothing"));
        }
        decoder.finish()?;
        Ok(run)
    }
}

fn put_resource(encoder: &mut Encoder, resource: &Resource) {
    encoder.text(resource.id.as_str());
    encoder.text(resource.service.as_str());
    encoder.text(resource.kind.as_str());
    encoder.text(&resource.owner);
    encoder.text(&resource.owner_id);
    encoder.text(&resource.service_id);
    encoder.text(&resource.name);
}

fn take_resource(decoder: &mut Decoder<'_>) -> Result<Resource> {
    Ok(Resource {
        id: ResourceId::new(decoder.text()?),
        service: decoder.text()?.as_str().into(),
        kind: decoder.text()?.as_str().into(),
        owner: decoder.text()?,
        owner_id: decoder.text()?,
        service_id: decoder.text()?,
        name: decoder.text()?,
    })
}

fn outcome_tag(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Complete => 0,
        Outcome::CompleteWithQuarantine => 1,
        Outcome::Partial => 2,
        Outcome::Checkpoint => 3,
    }
}

fn take_outcome(decoder: &mut Decoder<'_>) -> Result<Outcome> {
    match decoder.byte()? {
        0 => Ok(Outcome::Complete),
        1 => Ok(Outcome::CompleteWithQuarantine),
        2 => Ok(Outcome::Partial),
        3 => Ok(Outcome::Checkpoint),
        _ => Err(decoder.malformed("has an unknown outcome")),
    }
}

fn put_totals(encoder: &mut Encoder, totals: &Totals) {
    let Totals {
        seen,
        stored,
        unchanged,
        assumed,
        skipped,
        quarantined,
        removed,
        moved,
        bytes,
    } = *totals;
    let counts = [
        seen,
        stored,
        unchanged,
        assumed,
        skipped,
        quarantined,
        removed,
        moved,
        bytes,
    ];
    for count in counts {
        encoder.varint(count);
    }
}

fn take_totals(decoder: &mut Decoder<'_>) -> Result<Totals> {
    Ok(Totals {
        seen: decoder.varint()?,
        stored: decoder.varint()?,
        unchanged: decoder.varint()?,
        assumed: decoder.varint()?,
        skipped: decoder.varint()?,
        quarantined: decoder.varint()?,
        removed: decoder.varint()?,
        moved: decoder.varint()?,
        bytes: decoder.varint()?,
    })
}

fn put_drift(encoder: &mut Encoder, drift: &Drift) {
    let Drift {
        listed,
        missing,
        stale,
        surplus,
        surplus_bytes,
        containers,
        proved,
        disproved,
        repaired,
    } = *drift;
    let counts = [
        listed,
        missing,
        stale,
        surplus,
        surplus_bytes,
        containers,
        proved,
        disproved,
    ];
    for count in counts {
        encoder.varint(count);
    }
    encoder.flag(repaired);
}

fn take_drift(decoder: &mut Decoder<'_>) -> Result<Drift> {
    Ok(Drift {
        listed: decoder.varint()?,
        missing: decoder.varint()?,
        stale: decoder.varint()?,
        surplus: decoder.varint()?,
        surplus_bytes: decoder.varint()?,
        containers: decoder.varint()?,
        proved: decoder.varint()?,
        disproved: decoder.varint()?,
        repaired: decoder.flag()?,
    })
}

fn put_findings(encoder: &mut Encoder, findings: &Findings) {
    encoder.flag(findings.part);
    encoder.list(&findings.gaps, |encoder, gap| {
        encoder.text(gap.service.as_str());
        encoder.text(&gap.owner);
        encoder.text(&gap.reason);
    });
    encoder.list(&findings.alarms, |encoder, alarm| {
        encoder.text(alarm.resource.as_str());
        for count in [alarm.items, alarm.rewritten, alarm.removed] {
            encoder.varint(count);
        }
    });
}

fn take_findings(decoder: &mut Decoder<'_>) -> Result<Findings> {
    Ok(Findings {
        part: decoder.flag()?,
        gaps: decoder.list(3, |decoder| {
            Ok(Gap {
                service: decoder.text()?.as_str().into(),
                owner: decoder.text()?,
                reason: decoder.text()?,
            })
        })?,
        alarms: decoder.list(4, |decoder| {
            Ok(Alarm {
                resource: ResourceId::new(decoder.text()?),
                items: decoder.varint()?,
                rewritten: decoder.varint()?,
                removed: decoder.varint()?,
            })
        })?,
    })
}
