//! Failures of the two engines, in words; what lies below them (store, login, Graph) speaks first.

use std::error::Error as StdError;
use std::fmt::Display;

use backup_engine::ErrorKind as BackupKind;
use restore_engine::ErrorKind as RestoreKind;

use super::service::{auth_error_in, graph_error_in};
use super::{Failure, from_auth, from_graph, from_store};
use crate::exit::Exit;

/// Explains why a backup into the store in `place` could not be made.
pub(crate) fn from_backup(place: impl Display, error: &backup_engine::Error) -> Failure {
    if error.kind() == BackupKind::UserNotFound {
        return Failure::new(Exit::Failed, error.to_string())
            .because(error)
            .next(
                "check `selection.users` in the config, or --user: principal names such as \
             ada@contoso.example",
            );
    }
    if let Some(failure) = from_below("make the backup", "write to", &place, error) {
        return failure.cause(error.to_string());
    }
    let (exit, next) = match error.kind() {
        BackupKind::Throttled => (Exit::Throttled, "run it again later"),
        BackupKind::Denied => (
            Exit::PermissionMissing,
            "give the app the application permission for it, with admin consent",
        ),
        BackupKind::Coordinator => (
            Exit::Failed,
            "check `coordinator` in the config, and that the database can be reached; what was \
             committed is kept",
        ),
        BackupKind::Configuration => (Exit::Usage, "correct the config"),
        BackupKind::Journal => (
            Exit::Failed,
            "check the state folder; it may be deleted, which costs time and no data",
        ),
        _ => (Exit::Failed, "run it again; what was committed is kept"),
    };
    Failure::new(exit, "the backup could not be made")
        .because(error)
        .next(next)
}

/// Explains why a restore from the store in `place` could not be planned or done.
pub(crate) fn from_restore(
    doing: &str,
    place: impl Display,
    error: &restore_engine::Error,
) -> Failure {
    if error.kind() == RestoreKind::NotFound {
        return Failure::new(Exit::Failed, format!("cannot {doing}"))
            .because(error)
            .next("check the name after --to, or --owner: a principal name of the tenant");
    }
    if let Some(failure) = from_below(doing, "read", &place, error) {
        return failure.cause(error.to_string());
    }
    let (exit, next) = match error.kind() {
        RestoreKind::InvalidRequest => (Exit::Usage, "change the request, then look at --dry-run"),
        RestoreKind::PlanMismatch => (
            Exit::Failed,
            "something changed since the plan was made: run it again for a new plan",
        ),
        RestoreKind::Forbidden => (
            Exit::PermissionMissing,
            "give the app Mail.ReadWrite or Files.ReadWrite.All, with admin consent",
        ),
        RestoreKind::Throttled => (
            Exit::Throttled,
            "run it again later; it goes on where it was",
        ),
        RestoreKind::Damaged => (
            Exit::Failed,
            "run m365-backup check --all-data to see what is affected, and restore the rest with \
             --path",
        ),
        _ => (
            Exit::Failed,
            "run it again; what is there already is not written twice",
        ),
    };
    Failure::new(exit, format!("cannot {doing}"))
        .because(error)
        .next(next)
}

fn from_below(
    doing: &str,
    to_the_store: &str,
    place: &dyn Display,
    error: &(dyn StdError + 'static),
) -> Option<Failure> {
    if let Some(error) = store_error_in(error) {
        return Some(from_store(to_the_store, place, error));
    }
    if let Some(error) = graph_error_in(error) {
        return Some(from_graph(doing, error));
    }
    auth_error_in(error).map(|error| from_auth(doing, error))
}

fn store_error_in<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a backup_store::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<backup_store::Error>() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {

    use backup_engine::{Error, ErrorKind};

    use super::from_backup;

    #[test]
    fn a_user_who_is_not_there_is_named() {
        let error = Error::new(
            ErrorKind::UserNotFound,
            "the tenant has no user nobody@contoso.example",
        );
        let failure = from_backup("/srv/store", &error);
        assert_eq!(failure.exit().code(), 1);
        assert_eq!(
            failure.to_string(),
            "the tenant has no user nobody@contoso.example\n  next:  check `selection.users` in \
             the config, or --user: principal names such as ada@contoso.example"
        );
    }

    #[test]
    fn a_full_disk_below_the_engine_speaks_for_itself() {
        let full = backup_store::Error::new(
            backup_store::ErrorKind::StorageFull,
            "spool file: no space left",
        );
        let error =
            Error::new(ErrorKind::Store, "the page could not be committed").with_source(full);
        let failure = from_backup("/srv/store", &error);
        assert_eq!(
            failure.to_string(),
            "no space is left to write to the store in /srv/store\n  cause: spool file: no space \
             left\n  cause: the page could not be committed\n  next:  free some space there, then \
             run the same command again; what was committed is kept"
        );
    }
}
