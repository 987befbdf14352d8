//! Message: what the tenant keeps of one message, and the view from which all forms are made.

use std::sync::Arc;

use bytes::Bytes;

use crate::generate::attachment::MadeAttachment;
use crate::generate::letter::GeneratedMail;

/// A name and an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Address {
    /// The name people read; may be empty.
    pub name: String,
    /// The SMTP address.
    pub address: String,
}

impl Address {
    /// Creates an address with a name.
    pub fn new(name: impl Into<String>, address: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            address: address.into(),
        }
    }
}

/// What the sender thinks of the importance of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Importance {
    /// Below the others.
    Low,
    /// As usual.
    #[default]
    Normal,
    /// Above the others.
    High,
}

impl Importance {
    /// Returns the value that Graph shows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }

    /// Reads the value that Graph takes.
    pub fn from_text(text: &str) -> Option<Self> {
        [Self::Low, Self::Normal, Self::High]
            .into_iter()
            .find(|own| own.as_str().eq_ignore_ascii_case(text))
    }
}

/// The follow-up flag of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Flag {
    /// No flag.
    #[default]
    NotFlagged,
    /// To be done.
    Flagged,
    /// Done.
    Complete,
}

impl Flag {
    /// Returns the value that Graph shows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFlagged => "notFlagged",
            Self::Flagged => "flagged",
            Self::Complete => "complete",
        }
    }

    /// Reads the value that Graph takes.
    pub fn from_text(text: &str) -> Option<Self> {
        [Self::NotFlagged, Self::Flagged, Self::Complete]
            .into_iter()
            .find(|own| own.as_str().eq_ignore_ascii_case(text))
    }
}

/// The bytes of an attachment: kept, or made again whenever they are asked for.
#[derive(Debug, Clone)]
pub(crate) enum AttachmentBytes {
    Kept(Bytes),
    Made(MadeAttachment),
    /// A document that lies in drives as well.
    Document(Arc<super::drive::Content>),
}

/// One file attached to a message.
#[derive(Debug, Clone)]
pub struct Attachment {
    /// The file's name.
    pub name: String,
    /// The media type, such as `image/png`.
    pub media_type: String,
    /// Whether the body shows it.
    pub inline: bool,
    /// The id by which the body refers to it.
    pub content_id: Option<String>,
    pub(crate) bytes: AttachmentBytes,
}

impl Attachment {
    /// Creates an attachment with the given content.
    pub fn new(name: impl Into<String>, media_type: &str, content: impl Into<Bytes>) -> Self {
        Self {
            name: name.into(),
            media_type: media_type.to_string(),
            inline: false,
            content_id: None,
            bytes: AttachmentBytes::Kept(content.into()),
        }
    }

    /// Returns the content.
    pub fn content(&self) -> Bytes {
        match &self.bytes {
            AttachmentBytes::Kept(bytes) => bytes.clone(),
            AttachmentBytes::Made(made) => made.content(),
            // Documents are made, not read from a disk, so there is nothing that can fail.
            AttachmentBytes::Document(document) => {
                document.read(0..document.length()).unwrap_or_default()
            }
        }
    }

    /// Returns the length of the content in bytes.
    pub fn size_bytes(&self) -> usize {
        match &self.bytes {
            AttachmentBytes::Kept(bytes) => bytes.len(),
            AttachmentBytes::Made(made) => made.size_bytes(),
            AttachmentBytes::Document(document) => {
                usize::try_from(document.length()).unwrap_or(usize::MAX)
            }
        }
    }
}

/// Everything a message says, apart from its state in the mailbox.
#[derive(Debug, Clone, Default)]
pub struct MessageView {
    /// The subject; may be empty.
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
    /// Copies that the others do not see.
    pub bcc: Vec<Address>,
    /// Where answers go.
    pub reply_to: Vec<Address>,
    /// The value of `Message-ID`, in angle brackets.
    pub internet_message_id: String,
    /// Further header fields, in order.
    pub headers: Vec<(String, String)>,
    /// The attached files.
    pub attachments: Vec<Attachment>,
}

impl MessageView {
    /// Returns the body that Graph shows, and whether it is HTML.
    pub fn body(&self) -> (&str, bool) {
        match (&self.html, &self.text) {
            (Some(html), _) => (html, true),
            (None, Some(text)) => (text, false),
            (None, None) => ("", false),
        }
    }
}

/// A message that came from a file of the user's: its bytes, and what they say.
#[derive(Debug)]
pub(crate) struct Imported {
    pub(crate) mime: Bytes,
    pub(crate) view: MessageView,
}

/// Where the content of a message comes from.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    /// Made from a seed whenever it is asked for.
    Generated(GeneratedMail),
    /// A user's own file, verbatim.
    Imported(Arc<Imported>),
    /// Written through the API.
    Composed(Arc<MessageView>),
}

/// One message of a mailbox: small, since content is computed on demand.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) serial: u32,
    /// How often it was moved; part of the id that is not immutable.
    pub(crate) moves: u32,
    pub(crate) folder: u32,
    /// Place of the last change in the mailbox's log; the change key is made of it.
    pub(crate) change: u64,
    pub(crate) created: i64,
    pub(crate) modified: i64,
    pub(crate) received: i64,
    pub(crate) sent: i64,
    pub(crate) draft: bool,
    pub(crate) read: bool,
    pub(crate) flag: Flag,
    pub(crate) importance: Importance,
    pub(crate) categories: Vec<String>,
    /// A subject that was edited later.
    pub(crate) subject: Option<String>,
    /// How often the body was edited.
    pub(crate) revision: u32,
    pub(crate) content: Content,
    /// Single-value extended properties: canonical id and value.
    pub(crate) properties: Vec<(String, String)>,
}

impl Message {
    /// Returns what the message says; without its body when nobody wants that.
    pub(crate) fn view(&self, with_body: bool) -> MessageView {
        let mut view = match &self.content {
            Content::Generated(made) => made.view(self.revision, with_body),
            Content::Imported(imported) => imported.view.clone(),
            Content::Composed(view) => MessageView::clone(view),
        };
        if let Some(subject) = &self.subject {
            view.subject.clone_from(subject);
        }
        view
    }

    /// Returns the message as MIME.
    pub(crate) fn mime(&self) -> Bytes {
        match &self.content {
            Content::Imported(imported) if self.subject.is_none() => imported.mime.clone(),
            _ => crate::mime::render(self, &self.view(true)),
        }
    }
}
