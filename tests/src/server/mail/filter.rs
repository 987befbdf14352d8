//! Filters: the few expressions that the simulated mail service understands.

use crate::server::answer::Refusal;

/// A condition on messages.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Condition {
    MessageId(String),
    /// A single-value extended property: canonical id and value.
    Property(String, String),
    ReceivedFrom(i64),
    IsRead(bool),
}

/// Reads a `$filter` on messages.
pub(super) fn condition(text: &str) -> Result<Condition, Refusal> {
    let strings = strings_in(text);
    let squeezed: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let lower = squeezed.to_ascii_lowercase();
    if lower.starts_with("internetmessageid eq '") && strings.len() == 1 {
        return Ok(Condition::MessageId(strings[0].clone()));
    }
    if lower.starts_with("singlevalueextendedproperties/any(")
        && lower.contains("/id eq '")
        && lower.contains(" and ")
        && lower.contains("/value eq '")
        && lower.ends_with(')')
        && strings.len() == 2
    {
        let id = canonical_property(&strings[0]).ok_or_else(unsupported)?;
        return Ok(Condition::Property(id, strings[1].clone()));
    }
    match lower.as_str() {
        "isread eq true" => Ok(Condition::IsRead(true)),
        "isread eq false" => Ok(Condition::IsRead(false)),
        _ => received_from(text).map(Condition::ReceivedFrom),
    }
}

/// Reads a filter of the form `receivedDateTime ge …`.
pub(super) fn received_from(text: &str) -> Result<i64, Refusal> {
    let mut words = text.split_whitespace();
    let (name, verb, time) = (words.next(), words.next(), words.next());
    let known = name.is_some_and(|name| name.eq_ignore_ascii_case("receivedDateTime"));
    let strictly = verb == Some("gt");
    let time = time.and_then(|time| time.parse::<jiff::Timestamp>().ok());
    match (
        known && (strictly || verb == Some("ge")) && words.next().is_none(),
        time,
    ) {
        (true, Some(time)) => Ok(time.as_second() + i64::from(strictly)),
        _ => Err(unsupported()),
    }
}

/// Reads a filter of the form `displayName eq '…'`.
pub(super) fn display_name(text: &str) -> Result<String, Refusal> {
    let lower = text.trim().to_ascii_lowercase();
    let mut strings = strings_in(text);
    match strings.pop() {
        Some(name) if lower.starts_with("displayname eq '") && strings.is_empty() => Ok(name),
        _ => Err(unsupported()),
    }
}

/// Lists the ids of properties in an `$expand`, in canonical form.
pub(super) fn property_ids(expand: &str) -> Vec<String> {
    strings_in(expand)
        .iter()
        .filter_map(|id| canonical_property(id))
        .collect()
}

/// Brings the id of a property into the one form that all spellings share.
///
/// *Shape*: `Integer 0xe07`, or `String {guid} Name X` with the GUID in lower case.
pub(crate) fn canonical_property(id: &str) -> Option<String> {
    let mut words = id.trim().splitn(2, ' ');
    let kind = words.next().filter(|kind| !kind.is_empty())?;
    let rest = words.next()?.trim();
    if let Some(hex) = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X")) {
        let tag = u32::from_str_radix(hex, 16).ok()?;
        return Some(format!("{kind} 0x{tag:x}"));
    }
    let (guid, name) = rest.split_once(' ')?;
    let named = name.trim().starts_with("Name ") || name.trim().starts_with("Id ");
    (guid.starts_with('{') && guid.ends_with('}') && named)
        .then(|| format!("{kind} {} {}", guid.to_ascii_lowercase(), name.trim()))
}

fn unsupported() -> Refusal {
    Refusal::new(
        400,
        "ErrorInvalidUrlQueryFilter",
        "The query filter contains one or more invalid or unsupported nodes.",
    )
}

/// Lists the quoted strings of an expression; two quotes within one stand for one.
fn strings_in(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter != '\'' {
            continue;
        }
        let mut string = String::new();
        while let Some(letter) = letters.next() {
            if letter == '\'' && letters.next_if_eq(&'\'').is_none() {
                break;
            }
            string.push(letter);
        }
        found.push(string);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_lookups_of_a_restore_are_understood() {
        let by_id = condition("internetMessageId eq '<a''b@c>'").expect("supported");
        assert_eq!(by_id, Condition::MessageId("<a'b@c>".to_string()));
        let text = "singleValueExtendedProperties/Any(ep: ep/id eq 'String \
            {AAAA0000-0000-0000-0000-000000000000} Name Source' and ep/value eq 'x y')";
        let id = "String {aaaa0000-0000-0000-0000-000000000000} Name Source";
        let by_property = condition(text).expect("supported");
        assert_eq!(
            by_property,
            Condition::Property(id.to_string(), "x y".to_string())
        );
    }

    #[test]
    fn other_filters_are_refused() {
        assert!(condition("subject eq 'x'").is_err());
    }
}
