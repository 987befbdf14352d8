//! Letters: what a generated message says, computed from its seed and the cast of the tenant.

use std::sync::Arc;

use fastrand::Rng;

use super::attachment;
use super::text;
use crate::tenant::ids;
use crate::tenant::message::{Address, MessageView};

/// Who writes to whom in a tenant, and what they attach.
#[derive(Debug, Default)]
pub(crate) struct Cast {
    pub(crate) seed: u64,
    pub(crate) people: Vec<Address>,
    /// How many files the pool of attachments has.
    pub(crate) pool: u64,
    /// Whether documents of the drives are attached now and then.
    pub(crate) documents: bool,
    /// Size of attachments in percent of the usual one.
    pub(crate) scale: u32,
}

/// A message as a seed: who, when and what follow from it.
#[derive(Debug, Clone)]
pub(crate) struct GeneratedMail {
    pub(crate) cast: Arc<Cast>,
    /// The conversation it belongs to.
    pub(crate) thread: u32,
    /// Its place in the conversation.
    pub(crate) depth: u8,
    /// Whose mailbox it lies in, as a place in the cast.
    pub(crate) owner: u16,
}

/// Deepest place in a conversation; answers quote what they answer.
pub(crate) const DEPTH_MAX: u8 = 4;

const DOMAINS: [&str; 4] = [
    "fabrikam.example",
    "northwind.example",
    "müller.example",
    "news.example",
];

impl GeneratedMail {
    /// Returns what the message says.
    pub(crate) fn view(&self, revision: u32, with_body: bool) -> MessageView {
        let mut rng = self.rng(0);
        let mut view = MessageView {
            subject: self.subject(),
            internet_message_id: self.message_id(self.depth),
            ..MessageView::default()
        };
        self.address(&mut rng, &mut view);
        self.write_headers(&mut view);
        self.attach(&mut view);
        if with_body {
            self.write_body(&mut view, revision);
        }
        view
    }

    fn seed(&self, depth: u8) -> u64 {
        let place = (u64::from(self.thread) << 8) | u64::from(depth);
        self.cast.seed ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn rng(&self, purpose: u64) -> Rng {
        Rng::with_seed(self.seed(self.depth) ^ purpose.wrapping_mul(0xd1b5_4a32_d192_ed03))
    }

    fn subject(&self) -> String {
        let mut rng = Rng::with_seed(self.seed(0xff));
        let words = 2 + rng.usize(..6);
        let subject = match self.thread % 50 {
            1 => String::new(),
            2 => format!(
                "🚀 {} — “{}”",
                text::title(&mut rng, 2),
                text::word(&mut rng)
            ),
            3 => text::title(&mut rng, 35),
            4 => format!(
                "{}/{}\\{}: 50 % *?",
                text::word(&mut rng),
                text::word(&mut rng),
                text::word(&mut rng)
            ),
            5 => format!("件名: {}", text::title(&mut rng, 3)),
            _ => text::title(&mut rng, words),
        };
        if self.depth == 0 {
            subject
        } else {
            format!("RE: {subject}")
        }
    }

    fn message_id(&self, depth: u8) -> String {
        let id = ids::guid(
            self.cast.seed,
            "message",
            (u64::from(self.thread) << 8) | u64::from(depth),
        );
        format!("<{id}@mail.contoso.example>")
    }

    fn address(&self, rng: &mut Rng, view: &mut MessageView) {
        let from = if rng.u8(..4) == 0 {
            stranger(rng)
        } else {
            self.person(rng)
        };
        view.from = Some(from);
        let owner = self.cast.people.get(usize::from(self.owner)).cloned();
        view.to.extend(owner);
        for _ in 0..rng.usize(..3) {
            view.to.push(self.person(rng));
        }
        for _ in 0..rng.usize(..8).saturating_sub(4) {
            view.cc.push(stranger(rng));
        }
        if rng.u8(..30) == 0 {
            view.bcc.push(self.person(rng));
        }
        if rng.u8(..12) == 0 {
            view.reply_to
                .push(Address::new("Answers, Inc.", "answers@fabrikam.example"));
        }
    }

    fn person(&self, rng: &mut Rng) -> Address {
        match self.cast.people.len() {
            0 => stranger(rng),
            count => self.cast.people[rng.usize(..count)].clone(),
        }
    }

    fn write_headers(&self, view: &mut MessageView) {
        if self.depth > 0 {
            let before: Vec<String> = (0..self.depth)
                .map(|depth| self.message_id(depth))
                .collect();
            let last = before.last().cloned().unwrap_or_default();
            view.headers.push(("In-Reply-To".to_string(), last));
            view.headers
                .push(("References".to_string(), before.join(" ")));
        }
        let id = ids::number(self.cast.seed, "server", u64::from(self.owner));
        let server = format!(
            "from mx.fabrikam.example by DB{:04X}.contoso.example",
            id & 0xffff
        );
        view.headers.push(("X-MS-Received-By".to_string(), server));
    }

    /// Three messages in ten carry files, some of them inside the text.
    fn attach(&self, view: &mut MessageView) {
        let mut rng = self.rng(1);
        if rng.u8(..10) >= 3 || self.cast.pool == 0 {
            return;
        }
        for number in 0..(1 + rng.usize(..3) * rng.usize(..2)) {
            let place = rng.u64(..self.cast.pool);
            let mut file = attachment::from_pool(self.cast.seed, place, self.cast.scale);
            // What people mail to each other also lies in their drives.
            if self.cast.documents && rng.u8(..30) == 0 {
                file = attachment::document(self.cast.seed, place);
            }
            if file.media_type.starts_with("image/") && file.size_bytes() > 0 && rng.bool() {
                file.inline = true;
                file.content_id = Some(format!("image{number:03}@{:08x}", self.thread));
            }
            view.attachments.push(file);
        }
    }

    fn write_body(&self, view: &mut MessageView, revision: u32) {
        let mut rng = self.rng(2 + u64::from(revision));
        let bytes = match rng.u8(..40) {
            // Some messages say nothing at all.
            0 => 0,
            1 => 60_000,
            _ => 300 << rng.u32(..5),
        };
        let inline: Vec<&str> = view
            .attachments
            .iter()
            .filter_map(|file| file.content_id.as_deref())
            .collect();
        let plain_only = inline.is_empty() && rng.u8(..4) == 0;
        let own = self.seed(self.depth) ^ u64::from(revision);
        let mut words = Rng::with_seed(own);
        if plain_only {
            let mut body = text::paragraphs(&mut words, bytes, "", "");
            self.quote(&mut body, "\r\n> ", "");
            view.text = Some(body);
            return;
        }
        let mut body = text::paragraphs(&mut words, bytes, "<p class=\"MsoNormal\">", "</p>");
        for id in inline {
            body.push_str(&format!("<img src=\"cid:{id}\" alt=\"\">\r\n"));
        }
        self.quote(&mut body, "<blockquote>", "</blockquote>");
        let html = format!(
            "<html><head>\r\n<meta http-equiv=\"Content-Type\" content=\"text/html; \
             charset=utf-8\"></head><body>\r\n{body}</body></html>"
        );
        view.html = Some(html);
        let mut words = Rng::with_seed(own);
        view.text = Some(text::paragraphs(&mut words, bytes, "", ""));
    }

    /// Repeats the beginning of what is answered.
    fn quote(&self, body: &mut String, open: &str, close: &str) {
        for depth in (0..self.depth.min(DEPTH_MAX)).rev() {
            let mut words = Rng::with_seed(self.seed(depth));
            body.push_str(&text::paragraphs(&mut words, 600, open, close));
        }
    }
}

fn stranger(rng: &mut Rng) -> Address {
    let first = text::title(rng, 1);
    let domain = DOMAINS[rng.usize(..DOMAINS.len())];
    // Addresses stay in ASCII; names need not.
    let local = format!("contact{}", rng.u16(..999));
    let domain = if domain.is_ascii() {
        domain
    } else {
        "xn--mller-kva.example"
    };
    match rng.u8(..10) {
        0 => Address::new("", format!("{local}@{domain}")),
        1 => Address::new(
            format!("Dr. {first}, \"Q\" (Ext)"),
            format!("{local}@{domain}"),
        ),
        _ => Address::new(
            format!("{first} {}", text::title(rng, 1)),
            format!("{local}@{domain}"),
        ),
    }
}
