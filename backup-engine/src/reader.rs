//! Reader: the calls of one resource, each through its gate, each tried as often as is allowed.

use std::sync::Arc;

use backup_store::Gatherer;
use backup_store::catalog::{Cursor, Resource};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream;

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
}

/// What a call has brought.
#[derive(Debug)]
pub(crate) enum Step {
    /// A page of a feed.
    Page { feed: Feed, result: Result<Page> },
    /// The content of a page.
    Fetched(Box<FetchedPage>),
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
    pub(crate) fn page(self: Arc<Self>, feed: Feed, cursor: Option<Cursor>) -> BoxFuture<'a, Step> {
        Box::pin(async move {
            let read = || self.source.page(&self.resource, &feed, cursor.as_ref());
            let result = self.gate.attempt(read).await;
            Step::Page { feed, result }
        })
    }

    /// Fetches what a page needs.
    pub(crate) fn content(
        self: Arc<Self>,
        feed: Feed,
        mut work: PageWork,
        next: Next,
        into: Gatherer,
    ) -> BoxFuture<'a, Step> {
        Box::pin(async move {
            let items = std::mem::take(&mut work.to_fetch);
            let results = self.fetch(items, &into).await;
            Step::Fetched(Box::new(FetchedPage {
                feed,
                work,
                next,
                results,
                into,
            }))
        })
    }

    /// Fetches items, several at once; the answers come in their order.
    pub(crate) async fn fetch(
        &self,
        items: Vec<SeenItem>,
        into: &Gatherer,
    ) -> Vec<(SeenItem, Result<Fetched>)> {
        let size = self.source.fetch_batch().max(1);
        let mut batches = Vec::new();
        let mut items = items.into_iter().peekable();
        while items.peek().is_some() {
            batches.push(items.by_ref().take(size).collect::<Vec<_>>());
        }
        let fetched = stream::iter(batches).map(|batch| self.fetch_batch(batch, into));
        let fetched: Vec<_> = fetched.buffered(self.requests.max(1)).collect().await;
        fetched.into_iter().flatten().collect()
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
        let mut results = self
            .gate
            .attempt(call)
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
        match self.gate.attempt(call).await {
            Err(error) if error.kind() == ErrorKind::Item => Ok(self.refused(&error)),
            Err(error)
                if error.kind() == ErrorKind::Unavailable && self.gate.successes() > before =>
            {
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

fn first_error(results: Vec<Result<Fetched>>) -> Option<Error> {
    results.into_iter().find_map(Result::err)
}

fn no_answer() -> Error {
    Error::new(
        ErrorKind::Malformed,
        "the source gave no answer for an item",
    )
}
