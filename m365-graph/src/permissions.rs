//! Permissions: what an application, or a person, must be granted for each operation of this crate.
//!
//! *Source*: the permissions that Microsoft publishes per operation (`x-ms-permissions`, 2026-08);
//! `tests/conformance/rights.rs` compares. Of several that serve, the first is the one to grant: it serves the
//! whole of what this crate reads, where the service's least would leave contents out.

/// Says what one operation needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Requirement {
    /// What the operation does, such as `read a message with its attachments`.
    pub purpose: &'static str,
    /// The method and the path, ids by the names that the service gives them.
    pub operation: &'static str,
    /// Which part of a tenant it belongs to.
    pub area: Area,
    /// Whether it changes anything.
    pub access: Access,
    /// Permissions of an application that speaks for itself; one is enough, the first is enough
    /// and no more than needed.
    pub application: &'static [&'static str],
    /// Permissions of an application that speaks for a person; as above.
    pub delegated: &'static [&'static str],
}

/// Names a part of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Area {
    /// Users.
    Directory,
    /// Mailboxes.
    Mail,
    /// Drives.
    Drives,
}

/// Tells reading from writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Access {
    /// Changes nothing.
    Read,
    /// Makes, changes or removes something.
    Write,
}

impl Requirement {
    /// Tells whether what is granted is enough.
    ///
    /// `for_person` is true for tokens that speak for a person.
    pub fn is_met(&self, for_person: bool, granted: impl Fn(&str) -> bool) -> bool {
        self.enough(for_person).iter().any(|name| granted(name))
    }

    /// Returns the permissions of which one is enough, the one to grant first.
    pub fn enough(&self, for_person: bool) -> &'static [&'static str] {
        match for_person {
            true => self.delegated,
            false => self.application,
        }
    }
}

/// Lists the operations of this crate and what each needs.
pub fn requirements() -> &'static [Requirement] {
    REQUIREMENTS
}

const fn need(
    purpose: &'static str,
    operation: &'static str,
    (area, access): (Area, Access),
    (application, delegated): (&'static [&'static str], &'static [&'static str]),
) -> Requirement {
    Requirement {
        purpose,
        operation,
        area,
        access,
        application,
        delegated,
    }
}

type Rights = (&'static [&'static str], &'static [&'static str]);

const DIRECTORY: (Area, Access) = (Area::Directory, Access::Read);
const READ_MAIL: (Area, Access) = (Area::Mail, Access::Read);
const WRITE_MAIL: (Area, Access) = (Area::Mail, Access::Write);
const READ_DRIVES: (Area, Access) = (Area::Drives, Access::Read);
const WRITE_DRIVES: (Area, Access) = (Area::Drives, Access::Write);

const USERS: &[&str] = &[
    "User.Read.All",
    "User.ReadBasic.All",
    "User.ReadWrite.All",
    "Directory.Read.All",
    "Directory.ReadWrite.All",
];
const SETTINGS: &[&str] = &["MailboxSettings.Read", "MailboxSettings.ReadWrite"];
const FOLDERS: Rights = (
    &["Mail.Read", "Mail.ReadBasic.All", "Mail.ReadWrite"],
    &["Mail.Read", "Mail.ReadBasic", "Mail.ReadWrite"],
);
const MESSAGES: Rights = (
    &["Mail.Read", "Mail.ReadWrite"],
    &["Mail.Read", "Mail.ReadWrite"],
);
const WRITING: Rights = (&["Mail.ReadWrite"], &["Mail.ReadWrite"]);
const FILES: Rights = (
    &[
        "Files.Read.All",
        "Files.ReadWrite.All",
        "Sites.Read.All",
        "Sites.ReadWrite.All",
    ],
    &[
        "Files.Read.All",
        "Files.Read",
        "Files.ReadWrite",
        "Files.ReadWrite.All",
        "Sites.Read.All",
        "Sites.ReadWrite.All",
    ],
);
const FILES_WRITING: Rights = (
    &["Files.ReadWrite.All", "Sites.ReadWrite.All"],
    &[
        "Files.ReadWrite.All",
        "Files.ReadWrite",
        "Sites.ReadWrite.All",
    ],
);

const REQUIREMENTS: &[Requirement] = &[
    need("list the users", "GET /users", DIRECTORY, (USERS, USERS)),
    need(
        "read a user",
        "GET /users/{user-id}",
        DIRECTORY,
        (USERS, USERS),
    ),
    need(
        "read what kind of mailbox a user has",
        "GET /users/{user-id}/mailboxSettings",
        READ_MAIL,
        (SETTINGS, SETTINGS),
    ),
    need(
        "see which mail folders changed",
        "GET /users/{user-id}/mailFolders/delta",
        READ_MAIL,
        FOLDERS,
    ),
    need(
        "read a mail folder",
        "GET /users/{user-id}/mailFolders/{mailFolder-id}",
        READ_MAIL,
        FOLDERS,
    ),
    need(
        "see which messages changed",
        "GET /users/{user-id}/mailFolders/{mailFolder-id}/messages/delta",
        READ_MAIL,
        FOLDERS,
    ),
    need(
        "list the folders in a mail folder",
        "GET /users/{user-id}/mailFolders/{mailFolder-id}/childFolders",
        READ_MAIL,
        FOLDERS,
    ),
    need(
        "list the messages of a mail folder",
        "GET /users/{user-id}/mailFolders/{mailFolder-id}/messages",
        READ_MAIL,
        FOLDERS,
    ),
    need(
        "read a message",
        "GET /users/{user-id}/messages/{message-id}",
        READ_MAIL,
        MESSAGES,
    ),
    need(
        "read a message as MIME, with its attachments",
        "GET /users/{user-id}/messages/{message-id}/$value",
        READ_MAIL,
        MESSAGES,
    ),
    need(
        "make a mail folder",
        "POST /users/{user-id}/mailFolders/{mailFolder-id}/childFolders",
        WRITE_MAIL,
        WRITING,
    ),
    need(
        "write a message",
        "POST /users/{user-id}/mailFolders/{mailFolder-id}/messages",
        WRITE_MAIL,
        WRITING,
    ),
    need(
        "change a message",
        "PATCH /users/{user-id}/messages/{message-id}",
        WRITE_MAIL,
        WRITING,
    ),
    need(
        "remove a message",
        "DELETE /users/{user-id}/messages/{message-id}",
        WRITE_MAIL,
        WRITING,
    ),
    need(
        "add an attachment",
        "POST /users/{user-id}/messages/{message-id}/attachments",
        WRITE_MAIL,
        WRITING,
    ),
    need(
        "add a large attachment",
        "POST /users/{user-id}/messages/{message-id}/attachments/createUploadSession",
        WRITE_MAIL,
        WRITING,
    ),
    need(
        "find the drive of a user",
        "GET /users/{user-id}/drive",
        READ_DRIVES,
        FILES,
    ),
    need(
        "see which files changed",
        "GET /drives/{drive-id}/root/delta",
        READ_DRIVES,
        FILES,
    ),
    need(
        "find the root folder of a drive",
        "GET /drives/{drive-id}/root",
        READ_DRIVES,
        FILES,
    ),
    need(
        "list the files in a folder",
        "GET /drives/{drive-id}/items/{driveItem-id}/children",
        READ_DRIVES,
        FILES,
    ),
    need(
        "read a file's entry",
        "GET /drives/{drive-id}/items/{driveItem-id}",
        READ_DRIVES,
        FILES,
    ),
    need(
        "read a file's content",
        "GET /drives/{drive-id}/items/{driveItem-id}/content",
        READ_DRIVES,
        FILES,
    ),
    need(
        "make a folder",
        "POST /drives/{drive-id}/items/{driveItem-id}/children",
        WRITE_DRIVES,
        FILES_WRITING,
    ),
    need(
        "write a small file",
        "PUT /drives/{drive-id}/items/{driveItem-id}/content",
        WRITE_DRIVES,
        FILES_WRITING,
    ),
    need(
        "write a file",
        "POST /drives/{drive-id}/items/{driveItem-id}/createUploadSession",
        WRITE_DRIVES,
        FILES_WRITING,
    ),
    need(
        "change a file's entry",
        "PATCH /drives/{drive-id}/items/{driveItem-id}",
        WRITE_DRIVES,
        FILES_WRITING,
    ),
    need(
        "remove a file",
        "DELETE /drives/{drive-id}/items/{driveItem-id}",
        WRITE_DRIVES,
        FILES_WRITING,
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Access, requirements};

    #[test]
    fn every_operation_is_named_once_and_writing_asks_for_writing() {
        let mut seen = BTreeSet::new();
        for need in requirements() {
            assert!(seen.insert(need.operation), "{} twice", need.operation);
            for for_person in [true, false] {
                let first = need.enough(for_person)[0];
                let writes = first.contains("ReadWrite");
                assert_eq!(writes, need.access == Access::Write, "{}", need.operation);
                assert!(need.is_met(for_person, |name| name == first));
                assert!(!need.is_met(for_person, |_| false));
            }
            assert_eq!(
                need.operation.starts_with("GET "),
                need.access == Access::Read
            );
        }
    }
}
