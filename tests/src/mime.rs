//! MIME: a message as RFC 5322 text, the same bytes every time it is asked for.

mod encode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::tenant::message::{Address, Attachment, Importance, Message, MessageView};
use encode::{base64_lines, file_name, phrase, quoted_printable, unstructured};

/// Renders a message.
pub(crate) fn render(message: &Message, view: &MessageView) -> Bytes {
    let attached: usize = view.attachments.iter().map(Attachment::size_bytes).sum();
    let body =
        view.html.as_ref().map_or(0, String::len) + view.text.as_ref().map_or(0, String::len);
    let mut writer = Writer {
        out: Vec::with_capacity(attached / 3 * 4 + attached / 40 + body * 2 + 4096),
        mark: hash(&view.internet_message_id),
        parts: 0,
    };
    writer.headers(message, view);
    writer.mixed(view);
    Bytes::from(writer.out)
}

struct Writer {
    out: Vec<u8>,
    /// Makes boundaries of this message differ from those of others.
    mark: u64,
    parts: u32,
}

impl Writer {
    fn line(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    fn headers(&mut self, message: &Message, view: &MessageView) {
        if let Some(from) = &view.from {
            self.addresses("From", std::slice::from_ref(from));
        }
        self.addresses("To", &view.to);
        self.addresses("Cc", &view.cc);
        self.addresses("Bcc", &view.bcc);
        self.addresses("Reply-To", &view.reply_to);
        self.line(&format!("Subject: {}", unstructured(&view.subject)));
        self.line(&format!("Date: {}", date(message.sent)));
        if !view.internet_message_id.is_empty() {
            self.line(&format!("Message-ID: {}", view.internet_message_id));
        }
        for (name, value) in &view.headers {
            self.line(&format!("{name}: {}", unstructured(value)));
        }
        match message.importance {
            Importance::Normal => {}
            other => self.line(&format!("Importance: {}", other.as_str())),
        }
        self.line("MIME-Version: 1.0");
    }

    fn addresses(&mut self, name: &str, list: &[Address]) {
        if list.is_empty() {
            return;
        }
        let texts: Vec<String> = list
            .iter()
            .map(|one| match one.name.is_empty() {
                true => format!("<{}>", one.address),
                false => format!("{} <{}>", phrase(&one.name), one.address),
            })
            .collect();
        self.line(&format!("{name}: {}", texts.join(",\r\n\t")));
    }

    fn mixed(&mut self, view: &MessageView) {
        let (inline, outside): (Vec<&Attachment>, Vec<&Attachment>) =
            view.attachments.iter().partition(|file| file.inline);
        if outside.is_empty() {
            self.related(view, &inline);
            return;
        }
        let boundary = self.open("mixed", "");
        self.next(&boundary);
        self.related(view, &inline);
        for file in outside {
            self.next(&boundary);
            self.file(file);
        }
        self.close(&boundary);
    }

    fn related(&mut self, view: &MessageView, inline: &[&Attachment]) {
        if inline.is_empty() {
            self.alternative(view);
            return;
        }
        let boundary = self.open("related", "; type=\"text/html\"");
        self.next(&boundary);
        self.alternative(view);
        for file in inline {
            self.next(&boundary);
            self.file(file);
        }
        self.close(&boundary);
    }

    fn alternative(&mut self, view: &MessageView) {
        match (&view.text, &view.html) {
            (Some(text), Some(html)) => {
                let boundary = self.open("alternative", "");
                self.next(&boundary);
                self.text("plain", text);
                self.next(&boundary);
                self.text("html", html);
                self.close(&boundary);
            }
            (None, Some(html)) => self.text("html", html),
            (text, None) => self.text("plain", text.as_deref().unwrap_or("")),
        }
    }

    fn open(&mut self, kind: &str, extra: &str) -> String {
        self.parts += 1;
        let boundary = format!("_{:03}_{:016X}contoso_", self.parts, self.mark);
        self.line(&format!("Content-Type: multipart/{kind}{extra};"));
        self.line(&format!("\tboundary=\"{boundary}\""));
        self.line("");
        boundary
    }

    fn next(&mut self, boundary: &str) {
        self.line(&format!("--{boundary}"));
    }

    fn close(&mut self, boundary: &str) {
        self.line(&format!("--{boundary}--"));
    }

    /// Writes a text part; the message decides between the encodings in use.
    fn text(&mut self, kind: &str, text: &str) {
        self.line(&format!("Content-Type: text/{kind}; charset=\"utf-8\""));
        if self.mark.is_multiple_of(3) {
            self.line("Content-Transfer-Encoding: base64");
            self.line("");
            base64_lines(text.as_bytes(), &mut self.out);
        } else {
            self.line("Content-Transfer-Encoding: quoted-printable");
            self.line("");
            quoted_printable(text, &mut self.out);
            self.line("");
        }
    }

    fn file(&mut self, file: &Attachment) {
        self.line(&format!("Content-Type: {}", file.media_type));
        if let Some(id) = &file.content_id {
            self.line(&format!("Content-ID: <{id}>"));
        }
        let way = if file.inline { "inline" } else { "attachment" };
        let size = file.size_bytes();
        self.line(&format!("Content-Disposition: {way}; size={size};"));
        self.line(&format!("\t{}", file_name(&file.name)));
        self.line("Content-Transfer-Encoding: base64");
        self.line("");
        base64_lines(&file.content(), &mut self.out);
    }
}

fn hash(text: &str) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..8]);
    u64::from_le_bytes(first)
}

fn date(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds)
        .map(|time| time.strftime("%a, %-d %b %Y %H:%M:%S +0000").to_string())
        .unwrap_or_default()
}

/// Encodes a piece of a header as RFC 2047 asks.
fn encoded_word(piece: &str) -> String {
    format!("=?utf-8?B?{}?=", STANDARD.encode(piece))
}
