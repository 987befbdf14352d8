//! Attachments: list, read, add, and upload sessions for the large ones.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use super::json::attachment as render;
use super::messages::{check_size, find};
use super::{READ, WRITE, compose, mailbox_mut};
use crate::server::answer::{self, Outcome, Refusal, instant};
use crate::server::call::Call;
use crate::server::directory::context;
use crate::tenant::mailbox::{Mailbox, names};
use crate::tenant::message::{Attachment, Content};
use crate::tenant::uploads::Upload;
use crate::tenant::{EPOCH, ids};

/// Sizes between which an upload session is needed, and the largest range of one.
/// *Source*: Microsoft Graph, attach large files to Outlook messages, which says 3 MB. Counted
/// as 3,000,000, everything that is too long for one request of 4 MiB in base64 can go by a session.
const SESSION_BYTES_MIN: u64 = 3_000_000;
const SESSION_BYTES_MAX: u64 = 150 * 1024 * 1024;
const RANGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Seconds that an upload session lives.
const SESSION_SECONDS: i64 = 7200;

pub(super) fn list(call: &Call, id: &str) -> Outcome {
    call.check(Method::GET, &READ)?;
    call.query.allow(&["select", "top", "expand"])?;
    let found = find(call, id)?;
    let with_content = call.query.select().is_none_or(|names| {
        names
            .iter()
            .any(|name| name.eq_ignore_ascii_case("contentBytes"))
    });
    let files = found.message.view(false).attachments;
    let value: Vec<Value> = files
        .iter()
        .enumerate()
        .map(|(index, file)| render(&found.id, index, file, with_content))
        .collect();
    let name = context(call, "users('…')/messages('…')/attachments");
    Ok(answer::json(
        200,
        &json!({"@odata.context": name, "value": value}),
    ))
}

/// Finds one attachment of a message.
fn pick(call: &Call, id: &str, attachment: &str) -> Result<(String, usize, Attachment), Refusal> {
    let found = find(call, id)?;
    let index = names::attachment_index(&found.id, attachment)
        .or_else(|| names::attachment_index(id, attachment))
        .ok_or_else(Refusal::item_not_found)?;
    let files = found.message.view(false).attachments;
    let file = files
        .into_iter()
        .nth(index)
        .ok_or_else(Refusal::item_not_found)?;
    Ok((found.id, index, file))
}

pub(super) fn one(call: &Call, id: &str, attachment: &str) -> Outcome {
    call.check(Method::GET, &READ)?;
    let (id, index, file) = pick(call, id, attachment)?;
    Ok(answer::json(200, &render(&id, index, &file, true)))
}

pub(super) fn value(call: &Call, id: &str, attachment: &str) -> Outcome {
    call.check(Method::GET, &READ)?;
    let (_, _, file) = pick(call, id, attachment)?;
    Ok(answer::bytes(200, &file.media_type, file.content()))
}

pub(super) fn add(call: &Call, id: &str) -> Outcome {
    call.check(Method::POST, &WRITE)?;
    check_size(call)?;
    let file = compose::attachment(&call.json()?)?;
    let mut state = call.tenant.lock();
    let (mailbox, now) = mailbox_mut(call, &mut state)?;
    let message = mailbox.message(id).ok_or_else(Refusal::item_not_found)?;
    let id = mailbox.message_id(message, call.prefer.immutable_ids());
    let serial = message.serial;
    let index = attach(mailbox, serial, file.clone(), now)?;
    Ok(answer::json(201, &render(&id, index, &file, false)))
}

/// Adds a file to a message and returns its place.
fn attach(
    mailbox: &mut Mailbox,
    serial: u32,
    file: Attachment,
    now: i64,
) -> Result<usize, Refusal> {
    let message = mailbox
        .messages
        .get_mut(&serial)
        .ok_or_else(Refusal::item_not_found)?;
    let mut view = message.view(true);
    view.attachments.push(file);
    let index = view.attachments.len() - 1;
    message.subject = None;
    message.content = Content::Composed(Arc::new(view));
    mailbox.touch(serial, now);
    Ok(index)
}

pub(super) fn open_session(call: &Call, id: &str) -> Outcome {
    call.check(Method::POST, &WRITE)?;
    let body = call.json()?;
    let item = match &body["AttachmentItem"] {
        Value::Null => &body["attachmentItem"],
        item => item,
    };
    let size = item["size"].as_u64().unwrap_or(0);
    let name = item["name"].as_str().unwrap_or("");
    let is_file = item["attachmentType"]
        .as_str()
        .is_some_and(|kind| kind.eq_ignore_ascii_case("file"));
    if !is_file || name.is_empty() {
        return Err(Refusal::bad_request(
            "The attachment item needs attachmentType, name, size.",
        ));
    }
    if size < SESSION_BYTES_MIN {
        return Err(Refusal::new(
            400,
            "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize",
            "Attachment size must be greater than the minimum size.",
        ));
    }
    if size > SESSION_BYTES_MAX {
        return Err(Refusal::new(
            413,
            "ErrorAttachmentSizeLimitExceeded",
            "The attachment is larger than 150 MB.",
        ));
    }
    let mut state = call.tenant.lock();
    let (mailbox, now) = mailbox_mut(call, &mut state)?;
    let message = mailbox.message(id).ok_or_else(Refusal::item_not_found)?;
    let upload = Upload {
        user: call.segment(1).to_string(),
        serial: message.serial,
        message_id: mailbox.message_id(message, call.prefer.immutable_ids()),
        size: usize::try_from(size).unwrap_or(usize::MAX),
        received: Vec::new(),
        file: Attachment {
            inline: item["isInline"].as_bool().unwrap_or(false),
            content_id: item["contentId"].as_str().map(str::to_string),
            ..Attachment::new(
                name,
                item["contentType"]
                    .as_str()
                    .unwrap_or("application/octet-stream"),
                Bytes::new(),
            )
        },
    };
    state.mail_uploads_opened += 1;
    let token = ids::guid(state.seed, "mail upload", state.mail_uploads_opened);
    state.mail_uploads.insert(token.clone(), upload);
    let url = format!("{}mailupload/{token}", call.tenant.urls().content);
    Ok(answer::json(
        201,
        &json!({
            "uploadUrl": url,
            "expirationDateTime": instant(now + SESSION_SECONDS),
            "nextExpectedRanges": ["0-"],
        }),
    ))
}

/// Answers a request to an upload session, on the content origin.
pub(in crate::server) fn session(call: &Call) -> Outcome {
    let token = call.segment(1);
    if super::super::content::has_stray_token(call) {
        return Err(Refusal::new(
            401,
            "InvalidAudienceForResource",
            "The upload address is authorized already; an Authorization header is refused.",
        ));
    }
    let mut state = call.tenant.lock();
    if call.method == Method::DELETE {
        state.mail_uploads.remove(token);
        return Ok(answer::empty(204));
    }
    let now = state.tick();
    let gone = || {
        Refusal::new(
            404,
            "ErrorItemNotFound",
            "The upload session was not found.",
        )
    };
    let upload = state.mail_uploads.get_mut(token).ok_or_else(gone)?;
    if call.method == Method::GET {
        return Ok(progress(upload, now));
    }
    if call.method != Method::PUT {
        return Err(call.wrong_verb());
    }
    take_range(call, upload)?;
    if upload.received.len() < upload.size {
        return Ok(progress(upload, now));
    }
    let upload = state.mail_uploads.remove(token).ok_or_else(gone)?;
    finish(call, &mut state, upload, now)
}

/// Appends a range after checking that it is the next one.
fn take_range(call: &Call, upload: &mut Upload) -> Result<(), Refusal> {
    let invalid = |text: &str| Refusal::new(400, "ErrorInvalidContentRange", text);
    let (start, end, total) = call
        .header("content-range")
        .and_then(content_range)
        .ok_or_else(|| invalid("The Content-Range header is missing or malformed."))?;
    if total != upload.size || end >= total || start > end {
        return Err(invalid(
            "The Content-Range does not fit the size of the session.",
        ));
    }
    if end + 1 - start != call.body.len() {
        return Err(invalid(
            "The Content-Range does not fit the length of the body.",
        ));
    }
    if call.body.len() > RANGE_BYTES_MAX {
        return Err(Refusal::new(
            413,
            "RequestEntityTooLarge",
            "A range may hold 4 MB at most.",
        ));
    }
    if start != upload.received.len() {
        return Err(Refusal::new(
            416,
            "ErrorInvalidContentRange",
            format!(
                "The range that is expected next begins at {}.",
                upload.received.len()
            ),
        ));
    }
    upload.received.extend_from_slice(&call.body);
    Ok(())
}

fn progress(upload: &Upload, now: i64) -> answer::Answer {
    answer::json(
        200,
        &json!({
            "expirationDateTime": instant(now.max(EPOCH) + SESSION_SECONDS),
            "nextExpectedRanges": [format!("{}-", upload.received.len())],
        }),
    )
}

fn finish(call: &Call, state: &mut crate::tenant::State, upload: Upload, now: i64) -> Outcome {
    let user = state
        .user_mut(&upload.user)
        .ok_or_else(Refusal::item_not_found)?;
    let mailbox = user.mailbox.as_mut().ok_or_else(Refusal::item_not_found)?;
    let mut file = upload.file;
    file.bytes = crate::tenant::message::AttachmentBytes::Kept(Bytes::from(upload.received));
    let index = attach(mailbox, upload.serial, file, now)?;
    let id = names::attachment_id(&upload.message_id, index);
    let mut answer = answer::empty(201);
    let location = format!(
        "{}v1.0/users/{}/messages/{}/attachments/{id}",
        call.tenant.urls().graph,
        upload.user,
        upload.message_id
    );
    answer::put_header(&mut answer, "location", &location);
    Ok(answer)
}

/// Reads `bytes first-last/total`.
fn content_range(text: &str) -> Option<(usize, usize, usize)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, end) = range.split_once('-')?;
    Some((
        start.trim().parse().ok()?,
        end.trim().parse().ok()?,
        total.trim().parse().ok()?,
    ))
}
