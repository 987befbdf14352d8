//! JSON of a page while it is read: texts borrowed from the answer, members in the order of their
//! names, so that a page of messages costs few allocations and is put in order once.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::LazyLock;

use serde::de::value::{BorrowedStrDeserializer, MapDeserializer, SeqDeserializer};
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::{Number, Value};

use crate::error::{Error, ErrorKind};

/// One value. Members stand in the order of their names; of equal names the last one counts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'a, str>),
    List(Vec<Self>),
    Object(Vec<Member<'a>>),
}

/// A name and its value.
pub(crate) type Member<'a> = (Cow<'a, str>, Json<'a>);

impl<'a> Json<'a> {
    /// Returns a member of an object.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else {
            return None;
        };
        let place = members.binary_search_by(|(known, _)| known.as_ref().cmp(name));
        place
            .ok()
            .and_then(|place| members.get(place))
            .map(|(_, value)| value)
    }

    /// Returns a text.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Puts members in order, as an ordered map of them would be.
    fn object(members: Vec<Member<'a>>) -> Self {
        Self::Object(in_order(members))
    }
}

fn in_order(mut members: Vec<Member<'_>>) -> Vec<Member<'_>> {
    if !members.is_sorted_by(|(a, _), (b, _)| a < b) {
        // Stable, so that of equal names the last stays the last.
        members.sort_by(|(a, _), (b, _)| a.cmp(b));
        members.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
    }
    members
}

/// The members of an object of a page, as they came, and the order of their names.
#[derive(Debug)]
pub(crate) struct Listed<'a, 'o> {
    members: Vec<Member<'a>>,
    order: &'o [usize],
}

impl<'a> Listed<'a, '_> {
    /// Returns the members in the order of their names.
    pub(crate) fn members(&self) -> impl ExactSizeIterator<Item = &Member<'a>> {
        self.order.iter().map(|place| &self.members[*place])
    }

    /// Returns a member.
    pub(crate) fn get(&self, name: &str) -> Option<&Json<'a>> {
        let found = self.members.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value)
    }
}

/// The order of the names of an object. The next one of a page mostly has the same.
#[derive(Debug, Default)]
pub(crate) struct Order(Vec<usize>);

impl Order {
    /// Puts the members of an object in order, without moving them.
    pub(crate) fn of<'a>(&mut self, mut members: Vec<Member<'a>>) -> Listed<'a, '_> {
        if !self.fits(&members) {
            self.0 = (0..members.len()).collect();
            self.0.sort_by(|a, b| members[*a].0.cmp(&members[*b].0));
            if !self.fits(&members) {
                // Names that come twice.
                members = in_order(members);
                self.0 = (0..members.len()).collect();
            }
        }
        let order = &self.0;
        Listed { members, order }
    }

    fn fits(&self, members: &[Member<'_>]) -> bool {
        let ascend = |pair: &[usize]| members[pair[0]].0 < members[pair[1]].0;
        self.0.len() == members.len() && self.0.windows(2).all(ascend)
    }
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any {
            puts_in_order: true,
            members: 0,
        })
    }
}

/// Reads anything; members that stand within something else are always put in order.
struct Any {
    puts_in_order: bool,
    /// How many members are likely.
    members: usize,
}

impl<'de> Visitor<'de> for Any {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Number::from_f64(value).map_or(Json::Null, Json::Number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Json::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
        Ok(Json::Text(Cow::Owned(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = access.next_element()? {
            values.push(value);
        }
        Ok(Json::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::with_capacity(self.members);
        while let Some(name) = access.next_key_seed(Name)? {
            members.push((name, access.next_value()?));
        }
        Ok(match self.puts_in_order {
            true => Json::object(members),
            false => Json::Object(members),
        })
    }
}

/// Reads a list piece by piece: of each object its members as they come.
pub(crate) struct EachObject<F>(pub(crate) F);

impl<'de, F: FnMut(Option<Vec<Member<'de>>>)> DeserializeSeed<'de> for EachObject<F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(Option<Vec<Member<'de>>>)> Visitor<'de> for EachObject<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut access: A) -> Result<(), A::Error> {
        let mut likely = 0;
        while let Some(members) = access.next_element_seed(Members { likely })? {
            likely = members.as_ref().map_or(0, Vec::len);
            (self.0)(members);
        }
        Ok(())
    }
}

/// Reads the members of an object as they come; nothing of anything else.
struct Members {
    /// How many are likely: as many as the one before had.
    likely: usize,
}

impl<'de> DeserializeSeed<'de> for Members {
    type Value = Option<Vec<Member<'de>>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        Ok(
            match deserializer.deserialize_any(Any {
                puts_in_order: false,
                members: self.likely,
            })? {
                Json::Object(members) => Some(members),
                _ => None,
            },
        )
    }
}

/// Reads a name without a copy where that can be.
pub(crate) struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text))
    }
}

impl Json<'_> {
    /// Writes a value that was read from text, in one line.
    pub(crate) fn write(&self, out: &mut Vec<u8>) -> serde_json::Result<()> {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            Self::Number(value) => serde_json::to_writer(out, value)?,
            Self::Text(text) => write_text(text, out)?,
            Self::List(values) => {
                out.push(b'[');
                for (place, value) in values.iter().enumerate() {
                    if place > 0 {
                        out.push(b',');
                    }
                    value.write(out)?;
                }
                out.push(b']');
            }
            Self::Object(members) => {
                out.push(b'{');
                for (place, (name, value)) in members.iter().enumerate() {
                    if place > 0 {
                        out.push(b',');
                    }
                    write_text(name, out)?;
                    out.push(b':');
                    value.write(out)?;
                }
                out.push(b'}');
            }
        }
        Ok(())
    }
}

/// Writes a text that was read from text.
#[allow(clippy::ptr_arg, reason = "whether it is borrowed says something")]
pub(crate) fn write_text(text: &Cow<'_, str>, out: &mut Vec<u8>) -> serde_json::Result<()> {
    match text {
        // What could be borrowed had no escapes, and needs none.
        Cow::Borrowed(text) => {
            out.push(b'"');
            out.extend_from_slice(text.as_bytes());
            out.push(b'"');
            Ok(())
        }
        Cow::Owned(text) => serde_json::to_writer(out, text),
    }
}

/// Reads views from a value that stays where it is.
impl<'de> Deserializer<'de> for &'de Json<'_> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self {
            Json::Null => visitor.visit_unit(),
            Json::Bool(value) => visitor.visit_bool(*value),
            Json::Number(value) => value.deserialize_any(visitor),
            Json::Text(text) => visitor.visit_borrowed_str(text),
            Json::List(values) => {
                let mut values = SeqDeserializer::new(values.iter());
                let read = visitor.visit_seq(&mut values)?;
                values.end().map(|()| read)
            }
            Json::Object(members) => {
                let members = members.iter().map(|(name, value)| (name.as_ref(), value));
                let mut members = MapDeserializer::new(members);
                let read = visitor.visit_map(&mut members)?;
                members.end().map(|()| read)
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self {
            Json::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        match self {
            Json::Text(text) => {
                let text = BorrowedStrDeserializer::<Self::Error>::new(text);
                text.deserialize_enum(name, variants, visitor)
            }
            // Seldom enough to be read from a copy.
            _ => Value::deserialize(self)?.deserialize_enum(name, variants, visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_unit()
    }
}

impl<'de> IntoDeserializer<'de, serde_json::Error> for &'de Json<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Parses the text of an answer; an empty one is null.
///
/// *Errors*: [`ErrorKind::Transport`] for one that ends in the middle, [`ErrorKind::Malformed`] for
/// anything else that is not JSON.
pub(crate) fn parse<'de, T: Deserialize<'de>>(text: &'de [u8]) -> Result<T, Error> {
    parse_with(text, PhantomData)
}

/// Parses the text of an answer as [`parse`] does, by a seed.
pub(crate) fn parse_with<'de, S: DeserializeSeed<'de>>(
    text: &'de [u8],
    seed: S,
) -> Result<S::Value, Error> {
    let text = if text.is_empty() { b"null" } else { text };
    // Looked at once, not each text of it.
    let read = match std::str::from_utf8(text) {
        Ok(text) => {
            let mut input = serde_json::Deserializer::from_str(text);
            let read = seed.deserialize(&mut input);
            read.and_then(|read| input.end().map(|()| read))
        }
        Err(_) => {
            let mut input = serde_json::Deserializer::from_slice(text);
            let read = seed.deserialize(&mut input);
            read.and_then(|read| input.end().map(|()| read))
        }
    };
    read.map_err(|cause| {
        // The text of the cause may repeat what was sent, so only its place is kept.
        if cause.is_eof() {
            Error::new(ErrorKind::Transport, "the answer ends in the middle")
        } else {
            let (line, column) = (cause.line(), cause.column());
            let what = match cause.is_data() {
                true => "what it should be",
                false => "JSON",
            };
            let message = format!("the answer is not {what} at line {line}, column {column}");
            Error::new(ErrorKind::Malformed, message)
        }
    })
}

/// Tells whether numbers read as this type are what a [`Value`] of this build holds: where a feature
/// of the JSON library keeps the digits of each, they are not.
pub(crate) fn reads_numbers_as_values_do() -> bool {
    static SHORTENED: LazyLock<bool> = LazyLock::new(|| {
        let number = serde_json::from_str::<Number>("1.00");
        number.is_ok_and(|number| format!("{number}") == "1.0")
    });
    *SHORTENED
}
