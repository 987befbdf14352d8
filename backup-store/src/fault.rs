//! Fault injection: a backend and a disk that stop, lose answers, tear writes or run full, at an
//! effect that a test chooses (feature `fault-injection`).
//!
//! A [`FaultBackend`] and a [`SimulatedDisk`] share a [`FaultPlan`], which numbers their effects in
//! the order in which they happen: puts and deletions, and everything that changes the disk. Reads
//! are no effects: a crash between two effects is the same crash wherever it falls.
//!
//! The whole runs in one thread, with [`InlineOffload`](crate::InlineOffload), paused tokio time
//! and a [`SeededEnvironment`], so that equal seeds give equal effects. A crash is then cheap: the
//! effects of one recorded life are applied to copies of the world it began in, up to any one of
//! them, and the next life begins there.

mod backend;
mod broken;
mod disk;
mod effect;
mod plan;
mod seeded;

pub use self::backend::FaultBackend;
pub use self::broken::{ActiveMutant, break_rule, is_broken};
pub use self::disk::{SimulatedDisk, Survival};
pub use self::effect::Effect;
pub use self::plan::{Fault, FaultPlan, Ruling};
pub use self::seeded::SeededEnvironment;
pub use crate::mutant::Mutant;
pub use crate::nonces::{NonceCounts, NonceWatch};
