//! Mailboxes as a test reaches them, without HTTP.

use std::sync::Arc;

use bytes::Bytes;

use super::mailbox::{Draft, Mailbox, ROOT};
use super::message::{Address, Attachment, Content, Flag, Importance, MessageView};
use super::{EPOCH, MailboxKind, Tenant, ids};

/// A message to be put into a mailbox.
#[derive(Debug, Clone, Default)]
pub struct NewMessage {
    /// The subject.
    pub subject: String,
    /// The body as HTML, where there is one.
    pub html: Option<String>,
    /// The body as plain text, where there is one.
    pub text: Option<String>,
    /// Who wrote it.
    pub from: Option<Address>,
    /// To whom.
    pub to: Vec<Address>,
    /// Copies.
    pub cc: Vec<Address>,
    /// The attached files.
    pub attachments: Vec<Attachment>,
    /// When it was sent and received, in seconds since 1970; 0 stands for now.
    pub received: i64,
    /// Whether it is a draft.
    pub draft: bool,
    /// Whether it was read.
    pub read: bool,
    /// Its flag.
    pub flag: Flag,
    /// Its importance.
    pub importance: Importance,
    /// Its categories.
    pub categories: Vec<String>,
}

/// What a test sees of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessageInfo {
    /// The immutable id.
    pub id: String,
    /// The id of its folder.
    pub folder: String,
    /// Names of the folders above it, joined by slashes.
    pub folder_path: String,
    /// The subject.
    pub subject: String,
    /// The change key.
    pub change_key: String,
    /// Whether it is a draft.
    pub draft: bool,
}

impl Tenant {
    /// Adds a user with an empty mailbox and no drive; returns the id.
    pub fn add_user(&self, principal_name: &str, display_name: &str, kind: MailboxKind) -> String {
        let mut state = self.lock();
        let place = state.add_user(principal_name, display_name, kind, 0);
        state.users[place].id.clone()
    }

    /// Takes a user's mailbox away, as if there had never been a licence.
    pub fn remove_mailbox(&self, user: &str) {
        let mut state = self.lock();
        let Some(user) = state.user_mut(user) else {
            return;
        };
        user.mailbox = None;
        let changed = serde_json::json!({ "id": user.id });
        let seed = state.seed;
        state.collections.put("users", seed, changed);
    }

    /// Lists all messages of a mailbox, folder by folder; none where there is no mailbox.
    pub fn messages(&self, user: &str) -> Vec<MessageInfo> {
        let state = self.lock();
        let mailbox = state.user(user).and_then(|user| user.mailbox.as_ref());
        let info = |mailbox: &Mailbox| {
            let one = |message: &super::message::Message| MessageInfo {
                id: mailbox.message_id(message, true),
                folder: mailbox.folder_id(message.folder),
                folder_path: mailbox.path_of(message.folder).join("/"),
                subject: message.view(false).subject,
                change_key: mailbox.change_key(message.change),
                draft: message.draft,
            };
            mailbox
                .folders
                .keys()
                .flat_map(|key| mailbox.messages_in(*key))
                .map(one)
                .collect()
        };
        mailbox.map(info).unwrap_or_default()
    }

    /// Lists the folders of a mailbox that clients see, each by its id with the messages in it.
    pub fn mail_folders(&self, user: &str) -> Vec<(String, u64)> {
        let state = self.lock();
        let mailbox = state.user(user).and_then(|user| user.mailbox.as_ref());
        let shown = |mailbox: &Mailbox| {
            let keys = mailbox.folders.keys().filter(|key| **key != ROOT);
            keys.map(|key| {
                let messages = mailbox.messages_in(*key).count() as u64;
                (mailbox.folder_id(*key), messages)
            })
            .collect()
        };
        mailbox.map(shown).unwrap_or_default()
    }

    /// Counts the messages of a folder named by id or well-known name; 0 where there is none.
    pub fn count_messages(&self, user: &str, folder: &str) -> usize {
        let state = self.lock();
        let mailbox = state.user(user).and_then(|user| user.mailbox.as_ref());
        mailbox
            .and_then(|mailbox| Some(mailbox.messages_in(mailbox.folder_key(folder)?).count()))
            .unwrap_or(0)
    }

    /// Returns the MIME of a message.
    pub fn mime(&self, user: &str, message: &str) -> Option<Bytes> {
        let state = self.lock();
        let mailbox = state.user(user)?.mailbox.as_ref()?;
        let message = mailbox.message(message)?.clone();
        drop(state);
        Some(message.mime())
    }

    /// Adds a folder below one that is named by id or well-known name; returns the id.
    ///
    /// Returns `None` when user or parent are not there, or the name is taken.
    pub fn add_folder(&self, user: &str, parent: &str, name: &str, hidden: bool) -> Option<String> {
        self.with_mailbox(user, |mailbox, _| {
            let parent = mailbox.folder_key(parent)?;
            if mailbox.child_named(parent, name).is_some() {
                return None;
            }
            let key = mailbox.add_folder(parent, name, hidden, None);
            Some(mailbox.folder_id(key))
        })
    }

    /// Removes a folder with all that is in it; tells whether it was there.
    pub fn delete_folder(&self, user: &str, folder: &str) -> bool {
        self.with_mailbox(user, |mailbox, _| {
            let key = mailbox.folder_key(folder)?;
            mailbox.remove_folder(key);
            Some(())
        })
        .is_some()
    }

    /// Renames a folder; tells whether it was there.
    pub fn rename_folder(&self, user: &str, folder: &str, name: &str) -> bool {
        self.with_mailbox(user, |mailbox, _| {
            let key = mailbox.folder_key(folder)?;
            let parent = mailbox.folders.get(&key)?.parent;
            mailbox.change_folder(key, parent, name);
            Some(())
        })
        .is_some()
    }

    /// Puts a message into a folder named by id or well-known name; returns its immutable id.
    ///
    /// Returns `None` when user or folder are not there.
    pub fn add_message(&self, user: &str, folder: &str, message: NewMessage) -> Option<String> {
        self.with_mailbox(user, |mailbox, now| {
            let key = mailbox.folder_key(folder)?;
            let number = mailbox.last_place();
            let draft = draft_of(message, now, ids::guid(mailbox.seed, "added", number));
            let serial = mailbox.add_message(key, draft);
            let message = mailbox.messages.get(&serial)?;
            Some(mailbox.message_id(message, true))
        })
    }

    /// Gives a message another subject, as "edit message" does; tells whether it was there.
    pub fn edit_subject(&self, user: &str, message: &str, subject: &str) -> bool {
        self.edit(user, message, |message| {
            message.subject = Some(subject.to_string());
        })
    }

    /// Marks a message read or unread; tells whether it was there.
    pub fn set_read(&self, user: &str, message: &str, read: bool) -> bool {
        self.edit(user, message, |message| message.read = read)
    }

    /// Flags a message; tells whether it was there.
    pub fn set_flag(&self, user: &str, message: &str, flag: Flag) -> bool {
        self.edit(user, message, |message| message.flag = flag)
    }

    /// Moves a message to another folder; tells whether both were there.
    pub fn move_message(&self, user: &str, message: &str, folder: &str) -> bool {
        self.with_mailbox(user, |mailbox, now| {
            let serial = mailbox.message(message)?.serial;
            let to = mailbox.folder_key(folder)?;
            mailbox.move_message(serial, to, now);
            Some(())
        })
        .is_some()
    }

    /// Removes a message for good; tells whether it was there.
    pub fn delete_message(&self, user: &str, message: &str) -> bool {
        self.with_mailbox(user, |mailbox, _| {
            let serial = mailbox.message(message)?.serial;
            mailbox.remove_message(serial);
            Some(())
        })
        .is_some()
    }

    /// Archives a folder away, by its id: exports and imports of it are sent to the mailbox of
    /// `user`, as auto-expanding archives do.
    pub fn archive_folder(&self, folder: &str, user: &str) {
        let mut state = self.lock();
        if let Some(home) = state.user(user).map(|user| user.id.clone()) {
            state.archives.insert(folder.to_owned(), home);
        }
    }

    /// Makes every delta token of a user's mailbox too old: the next use answers 410.
    pub fn expire_mail_cursors(&self, user: &str) {
        self.with_mailbox(user, |mailbox, _| {
            mailbox.expire_tokens();
            Some(())
        });
    }

    fn edit(
        &self,
        user: &str,
        message: &str,
        act: impl FnOnce(&mut super::message::Message),
    ) -> bool {
        self.with_mailbox(user, |mailbox, now| {
            let serial = mailbox.message(message)?.serial;
            act(mailbox.messages.get_mut(&serial)?);
            mailbox.touch(serial, now);
            Some(())
        })
        .is_some()
    }

    fn with_mailbox<R>(
        &self,
        user: &str,
        act: impl FnOnce(&mut Mailbox, i64) -> Option<R>,
    ) -> Option<R> {
        let mut state = self.lock();
        let now = state.tick();
        act(state.user_mut(user)?.mailbox.as_mut()?, now)
    }
}

fn draft_of(message: NewMessage, now: i64, id: String) -> Draft {
    let received = if message.received == 0 {
        now
    } else {
        message.received
    };
    Draft {
        now: now.max(EPOCH),
        received,
        sent: received,
        draft: message.draft,
        read: message.read,
        flag: message.flag,
        importance: message.importance,
        categories: message.categories,
        properties: Vec::new(),
        content: Content::Composed(Arc::new(MessageView {
            subject: message.subject,
            html: message.html,
            text: message.text,
            from: message.from,
            to: message.to,
            cc: message.cc,
            internet_message_id: format!("<{id}@mail.contoso.example>"),
            attachments: message.attachments,
            ..MessageView::default()
        })),
    }
}
