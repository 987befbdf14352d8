//! People of a generated tenant: names, and who is a shared mailbox, a room, a projector.

use fastrand::Rng;

use super::TenantSpec;
use crate::tenant::{MailboxKind, State};

const FIRST: [&str; 26] = [
    "Alice", "Bob", "Chloé", "Dmitri", "Elif", "Farid", "Greta", "Hiro", "Ines", "Jürgen", "Kofi",
    "Lucía", "Mei", "Noor", "Oskar", "Priya", "Quinn", "Rosa", "Søren", "Tariq", "Uma", "Viktor",
    "Wanda", "Xenia", "Yusuf", "Zoë",
];

const LAST: [&str; 12] = [
    "Adler", "Brown", "Castro", "Dubois", "Eriksen", "Fischer", "Gupta", "Haddad", "Ivanova",
    "Jensen", "Kim", "López",
];

/// Adds the people; every tenth place is a shared mailbox, a room or equipment in turn.
pub(super) fn fill(state: &mut State, spec: &TenantSpec) {
    let mut rng = Rng::with_seed(spec.seed ^ 0x7065_6f70);
    let special = [
        MailboxKind::Shared,
        MailboxKind::Room,
        MailboxKind::Equipment,
    ];
    for place in 0..spec.users {
        let kind = match place % 8 {
            5 => special[place / 8 % special.len()],
            _ => MailboxKind::User,
        };
        let (name, local) = match kind {
            MailboxKind::Shared => (format!("Team Mailbox {place}"), format!("team{place}")),
            MailboxKind::Room => (format!("Room {place} — 4th floor"), format!("room{place}")),
            MailboxKind::Equipment => (format!("Projector {place}"), format!("projector{place}")),
            MailboxKind::User => {
                let first = FIRST[place % FIRST.len()];
                let last = LAST[rng.usize(..LAST.len())];
                let round = match place / FIRST.len() {
                    0 => String::new(),
                    round => round.to_string(),
                };
                (
                    format!("{first} {last}"),
                    format!("{}{round}", ascii(first)),
                )
            }
        };
        let principal_name = format!("{local}@contoso.example");
        state.add_user(&principal_name, &name, kind, place);
    }
}

fn ascii(name: &str) -> String {
    let plain = |letter: char| match letter {
        'é' | 'ë' => 'e',
        'ü' => 'u',
        'í' => 'i',
        'ø' => 'o',
        other => other.to_ascii_lowercase(),
    };
    name.chars().map(plain).collect()
}
