//! The fidelity contract as data: what comes back different, or not at all, and why.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Names one way in which what is restored differs from what was backed up.
///
/// `FIDELITY.md` has a row for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LossCode {
    /// The item could not be stored by the backup; it does not come back.
    Quarantined,
    /// The backup left the item out for a known reason; it does not come back.
    SkippedAtBackup,
    /// The snapshot holds no content that a restore could write; the item does not come back.
    NoContent,
    /// The snapshot holds the item but not its folder; the item does not come back.
    NoContainer,
    /// A search folder or another folder that the service computes; it is not written.
    ComputedFolder,
    /// The folder exists only as an ordinary folder at the destination.
    SpecialFolderAsOrdinary,
    /// Messages waiting in the outbox come back among the drafts, so that nothing is sent.
    OutboxToDrafts,
    /// The message gets a new id and change key; links to the old one lead nowhere.
    NewIdentity,
    /// Transport headers other than the first `X-` headers do not come back.
    TransportHeaders,
    /// The MIME form is made anew by the service; it is not the stored one byte for byte.
    MimeForm,
    /// A plain-text form beside the HTML body is made anew by the service.
    PlainAlternative,
    /// The message was signed or encrypted; the signature no longer covers what comes back.
    Signature,
    /// A message within the message comes back as an `.eml` file with the same bytes.
    EmbeddedMessageAsFile,
    /// A further body part comes back as an attachment.
    ExtraBodyPart,
    /// More `X-` headers than the service accepts; the rest do not come back.
    HeadersOverLimit,
    /// The message is larger than the service accepts.
    TooLarge,
    /// Earlier versions of the file do not come back.
    Versions,
    /// Sharing links and permissions do not come back.
    Permissions,
    /// Author and last editor become the app that restores.
    Authors,
}

impl LossCode {
    /// Returns the code as it is written in plans and reports, such as `no-content`.
    pub fn as_str(self) -> &'static str {
        self.words().0
    }

    /// Says in a few words what the code means.
    pub fn explain(self) -> &'static str {
        self.words().1
    }

    /// Tells whether the item does not come back at all.
    pub fn is_total(self) -> bool {
        matches!(
            self,
            Self::Quarantined | Self::SkippedAtBackup | Self::NoContent | Self::NoContainer
        )
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Quarantined => ("quarantined", "could not be stored by the backup"),
            Self::SkippedAtBackup => ("skipped-at-backup", "was left out by the backup"),
            Self::NoContent => ("no-content", "has no stored content that can be written"),
            Self::NoContainer => ("no-container", "its folder is not in the snapshot"),
            Self::ComputedFolder => ("computed-folder", "is computed by the service, not written"),
            Self::SpecialFolderAsOrdinary => (
                "special-folder-as-ordinary",
                "comes back as an ordinary folder",
            ),
            Self::OutboxToDrafts => ("outbox-to-drafts", "goes to the drafts, so nothing is sent"),
            Self::NewIdentity => ("new-identity", "gets a new id and change key"),
            Self::TransportHeaders => (
                "transport-headers",
                "keeps the first X- headers only, no other transport header",
            ),
            Self::MimeForm => ("mime-form", "gets a MIME form made anew by the service"),
            Self::PlainAlternative => (
                "plain-alternative",
                "gets its plain-text form made anew from the HTML body",
            ),
            Self::Signature => ("signature", "its signature no longer verifies"),
            Self::EmbeddedMessageAsFile => (
                "embedded-message-as-file",
                "a message within comes back as an .eml file",
            ),
            Self::ExtraBodyPart => (
                "extra-body-part",
                "a further body part comes back as an attachment",
            ),
            Self::HeadersOverLimit => (
                "headers-over-limit",
                "has more X- headers than the service accepts",
            ),
            Self::TooLarge => ("too-large", "is larger than the service accepts"),
            Self::Versions => ("versions", "comes back without earlier versions"),
            Self::Permissions => ("permissions", "comes back without sharing and permissions"),
            Self::Authors => ("authors", "its author and editor become the restoring app"),
        }
    }
}

impl fmt::Display for LossCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Counts the items and folders that one reason concerns, with a few of their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Loss {
    /// The reason.
    pub code: LossCode,
    /// How many items or folders it concerns.
    pub count: u64,
    /// The first few of them by name; at most [`Losses::EXAMPLES`].
    pub examples: Vec<String>,
}

/// Gathers losses, in memory bounded by the number of codes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Losses(BTreeMap<LossCode, (u64, Vec<String>)>);

impl Losses {
    /// How many names are kept for each reason.
    pub const EXAMPLES: usize = 3;

    /// Creates an empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts `name` under `code`.
    pub fn add(&mut self, code: LossCode, name: &str) {
        let (count, examples) = self.0.entry(code).or_default();
        *count += 1;
        if examples.len() < Self::EXAMPLES {
            examples.push(name.to_owned());
        }
    }

    /// Counts `count` unnamed items under `code`; nothing when `count` is zero.
    pub fn add_many(&mut self, code: LossCode, count: u64) {
        if count > 0 {
            self.0.entry(code).or_default().0 += count;
        }
    }

    /// Returns how many items do not come back at all.
    pub fn total_losses(&self) -> u64 {
        let total = self.0.iter().filter(|(code, _)| code.is_total());
        total.map(|(_, (count, _))| count).sum()
    }

    /// Returns the losses in the order of their codes.
    pub fn into_vec(self) -> Vec<Loss> {
        let losses = self.0.into_iter();
        losses
            .map(|(code, (count, examples))| Loss {
                code,
                count,
                examples,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{LossCode, Losses};

    #[test]
    fn the_written_code_is_the_serialised_one() {
        for code in [
            LossCode::Quarantined,
            LossCode::OutboxToDrafts,
            LossCode::MimeForm,
        ] {
            let written = serde_json::to_string(&code).unwrap();
            assert_eq!(written, format!("\"{code}\""));
        }
    }

    #[test]
    fn counts_are_exact_and_examples_are_few() {
        let mut losses = Losses::new();
        for n in 0..10 {
            losses.add(LossCode::Quarantined, &format!("message {n}"));
        }
        losses.add_many(LossCode::Versions, 7);
        losses.add_many(LossCode::Authors, 0);
        assert_eq!(losses.total_losses(), 10);
        let losses = losses.into_vec();
        assert_eq!(losses.len(), 2);
        assert_eq!(losses[0].count, 10);
        assert_eq!(losses[0].examples.len(), Losses::EXAMPLES);
    }
}
