//! Delta of a drive: tokens that nobody outside can read or change, and pages.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::super::answer::{self, Outcome, Refusal};
use super::super::call::Call;
use super::super::directory::context;
use super::address::drive_of;
use super::{invalid, view};
use crate::tenant::drive::{DeltaChange, DeltaPosition, Drive};

/// Entries per page when nothing else is asked for, and at most.
const PAGE: usize = 200;
const PAGE_MAX: usize = 5000;

/// Everything that a token stands for.
#[derive(Debug, Clone)]
struct Reading {
    position: DeltaPosition,
    /// Tells whether the token came from a nextLink.
    continues: bool,
    top: usize,
    select: Option<Vec<String>>,
}

/// Answers one page; `token` comes from the path or the query.
pub(super) fn page(call: &Call, drive_id: &str, token: Option<&str>) -> Outcome {
    call.query.allow(&["select", "expand", "top"])?;
    let state = call.tenant.lock();
    let (user, drive) = drive_of(&state, drive_id)?;
    let fresh = |position| -> Result<Reading, Refusal> {
        Ok(Reading {
            position,
            continues: false,
            top: call.query.number("top")?.unwrap_or(PAGE).clamp(1, PAGE_MAX),
            select: call.query.select(),
        })
    };
    let mut reading = match token {
        None | Some("") => fresh(drive.delta_start())?,
        Some(word) if word.eq_ignore_ascii_case("latest") => fresh(drive.delta_latest())?,
        Some(token) => Reading::open(state.seed, drive, token)?,
    };
    if !drive.is_current(&reading.position) {
        return Err(resync(call, drive_id));
    }
    let parents = call.header("deltaexcludeparent").is_none();
    let select = reading.select.as_deref();
    let mut value: Vec<Value> = Vec::new();
    // The service repeats items now and then; a reader must not mind.
    if reading.continues
        && reading.position.read.is_multiple_of(3)
        && let Some(item) = drive.last_changed_at(reading.position.read)
    {
        value.push(view::changed(call, &state, user, drive, item, select)?);
    }
    let page = drive.delta(&reading.position, reading.top, parents);
    for change in &page.changes {
        value.push(match change {
            DeltaChange::Present(item) => view::changed(call, &state, user, drive, item, select)?,
            DeltaChange::Deleted(item) => view::deleted(drive, item),
        });
    }
    reading.position = page.next;
    reading.continues = page.more;
    let name = if page.more {
        "@odata.nextLink"
    } else {
        "@odata.deltaLink"
    };
    let mut body = json!({
        "@odata.context": context(call, "Collection(driveItem)"),
        "value": value,
    });
    let token = reading.seal(state.seed, drive);
    body[name] = json!(format!("{}?token={token}", link(call, drive_id)));
    Ok(answer::json(200, &body))
}

fn link(call: &Call, drive_id: &str) -> String {
    format!(
        "{}v1.0/drives/{drive_id}/root/delta",
        call.tenant.urls().graph
    )
}

/// Tells the reader to read everything again, and where.
fn resync(call: &Call, drive_id: &str) -> Refusal {
    Refusal::new(
        410,
        "resyncChangesApplyDifferences",
        "Resync required. Replace any local items with the server's version (including deletes).",
    )
    .with_header("location", link(call, drive_id))
}

impl Reading {
    fn seal(&self, seed: u64, drive: &Drive) -> String {
        let plain = json!([
            self.position.generation,
            self.position.read,
            self.position.deletions_from,
            self.continues,
            self.top,
            self.select,
        ])
        .to_string();
        let mut bytes = mac(seed, drive, plain.as_bytes()).to_vec();
        bytes.extend(masked(&bytes, plain.as_bytes()));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn open(seed: u64, drive: &Drive, token: &str) -> Result<Self, Refusal> {
        let refused = || invalid("The provided token is not valid for this drive.");
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| refused())?;
        let (tag, hidden) = bytes.split_first_chunk::<16>().ok_or_else(refused)?;
        let plain = masked(tag, hidden);
        if mac(seed, drive, &plain) != *tag {
            return Err(refused());
        }
        let (generation, read, deletions_from, continues, top, select) =
            serde_json::from_slice(&plain).map_err(|_| refused())?;
        Ok(Self {
            position: DeltaPosition {
                generation,
                read,
                deletions_from,
            },
            continues,
            top,
            select,
        })
    }
}

fn mac(seed: u64, drive: &Drive, plain: &[u8]) -> [u8; 16] {
    let mut hash = blake3::Hasher::new();
    hash.update(&seed.to_le_bytes());
    hash.update(drive.id().as_bytes());
    hash.update(plain);
    let mut tag = [0; 16];
    tag.copy_from_slice(&hash.finalize().as_bytes()[..16]);
    tag
}

/// Hides the fields of a token, so that no client can come to rely on them.
fn masked(tag: &[u8], text: &[u8]) -> Vec<u8> {
    let mut stream = blake3::Hasher::new().update(tag).finalize_xof();
    let mut mask = vec![0; text.len()];
    stream.fill(&mut mask);
    mask.iter().zip(text).map(|(a, b)| a ^ b).collect()
}
