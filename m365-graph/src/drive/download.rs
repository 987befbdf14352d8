//! Downloads: from the pre-authenticated address behind a redirect, resumed where they broke,
//! verified at the end.

use std::fmt;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, ACCEPT_ENCODING, IF_MATCH, RANGE};
use http::{Method, StatusCode};
use m365_auth::Body;
use url::Url;

use super::{DriveItem, QuickXorHash};
use crate::client::{Answer, Call, GraphClient, segment};
use crate::entity::Entity;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::Node;

/// Reads the content of one file.
///
/// A broken connection is taken up where it broke; an address that has expired is asked for anew.
/// Nothing after the last byte counts before [`next_chunk`](Self::next_chunk) has returned `None`:
/// then length and, where the service gave one, quickXorHash have been found right.
pub struct Download {
    client: GraphClient,
    drive: String,
    item: String,
    expected_bytes: Option<u64>,
    expected_hash: Option<String>,
    address: Option<Url>,
    etag: Option<String>,
    body: Option<Body>,
    offset: u64,
    skip: u64,
    hash: QuickXorHash,
    stalls: u32,
    resumes: u32,
    finished: bool,
}

impl Download {
    pub(super) async fn open(
        client: GraphClient,
        drive: &str,
        item: &Entity<DriveItem>,
    ) -> Result<Self> {
        let mut download = Self {
            client,
            drive: drive.to_owned(),
            item: item.id.clone(),
            expected_bytes: item.size,
            expected_hash: item.quick_xor_hash().map(str::to_owned),
            address: None,
            etag: None,
            body: None,
            offset: 0,
            skip: 0,
            hash: QuickXorHash::new(),
            stalls: 0,
            resumes: 0,
            finished: false,
        };
        download.connect().await?;
        Ok(download)
    }

    /// Returns the length of the content if it is known, in bytes.
    pub fn size(&self) -> Option<u64> {
        self.expected_bytes
    }

    /// Returns the next piece, or `None` at the verified end.
    ///
    /// *Errors*: [`ErrorKind::Integrity`] when length or hash are not those of the item;
    /// [`ErrorKind::PreconditionFailed`] when the file was changed while it was read. After an
    /// error there is nothing more.
    ///
    /// *Cancel safety*: no piece is lost when the future is dropped.
    pub async fn next_chunk(&mut self) -> Option<Result<Bytes>> {
        loop {
            if self.finished {
                return None;
            }
            match self.step().await {
                Ok(Some(chunk)) if chunk.is_empty() => {}
                Ok(Some(chunk)) => return Some(Ok(chunk)),
                Ok(None) => {
                    self.finished = true;
                    return None;
                }
                Err(error) => {
                    self.finished = true;
                    return Some(Err(error));
                }
            }
        }
    }

    /// Reads everything into memory, up to `limit` bytes, and verifies it.
    ///
    /// *Errors*: [`ErrorKind::TooLarge`] as soon as the limit is passed; those of
    /// [`next_chunk`](Self::next_chunk).
    pub async fn collect(mut self, limit: usize) -> Result<Bytes> {
        let mut whole = BytesMut::new();
        while let Some(chunk) = self.next_chunk().await {
            let chunk = chunk?;
            if whole.len() + chunk.len() > limit {
                let message = format!("{ABOUT}: it is longer than the {limit} bytes allowed");
                return Err(Error::new(ErrorKind::TooLarge, message));
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }

    /// Reads one piece, which is empty when there was only something to do; `None` is the end.
    async fn step(&mut self) -> Result<Option<Bytes>> {
        let Some(body) = &mut self.body else {
            self.connect().await?;
            return Ok(Some(Bytes::new()));
        };
        match body.chunk().await {
            Some(Ok(chunk)) => self.take(chunk).map(Some),
            Some(Err(error)) => self.broken(Error::from(error).about(ABOUT)),
            None if self
                .expected_bytes
                .is_some_and(|expected| self.offset < expected) =>
            {
                let message = format!("{ABOUT}: it ended early");
                self.broken(Error::new(ErrorKind::Transport, message))
            }
            None => self.verify().map(|()| None),
        }
    }

    fn take(&mut self, mut chunk: Bytes) -> Result<Bytes> {
        // Bytes that came before, from a service that does not know ranges.
        let skipped = self.skip.min(chunk.len() as u64);
        self.skip -= skipped;
        let chunk = chunk.split_off(usize::try_from(skipped).unwrap_or(usize::MAX));
        self.offset += chunk.len() as u64;
        if self
            .expected_bytes
            .is_some_and(|expected| self.offset > expected)
        {
            return Err(self.differs("it is longer than the item says"));
        }
        self.hash.update(&chunk);
        if !chunk.is_empty() {
            self.stalls = 0;
        }
        Ok(chunk)
    }

    /// Decides what a broken connection means: done, once more, or given up.
    fn broken(&mut self, error: Error) -> Result<Option<Bytes>> {
        self.body = None;
        if self.expected_bytes == Some(self.offset) {
            return self.verify().map(|()| None);
        }
        self.stalls += 1;
        self.resumes += 1;
        if self.stalls > MAX_STALLS || self.resumes > MAX_RESUMES || !error.is_retryable() {
            return Err(error);
        }
        tracing::debug!(
            offset = self.offset,
            "the download broke; taking it up again"
        );
        Ok(Some(Bytes::new()))
    }

    fn verify(&self) -> Result<()> {
        if self
            .expected_bytes
            .is_some_and(|expected| self.offset != expected)
        {
            return Err(self.differs("its length is not that of the item"));
        }
        match &self.expected_hash {
            Some(expected) if *expected != self.hash.finish_base64() => {
                Err(self.differs("its quickXorHash is not that of the item"))
            }
            _ => Ok(()),
        }
    }

    fn differs(&self, cause: &str) -> Error {
        Error::new(ErrorKind::Integrity, format!("{ABOUT}: {cause}"))
    }

    /// Opens a connection to the content, from where the last one broke.
    async fn connect(&mut self) -> Result<()> {
        let mut addresses = 0;
        let node = Node::drive(&self.drive);
        loop {
            let address = match &self.address {
                Some(address) => address.clone(),
                None => match locate(&self.client, &self.drive, &self.item).await? {
                    Located::At(address) => {
                        addresses += 1;
                        self.address = Some(address.clone());
                        address
                    }
                    Located::Here(answer) => return self.begin(answer),
                },
            };
            let mut call = Call::preauthenticated(ABOUT, Method::GET, &address, &node)
                .header(ACCEPT_ENCODING, "identity")?;
            if self.offset > 0 {
                call = call.header(RANGE, &format!("bytes={}-", self.offset))?;
                if let Some(etag) = &self.etag {
                    call = call.header(IF_MATCH, etag)?;
                }
            }
            match self.client.stream(call).await {
                Ok(answer) => return self.begin(answer),
                Err(error) if expired(&error) && addresses < MAX_ADDRESSES => self.address = None,
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes over an open connection, once it is sure that it goes on where the last one broke.
    fn begin(&mut self, answer: Answer) -> Result<()> {
        let etag = answer.header("etag").map(str::to_owned);
        if self.offset > 0 && self.etag.is_some() && etag.is_some() && self.etag != etag {
            let message = format!("{ABOUT}: it was changed while it was read");
            return Err(Error::new(ErrorKind::PreconditionFailed, message));
        }
        let length = if answer.status == StatusCode::PARTIAL_CONTENT {
            let (start, length) =
                answer
                    .header("content-range")
                    .and_then(range)
                    .ok_or_else(|| {
                        let message =
                            format!("{ABOUT}: the range of the answer could not be understood");
                        Error::new(ErrorKind::Malformed, message)
                    })?;
            if start != self.offset {
                return Err(self.differs("the answer begins at another place than asked for"));
            }
            self.skip = 0;
            length
        } else {
            self.skip = self.offset;
            answer
                .header("content-length")
                .and_then(|text| text.parse().ok())
        };
        match (self.expected_bytes, length) {
            (Some(expected), Some(length)) if expected != length => {
                return Err(self.differs("its length is not that of the item"));
            }
            (None, length) => self.expected_bytes = length,
            _ => {}
        }
        self.etag = etag.or(self.etag.take());
        self.body = Some(answer.body);
        Ok(())
    }
}

/// Asks for the address of the content.
async fn locate(client: &GraphClient, drive: &str, item: &str) -> Result<Located> {
    let path = [
        segment("drives"),
        drive.into(),
        segment("items"),
        item.into(),
        segment("content"),
    ];
    let call = client.get(ABOUT, &path)?.header(ACCEPT, "*/*")?;
    let call = call
        .header(ACCEPT_ENCODING, "identity")?
        .expecting_redirect();
    let answer = client.stream(call).await?;
    if !answer.status.is_redirection() {
        return Ok(Located::Here(answer));
    }
    let address = answer
        .header("location")
        .and_then(|text| Url::parse(text).ok());
    address.map(Located::At).ok_or_else(|| {
        Error::new(
            ErrorKind::Malformed,
            format!("{ABOUT}: its address is not a url"),
        )
    })
}

enum Located {
    /// Behind this address.
    At(Url),
    /// The answer is the content itself.
    Here(Answer),
}

/// Tells whether an address is no longer good.
fn expired(error: &Error) -> bool {
    error
        .status()
        .is_some_and(|status| matches!(status.as_u16(), 401 | 403 | 404 | 410))
}

/// Reads `bytes 5-9/10` into the first byte and the whole length.
fn range(text: &str) -> Option<(u64, Option<u64>)> {
    let (span, length) = text.strip_prefix("bytes ")?.split_once('/')?;
    let start = span.split_once('-')?.0.trim().parse().ok()?;
    Some((start, length.trim().parse().ok()))
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download")
            .field("offset", &self.offset)
            .field("size", &self.expected_bytes)
            .finish_non_exhaustive()
    }
}

const ABOUT: &str = "the content of the file";
/// How many connections in a row may break without a byte.
const MAX_STALLS: u32 = 3;
/// How many connections may break in all.
const MAX_RESUMES: u32 = 100;
/// How many addresses are tried before a refusal is taken as final.
const MAX_ADDRESSES: u32 = 2;

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn content_ranges_are_read() {
        assert_eq!(range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(range("bytes 5-9/*"), Some((5, None)));
        assert_eq!(range("bytes */10"), None);
        assert_eq!(range("items 5-9/10"), None);
    }
}
