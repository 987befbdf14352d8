//! Which part of a snapshot a path means: a folder with what is below it, or single items.

use backup_store::catalog::{Browse, SnapshotEntry};
use restore_engine::Selection;

use crate::connect::OpenStore;
use crate::failure::Result;
use crate::places::Places;

/// Returns what `path` means in a snapshot, everything without a path, `None` where there is
/// nothing at it.
pub(super) async fn selection(
    open: &OpenStore,
    entry: &SnapshotEntry,
    path: Option<&str>,
) -> Result<Option<Selection>> {
    let Some(path) = path
        .map(|path| path.trim_matches('/'))
        .filter(|path| !path.is_empty())
    else {
        return Ok(Some(Selection::All));
    };
    let browse = Browse::new(&open.store, &entry.snapshot);
    let places = Places::read(open, &browse).await?;
    if let Some(container) = places.at(path) {
        return Ok(Some(Selection::Container(container.id.clone())));
    }
    // A subject may hold a slash: every split of the path into folder and name is tried.
    for (at, _) in path
        .match_indices('/')
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
    {
        let (folder, name) = (&path[..at], &path[at + 1..]);
        if let Some(selection) = items(open, &browse, &places, folder, name).await? {
            return Ok(Some(selection));
        }
    }
    items(open, &browse, &places, "", path).await
}

async fn items(
    open: &OpenStore,
    browse: &Browse,
    places: &Places,
    folder: &str,
    name: &str,
) -> Result<Option<Selection>> {
    let Some(container) = places.at(folder) else {
        return Ok(None);
    };
    let mut keys = Vec::new();
    let mut items = browse.items_in(&container.id);
    while let Some(item) = items.next().await {
        let item = item.map_err(open.failed("read"))?;
        if item.name == name {
            keys.push(item.key);
        }
    }
    Ok((!keys.is_empty()).then_some(Selection::Items(keys)))
}
