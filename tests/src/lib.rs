#![doc = include_str!("../README.md")]

pub mod compare;
pub mod counters;
mod generate;
pub mod server;
pub mod tenant;

pub use counters::Counters;
pub use server::{ByteStream, Server};
pub use tenant::{App, MailboxKind, Tenant, Urls, UserInfo};
