//! Folders of a generated mailbox: nested, hidden, oddly named.

use fastrand::Rng;

use super::text;
use crate::tenant::mailbox::{Mailbox, ROOT};

/// Adds folders of the user's own; returns all that may hold mail, the inbox first.
pub(super) fn add(mailbox: &mut Mailbox, rng: &mut Rng) -> Vec<u32> {
    let well_known = |name: &str| mailbox.folder_key(name);
    let mut places: Vec<u32> = ["inbox", "sentitems", "archive", "deleteditems", "junkemail"]
        .into_iter()
        .filter_map(well_known)
        .collect();
    let inbox = places.first().copied().unwrap_or(ROOT);
    let projects = mailbox.add_folder(ROOT, "Projects", false, None);
    places.push(projects);
    for _ in 0..(1 + rng.usize(..4)) {
        let words = 1 + rng.usize(..3);
        let name = text::title(rng, words);
        let parent = places[rng.usize(..places.len())];
        push(mailbox, parent, &name, &mut places);
    }
    // Names that trip programs: slashes, emoji, blanks, length, a namesake of a well-known folder.
    let odd = [
        (inbox, "R&D / 2026 \\ Q1".to_string()),
        (inbox, "🗂️ Ablage – größer".to_string()),
        (projects, text::title(rng, 30).chars().take(200).collect()),
        (projects, "Inbox".to_string()),
        (inbox, "CON".to_string()),
        (projects, "..".to_string()),
        (inbox, "'; drop % table_*?".to_string()),
    ];
    let count = 1 + rng.usize(..odd.len());
    let first = rng.usize(..odd.len());
    for (parent, name) in odd.iter().cycle().skip(first).take(count) {
        push(mailbox, *parent, name, &mut places);
    }
    let mut deep = projects;
    for level in 1..=(2 + rng.usize(..3)) {
        deep = mailbox.add_folder(deep, &format!("Level {level}"), false, None);
        places.push(deep);
    }
    let hidden = mailbox.add_folder(ROOT, "Quick Step Settings", true, None);
    places.push(hidden);
    mailbox.add_folder(inbox, "Empty", false, None);
    places
}

fn push(mailbox: &mut Mailbox, parent: u32, name: &str, places: &mut Vec<u32>) {
    if mailbox.child_named(parent, name).is_none() {
        places.push(mailbox.add_folder(parent, name, false, None));
    }
}
