//! Conflict: decides what happens to one item, given what lies in its place. Pure.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::request::ConflictRule;
use crate::target::Occupant;

/// Says what a plan does with an item that meets something in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Decision {
    /// Nothing is in the way.
    Write,
    /// Written beside the one that is there, under this name.
    WriteAs(String),
    /// Written and verified, then the one with this id is removed.
    Replace(String),
    /// Not written.
    Skip(SkipReason),
}

/// Says why an item is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SkipReason {
    /// An earlier restore wrote it.
    AlreadyRestored,
    /// It is there, unchanged since it was backed up.
    Identical,
    /// Another item is in its place, and the rule is to leave it.
    Exists,
    /// A folder has its name.
    FolderInTheWay,
    /// Something appeared in its place after the plan was made.
    AppearedSince,
    /// The snapshot holds nothing that could be written.
    Unavailable,
}

impl SkipReason {
    /// Says the reason in a few words.
    pub fn explain(self) -> &'static str {
        match self {
            Self::AlreadyRestored => "restored before",
            Self::Identical => "there already, the same",
            Self::Exists => "another one is there",
            Self::FolderInTheWay => "a folder has its name",
            Self::AppearedSince => "something appeared there after the plan was made",
            Self::Unavailable => "cannot come back",
        }
    }
}

/// What the decision needs to know of a stored item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate<'a> {
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) change_key: &'a str,
    pub(crate) size: u64,
    /// The service's own content hash, of a file.
    pub(crate) hash: Option<&'a str>,
}

/// What lies in one container of the destination.
#[derive(Debug, Default)]
pub(crate) struct Occupants {
    by_id: HashMap<String, Occupant>,
    by_source: HashMap<String, String>,
    by_name: HashMap<String, String>,
}

impl Occupants {
    /// Takes in the items of one container; `names` says whether a name may occur only once.
    pub(crate) fn new(list: Vec<Occupant>, names: bool) -> Self {
        let mut occupants = Self::default();
        for occupant in list {
            if let Some(source) = &occupant.source_item {
                // A whole one hides an incomplete one of the same source.
                let known = occupants.by_source.get(source);
                let whole = known
                    .and_then(|id| occupants.by_id.get(id))
                    .is_some_and(|known| !known.incomplete);
                if !whole {
                    occupants
                        .by_source
                        .insert(source.clone(), occupant.id.clone());
                }
            }
            if names {
                occupants
                    .by_name
                    .insert(fold_name(&occupant.name), occupant.id.clone());
            }
            occupants.by_id.insert(occupant.id.clone(), occupant);
        }
        occupants
    }

    /// Returns whoever may stand in the way of `candidate`, without deciding.
    pub(crate) fn in_the_way(&self, candidate: &Candidate<'_>) -> Option<&Occupant> {
        let source = self.by_source.get(candidate.id);
        let name = || self.by_name.get(&fold_name(candidate.name));
        source
            .or_else(name)
            .and_then(|id| self.by_id.get(id))
            .or_else(|| {
                let same = self.by_id.get(candidate.id);
                // Where names are unique a file that kept its id but not its name is not in the way.
                same.filter(|_| self.by_name.is_empty())
            })
    }

    /// Tells whether the item with this id lies here.
    pub(crate) fn holds(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    /// Tells whether `id` is what a broken-off restore left of the source item.
    pub(crate) fn is_leftover_of(&self, id: &str, source: &str) -> bool {
        let found = self.by_id.get(id);
        found.is_some_and(|found| found.incomplete && found.source_item.as_deref() == Some(source))
    }

    /// Decides what happens to `candidate` under `rule`.
    pub(crate) fn decide(&self, candidate: &Candidate<'_>, rule: ConflictRule) -> Decision {
        let Some(occupant) = self.in_the_way(candidate) else {
            return Decision::Write;
        };
        if occupant.source_item.as_deref() == Some(candidate.id) {
            return if occupant.incomplete {
                Decision::Replace(occupant.id.clone())
            } else {
                Decision::Skip(SkipReason::AlreadyRestored)
            };
        }
        if occupant.folder {
            return Decision::Skip(SkipReason::FolderInTheWay);
        }
        if is_same(occupant, candidate) {
            return Decision::Skip(SkipReason::Identical);
        }
        match rule {
            ConflictRule::Skip => Decision::Skip(SkipReason::Exists),
            ConflictRule::Replace => Decision::Replace(occupant.id.clone()),
            ConflictRule::Copy if self.by_name.is_empty() => Decision::Write,
            ConflictRule::Copy => self.copy(candidate),
        }
    }

    /// Finds the name of a copy; a copy of the same content under such a name is enough.
    fn copy(&self, candidate: &Candidate<'_>) -> Decision {
        for number in 1..=COPIES_MAX {
            let name = copy_name(candidate.name, number);
            let taken = self
                .by_name
                .get(&fold_name(&name))
                .and_then(|id| self.by_id.get(id));
            match taken {
                None => return Decision::WriteAs(name),
                Some(copy) if is_same(copy, candidate) => {
                    return Decision::Skip(SkipReason::AlreadyRestored);
                }
                Some(_) => {}
            }
        }
        Decision::Skip(SkipReason::Exists)
    }
}

/// After so many copies of one file a further one is not written.
const COPIES_MAX: u32 = 100;

fn is_same(occupant: &Occupant, candidate: &Candidate<'_>) -> bool {
    let same_message = occupant.id == candidate.id
        && occupant.content_hash.is_none()
        && occupant.change_key.as_deref() == Some(candidate.change_key);
    let same_file = occupant.size == candidate.size
        && occupant.content_hash.is_some()
        && occupant.content_hash.as_deref() == candidate.hash;
    same_message || same_file
}

/// Brings a name to the form under which the services compare names.
pub(crate) fn fold_name(name: &str) -> String {
    name.to_lowercase()
}

/// Puts `(restored)`, or `(restored 2)` and so on, before the extension.
fn copy_name(name: &str, number: u32) -> String {
    let mark = if number == 1 {
        " (restored)".to_owned()
    } else {
        format!(" (restored {number})")
    };
    match name.rfind('.').filter(|dot| *dot > 0) {
        Some(dot) => format!("{}{mark}{}", &name[..dot], &name[dot..]),
        None => format!("{name}{mark}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(id: &str, name: &str, hash: &str) -> Occupant {
        Occupant {
            id: id.into(),
            name: name.into(),
            size: 5,
            content_hash: Some(hash.into()),
            ..Occupant::default()
        }
    }

    fn stored(name: &'static str) -> Candidate<'static> {
        Candidate {
            id: "src",
            name,
            change_key: "k1",
            size: 5,
            hash: Some("aaa"),
        }
    }

    #[test]
    fn files_meet_by_name_and_content() {
        let check = |there: Vec<Occupant>, rule, expected| {
            assert_eq!(
                Occupants::new(there, true).decide(&stored("Plan.docx"), rule),
                expected
            );
        };
        use ConflictRule::{Copy, Replace, Skip};
        check(vec![], Skip, Decision::Write);
        let same = || file("1", "plan.DOCX", "aaa");
        for rule in [Skip, Copy, Replace] {
            check(vec![same()], rule, Decision::Skip(SkipReason::Identical));
        }
        let other = || file("1", "plan.DOCX", "bbb");
        check(vec![other()], Skip, Decision::Skip(SkipReason::Exists));
        check(vec![other()], Replace, Decision::Replace("1".into()));
        check(
            vec![other()],
            Copy,
            Decision::WriteAs("Plan (restored).docx".into()),
        );
        let copied = file("2", "Plan (restored).docx", "aaa");
        check(
            vec![other(), copied],
            Copy,
            Decision::Skip(SkipReason::AlreadyRestored),
        );
        let taken = file("2", "Plan (restored).docx", "ccc");
        check(
            vec![other(), taken],
            Copy,
            Decision::WriteAs("Plan (restored 2).docx".into()),
        );
        let folder = Occupant {
            folder: true,
            content_hash: None,
            ..other()
        };
        check(
            vec![folder],
            Replace,
            Decision::Skip(SkipReason::FolderInTheWay),
        );
    }

    #[test]
    fn messages_meet_by_source_and_by_id() {
        let check = |there: Vec<Occupant>, rule, expected| {
            assert_eq!(
                Occupants::new(there, false).decide(&stored("Hello"), rule),
                expected
            );
        };
        use ConflictRule::{Copy, Replace, Skip};
        let restored = |incomplete| Occupant {
            id: "new".into(),
            source_item: Some("src".into()),
            incomplete,
            ..Occupant::default()
        };
        for rule in [Skip, Copy, Replace] {
            check(
                vec![restored(false)],
                rule,
                Decision::Skip(SkipReason::AlreadyRestored),
            );
            check(vec![restored(true)], rule, Decision::Replace("new".into()));
        }
        let original = |key: &str| Occupant {
            id: "src".into(),
            change_key: Some(key.into()),
            ..Occupant::default()
        };
        check(
            vec![original("k1")],
            Copy,
            Decision::Skip(SkipReason::Identical),
        );
        check(
            vec![original("k2")],
            Skip,
            Decision::Skip(SkipReason::Exists),
        );
        check(vec![original("k2")], Copy, Decision::Write);
        check(
            vec![original("k2")],
            Replace,
            Decision::Replace("src".into()),
        );
        let namesake = Occupant {
            id: "x".into(),
            name: "Hello".into(),
            ..Occupant::default()
        };
        check(vec![namesake], Skip, Decision::Write);
    }

    #[test]
    fn copy_names_keep_the_extension() {
        assert_eq!(copy_name("a.tar.gz", 1), "a.tar (restored).gz");
        assert_eq!(copy_name("README", 3), "README (restored 3)");
        assert_eq!(copy_name(".profile", 1), ".profile (restored)");
    }
}
