//! The change script of drives: what people do to their files between two backups.

use std::sync::Arc;

use crate::tenant::drive::{Content, Drive, FileTimes, Item, NameConflict, Refusal, Texture};

/// Counts what a script did to a drive; an item that is deleted or moved is changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct DriveChanges {
    pub(crate) new: u64,
    pub(crate) edited: u64,
    pub(crate) moved: u64,
    pub(crate) deleted: u64,
}

impl DriveChanges {
    /// Returns how many items changed.
    pub(crate) fn total(self) -> u64 {
        self.new + self.edited + self.moved + self.deleted
    }
}

/// Changes about `amount` items of a drive, at most each item once; `now` in seconds since 1970.
///
/// New files and folders, edits (a part overwritten, a part appended), renames, moves and
/// deletions of files, the deletion of a folder and the rename of a folder.
///
/// *Errors*: [`Refusal`]; none is expected.
pub(crate) fn change_drive(
    drive: &mut Drive,
    random: &mut fastrand::Rng,
    amount: u64,
    now: i64,
) -> Result<DriveChanges, Refusal> {
    let mut changes = DriveChanges::default();
    let mut files = ids(drive, |item| !item.is_folder());
    random.shuffle(&mut files);
    let root = drive.root().to_owned();
    let mut folders = ids(drive, |item| item.is_folder() && item.id() != root);
    let renamed = (amount >= 5 && !folders.is_empty())
        .then(|| folders.swap_remove(random.usize(..folders.len())));
    folders.push(root);
    if let Some(folder) = renamed {
        let name = format!("Renamed {}", random.u32(..));
        drive.relocate(&folder, None, Some(&name))?;
        changes.moved += 1;
    }
    while changes.total() < amount {
        let place = folders[random.usize(..folders.len())].clone();
        let times = FileTimes::both((now - random.i64(0..3600)) * 1000);
        let number = random.u32(..);
        let kind = random.u8(..10);
        if kind < 3 || files.is_empty() {
            changes.new += add(drive, random, &place, times, number)?;
            continue;
        }
        let Some(file) = files.pop() else { continue };
        match kind {
            3..7 => {
                edit(drive, random, &file, times)?;
                changes.edited += 1;
            }
            7 => {
                let name = format!("Renamed {number}.bin");
                drive.relocate(&file, None, Some(&name))?;
                changes.moved += 1;
            }
            8 => {
                let name = format!("Moved {number}.bin");
                drive.relocate(&file, Some(&place), Some(&name))?;
                changes.moved += 1;
            }
            _ => changes.deleted += drive.delete(&file)?,
        }
    }
    Ok(changes)
}

fn ids(drive: &Drive, wanted: impl Fn(&Item) -> bool) -> Vec<String> {
    drive
        .walk()
        .into_iter()
        .filter(|item| wanted(item))
        .map(|item| item.id().to_owned())
        .collect()
}

fn add(
    drive: &mut Drive,
    random: &mut fastrand::Rng,
    place: &str,
    times: FileTimes,
    number: u32,
) -> Result<u64, Refusal> {
    let texture = if random.bool() {
        Texture::Text
    } else {
        Texture::Noise
    };
    let content = Content::generated(random.u64(..), texture, random.u64(0..60_000));
    let mut added = 1;
    let mut place = place.to_owned();
    if random.u8(..5) == 0 {
        let name = format!("New folder {number}");
        place = drive.add_folder(&place, &name, NameConflict::Fail, times)?;
        added += 1;
    }
    let name = format!("New {number}.bin");
    drive.put_file(&place, &name, Arc::new(content), NameConflict::Fail, times)?;
    Ok(added)
}

fn edit(
    drive: &mut Drive,
    random: &mut fastrand::Rng,
    file: &str,
    times: FileTimes,
) -> Result<(), Refusal> {
    let item = drive.item(file).ok_or(Refusal::NotFound)?;
    let old = item.content().cloned().ok_or(Refusal::NotFound)?;
    let times = FileTimes {
        created: item.times().created,
        ..times
    };
    let patch = Content::generated(random.u64(..), Texture::Text, random.u64(1..8_000));
    let offset = if random.bool() {
        old.length()
    } else {
        random.u64(..=old.length())
    };
    drive.set_content(file, Arc::new(old.overwritten(offset, &patch)), times)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{FilesSpec, fill_drive};
    use super::*;
    use crate::tenant::drive::DeltaChange;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn the_counts_equal_what_a_delta_tells(seed in any::<u64>(), amount in 1u64..60) {
            let mut drive = Drive::new("u", seed, 0);
            let spec = FilesSpec {
                seed,
                files_per_drive: 40,
                mean_bytes: Some(10_000),
                documents: 10,
                now: 1_793_491_200,
            };
            fill_drive(&mut drive, &spec, 0).unwrap();
            let before = drive.delta_latest();
            let mut random = fastrand::Rng::with_seed(seed);
            let changes = change_drive(&mut drive, &mut random, amount, spec.now).unwrap();
            prop_assert!(changes.total() >= amount && changes.total() <= amount + 1);
            let page = drive.delta(&before, usize::MAX, false);
            let told: BTreeSet<String> = page
                .changes
                .iter()
                .map(|change| match change {
                    DeltaChange::Present(item) | DeltaChange::Deleted(item) => item.id().to_owned(),
                })
                .collect();
            prop_assert_eq!(told.len() as u64, changes.total());
        }
    }
}
