#![doc = include_str!("../README.md")]

pub mod batch;
pub mod client;
pub mod drive;
pub mod entity;
pub mod error;
pub mod feed;
mod json;
pub mod limits;
pub mod mail;
mod odata;
pub mod page;
pub mod permissions;
mod retry_after;
pub mod sharepoint;
pub mod signals;
mod upload;
pub mod users;

pub use batch::{Batch, BatchAnswers, Part, PartAnswer};
pub use client::{GraphClient, GraphOptions};
pub use drive::{Download, Drive, DriveClient, DriveItem, OnConflict, QuickXorHash, UploadOptions};
pub use entity::Entity;
pub use error::{Error, ErrorKind, Result};
pub use feed::{Feed, Listing};
pub use limits::{TenantSize, limit_table};
pub use mail::{Mail, MailFolder, Message, MessageHead, NewAttachment, Recipient};
pub use page::{Change, DeltaLink, DeltaNext, DeltaPage, Page, PageLink, RemovedReason};
pub use permissions::{Access, Area, Requirement, requirements};
pub use sharepoint::SharePointClient;
pub use signals::{ThrottleObserver, ThrottleSignals};
pub use users::{MailboxSettings, User};
