//! The user's own mail: `.eml` and mbox files, spread over the mailboxes, kept verbatim.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use mail_parser::{Encoding, Message, MessageParser, MessagePart, MimeHeaders as _, PartType};

use crate::tenant::EPOCH;
use crate::tenant::mailbox::{Draft, Mailbox};
use crate::tenant::message::{
    Address, Attachment, Content, Flag, Importance, Imported, MessageView,
};

/// The messages found, in the order of their paths.
pub(super) struct Files {
    messages: Vec<Bytes>,
}

impl Files {
    /// Reads all `.eml` and mbox files below `dir`; `None` where no folder was given.
    pub(super) fn open(dir: Option<&Path>) -> io::Result<Option<Self>> {
        let Some(dir) = dir else { return Ok(None) };
        let mut paths = Vec::new();
        collect(dir, &mut paths)?;
        paths.sort();
        let mut messages = Vec::new();
        for path in paths {
            let ending = path
                .extension()
                .and_then(|ending| ending.to_str())
                .unwrap_or("");
            let bytes = fs::read(&path)?;
            match ending.to_ascii_lowercase().as_str() {
                "eml" => messages.push(Bytes::from(bytes)),
                "mbox" | "mbx" | "" if bytes.starts_with(b"From ") => {
                    split_mbox(&bytes, &mut messages);
                }
                _ => {}
            }
        }
        if messages.is_empty() {
            let text = format!("{} holds no .eml or mbox file", dir.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        Ok(Some(Self { messages }))
    }

    /// Gives a mailbox its share: every `count`-th message, beginning at `place`.
    pub(super) fn fill(
        &mut self,
        mailbox: &mut Mailbox,
        places: &[u32],
        place: usize,
        count: usize,
    ) -> io::Result<()> {
        for (number, mime) in self.messages.iter().enumerate().skip(place).step_by(count) {
            let folder = places[number / count % places.len()];
            mailbox.add_message(folder, draft(mime.clone()));
        }
        Ok(())
    }
}

fn collect(dir: &Path, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect(&entry.path(), paths)?;
        } else if kind.is_file() {
            paths.push(entry.path());
        }
    }
    Ok(())
}

/// Splits an mbox at its `From ` lines and undoes their quoting.
fn split_mbox(bytes: &[u8], messages: &mut Vec<Bytes>) {
    let mut current: Option<Vec<u8>> = None;
    let mut blank_before = true;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if blank_before && line.starts_with(b"From ") {
            messages.extend(current.take().map(Bytes::from));
            current = Some(Vec::new());
            blank_before = false;
            continue;
        }
        blank_before = line == b"\n" || line == b"\r\n";
        let quoted = line.iter().position(|byte| *byte != b'>').unwrap_or(0);
        let unquoted = quoted > 0 && line[quoted..].starts_with(b"From ");
        if let Some(message) = &mut current {
            message.extend_from_slice(if unquoted { &line[1..] } else { line });
        }
    }
    messages.extend(current.map(Bytes::from));
}

/// Reads a message in MIME as one that was received and read.
pub(crate) fn draft(mime: Bytes) -> Draft {
    let (view, sent, importance) = parse(&mime);
    Draft {
        now: sent,
        received: sent,
        sent,
        draft: false,
        read: true,
        flag: Flag::NotFlagged,
        importance,
        categories: Vec::new(),
        properties: Vec::new(),
        content: Content::Imported(Arc::new(Imported { mime, view })),
    }
}

/// Reads what Graph shows of a message; text that cannot be read stays empty.
fn parse(mime: &[u8]) -> (MessageView, i64, Importance) {
    let Some(message) = MessageParser::default().parse(mime) else {
        return (MessageView::default(), EPOCH, Importance::Normal);
    };
    let list = |addresses: Option<&mail_parser::Address<'_>>| -> Vec<Address> {
        let one = |found: &mail_parser::Addr<'_>| {
            let address = found.address().unwrap_or("").to_string();
            Address::new(found.name().unwrap_or(""), address)
        };
        addresses
            .map(|list| list.iter().map(one).collect())
            .unwrap_or_default()
    };
    let is_html = |index: usize| {
        let part = message
            .html_body
            .get(index)
            .and_then(|id| message.parts.get(usize::try_from(*id).unwrap_or(0)));
        part.is_some_and(|part| matches!(part.body, PartType::Html(_)))
    };
    let html = message
        .body_html(0)
        .filter(|_| is_html(0))
        .map(|text| text.into_owned());
    let text = message
        .body_text(0)
        .filter(|_| html.is_none())
        .map(|text| text.into_owned());
    let file = |part: &MessagePart<'_>| {
        let kind = part.content_type().map_or_else(
            || "application/octet-stream".to_string(),
            |kind| {
                format!(
                    "{}/{}",
                    kind.ctype(),
                    kind.subtype().unwrap_or("octet-stream")
                )
            },
        );
        let name = part.attachment_name().unwrap_or("attachment");
        let mut file = Attachment::new(name, &kind, Bytes::from(part_bytes(&message, part)));
        file.content_id = part.content_id().map(str::to_string);
        file.inline = part
            .content_disposition()
            .is_some_and(|way| way.is_inline());
        file
    };
    let importance = message
        .header_raw("Importance")
        .and_then(|text| Importance::from_text(text.trim()))
        .unwrap_or_default();
    let view = MessageView {
        subject: message.subject().unwrap_or("").to_string(),
        html,
        text,
        from: list(message.from()).into_iter().next(),
        to: list(message.to()),
        cc: list(message.cc()),
        bcc: list(message.bcc()),
        reply_to: list(message.reply_to()),
        internet_message_id: message
            .message_id()
            .map(|id| format!("<{id}>"))
            .unwrap_or_default(),
        headers: Vec::new(),
        attachments: message.attachments().map(file).collect(),
    };
    let sent = message
        .date()
        .map_or(EPOCH, mail_parser::DateTime::to_timestamp);
    (view, sent, importance)
}

/// Returns the decoded bytes of a part; the parser's own view of text is decoded to Unicode.
pub(crate) fn part_bytes(message: &Message<'_>, part: &MessagePart<'_>) -> Vec<u8> {
    let place = |offset: u32| usize::try_from(offset).unwrap_or(usize::MAX);
    let raw = message
        .raw_message()
        .get(place(part.offset_body)..place(part.offset_end));
    let decoded = match (&part.body, raw, part.encoding) {
        (PartType::Text(_) | PartType::Html(_), Some(raw), Encoding::Base64) => base64_decode(raw),
        (PartType::Text(_) | PartType::Html(_), Some(raw), Encoding::QuotedPrintable) => {
            quoted_printable_decode(raw)
        }
        (PartType::Text(_) | PartType::Html(_), Some(raw), Encoding::None) => Some(raw.to_vec()),
        _ => None,
    };
    decoded.unwrap_or_else(|| part.contents().to_vec())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::TenantSpec;
    use crate::tenant::Tenant;

    const EML: &[u8] = b"From: Ann <ann@x.example>\r\nTo: bob@x.example\r\nSubject: One\r\n\
        Date: Thu, 2 Jan 2020 03:04:05 +0000\r\nMessage-ID: <1@x.example>\r\n\r\nHello\r\n";

    #[test]
    fn own_mail_is_spread_over_the_mailboxes_and_stays_verbatim() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::create_dir(dir.path().join("deep")).expect("a folder");
        fs::write(dir.path().join("deep/one.eml"), EML).expect("written");
        let mbox = "From a@b Thu Jan  2 03:04:05 2020\nSubject: Two\n\n>From here\n\n\
            From c@d Thu Jan  2 03:04:05 2020\nSubject: Three\n\nx\n";
        fs::write(dir.path().join("two.mbox"), mbox).expect("written");
        fs::write(dir.path().join("notes.pdf"), "no mail").expect("written");
        let tenant = Tenant::generate(TenantSpec {
            users: 2,
            files_per_user: 0,
            mail_dir: Some(dir.path().to_owned()),
            ..TenantSpec::default()
        })
        .expect("a tenant");
        let mut found = Vec::new();
        for user in tenant.users() {
            for info in tenant.messages(&user.id) {
                let mime = tenant.mime(&user.id, &info.id).expect("mime");
                found.push((info.subject, mime));
            }
        }
        found.sort();
        let subjects: Vec<&str> = found.iter().map(|(subject, _)| subject.as_str()).collect();
        assert_eq!(subjects, ["One", "Three", "Two"]);
        assert_eq!(found[0].1, EML);
        assert_eq!(found[2].1, "Subject: Two\n\nFrom here\n\n");
    }

    #[test]
    fn a_folder_without_mail_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let spec = TenantSpec {
            mail_dir: Some(dir.path().to_owned()),
            ..TenantSpec::default()
        };
        let error = Tenant::generate(spec).expect_err("no mail").to_string();
        assert!(error.contains(&dir.path().display().to_string()), "{error}");
    }
}
