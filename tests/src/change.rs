//! Change: a seeded script of what people do to a tenant between two backups.

use std::collections::HashSet;
use std::sync::Arc;

use fastrand::Rng;

use crate::generate::files::change_drive;
use crate::generate::letter::Cast;
use crate::generate::mail::{CATEGORIES, letter};
use crate::generate::text;
use crate::tenant::mailbox::{Mailbox, ROOT};
use crate::tenant::message::{Content, Flag};
use crate::tenant::{EPOCH, State, Tenant};

/// How much is to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeSpec {
    /// Decides what changes.
    pub seed: u64,
    /// About how many items change, mail and files together.
    pub amount: u64,
}

impl Default for ChangeSpec {
    /// 500 items.
    fn default() -> Self {
        Self {
            seed: 1,
            amount: 500,
        }
    }
}

/// Counts what a script did; each item is counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChangeSummary {
    /// All of the following together.
    pub changed_items: u64,
    /// Items that were not there before.
    pub new: u64,
    /// Items whose content or properties changed.
    pub edited: u64,
    /// Items that lie elsewhere, or are named differently.
    pub moved: u64,
    /// Items that are no longer there.
    pub deleted: u64,
}

/// Of a hundred changes, those that concern mail where there are drives as well.
const MAIL_SHARE: u64 = 80;

impl Tenant {
    /// Changes about `spec.amount` items: mail is written, edited, flagged, read, moved, deleted,
    /// folders are created, renamed, moved, deleted; files likewise.
    ///
    /// Scripts that follow each other need different seeds.
    pub fn change(&self, spec: &ChangeSpec) -> ChangeSummary {
        let mut rng = Rng::with_seed(spec.seed ^ 0x6368_616e_6765);
        let mut state = self.lock();
        let drives = state
            .users
            .iter()
            .filter(|user| user.drive.is_some())
            .count() as u64;
        let mail = if drives == 0 {
            spec.amount
        } else {
            spec.amount * MAIL_SHARE / 100
        };
        let mut summary = ChangeSummary::default();
        change_mail(&mut state, &mut rng, mail, &mut summary);
        change_drives(
            &mut state,
            &mut rng,
            spec.amount - mail,
            drives,
            &mut summary,
        );
        summary.changed_items = summary.new + summary.edited + summary.moved + summary.deleted;
        summary
    }
}

fn change_drives(
    state: &mut State,
    rng: &mut Rng,
    amount: u64,
    drives: u64,
    summary: &mut ChangeSummary,
) {
    if drives == 0 {
        return;
    }
    let now = state.tick();
    let mut left = amount;
    let each = amount.div_ceil(drives);
    for user in &mut state.users {
        let Some(drive) = user.drive.as_mut() else {
            continue;
        };
        let share = each.min(left);
        // A drive refuses nothing of the script; what it did before would be counted all the same.
        if let Ok(done) = change_drive(drive, rng, share, now) {
            summary.new += done.new;
            summary.edited += done.edited;
            summary.moved += done.moved;
            summary.deleted += done.deleted;
        }
        left -= share;
    }
}

fn change_mail(state: &mut State, rng: &mut Rng, amount: u64, summary: &mut ChangeSummary) {
    let cast = Arc::clone(&state.cast);
    let owners: Vec<usize> = (0..state.users.len())
        .filter(|place| state.users[*place].mailbox.is_some())
        .collect();
    if owners.is_empty() {
        return;
    }
    let mut touched = HashSet::new();
    let mut done = 0;
    // Every attempt does something or meets an item that changed already.
    for _ in 0..amount * 4 {
        if done >= amount {
            break;
        }
        let owner = owners[rng.usize(..owners.len())];
        let now = state.tick();
        let Some(mailbox) = state.users[owner].mailbox.as_mut() else {
            continue;
        };
        let mut script = Script {
            mailbox,
            rng,
            now,
            owner,
            touched: &mut touched,
            summary,
        };
        done += script.step(&cast);
    }
}

/// One mailbox in the hands of the script.
struct Script<'a> {
    mailbox: &'a mut Mailbox,
    rng: &'a mut Rng,
    now: i64,
    owner: usize,
    /// Messages that changed already: owner and serial number.
    touched: &'a mut HashSet<(usize, u32)>,
    summary: &'a mut ChangeSummary,
}

impl Script<'_> {
    /// Does one thing and returns how many items it changed.
    fn step(&mut self, cast: &Arc<Cast>) -> u64 {
        match self.rng.u8(..100) {
            0..35 => self.receive(cast),
            35..60 => self.edit(),
            60..78 => self.relocate(),
            78..94 => self.delete(),
            _ => self.folder(),
        }
    }

    fn receive(&mut self, cast: &Arc<Cast>) -> u64 {
        let folder = self.any_folder();
        let mut draft = letter(cast, self.owner, self.rng, EPOCH - self.now);
        draft.draft = self.rng.u8(..20) == 0;
        let folder = match self.mailbox.folder_key("drafts") {
            Some(drafts) if draft.draft => drafts,
            _ => folder,
        };
        let serial = self.mailbox.add_message(folder, draft);
        self.touched.insert((self.owner, serial));
        self.summary.new += 1;
        1
    }

    fn edit(&mut self) -> u64 {
        let Some(serial) = self.pick() else { return 0 };
        let kind = self.rng.u8(..5);
        let words = text::title(self.rng, 4);
        let category = CATEGORIES[self.rng.usize(..CATEGORIES.len())].to_string();
        let Some(message) = self.mailbox.messages.get_mut(&serial) else {
            return 0;
        };
        let generated = matches!(message.content, Content::Generated(_));
        match kind {
            0 if message.draft && generated => message.revision += 1,
            1 if generated => message.subject = Some(words),
            2 if !message.categories.contains(&category) => message.categories.push(category),
            3 => {
                message.flag = match message.flag {
                    Flag::NotFlagged => Flag::Flagged,
                    Flag::Flagged => Flag::Complete,
                    Flag::Complete => Flag::NotFlagged,
                }
            }
            _ => message.read = !message.read,
        }
        self.mailbox.touch(serial, self.now);
        self.summary.edited += 1;
        1
    }

    fn relocate(&mut self) -> u64 {
        let Some(serial) = self.pick() else { return 0 };
        let to = self.any_folder();
        let Some(message) = self
            .mailbox
            .messages
            .get(&serial)
            .filter(|own| own.folder != to)
        else {
            self.touched.remove(&(self.owner, serial));
            return 0;
        };
        let serial = message.serial;
        self.mailbox.move_message(serial, to, self.now);
        self.summary.moved += 1;
        1
    }

    fn delete(&mut self) -> u64 {
        let Some(serial) = self.pick() else { return 0 };
        self.mailbox.remove_message(serial);
        self.summary.deleted += 1;
        1
    }

    /// Creates, renames, moves or deletes a folder; what lies in a deleted one counts.
    fn folder(&mut self) -> u64 {
        let name = format!("{} {}", text::title(self.rng, 2), self.rng.u16(..));
        let own: Vec<u32> = self
            .mailbox
            .folders
            .values()
            .filter(|folder| folder.well_known.is_none())
            .map(|folder| folder.key)
            .collect();
        let parent = self.any_folder();
        if own.is_empty() || self.rng.u8(..3) == 0 {
            self.mailbox.add_folder(parent, &name, false, None);
            return 0;
        }
        let key = own[self.rng.usize(..own.len())];
        match self.rng.u8(..3) {
            0 if self.is_small(key) => {
                let gone = self.mailbox.remove_folder(key);
                self.summary.deleted += gone;
                gone
            }
            1 if !self.mailbox.is_below(parent, key) => {
                self.mailbox.change_folder(key, parent, &name);
                0
            }
            _ => {
                let above = self
                    .mailbox
                    .folders
                    .get(&key)
                    .map_or(ROOT, |own| own.parent);
                self.mailbox.change_folder(key, above, &name);
                0
            }
        }
    }

    /// Tells whether a folder holds few messages, none of them changed, and no folder.
    fn is_small(&self, key: u32) -> bool {
        let mut inside = self.mailbox.messages_in(key);
        let untouched = |message: &crate::tenant::message::Message| {
            !self.touched.contains(&(self.owner, message.serial))
        };
        self.mailbox.children(key).next().is_none()
            && inside.by_ref().take(21).all(untouched)
            && self.mailbox.messages_in(key).count() <= 20
    }

    fn any_folder(&mut self) -> u32 {
        let folders: Vec<u32> = self
            .mailbox
            .folders
            .values()
            .filter(|folder| folder.key != ROOT && !folder.hidden)
            .map(|folder| folder.key)
            .collect();
        folders[self.rng.usize(..folders.len())]
    }

    /// Picks a message that did not change yet, and remembers it.
    fn pick(&mut self) -> Option<u32> {
        let count = self.mailbox.messages.len();
        if count == 0 {
            return None;
        }
        let start = self.rng.u32(..u32::MAX);
        let last = *self.mailbox.messages.keys().next_back()?;
        let serial = self
            .mailbox
            .messages
            .range(start % (last + 1)..)
            .map(|(serial, _)| *serial)
            .find(|serial| !self.touched.contains(&(self.owner, *serial)))?;
        self.touched.insert((self.owner, serial));
        Some(serial)
    }
}
