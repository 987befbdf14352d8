//! What the sources on the Graph API share: users, links, errors.

use backup_store::Timestamp;
use backup_store::catalog::Cursor;
use m365_graph::{
    DeltaLink, DeltaNext, Entity, Error as GraphError, ErrorKind as Kind, GraphClient,
};
use m365_graph::{PageLink, User};

use super::{Found, Next, Owner, OwnerPage, Page};
use crate::error::{Error, ErrorKind, Result};
use crate::selection::{Selection, Users};

/// Lists the users that a selection covers: page by page, or one by one where they are named.
pub(super) async fn owners(
    client: &GraphClient,
    selection: &Selection,
    from: Option<&Cursor>,
) -> Result<OwnerPage> {
    let mut page = match &selection.users {
        Users::All => all_users(client, from).await?,
        Users::Chosen(names) => chosen_user(client, names, from).await?,
    };
    page.owners
        .retain(|owner| !selection.excludes(&owner.principal_name));
    Ok(page)
}

async fn all_users(client: &GraphClient, from: Option<&Cursor>) -> Result<OwnerPage> {
    let link = from.map(|cursor| client.parse_page_link(cursor.as_str()));
    let link = link.transpose().map_err(error)?;
    let page = client.users_page(link.as_ref()).await.map_err(error)?;
    Ok(OwnerPage {
        owners: page.items.iter().map(owner).collect(),
        next: page.next.as_ref().map(PageLink::as_str).map(Cursor::new),
    })
}

async fn chosen_user(
    client: &GraphClient,
    names: &[String],
    from: Option<&Cursor>,
) -> Result<OwnerPage> {
    let position = from.map_or(Ok(0), |cursor| cursor.as_str().parse::<usize>());
    let position = position.map_err(|cause| {
        Error::new(
            ErrorKind::Malformed,
            "the position in the list of users is no number",
        )
        .with_source(cause)
    })?;
    let Some(name) = names.get(position) else {
        return Ok(OwnerPage::default());
    };
    let user = client
        .user(name)
        .await
        .map_err(|cause| match cause.kind() {
            Kind::NotFound => {
                let message = format!("user {name} is not in the tenant");
                Error::new(ErrorKind::UserNotFound, message).with_source(cause)
            }
            _ => error(cause),
        })?;
    let following = position + 1;
    Ok(OwnerPage {
        owners: vec![owner(&user)],
        next: (following < names.len()).then(|| Cursor::new(following.to_string())),
    })
}

fn owner(user: &Entity<User>) -> Owner {
    let principal_name = user.user_principal_name.clone();
    let principal_name = principal_name.unwrap_or_else(|| user.id.clone());
    Owner {
        id: user.id.clone(),
        name: user
            .display_name
            .clone()
            .unwrap_or_else(|| principal_name.clone()),
        principal_name,
    }
}

/// Reads "not found" as the reason why an owner has no resource.
pub(super) fn nothing(cause: GraphError, reason: &str) -> Result<Found> {
    match cause.kind() {
        Kind::NotFound => Ok(Found::Nothing {
            reason: reason.to_owned(),
        }),
        _ => Err(error(cause)),
    }
}

/// Tells whether something is there from the attempt to read it.
pub(super) fn is_there<T>(found: m365_graph::Result<T>) -> Result<bool> {
    match found {
        Ok(_) => Ok(true),
        Err(cause) if cause.kind() == Kind::NotFound => Ok(false),
        Err(cause) => Err(error(cause)),
    }
}

/// Reads a cursor back; `None` if it cannot be read, and the feed must be enumerated anew.
pub(super) fn link(client: &GraphClient, cursor: Option<&Cursor>) -> Option<Option<DeltaLink>> {
    match cursor {
        None => Some(None),
        Some(cursor) => client.parse_delta_link(cursor.as_str()).ok().map(Some),
    }
}

/// Turns a link into a cursor.
pub(super) fn next(next: DeltaNext) -> Next {
    match next {
        DeltaNext::More(link) => Next::More(Cursor::new(link.as_str())),
        DeltaNext::End(link) => Next::End(Cursor::new(link.as_str())),
    }
}

/// Returns the page that says: enumerate anew.
pub(super) fn reset() -> Page {
    Page {
        changes: Vec::new(),
        next: Next::Reset,
    }
}

/// Reads the failure of a page: some are answers.
pub(super) fn page_error(cause: GraphError) -> Result<Page> {
    match cause.kind() {
        Kind::CursorReset => Ok(reset()),
        Kind::NotFound => Ok(Page {
            changes: Vec::new(),
            next: Next::Gone,
        }),
        _ => Err(error(cause)),
    }
}

/// Turns an error of the client into one of the engine.
pub(super) fn error(cause: GraphError) -> Error {
    let kind = match cause.kind() {
        Kind::Throttled if is_ours(&cause) => ErrorKind::NotAdmitted,
        Kind::Service if cause.status().is_some_and(|status| status.as_u16() == 504) => {
            ErrorKind::TimedOut
        }
        Kind::Throttled => ErrorKind::Throttled,
        Kind::Connect | Kind::Transport | Kind::Service => ErrorKind::Unavailable,
        Kind::NotFound => ErrorKind::NotFound,
        Kind::Malformed => ErrorKind::Malformed,
        Kind::Credential if cause.is_retryable() => ErrorKind::Unavailable,
        _ => ErrorKind::Denied,
    };
    let wait = cause.retry_after();
    Error::new(kind, cause.to_string())
        .with_retry_after(wait)
        .with_source(cause)
}

/// Tells whether our own limiter refused the request, and nothing was sent.
fn is_ours(cause: &GraphError) -> bool {
    let source = std::error::Error::source(cause);
    let refusal = source.and_then(|source| source.downcast_ref::<m365_auth::Error>());
    refusal.is_some_and(|error| error.kind() == m365_auth::ErrorKind::NotAdmitted)
}

/// Turns an error that concerns one item into one of the engine: some are the item's own.
pub(super) fn item_error(cause: GraphError) -> Error {
    let own = matches!(
        cause.kind(),
        Kind::ItemCorrupt
            | Kind::Blocked
            | Kind::TooLarge
            | Kind::Integrity
            | Kind::PreconditionFailed
            | Kind::Forbidden
            | Kind::Conflict
            | Kind::InvalidRequest
            | Kind::Malformed
    );
    if own {
        Error::new(ErrorKind::Item, cause.to_string()).with_source(cause)
    } else {
        error(cause)
    }
}

/// Turns an error in the middle of a body into one of the engine.
pub(super) fn body_error(cause: m365_auth::Error) -> Error {
    let kind = match cause.kind() {
        m365_auth::ErrorKind::TooLarge => ErrorKind::Item,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, cause.to_string()).with_source(cause)
}

/// Reads a time of the service.
pub(super) fn timestamp(text: &str) -> Result<Timestamp> {
    Timestamp::parse_rfc3339(text).map_err(|cause| {
        Error::new(ErrorKind::Malformed, "a time of the answer cannot be read").with_source(cause)
    })
}

/// Reads a time of the service that may be absent.
pub(super) fn optional_time(text: Option<&str>) -> Option<Timestamp> {
    text.and_then(|text| Timestamp::parse_rfc3339(text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_the_items_own_fault_quarantines_it() {
        let check = |kind: Kind, expected: ErrorKind| {
            let error = item_error(GraphError::new(kind, "the item"));
            assert_eq!(error.kind(), expected, "{kind:?}");
        };
        check(Kind::ItemCorrupt, ErrorKind::Item);
        check(Kind::Blocked, ErrorKind::Item);
        check(Kind::Integrity, ErrorKind::Item);
        check(Kind::Throttled, ErrorKind::Throttled);
        check(Kind::Service, ErrorKind::Unavailable);
        check(Kind::Transport, ErrorKind::Unavailable);
        check(Kind::Unauthorized, ErrorKind::Denied);
    }
}
