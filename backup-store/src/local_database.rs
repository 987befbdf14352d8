//! Local databases that several processes share: what each of them sets on its connection.
//!
//! No part of the API: it is public for the crates above, which share databases of their own.

use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

/// Makes a connection one of several: it waits for the others, and readers wait for no writer.
///
/// *Units and limits*: a statement waits for others up to `wait`, then it is refused as busy.
///
/// *Errors*: those of SQLite, but for being busy while another connection switches the same file.
pub fn share(connection: &Connection, wait: Duration) -> rusqlite::Result<()> {
    connection.busy_timeout(wait)?;
    match connection.pragma_update(None, "journal_mode", "WAL") {
        // Of two that switch a new file at once, SQLite lets one wait and refuses the other, for
        // both read it already. The one goes through with it, and then it is switched for both.
        Err(cause) if cause.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(()),
        switched => switched,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use rusqlite::TransactionBehavior::Immediate;

    use super::*;

    #[test]
    fn a_new_database_is_shared_by_all_that_open_it_at_once() {
        const PROCESSES: i64 = 8;
        for round in 0..50 {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("shared.sqlite");
            let barrier = Barrier::new(usize::try_from(PROCESSES).unwrap());
            let open = || {
                barrier.wait();
                let mut connection = Connection::open(&path)?;
                share(&connection, Duration::from_secs(60))?;
                let transaction = connection.transaction_with_behavior(Immediate)?;
                transaction.execute_batch("CREATE TABLE IF NOT EXISTS opened (by)")?;
                transaction.execute("INSERT INTO opened VALUES (1)", [])?;
                transaction.commit()
            };
            std::thread::scope(|scope| {
                let opened: Vec<_> = (0..PROCESSES).map(|_| scope.spawn(open)).collect();
                for process in opened {
                    let opened = process.join().unwrap();
                    assert!(opened.is_ok(), "round {round}: {opened:?}");
                }
            });
            let connection = Connection::open(&path).unwrap();
            let count = connection.query_row("SELECT count(*) FROM opened", [], |row| row.get(0));
            assert_eq!(count, Ok(PROCESSES), "round {round}");
            let mode = connection.pragma_query_value(None, "journal_mode", |row| row.get(0));
            assert_eq!(mode, Ok("wal".to_owned()), "round {round}");
        }
    }
}
