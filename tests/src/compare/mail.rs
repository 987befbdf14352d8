//! Mailboxes compared: every message of the source must be in the destination, field by field.

use std::collections::BTreeMap;

use super::Comparison;
use crate::tenant::Tenant;
use crate::tenant::mailbox::{Mailbox, ROOT};
use crate::tenant::message::{Address, Attachment, Message};

/// What a comparison sees of a message: field names with their values.
type Fields = Vec<(&'static str, String)>;

/// Compares the mailbox of `source` with that of `destination`, named by id or principal name.
///
/// Every message of the source must be in the folder of the same path, once for each time it is in
/// the source; the destination may hold more. A well-known folder stands for its namesake in the
/// other mailbox, whatever the language. With `prefix`, a path such as `Restored/2026`, folders are
/// looked for below that one. Drafts must be drafts, others must not.
pub fn mailbox(
    tenant: &Tenant,
    source: &str,
    destination: &str,
    prefix: Option<&str>,
) -> Comparison {
    let mut found = Comparison::default();
    let state = tenant.lock();
    let open = |name: &str| state.user(name).and_then(|user| user.mailbox.as_ref());
    let (Some(from), Some(to)) = (open(source), open(destination)) else {
        found.mismatches.push(format!(
            "mailbox of {source} or {destination}: there is none"
        ));
        return found;
    };
    let base = prefix.map_or(Some(ROOT), |prefix| below(to, prefix));
    let keys: Vec<u32> = from.folders.keys().copied().collect();
    for key in keys {
        let wanted: Vec<&Message> = from.messages_in(key).collect();
        if wanted.is_empty() {
            continue;
        }
        found.compared += wanted.len() as u64;
        let path = from.path_of(key).join("/");
        match base.and_then(|base| counterpart(from, key, to, base)) {
            Some(other) => {
                let there: Vec<&Message> = to.messages_in(other).collect();
                compare_folder(&path, &wanted, &there, &mut found.mismatches);
            }
            None => found.mismatches.push(format!(
                "{path}: the folder is missing in the destination, {} messages with it",
                wanted.len()
            )),
        }
    }
    found
}

fn below(mailbox: &Mailbox, prefix: &str) -> Option<u32> {
    prefix
        .split('/')
        .filter(|name| !name.is_empty())
        .try_fold(ROOT, |parent, name| mailbox.child_named(parent, name))
}

/// Finds the folder of `to`, below `base`, that stands for a folder of `from`.
fn counterpart(from: &Mailbox, key: u32, to: &Mailbox, base: u32) -> Option<u32> {
    let folder = from.folders.get(&key)?;
    if key == ROOT {
        return Some(base);
    }
    let twin = folder.well_known.and_then(|name| to.folder_key(name));
    if base == ROOT && twin.is_some() {
        return twin;
    }
    let parent = counterpart(from, folder.parent, to, base)?;
    let localised = twin
        .and_then(|twin| to.folders.get(&twin))
        .map(|twin| &twin.name);
    to.child_named(parent, &folder.name)
        .or_else(|| to.child_named(parent, localised?))
        .or_else(|| to.child_named(parent, folder.well_known?))
}

fn compare_folder(
    path: &str,
    wanted: &[&Message],
    there: &[&Message],
    mismatches: &mut Vec<String>,
) {
    let mut candidates: BTreeMap<String, Vec<Fields>> = BTreeMap::new();
    for message in there {
        let fields = fields(message);
        candidates.entry(name_of(&fields)).or_default().push(fields);
    }
    for message in wanted {
        let fields = fields(message);
        let name = name_of(&fields);
        let namesakes = candidates.entry(name.clone()).or_default();
        if let Some(equal) = namesakes.iter().position(|other| *other == fields) {
            namesakes.swap_remove(equal);
            continue;
        }
        let text = match namesakes.first() {
            None => "missing in the destination".to_string(),
            Some(other) => first_difference(&fields, other),
        };
        mismatches.push(format!("{path}: \"{name}\": {text}"));
    }
}

/// What tells messages apart before their fields are compared: the subject.
fn name_of(fields: &Fields) -> String {
    fields
        .first()
        .map(|(_, subject)| subject.clone())
        .unwrap_or_default()
}

fn first_difference(wanted: &Fields, there: &Fields) -> String {
    let pair = wanted.iter().zip(there).find(|(own, other)| own != other);
    pair.map_or_else(
        || "there are too few of it in the destination".to_string(),
        |((field, own), (_, other))| format!("{field} was {}, is {}", short(own), short(other)),
    )
}

fn short(text: &str) -> String {
    let mut kept: String = text.chars().take(80).collect();
    if kept.len() < text.len() {
        kept.push('…');
    }
    format!("\"{kept}\"")
}

fn fields(message: &Message) -> Fields {
    let view = message.view(true);
    let (body, html) = view.body();
    let mut categories = message.categories.clone();
    categories.sort();
    let mut files: Vec<String> = view.attachments.iter().map(file).collect();
    files.sort();
    vec![
        ("subject", view.subject.clone()),
        ("body kind", if html { "html" } else { "text" }.to_string()),
        ("body", body.replace("\r\n", "\n").trim_end().to_string()),
        ("from", people(view.from.as_slice())),
        ("to", people(&view.to)),
        ("cc", people(&view.cc)),
        ("bcc", people(&view.bcc)),
        ("reply-to", people(&view.reply_to)),
        ("attachments", files.join("; ")),
        ("read state", message.read.to_string()),
        ("flag", message.flag.as_str().to_string()),
        ("categories", categories.join(", ")),
        ("importance", message.importance.as_str().to_string()),
        ("received date", message.received.to_string()),
        ("sent date", message.sent.to_string()),
        ("draft", message.draft.to_string()),
    ]
}

fn file(file: &Attachment) -> String {
    format!(
        "{} ({}, inline {}, id {}, {} bytes, {})",
        file.name,
        file.media_type.to_ascii_lowercase(),
        file.inline,
        file.content_id.as_deref().unwrap_or("none"),
        file.size_bytes(),
        blake3::hash(&file.content()).to_hex(),
    )
}

/// Writes addresses; a name that only repeats the address is none.
fn people(list: &[Address]) -> String {
    let one = |person: &Address| match person.name.is_empty() || person.name == person.address {
        true => format!("<{}>", person.address.to_lowercase()),
        false => format!("{} <{}>", person.name, person.address.to_lowercase()),
    };
    let texts: Vec<String> = list.iter().map(one).collect();
    texts.join(", ").replace(" <", "<")
}
