//! Pages and cursors: lists, changes, and the opaque links between them.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use url::Url;

use crate::entity::Entity;
use crate::error::{Error, ErrorKind, Result};
use crate::json::{self, EachObject, Json, Member, Name, Order};
use crate::mail::{Message, MessageHead};

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
pub(crate) type Check<'c> = &'c (dyn Fn(&str) -> Result<Url> + Sync);

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
            Some(reason) => self::removed(value.get("id").and_then(Value::as_str), reason),
        })
        .collect::<Result<_>>()?;
    let next = links.delta_next(check)?;
    Ok(DeltaPage { changes, next })
}

/// Reads a page of changes of messages from its text, as [`delta`] reads it from a value: such pages
/// are many and long. Each message is written down before the next is read.
pub(crate) fn heads_of_text(answer: &[u8], check: Check<'_>) -> Result<DeltaPage<MessageHead>> {
    if !json::reads_numbers_as_values_do() {
        let DeltaPage { changes, next } =
            delta::<Message>(json::parse(answer)?, removed_mark, check)?;
        let changes = changes.into_iter().map(|change| match change {
            Change::Upserted(message) => Change::Upserted(message.map(MessageHead::from)),
            Change::Removed { id, reason } => Change::Removed { id, reason },
        });
        return Ok(DeltaPage {
            changes: changes.collect(),
            next,
        });
    }
    let Heads {
        changes,
        next,
        delta,
    } = json::parse_with(answer, PhantomData::<Heads<'_>>)?;
    let link = |link: Json<'_>| match link {
        Json::Null => Ok(None),
        Json::Text(text) => Ok(Some(text.into_owned())),
        _ => Err(malformed("a link of the page is no text")),
    };
    let links = Links {
        next: link(next)?,
        delta: link(delta)?,
    };
    let changes = changes.ok_or_else(|| malformed("the page holds no list of values"))?;
    Ok(DeltaPage {
        changes: changes.into_iter().collect::<Result<_>>()?,
        next: links.delta_next(check)?,
    })
}

/// What a page of changes of messages holds.
struct Heads<'a> {
    changes: Option<Vec<Result<Change<MessageHead>>>>,
    next: Json<'a>,
    delta: Json<'a>,
}

impl<'de> Deserialize<'de> for Heads<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(ReadHeads)
    }
}

struct ReadHeads;

impl<'de> Visitor<'de> for ReadHeads {
    type Value = Heads<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a page")
    }

    fn visit_map<A: MapAccess<'de>>(
        self,
        mut access: A,
    ) -> std::result::Result<Heads<'de>, A::Error> {
        let mut page = Heads {
            changes: None,
            next: Json::Null,
            delta: Json::Null,
        };
        let mut order = Order::default();
        while let Some(name) = access.next_key_seed(Name)? {
            match name.as_ref() {
                "value" => {
                    let mut changes = Vec::with_capacity(USUAL_CHANGES);
                    access.next_value_seed(EachObject(|members| {
                        changes.push(head_of(members, &mut order));
                    }))?;
                    page.changes = Some(changes);
                }
                "@odata.nextLink" => page.next = access.next_value()?,
                "@odata.deltaLink" => page.delta = access.next_value()?,
                _ => drop(access.next_value::<Json<'_>>()?),
            }
        }
        Ok(page)
    }
}

/// How many changes a page usually holds.
const USUAL_CHANGES: usize = 200;

fn head_of(members: Option<Vec<Member<'_>>>, order: &mut Order) -> Result<Change<MessageHead>> {
    let Some(members) = members else {
        return Err(malformed("an object of the page is none"));
    };
    let object = order.of(members);
    match object.get("@removed") {
        None => Entity::from_page(&object, MessageHead::read).map(Change::Upserted),
        Some(mark) => {
            let reason = removed_for(mark.get("reason").and_then(Json::as_text));
            removed(object.get("id").and_then(Json::as_text), reason)
        }
    }
}

fn removed<T>(id: Option<&str>, reason: RemovedReason) -> Result<Change<T>> {
    match id {
        Some(id) => Ok(Change::Removed {
            id: id.to_owned(),
            reason,
        }),
        None => Err(malformed("a removed object of the page has no id")),
    }
}

/// Finds the mark of directory and Outlook feeds.
pub(crate) fn removed_mark(value: &Value) -> Option<RemovedReason> {
    let mark = value.get("@removed")?;
    Some(removed_for(mark.get("reason").and_then(Value::as_str)))
}

fn removed_for(reason: Option<&str>) -> RemovedReason {
    match reason.unwrap_or_default() {
        "deleted" => RemovedReason::Deleted,
        "changed" => RemovedReason::Changed,
        other => RemovedReason::Other(other.to_owned()),
    }
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

impl Links {
    fn delta_next(self, check: Check<'_>) -> Result<DeltaNext> {
        match (self.next, self.delta) {
            (Some(next), _) => Ok(DeltaNext::More(DeltaLink::new(check(&next)?))),
            (None, Some(end)) => Ok(DeltaNext::End(DeltaLink::new(check(&end)?))),
            (None, None) => Err(malformed("the page of changes has no link")),
        }
    }
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
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use url::Url;

    use super::{
        Change, DeltaNext, RemovedReason, deleted_facet, delta, heads_of_text, list, removed_mark,
    };
    use crate::drive::DriveItem;
    use crate::error::{Error, ErrorKind, Result};
    use crate::mail::{Message, MessageHead};

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
        let text = answer.to_string();
        let of_value = delta::<Message>(answer, removed_mark, &accept).unwrap();
        let of_text = heads_of_text(text.as_bytes(), &accept).unwrap();
        assert!(matches!(&of_value.changes[0], Change::Upserted(message) if message.id == "1"));
        assert!(matches!(&of_text.changes[0], Change::Upserted(head) if head.id == "1"));
        let reason = RemovedReason::Deleted;
        let gone = |id: &str, why: &RemovedReason| id == "2" && *why == reason;
        assert!(matches!(&of_value.changes[1], Change::Removed { id, reason } if gone(id, reason)));
        assert!(matches!(&of_text.changes[1], Change::Removed { id, reason } if gone(id, reason)));
        for next in [of_value.next, of_text.next] {
            let DeltaNext::End(link) = next else {
                panic!("not the end")
            };
            assert!(!format!("{link:?}").contains("canary"));
        }
    }

    #[test]
    fn a_head_shows_addresses_and_no_odd_member_costs_a_page() {
        let person = |address: Value| json!({"emailAddress": {"name": "N", "address": address}});
        let answer = json!({
            "value": [
                {
                    "subject": "s", "from": person(json!("f@x")), "sender": null, "isDraft": true,
                    "toRecipients": [person(json!("a@x")), person(Value::Null), person(json!("b@x"))],
                    "id": "1", "changeKey": "k", "createdDateTime": "c", "lastModifiedDateTime": "m",
                    "ccRecipients": [person(json!("c@x")), 7], "bccRecipients": [],
                },
                {"id": "2", "subject": 7, "from": [1], "isDraft": "yes", "toRecipients": {}},
            ],
            "@odata.deltaLink": "https://h.example/d"
        });
        let text = answer.to_string();
        let of_value = delta::<Message>(answer, removed_mark, &accept).unwrap();
        let of_text = heads_of_text(text.as_bytes(), &accept).unwrap();
        for (value, read) in of_value.changes.into_iter().zip(&of_text.changes) {
            let (Change::Upserted(value), Change::Upserted(read)) = (value, read) else {
                panic!("removed")
            };
            assert_eq!(value.map(MessageHead::from).into_view(), **read);
        }
        let Change::Upserted(first) = &of_text.changes[0] else {
            panic!("removed")
        };
        assert_eq!(first.from.as_deref(), Some("f@x"));
        assert_eq!(first.to_recipients, ["a@x", "b@x"]);
        assert!(first.cc_recipients.is_empty() && first.is_draft());
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

    /// Any JSON, as text: odd numbers, escapes, white space and repeated names included.
    fn any_text() -> impl Strategy<Value = String> {
        let number = prop_oneof![
            any::<i64>().prop_map(|number| number.to_string()),
            any::<f64>().prop_filter_map("no JSON", |it| it.is_finite().then(|| it.to_string())),
            "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?",
        ];
        let text = prop_oneof![
            ".{0,9}".prop_map(|text| json!(text).to_string()),
            r#""(\\u00[0-9a-f]{2}|\\/|\\n|[a-z]){0,5}""#,
        ];
        let word = prop::sample::select(vec!["null", "true", "false", " 1 ", "[ ]", "{}"]);
        let leaf = prop_oneof![number, text, word.prop_map(str::to_owned)];
        leaf.prop_recursive(3, 24, 5, |inner| {
            let list = prop::collection::vec(inner.clone(), 0..5);
            prop_oneof![
                list.prop_map(|values| format!("[{}]", values.join(" ,"))),
                members(inner).prop_map(|members| format!("{{{members}}}")),
            ]
        })
    }

    fn members(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
        let name = prop_oneof![
            "[a-c@.]{0,2}",
            "[a-c]\\\\u006[1-3]",
            prop::sample::select(vec![
                "@odata.type",
                "subject",
                "from",
                "toRecipients",
                "isRead"
            ])
            .prop_map(str::to_owned),
        ];
        let member = (name, value).prop_map(|(name, value)| format!("\"{name}\":{value}"));
        prop::collection::vec(member, 0..6).prop_map(|members| members.join(", "))
    }

    proptest! {
        #[test]
        fn a_page_reads_from_text_as_from_a_value(
            objects in prop::collection::vec(members(any_text()), 0..4), broken: u8,
        ) {
            let lead = if broken == 0 { "" } else { r#""id":"1","# };
            let object = |members: &String| format!("{{{lead}{members}}}").replace(",}", "}");
            let objects = objects.iter().map(object).collect::<Vec<_>>().join(",");
            let link = "\"@odata.deltaLink\":\"https://h.example/d\"";
            let text = format!("{{\"value\":[{objects}],{link}}}");
            let value = serde_json::from_str(&text).unwrap();
            let expected = delta::<Message>(value, removed_mark, &accept);
            let read = heads_of_text(text.as_bytes(), &accept);
            let (expected, read) = match (expected, read) {
                (Ok(expected), Ok(read)) => (expected, read),
                (expected, read) => {
                    prop_assert!(expected.is_err() && read.is_err());
                    return Ok(());
                }
            };
            prop_assert_eq!(&expected.next, &read.next);
            prop_assert_eq!(expected.changes.len(), read.changes.len());
            for pair in expected.changes.iter().zip(&read.changes) {
                let (Change::Upserted(expected), Change::Upserted(read)) = pair else {
                    continue;
                };
                prop_assert_eq!(&expected.id, &read.id);
                prop_assert_eq!(&expected.subject, &read.subject);
                prop_assert_eq!(expected.raw_json(), read.raw_json());
                prop_assert_eq!(expected.member("subject"), read.member("subject"));
                let without: &[&[&str]] = &[&["b", "zz"], &["subject"]];
                let keep = |name: &str| {
                    let annotation = name.starts_with('@') && name != "@odata.type";
                    !annotation && !without.concat().contains(&name)
                };
                // What a value without these members would be written as.
                let mut less = expected.raw().as_object().unwrap().clone();
                less.retain(|name, _| keep(name));
                let less = Value::Object(less).to_string().into_bytes();
                prop_assert_eq!(&read.lasting(without), &less);
                prop_assert_eq!(&expected.lasting(without), &less);
            }
        }
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
            json!({"value": [], "@odata.nextLink": 1}),
        ] {
            let text = answer.to_string();
            let found = heads_of_text(text.as_bytes(), &accept);
            assert_eq!(found.unwrap_err().kind(), ErrorKind::Malformed);
            let found = delta::<Message>(answer, removed_mark, &accept);
            assert_eq!(found.unwrap_err().kind(), ErrorKind::Malformed);
        }
    }
}
