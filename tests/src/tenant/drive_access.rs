//! Drives as a test reaches them, without HTTP.

use super::drive::Drive;
use super::{EPOCH, Tenant, ids};

impl Tenant {
    /// Lets `act` read or change the drive of a user, named by id or principal name.
    ///
    /// Returns `None` when there is no such user, or no drive.
    pub fn with_drive<R>(&self, user: &str, act: impl FnOnce(&mut Drive) -> R) -> Option<R> {
        let mut state = self.lock();
        let drive = state.user_mut(user)?.drive.as_mut()?;
        Some(act(drive))
    }

    /// Gives a user an empty drive in place of what was there; returns its id.
    ///
    /// Returns `None` when there is no such user.
    pub fn give_drive(&self, user: &str) -> Option<String> {
        let mut state = self.lock();
        let tenant_seed = state.seed;
        let user = state.user_mut(user)?;
        let seed = ids::number(tenant_seed, &format!("drive {}", user.id), 0);
        let drive = Drive::new(&user.id, seed, (EPOCH - 1000 * 86_400) * 1000);
        let id = drive.id().to_owned();
        user.drive = Some(drive);
        Some(id)
    }

    /// Takes a user's drive away, as if it had never been provisioned.
    pub fn remove_drive(&self, user: &str) {
        if let Some(user) = self.lock().user_mut(user) {
            user.drive = None;
        }
    }

    /// Makes every delta token of a user's drive invalid: the next use answers 410.
    pub fn expire_drive_cursors(&self, user: &str) {
        self.with_drive(user, Drive::expire_positions);
    }
}
