//! Uploads: attachments on their way in, range by range.

use super::message::Attachment;

/// One upload session of an attachment.
#[derive(Debug, Clone)]
pub(crate) struct Upload {
    pub(crate) user: String,
    pub(crate) serial: u32,
    /// The message's id, of the kind the session was opened with.
    pub(crate) message_id: String,
    pub(crate) size: usize,
    pub(crate) received: Vec<u8>,
    /// The attachment without its content.
    pub(crate) file: Attachment,
}
