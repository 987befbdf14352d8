//! Files: fills drives by seed, and changes them by seed.
//!
//! Sizes are mostly small with a few large ones; names are sometimes odd; some files are empty;
//! some are copies of documents that other people have, or that mails carry as attachments.

mod change;
mod disk;

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::tenant::drive::{Content, Drive, FileTimes, NameConflict, Refusal, Texture, mix};
use crate::tenant::{EPOCH, State};

pub(crate) use change::change_drive;
use disk::{files_below, put_file_on_disk};

/// Mean size that the spread of sizes is made for, in bytes.
const MEAN: u64 = 275_000;

/// How many documents a tenant has that mails attach and drives hold; see [`document`].
pub(crate) const DOCUMENTS: u64 = 400;

/// A folder path and what is odd about it decide where files go.
const FOLDERS: &[&[&str]] = &[
    &[],
    &["Documents"],
    &["Documents", "2025"],
    &["Documents", "2025", "Q4 (final)"],
    &["Documents", "Contracts & Invoices"],
    &["Pictures"],
    &["Pictures", "Team offsite – Kraków 2024"],
    &["Projects", "Apollo", "Specs", "v2", "old", "really old"],
    &["Projects", "東京オフィス"],
    &["#1 priority 100%"],
    &["it's 'quoted' + plus=equals; semicolon"],
    &["Empty folder 🚀"],
];

/// One document that several drives and mails may hold.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub(crate) name: String,
    pub(crate) content: Arc<Content>,
}

/// Returns document `number` of the tenant `seed`: what a mail attaches and a drive may hold too.
///
/// Equal arguments give equal bytes; sizes lie between 2 and 400 KB.
pub(crate) fn document(seed: u64, number: u64) -> Document {
    let mut random = fastrand::Rng::with_seed(mix(seed ^ mix(number ^ 0x0d0c)));
    let texture = if random.bool() {
        Texture::Text
    } else {
        Texture::Noise
    };
    let length = spread(&mut random, 2_000, 400_000);
    let extension = extension(&mut random, texture);
    Document {
        name: format!("{} {number}.{extension}", word(&mut random)),
        content: Arc::new(Content::generated(random.u64(..), texture, length)),
    }
}

/// Says how much to put into the drives of a tenant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FilesSpec {
    pub(crate) seed: u64,
    /// How many files each drive gets.
    pub(crate) files_per_drive: u64,
    /// How many bytes each file has on average; `None` leaves the natural spread.
    pub(crate) mean_bytes: Option<u64>,
    /// How many shared documents the tenant has.
    pub(crate) documents: u64,
    /// Newest date that an item gets, in seconds since 1970.
    pub(crate) now: i64,
}

/// Gives everyone who has a drive `files_per_drive` files, or those found in a folder of this
/// machine, dealt out in turn; returns how many files there are.
///
/// *Errors*: those of the disk; of kind `Other` when a drive refuses an item.
pub(crate) fn fill_drives(
    state: &mut State,
    files_per_drive: u64,
    mean_bytes: Option<u64>,
    folder: Option<&Path>,
) -> io::Result<u64> {
    let spec = FilesSpec {
        seed: state.seed,
        files_per_drive,
        mean_bytes,
        documents: DOCUMENTS,
        now: EPOCH,
    };
    let mut drives: Vec<&mut Drive> = state
        .users
        .iter_mut()
        .filter_map(|user| user.drive.as_mut())
        .collect();
    let count = drives.len() as u64;
    let Some(folder) = folder else {
        for (index, drive) in (0..).zip(drives) {
            fill_drive(drive, &spec, index).map_err(|refusal| {
                io::Error::other(format!("drive {index} could not be filled: {refusal}"))
            })?;
        }
        return Ok(count * files_per_drive);
    };
    let files = files_below(folder)?;
    for (index, file) in files.iter().enumerate() {
        if let Some(drive) = drives.get_mut(index % usize::try_from(count.max(1)).unwrap_or(1)) {
            put_file_on_disk(drive, file)?;
        }
    }
    Ok(files.len() as u64)
}

/// Fills drive number `index` of the tenant.
///
/// *Errors*: [`Refusal`], when the drive already holds things of these names.
pub(crate) fn fill_drive(drive: &mut Drive, spec: &FilesSpec, index: u64) -> Result<(), Refusal> {
    let mut random = fastrand::Rng::with_seed(mix(spec.seed ^ mix(index ^ 0xf11e)));
    let places = make_folders(drive, spec, &mut random)?;
    for number in 0..spec.files_per_drive {
        let (name, content) = file(spec, index, number, &mut random);
        // The last folder stays empty.
        let place = &places[random.usize(..places.len() - 1)];
        let name = odd(&mut random, name, number);
        let times = times(spec, &mut random);
        drive.put_file(place, &name, content, NameConflict::Rename, times)?;
    }
    Ok(())
}

fn make_folders(
    drive: &mut Drive,
    spec: &FilesSpec,
    random: &mut fastrand::Rng,
) -> Result<Vec<String>, Refusal> {
    let mut places = Vec::new();
    for path in FOLDERS {
        let mut at = drive.root().to_owned();
        for name in *path {
            at = match drive.child(&at, name).map(|folder| folder.id().to_owned()) {
                Some(id) => id,
                None => drive.add_folder(&at, name, NameConflict::Fail, times(spec, random))?,
            };
        }
        places.push(at);
    }
    Ok(places)
}

fn file(
    spec: &FilesSpec,
    index: u64,
    number: u64,
    random: &mut fastrand::Rng,
) -> (String, Arc<Content>) {
    let texture = if random.u8(..) < 150 {
        Texture::Text
    } else {
        Texture::Noise
    };
    let extension = extension(random, texture);
    let name = format!("{} {number}.{extension}", word(random));
    let seed = random.u64(..);
    let content = match random.u8(..100) {
        0..3 => Arc::new(Content::from_bytes("")),
        // A copy of what somebody mailed, and of what others keep in their drives.
        3..12 if spec.documents > 0 => {
            let document = document(spec.seed, random.u64(..spec.documents));
            return (document.name, document.content);
        }
        12..16 => Arc::new(Content::generated(
            mix(spec.seed ^ (number % 5)),
            Texture::Noise,
            scaled(spec, 150_000 + number % 5 * 40_000),
        )),
        _ => {
            let length = match (index * 31 + number * 7 + spec.seed) % 160 {
                0 => random.u64(5_000_000..30_000_000),
                rest if rest % 7 == 0 => spread(random, 300_000, 1_500_000),
                rest if rest % 3 == 0 => spread(random, 32_000, 300_000),
                _ => spread(random, 300, 32_000),
            };
            Arc::new(Content::generated(seed, texture, scaled(spec, length)))
        }
    };
    (name, content)
}

fn scaled(spec: &FilesSpec, length: u64) -> u64 {
    match spec.mean_bytes {
        None => length,
        Some(mean) => u64::try_from(u128::from(length) * u128::from(mean) / u128::from(MEAN))
            .unwrap_or(u64::MAX)
            .max(1),
    }
}

/// Picks a length between `from` and `to`, small ones more often.
fn spread(random: &mut fastrand::Rng, from: u64, to: u64) -> u64 {
    let part = random.f64();
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "any length in the range will do"
    )]
    let extra = (part * part * (to - from) as f64) as u64;
    from + extra
}

fn times(spec: &FilesSpec, random: &mut fastrand::Rng) -> FileTimes {
    let created = spec.now - random.i64(86_400..4 * 365 * 86_400);
    let modified = created + random.i64(0..86_400);
    FileTimes {
        created: created * 1000,
        modified: modified * 1000,
    }
}

fn word(random: &mut fastrand::Rng) -> &'static str {
    const WORDS: &[&str] = &[
        "Budget",
        "Offer",
        "Minutes",
        "Plan",
        "Résumé",
        "Scan",
        "Photo",
        "Backup",
        "Übersicht",
        "Draft",
        "Analysis",
        "Invoice",
        "Roadmap",
        "Slides",
        "Contract",
        "Export",
        "Notes",
    ];
    WORDS[random.usize(..WORDS.len())]
}

fn extension(random: &mut fastrand::Rng, texture: Texture) -> &'static str {
    let of: &[&str] = match texture {
        Texture::Text => &["txt", "csv", "html", "md", "json", "log"],
        Texture::Noise => &["docx", "pdf", "jpg", "png", "zip", "mp4"],
    };
    of[random.usize(..of.len())]
}

/// Makes some names hard on those who build URLs, paths and tables from them.
fn odd(random: &mut fastrand::Rng, name: String, number: u64) -> String {
    match random.u8(..64) {
        0 => format!("#{name}"),
        1 => format!("50% off & more + {name}"),
        2 => format!("日本語 {name}"),
        3 => format!(".hidden {number}"),
        4 => format!("no extension {number}"),
        5 => format!("{} {name}", "long ".repeat(30)),
        6 => format!("e\u{301}-{number} 👩‍👩‍👧 {name}"),
        7 => format!("[x] {{y}} ~z `{number}` ^ {name}"),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(seed: u64, drives: u64) -> Vec<Drive> {
        let spec = FilesSpec {
            seed,
            files_per_drive: 80,
            mean_bytes: None,
            documents: 100,
            now: 1_793_491_200,
        };
        (0..drives)
            .map(|index| {
                let mut drive = Drive::new("u", mix(index), 0);
                fill_drive(&mut drive, &spec, index).unwrap();
                drive
            })
            .collect()
    }

    #[test]
    fn twenty_five_drives_hold_about_550_megabytes_in_2000_files() {
        let drives = filled(1, 25);
        let files: usize = drives
            .iter()
            .map(|drive| drive.walk().iter().filter(|item| !item.is_folder()).count())
            .sum();
        assert_eq!(files, 2000);
        let bytes: u64 = drives.iter().map(|drive| drive.size(drive.root())).sum();
        assert!((450_000_000..650_000_000).contains(&bytes), "{bytes} bytes");
        let large = drives
            .iter()
            .flat_map(Drive::walk)
            .filter_map(|item| item.content().cloned())
            .filter(|content| content.length() >= 5_000_000)
            .count();
        assert!((5..30).contains(&large), "{large} large files");
    }

    #[test]
    fn the_seed_decides_everything() {
        let describe = |drives: &[Drive]| -> Vec<(String, u64, FileTimes)> {
            drives
                .iter()
                .flat_map(|drive| {
                    drive
                        .walk()
                        .into_iter()
                        .map(|item| (drive.path(item.id()), drive.size(item.id()), item.times()))
                })
                .collect()
        };
        assert_eq!(describe(&filled(7, 2)), describe(&filled(7, 2)));
        assert_ne!(describe(&filled(7, 2)), describe(&filled(8, 2)));
    }

    #[test]
    fn drives_hold_documents_of_mails_and_of_each_other() {
        let hashes = |drive: &Drive| -> Vec<[u8; 20]> {
            drive
                .walk()
                .iter()
                .filter_map(|item| item.content().filter(|content| content.length() > 0))
                .filter(|content| content.length() <= 400_000)
                .map(|content| content.quick_xor_hash().unwrap())
                .collect()
        };
        let drives = filled(3, 2);
        let (a, b) = (hashes(&drives[0]), hashes(&drives[1]));
        assert!(
            a.iter().any(|hash| b.contains(hash)),
            "no file is in both drives"
        );
        let mailed: Vec<_> = (0..100)
            .map(|number| document(3, number).content.quick_xor_hash().unwrap())
            .collect();
        assert!(
            a.iter().any(|hash| mailed.contains(hash)),
            "no document of a mail"
        );
    }
}
