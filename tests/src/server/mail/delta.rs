//! Delta queries: changes of one folder's messages, and of all folders.

use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{READ_BASIC, filter, folder_key, folders, json as render, mailbox_mut};
use crate::server::answer::{self, Outcome, Refusal};
use crate::server::call::Call;
use crate::server::directory::{context, pick};
use crate::tenant::mailbox::delta::{Options, Page, Stale, Token};
use crate::tenant::mailbox::{Mailbox, Mark, ROOT};

/// Messages per page where nobody asks for another size, and the most there are.
const PAGE_MESSAGES: usize = 10;
const PAGE_MESSAGES_MAX: usize = 1000;

/// Options that the two queries take; those of tokens included.
const MESSAGE_OPTIONS: [&str; 7] = [
    "select",
    "expand",
    "top",
    "filter",
    "orderby",
    "skiptoken",
    "deltatoken",
];
const FOLDER_OPTIONS: [&str; 4] = ["select", "top", "skiptoken", "deltatoken"];

/// Folders per page.
const PAGE_FOLDERS: usize = 200;

/// Messages that a delta query with a filter shows at most: Microsoft Graph, message: delta.
const FILTERED_MAX: usize = 5000;

pub(super) fn messages(call: &Call) -> Outcome {
    call.check(Method::GET, &READ_BASIC)?;
    call.query.allow(&MESSAGE_OPTIONS)?;
    let mut state = call.tenant.lock();
    let (mailbox, _) = mailbox_mut(call, &mut state)?;
    let id = call.segment(3);
    let Some(folder) = mailbox.folder_key(id) else {
        let from_token = given_token(call).is_some();
        return Err(if from_token {
            folder_gone()
        } else {
            missing(mailbox, id)
        });
    };
    let token = token(call, mailbox, Some(folder))?;
    let baked = mailbox.options_of(token);
    let size = call
        .prefer
        .page_size()
        .or(baked.top)
        .unwrap_or(PAGE_MESSAGES);
    let size = size.clamp(1, PAGE_MESSAGES_MAX.min(FILTERED_MAX));
    let page = mailbox
        .page(token, size)
        .map_err(|stale| refuse(call, stale))?;
    let entries = message_entries(call, mailbox, folder, &page);
    let user = state.user(call.segment(1));
    if let Some(mailbox) = user.and_then(|user| user.mailbox.as_ref()) {
        let live = entries.iter().filter_map(|entry| match entry {
            Entry::Live(shown) => Some(&shown.message),
            Entry::Gone(_) => None,
        });
        super::readable_page(&state, mailbox, live)?;
    }
    drop(state);
    let select = page.options.select.clone();
    let expand = page.options.expand.clone();
    let value: Vec<Value> = entries
        .into_iter()
        .map(|entry| match entry {
            Entry::Gone(gone) => gone,
            Entry::Live(live) => render::message(&live, select.as_deref(), expand.as_deref()),
        })
        .collect();
    Ok(answered(
        call,
        "users('…')/mailFolders('…')/messages",
        value,
        &page,
    ))
}

/// Answers a page of a log, as `show` renders its places; for paths with other shapes of entries.
pub(in crate::server) fn changes(
    call: &Call,
    mailbox: &mut Mailbox,
    folder: Option<u32>,
    what: &str,
    show: impl Fn(&Mailbox, &Mark) -> Option<Value>,
) -> Outcome {
    call.query.allow(&MESSAGE_OPTIONS)?;
    let token = token(call, mailbox, folder)?;
    let baked = mailbox.options_of(token);
    let size = call.prefer.page_size().or(baked.top);
    let size = size.unwrap_or(PAGE_MESSAGES).clamp(1, PAGE_MESSAGES_MAX);
    let page = mailbox
        .page(token, size)
        .map_err(|stale| refuse(call, stale))?;
    let shown = page.marks.iter().filter_map(|mark| show(mailbox, mark));
    let value = match &page.options.select {
        None => shown.collect(),
        Some(names) => shown.map(|entry| kept(&entry, names)).collect(),
    };
    Ok(answered(call, what, value, &page))
}

/// Keeps what was selected of an entry, and what every entry has.
fn kept(entry: &Value, names: &[String]) -> Value {
    let always = ["id", "@removed"].map(str::to_owned);
    pick(entry, &[names, &always].concat())
}

/// Says that an object is no longer there.
pub(in crate::server) fn removed(id: &str) -> Value {
    json!({"id": id, "@removed": {"reason": "deleted"}})
}

enum Entry {
    Live(Box<render::Shown>),
    Gone(Value),
}

fn message_entries(call: &Call, mailbox: &Mailbox, folder: u32, page: &Page) -> Vec<Entry> {
    let immutable = call.prefer.immutable_ids();
    let change_type = page.options.change_type.as_deref();
    let shows = |kind: &str| change_type.is_none_or(|wanted| wanted.contains(kind));
    let entry = |mark: &Mark| match *mark {
        Mark::Live(serial) => {
            let message = mailbox.messages.get(&serial)?;
            let old = page
                .options
                .received_from
                .is_some_and(|from| message.received < from);
            let kind = if message.created == message.modified {
                "created"
            } else {
                "updated"
            };
            (!old && shows(kind))
                .then(|| Entry::Live(Box::new(render::Shown::new(mailbox, message, immutable))))
        }
        Mark::Gone(serial, moves) => {
            let back = mailbox
                .messages
                .get(&serial)
                .is_some_and(|live| live.folder == folder);
            if (back && immutable) || !shows("deleted") {
                return None;
            }
            let id = mailbox.gone_id(serial, moves, immutable);
            Some(Entry::Gone(removed(&id)))
        }
    };
    page.marks.iter().filter_map(entry).collect()
}

pub(super) fn folders(call: &Call) -> Outcome {
    call.check(Method::GET, &READ_BASIC)?;
    call.query.allow(&FOLDER_OPTIONS)?;
    let mut state = call.tenant.lock();
    let (mailbox, _) = mailbox_mut(call, &mut state)?;
    let token = token(call, mailbox, None)?;
    let baked = mailbox.options_of(token);
    let size = call
        .prefer
        .page_size()
        .or(baked.top)
        .unwrap_or(PAGE_FOLDERS);
    let page = mailbox
        .page(token, size.clamp(1, PAGE_MESSAGES_MAX))
        .map_err(|stale| refuse(call, stale))?;
    let entry = |mark: &Mark| match *mark {
        Mark::Live(ROOT) => None,
        Mark::Live(key) => {
            let folder = mailbox.folders.get(&key)?;
            let shown = page.options.hidden || !mailbox.is_hidden(key);
            shown.then(|| folders::to_json(mailbox, folder, page.options.select.as_deref()))
        }
        Mark::Gone(key, _) => Some(removed(&mailbox.folder_id(key))),
    };
    let value = page.marks.iter().filter_map(entry).collect();
    Ok(answered(call, "users('…')/mailFolders", value, &page))
}

fn answered(call: &Call, what: &str, value: Vec<Value>, page: &Page) -> answer::Answer {
    let mut body = json!({
        "@odata.context": context(call, what),
        "value": value,
    });
    let (link, option) = match page.more {
        true => ("@odata.nextLink", "skiptoken"),
        false => ("@odata.deltaLink", "deltatoken"),
    };
    body[link] = json!(format!("{}?%24{option}={}", call.address(), page.token));
    answer::json(200, &body)
}

fn given_token(call: &Call) -> Option<&str> {
    call.query
        .get("deltatoken")
        .or_else(|| call.query.get("skiptoken"))
        .filter(|text| !text.is_empty())
}

/// Reads the token of the request, or begins a chain with the request's options.
fn token(call: &Call, mailbox: &mut Mailbox, folder: Option<u32>) -> Result<Token, Refusal> {
    if let Some(text) = given_token(call) {
        return mailbox
            .read_token(folder, text)
            .map_err(|stale| refuse(call, stale));
    }
    let change_type = call.query.get("changetype");
    if change_type.is_some_and(|kind| !["created", "updated", "deleted"].contains(&kind)) {
        return Err(Refusal::bad_request(
            "The value of changeType is not valid.",
        ));
    }
    let options = Options {
        select: call.query.select(),
        expand: call.query.get("expand").map(str::to_string),
        top: call.query.number("top")?,
        change_type: change_type.map(str::to_string),
        hidden: call
            .query
            .get("includehiddenfolders")
            .is_some_and(|text| text.eq_ignore_ascii_case("true")),
        received_from: call
            .query
            .get("filter")
            .map(filter::received_from)
            .transpose()?,
    };
    Ok(mailbox.begin_chain(folder, options))
}

/// Refuses a token in the service's words.
pub(super) fn refuse(call: &Call, stale: Stale) -> Refusal {
    match stale {
        Stale::FolderGone => folder_gone(),
        Stale::Unknown => Refusal::new(
            400,
            "SyncStateInvalid",
            "The sync state data is malformed or does not belong to this collection.",
        ),
        Stale::Expired => expired(call),
    }
}

/// Says that a delta token is too old, and where to begin again.
pub(crate) fn expired(call: &Call) -> Refusal {
    Refusal::new(
        410,
        "SyncStateNotFound",
        "The sync state generation is not found; delta queries must begin anew.",
    )
    .with_header("location", format!("{}?%24deltatoken=", call.address()))
}

fn folder_gone() -> Refusal {
    Refusal::new(
        404,
        "ErrorSyncFolderNotFound",
        "The folder for synchronization could not be found.",
    )
}

fn missing(mailbox: &Mailbox, id: &str) -> Refusal {
    folder_key(mailbox, id)
        .err()
        .unwrap_or_else(Refusal::item_not_found)
}

impl Call {
    /// Returns the address of this request without its query, on the configured origin.
    pub(crate) fn address(&self) -> String {
        let path: Vec<String> = self
            .segments
            .iter()
            .map(|segment| utf8_percent_encode(segment, SEGMENT).to_string())
            .collect();
        format!("{}v1.0/{}", self.tenant.urls().graph, path.join("/"))
    }

    /// Returns the address of this request with one option replaced.
    pub(crate) fn link_with(&self, option: &str, value: &str) -> String {
        let mut query = String::new();
        for (name, own, system) in self.query.iter().filter(|(name, _, _)| name != option) {
            let mark = if *system { "%24" } else { "" };
            let own = utf8_percent_encode(own, SEGMENT);
            query.push_str(&format!("{mark}{name}={own}&"));
        }
        format!("{}?{query}%24{option}={value}", self.address())
    }
}

/// Characters that stay as they are in a segment.
const SEGMENT: &percent_encoding::AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'$')
    .remove(b'@');
