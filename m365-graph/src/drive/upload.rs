//! Uploads: one request for an empty or small file, a session of fragments otherwise.
//!
//! A name that is taken when the last fragment arrives ends the session. To commit its bytes under
//! another name (`@microsoft.graph.sourceUrl`) is described for addresses by path alone, not by id,
//! and is left out.

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_RANGE;
use http::{Method, StatusCode};
use m365_auth::Body;
use serde_json::{Value, json};
use url::Url;

use super::{DriveClient, DriveItem, QuickXorHash};
use crate::client::{Call, Read, Repeat, Segment, segment};
use crate::entity::Entity;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::Node;
use crate::upload::{next_expected, session_url};

/// Says what to write.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UploadOptions {
    /// The length of the content, in bytes; the body must be exactly as long.
    pub size: u64,
    /// What to do when there is an item of that name.
    pub conflict: OnConflict,
    /// When the file was made where it came from, RFC 3339.
    pub created: Option<String>,
    /// When the file was changed last where it came from, RFC 3339.
    pub modified: Option<String>,
    /// Lets the file appear by a request of its own, after all of it was taken; for libraries of
    /// businesses. Always by a session; an empty file appears at once all the same.
    pub defer_commit: bool,
}

/// Says what to do when there is an item of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnConflict {
    /// Leave it and report [`ErrorKind::Conflict`].
    #[default]
    Fail,
    /// Make the new content its newest version.
    Replace,
    /// Give the new item another name.
    Rename,
}

impl OnConflict {
    fn as_str(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Replace => "replace",
            Self::Rename => "rename",
        }
    }
}

impl UploadOptions {
    fn file_system_info(&self) -> Option<Value> {
        let mut info = json!({});
        if let Some(created) = &self.created {
            info["createdDateTime"] = json!(created);
        }
        if let Some(modified) = &self.modified {
            info["lastModifiedDateTime"] = json!(modified);
        }
        (self.created.is_some() || self.modified.is_some()).then_some(info)
    }
}

pub(super) async fn upload(
    drive: &DriveClient,
    parent: &str,
    name: &str,
    options: &UploadOptions,
    body: Body,
) -> Result<Entity<DriveItem>> {
    if body.length().is_some_and(|length| length != options.size) {
        return Err(another_length());
    }
    // A session sets the times along with the content; a simple request needs a second one for
    // them, so it serves small files only when there are none to set. Sessions take no empty file.
    let times = options.file_system_info();
    let small = options.size <= SIMPLE_UP_TO_BYTES && times.is_none() && !options.defer_commit;
    if options.size == 0 || small {
        return simple(drive, parent, name, options, body).await;
    }
    // A body in memory can be sent anew when the service loses the session.
    let whole = body.as_bytes().cloned();
    let mut next = Some(body);
    for _ in 0..MAX_SESSIONS {
        let body = match (next.take(), &whole) {
            (Some(body), _) => body,
            (None, Some(bytes)) => bytes.clone().into(),
            (None, None) => break,
        };
        let mut session = Session::open(drive, parent, name, options).await?;
        match session.send(body).await {
            Ok(Some(item)) => return Ok(item),
            Ok(None) => {}
            Err(error) => {
                session.cancel().await;
                return Err(error);
            }
        }
    }
    let message = format!("{ABOUT}: the service has lost the upload session");
    Err(Error::new(ErrorKind::Transport, message))
}

async fn simple(
    drive: &DriveClient,
    parent: &str,
    name: &str,
    options: &UploadOptions,
    body: Body,
) -> Result<Entity<DriveItem>> {
    let limit = usize::try_from(options.size).map_err(|_| another_length())?;
    let bytes = body
        .collect(limit)
        .await
        .map_err(|error| match error.kind() {
            m365_auth::ErrorKind::TooLarge => another_length(),
            _ => Error::from(error).about(ABOUT),
        })?;
    if bytes.len() != limit {
        return Err(another_length());
    }
    let path = [
        segment("items"),
        Segment::Child {
            parent,
            name,
            more: true,
        },
        segment("content"),
    ];
    let repeat = match options.conflict {
        OnConflict::Replace => Repeat::Safe,
        OnConflict::Fail | OnConflict::Rename => Repeat::Creates,
    };
    let call = drive
        .call(ABOUT, Method::PUT, &path)?
        .query(
            "@microsoft.graph.conflictBehavior",
            options.conflict.as_str(),
        )
        .repeat(repeat)
        .bytes(bytes);
    let item: Entity<DriveItem> = drive.client.entity(call).await?;
    match options.file_system_info() {
        Some(times) => {
            drive
                .update(&item.id, &json!({"fileSystemInfo": times}))
                .await
        }
        None => Ok(item),
    }
}

/// Holds an open upload session.
struct Session<'d> {
    drive: &'d DriveClient,
    parent: &'d str,
    name: &'d str,
    size: u64,
    url: Url,
    hash: QuickXorHash,
    stalls: u32,
    deferred: bool,
}

/// Says how a fragment went.
enum Step {
    /// The service expects this byte next.
    Expects(u64),
    /// The file is complete.
    Done(Box<Entity<DriveItem>>),
    /// The session is no more.
    Gone,
}

impl<'d> Session<'d> {
    async fn open(
        drive: &'d DriveClient,
        parent: &'d str,
        name: &'d str,
        options: &UploadOptions,
    ) -> Result<Self> {
        let path = [
            segment("items"),
            Segment::Child {
                parent,
                name,
                more: true,
            },
            segment("createUploadSession"),
        ];
        let mut item = json!({
            "@microsoft.graph.conflictBehavior": options.conflict.as_str(),
            "name": name,
            "fileSize": options.size,
        });
        if let Some(times) = options.file_system_info() {
            item["fileSystemInfo"] = times;
        }
        // A session without content leaves nothing behind, so that it may be asked for twice.
        let call = drive.call(ABOUT, Method::POST, &path)?.repeat(Repeat::Safe);
        let mut wish = json!({"item": item});
        if options.defer_commit {
            wish["deferCommit"] = json!(true);
        }
        let answer = drive.client.json(call.json(&wish)).await?;
        let url = session_url(ABOUT, &answer)?;
        let (size, hash) = (options.size, QuickXorHash::new());
        Ok(Self {
            drive,
            parent,
            name,
            size,
            url,
            hash,
            stalls: 0,
            deferred: options.defer_commit,
        })
    }

    /// Sends the whole body; `None` when the service has lost the session.
    async fn send(&mut self, body: Body) -> Result<Option<Entity<DriveItem>>> {
        let length = self.drive.client.options().upload_fragment_bytes;
        let mut source = Source {
            body,
            rest: Bytes::new(),
        };
        let mut begin = 0;
        while begin < self.size {
            let fragment = source.take(length).await?;
            let end = begin + fragment.len() as u64;
            // Only the last fragment may be short, and nothing may follow it.
            if end > self.size || (fragment.len() < length && end != self.size) {
                return Err(another_length());
            }
            if end == self.size && !source.take(1).await?.is_empty() {
                return Err(another_length());
            }
            self.hash.update(&fragment);
            match self.fragment(begin, fragment).await? {
                Step::Done(item) => return Ok(Some(*item)),
                Step::Expects(next) => begin = next,
                Step::Gone => return Ok(None),
            }
        }
        if self.deferred {
            return self.commit().await;
        }
        let message = format!("{ABOUT}: the service took every byte and made no file");
        Err(Error::new(ErrorKind::Malformed, message))
    }

    /// Sends one fragment, as often as it takes, each time from the byte that the service expects.
    async fn fragment(&mut self, begin: u64, fragment: Bytes) -> Result<Step> {
        let end = begin + fragment.len() as u64;
        let mut from = begin;
        loop {
            let sent = usize::try_from(from - begin).unwrap_or(usize::MAX);
            let piece = fragment.slice(sent.min(fragment.len())..);
            let step = match self.put(from, end, piece).await {
                Ok(step) => step,
                Err(error) => self.recover(error, end).await?,
            };
            let Step::Expects(next) = step else {
                return Ok(step);
            };
            if next == end && (end < self.size || self.deferred) {
                self.stalls = 0;
                return Ok(Step::Expects(next));
            }
            if !(begin..end).contains(&next) {
                let message = format!("{ABOUT}: the service expects bytes out of order");
                return Err(Error::new(ErrorKind::Transport, message));
            }
            self.stalls = if next > from { 0 } else { self.stalls + 1 };
            if self.stalls > MAX_STALLS {
                let message = format!("{ABOUT}: the service does not take the next bytes");
                return Err(Error::new(ErrorKind::Transport, message));
            }
            from = next;
        }
    }

    async fn put(&self, from: u64, end: u64, piece: Bytes) -> Result<Step> {
        let range = format!("bytes {from}-{}/{}", end - 1, self.size);
        let call = self
            .request(Method::PUT)
            .repeat(Repeat::Creates)
            .bytes(piece)
            .header(CONTENT_RANGE, &range)?;
        let answer = self.drive.client.execute(&call, Read::Json).await?;
        if answer.status == StatusCode::ACCEPTED {
            return Ok(Step::Expects(next_expected(&answer.json).unwrap_or(end)));
        }
        Entity::from_raw(answer.json)
            .map(|item| Step::Done(Box::new(item)))
            .map_err(|error| error.about(ABOUT))
    }

    fn request(&self, method: Method) -> Call {
        Call::preauthenticated(ABOUT, method, &self.url, &Node::drive(&self.drive.id))
    }

    /// Makes the file of what was sent; `None` when the service has lost the session.
    async fn commit(&self) -> Result<Option<Entity<DriveItem>>> {
        let call = self.request(Method::POST).repeat(Repeat::Creates);
        let error = match self.drive.client.json(call).await {
            Ok(item) => {
                let item = Entity::from_raw(item).map_err(|error| error.about(ABOUT))?;
                return Ok(Some(item));
            }
            Err(error) => error,
        };
        // The answer may have been lost, not the file.
        let doubtful = matches!(error.kind(), ErrorKind::Transport | ErrorKind::Service);
        if !doubtful && !is_gone(&error) {
            return Err(error);
        }
        match self.gone(self.size, error).await? {
            Step::Done(item) => Ok(Some(*item)),
            Step::Expects(_) | Step::Gone => Ok(None),
        }
    }

    /// Finds out how to go on after a fragment failed.
    async fn recover(&mut self, error: Error, end: u64) -> Result<Step> {
        let status = error.status().map(|status| status.as_u16());
        match (error.kind(), status) {
            // Received before, at least in part: the service says from where to go on.
            (_, Some(416)) => {}
            _ if is_gone(&error) => return self.gone(end, error).await,
            (ErrorKind::Transport | ErrorKind::Service, _) => {
                self.stalls += 1;
                if self.stalls > MAX_STALLS {
                    return Err(error);
                }
                if let Some(delay) = self.drive.client.delay(self.stalls, &error) {
                    tokio::time::sleep(delay).await;
                }
            }
            _ => return Err(error),
        }
        let call = self.request(Method::GET);
        match self.drive.client.json(call).await {
            Ok(status) => match next_expected(&status) {
                Some(next) => Ok(Step::Expects(next)),
                None => self.gone(end, error).await,
            },
            Err(gone) if is_gone(&gone) => self.gone(end, error).await,
            Err(later) => Err(later),
        }
    }

    /// Decides whether a session has vanished because the file is complete: the answer to the last
    /// fragment may have been lost.
    async fn gone(&self, end: u64, cause: Error) -> Result<Step> {
        if end < self.size || is_gone(&cause) {
            return Ok(Step::Gone);
        }
        let found = self.drive.child(self.parent, self.name).await?;
        let hash = self.hash.finish_base64();
        match found {
            Some(item) if item.size == Some(self.size) && item.quick_xor_hash() == Some(&hash) => {
                Ok(Step::Done(Box::new(item)))
            }
            _ => Ok(Step::Gone),
        }
    }

    /// Tells the service that nothing more will come.
    async fn cancel(&self) {
        let call = self.request(Method::DELETE);
        if let Err(error) = self.drive.client.json(call).await {
            // The session ends by itself; the error that led here is the one to report.
            tracing::debug!(kind = ?error.kind(), "the upload session could not be cancelled");
        }
    }
}

/// Cuts a body into pieces of a given length.
struct Source {
    body: Body,
    rest: Bytes,
}

impl Source {
    /// Returns the next `length` bytes, or fewer at the end.
    async fn take(&mut self, length: usize) -> Result<Bytes> {
        if self.rest.len() >= length {
            return Ok(self.rest.split_to(length));
        }
        let mut piece = BytesMut::from(&std::mem::take(&mut self.rest)[..]);
        while piece.len() < length {
            let Some(chunk) = self.body.chunk().await else {
                break;
            };
            let mut chunk = chunk.map_err(|error| Error::from(error).about(ABOUT))?;
            let wanted = chunk.len().min(length - piece.len());
            piece.extend_from_slice(&chunk.split_to(wanted));
            self.rest = chunk;
        }
        Ok(piece.freeze())
    }
}

/// Tells whether an error says that the session is no more.
fn is_gone(error: &Error) -> bool {
    error
        .status()
        .is_some_and(|status| matches!(status.as_u16(), 404 | 410))
}

fn another_length() -> Error {
    let message = format!("{ABOUT}: the body is not as long as the options say");
    Error::new(ErrorKind::InvalidRequest, message)
}

const ABOUT: &str = "the new file";
/// Up to this length one request serves, in bytes.
const SIMPLE_UP_TO_BYTES: u64 = 4 << 20;
/// How often in a row a fragment may fail without progress.
const MAX_STALLS: u32 = 4;
/// How many sessions one file may use.
const MAX_SESSIONS: u32 = 3;
