//! Reader: the calls of one resource, each through its gate, each tried as often as is allowed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backup_store::Gatherer;
use backup_store::catalog::{Cursor, Resource};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use m365_auth::PageSize;
use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::gate::Gate;
use crate::page::PageWork;
use crate::source::{Feed, Fetched, Next, Page, SeenItem, Source};

/// Reads one resource.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) source: &'a dyn Source,
    pub(crate) resource: Resource,
    pub(crate) gate: Gate<'a>,
    pub(crate) requests: usize,
    /// Feeds whose pages were too large for the service.
    pub(crate) page_sizes: Mutex<HashMap<String, PageSize>>,
    /// After how long what has come of a page is handed over, its rest still to come.
    pub(crate) keep_after: Duration,
    /// How much may have come of all pages under way before some of it is handed over.
    pub(crate) keep_items: usize,
    /// What has come of all pages under way and was not handed over.
    pub(crate) unkept: AtomicUsize,
}

/// What a call has brought.
#[derive(Debug)]
pub(crate) enum Step {
    /// A page of a feed.
    Page { feed: Feed, result: Result<Page> },
    /// A part of the content of a page whose rest is still to come.
    Ahead(Box<Part>),
    /// The content of a page.
    Fetched(Box<FetchedPage>),
}

/// What calls bring, step by step.
pub(crate) type Steps<'a> = BoxStream<'a, Step>;

/// A part of the content of a page.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) feed: String,
    pub(crate) results: Vec<(SeenItem, Fetched)>,
    pub(crate) into: Gatherer,
}

/// A page with its content.
#[derive(Debug)]
pub(crate) struct FetchedPage {
    pub(crate) feed: Feed,
    pub(crate) work: PageWork,
    pub(crate) next: Next,
    pub(crate) results: Vec<(SeenItem, Result<Fetched>)>,
    /// What its content was gathered by: each page has its own, so that its receipt names every
    /// pack that it needs, whatever other pages do meanwhile.
    pub(crate) into: Gatherer,
}

impl<'a> Reader<'a> {
    /// Reads the page of a feed that starts at `cursor`.
    pub(crate) fn page(self: Arc<Self>, feed: Feed, cursor: Option<Cursor>) -> Steps<'a> {
        Box::pin(stream::once(async move {
            let read = || self.read(&feed, cursor.as_ref());
            let result = self.gate.attempt(read).await;
            Step::Page { feed, result }
        }))
    }

    /// Reads a page once; one that takes the service too long is smaller the next time.
    pub(crate) async fn read(&self, feed: &Feed, cursor: Option<&Cursor>) -> Result<Page> {
        let wanted = self.page_sizes().get(&feed.id).and_then(PageSize::wanted);
        let page = match wanted {
            None => self.source.page(&self.resource, feed, cursor).await,
            Some(items) => {
                self.source
                    .smaller_page(&self.resource, feed, cursor, items)
                    .await
            }
        };
        if page
            .as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::TimedOut)
        {
            let mut sizes = self.page_sizes();
            let size = sizes.entry(feed.id.clone());
            size.or_insert(PageSize::new(PAGE_ITEMS)).too_large();
        }
        page
    }

    fn page_sizes(&self) -> MutexGuard<'_, HashMap<String, PageSize>> {
        self.page_sizes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches what a page needs; what comes of one that takes long is handed over in parts.
    pub(crate) fn content(
        self: Arc<Self>,
        feed: Feed,
        mut work: PageWork,
        next: Next,
        into: Gatherer,
    ) -> Steps<'a> {
        let items = std::mem::take(&mut work.to_fetch);
        let content = Content {
            fetched: self.fetched(items, &into),
            reader: self,
            results: Vec::new(),
            unkept: 0,
            since: Instant::now(),
            page: Some(FetchedPage {
                feed,
                work,
                next,
                results: Vec::new(),
                into,
            }),
        };
        let step = |mut content: Content<'a>| async {
            let step = content.step().await?;
            Some((step, content))
        };
        Box::pin(stream::unfold(content, step))
    }

    /// Fetches items, several at once; the answers come in their order.
    pub(crate) async fn fetch(
        self: &Arc<Self>,
        items: Vec<SeenItem>,
        into: &Gatherer,
    ) -> Vec<(SeenItem, Result<Fetched>)> {
        in_order(self.fetched(items, into).collect().await)
    }

    /// Fetches items, several at once; the answers of each batch come with its place.
    fn fetched(self: &Arc<Self>, items: Vec<SeenItem>, into: &Gatherer) -> BoxStream<'a, Batch> {
        let size = self.source.fetch_batch().max(1);
        let mut batches = Vec::new();
        let mut items = items.into_iter().peekable();
        while items.peek().is_some() {
            batches.push(items.by_ref().take(size).collect::<Vec<_>>());
        }
        let (reader, into) = (self.clone(), into.clone());
        let fetch = move |(place, batch)| {
            let (reader, into) = (reader.clone(), into.clone());
            async move { (place, reader.fetch_batch(batch, &into).await) }
        };
        // More at once than may go: one that waits after a failure keeps no other from going.
        let fetched = stream::iter(batches.into_iter().enumerate()).map(fetch);
        Box::pin(fetched.buffer_unordered(2 * self.requests.max(1)))
    }

    /// Fetches one batch; what fails for the service's reasons is tried again, alone or together.
    async fn fetch_batch(
        &self,
        batch: Vec<SeenItem>,
        into: &Gatherer,
    ) -> Vec<(SeenItem, Result<Fetched>)> {
        if let [item] = batch.as_slice() {
            let outcome = self.fetch_one(item, into).await;
            return batch.into_iter().zip([outcome]).collect();
        }
        let call = || async {
            let results = self.source.fetch(&self.resource, &batch, into).await;
            match results.iter().position(|result| result.is_ok()) {
                None => first_error(results).map_or_else(|| Ok(Vec::new()), Err),
                Some(_) => Ok(results),
            }
        };
        let bytes = batch.iter().map(announced).sum();
        let mut results = self
            .gate
            .attempt_with(bytes, call)
            .await
            .unwrap_or_default()
            .into_iter();
        let mut settled = Vec::with_capacity(batch.len());
        for item in &batch {
            let outcome = match results.next() {
                Some(Err(error)) if error.is_retryable() => self.fetch_one(item, into).await,
                Some(outcome) => outcome,
                None => self.fetch_one(item, into).await,
            };
            settled.push(outcome);
        }
        batch.into_iter().zip(settled).collect()
    }

    /// Fetches one item. One that keeps failing while others succeed is itself the cause.
    async fn fetch_one(&self, item: &SeenItem, into: &Gatherer) -> Result<Fetched> {
        let before = self.gate.successes();
        let call = || async {
            let one = std::slice::from_ref(item);
            let results = self.source.fetch(&self.resource, one, into).await;
            results
                .into_iter()
                .next()
                .unwrap_or_else(|| Err(no_answer()))
        };
        match self.gate.attempt_with(announced(item), call).await {
            Err(error) if error.kind() == ErrorKind::Item => Ok(self.refused(&error)),
            Err(error) if is_failure(error.kind()) && self.gate.successes() > before => {
                Ok(self.refused(&error))
            }
            other => other,
        }
    }

    fn refused(&self, error: &Error) -> Fetched {
        Fetched::Refused {
            representation: self.source.content_form(),
            cause: error.to_string(),
        }
    }
}

/// The answers of one batch, with its place in the page.
type Batch = (usize, Vec<(SeenItem, Result<Fetched>)>);

/// The content of one page on its way.
struct Content<'a> {
    fetched: BoxStream<'a, Batch>,
    reader: Arc<Reader<'a>>,
    /// What came and was not handed over.
    results: Vec<Batch>,
    /// How much of it counts among what is not kept.
    unkept: usize,
    since: Instant,
    page: Option<FetchedPage>,
}

impl Content<'_> {
    fn hand_over(&mut self) {
        self.since = Instant::now();
        let kept = std::mem::take(&mut self.unkept);
        self.reader.unkept.fetch_sub(kept, Ordering::Relaxed);
    }

    async fn step(&mut self) -> Option<Step> {
        self.page.as_ref()?;
        while let Some(batch) = self.fetched.next().await {
            let count = batch.1.len();
            self.unkept += count;
            let unkept = self.reader.unkept.fetch_add(count, Ordering::Relaxed) + count;
            self.results.push(batch);
            let late = self.since.elapsed() >= self.reader.keep_after;
            // A crash loses what came of all pages of a resource: together they are less than one.
            if late || unkept >= self.reader.keep_items {
                self.hand_over();
                let page = self.page.as_ref()?;
                let part = Part {
                    feed: page.feed.id.clone(),
                    results: take_what_came(&mut self.results),
                    into: page.into.clone(),
                };
                return Some(Step::Ahead(Box::new(part)));
            }
        }
        self.hand_over();
        let results = in_order(std::mem::take(&mut self.results));
        let page = self.page.take()?;
        Some(Step::Fetched(Box::new(FetchedPage { results, ..page })))
    }
}

/// Takes the answers that are no errors, which concern the page as a whole.
fn take_what_came(results: &mut Vec<Batch>) -> Vec<(SeenItem, Fetched)> {
    let mut came = Vec::new();
    for (place, batch) in std::mem::take(results) {
        let mut failed = Vec::new();
        for (seen, result) in batch {
            match result {
                Ok(fetched) => came.push((seen, fetched)),
                Err(error) => failed.push((seen, Err(error))),
            }
        }
        if !failed.is_empty() {
            results.push((place, failed));
        }
    }
    came
}

fn in_order(mut batches: Vec<Batch>) -> Vec<(SeenItem, Result<Fetched>)> {
    batches.sort_by_key(|(place, _)| *place);
    let results = batches.into_iter().map(|(_, results)| results);
    results.flatten().collect()
}

/// Returns how much of an item is in memory at once: a long one comes piece by piece.
fn announced(item: &SeenItem) -> u64 {
    item.size_bytes.unwrap_or(USUAL_BYTES).min(PIECE_BYTES)
}

fn is_failure(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Unavailable | ErrorKind::TimedOut)
}

/// How many items a page is taken to have before it is too large.
const PAGE_ITEMS: u32 = 200;
/// What an item takes in memory that does not say so: a usual message.
const USUAL_BYTES: u64 = 128 << 10;
/// What a file brings into memory at most at once: it is read in pieces.
const PIECE_BYTES: u64 = 8 << 20;

fn first_error(results: Vec<Result<Fetched>>) -> Option<Error> {
    results.into_iter().find_map(Result::err)
}

fn no_answer() -> Error {
    Error::new(
        ErrorKind::Malformed,
        "the source gave no answer for an item",
    )
}
