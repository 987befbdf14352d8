//! Takes a stored MIME message apart: headers, body, attachments byte for byte.
//!
//! Only transfer encodings are undone for attachments; the character set of an attached text is its
//! own affair. The body's text is decoded, because Graph takes it as JSON.

use mail_parser::decoders::{base64::base64_decode, quoted_printable::quoted_printable_decode};
use mail_parser::{
    Address, Encoding, HeaderValue, Message, MessageParser, MessagePart, MimeHeaders, PartType,
};

use crate::loss::LossCode;

/// Holds what a restore needs of one MIME message.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct MimeView {
    pub(crate) subject: Option<String>,
    pub(crate) message_id: Option<String>,
    pub(crate) from: Vec<Mailbox>,
    pub(crate) sender: Vec<Mailbox>,
    pub(crate) to: Vec<Mailbox>,
    pub(crate) cc: Vec<Mailbox>,
    pub(crate) bcc: Vec<Mailbox>,
    pub(crate) reply_to: Vec<Mailbox>,
    /// `X-` headers in their order, unfolded.
    pub(crate) x_headers: Vec<(String, String)>,
    pub(crate) body: MessageBody,
    pub(crate) attachments: Vec<Attachment>,
    pub(crate) losses: Vec<LossCode>,
}

/// One address with its display name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mailbox {
    pub(crate) name: Option<String>,
    pub(crate) address: String,
}

/// The body a reader sees first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MessageBody {
    pub(crate) html: bool,
    pub(crate) content: String,
}

/// One attachment, its transfer encoding undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attachment {
    pub(crate) name: String,
    pub(crate) content_type: String,
    pub(crate) content_id: Option<String>,
    pub(crate) inline: bool,
    pub(crate) bytes: Vec<u8>,
}

impl MimeView {
    /// Takes `mime` apart; `None` when not even a header can be made out.
    pub(crate) fn parse(mime: &[u8]) -> Option<Self> {
        let message = MessageParser::default().parse(mime)?;
        let mut view = Self {
            subject: message.subject().map(str::to_owned),
            message_id: message.message_id().map(|id| format!("<{id}>")),
            from: mailboxes(message.from()),
            sender: mailboxes(message.sender()),
            to: message
                .all_to()
                .flat_map(|list| mailboxes(Some(list)))
                .collect(),
            cc: message
                .all_cc()
                .flat_map(|list| mailboxes(Some(list)))
                .collect(),
            bcc: message
                .all_bcc()
                .flat_map(|list| mailboxes(Some(list)))
                .collect(),
            reply_to: mailboxes(message.reply_to()),
            x_headers: x_headers(&message),
            ..Self::default()
        };
        let mut walk = Walk {
            message: &message,
            raw: mime,
            view: &mut view,
            has_body: false,
        };
        walk.part(0, Position::default(), 0);
        Some(view)
    }
}

/// Where a part stands among its ancestors.
#[derive(Debug, Clone, Copy, Default)]
struct Position {
    /// Inside multipart/related, beside or below its root.
    related: bool,
}

struct Walk<'a, 'x> {
    message: &'a Message<'x>,
    raw: &'a [u8],
    view: &'a mut MimeView,
    has_body: bool,
}

/// Multiparts nested deeper than this are kept as one attachment.
const DEPTH_MAX: usize = 32;

impl Walk<'_, '_> {
    fn part(&mut self, id: u32, position: Position, depth: usize) {
        let message = self.message;
        let Some(part) = message.part(id) else { return };
        let children = match &part.body {
            PartType::Multipart(children) if depth < DEPTH_MAX => children,
            PartType::Text(text) if self.is_body_candidate(part) => {
                return self.body(part, false, text);
            }
            PartType::Html(text) if self.is_body_candidate(part) => {
                return self.body(part, true, text);
            }
            _ => return self.attach(part, position),
        };
        let subtype = part
            .content_type()
            .and_then(|kind| kind.subtype())
            .unwrap_or("mixed");
        if matches!(subtype, "signed" | "encrypted") {
            self.lose(LossCode::Signature);
        }
        match subtype {
            "alternative" => self.alternative(children, position, depth + 1),
            "related" => {
                for child in children {
                    self.part(*child, Position { related: true }, depth + 1);
                }
            }
            _ => {
                for child in children {
                    self.part(*child, position, depth + 1);
                }
            }
        }
    }

    /// Chooses the richest body of an alternative; other plain or HTML forms of it are dropped, for
    /// the service makes them anew; anything else in it, such as an invitation, is attached.
    fn alternative(&mut self, children: &[u32], position: Position, depth: usize) {
        let chosen = self.choose(children);
        for child in children {
            let Some(part) = self.message.part(*child) else {
                continue;
            };
            let plain = matches!(part.body, PartType::Text(_)) && is_plain(part);
            if Some(*child) == chosen {
                self.part(*child, position, depth);
            } else if plain || matches!(part.body, PartType::Html(_)) {
                self.lose(LossCode::PlainAlternative);
            } else {
                self.part(*child, position, depth);
            }
        }
    }

    fn choose(&self, children: &[u32]) -> Option<u32> {
        let last = |wanted: fn(&Self, &MessagePart<'_>) -> bool| {
            let mut found = children.iter().rev();
            found
                .find(|id| {
                    self.message
                        .part(**id)
                        .is_some_and(|part| wanted(self, part))
                })
                .copied()
        };
        last(|walk, part| match &part.body {
            PartType::Html(_) => true,
            PartType::Multipart(inner) => walk.holds_html(inner, 0),
            _ => false,
        })
        .or_else(|| last(|_, part| matches!(part.body, PartType::Text(_)) && is_plain(part)))
    }

    fn holds_html(&self, ids: &[u32], depth: usize) -> bool {
        depth < DEPTH_MAX
            && ids
                .iter()
                .any(|id| match self.message.part(*id).map(|part| &part.body) {
                    Some(PartType::Html(_)) => true,
                    Some(PartType::Multipart(inner)) => self.holds_html(inner, depth + 1),
                    _ => false,
                })
    }

    fn is_body_candidate(&self, part: &MessagePart<'_>) -> bool {
        let attached = part
            .content_disposition()
            .is_some_and(|shown| shown.is_attachment());
        let html = matches!(part.body, PartType::Html(_));
        !self.has_body && !attached && part.attachment_name().is_none() && (html || is_plain(part))
    }

    fn body(&mut self, part: &MessagePart<'_>, html: bool, text: &str) {
        if part.is_encoding_problem {
            // The text could not be decoded as it claims: keep the bytes beside it.
            self.attach(part, Position::default());
        }
        self.has_body = true;
        self.view.body = MessageBody {
            html,
            content: text.to_owned(),
        };
    }

    fn attach(&mut self, part: &MessagePart<'_>, position: Position) {
        let content_type = content_type(part);
        let shown = part.content_disposition();
        let content_id = part.content_id().map(str::to_owned);
        let inline = content_id.is_some()
            && (position.related || shown.is_some_and(|shown| shown.is_inline()));
        let named = part.attachment_name().map(str::to_owned);
        let mut name = named.clone();
        if let PartType::Message(inner) = &part.body {
            self.lose(LossCode::EmbeddedMessageAsFile);
            name = name
                .or_else(|| inner.subject().map(str::to_owned))
                .map(eml_name);
        } else if named.is_none() && matches!(part.body, PartType::Text(_) | PartType::Html(_)) {
            self.lose(LossCode::ExtraBodyPart);
        }
        let number = self.view.attachments.len() + 1;
        let name = name.unwrap_or_else(|| format!("part-{number}.{}", extension(&content_type)));
        let bytes = self.bytes(part);
        self.view.attachments.push(Attachment {
            name,
            content_type,
            content_id,
            inline,
            bytes,
        });
    }

    /// Undoes the transfer encoding, and nothing else.
    fn bytes(&self, part: &MessagePart<'_>) -> Vec<u8> {
        match &part.body {
            PartType::Binary(bytes) | PartType::InlineBinary(bytes) => return bytes.to_vec(),
            _ => {}
        }
        let (start, end) = (part.offset_body as usize, part.offset_end as usize);
        let raw = self.raw.get(start..end.max(start)).unwrap_or_default();
        let decoded = match part.encoding {
            Encoding::Base64 => base64_decode(raw),
            Encoding::QuotedPrintable => quoted_printable_decode(raw),
            Encoding::None => None,
        };
        decoded.unwrap_or_else(|| raw.to_vec())
    }

    fn lose(&mut self, code: LossCode) {
        if !self.view.losses.contains(&code) {
            self.view.losses.push(code);
        }
    }
}

fn is_plain(part: &MessagePart<'_>) -> bool {
    part.content_type().is_none_or(|kind| {
        kind.ctype().eq_ignore_ascii_case("text")
            && kind
                .subtype()
                .is_none_or(|subtype| subtype.eq_ignore_ascii_case("plain"))
    })
}

fn content_type(part: &MessagePart<'_>) -> String {
    match (part.content_type(), &part.body) {
        (_, PartType::Message(_)) => "message/rfc822".to_owned(),
        (Some(kind), _) => {
            let subtype = kind.subtype().unwrap_or("octet-stream");
            format!("{}/{subtype}", kind.ctype()).to_ascii_lowercase()
        }
        (None, PartType::Text(_)) => "text/plain".to_owned(),
        (None, _) => "application/octet-stream".to_owned(),
    }
}

fn eml_name(name: String) -> String {
    let has_extension = name.to_ascii_lowercase().ends_with(".eml");
    if has_extension {
        name
    } else {
        format!("{name}.eml")
    }
}

fn extension(content_type: &str) -> &'static str {
    match content_type {
        "text/plain" => "txt",
        "text/html" => "html",
        "text/calendar" => "ics",
        "message/rfc822" => "eml",
        "image/png" => "png",
        "image/jpeg" => "jpg",
        "image/gif" => "gif",
        "application/pdf" => "pdf",
        "application/pkcs7-signature" | "application/x-pkcs7-signature" => "p7s",
        _ => "bin",
    }
}

fn mailboxes(list: Option<&Address<'_>>) -> Vec<Mailbox> {
    let addresses = list.into_iter().flat_map(|list| list.iter());
    addresses
        .filter_map(|addr| {
            let address = addr
                .address
                .as_deref()
                .filter(|address| !address.is_empty())?;
            Some(Mailbox {
                name: addr.name.as_deref().map(str::to_owned),
                address: address.to_owned(),
            })
        })
        .collect()
}

fn x_headers(message: &Message<'_>) -> Vec<(String, String)> {
    let extension = |name: &str| {
        name.get(..2)
            .is_some_and(|two| two.eq_ignore_ascii_case("x-"))
    };
    let headers = message
        .headers()
        .iter()
        .filter(|header| extension(header.name()));
    headers
        .filter_map(|header| {
            let value = match &header.value {
                HeaderValue::Text(text) => text.trim().to_owned(),
                _ => return None,
            };
            (!value.is_empty()).then(|| (header.name().to_owned(), value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> MimeView {
        MimeView::parse(text.replace('\n', "\r\n").as_bytes()).unwrap()
    }

    #[test]
    fn alternative_with_related_gives_the_html_and_its_inline_image() {
        let view = parse(
            "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\nX-Mailer: one\nContent-Type: multipart/mixed; boundary=m\n\n\
             --m\nContent-Type: multipart/alternative; boundary=a\n\n\
             --a\nContent-Type: text/plain\n\nplain\n\
             --a\nContent-Type: multipart/related; boundary=r\n\n\
             --r\nContent-Type: text/html\n\n<p>html</p>\n\
             --r\nContent-Type: image/png\nContent-ID: <pic@x>\nContent-Transfer-Encoding: base64\n\niVBORw==\n\
             --r--\n--a--\n\
             --m\nContent-Type: text/csv; charset=iso-8859-1; name=a.csv\n\
             Content-Disposition: attachment; filename=a.csv\nContent-Transfer-Encoding: quoted-printable\n\n=E4;b\n\
             --m--\n",
        );
        assert_eq!(view.subject.as_deref(), Some("Grüße"));
        assert_eq!(view.x_headers, [("X-Mailer".to_owned(), "one".to_owned())]);
        assert_eq!(
            view.body,
            MessageBody {
                html: true,
                content: "<p>html</p>".into()
            }
        );
        assert_eq!(view.losses, [LossCode::PlainAlternative]);
        let [image, table] = &view.attachments[..] else {
            panic!("{:?}", view.attachments)
        };
        assert!(image.inline);
        assert_eq!(image.content_id.as_deref(), Some("pic@x"));
        assert_eq!(image.bytes, [0x89, b'P', b'N', b'G']);
        assert!(!table.inline);
        assert_eq!(
            (table.name.as_str(), table.bytes.as_slice()),
            ("a.csv", &b"\xE4;b"[..])
        );
    }

    #[test]
    fn message_within_a_message_keeps_its_bytes() {
        let view = parse(
            "Subject: outer\nContent-Type: multipart/mixed; boundary=m\n\n\
             --m\n\nhello\n\
             --m\nContent-Type: message/rfc822\n\nSubject: inner\nFrom: a@b.example\n\ninner body\n\
             --m--\n",
        );
        assert_eq!(view.body.content, "hello");
        assert_eq!(view.attachments.len(), 1);
        assert_eq!(view.attachments[0].name, "inner.eml");
        let expected = b"Subject: inner\r\nFrom: a@b.example\r\n\r\ninner body";
        assert_eq!(view.attachments[0].bytes, expected);
        assert_eq!(view.losses, [LossCode::EmbeddedMessageAsFile]);
    }

    #[test]
    fn signed_message_is_said_to_lose_its_signature() {
        let view = parse(
            "Subject: s\nContent-Type: multipart/signed; boundary=m; protocol=\"application/pkcs7-signature\"\n\n\
             --m\nContent-Type: text/plain\n\nbody\n\
             --m\nContent-Type: application/pkcs7-signature; name=smime.p7s\n\
             Content-Transfer-Encoding: base64\n\nAAEC\n\
             --m--\n",
        );
        assert_eq!(view.losses, [LossCode::Signature]);
        assert_eq!(view.attachments[0].bytes, [0, 1, 2]);
    }

    #[test]
    fn second_body_part_is_kept_as_an_attachment() {
        let view = parse(
            "Subject: s\nContent-Type: multipart/mixed; boundary=m\n\n\
             --m\nContent-Type: text/plain\n\nfirst\n--m\nContent-Type: text/plain\n\nfooter\n--m--\n",
        );
        assert_eq!(view.body.content, "first");
        assert_eq!(view.attachments[0].name, "part-1.txt");
        assert_eq!(view.attachments[0].bytes, b"footer");
        assert_eq!(view.losses, [LossCode::ExtraBodyPart]);
    }
}
