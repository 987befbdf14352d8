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

    /// Does what [`lasting`] does.
    pub(super) fn lasting(&self, without: &[&[&str]]) -> Vec<u8> {
        let dropped = Dropped::new(without);
        let text = self.text.as_bytes();
        let mut object = Vec::with_capacity(text.len());
        // Neighbours are copied together, with the commas between them.
        let mut run: Option<(usize, usize)> = None;
        let mut copy = |(start, end): (usize, usize)| {
            object.push(if object.is_empty() { b'{' } else { b',' });
            object.extend_from_slice(&text[start..end]);
        };
        for place in &self.members {
            let is_surely_kept = place.is_bare && !dropped.may_be(text[place.start + 1]);
            if is_surely_kept || !dropped.is(&self.name(*place)) {
                let start = run.map_or(place.start, |(start, _)| start);
                run = Some((start, place.end));
            } else if let Some(run) = run.take() {
                copy(run);
            }
        }
        if let Some(run) = run {
            copy(run);
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

/// Writes what an object says of itself as JSON text, in one line, with the members in the order of
/// their names: without the annotations of the answer, but for its type, and without the members
/// named. What is no object is written as it is.
pub fn lasting(value: &Value, without: &[&[&str]]) -> Vec<u8> {
    let Value::Object(members) = value else {
        return value.to_string().into_bytes();
    };
    let dropped = Dropped::new(without);
    let mut sorted: Vec<_> = members
        .iter()
        .filter(|(name, _)| !dropped.is(name))
        .collect();
    sorted.sort_by_key(|(name, _)| *name);
    // Written from where it stands: a copy of each object would cost more than all else here.
    let mut text = Vec::with_capacity(USUAL_BYTES);
    match serde_json::Serializer::new(&mut text).collect_map(sorted) {
        Ok(()) => text,
        // Memory does not fail, and the names are texts.
        Err(_) => value.to_string().into_bytes(),
    }
}

/// Which members are left out.
struct Dropped<'a> {
    named: &'a [&'a [&'a str]],
    /// With which bytes their names begin, each by its lowest bits.
    firsts: u64,
}

impl<'a> Dropped<'a> {
    fn new(named: &'a [&'a [&'a str]]) -> Self {
        let firsts = named.iter().copied().flatten();
        let firsts = firsts.filter_map(|name| name.bytes().next());
        let bits = firsts.chain([ANNOTATION]).map(|first| 1 << (first & 63));
        Self {
            named,
            firsts: bits.fold(0, |all, bit: u64| all | bit),
        }
    }

    /// Tells whether a name that begins so may be left out.
    fn may_be(&self, first: u8) -> bool {
        self.firsts >> (first & 63) & 1 == 1
    }

    fn is(&self, name: &str) -> bool {
        name.as_bytes().first() == Some(&ANNOTATION) && name != "@odata.type"
            || self.named.iter().any(|names| names.contains(&name))
    }
}

/// How the names of annotations begin.
const ANNOTATION: u8 = b'@';
/// How long an object usually is.
const USUAL_BYTES: usize = 2 << 10;

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    #[test]
    fn what_lasts_holds_no_address_that_opens_without_a_login() {
        let raw = json!({
            "size": 3, "name": "a", "@odata.etag": "x", "@odata.type": "t",
            "@microsoft.graph.downloadUrl": "https://content.example/canary"
        });
        let text = String::from_utf8(lasting(&raw, &[&["size"]])).unwrap();
        assert_eq!(text, r#"{"@odata.type":"t","name":"a"}"#);
    }

    #[test]
    fn what_lasts_is_written_as_an_object_of_it_would_be() {
        let raw = json!({
            "z": {"b": [1, null, "\u{e9}\n\"\u{1}"], "a": 1.5}, "a": {}, "@odata.context": "x", "m": true
        });
        let kept = raw.as_object().unwrap().iter();
        let kept = kept.filter(|(name, _)| !name.starts_with('@') && *name != "m");
        let object: Map<String, Value> = kept.map(|(n, v)| (n.clone(), v.clone())).collect();
        let expected = Value::Object(object).to_string();
        assert_eq!(lasting(&raw, &[&["m"]]), expected.into_bytes());
    }
}
