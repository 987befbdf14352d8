//! Addresses: which item of which drive a path means, by id, by path, or both.

use super::super::answer::Refusal;
use super::super::call::Call;
use super::not_found;
use crate::tenant::State;
use crate::tenant::drive::{Drive, Item};
use crate::tenant::people::UserState;

/// Where a path begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Start {
    Root,
    Id(String),
}

/// What a path below a drive means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) start: Start,
    /// Names below the start; `None` when the start itself is meant.
    pub(super) names: Option<Vec<String>>,
    /// What is wanted of the item, such as `children`, in lower case but for its argument.
    pub(super) action: String,
}

impl Address {
    /// Reads `root:/a/b:/content`, `items/{id}/children`, `items/{id}:/name:` and their like.
    ///
    /// Segments come decoded, so that an encoded colon or slash reads like a plain one; neither
    /// can be part of a name.
    pub(super) fn parse(segments: &[String]) -> Option<Self> {
        let (start, rest) = if segments.first()?.eq_ignore_ascii_case("items") {
            let whole = segments[1..].join("/");
            let end = whole.find([':', '/']).unwrap_or(whole.len());
            let (id, rest) = whole.split_at(end);
            (Start::Id(id.to_owned()), rest.to_owned())
        } else {
            let whole = segments.join("/");
            let (head, rest) = (whole.get(..4)?, whole.get(4..)?);
            if !head.eq_ignore_ascii_case("root") {
                return None;
            }
            (Start::Root, rest.to_owned())
        };
        if start == Start::Id(String::new()) {
            return None;
        }
        let (names, action) = match rest.strip_prefix(':') {
            None => (None, rest.strip_prefix('/').unwrap_or(&rest).to_owned()),
            Some(path) => {
                let (path, action) = path.split_once(':').unwrap_or((path, ""));
                let names = path
                    .split('/')
                    .filter(|name| !name.is_empty() && *name != ".")
                    .map(str::to_owned)
                    .collect();
                (Some(names), action.trim_start_matches('/').to_owned())
            }
        };
        if names.is_none() && !rest.is_empty() && !rest.starts_with('/') {
            return None;
        }
        Some(Self {
            start,
            names,
            action,
        })
    }

    /// Tells whether the root is meant, by whatever name.
    pub(super) fn is_root(&self) -> bool {
        let named = match &self.start {
            Start::Root => true,
            Start::Id(id) => id.eq_ignore_ascii_case("root"),
        };
        named && self.names.as_ref().is_none_or(Vec::is_empty)
    }

    /// Returns the id of the item where the path begins.
    pub(super) fn start_id<'a>(&'a self, drive: &'a Drive) -> &'a str {
        match &self.start {
            Start::Root => drive.root(),
            Start::Id(id) if id.eq_ignore_ascii_case("root") => drive.root(),
            Start::Id(id) => id,
        }
    }

    /// Finds the item that is meant.
    pub(super) fn find<'a>(&self, drive: &'a Drive) -> Result<&'a Item, Refusal> {
        let start = self.start_id(drive).to_owned();
        match &self.names {
            None => drive.item(&start),
            Some(names) => drive.at_path(&start, names),
        }
        .ok_or_else(not_found)
    }
}

/// Finds a drive and its owner.
pub(in super::super) fn drive_of<'a>(
    state: &'a State,
    drive: &str,
) -> Result<(&'a UserState, &'a Drive), Refusal> {
    state
        .users
        .iter()
        .find_map(|user| {
            let own = user.drive.as_ref()?;
            (own.id() == drive).then_some((user, own))
        })
        .ok_or_else(not_found)
}

/// Finds a drive to change it.
pub(in super::super) fn drive_mut<'a>(
    state: &'a mut State,
    drive: &str,
) -> Result<&'a mut Drive, Refusal> {
    state
        .users
        .iter_mut()
        .filter_map(|user| user.drive.as_mut())
        .find(|own| own.id() == drive)
        .ok_or_else(not_found)
}

/// Finds the drive that a call names by user or by id, and the segments that follow.
pub(super) fn drive_named(call: &Call) -> Result<(String, Vec<String>), Refusal> {
    let state = call.tenant.lock();
    if call.keys().first() == Some(&"drives") {
        drive_of(&state, call.segment(1))?;
        return Ok((call.segment(1).to_owned(), call.segments[2..].to_vec()));
    }
    let user = state.user(call.segment(1)).ok_or_else(|| {
        let name = call.segment(1);
        Refusal::new(
            404,
            "Request_ResourceNotFound",
            format!(
                "Resource '{name}' does not exist or one of its queried references is not present."
            ),
        )
    })?;
    let drive = user
        .drive
        .as_ref()
        .ok_or_else(|| Refusal::new(404, "ResourceNotFound", "User's mysite not found."))?;
    Ok((drive.id().to_owned(), call.segments[3..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, start: Start, names: Option<&[&str]>, action: &str) {
        // Segments arrive split at plain slashes only; `|` stands for an encoded one.
        let segments: Vec<String> = path.split('/').map(|text| text.replace('|', "/")).collect();
        let names = names.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        let action = action.to_owned();
        let expected = Address {
            start,
            names,
            action,
        };
        assert_eq!(Address::parse(&segments), Some(expected), "{path}");
    }

    #[test]
    fn paths_mean_the_same_however_they_are_written() {
        let id = || Start::Id("01A".to_owned());
        check("root", Start::Root, None, "");
        check("root/children", Start::Root, None, "children");
        check("root:/a/b", Start::Root, Some(&["a", "b"]), "");
        check(
            "root:/a/b:/content",
            Start::Root,
            Some(&["a", "b"]),
            "content",
        );
        check(
            "root:|a|b:/content",
            Start::Root,
            Some(&["a", "b"]),
            "content",
        );
        check("items/01A", id(), None, "");
        check("items/01A/children", id(), None, "children");
        check(
            "items/01A:/n:/createUploadSession",
            id(),
            Some(&["n"]),
            "createUploadSession",
        );
        check("items/01A:|n:/content", id(), Some(&["n"]), "content");
        check("items/01A:/n:", id(), Some(&["n"]), "");
        check("items/01A:/./n", id(), Some(&["n"]), "");
        check(
            "root/delta(token='a')",
            Start::Root,
            None,
            "delta(token='a')",
        );
    }

    #[test]
    fn other_words_are_no_address() {
        for path in ["rooted", "roof:/a", "items", "", "é"] {
            let segments: Vec<String> = path.split('/').map(str::to_owned).collect();
            assert_eq!(Address::parse(&segments), None, "{path}");
        }
    }
}
