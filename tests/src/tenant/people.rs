//! People: users, shared mailboxes, rooms and equipment, with a mailbox and a drive or without.

use serde_json::{Value, json};

use super::drive::Drive;
use super::mailbox::Mailbox;

/// What a mailbox is for, as `userPurpose` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MailboxKind {
    /// A person's own mailbox.
    User,
    /// A mailbox of several people.
    Shared,
    /// A meeting room.
    Room,
    /// A projector, a car.
    Equipment,
}

impl MailboxKind {
    /// Returns the value of `userPurpose`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Shared => "shared",
            Self::Room => "room",
            Self::Equipment => "equipment",
        }
    }
}

/// What the directory says of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserInfo {
    /// The object id, a GUID.
    pub id: String,
    /// The principal name, such as `alice@contoso.example`.
    pub principal_name: String,
    /// The name people read.
    pub display_name: String,
    /// What the mailbox is for; `None` where there is no mailbox.
    pub mailbox: Option<MailboxKind>,
    /// Whether there is a drive.
    pub has_drive: bool,
}

/// One user with what belongs to it.
#[derive(Debug, Clone)]
pub struct UserState {
    pub(crate) id: String,
    pub(crate) principal_name: String,
    pub(crate) display_name: String,
    pub(crate) kind: MailboxKind,
    pub(crate) mailbox: Option<Mailbox>,
    pub(crate) drive: Option<Drive>,
}

impl UserState {
    /// Tells whether `id_or_name` names this user.
    pub(crate) fn answers_to(&self, id_or_name: &str) -> bool {
        self.id.eq_ignore_ascii_case(id_or_name)
            || self.principal_name.eq_ignore_ascii_case(id_or_name)
    }

    /// Returns what the directory says of the user.
    pub(crate) fn info(&self) -> UserInfo {
        UserInfo {
            id: self.id.clone(),
            principal_name: self.principal_name.clone(),
            display_name: self.display_name.clone(),
            mailbox: self.mailbox.as_ref().map(|_| self.kind),
            has_drive: self.drive.is_some(),
        }
    }

    /// Returns the user as Graph shows it, with all properties that can be selected.
    pub(crate) fn to_json(&self) -> Value {
        let licences = if self.kind == MailboxKind::User {
            json!([{"disabledPlans": [], "skuId": "6fd2c87f-b296-42f0-b197-1e91e994b900"}])
        } else {
            json!([])
        };
        json!({
            "id": self.id,
            "userPrincipalName": self.principal_name,
            "mail": self.mailbox.as_ref().map(|_| &self.principal_name),
            "displayName": self.display_name,
            "givenName": self.display_name.split(' ').next(),
            "surname": self.display_name.split(' ').nth(1),
            "jobTitle": null,
            "businessPhones": [],
            "mobilePhone": null,
            "officeLocation": null,
            "preferredLanguage": null,
            "accountEnabled": self.kind == MailboxKind::User,
            "userType": "Member",
            "assignedLicenses": licences,
            "proxyAddresses": [format!("SMTP:{}", self.principal_name)],
        })
    }
}
