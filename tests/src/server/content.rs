//! Content: the second origin, which serves and takes bytes without a token.

mod range;
mod upload;

use std::time::UNIX_EPOCH;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;

use super::answer::{self, Answer, ByteStream, Outcome, Refusal};
use super::call::Call;
use super::drives;
use crate::tenant::State;
use crate::tenant::drive::{Drive, Item};

pub(super) use upload::begin_upload;

/// How long a download URL works, in seconds.
const DOWNLOAD_SECONDS: i64 = 600;

/// Answers one request to the content origin.
pub(super) fn route(call: &Call) -> Outcome {
    // The URL is the permission; a token that comes here went to the wrong origin.
    if has_stray_token(call) {
        return Err(Refusal::new(
            401,
            "unauthenticated",
            "This address is pre-authenticated and takes no Authorization header.",
        ));
    }
    match call.keys().as_slice() {
        ["download", _] if call.method == Method::GET => download(call),
        ["upload", _] => upload::route(call),
        _ => Err(Refusal::no_such_segment(call)),
    }
}

/// Tells whether a token came to an address that is its own permission, and that matters.
pub(super) fn has_stray_token(call: &Call) -> bool {
    call.header("authorization").is_some() && !call.tenant.lock().tolerant_content
}

/// Returns an address of an item's content that works for some minutes.
pub(super) fn download_url_at(call: &Call, state: &State, drive: &Drive, item: &Item) -> String {
    let expires = now(state) + DOWNLOAD_SECONDS;
    let text = format!("{expires}|{}|{}", drive.id(), item.id());
    let tag = tag(state.seed, &text);
    let token = URL_SAFE_NO_PAD.encode(format!("{tag}|{text}"));
    format!("{}download/{token}", call.tenant.urls().content)
}

/// Returns wall-clock time as the tenant sees it, in seconds since 1970.
fn now(state: &State) -> i64 {
    (state.clock)()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .unwrap_or(0)
}

fn tag(seed: u64, text: &str) -> String {
    let mut hash = blake3::Hasher::new();
    hash.update(&seed.to_le_bytes());
    hash.update(b"content url");
    hash.update(text.as_bytes());
    hash.finalize().to_hex()[..20].to_owned()
}

fn download(call: &Call) -> Outcome {
    let gone = || Refusal::new(404, "itemNotFound", "The resource could not be found.");
    let stale = || Refusal::new(401, "unauthenticated", "The address has expired.");
    let text = URL_SAFE_NO_PAD
        .decode(call.segment(1))
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(gone)?;
    let (mac, text) = text.split_once('|').ok_or_else(gone)?;
    let state = call.tenant.lock();
    if mac != tag(state.seed, text) {
        return Err(gone());
    }
    let mut parts = text.splitn(3, '|');
    let (Some(expires), Some(drive), Some(id)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(gone());
    };
    if expires.parse::<i64>().map_err(|_| gone())? < now(&state) {
        return Err(stale());
    }
    let (_, drive) = drives::drive_of(&state, drive)?;
    let item = drive.item(id).ok_or_else(gone)?;
    let content = item.content().ok_or_else(gone)?;
    serve(call, &drives::etag(item), content)
}

fn serve(
    call: &Call,
    etag: &str,
    content: &std::sync::Arc<crate::tenant::drive::Content>,
) -> Outcome {
    if call
        .header("if-match")
        .is_some_and(|wanted| wanted != "*" && wanted != etag)
    {
        return Err(Refusal::new(
            412,
            "resourceModified",
            "The content has changed.",
        ));
    }
    let same = call.header("if-range").is_none_or(|wanted| wanted == etag);
    let length = content.length();
    let wanted = call
        .header("range")
        .filter(|_| same)
        .map(|text| range::requested(text, length));
    let (code, part) = match wanted {
        None | Some(range::Requested::Ignored) => (200, 0..length),
        Some(range::Requested::Part(part)) => (206, part),
        Some(range::Requested::Unsatisfiable) => {
            return Err(
                Refusal::new(416, "invalidRange", "The range is outside the content.")
                    .with_header("content-range", format!("bytes */{length}")),
            );
        }
    };
    let blocks = content.blocks(part.clone());
    let mut answer = Answer::new(ByteStream::new(futures_util::stream::iter(blocks)));
    *answer.status_mut() = super::status(code);
    let mut put = |name, text: &str| answer::put_header(&mut answer, name, text);
    put("content-type", "application/octet-stream");
    put("content-length", &(part.end - part.start).to_string());
    put("accept-ranges", "bytes");
    put("etag", etag);
    if code == 206 {
        put(
            "content-range",
            &format!("bytes {}-{}/{length}", part.start, part.end - 1),
        );
    }
    Ok(answer)
}
