//! What is read from folders and messages.

use serde::Deserialize;

use crate::entity::view;
use crate::json::{Json, Listed};

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

/// Shows of a message what a backup decides by; of people their addresses only.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct MessageHead {
    /// The id, opaque and case-sensitive.
    pub id: String,
    /// The change key: another one after every change, that of the read state included.
    pub change_key: Option<String>,
    /// The subject.
    pub subject: Option<String>,
    /// In whose name it was sent.
    pub from: Option<String>,
    /// Who sent it.
    pub sender: Option<String>,
    /// To whom it went.
    pub to_recipients: Vec<String>,
    /// Who got a copy.
    pub cc_recipients: Vec<String>,
    /// Who got a copy unseen by others.
    pub bcc_recipients: Vec<String>,
    /// When it was made in this mailbox.
    pub created_date_time: Option<String>,
    /// When it was changed last.
    pub last_modified_date_time: Option<String>,
    /// Whether it is a draft.
    pub is_draft: Option<bool>,
}

impl MessageHead {
    /// Reads it from an object of a page; `None` where there is no id.
    pub(crate) fn read(object: &Listed<'_, '_>) -> Option<Self> {
        let text = |name| object.get(name).and_then(Json::as_text).map(str::to_owned);
        let person = |name| object.get(name).and_then(address).map(str::to_owned);
        Some(Self {
            id: text("id")?,
            change_key: text("changeKey"),
            subject: text("subject"),
            from: person("from"),
            sender: person("sender"),
            to_recipients: addresses(object.get("toRecipients")),
            cc_recipients: addresses(object.get("ccRecipients")),
            bcc_recipients: addresses(object.get("bccRecipients")),
            created_date_time: text("createdDateTime"),
            last_modified_date_time: text("lastModifiedDateTime"),
            is_draft: match object.get("isDraft") {
                Some(Json::Bool(is_draft)) => Some(*is_draft),
                _ => None,
            },
        })
    }

    /// Tells whether it is a draft; a missing state counts as sent.
    pub fn is_draft(&self) -> bool {
        self.is_draft == Some(true)
    }
}

impl From<Message> for MessageHead {
    fn from(message: Message) -> Self {
        let address = |person: Recipient| person.email_address?.address;
        let addresses = |people: Vec<Recipient>| people.into_iter().filter_map(address).collect();
        Self {
            id: message.id,
            change_key: message.change_key,
            subject: message.subject,
            from: message.from.and_then(address),
            sender: message.sender.and_then(address),
            to_recipients: addresses(message.to_recipients),
            cc_recipients: addresses(message.cc_recipients),
            bcc_recipients: addresses(message.bcc_recipients),
            created_date_time: message.created_date_time,
            last_modified_date_time: message.last_modified_date_time,
            is_draft: message.is_draft,
        }
    }
}

/// Reads the address of a sender or recipient, leniently as the views do.
fn address<'j>(person: &'j Json<'_>) -> Option<&'j str> {
    let shown = person.get("emailAddress")?;
    match shown.get("name") {
        None | Some(Json::Null | Json::Text(_)) => shown.get("address")?.as_text(),
        Some(_) => None,
    }
}

fn addresses(people: Option<&Json<'_>>) -> Vec<String> {
    let Some(Json::List(people)) = people else {
        return Vec::new();
    };
    // One that is no person spoils the list, as in the views.
    if !people
        .iter()
        .all(|person| matches!(person, Json::Object(_)))
    {
        return Vec::new();
    }
    let addresses = people.iter().filter_map(address);
    addresses.map(str::to_owned).collect()
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
