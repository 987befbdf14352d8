//! Generation: a tenant from a seed, the same one every time.

pub(crate) mod attachment;
pub(crate) mod files;
mod folders;
pub(crate) mod letter;
pub(crate) mod mail;
mod people;
pub(crate) mod text;

use std::io;
use std::path::PathBuf;

use crate::tenant::{MailboxKind, Tenant};

/// What a generated tenant is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantSpec {
    /// Decides everything.
    pub seed: u64,
    /// How many users, shared mailboxes, rooms and pieces of equipment there are, together.
    pub users: usize,
    /// Messages per mailbox, on average.
    pub messages_per_user: usize,
    /// Files per drive, on average.
    pub files_per_user: usize,
    /// Bytes of mail and files together, about; mail takes 45 of a hundred.
    pub logical_bytes: u64,
    /// A folder of `.eml` and mbox files that are spread over the users instead of generated mail.
    pub mail_dir: Option<PathBuf>,
    /// A folder of files that are spread over the drives instead of generated files.
    pub files_dir: Option<PathBuf>,
}

impl Default for TenantSpec {
    /// 25 users, about 20,000 items, about 1 GiB.
    fn default() -> Self {
        Self {
            seed: 1,
            users: 25,
            messages_per_user: 720,
            files_per_user: 80,
            logical_bytes: 1024 * 1024 * 1024,
            mail_dir: None,
            files_dir: None,
        }
    }
}

impl Tenant {
    /// Generates a tenant; its content is computed when it is asked for.
    ///
    /// *Errors*: those of reading `mail_dir` and `files_dir`.
    pub fn generate(spec: TenantSpec) -> io::Result<Self> {
        let tenant = Self::empty(spec.seed);
        {
            let mut state = tenant.lock();
            people::fill(&mut state, &spec);
            mail::fill(&mut state, &spec)?;
        }
        give_drives(&tenant, &spec)?;
        Ok(tenant)
    }
}

/// Gives every user a drive, and fills them; rooms and equipment have none.
fn give_drives(tenant: &Tenant, spec: &TenantSpec) -> io::Result<()> {
    for user in tenant.users() {
        if user.mailbox == Some(MailboxKind::User) {
            tenant.give_drive(&user.id);
        }
    }
    let mut state = tenant.lock();
    let drives = state
        .users
        .iter()
        .filter(|user| user.drive.is_some())
        .count()
        .max(1);
    let files = (spec.files_per_user * spec.users / drives) as u64;
    let bytes = spec.logical_bytes / 100 * (100 - mail::MAIL_SHARE);
    let mean = bytes / (files * drives as u64).max(1);
    files::fill_drives(&mut state, files, Some(mean), spec.files_dir.as_deref())?;
    Ok(())
}
