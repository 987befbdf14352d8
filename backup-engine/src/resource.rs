//! Resource: one mailbox or drive, from its parent snapshot to its next.
//!
//! An actor without locks: calls run side by side, their answers are taken one at a time, and only
//! here is the state changed. Feeds are read page by page; a page is committed before the next one
//! of its feed is asked for.

mod passes;
mod remaining;
mod settle;
mod sync;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use backup_store::catalog::{Drift, Outcome, RunNote, Snapshot, SnapshotEntry};
use backup_store::{Environment, Gatherer, RunId, Store, Timestamp, Writer};
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use futures_util::stream::SelectAll;
use m365_auth::Class;
use tokio::time::Instant;

use remaining::Remaining;

use crate::claims::{Claims, Hold, Verdict};
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Observer};
use crate::journal::{Edit, Entry, Header, Journal};
use crate::mutant::{Mutant, mutated};
use crate::options::BackupOptions;
use crate::page::{self, PageWork};
use crate::publish::{Outbox, Prepared};
use crate::reader::{FetchedPage, Part, Reader, Step, Steps};
use crate::report::{QuarantinedItem, ResourceOutcome, ResourceReport};
use crate::source::{Change, Feed, FeedKind, Fetched, Next, Page, SeenItem};
use crate::trees::Trees;
use crate::view::{ROUTE_GRAPH, View};

/// What every resource of a run shares.
#[derive(Debug)]
pub(crate) struct RunContext<'a> {
    pub(crate) run: RunId,
    pub(crate) options: &'a BackupOptions,
    pub(crate) store: &'a Store,
    pub(crate) writer: &'a Writer,
    pub(crate) trees: Trees,
    pub(crate) journal: Journal,
    pub(crate) environment: Arc<dyn Environment>,
    pub(crate) observer: &'a dyn Observer,
    pub(crate) stop: &'a backup_store::StopSignal,
    pub(crate) outbox: Outbox,
    pub(crate) claims: &'a Claims<'a>,
}

/// Works on one resource.
#[derive(Debug)]
pub(crate) struct ResourceRun<'a> {
    pub(crate) context: &'a RunContext<'a>,
    pub(crate) reader: Arc<Reader<'a>>,
    pub(crate) view: View,
    pub(crate) header: Header,
    pub(crate) parent: Option<SnapshotEntry>,
    /// Number of the last journal entry.
    pub(crate) sequence: u64,
    hold: Hold,
    snapshots: u64,
    /// Whether this run has handed on a snapshot before, which the last one must supersede.
    has_sent: bool,
    failures: BTreeMap<String, String>,
    /// How often each feed was begun anew and did not come to its end since.
    resets: HashMap<String, u32>,
    since_checkpoint: Instant,
    started: Timestamp,
    interrupted: bool,
    /// How many changes the present pass has shown.
    changes: usize,
    /// What is still to come, as far as is known.
    remaining: Remaining,
    /// What the synchronization check has found, if there was one.
    drift: Option<Drift>,
}

type Calls<'a> = SelectAll<Steps<'a>>;

impl<'a> ResourceRun<'a> {
    pub(crate) fn new(
        context: &'a RunContext<'a>,
        reader: Reader<'a>,
        view: View,
        header: Header,
        parent: Option<SnapshotEntry>,
        sequence: u64,
        hold: Hold,
    ) -> Self {
        Self {
            context,
            reader: Arc::new(reader),
            view,
            header,
            parent,
            sequence,
            hold,
            snapshots: 0,
            has_sent: false,
            failures: BTreeMap::new(),
            resets: HashMap::new(),
            since_checkpoint: Instant::now(),
            started: context.environment.now(),
            interrupted: false,
            changes: 0,
            remaining: Remaining::default(),
            drift: None,
        }
    }

    /// Brings the resource up to date.
    ///
    /// *Errors*: only those that concern the whole run, of the store and of the journal.
    pub(crate) async fn run(mut self) -> Result<ResourceReport> {
        // Whoever looks goes before whoever fetches: only then is known who has the longest way.
        self.read_hierarchy().await?;
        self.reader.gate.set_class(match self.is_first() {
            true => Class::First,
            false => Class::Incremental,
        });
        self.find_well_known().await?;
        let feeds = self.feeds(FeedKind::Delta);
        self.read_passes(feeds).await?;
        self.reader.gate.set_class(Class::Verification);
        self.synchronize().await?;
        self.finish().await
    }

    fn stopped(&mut self) -> bool {
        self.interrupted |= self.context.stop.is_requested() || self.hold.is_lost();
        self.interrupted
    }

    fn feeds(&self, kind: FeedKind) -> Vec<Feed> {
        let feeds = self
            .reader
            .source
            .feeds(&self.reader.resource, &self.view.containers());
        feeds.into_iter().filter(|feed| feed.kind == kind).collect()
    }

    async fn read_hierarchy(&mut self) -> Result<()> {
        let feeds = self.feeds(FeedKind::Hierarchy);
        self.read_feeds(feeds).await
    }

    /// Reads feeds to their ends, several at once.
    async fn read_feeds(&mut self, mut feeds: Vec<Feed>) -> Result<()> {
        self.remaining.sort(&mut feeds);
        // Pages full of content side by side are all lost together in a crash: two are enough to
        // keep every request of the resource busy.
        let at_once = match self.is_first() {
            true => self.reader.requests.min(FEEDS_AT_FIRST),
            false => self.reader.requests,
        };
        let mut queue = VecDeque::from(feeds);
        let mut calls = Calls::new();
        let mut open = 0;
        let mut ready = VecDeque::new();
        loop {
            while open < at_once && !self.stopped() {
                let Some(feed) = queue.pop_front() else {
                    break;
                };
                calls.push(self.read(feed));
                open += 1;
            }
            let step = match ready.pop_front() {
                Some(step) => Some(step),
                None => calls.next().await,
            };
            let Some(step) = step else {
                break;
            };
            let goes_on = matches!(step, Step::Ahead(_));
            match while_polling(Box::pin(self.take(step)), &mut calls, &mut ready).await? {
                Some(next) => calls.push(next),
                None if goes_on => {}
                None => open -= 1,
            }
        }
        Ok(())
    }

    /// Takes what a call has brought; returns the call that follows from it.
    async fn take(&mut self, step: Step) -> Result<Option<Steps<'a>>> {
        match step {
            Step::Page {
                feed,
                result: Ok(page),
            } => self.take_page(feed, page).await,
            Step::Page {
                feed,
                result: Err(error),
            } => self.fail(&feed.id, error).map(|()| None),
            Step::Ahead(part) => self.keep(*part).await.map(|()| None),
            Step::Fetched(page) => self.take_content(*page).await,
        }
    }

    fn read(&self, feed: Feed) -> Steps<'a> {
        let cursor = self.view.cursor(&feed.id).cloned();
        self.reader.clone().page(feed, cursor)
    }

    async fn take_page(&mut self, feed: Feed, page: Page) -> Result<Option<Steps<'a>>> {
        match page.next {
            Next::Reset => {
                let resets = self.resets.entry(feed.id.clone()).or_default();
                *resets += 1;
                if *resets > RESETS_MAX {
                    let message = "the service refuses every cursor of this feed";
                    let error = Error::new(ErrorKind::Malformed, message);
                    return self.fail(&feed.id, error).map(|()| None);
                }
                let mut generation = [0; 16];
                self.context.environment.fill(&mut generation)?;
                tracing::info!(resource = %self.reader.resource.id, "a feed is enumerated anew");
                self.view.start_enumeration(&feed.id, generation);
                Ok(Some(self.read(feed)))
            }
            Next::Gone => self.feed_is_gone(&feed).await.map(|()| None),
            next @ (Next::More(_) | Next::End(_)) => {
                let ended = matches!(next, Next::End(_));
                self.take_stock(&feed, &page.changes, ended);
                self.changes += page.changes.len();
                let now = self.context.environment.now();
                let into = self.gather();
                let work = page::plan(&mut self.view, &feed, page.changes, &into, now).await?;
                Ok(Some(self.reader.clone().content(feed, work, next, into)))
            }
        }
    }

    /// Tells the scheduler how much is still to come, now that a page is known.
    fn take_stock(&mut self, feed: &Feed, changes: &[Change], ended: bool) {
        let view = &self.view;
        self.remaining
            .announce(changes, |feed| view.cursor(feed).is_some());
        self.remaining.shown(feed, changes.len(), ended);
        let parent = self.parent.as_ref();
        let before = parent.map_or(0, |entry| entry.snapshot.totals.seen);
        let known = before + self.view.totals().seen;
        let left = self.remaining.items(self.is_first(), known);
        self.reader.gate.set_remaining(left);
    }

    /// Tells whether the resource was never read to its end.
    fn is_first(&self) -> bool {
        let parent = self.parent.as_ref();
        parent.is_none_or(|entry| entry.snapshot.outcome == Outcome::Checkpoint)
    }

    /// Commits a page whose content is there, and asks for the next one.
    async fn take_content(&mut self, page: FetchedPage) -> Result<Option<Steps<'a>>> {
        let FetchedPage {
            feed,
            work: PageWork { mut entry, .. },
            next,
            results,
            into,
        } = page;
        let (came, error) = what_came(results);
        if let Some(error) = error {
            // The page is not committed, so that the next run sees the item again.
            let feed = feed.id;
            let results = came;
            self.keep(Part {
                feed: feed.clone(),
                results,
                into,
            })
            .await?;
            return self.fail(&feed, error).map(|()| None);
        }
        entry.edits.extend(self.view.ahead().take_arrived(&feed.id));
        for came in came {
            let edit = self.edit(&feed.id, came, &into, entry.at).await?;
            entry.edits.push(edit);
        }
        let ended = matches!(next, Next::End(_));
        if let Next::More(cursor) | Next::End(cursor) = next {
            self.view.set_cursor(&feed.id, cursor);
        }
        if ended {
            self.resets.remove(&feed.id);
        }
        if ended && entry.generation.is_some() {
            entry.ended = Some(feed.scope.clone());
        }
        self.commit(entry, &into).await?;
        if self.checkpoint_is_due() {
            self.publish(Outcome::Checkpoint).await?;
        }
        let goes_on = !ended && !self.stopped();
        Ok(goes_on.then(|| self.read(feed)))
    }

    async fn edit(
        &mut self,
        feed: &str,
        (seen, outcome): (SeenItem, Fetched),
        into: &Gatherer,
        at: Timestamp,
    ) -> Result<Edit> {
        let note = self.view.note_of(feed, &seen.id).await?;
        page::fetched(seen, outcome, note.as_ref(), into, at).await
    }

    /// Keeps what has come of a page, so that a crash does not fetch it again. The page is not
    /// committed by that, and its cursor stays.
    async fn keep(&mut self, part: Part) -> Result<()> {
        let mut entry = Entry::new(self.context.environment.now());
        entry.feed = part.feed;
        let mut edits = Vec::with_capacity(part.results.len());
        for came in part.results {
            edits.push(self.edit(&entry.feed, came, &part.into, entry.at).await?);
        }
        let Some(mut entry) = self.view.ahead().arrived(entry, edits) else {
            return Ok(());
        };
        let packs = part.into.commit().await?.packs;
        entry.packs = self.view.ahead().packs_of_page(&entry.feed, packs);
        self.append(&entry).await
    }

    async fn append(&mut self, entry: &Entry) -> Result<()> {
        self.sequence += 1;
        let journal = &self.context.journal;
        journal.append(&self.header, self.sequence, entry).await
    }

    /// Journals what is ahead once more: a snapshot covers the rows up to it, those among them.
    async fn keep_beyond_snapshot(&mut self) -> Result<()> {
        for entry in self.view.ahead().entries(self.context.environment.now()) {
            self.append(&entry).await?;
        }
        Ok(())
    }

    /// Begins to gather the content of one entry.
    pub(crate) fn gather(&self) -> Gatherer {
        self.context.writer.gather(&self.reader.resource.id)
    }

    /// Makes an entry durable, with the content that was gathered for it, then true.
    pub(crate) async fn commit(&mut self, mut entry: Entry, content: &Gatherer) -> Result<()> {
        let changes = entry.edits.iter().any(Edit::is_durable);
        self.announce_quarantined(&entry);
        if changes || entry.generation.is_some() {
            let early = mutated(Mutant::CursorBeforeContent);
            if !early {
                let packs = content.commit().await?.packs;
                entry.packs = self.view.ahead().packs_of_page(&entry.feed, packs);
            }
            entry.cursors = self.view.take_dirty_cursors();
            self.append(&entry).await?;
            if early {
                content.commit().await?;
            }
        }
        self.view.apply(&entry).await?;
        if !entry.edits.is_empty() {
            self.context.observer.event(&Event::PageCommitted {
                resource: self.reader.resource.id.clone(),
                feed: entry.feed,
                totals: self.view.totals(),
            });
        }
        Ok(())
    }

    fn announce_quarantined(&self, entry: &Entry) {
        for edit in &entry.edits {
            if let Edit::Put { item, .. } = edit
                && let Some(item) = quarantined(&self.reader.resource.id, item)
            {
                self.context
                    .observer
                    .event(&Event::ItemQuarantined { item });
            }
        }
    }

    /// Notes that a feed could not be read to its end; the others go on.
    fn fail(&mut self, feed: &str, error: Error) -> Result<()> {
        if matches!(error.kind(), ErrorKind::Store | ErrorKind::Journal) {
            return Err(error);
        }
        if self.stopped() && error.is_retryable() {
            return Ok(());
        }
        tracing::warn!(resource = %self.reader.resource.id, %error, "a feed could not be read");
        self.failures.insert(feed.to_owned(), error.to_string());
        Ok(())
    }

    fn checkpoint_is_due(&self) -> bool {
        let options = self.context.options;
        let (items, bytes) = self.view.since_fold();
        items >= options.checkpoint_items.max(1)
            || bytes >= options.checkpoint_bytes
            || (items > 0 && self.since_checkpoint.elapsed() >= options.checkpoint_after)
    }

    /// Hands a snapshot of the present state to the publisher.
    async fn publish(&mut self, outcome: Outcome) -> Result<()> {
        if self.view.has_absent_containers() || self.hold.is_lost() {
            return Ok(()); // After they are settled; or what another has taken over.
        }
        let snapshot = self.snapshot(outcome).await?;
        self.since_checkpoint = Instant::now();
        self.send(snapshot, None)?;
        self.keep_beyond_snapshot().await
    }

    fn send(&mut self, snapshot: Snapshot, verdict: Option<Verdict>) -> Result<()> {
        self.has_sent = true;
        self.context.outbox.send(Prepared {
            header: self.header.clone(),
            through: self.sequence,
            snapshot,
            hold: self.hold.clone(),
            verdict,
        })
    }

    async fn snapshot(&mut self, outcome: Outcome) -> Result<Snapshot> {
        let now = self.context.environment.now();
        let roots = self.view.fold(now).await?;
        let parent = self.parent.as_ref();
        self.snapshots += 1;
        let before = parent.map_or(0, |entry| entry.snapshot.sequence);
        Ok(Snapshot {
            resource: self.reader.resource.clone(),
            set: self.context.options.set.clone(),
            run: self.context.run,
            outcome,
            token: self.hold.token(),
            sequence: before + self.snapshots,
            parent: parent.map(|entry| entry.id),
            parent_hash: parent.map(|entry| entry.hash),
            started: self.started,
            finished: now,
            containers: roots.containers,
            items: roots.items,
            notes: roots.notes,
            enumerations: self.view.enumerations(),
            cursors: self.view.cursors(),
            totals: self.view.totals(),
            routes: vec![ROUTE_GRAPH.to_owned()],
            journal_sequence: self.sequence,
        })
    }

    async fn finish(mut self) -> Result<ResourceReport> {
        let quarantined = self.quarantined().await?;
        let outcome = if self.interrupted {
            ResourceOutcome::Interrupted
        } else if !self.failures.is_empty() {
            ResourceOutcome::Partial
        } else if !quarantined.is_empty() {
            ResourceOutcome::CompleteWithQuarantine
        } else {
            ResourceOutcome::Complete
        };
        let verdict = self.verdict();
        let snapshot = self.snapshot(to_catalog(outcome)).await?;
        let changed = self.is_news(&snapshot);
        if self.interrupted && self.view.has_absent_containers() || self.hold.is_lost() {
            // The journal knows what the snapshot could not say; the next run goes on from there,
            // unless another worker has published something newer.
            tracing::debug!(resource = %self.reader.resource.id, "nothing is published yet");
            if self.hold.is_lost() {
                self.context.outbox.leaves(&self.reader.resource.id);
            }
            self.context.claims.settle(&self.hold, &verdict).await?;
        } else if changed {
            self.send(snapshot, Some(verdict))?;
            self.keep_beyond_snapshot().await?;
        } else {
            self.context
                .journal
                .cover(&self.header, self.sequence)
                .await?;
            self.keep_beyond_snapshot().await?;
            self.context.outbox.leaves(&self.reader.resource.id);
            self.context.claims.settle(&self.hold, &verdict).await?;
        }
        let outcome = match outcome {
            ResourceOutcome::Complete | ResourceOutcome::CompleteWithQuarantine if !changed => {
                ResourceOutcome::Unchanged
            }
            other => other,
        };
        Ok(ResourceReport {
            feeds: self.feeds(FeedKind::Delta).len() + self.feeds(FeedKind::Hierarchy).len(),
            outcome,
            totals: self.view.totals(),
            snapshot: self.parent.as_ref().map(|entry| entry.id),
            quarantined,
            drift: self.drift,
            error: self.failures.values().next().cloned(),
            resource: self.reader.resource.clone(),
        })
    }

    /// Returns what becomes of the claim.
    fn verdict(&self) -> Verdict {
        match self.failures.values().next() {
            _ if self.interrupted => Verdict::Left,
            Some(cause) => Verdict::Failed(cause.clone()),
            None => Verdict::Done,
        }
    }

    /// Tells whether a snapshot says anything that its parent does not.
    fn is_news(&self, snapshot: &Snapshot) -> bool {
        let Some(parent) = self.parent.as_ref().map(|entry| &entry.snapshot) else {
            // A resource of which nothing could be read has no state to publish.
            return self.failures.is_empty() || !snapshot.cursors.is_empty();
        };
        let feeds = |snapshot: &Snapshot| {
            snapshot
                .cursors
                .iter()
                .map(|cursor| cursor.feed.clone())
                .collect::<Vec<_>>()
        };
        let settled = is_settled(snapshot.outcome);
        let age = snapshot
            .finished
            .as_millis()
            .saturating_sub(parent.finished.as_millis());
        let age_max = self.context.options.cursor_age_max.as_millis();
        // After a reset the cursors of the parent lead nowhere; also if the run that met it ended
        // before this one took over its journal.
        let reset = self.view.has_enumerated();
        // A proof stands in the run notes, and would be asked for again.
        let proved = self.drift.is_some_and(|drift| drift.proved > 0);
        self.has_sent
            || proved
            || reset
            || !snapshot.same_state(parent)
            || feeds(snapshot) != feeds(parent)
            || snapshot.enumerations != parent.enumerations
            || (settled && parent.outcome != snapshot.outcome)
            || u128::try_from(age).is_ok_and(|age| age > age_max)
    }

    async fn quarantined(&mut self) -> Result<Vec<QuarantinedItem>> {
        let items = self.view.quarantined().await?;
        let id = &self.reader.resource.id;
        Ok(items
            .iter()
            .filter_map(|item| quarantined(id, item))
            .collect())
    }

    /// Returns the note of the item with this id, if it is in quarantine.
    pub(crate) fn note_of(&self, key: &backup_store::catalog::ItemKey) -> Option<RunNote> {
        self.view.note(key).cloned()
    }
}

/// Does `work` while the calls under way go on; what they bring meanwhile waits in `ready`.
///
/// A call may hold a lock of the store that the work waits for: it must never stand still.
async fn while_polling<T>(
    work: impl Future<Output = T>,
    calls: &mut Calls<'_>,
    ready: &mut VecDeque<Step>,
) -> T {
    let mut work = std::pin::pin!(work);
    while !calls.is_empty() {
        match select(work.as_mut(), calls.next()).await {
            Either::Left((done, _)) => return done,
            Either::Right((step, _)) => ready.extend(step),
        }
    }
    work.await
}

/// Takes apart what came of a page, and the first error of what did not.
fn what_came(
    results: Vec<(SeenItem, Result<Fetched>)>,
) -> (Vec<(SeenItem, Fetched)>, Option<Error>) {
    let (mut came, mut first) = (Vec::with_capacity(results.len()), None);
    for (seen, result) in results {
        match result {
            Ok(fetched) => came.push((seen, fetched)),
            Err(error) => first = first.or(Some(error)),
        }
    }
    (came, first)
}

/// How many feeds are read side by side the first time.
const FEEDS_AT_FIRST: usize = 2;
/// A feed that is reset more often than this, without coming to its end, fails.
const RESETS_MAX: u32 = 3;

/// Tells whether every feed was read to its end.
fn is_settled(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Complete | Outcome::CompleteWithQuarantine)
}

fn to_catalog(outcome: ResourceOutcome) -> Outcome {
    match outcome {
        ResourceOutcome::Unchanged | ResourceOutcome::Complete => Outcome::Complete,
        ResourceOutcome::CompleteWithQuarantine => Outcome::CompleteWithQuarantine,
        ResourceOutcome::Partial => Outcome::Partial,
        ResourceOutcome::Interrupted => Outcome::Checkpoint,
    }
}

fn quarantined(
    resource: &backup_store::catalog::ResourceId,
    item: &backup_store::catalog::Item,
) -> Option<QuarantinedItem> {
    let backup_store::catalog::ItemState::Quarantined {
        representation,
        cause,
    } = &item.state
    else {
        return None;
    };
    Some(QuarantinedItem {
        resource: resource.clone(),
        item_id: item.key.id.clone(),
        name: item.name.clone(),
        representation: representation.clone(),
        cause: cause.clone(),
    })
}
