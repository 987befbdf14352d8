//! Places: the folders of a snapshot with their paths, to list, to search and to choose by.

use backup_store::catalog::{Browse, Container, paths};

use crate::connect::OpenStore;
use crate::exit::Exit;
use crate::failure::{Failure, Result};

/// The folders of one snapshot, sorted by path; the root of a drive has the empty path.
#[derive(Debug)]
pub(crate) struct Places {
    sorted: Vec<(String, Container)>,
}

impl Places {
    /// Reads the folders of a snapshot.
    pub(crate) async fn read(open: &OpenStore, browse: &Browse) -> Result<Self> {
        let containers = browse.containers().await.map_err(open.failed("read"))?;
        let mut names = paths(&containers);
        let path_of = |container: Container| {
            let path = names.remove(&container.id).unwrap_or_default();
            (path.trim_matches('/').to_owned(), container)
        };
        let mut sorted: Vec<(String, Container)> = containers.into_iter().map(path_of).collect();
        sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(Self { sorted })
    }

    /// Returns the folder at `path` and those below it; all of them without a path.
    pub(crate) fn below(&self, path: Option<&str>) -> impl Iterator<Item = (&str, &Container)> {
        let wanted = path.unwrap_or("").trim_matches('/').to_owned();
        self.sorted
            .iter()
            .filter(move |(path, _)| is_within(path, &wanted))
            .map(|(path, container)| (path.as_str(), container))
    }

    /// Returns the folder at exactly this path, in any case.
    pub(crate) fn at(&self, path: &str) -> Option<&Container> {
        let path = path.trim_matches('/');
        let same = |(known, _): &&(String, Container)| known.to_lowercase() == path.to_lowercase();
        let exact = self.sorted.iter().find(|(known, _)| known == path);
        exact
            .or_else(|| self.sorted.iter().find(same))
            .map(|(_, container)| container)
    }

    /// Explains that there is nothing at `path`.
    pub(crate) fn nothing_at(path: &str) -> Failure {
        Failure::new(
            Exit::Failed,
            format!("the snapshot holds nothing at {path}"),
        )
        .next("see what it holds with: m365-backup ls")
    }
}

/// Tells whether `path` is `folder` or below it, in any case.
fn is_within(path: &str, folder: &str) -> bool {
    let (path, folder) = (path.to_lowercase(), folder.to_lowercase());
    folder.is_empty()
        || path
            .strip_prefix(&folder)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::is_within;

    #[test]
    fn a_path_is_within_its_folder_and_not_within_a_namesake() {
        assert!(is_within("Inbox/Projects", "inbox"));
        assert!(is_within("Inbox", "Inbox"));
        assert!(!is_within("Inbox2", "Inbox"));
        assert!(is_within("anything", ""));
    }
}
