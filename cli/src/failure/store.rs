//! Failures of the store, in words: which store, what is wrong with it, what to do.

use std::fmt::Display;

use backup_store::{Error, ErrorKind};

use super::{Failure, io_error_in, next_step_for_io};
use crate::exit::Exit;

/// Explains a failure of the store in `place` while `doing` something, such as `open`.
pub(crate) fn from_store(doing: &str, place: impl Display, error: &Error) -> Failure {
    if error.kind() == ErrorKind::NotAStore {
        return no_store(place, error);
    }
    let (exit, message, next) = match error.kind() {
        ErrorKind::StoreExists => (
            Exit::Failed,
            format!("there is a store, or the beginning of one, in {place} already"),
            "use it as it is, or choose another place",
        ),
        ErrorKind::WrongPassphrase => (
            Exit::WrongPassphrase,
            format!("the passphrase does not open the store in {place}"),
            "check which passphrase is given (--passphrase-file, M365_BACKUP_PASSPHRASE, the \
             config); without the right one nothing can be read",
        ),
        ErrorKind::WrongRecoveryCode | ErrorKind::WrongKeyFile => (
            Exit::WrongPassphrase,
            format!("the key given does not open the store in {place}"),
            "check that it belongs to this store; m365-backup key list shows which keys it has",
        ),
        ErrorKind::RecipientRemoved => (
            Exit::WrongPassphrase,
            format!("the key given was removed from the store in {place}"),
            "ask an owner of the store to add a key for you",
        ),
        ErrorKind::UnsupportedFormat => (
            Exit::Failed,
            format!("the store in {place} has a format that this program does not know"),
            "use the version of m365-backup that wrote it, or a newer one",
        ),
        ErrorKind::Damaged | ErrorKind::Missing => (
            Exit::Failed,
            format!("the store in {place} is damaged"),
            "run m365-backup check --all-data to see what is affected; every other item can still \
             be restored",
        ),
        ErrorKind::RolledBack => (
            Exit::Failed,
            format!("the store in {place} is older than it was"),
            "find out who put it back; if that was meant, run m365-backup repair --accept-older, \
             and nothing but this machine's memory of what was newer is lost",
        ),
        ErrorKind::StorageFull => (
            Exit::Failed,
            format!("no space is left to {doing} the store in {place}"),
            "free some space there, then run the same command again; what was committed is kept",
        ),
        ErrorKind::SpoolInUse => (
            Exit::Failed,
            format!("another run is writing to the store in {place} from this state folder"),
            "wait for it to end, or give this set a `state` folder of its own",
        ),
        _ => (
            Exit::Failed,
            format!("cannot {doing} the store in {place}"),
            general(error).unwrap_or_else(|| elsewhere(&place, error)),
        ),
    };
    Failure::new(exit, message).because(error).next(next)
}

/// Explains that there is no store in `place`.
pub(crate) fn no_store(place: impl Display, error: &Error) -> Failure {
    let failure =
        Failure::new(Exit::NoStore, format!("there is no store in {place}")).because(error);
    let next = match lacks_its_bucket(&failure) {
        true => MAKE_THE_BUCKET,
        false => "check --store or `store` in the config, or create one: m365-backup init",
    };
    failure.next(next)
}

fn general(error: &Error) -> Option<&'static str> {
    io_error_in(error).and_then(next_step_for_io)
}

/// Says what to do where the operating system has nothing to say.
fn elsewhere(place: &impl Display, error: &Error) -> &'static str {
    let place = place.to_string();
    let scheme = place.split_once("://").map(|(scheme, _)| scheme);
    let failure = Failure::usage("").because(error);
    match (scheme, error.kind()) {
        (Some(_), _) if lacks_its_bucket(&failure) => MAKE_THE_BUCKET,
        (Some("s3"), ErrorKind::PermissionDenied) => {
            "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and what they may do there"
        }
        (Some("azure"), ErrorKind::PermissionDenied) => {
            "check AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY, or whatever else opens it"
        }
        (_, ErrorKind::PermissionDenied) => {
            "give the account that runs this program access to it, then try again"
        }
        (Some(_), _) if error.is_retryable() => {
            "check the network, and the address of the object store where the environment names one, \
             then try again; what was committed is kept"
        }
        (None, _) if error.is_retryable() => "try again; what was committed is kept",
        _ => "see the cause; what was committed is kept",
    }
}

/// Tells by the words of the object stores that the bucket is not there.
fn lacks_its_bucket(failure: &Failure) -> bool {
    ["NoSuchBucket", "ContainerNotFound"]
        .iter()
        .any(|code| failure.mentions(code))
}

const MAKE_THE_BUCKET: &str = "check the name of the bucket or container; this program makes none: \
                               make it with the tools of its provider";

#[cfg(test)]
mod tests {
    use backup_store::{Error, ErrorKind};

    use super::from_store;

    fn check(kind: ErrorKind, cause: &str, code: u8, expected: &str) {
        let failure = from_store("open", "/srv/store", &Error::new(kind, cause));
        assert_eq!(failure.exit().code(), code);
        assert_eq!(failure.to_string(), expected);
    }

    #[test]
    fn a_store_that_is_not_there_is_exit_code_10() {
        check(
            ErrorKind::NotAStore,
            "no config",
            10,
            "there is no store in /srv/store\n  cause: no config\n  next:  check --store or \
             `store` in the config, or create one: m365-backup init",
        );
    }

    #[test]
    fn a_full_disk_names_the_object_and_what_is_kept() {
        check(
            ErrorKind::StorageFull,
            "pack 0a: no space left",
            1,
            "no space is left to open the store in /srv/store\n  cause: pack 0a: no space left\n  \
             next:  free some space there, then run the same command again; what was committed is \
             kept",
        );
    }

    #[test]
    fn damage_says_that_the_rest_is_safe() {
        check(
            ErrorKind::Damaged,
            "pack 0a: block 3 does not open",
            1,
            "the store in /srv/store is damaged\n  cause: pack 0a: block 3 does not open\n  next:  \
             run m365-backup check --all-data to see what is affected; every other item can still \
             be restored",
        );
    }
}
