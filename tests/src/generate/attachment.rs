//! Attachments: files from a pool that all mailboxes share, made again whenever they are read.

use bytes::Bytes;
use fastrand::Rng;

use super::{files, text};
use crate::tenant::message::{Attachment, AttachmentBytes};

/// The bytes of one file of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MadeAttachment {
    seed: u64,
    size_bytes: u32,
    form: Form,
}

/// What the bytes look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Cannot be compressed, behind the first bytes of its kind.
    Noise(&'static [u8]),
    /// Words in lines.
    Words,
}

/// Endings, media types, looks.
const KINDS: [(&str, &str, Form); 8] = [
    ("pdf", "application/pdf", Form::Noise(b"%PDF-1.7\n")),
    (
        "docx",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        Form::Noise(b"PK\x03\x04\x14\x00\x06\x00"),
    ),
    (
        "xlsx",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        Form::Noise(b"PK\x03\x04\x14\x00\x08\x00"),
    ),
    (
        "jpg",
        "image/jpeg",
        Form::Noise(b"\xff\xd8\xff\xe0\x00\x10JFIF\x00"),
    ),
    ("png", "image/png", Form::Noise(b"\x89PNG\r\n\x1a\n")),
    ("csv", "text/csv", Form::Words),
    ("txt", "text/plain", Form::Words),
    ("log", "application/octet-stream", Form::Words),
];

/// One attachment in this many is large: 2 to 6 MB.
const LARGE_EVERY: u64 = 400;

impl MadeAttachment {
    pub(crate) fn size_bytes(&self) -> usize {
        usize::try_from(self.size_bytes).unwrap_or(usize::MAX)
    }

    /// Makes the bytes.
    pub(crate) fn content(&self) -> Bytes {
        let size = self.size_bytes();
        let mut rng = Rng::with_seed(self.seed);
        let mut bytes = match self.form {
            Form::Words => text::paragraphs(&mut rng, size, "", "").into_bytes(),
            Form::Noise(begin) => {
                let mut bytes = vec![0; size];
                rng.fill(&mut bytes);
                let known = begin.len().min(size);
                bytes[..known].copy_from_slice(&begin[..known]);
                bytes
            }
        };
        bytes.truncate(size);
        Bytes::from(bytes)
    }
}

/// Returns the file at a place of the pool; `scale` is the size in percent of the usual one.
pub(crate) fn from_pool(seed: u64, place: u64, scale: u32) -> Attachment {
    let mut rng = Rng::with_seed(seed ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let (ending, media_type, form) = KINDS[rng.usize(..KINDS.len())];
    let bytes = match place % LARGE_EVERY {
        7 => 2_000_000 + rng.u64(..4_000_000),
        11 => 0,
        // Between 1 KiB and 128 KiB, the small ones being many.
        _ => (1024 << rng.u32(..7)) + rng.u64(..1024),
    };
    let scaled = bytes * u64::from(scale) / 100;
    let words = 1 + rng.usize(..3);
    let name = match place % 97 {
        3 => format!("{} 🎉.{ending}", text::title(&mut rng, 2)),
        5 => format!("{}.{ending}", text::title(&mut rng, 30)),
        _ => format!("{}.{ending}", text::title(&mut rng, words)),
    };
    let made = MadeAttachment {
        seed: rng.u64(..),
        size_bytes: u32::try_from(scaled).unwrap_or(u32::MAX).min(25_000_000),
        form,
    };
    Attachment {
        name,
        media_type: media_type.to_string(),
        inline: false,
        content_id: None,
        bytes: AttachmentBytes::Made(made),
    }
}

/// Returns a document of the tenant's drives.
pub(crate) fn document(seed: u64, place: u64) -> Attachment {
    let found = files::document(seed, place % files::DOCUMENTS);
    let ending = found.name.rsplit('.').next().unwrap_or("");
    let kind = KINDS.iter().find(|(own, _, _)| *own == ending);
    Attachment {
        media_type: kind
            .map_or("application/octet-stream", |kind| kind.1)
            .to_string(),
        inline: false,
        content_id: None,
        bytes: AttachmentBytes::Document(found.content),
        name: found.name,
    }
}
