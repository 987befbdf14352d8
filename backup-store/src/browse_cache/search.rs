//! Searching the browse cache, across all snapshots at once.

use std::collections::BTreeSet;
use std::ops::Range;

use rusqlite::types::Value;
use rusqlite::{Connection, params, params_from_iter};

use super::BrowseCache;
use super::database::failed;
use crate::catalog::{Filter, Item, Prepared, ResourceId, Words};
use crate::error::{Error, Result};
use crate::id::SnapshotId;

/// Characters of the shortest text that the index can find.
const INDEXED: usize = 3;

/// One state of an item that was found, and the snapshots that hold it so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// The resource it belongs to.
    pub resource: ResourceId,
    /// The path of the container it lies in; the container's id where the snapshots lack it.
    pub path: String,
    /// The item.
    pub item: Item,
    /// The snapshots in which it exists like this, in the order in which they were made.
    pub snapshots: Vec<SnapshotId>,
}

/// A row that may be a hit.
struct Row {
    resource: i64,
    item: Item,
    /// From the first snapshot number up to, not including, the last.
    held: Range<i64>,
}

impl BrowseCache {
    /// Finds every state of every item that meets the filter, in any snapshot that was filled.
    ///
    /// An item whose record or path differs from snapshot to snapshot is found once for each state.
    ///
    /// *Units and limits*: returns at most `limit` hits, those created last.
    pub async fn search(
        &self,
        filter: &Filter,
        resource: Option<&ResourceId>,
        limit: usize,
    ) -> Result<Vec<Hit>> {
        self.search_among(filter, resource, None, limit).await
    }

    /// Finds as [`search`](Self::search) does, in these snapshots only.
    pub async fn search_in(
        &self,
        filter: &Filter,
        snapshots: BTreeSet<SnapshotId>,
        limit: usize,
    ) -> Result<Vec<Hit>> {
        self.search_among(filter, None, Some(snapshots), limit)
            .await
    }

    async fn search_among(
        &self,
        filter: &Filter,
        resource: Option<&ResourceId>,
        among: Option<BTreeSet<SnapshotId>>,
        limit: usize,
    ) -> Result<Vec<Hit>> {
        let wanted = Wanted {
            filter: filter.clone(),
            prepared: filter.prepared(),
            among,
        };
        let resource = resource.cloned();
        self.run(move |connection| {
            // One state of the database, whatever another process fills in.
            let transaction = connection.transaction().map_err(failed)?;
            search(&transaction, &wanted, resource.as_ref(), limit)
        })
        .await
    }
}

/// What is looked for, and in which snapshots.
struct Wanted {
    filter: Filter,
    prepared: Prepared,
    among: Option<BTreeSet<SnapshotId>>,
}

impl Wanted {
    fn is_there(&self, item: &Item, path: Option<&str>, snapshot: &SnapshotId) -> bool {
        let among = self.among.as_ref();
        among.is_none_or(|among| among.contains(snapshot))
            && self.filter.is_within(path)
            && self.prepared.match_words(item, path)
    }
}

fn search(
    connection: &Connection,
    wanted: &Wanted,
    resource: Option<&ResourceId>,
    limit: usize,
) -> Result<Vec<Hit>> {
    let anywhere = words_in_no_path(connection, &wanted.prepared.words)?;
    let (sql, values) = select(&wanted.filter, &anywhere, resource);
    let mut statement = connection.prepare(&sql).map_err(failed)?;
    let mut rows = statement.query(params_from_iter(values)).map_err(failed)?;
    let mut hits = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let row = read(row)?;
        // The index leads to candidates; what a scan of the trees tests is tested here too.
        if wanted.prepared.matches(&row.item) {
            hits_of(connection, wanted, &row, &mut hits)?;
        }
        if hits.len() >= limit {
            hits.truncate(limit);
            break;
        }
    }
    Ok(hits)
}

fn read(row: &rusqlite::Row<'_>) -> Result<Row> {
    let take = || {
        let (first, until) = (row.get(3)?, row.get::<_, Option<i64>>(4)?);
        Ok((
            row.get(0)?,
            row.get(1)?,
            row.get(2)?,
            first..until.unwrap_or(i64::MAX),
        ))
    };
    let (resource, key, record, held): (i64, Vec<u8>, Vec<u8>, _) = take().map_err(failed)?;
    let item = Item::decode(&key, &record)
        .map_err(|cause| Error::damaged("browse cache", "an item of it").with_source(cause))?;
    Ok(Row {
        resource,
        item,
        held,
    })
}

/// Adds a hit for each path that the item had while it was held.
fn hits_of(connection: &Connection, wanted: &Wanted, row: &Row, hits: &mut Vec<Hit>) -> Result<()> {
    let container = &row.item.key.container;
    let mut paths: Vec<(String, Range<i64>)> = {
        let sql = "SELECT path, first, until FROM folders WHERE resource = ?1 AND id = ?2";
        let mut statement = connection.prepare_cached(sql).map_err(failed)?;
        let found = statement.query_map(params![row.resource, container], |found| {
            let until: Option<i64> = found.get(2)?;
            Ok((found.get(0)?, found.get(1)?..until.unwrap_or(i64::MAX)))
        });
        found.and_then(Iterator::collect).map_err(failed)?
    };
    paths.sort_by_key(|(_, held)| held.start);
    let sql = "SELECT snapshots.number, snapshots.id, resources.id FROM snapshots
        JOIN resources ON resources.number = snapshots.resource
        WHERE gone = 0 AND resource = ?1 AND snapshots.number >= ?2 AND snapshots.number < ?3
        ORDER BY snapshots.number";
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    let held = params![row.resource, row.held.start, row.held.end];
    let mut snapshots = statement.query(held).map_err(failed)?;
    let from = hits.len();
    while let Some(found) = snapshots.next().map_err(failed)? {
        let take = || {
            Ok((
                found.get(0)?,
                SnapshotId::from_bytes(found.get(1)?),
                found.get(2)?,
            ))
        };
        let (number, id, resource): (i64, SnapshotId, String) = take().map_err(failed)?;
        let path = paths.iter().find(|(_, held)| held.contains(&number));
        if !wanted.is_there(&row.item, path.map(|(path, _)| path.as_str()), &id) {
            continue;
        }
        let path = path.map_or(container, |(path, _)| path);
        match hits[from..].iter_mut().find(|hit| hit.path == *path) {
            Some(hit) => hit.snapshots.push(id),
            None => hits.push(Hit {
                resource: ResourceId::new(resource),
                path: path.clone(),
                item: row.item.clone(),
                snapshots: vec![id],
            }),
        }
    }
    Ok(())
}

/// Says which rows may be hits.
fn select(
    filter: &Filter,
    anywhere: &[String],
    resource: Option<&ResourceId>,
) -> (String, Vec<Value>) {
    let mut sql = "SELECT resource, key, record, first, until FROM items WHERE 1".to_owned();
    let mut values = Vec::new();
    let mut also = |condition: &str, value: Value| {
        sql.push_str(" AND ");
        sql.push_str(condition);
        values.push(value);
    };
    if let Some(words) = words(filter, anywhere) {
        also(
            "number IN (SELECT rowid FROM words WHERE words MATCH ?)",
            words.into(),
        );
    }
    if let Some(kind) = &filter.kind {
        also("kind = ?", kind.as_str().to_owned().into());
    }
    if let Some(created) = &filter.created {
        also("created >= ?", created.start.as_millis().into());
        also("created < ?", created.end.as_millis().into());
    }
    if let Some(resource) = resource {
        let number = "resource = (SELECT number FROM resources WHERE id = ?)";
        also(number, resource.as_str().to_owned().into());
    }
    sql.push_str(" ORDER BY created DESC, number");
    (sql, values)
}

/// Lists the words that the index can find and that occur in no path: they must be in the item.
fn words_in_no_path(connection: &Connection, words: &Words) -> Result<Vec<String>> {
    let mut left: Vec<String> = words
        .parts()
        .filter(|word| is_indexed(word))
        .map(str::to_owned)
        .collect();
    if left.is_empty() {
        return Ok(left);
    }
    let mut statement = connection
        .prepare("SELECT DISTINCT path FROM folders")
        .map_err(failed)?;
    let mut paths = statement.query([]).map_err(failed)?;
    while let Some(row) = paths.next().map_err(failed)? {
        let path: String = row.get(0).map_err(failed)?;
        let path = path.to_lowercase();
        left.retain(|word| !path.contains(word.as_str()));
    }
    Ok(left)
}

fn is_indexed(text: &str) -> bool {
    text.chars().count() >= INDEXED && !text.contains('\0')
}

fn phrase(column: &str, text: &str) -> String {
    format!("({column}\"{}\")", text.replace('"', "\"\""))
}

/// Writes the texts of a filter as a query of the index, those that are long enough for it.
fn words(filter: &Filter, anywhere: &[String]) -> Option<String> {
    let columns = [
        ("", &filter.text),
        ("name : ", &filter.name),
        ("sender : ", &filter.sender),
        ("recipients : ", &filter.recipient),
    ];
    let phrases = columns.iter().filter_map(|(column, text)| {
        let text = text.as_ref()?.to_lowercase();
        is_indexed(&text).then(|| phrase(column, &text))
    });
    let anywhere = anywhere.iter().map(|word| phrase("", word));
    let phrases: Vec<String> = phrases.chain(anywhere).collect();
    (!phrases.is_empty()).then(|| phrases.join(" AND "))
}
