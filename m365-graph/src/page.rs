//! Pages and cursors: lists, changes, and the opaque links between them.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use crate::entity::Entity;
use crate::error::{Error, ErrorKind, Result};

/// Holds one page of a list.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Page<T> {
    /// The objects of this page.
    pub items: Vec<Entity<T>>,
    /// Where the list goes on, if it does.
    pub next: Option<PageLink>,
}

/// Holds one page of changes.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DeltaPage<T> {
    /// The changes of this page; the same id may come again, then the last one counts.
    pub changes: Vec<Change<T>>,
    /// Where the changes go on.
    pub next: DeltaNext,
}

/// Says how the changes go on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a feed goes on or it ends")]
pub enum DeltaNext {
    /// There are more now.
    More(DeltaLink),
    /// That is all until something changes; the link gives what changes after this.
    End(DeltaLink),
}

/// Says what happened to one object.
#[derive(Debug, Clone)]
#[allow(clippy::exhaustive_enums, reason = "an object is there or it is not")]
pub enum Change<T> {
    /// It is new or has changed.
    Upserted(Entity<T>),
    /// It is gone from this collection.
    Removed {
        /// Its id.
        id: String,
        /// Why, as far as the service says.
        reason: RemovedReason,
    },
}

/// Says why an object is no longer in a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemovedReason {
    /// It was deleted, or moved to another collection.
    Deleted,
    /// It can still be brought back, or no longer matches.
    Changed,
    /// The service gave another reason, or none.
    Other(String),
}

/// Points to the next page of a list; opaque, and checked against the origin policy.
#[derive(Clone, PartialEq, Eq)]
pub struct PageLink(Url);

/// Points into a feed of changes: the whole URL, opaque, checked against the origin policy.
///
/// It is read back with [`GraphClient::parse_delta_link`](crate::GraphClient::parse_delta_link).
#[derive(Clone, PartialEq, Eq)]
pub struct DeltaLink(Url);

impl PageLink {
    /// Returns the link as text; whoever keeps it treats it as confidential.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub(crate) fn new(url: Url) -> Self {
        Self(url)
    }

    pub(crate) fn url(&self) -> &Url {
        &self.0
    }
}

impl DeltaLink {
    /// Returns the link as text; whoever keeps it treats it as confidential.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub(crate) fn new(url: Url) -> Self {
        Self(url)
    }

    pub(crate) fn url(&self) -> &Url {
        &self.0
    }
}

impl fmt::Debug for PageLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PageLink({})", m365_auth::redact::url(&self.0))
    }
}

impl fmt::Debug for DeltaLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeltaLink({})", m365_auth::redact::url(&self.0))
    }
}

/// Checks a link of the service.
pub(crate) type Check<'c> = &'c dyn Fn(&str) -> Result<Url>;

/// Reads a page of a list.
pub(crate) fn list<T: DeserializeOwned>(answer: Value, check: Check<'_>) -> Result<Page<T>> {
    let (values, mut links) = open(answer)?;
    let items = values
        .into_iter()
        .map(Entity::from_raw)
        .collect::<Result<_>>()?;
    let next = match links.next.take() {
        Some(link) => Some(PageLink::new(check(&link)?)),
        None => None,
    };
    Ok(Page { items, next })
}

/// Reads a page of changes; `removed` finds what marks an object as gone.
pub(crate) fn delta<T: DeserializeOwned>(
    answer: Value,
    removed: fn(&Value) -> Option<RemovedReason>,
    check: Check<'_>,
) -> Result<DeltaPage<T>> {
    let (values, links) = open(answer)?;
    let changes = values
        .into_iter()
        .map(|value| match removed(&value) {
            None => Entity::from_raw(value).map(Change::Upserted),
            Some(reason) => match value.get("id").and_then(Value::as_str) {
                Some(id) => Ok(Change::Removed {
                    id: id.to_owned(),
                    reason,
                }),
                None => Err(malformed("a removed object of the page has no id")),
            },
        })
        .collect::<Result<_>>()?;
    let next = match (links.next, links.delta) {
        (Some(next), _) => DeltaNext::More(DeltaLink::new(check(&next)?)),
        (None, Some(end)) => DeltaNext::End(DeltaLink::new(check(&end)?)),
        (None, None) => return Err(malformed("the page of changes has no link")),
    };
    Ok(DeltaPage { changes, next })
}

/// Finds the mark of directory and Outlook feeds.
pub(crate) fn removed_mark(value: &Value) -> Option<RemovedReason> {
    let mark = value.get("@removed")?;
    Some(
        match mark
            .get("reason")
            .and_then(Value::as_str)
            .unwrap_or_default()
        {
            "deleted" => RemovedReason::Deleted,
            "changed" => RemovedReason::Changed,
            other => RemovedReason::Other(other.to_owned()),
        },
    )
}

/// Finds the mark of drives: a `deleted` facet.
pub(crate) fn deleted_facet(value: &Value) -> Option<RemovedReason> {
    let facet = value.get("deleted").filter(|facet| !facet.is_null())?;
    Some(match facet.get("state").and_then(Value::as_str) {
        None | Some("deleted" | "softDeleted") => RemovedReason::Deleted,
        Some(other) => RemovedReason::Other(other.to_owned()),
    })
}

struct Links {
    next: Option<String>,
    delta: Option<String>,
}

fn open(answer: Value) -> Result<(Vec<Value>, Links)> {
    let Value::Object(mut map) = answer else {
        return Err(malformed("the page is no object"));
    };
    let mut link = |name: &str| match map.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(malformed("a link of the page is no text")),
    };
    let links = Links {
        // The older name is that of SharePoint REST.
        next: match link("@odata.nextLink")? {
            None => link("odata.nextLink")?,
            found => found,
        },
        delta: link("@odata.deltaLink")?,
    };
    match map.remove("value") {
        Some(Value::Array(values)) => Ok((values, links)),
        _ => Err(malformed("the page holds no list of values")),
    }
}

fn malformed(message: &str) -> Error {
    Error::new(ErrorKind::Malformed, message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use url::Url;

    use super::{Change, DeltaNext, RemovedReason, deleted_facet, delta, list, removed_mark};
    use crate::drive::DriveItem;
    use crate::error::{Error, ErrorKind, Result};
    use crate::mail::Message;

    fn accept(link: &str) -> Result<Url> {
        Url::parse(link).map_err(|_| Error::new(ErrorKind::Malformed, "no url"))
    }

    fn refuse(_: &str) -> Result<Url> {
        Err(Error::new(ErrorKind::OriginRefused, "elsewhere"))
    }

    #[test]
    fn a_page_of_changes_tells_the_gone_from_the_new() {
        let answer = json!({
            "value": [{"id": "1"}, {"id": "2", "@removed": {"reason": "deleted"}}],
            "@odata.deltaLink": "https://h.example/d?$deltatoken=canary"
        });
        let page = delta::<Message>(answer, removed_mark, &accept).unwrap();
        assert!(matches!(&page.changes[0], Change::Upserted(message) if message.id == "1"));
        let Change::Removed { id, reason } = &page.changes[1] else {
            panic!("not removed")
        };
        assert_eq!((id.as_str(), reason), ("2", &RemovedReason::Deleted));
        let DeltaNext::End(link) = page.next else {
            panic!("not the end")
        };
        assert!(!format!("{link:?}").contains("canary"));
    }

    #[test]
    fn a_deleted_drive_item_may_keep_its_file_facet() {
        let answer = json!({
            "value": [{"id": "1", "file": {}, "deleted": {}}],
            "@odata.nextLink": "https://h.example/d"
        });
        let page = delta::<DriveItem>(answer, deleted_facet, &accept).unwrap();
        assert!(matches!(&page.changes[0], Change::Removed { .. }));
        assert!(matches!(page.next, DeltaNext::More(_)));
    }

    #[test]
    fn a_link_elsewhere_spoils_the_page() {
        let answer = json!({"value": [], "@odata.nextLink": "https://evil.example/"});
        assert_eq!(
            list::<Message>(answer, &refuse).unwrap_err().kind(),
            ErrorKind::OriginRefused
        );
    }

    #[test]
    fn pages_that_are_no_pages_are_refused() {
        for answer in [
            json!([]),
            json!({}),
            json!({"value": {}}),
            json!({"value": []}),
        ] {
            let found = delta::<Message>(answer, removed_mark, &accept);
            assert_eq!(found.unwrap_err().kind(), ErrorKind::Malformed);
        }
    }
}
