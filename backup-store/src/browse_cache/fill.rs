//! Filling the browse cache: each snapshot by its differences from the one filled before it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::BrowseCache;
use super::database::failed;
use crate::catalog::{Browse, Item, ResourceId, Snapshot, SnapshotEntry, paths};
use crate::error::{Error, ErrorKind, Result};
use crate::id::SnapshotId;
use crate::tree::{Difference, Differences};

/// Differences that are written in one transaction.
const BATCH: usize = 4096;

/// Says what filling did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FillReport {
    /// Snapshots that were added.
    pub added: u64,
    /// Snapshots that are gone from the store.
    pub removed: u64,
    /// Items that came, changed or went from one snapshot to the next.
    pub differences: u64,
}

/// Why a snapshot could not be added.
enum AddError {
    /// What it is compared with is not there any more.
    Base,
    Other(Error),
}

impl From<Error> for AddError {
    fn from(cause: Error) -> Self {
        Self::Other(cause)
    }
}

/// The snapshot of a resource that was filled last.
struct Base {
    resource: i64,
    snapshot: Option<Snapshot>,
}

impl BrowseCache {
    /// Adds the snapshots that are new in the store, and removes those that are gone.
    ///
    /// *Cancel safety*: a snapshot that was begun is begun again by the next call.
    pub async fn fill(&self) -> Result<FillReport> {
        let mut report = FillReport::default();
        while let Some(lost) = self.fill_from_differences(&mut report).await? {
            // What it is compared with was pruned: the resource is read anew, as a whole.
            self.run(move |connection| reset(connection, &lost)).await?;
        }
        Ok(report)
    }

    /// Adds and removes snapshots, up to a resource whose last known snapshot cannot be read.
    async fn fill_from_differences(&self, report: &mut FillReport) -> Result<Option<ResourceId>> {
        let mut entries = self.store.snapshots().await?;
        entries.sort_by_key(|entry| (entry.snapshot.token, entry.snapshot.sequence, entry.id));
        let there: BTreeSet<SnapshotId> = entries.iter().map(|entry| entry.id).collect();
        let known = self.run(known).await?;
        for entry in entries.iter().filter(|entry| !known.contains(&entry.id)) {
            match self.add(entry).await {
                Ok(differences) => report.differences += differences,
                Err(AddError::Base) => return Ok(Some(entry.snapshot.resource.id.clone())),
                Err(AddError::Other(cause)) => return Err(cause),
            }
            report.added += 1;
        }
        for id in known.difference(&there) {
            let gone = *id;
            self.run(move |connection| forget(connection, &gone))
                .await?;
            report.removed += 1;
        }
        Ok(None)
    }

    /// Adds one snapshot; its number is taken when all of it is there.
    async fn add(&self, entry: &SnapshotEntry) -> std::result::Result<u64, AddError> {
        let id = entry.snapshot.resource.id.clone();
        let (base, number) = self.run(move |connection| begin(connection, &id)).await?;
        let empty = self.store.empty_tree();
        let before = base.snapshot.as_ref().map_or(empty, |base| base.items);
        let mut differences = Differences::new(self.store.clone(), &before, &entry.snapshot.items);
        let mut count = 0;
        loop {
            let mut batch = Vec::new();
            while batch.len() < BATCH {
                let Some(difference) = differences.next().await else {
                    break;
                };
                batch.push(difference.map_err(|cause| {
                    let gone = matches!(cause.kind(), ErrorKind::Missing | ErrorKind::NotFound);
                    if gone && base.snapshot.is_some() {
                        AddError::Base
                    } else {
                        AddError::Other(cause)
                    }
                })?);
            }
            if batch.is_empty() {
                break;
            }
            count += batch.len() as u64;
            let resource = base.resource;
            self.run(move |connection| put_items(connection, resource, number, &batch))
                .await?;
        }
        let containers = base.snapshot.as_ref().map(|base| base.containers);
        if containers != Some(entry.snapshot.containers) {
            let browse = Browse::new(&self.store, &entry.snapshot);
            let paths: BTreeMap<_, _> = paths(&browse.containers().await?).into_iter().collect();
            let resource = base.resource;
            self.run(move |connection| put_folders(connection, resource, number, paths))
                .await?;
        }
        let (id, record, resource) = (entry.id, entry.snapshot.encode(), base.resource);
        self.run(move |connection| {
            let sql =
                "INSERT INTO snapshots (number, id, resource, record) VALUES (?1, ?2, ?3, ?4)";
            let values = params![number, &id.as_bytes()[..], resource, record];
            connection.execute(sql, values).map_err(failed)
        })
        .await?;
        Ok(count)
    }
}

fn known(connection: &mut Connection) -> Result<BTreeSet<SnapshotId>> {
    let mut statement = connection
        .prepare("SELECT id FROM snapshots WHERE gone = 0")
        .map_err(failed)?;
    let ids = statement.query_map([], |row| Ok(SnapshotId::from_bytes(row.get(0)?)));
    ids.and_then(Iterator::collect).map_err(failed)
}

/// Finds what a new snapshot is compared with and the number it will have; takes back what an
/// interrupted call left.
fn begin(connection: &mut Connection, id: &ResourceId) -> Result<(Base, i64)> {
    let mut work = || {
        let transaction = connection.transaction()?;
        let sql = "INSERT OR IGNORE INTO resources (id) VALUES (?1)";
        transaction.execute(sql, [id.as_str()])?;
        let sql = "SELECT number FROM resources WHERE id = ?1";
        let resource: i64 = transaction.query_row(sql, [id.as_str()], |row| row.get(0))?;
        let sql = "SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence WHERE name = 'snapshots'";
        let number: i64 = transaction.query_row(sql, [], |row| row.get(0))?;
        transaction.execute(
            "DELETE FROM words WHERE rowid IN (SELECT number FROM items WHERE first >= ?1)",
            [number],
        )?;
        for table in ["items", "folders"] {
            let sql = format!("DELETE FROM {table} WHERE first >= ?1");
            transaction.execute(&sql, [number])?;
            let sql = format!("UPDATE {table} SET until = NULL WHERE until >= ?1");
            transaction.execute(&sql, [number])?;
        }
        let sql = "SELECT record FROM snapshots WHERE resource = ?1 ORDER BY number DESC LIMIT 1";
        let record: Option<Vec<u8>> = transaction
            .query_row(sql, [resource], |row| row.get(0))
            .optional()?;
        transaction.commit()?;
        Ok((resource, number, record))
    };
    let (resource, number, record) = work().map_err(failed)?;
    let snapshot = record.map(|record| Snapshot::decode(&record)).transpose()?;
    Ok((Base { resource, snapshot }, number))
}

/// Removes all that is known of a resource.
fn reset(connection: &mut Connection, id: &ResourceId) -> Result<()> {
    let (Base { resource, .. }, _) = begin(connection, id)?;
    let mut work = || {
        let transaction = connection.transaction()?;
        let sql = "DELETE FROM words WHERE rowid IN (SELECT number FROM items WHERE resource = ?1)";
        transaction.execute(sql, [resource])?;
        for table in ["items", "folders", "snapshots"] {
            let sql = format!("DELETE FROM {table} WHERE resource = ?1");
            transaction.execute(&sql, [resource])?;
        }
        transaction.commit()
    };
    work().map_err(failed)
}

fn put_items(
    connection: &mut Connection,
    resource: i64,
    number: i64,
    differences: &[Difference],
) -> Result<()> {
    let transaction = connection.transaction().map_err(failed)?;
    for difference in differences {
        if difference.before.is_some() {
            let sql =
                "UPDATE items SET until = ?3 WHERE resource = ?1 AND key = ?2 AND until IS NULL";
            let values = params![resource, &difference.key[..], number];
            transaction
                .prepare_cached(sql)
                .and_then(|mut sql| sql.execute(values))
                .map_err(failed)?;
        }
        if let Some(record) = &difference.after {
            put_item(&transaction, resource, number, (&difference.key, record))?;
        }
    }
    transaction.commit().map_err(failed)
}

fn put_item(
    transaction: &Transaction<'_>,
    resource: i64,
    number: i64,
    (key, record): (&Bytes, &Bytes),
) -> Result<()> {
    let item = Item::decode(key, record)?;
    let work = || {
        let sql = "INSERT INTO items (resource, key, record, kind, created, first)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let created = item.key.created.as_millis();
        let values = params![
            resource,
            &key[..],
            &record[..],
            item.kind.as_str(),
            created,
            number
        ];
        transaction.prepare_cached(sql)?.execute(values)?;
        let sql = "INSERT INTO words (rowid, name, sender, recipients) VALUES (?1, ?2, ?3, ?4)";
        let values = params![
            transaction.last_insert_rowid(),
            item.name.to_lowercase(),
            item.sender.as_deref().unwrap_or_default().to_lowercase(),
            item.recipients.join("\n").to_lowercase(),
        ];
        transaction.prepare_cached(sql)?.execute(values)
    };
    work().map(|_| ()).map_err(failed)
}

/// Ends the folders whose path has changed, and begins the new ones.
fn put_folders(
    connection: &mut Connection,
    resource: i64,
    number: i64,
    mut paths: BTreeMap<String, String>,
) -> Result<()> {
    let mut work = || {
        let transaction = connection.transaction()?;
        {
            let sql = "SELECT rowid, id, path FROM folders WHERE resource = ?1 AND until IS NULL";
            let mut statement = transaction.prepare(sql)?;
            let rows = statement.query_map([resource], |row| {
                Ok((
                    row.get::<_, i64>(0)?,
                    row.get::<_, String>(1)?,
                    row.get::<_, String>(2)?,
                ))
            })?;
            for row in rows {
                let (row, id, path) = row?;
                if paths.get(&id) == Some(&path) {
                    paths.remove(&id);
                } else {
                    let sql = "UPDATE folders SET until = ?2 WHERE rowid = ?1";
                    transaction.execute(sql, [row, number])?;
                }
            }
            for (id, path) in &paths {
                let sql = "INSERT INTO folders (resource, id, path, first) VALUES (?1, ?2, ?3, ?4)";
                transaction.execute(sql, params![resource, id, path, number])?;
            }
        }
        transaction.commit()
    };
    work().map_err(failed)
}

/// Removes a snapshot, and the rows that no other one holds.
fn forget(connection: &mut Connection, id: &SnapshotId) -> Result<()> {
    let mut work = || {
        let transaction = connection.transaction()?;
        let sql = "UPDATE snapshots SET gone = 1 WHERE id = ?1";
        transaction.execute(sql, [&id.as_bytes()[..]])?;
        // The last one of a resource is what the next is compared with.
        let sql = "DELETE FROM snapshots WHERE gone = 1 AND number < (SELECT max(number)
            FROM snapshots AS others WHERE others.resource = snapshots.resource)";
        transaction.execute(sql, [])?;
        let unheld = "until IS NOT NULL AND NOT EXISTS (SELECT 1 FROM snapshots
            WHERE gone = 0 AND snapshots.resource = items.resource AND snapshots.number >= items.first
            AND snapshots.number < items.until)";
        let sql =
            format!("DELETE FROM words WHERE rowid IN (SELECT number FROM items WHERE {unheld})");
        transaction.execute(&sql, [])?;
        transaction.execute(&format!("DELETE FROM items WHERE {unheld}"), [])?;
        transaction.commit()
    };
    work().map_err(failed)
}
