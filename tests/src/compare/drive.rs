//! Drives compared: names, places, bytes, dates.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Comparison;
use crate::tenant::Tenant;
use crate::tenant::drive::{Content, FileTimes};

/// One item as a comparison sees it.
struct Seen {
    content: Option<Arc<Content>>,
    times: FileTimes,
}

/// Compares the drive of `source` with the drive of `destination`, both named by id or principal name.
///
/// Everything of the source must be in the destination: under the same path with the same letter
/// case, with the same bytes and the same dates. With `prefix`, a path such as `Restored/2026`, it
/// is looked for below that folder, and nothing else may be there.
///
/// A user or drive that is not there is a mismatch.
pub fn drive(tenant: &Tenant, source: &str, destination: &str, prefix: Option<&str>) -> Comparison {
    let mut found = Comparison::default();
    let prefix = prefix
        .map(|prefix| prefix.trim_matches('/'))
        .filter(|text| !text.is_empty());
    let (Some(wanted), Some(there)) = (
        listing(tenant, source, None),
        listing(tenant, destination, prefix),
    ) else {
        found
            .mismatches
            .push(format!("drive of {source} or {destination}: there is none"));
        return found;
    };
    for (path, wanted) in &wanted {
        found.compared += 1;
        match there.get(path) {
            None => found
                .mismatches
                .push(format!("{path}: missing in the destination")),
            Some(there) => compare(path, wanted, there, &mut found.mismatches),
        }
    }
    if prefix.is_some() {
        let known: BTreeSet<&String> = wanted.keys().collect();
        for path in there.keys().filter(|path| !known.contains(path)) {
            found.mismatches.push(format!("{path}: not in the source"));
        }
    }
    found
}

/// Lists a drive, or a folder of it, by path; the folder itself is left out.
fn listing(tenant: &Tenant, user: &str, below: Option<&str>) -> Option<BTreeMap<String, Seen>> {
    let start = below.map_or_else(String::new, |below| format!("/{below}"));
    tenant.with_drive(user, |drive| {
        drive
            .walk()
            .into_iter()
            .filter_map(|item| {
                let path = drive.path(item.id());
                let rest = path.strip_prefix(&start)?;
                let seen = Seen {
                    content: item.content().cloned(),
                    times: item.times(),
                };
                rest.starts_with('/').then(|| (rest.to_owned(), seen))
            })
            .collect()
    })
}

fn compare(path: &str, wanted: &Seen, there: &Seen, mismatches: &mut Vec<String>) {
    if wanted.times.created != there.times.created {
        mismatches.push(format!("{path}: the date of creation differs"));
    }
    if wanted.times.modified != there.times.modified {
        mismatches.push(format!("{path}: the date of modification differs"));
    }
    match (&wanted.content, &there.content) {
        (None, None) => {}
        (Some(wanted), Some(there)) => {
            if let Some(difference) = differ(wanted, there) {
                mismatches.push(format!("{path}: {difference}"));
            }
        }
        _ => mismatches.push(format!("{path}: one is a folder, the other a file")),
    }
}

/// Says how two contents differ, reading both block by block.
fn differ(wanted: &Arc<Content>, there: &Arc<Content>) -> Option<String> {
    let (length, other) = (wanted.length(), there.length());
    if length != other {
        return Some(format!("{length} bytes became {other}"));
    }
    let blocks = wanted.blocks(0..length).zip(there.blocks(0..length));
    for (number, (wanted, there)) in blocks.enumerate() {
        match (wanted, there) {
            (Ok(wanted), Ok(there)) if wanted == there => {}
            (Ok(_), Ok(_)) => return Some(format!("the bytes differ in block {number}")),
            (Err(cause), _) | (_, Err(cause)) => return Some(format!("cannot be read: {cause}")),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenant::drive::{NameConflict, Texture};
    use crate::tenant::{MailboxKind, UserState};

    fn two_users() -> Tenant {
        let tenant = Tenant::empty(1);
        for name in ["a", "b"] {
            tenant.lock().users.push(UserState {
                id: name.to_owned(),
                principal_name: format!("{name}@contoso.example"),
                display_name: name.to_owned(),
                kind: MailboxKind::User,
                mailbox: None,
                drive: None,
            });
            tenant.give_drive(name).unwrap();
        }
        tenant
    }

    fn put(tenant: &Tenant, user: &str, path: &str, content: Content, times: FileTimes) {
        tenant
            .with_drive(user, |drive| {
                let mut at = drive.root().to_owned();
                let mut names: Vec<&str> = path.split('/').collect();
                let name = names.pop().unwrap();
                for folder in names {
                    at = match drive.child(&at, folder).map(|item| item.id().to_owned()) {
                        Some(id) => id,
                        None => drive
                            .add_folder(&at, folder, NameConflict::Fail, times)
                            .unwrap(),
                    };
                }
                drive
                    .put_file(&at, name, content.into(), NameConflict::Replace, times)
                    .unwrap();
            })
            .unwrap();
    }

    #[test]
    fn equal_drives_compare_equal_and_each_difference_is_named() {
        let tenant = two_users();
        let times = FileTimes::both(1_700_000_000_000);
        let content = || Content::generated(5, Texture::Noise, 200_000);
        put(&tenant, "a", "x/y/f.bin", content(), times);
        put(&tenant, "b", "in/x/y/f.bin", content(), times);
        let found = drive(&tenant, "a", "b", Some("in"));
        assert!(found.holds() && found.compared == 3, "{found:?}");
        assert!(
            !drive(&tenant, "a", "b", None).holds(),
            "it is not at the same place"
        );
        assert!(!drive(&tenant, "a", "nobody", None).holds());

        let patch = Content::generated(6, Texture::Noise, 1);
        put(
            &tenant,
            "b",
            "in/x/y/f.bin",
            content().overwritten(150_000, &patch),
            times,
        );
        let found = drive(&tenant, "a", "b", Some("in")).mismatches;
        assert_eq!(found, ["/x/y/f.bin: the bytes differ in block 2"]);
        let later = FileTimes {
            modified: times.modified + 1000,
            ..times
        };
        put(&tenant, "b", "in/x/y/f.bin", content(), later);
        let found = drive(&tenant, "a", "b", Some("in")).mismatches;
        assert_eq!(found, ["/x/y/f.bin: the date of modification differs"]);
        put(&tenant, "b", "in/more", content(), times);
        let found = drive(&tenant, "a", "b", Some("in")).mismatches;
        assert!(
            found.contains(&"/more: not in the source".to_owned()),
            "{found:?}"
        );
    }
}
