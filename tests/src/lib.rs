#![doc = include_str!("../README.md")]

mod change;
pub mod compare;
pub mod counters;
pub mod fault;
pub mod generate;
mod mime;
pub mod server;
pub mod tenant;
mod throttling;

pub use change::{ChangeSpec, ChangeSummary};
pub use counters::Counters;
pub use fault::{Fault, FaultPlan, FaultRule};
pub use generate::TenantSpec;
pub use server::{ByteStream, Server};
pub use tenant::{App, MailboxKind, MessageInfo, NewMessage, Oddity, Tenant, Urls, UserInfo};
pub use throttling::Throttling;
