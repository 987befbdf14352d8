//! The vocabulary that both engines share: what is in a store, as plain data.
//!
//! The byte modules never import this one. Nothing here does IO, except [`Browse`] and
//! [`Search`], which read trees through [`Store`](crate::Store).

mod browse;
mod codec;
mod container;
mod item;
mod note;
mod resource;
mod run;
mod search;
mod snapshot;
mod snapshot_codec;
mod words;

#[cfg(test)]
mod laws;
#[cfg(test)]
pub(crate) mod samples;

pub use browse::{Browse, Items};
pub use container::{Container, ContainerKind};
pub use item::{Item, ItemKey, ItemKind, ItemState, Representation, RepresentationKind};
pub use note::RunNote;
pub use resource::{Resource, ResourceId, ResourceKind, Service};
pub use run::{Alarm, Drift, Findings, Gap, RunRecord};
pub(crate) use search::Prepared;
pub use search::{Filter, Found, Search, paths};
pub use snapshot::{
    Cursor, Enumeration, FeedCursor, Outcome, Snapshot, SnapshotEntry, Totals, choose_parent,
};
pub(crate) use words::Words;

/// Defines an open enumeration of names: known words as variants, any other kept as it is.
macro_rules! names {
    ($(#[$outer:meta])* $name:ident { $($(#[$inner:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$outer])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$inner])* $variant,)*
            /// A name that this version does not know, kept as it is.
            Other(String),
        }

        impl $name {
            /// Returns the name as it is stored and shown.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)*
                    Self::Other(name) => name,
                }
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                match name {
                    $($word => Self::$variant,)*
                    other => Self::Other(other.to_owned()),
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = <String as serde::Deserialize>::deserialize(deserializer)?;
                Ok(name.as_str().into())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}
use names;
