//! What is read from folders and messages.

use serde::Deserialize;

use crate::entity::view;

view! {
    /// Shows a mail folder.
    pub struct MailFolder with id {
        /// The name to show, in the language of the mailbox.
        display_name: Option<String> = "displayName",
        /// The folder that holds it.
        parent_folder_id: Option<String> = "parentFolderId",
        /// How many folders it holds.
        child_folder_count: Option<u64> = "childFolderCount",
        /// How many messages it holds.
        total_item_count: Option<u64> = "totalItemCount",
        /// How many of them are unread.
        unread_item_count: Option<u64> = "unreadItemCount",
        /// Whether clients hide it.
        is_hidden: Option<bool> = "isHidden",
        /// The well-known name, where the service gives it.
        well_known_name: Option<String> = "wellKnownName",
    }
}

view! {
    /// Shows a message. Times are RFC 3339 texts in UTC, as the service gives them.
    pub struct Message with id {
        /// The change key: another one after every change, that of the read state included.
        change_key: Option<String> = "changeKey",
        /// The subject.
        subject: Option<String> = "subject",
        /// In whose name it was sent.
        from: Option<Recipient> = "from",
        /// Who sent it.
        sender: Option<Recipient> = "sender",
        /// To whom it went.
        to_recipients: Vec<Recipient> = "toRecipients",
        /// Who got a copy.
        cc_recipients: Vec<Recipient> = "ccRecipients",
        /// Who got a copy unseen by others.
        bcc_recipients: Vec<Recipient> = "bccRecipients",
        /// Whom to answer.
        reply_to: Vec<Recipient> = "replyTo",
        /// When it arrived.
        received_date_time: Option<String> = "receivedDateTime",
        /// When it was sent.
        sent_date_time: Option<String> = "sentDateTime",
        /// When it was made in this mailbox.
        created_date_time: Option<String> = "createdDateTime",
        /// When it was changed last.
        last_modified_date_time: Option<String> = "lastModifiedDateTime",
        /// Whether it has attachments beside inline ones.
        has_attachments: Option<bool> = "hasAttachments",
        /// `low`, `normal` or `high`.
        importance: Option<String> = "importance",
        /// Whether it was read.
        is_read: Option<bool> = "isRead",
        /// Whether it is a draft.
        is_draft: Option<bool> = "isDraft",
        /// The follow-up flag.
        flag: Option<FollowupFlag> = "flag",
        /// The categories, by name.
        categories: Vec<String> = "categories",
        /// The conversation it belongs to.
        conversation_id: Option<String> = "conversationId",
        /// Its `Message-ID` of RFC 5322.
        internet_message_id: Option<String> = "internetMessageId",
        /// The folder that holds it.
        parent_folder_id: Option<String> = "parentFolderId",
        /// `focused` or `other`.
        inference_classification: Option<String> = "inferenceClassification",
    }
}

impl Message {
    /// Tells whether clients show it as read; a missing state counts as unread.
    pub fn is_read(&self) -> bool {
        self.is_read == Some(true)
    }

    /// Tells whether it is a draft; a missing state counts as sent.
    pub fn is_draft(&self) -> bool {
        self.is_draft == Some(true)
    }
}

view! {
    /// Shows one sender or recipient.
    #[derive(Default)]
    pub struct Recipient {
        /// Name and address.
        email_address: Option<EmailAddress> = "emailAddress",
    }
}

impl Recipient {
    /// Returns the address, if there is one.
    pub fn address(&self) -> Option<&str> {
        self.email_address.as_ref()?.address.as_deref()
    }

    /// Returns the name, if there is one.
    pub fn name(&self) -> Option<&str> {
        self.email_address.as_ref()?.name.as_deref()
    }
}

/// Shows a name and an address.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[non_exhaustive]
pub struct EmailAddress {
    /// The name to show.
    #[serde(default)]
    pub name: Option<String>,
    /// The address.
    #[serde(default)]
    pub address: Option<String>,
}

/// Shows a follow-up flag.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[non_exhaustive]
pub struct FollowupFlag {
    /// `notFlagged`, `flagged` or `complete`.
    #[serde(default, rename = "flagStatus")]
    pub flag_status: Option<String>,
}
