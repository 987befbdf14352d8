//! Tenant: the whole state of the simulated Microsoft 365, shared by whoever holds a clone.

pub(crate) mod app;
pub(crate) mod collections;
pub mod drive;
mod drive_access;
pub(crate) mod ids;
mod mail_access;
pub(crate) mod mailbox;
pub mod message;
mod oddity;
pub(crate) mod people;
pub(crate) mod public_folders;
pub(crate) mod sharepoint;
pub(crate) mod sign_ins;
pub(crate) mod subscriptions;
pub(crate) mod teams;
pub(crate) mod uploads;
pub(crate) mod urls;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::counters::Counters;
use crate::fault::FaultPlan;
use crate::generate::letter::Cast;

pub use app::{App, Permission};
pub use mail_access::{MessageInfo, NewMessage};
pub use message::{Address, Attachment, Flag, Importance};
pub use oddity::Oddity;
pub use people::{MailboxKind, UserInfo, UserState};
pub use subscriptions::LifecycleEvent;
pub use urls::Urls;

/// Seconds since 1970 of the first moment of every tenant: 2026-11-01T00:00:00Z.
pub(crate) const EPOCH: i64 = 1_793_491_200;

/// Bytes that every drive may hold unless a test says otherwise: one terabyte.
const DRIVE_QUOTA: u64 = 1 << 40;

/// Answers what time it is; the operating system by default.
pub(crate) type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// A simulated tenant: cheap to clone, all clones share one state.
///
/// What it holds depends on the seed and on the requests it got, on nothing else; only tokens and
/// assertions look at a clock (see [`Tenant::set_clock`]).
#[derive(Clone)]
pub struct Tenant {
    state: Arc<Mutex<State>>,
    /// Where it listens; audiences of tokens are named by it.
    home: Arc<Urls>,
    /// Under which names answers speak of it; those by which the request came.
    urls: Arc<Urls>,
}

/// Everything a tenant knows; one lock, held for one request at most.
#[derive(Clone)]
pub(crate) struct State {
    /// Decides everything that looks random.
    pub(crate) seed: u64,
    /// The people and rooms of the tenant, in the order of creation.
    pub(crate) users: Vec<UserState>,
    /// The app that may sign in, and what it was granted.
    pub(crate) app: app::Registration,
    /// Sign-ins of people and machines.
    pub(crate) sign_ins: sign_ins::SignIns,
    /// Requests answered, by route.
    pub(crate) counters: Counters,
    /// Time for tokens and assertions.
    pub(crate) clock: Clock,
    /// Counts changes; tenant time is [`EPOCH`] plus one second for each.
    pub(crate) ticks: i64,
    /// Numbers requests, for request ids.
    pub(crate) requests: u64,
    /// Uploads of files under way, by the name in their address.
    pub(crate) uploads: BTreeMap<String, drive::Upload>,
    /// Public folders, and how EWS behaves.
    pub(crate) ews: public_folders::Ews,
    /// Attachments on their way in, by the token of their session.
    pub(crate) mail_uploads: BTreeMap<String, uploads::Upload>,
    pub(crate) mail_uploads_opened: u64,
    /// Who wants to be told of changes.
    pub(crate) subscriptions: subscriptions::Subscriptions,
    /// What is stored without rules of its own.
    pub(crate) collections: collections::Collections,
    /// Sites, as far as Graph does not tell of them.
    pub(crate) sites: sharepoint::Sites,
    /// Teams with their channels.
    pub(crate) teams: teams::Teams,
    /// Sessions by which items are imported: the mailbox, and when they end.
    pub(crate) imports: BTreeMap<String, (String, SystemTime)>,
    /// Folders that were archived away, with the user in whose mailbox they are now.
    pub(crate) archives: BTreeMap<String, String>,
    /// What is odd about single messages and items, by their ids.
    pub(crate) oddities: BTreeMap<String, Oddity>,
    /// Whether SharePoint writes its own properties into Office files.
    pub(crate) office_drift: bool,
    /// Bytes that each drive holds.
    pub(crate) drive_quota: u64,
    /// Limits, and what was used of them.
    pub(crate) usage: crate::throttling::Usage,
    /// What goes wrong.
    pub(crate) faults: FaultPlan,
    /// Whether an Authorization header is ignored where an address is its own permission.
    pub(crate) tolerant_content: bool,
    /// Who writes generated mail.
    pub(crate) cast: Arc<Cast>,
}

impl Tenant {
    /// Creates a tenant with an app, and nobody in it.
    pub fn empty(seed: u64) -> Self {
        let state = State {
            seed,
            users: Vec::new(),
            app: app::Registration::new(seed),
            sign_ins: sign_ins::SignIns::new(seed),
            counters: Counters::default(),
            clock: system_clock(),
            ticks: 0,
            requests: 0,
            uploads: BTreeMap::new(),
            ews: public_folders::Ews::new(seed),
            mail_uploads: BTreeMap::new(),
            mail_uploads_opened: 0,
            subscriptions: subscriptions::Subscriptions::default(),
            collections: collections::Collections::default(),
            sites: sharepoint::Sites::default(),
            teams: teams::Teams::default(),
            imports: BTreeMap::new(),
            archives: BTreeMap::new(),
            oddities: BTreeMap::new(),
            office_drift: false,
            drive_quota: DRIVE_QUOTA,
            usage: crate::throttling::Usage::default(),
            faults: FaultPlan::default(),
            tolerant_content: false,
            cast: Arc::default(),
        };
        let urls = Arc::new(Urls::in_process());
        Self {
            state: Arc::new(Mutex::new(state)),
            home: Arc::clone(&urls),
            urls,
        }
    }

    /// Returns where this tenant answers.
    pub fn urls(&self) -> &Urls {
        &self.urls
    }

    /// Copies the tenant as it is now; what happens to one is not seen by the other.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self {
            state: Arc::new(Mutex::new(self.lock().clone())),
            home: Arc::clone(&self.home),
            urls: Arc::clone(&self.urls),
        }
    }

    /// Returns the same tenant under other addresses; both share one state.
    #[must_use]
    pub fn with_urls(&self, urls: Urls) -> Self {
        let urls = Arc::new(urls);
        Self {
            state: Arc::clone(&self.state),
            home: Arc::clone(&urls),
            urls,
        }
    }

    /// Returns the same tenant, which speaks of itself by the names that a request used.
    pub(crate) fn named_by(&self, urls: Urls) -> Self {
        Self {
            state: Arc::clone(&self.state),
            home: Arc::clone(&self.home),
            urls: Arc::new(urls),
        }
    }

    /// Returns where it listens, by whatever names the request came.
    pub(crate) fn home(&self) -> &Urls {
        &self.home
    }

    /// Finds the service that a token is asked for, by any of its names; returns the origin by
    /// which tokens name it.
    pub(crate) fn audience_of(&self, resource: &str) -> Option<String> {
        let resource = resource.trim_end_matches('/');
        let global = Urls::global();
        let names = [&*self.urls, &*self.home, &global];
        let services: [fn(&Urls) -> String; 3] = [
            |urls| urls.graph.origin().ascii_serialization(),
            |urls| urls.ews.origin().ascii_serialization(),
            |urls| urls.sharepoint.origin().ascii_serialization(),
        ];
        services
            .into_iter()
            .find(|of| {
                names
                    .iter()
                    .any(|urls| of(urls).eq_ignore_ascii_case(resource))
            })
            .map(|of| of(&self.home))
    }

    /// Returns the app that may sign in.
    pub fn app(&self) -> App {
        self.lock().app.app.clone()
    }

    /// Returns the requests counted so far.
    pub fn counters(&self) -> Counters {
        self.lock().counters.clone()
    }

    /// Sets all counters to zero.
    pub fn reset_counters(&self) {
        self.lock().counters = Counters::default();
    }

    /// Replaces the clock by which tokens expire and assertions are judged.
    pub fn set_clock(&self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) {
        self.lock().clock = Arc::new(clock);
    }

    /// Decides what happens to an Authorization header at addresses that need none.
    ///
    /// The service may refuse it, which is the default here; some clients send one all the same,
    /// and get along with the service. A tolerant tenant also answers the last fragment of an
    /// upload a second time.
    pub fn set_tolerant_content(&self, tolerant: bool) {
        self.lock().tolerant_content = tolerant;
    }

    /// Lists the users in the order of their creation.
    pub fn users(&self) -> Vec<UserInfo> {
        self.lock().users.iter().map(UserState::info).collect()
    }

    /// Locks the state; a thread that panicked while holding it does not matter to a simulation.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Finds a user by id or, whatever the letter case, by principal name.
    pub(crate) fn user(&self, id_or_name: &str) -> Option<&UserState> {
        self.users.iter().find(|user| user.answers_to(id_or_name))
    }

    /// Finds a user like [`State::user`], to change it.
    pub(crate) fn user_mut(&mut self, id_or_name: &str) -> Option<&mut UserState> {
        self.users
            .iter_mut()
            .find(|user| user.answers_to(id_or_name))
    }

    /// Adds a user with an empty mailbox and returns the place among all users.
    pub(crate) fn add_user(
        &mut self,
        principal_name: &str,
        display_name: &str,
        kind: MailboxKind,
        language: usize,
    ) -> usize {
        let place = self.users.len();
        let number = self.collections.made("users");
        let id = ids::guid(self.seed, "user", number);
        self.collections
            .put("users", self.seed, serde_json::json!({ "id": id }));
        self.users.push(UserState {
            id,
            principal_name: principal_name.to_string(),
            display_name: display_name.to_string(),
            kind,
            mailbox: Some(mailbox::Mailbox::new(
                ids::number(self.seed, "mailbox", number),
                language,
            )),
            drive: None,
        });
        place
    }

    /// Returns tenant time in seconds since 1970 and moves it one second on.
    pub(crate) fn tick(&mut self) -> i64 {
        self.ticks += 1;
        EPOCH + self.ticks
    }
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Tenant")
            .field("seed", &state.seed)
            .field("users", &state.users.len())
            .finish_non_exhaustive()
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "this is the seam; set_clock replaces it"
)]
fn system_clock() -> Clock {
    Arc::new(SystemTime::now)
}
