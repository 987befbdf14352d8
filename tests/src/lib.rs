#![doc = include_str!("../README.md")]

pub mod compare;
pub mod counters;
pub mod generate;
mod mime;
pub mod server;
pub mod tenant;

pub use counters::Counters;
pub use generate::TenantSpec;
pub use server::{ByteStream, Server};
pub use tenant::{App, MailboxKind, Tenant, Urls, UserInfo};
