#![doc = include_str!("../README.md")]

pub mod backend;
pub mod catalog;
mod codec;
mod content;
mod environment;
mod error;
mod id;
mod offload;
mod stop;
mod time;
pub mod tree;

pub use self::backend::{
    Backend, Capabilities, LocalBackend, MemoryBackend, ObjectInfo, ObjectName, Put,
};
pub use self::content::{ContentClass, ContentRef};
pub use self::environment::{Environment, SystemEnvironment};
pub use self::error::{Error, ErrorKind, Result};
pub use self::id::{ChunkId, ContentHash, LeaseId, PackId, RunId, SnapshotId, StoreId, TreeRoot};
#[cfg(feature = "tokio")]
pub use self::offload::TokioOffload;
pub use self::offload::{InlineOffload, Job, Offload, offload};
pub use self::stop::StopSignal;
pub use self::time::Timestamp;
