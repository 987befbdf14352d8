//! Users of the tenant, and what kind of mailbox each has.

use crate::client::{GraphClient, segment};
use crate::entity::{Entity, view};
use crate::error::Result;
use crate::page::{self, Page, PageLink};

view! {
    /// Shows a user of the directory.
    pub struct User with id {
        /// The name used to sign in.
        user_principal_name: Option<String> = "userPrincipalName",
        /// The name to show.
        display_name: Option<String> = "displayName",
        /// The primary mail address.
        mail: Option<String> = "mail",
        /// Whether the account may sign in; shared mailboxes usually may not.
        account_enabled: Option<bool> = "accountEnabled",
        /// `Member` or `Guest`.
        user_type: Option<String> = "userType",
    }
}

view! {
    /// Shows the settings of a mailbox.
    pub struct MailboxSettings {
        /// `user`, `linked`, `shared`, `room`, `equipment` or `others`.
        user_purpose: Option<String> = "userPurpose",
        /// The time zone, by its Windows name.
        time_zone: Option<String> = "timeZone",
    }
}

impl GraphClient {
    /// Reads one page of the users of the tenant.
    pub async fn users_page(&self, next: Option<&PageLink>) -> Result<Page<User>> {
        const ABOUT: &str = "the list of users";
        let call = self.page(ABOUT, next, || {
            let size = self
                .options()
                .list_page_size
                .min(MAX_USERS_PER_PAGE)
                .to_string();
            let call = self.get(ABOUT, &[segment("users")])?;
            Ok(call.query("$select", USER_PROPERTIES).query("$top", &size))
        })?;
        page::list(self.json(call).await?, &|link| self.check(link))
            .map_err(|error| error.about(ABOUT))
    }

    /// Reads a user by id or principal name.
    ///
    /// *Errors*: [`NotFound`](crate::ErrorKind::NotFound) when there is none.
    pub async fn user(&self, id_or_principal_name: &str) -> Result<Entity<User>> {
        let call = self.get("the user", &[segment("users"), id_or_principal_name.into()])?;
        self.entity(call.query("$select", USER_PROPERTIES)).await
    }

    /// Reads what kind of mailbox a user has.
    ///
    /// *Errors*: [`NotFound`](crate::ErrorKind::NotFound) when the user has none in Exchange
    /// Online.
    pub async fn mailbox_settings(&self, user: &str) -> Result<Entity<MailboxSettings>> {
        let path = [segment("users"), user.into(), segment("mailboxSettings")];
        let call = self.get("the mailbox settings of the user", &path)?;
        self.entity(call.query("$select", "userPurpose")).await
    }
}

const USER_PROPERTIES: &str = "id,userPrincipalName,displayName,mail,accountEnabled,userType";
/// The directory gives no more users a page.
const MAX_USERS_PER_PAGE: u32 = 999;
