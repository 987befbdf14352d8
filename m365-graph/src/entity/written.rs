//! Objects written down: JSON text with the members in the order of their names, and where each stands.
//!
//! What a backup keeps of a message, and what it compares, are selections of its members: each is
//! written once, and selected by copying.

use std::borrow::Cow;
use std::sync::OnceLock;

use serde::Serializer;
use serde_json::Value;

use crate::json::{Listed, write_text};

/// An object as text.
#[derive(Clone)]
pub(super) struct Written {
    text: String,
    members: Vec<Place>,
    /// The same as a value, once somebody has asked for it.
    value: OnceLock<Value>,
}

/// Where a member stands: its name in quotes, a colon, its value.
#[derive(Debug, Clone, Copy)]
struct Place {
    start: usize,
    colon: usize,
    end: usize,
    /// Whether the name has no escapes.
    is_bare: bool,
}

impl Written {
    /// Writes an object of a page.
    pub(super) fn new(object: &Listed<'_, '_>) -> Option<Self> {
        let mut text = Vec::with_capacity(USUAL_BYTES);
        let mut places = Vec::with_capacity(object.members().len());
        for (name, value) in object.members() {
            text.push(if places.is_empty() { b'{' } else { b',' });
            let start = text.len();
            write_text(name, &mut text).ok()?;
            let colon = text.len();
            text.push(b':');
            value.write(&mut text).ok()?;
            places.push(Place {
                start,
                colon,
                end: text.len(),
                is_bare: matches!(name, Cow::Borrowed(_)),
            });
        }
        text.extend_from_slice(if places.is_empty() { b"{}" } else { b"}" });
        Some(Self {
            // Of texts, and of what stands between them.
            text: String::from_utf8(text).ok()?,
            members: places,
            value: OnceLock::new(),
        })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn value(&self) -> &Value {
        self.value.get_or_init(|| self.parse())
    }

    pub(super) fn into_value(mut self) -> Value {
        self.value.take().unwrap_or_else(|| self.parse())
    }

    fn parse(&self) -> Value {
        // What was written as JSON is JSON.
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// Returns an object of the members whose name is kept.
    pub(super) fn members(&self, keep: impl Fn(&str) -> bool) -> Vec<u8> {
        let mut object = Vec::with_capacity(self.text.len());
        for place in &self.members {
            if keep(&self.name(*place)) {
                object.push(if object.is_empty() { b'{' } else { b',' });
                object.extend_from_slice(&self.text.as_bytes()[place.start..place.end]);
            }
        }
        object.extend_from_slice(if object.is_empty() { b"{}" } else { b"}" });
        object
    }

    /// Returns the value of a member.
    pub(super) fn member(&self, name: &str) -> Option<&str> {
        let place = self
            .members
            .binary_search_by(|place| self.name(*place).as_ref().cmp(name));
        let place = place.ok().and_then(|place| self.members.get(place))?;
        Some(&self.text[place.colon + 1..place.end])
    }

    fn name(&self, place: Place) -> Cow<'_, str> {
        let bare = &self.text[place.start + 1..place.colon - 1];
        if !place.is_bare
            && let Ok(name) = serde_json::from_str(&self.text[place.start..place.colon])
        {
            return Cow::Owned(name);
        }
        Cow::Borrowed(bare)
    }
}

/// Writes an object as JSON text, in one line, with those of its members whose name is kept, in the
/// order of their names; what is no object is written as it is.
pub fn members(value: &Value, keep: impl Fn(&str) -> bool) -> Vec<u8> {
    let Value::Object(members) = value else {
        return value.to_string().into_bytes();
    };
    let mut sorted: Vec<_> = members.iter().filter(|(name, _)| keep(name)).collect();
    sorted.sort_by_key(|(name, _)| *name);
    // Written from where it stands: a copy of each object would cost more than all else here.
    let mut text = Vec::with_capacity(USUAL_BYTES);
    match serde_json::Serializer::new(&mut text).collect_map(sorted) {
        Ok(()) => text,
        // Memory does not fail, and the names are texts.
        Err(_) => value.to_string().into_bytes(),
    }
}

/// How long an object usually is.
const USUAL_BYTES: usize = 2 << 10;
