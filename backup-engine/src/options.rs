//! Options of a backup run, each with its limit.

use std::path::PathBuf;
use std::time::Duration;

use m365_auth::Scheduler;

use crate::audit::AlarmThresholds;
use crate::bandwidth::BandwidthProfile;
use crate::coordinator::Coordination;
use crate::selection::Selection;
use crate::sync_check::SyncCheck;

/// Says how a backup runs.
#[derive(Debug, Clone)]
pub struct BackupOptions {
    /// The name of the backup set; it stands in every snapshot.
    pub set: String,
    /// What is covered.
    pub selection: Selection,
    /// Who decides what goes next; shared by all engines of a process, and by its limiter with the
    /// transport of the clients.
    pub scheduler: Scheduler,
    /// How many units of work are under way at once, over all resources, instead of what the
    /// scheduler was made with; four is what some products offer.
    pub max_parallel: Option<usize>,
    /// How much of the line is taken at which time of the day.
    pub bandwidth: BandwidthProfile,
    /// How many resources are open at once; the longest of them goes first.
    pub parallel_resources: usize,
    /// How many requests are in flight for one resource; Exchange allows four for a mailbox.
    pub requests_per_resource: usize,
    /// The folder on this machine for the backup journal and for packs not yet uploaded.
    pub state_dir: PathBuf,
    /// A resource that has been worked on for this long publishes a checkpoint.
    pub checkpoint_after: Duration,
    /// A resource that has stored this many bytes since its last checkpoint publishes one.
    pub checkpoint_bytes: u64,
    /// A resource that holds this many changed items in memory publishes a checkpoint.
    pub checkpoint_items: usize,
    /// A page whose content takes longer than this has what came of it kept, time and again, so that
    /// a crash loses no more than that much work on a resource.
    pub keep_after: Duration,
    /// So many contents that came for pages of one resource, however many are under way, have some
    /// of them kept: with the requests in flight, this is what a crash fetches again at most. Half
    /// of a usual page, so that both together are less than one.
    pub keep_items: usize,
    /// Cursors older than this are written anew, even for a resource without changes.
    pub cursor_age_max: Duration,
    /// Whether this run makes a Data Synchronization Check.
    pub sync_check: SyncCheck,
    /// How many assumed contents of one resource the check fetches as proof.
    pub proofs_max: usize,
    /// When to try again, and when to stop trying.
    pub retry: RetryLimits,
    /// Whether the selection is only a part of the set, as somebody asked; the run record says so.
    pub part: bool,
    /// How much change of a resource is alarming.
    pub alarm: AlarmThresholds,
    /// With whom the work is shared; `None` where nobody else works on this store.
    pub coordination: Option<Coordination>,
}

impl Default for BackupOptions {
    fn default() -> Self {
        Self {
            set: "default".into(),
            selection: Selection::default(),
            scheduler: Scheduler::default(),
            max_parallel: None,
            bandwidth: BandwidthProfile::free(),
            parallel_resources: 256,
            requests_per_resource: 4,
            state_dir: PathBuf::from(".m365-backup"),
            checkpoint_after: Duration::from_secs(5 * 60),
            checkpoint_bytes: 1 << 30,
            checkpoint_items: 20_000,
            keep_after: Duration::from_secs(5),
            keep_items: 96,
            cursor_age_max: Duration::from_secs(7 * 24 * 3600),
            sync_check: SyncCheck::Off,
            proofs_max: 20,
            retry: RetryLimits::default(),
            part: false,
            alarm: AlarmThresholds::default(),
            coordination: None,
        }
    }
}

/// Bounds the trying again of one unit of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryLimits {
    /// How often a unit that failed for the service's or the network's reasons is tried in all.
    pub tries_max: u32,
    /// How long a unit may wait in all, throttling included, before its resource fails.
    pub wait_max: Duration,
    /// The first wait where the service names none; it doubles with each try.
    pub first_wait: Duration,
    /// The longest wait where the service names none.
    pub longest_wait: Duration,
}

impl Default for RetryLimits {
    fn default() -> Self {
        Self {
            tries_max: 8,
            wait_max: Duration::from_secs(30 * 60),
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(2 * 60),
        }
    }
}
