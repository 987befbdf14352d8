//! Mail of a generated tenant: messages as seeds, in folders, with flags and categories.

pub(crate) mod import;

use std::io;
use std::sync::Arc;

use fastrand::Rng;

use super::letter::{Cast, DEPTH_MAX, GeneratedMail};
use super::{TenantSpec, folders};
use crate::tenant::mailbox::{Draft, Mailbox};
use crate::tenant::message::{Address, Content, Flag, Importance};
use crate::tenant::{EPOCH, State};

/// Bytes of a message on average without generated attachments, and what these add for each
/// percent of their usual size; measured.
const FIXED_BYTES: u64 = 12_400;
const PERCENT_BYTES: u64 = 182;

/// Of the logical bytes, how many of a hundred are mail.
pub(super) const MAIL_SHARE: u64 = 45;

/// Messages span this many seconds before the first moment of the tenant: three years.
const SPAN_SECONDS: i64 = 3 * 365 * 86_400;

pub(crate) const CATEGORIES: [&str; 5] = [
    "Red category",
    "Blue category",
    "Kunde – wichtig",
    "待处理",
    "Follow-up",
];

/// Fills all mailboxes.
pub(super) fn fill(state: &mut State, spec: &TenantSpec) -> io::Result<()> {
    let people: Vec<Address> = state
        .users
        .iter()
        .map(|user| Address::new(&user.display_name, &user.principal_name))
        .collect();
    let messages = (spec.users * spec.messages_per_user).max(1) as u64;
    let wanted = spec.logical_bytes / 100 * MAIL_SHARE / messages;
    let cast = Arc::new(Cast {
        seed: spec.seed,
        people,
        pool: (messages / 6).max(8),
        documents: spec.files_per_user > 0 && spec.files_dir.is_none(),
        scale: u32::try_from((wanted.saturating_sub(FIXED_BYTES) / PERCENT_BYTES).clamp(2, 2000))
            .unwrap_or(100),
    });
    state.cast = Arc::clone(&cast);
    let mut own = import::Files::open(spec.mail_dir.as_deref())?;
    let count = state.users.len();
    for place in 0..count {
        let mut rng =
            Rng::with_seed(spec.seed ^ (place as u64 + 1).wrapping_mul(0xa076_1d64_78bd_642f));
        let Some(mailbox) = state.users[place].mailbox.as_mut() else {
            continue;
        };
        let places = folders::add(mailbox, &mut rng);
        match &mut own {
            Some(files) => files.fill(mailbox, &places, place, count)?,
            None => {
                // Busy and quiet mailboxes, the average as asked for.
                let amount = spec.messages_per_user
                    * (60 + place * 80 / count.max(2).saturating_sub(1))
                    / 100;
                generate(mailbox, &places, &cast, place, amount, &mut rng);
            }
        }
    }
    Ok(())
}

fn generate(
    mailbox: &mut Mailbox,
    places: &[u32],
    cast: &Arc<Cast>,
    owner: usize,
    amount: usize,
    rng: &mut Rng,
) {
    let drafts = mailbox.folder_key("drafts");
    for number in 0..amount {
        // Half of all mail stays in the inbox and among what was sent.
        let folder = match rng.usize(..4) {
            0 => places[0],
            1 => places[rng.usize(..places.len().min(2))],
            _ => places[rng.usize(..places.len())],
        };
        let is_draft = rng.u8(..60) == 0;
        let folder = match drafts {
            Some(drafts) if is_draft => drafts,
            _ => folder,
        };
        let mut draft = letter(
            cast,
            owner,
            rng,
            SPAN_SECONDS - SPAN_SECONDS * number as i64 / amount as i64,
        );
        draft.draft = is_draft;
        mailbox.add_message(folder, draft);
    }
}

/// Makes one message that came about `age` seconds before the first moment of the tenant.
pub(crate) fn letter(cast: &Arc<Cast>, owner: usize, rng: &mut Rng, age: i64) -> Draft {
    let sent = EPOCH - age - rng.i64(0..3600);
    let thread = rng.u32(
        ..u32::try_from(cast.pool.saturating_mul(2))
            .unwrap_or(u32::MAX)
            .max(16),
    );
    let depth = rng.u8(..=DEPTH_MAX).saturating_sub(rng.u8(..3));
    let flag = match rng.u8(..20) {
        0 => Flag::Flagged,
        1 => Flag::Complete,
        _ => Flag::NotFlagged,
    };
    let importance = match rng.u8(..15) {
        0 => Importance::High,
        1 => Importance::Low,
        _ => Importance::Normal,
    };
    let categories = match rng.u8(..12) {
        0 => vec![CATEGORIES[rng.usize(..CATEGORIES.len())].to_string()],
        1 => CATEGORIES[..2].iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    };
    Draft {
        now: sent + 2,
        received: sent + 2,
        sent,
        draft: false,
        read: rng.u8(..5) > 0,
        flag,
        importance,
        categories,
        properties: Vec::new(),
        content: Content::Generated(GeneratedMail {
            cast: Arc::clone(cast),
            thread,
            depth,
            owner: u16::try_from(owner).unwrap_or(u16::MAX),
        }),
    }
}
