#![doc = include_str!("../README.md")]

pub mod backend;
pub mod browse_cache;
pub mod catalog;
mod check;
mod chunker;
mod codec;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod content;
mod copy;
mod disk;
mod environment;
mod error;
#[cfg(test)]
mod example_store;
#[cfg(test)]
mod explore;
#[cfg(feature = "fault-injection")]
pub mod fault;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod id;
mod index;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals;
mod keys;
#[doc(hidden)]
pub mod local_database;
mod mutant;
mod nonces;
mod offload;
mod pack;
mod prune;
mod reader;
mod repair;
mod rounds;
mod runs;
mod seal;
mod slots;
mod snapshots;
mod stats;
mod stop;
mod store;
mod time;
pub mod tree;
mod writer;

pub use self::backend::{
    Backend, Capabilities, LocalBackend, MemoryBackend, ObjectInfo, ObjectName, Put,
};
pub use self::check::{
    CheckDepth, CheckPhase, CheckProgress, CheckReport, Dependent, Problem, Remark, RemarkKind,
    SampleReport, Share, Unreferenced,
};
pub use self::content::{ContentClass, ContentRef};
pub use self::copy::{
    CopyDamage, CopyOptions, CopyProgress, CopyReport, Moved, ReplicaOptions, ReplicaReport,
};
pub use self::environment::{Environment, SystemEnvironment};
pub use self::error::{Error, ErrorKind, Result};
pub use self::id::{
    ChunkId, ContentHash, LeaseId, PackId, RecipientId, RunId, SegmentId, SnapshotId, StoreId,
    TreeRoot,
};
pub use self::keys::key_file::KeyFile;
pub use self::keys::kit::RecoveryKit;
pub use self::keys::passphrase::{KdfParams, Passphrase};
pub use self::keys::recovery_code::RecoveryCode;
pub use self::keys::unlock::{RecipientKind, Unlock};
#[cfg(feature = "tokio")]
pub use self::offload::TokioOffload;
pub use self::offload::{InlineOffload, Job, Offload, offload};
pub use self::prune::{
    Amount, Fencing, PruneOptions, PruneOutcome, PrunePhase, PruneProgress, PruneReport,
    RepackOptions,
};
pub use self::reader::ContentReader;
pub use self::repair::{
    Refetch, RepairOptions, RepairPhase, RepairPlan, RepairProgress, RepairReport, SnapshotRepair,
};
pub use self::rounds::RoundNumber;
pub use self::runs::NewestRuns;
pub use self::seal::FORMAT_VERSION;
pub use self::snapshots::{SnapshotListing, SnapshotScan};
pub use self::stats::{
    ObjectSums, ResourceStats, Sizes, SnapshotStats, StatsOptions, StatsProgress, StatsReport,
};
pub use self::stop::StopSignal;
pub use self::store::key_slots::{KeySlot, SlotOptions};
pub use self::store::rotate::{Rotated, Rotation};
pub use self::store::{CreateOptions, Store, StoreOptions};
pub use self::time::Timestamp;
pub use self::writer::{ContentWriter, Gatherer, KeptUp, PageReceipt, Writer, WriterOptions};
