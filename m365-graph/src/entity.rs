//! Entity: one JSON object of the service, whole, with a typed view of what we read from it.

mod written;

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::json::{self, Json, Listed};
use written::Written;

pub use written::lasting;

/// Holds one object as the service sent it, and reads as its typed view.
///
/// *Shape*: members that the view does not know are kept in [`raw`](Self::raw). A member of an
/// unexpected JSON type reads as absent in the view and stays as it is in the raw object, so that
/// one odd member does not cost a whole page.
#[derive(Clone)]
pub struct Entity<T> {
    raw: Raw,
    view: T,
}

/// The object: as a value, or, where many come in one page, written in order.
#[derive(Clone)]
enum Raw {
    Value(Value),
    Written(Written),
}

impl<T> Entity<T> {
    /// Returns the object as the service sent it.
    pub fn raw(&self) -> &Value {
        match &self.raw {
            Raw::Value(value) => value,
            Raw::Written(written) => written.value(),
        }
    }

    /// Returns the object as JSON text, in one line.
    pub fn raw_json(&self) -> String {
        match &self.raw {
            Raw::Value(value) => value.to_string(),
            Raw::Written(written) => written.text().to_owned(),
        }
    }

    /// Gives up the view and returns the object.
    pub fn into_raw(self) -> Value {
        match self.raw {
            Raw::Value(value) => value,
            Raw::Written(written) => written.into_value(),
        }
    }

    /// Returns what the object says of itself as JSON text, in one line, with the members in the order
    /// of their names: without the annotations of the answer, but for its type, and without the
    /// members named.
    pub fn lasting(&self, without: &[&[&str]]) -> Vec<u8> {
        match &self.raw {
            Raw::Value(value) => lasting(value, without),
            Raw::Written(written) => written.lasting(without),
        }
    }

    /// Returns one member as JSON text.
    pub fn member(&self, name: &str) -> Option<Cow<'_, str>> {
        match &self.raw {
            Raw::Value(value) => value.get(name).map(|value| value.to_string().into()),
            Raw::Written(written) => written.member(name).map(Cow::Borrowed),
        }
    }
}

impl<T: DeserializeOwned> Entity<T> {
    /// Reads the view of an object.
    ///
    /// *Errors*: [`ErrorKind::Malformed`] when it is no object, or lacks what the view cannot do
    /// without, such as its id.
    pub fn from_raw(raw: Value) -> Result<Self> {
        match T::deserialize(&raw) {
            Ok(view) => Ok(Self {
                raw: Raw::Value(raw),
                view,
            }),
            // The cause is not passed on, as its text may repeat values.
            Err(_) => Err(no_object()),
        }
    }

    /// Parses an object from JSON text, such as [`raw_json`](Self::raw_json) gives.
    ///
    /// *Errors*: as [`from_raw`](Self::from_raw).
    pub fn from_json(text: &[u8]) -> Result<Self> {
        let raw = serde_json::from_slice(text)
            .map_err(|_| Error::new(ErrorKind::Malformed, "the text is not JSON"))?;
        Self::from_raw(raw)
    }
}

impl<T> Entity<T> {
    /// Reads the view of an object of a page, and writes the object down.
    ///
    /// *Errors*: as [`from_raw`](Self::from_raw).
    pub(crate) fn from_page(
        object: &Listed<'_, '_>,
        view: impl FnOnce(&Listed<'_, '_>) -> Option<T>,
    ) -> Result<Self> {
        let written = Written::new(object).ok_or_else(no_object)?;
        Ok(Self {
            raw: Raw::Written(written),
            view: view(object).ok_or_else(no_object)?,
        })
    }

    /// Gives up the object and returns the view.
    pub fn into_view(self) -> T {
        self.view
    }

    /// Shows another view of the same object.
    pub(crate) fn map<U>(self, view: impl FnOnce(T) -> U) -> Entity<U> {
        Entity {
            raw: self.raw,
            view: view(self.view),
        }
    }
}

fn no_object() -> Error {
    Error::new(
        ErrorKind::Malformed,
        "an object of the answer lacks its id or is no object",
    )
}

impl<T: PartialEq> PartialEq for Entity<T> {
    fn eq(&self, other: &Self) -> bool {
        self.view == other.view && self.raw() == other.raw()
    }
}

impl<T> Deref for Entity<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.view
    }
}

impl<T: fmt::Debug> fmt::Debug for Entity<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view.fmt(f)
    }
}

/// Reads a member, or its default when it is null or of another type.
pub(crate) fn lenient<'de, D, T>(deserializer: D) -> std::result::Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    if json::reads_numbers_as_values_do() {
        let value = Json::deserialize(deserializer)?;
        return Ok(T::deserialize(&value).unwrap_or_default());
    }
    let value = Value::deserialize(deserializer)?;
    Ok(T::deserialize(value).unwrap_or_default())
}

/// Declares a typed view of a JSON object: `id` where it has one, then optional members read
/// leniently; `times` stands for when it was made and changed last.
macro_rules! view {
    (
        $(#[$meta:meta])*
        pub struct $name:ident with $id:ident, times { $($fields:tt)* }
    ) => {
        crate::entity::view! {
            $(#[$meta])*
            pub struct $name with $id {
                $($fields)*
                /// When it was made.
                created_date_time: Option<String> = "createdDateTime",
                /// When it was changed last.
                last_modified_date_time: Option<String> = "lastModifiedDateTime",
            }
        }
    };
    (
        $(#[$meta:meta])*
        pub struct $name:ident $(with $id:ident)? {
            $( $(#[$field_meta:meta])* $field:ident : $type:ty = $json:literal ),* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, serde::Deserialize)]
        #[non_exhaustive]
        pub struct $name {
            $(
                /// The id, opaque and case-sensitive.
                pub $id: String,
            )?
            $(
                $(#[$field_meta])*
                #[serde(default, rename = $json, deserialize_with = "crate::entity::lenient")]
                pub $field: $type,
            )*
        }
    };
}
pub(crate) use view;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::Entity;
    use crate::mail::Message;

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            "\\PC{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a-zA-Z@.]{1,10}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn unknown_members_survive_a_round_trip(
            members in prop::collection::btree_map("[a-zA-Z@.]{1,12}", any_json(), 0..6)
        ) {
            let mut object: Map<String, Value> = members.into_iter().collect();
            object.insert("id".to_owned(), json!("AAMk"));
            let raw = Value::Object(object);
            let entity = Entity::<Message>::from_json(raw.to_string().as_bytes()).unwrap();
            prop_assert_eq!(entity.raw(), &raw);
            let again = Entity::<Message>::from_json(entity.raw_json().as_bytes()).unwrap();
            prop_assert_eq!(again, entity);
        }
    }

    #[test]
    fn a_member_of_another_type_reads_as_absent() {
        let raw = json!({"id": "1", "subject": 7, "isRead": "yes", "categories": null});
        let entity = Entity::<Message>::from_raw(raw).unwrap();
        assert_eq!(entity.subject, None);
        assert_eq!(entity.is_read, None);
        assert_eq!(entity.raw()["subject"], 7);
    }

    #[test]
    fn an_object_without_id_is_refused() {
        assert!(Entity::<Message>::from_raw(json!({"subject": "x"})).is_err());
        assert!(Entity::<Message>::from_raw(json!([])).is_err());
    }
}
