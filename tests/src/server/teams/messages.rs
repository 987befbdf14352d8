//! Messages of channels: lists, answers, changes, the export of all, and the import of old ones.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{MIGRATE, bad, not_found, past, with_channel, with_team};
use crate::server::answer::{self, Outcome, Refusal, instant};
use crate::server::call::Call;
use crate::server::directory::context;
use crate::tenant::teams::{Channel, Migration, Post};

/// Messages of a page: where nobody asks for another size, and the most.
const PAGE: usize = 20;
const PAGE_MAX: usize = 50;
/// How far back changes are told without a token: eight months.
/// *Source*: Graph, chatMessage: delta.
const WINDOW_SECONDS: i64 = 243 * 86_400;

const READ: [&str; 1] = ["ChannelMessage.Read.All"];

/// Answers one request below the messages of a channel.
pub(super) fn route(call: &Call, below: &[&str]) -> Outcome {
    match (below, call.method.as_str()) {
        ([], "GET") => list(call, None),
        ([], "POST") => import(call, None),
        (["delta"], "GET") => changes(call),
        ([id], "GET") => with_channel(call, &READ, |_, channel| {
            let post = find(channel, id)?;
            Ok(answer::json(200, &show(call, channel, post)))
        }),
        ([id, "replies"], "GET") => list(call, Some(id)),
        ([id, "replies"], "POST") => import(call, Some(id)),
        _ => Err(Refusal::no_such_segment(call)),
    }
}

fn find<'c>(channel: &'c Channel, id: &str) -> Result<&'c Post, Refusal> {
    let mut posts = channel.messages.iter();
    posts
        .find(|post| post.id == id)
        .ok_or_else(|| not_found("message"))
}

fn size(call: &Call) -> Result<usize, Refusal> {
    match call.query.number("top")? {
        Some(top) if top == 0 || top > PAGE_MAX => {
            Err(bad(format!("The limit of $top is {PAGE_MAX}.")))
        }
        top => Ok(top.unwrap_or(PAGE)),
    }
}

fn list(call: &Call, of: Option<&str>) -> Outcome {
    call.query.allow(&["top", "expand", "skiptoken"])?;
    let size = size(call)?;
    let skip = place_of(call, "skiptoken")?.unwrap_or(0);
    with_channel(call, &READ, |_, channel| {
        if let Some(id) = of {
            find(channel, id)?;
        }
        let mut posts: Vec<&Post> = channel.messages.iter().collect();
        posts.retain(|post| post.reply_to.as_deref() == of);
        posts.sort_by_key(|post| std::cmp::Reverse(post.created));
        let all = posts.into_iter().map(|post| show(call, channel, post));
        Ok(page(call, all.collect(), skip, size))
    })
}

/// Lists all messages of a team with their answers.
pub(super) fn all(call: &Call) -> Outcome {
    call.query.allow(&["top", "filter", "skiptoken"])?;
    let size = size(call)?;
    let skip = place_of(call, "skiptoken")?.unwrap_or(0);
    with_team(call, &READ, |_, team| {
        let of = |channel| {
            let channel: &Channel = channel;
            let posts = channel.messages.iter();
            posts
                .map(|post| show(call, channel, post))
                .collect::<Vec<_>>()
        };
        let all = team.channels.iter().flat_map(of).collect();
        Ok(page(call, all, skip, size))
    })
}

fn page(call: &Call, all: Vec<Value>, skip: u64, size: usize) -> answer::Answer {
    let begin = usize::try_from(skip).unwrap_or(usize::MAX);
    let total = all.len();
    let value: Vec<Value> = all.into_iter().skip(begin).take(size).collect();
    let next = begin.saturating_add(value.len());
    let context = context(call, "teams('…')/channels('…')/messages");
    let mut body = json!({"@odata.context": context, "@odata.count": value.len(), "value": value});
    if next < total {
        body["@odata.nextLink"] = json!(call.link_with("skiptoken", &token(next as u64)));
    }
    answer::json(200, &body)
}

fn changes(call: &Call) -> Outcome {
    call.query
        .allow(&["top", "filter", "skiptoken", "deltatoken"])?;
    let size = size(call)?;
    let known = match place_of(call, "deltatoken")? {
        Some(place) => Some(place),
        None => place_of(call, "skiptoken")?,
    };
    with_channel(call, &READ, |context_of, channel| {
        let since = context_of.now.saturating_sub(WINDOW_SECONDS);
        let mut posts: Vec<&Post> = channel.messages.iter().collect();
        posts.retain(|post| post.reply_to.is_none() && post.place > known.unwrap_or(0));
        posts.retain(|post| post.modified >= since);
        posts.sort_by_key(|post| post.place);
        let more = posts.len() > size;
        posts.truncate(size);
        let last = match more {
            true => posts.last().map_or(0, |post| post.place),
            false => channel.place,
        };
        let option = if more { "skiptoken" } else { "deltatoken" };
        let link = if more {
            "@odata.nextLink"
        } else {
            "@odata.deltaLink"
        };
        let value: Vec<Value> = posts
            .into_iter()
            .map(|post| show(call, channel, post))
            .collect();
        let mut body = json!({
            "@odata.context": context(call, "Collection(chatMessage)"),
            "value": value,
        });
        body[link] = json!(format!("{}?%24{option}={}", call.address(), token(last)));
        Ok(answer::json(200, &body))
    })
}

fn token(place: u64) -> String {
    URL_SAFE_NO_PAD.encode(format!("chats:{place}"))
}

fn place_of(call: &Call, option: &str) -> Result<Option<u64>, Refusal> {
    let Some(text) = call.query.get(option) else {
        return Ok(None);
    };
    let read = || {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        text.strip_prefix("chats:")?.parse().ok()
    };
    read()
        .map(Some)
        .ok_or_else(|| bad("Parameter 'DeltaToken' not supported for this request."))
}

/// Takes a message of the past, which an app may bring in migration mode only.
fn import(call: &Call, reply_to: Option<&str>) -> Outcome {
    let body = call.json()?;
    with_channel(call, &MIGRATE, |context, channel| {
        if channel.migration != Some(Migration::InProgress) {
            let text = "Application permissions can write messages in migration mode only.";
            return Err(Refusal::new(403, "Forbidden", text));
        }
        if let Some(id) = reply_to {
            find(channel, id)?;
        }
        let text = body["createdDateTime"].as_str();
        let created = past(
            text.ok_or_else(|| bad("createdDateTime is required in migration mode."))?,
            context.now,
        )?;
        if created < channel.created {
            return Err(bad("The message is older than its channel."));
        }
        if !body["from"]["user"]["id"].is_string() || !body["body"]["content"].is_string() {
            return Err(bad("A message needs 'from.user' and 'body'."));
        }
        let (from, text) = (body["from"].clone(), body["body"].clone());
        let id = channel.post(reply_to, created, from, text).id.clone();
        let post = find(channel, &id)?;
        Ok(answer::json(201, &show(call, channel, post)))
    })
}

fn show(call: &Call, channel: &Channel, post: &Post) -> Value {
    json!({
        "id": post.id,
        "replyToId": post.reply_to,
        "etag": post.place.to_string(),
        "messageType": "message",
        "createdDateTime": instant(post.created),
        "lastModifiedDateTime": instant(post.modified),
        "lastEditedDateTime": null,
        "deletedDateTime": null,
        "subject": null,
        "summary": null,
        "importance": "normal",
        "locale": "en-us",
        "from": post.from,
        "body": post.body,
        "channelIdentity": {"teamId": call.segment(1), "channelId": channel.id},
        "attachments": [],
        "mentions": [],
        "reactions": [],
    })
}
