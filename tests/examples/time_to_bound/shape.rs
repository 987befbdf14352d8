//! The shape of a tenant: how many messages lie in which folder of which mailbox.

use m365_simulator::{MailboxKind, NewMessage, Tenant};

/// How many well-known names a client asks a mailbox for.
pub(crate) const WELL_KNOWN: u64 = 16;

/// One mailbox: the messages of its folders, in the order of the service.
#[derive(Debug, Clone)]
pub(crate) struct MailboxShape {
    pub(crate) folders: Vec<u64>,
}

/// All mailboxes.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) mailboxes: Vec<MailboxShape>,
}

impl Shape {
    pub(crate) fn messages(&self) -> u64 {
        let folders = self.mailboxes.iter().flat_map(|mailbox| &mailbox.folders);
        folders.sum()
    }

    pub(crate) fn largest(&self) -> u64 {
        let sums = self
            .mailboxes
            .iter()
            .map(|mailbox| mailbox.folders.iter().sum());
        sums.max().unwrap_or_default()
    }
}

/// Returns the sizes of mailboxes with a log-normal spread, largest anywhere.
///
/// *Source*: spread of 1.1, assumed; quantiles, so that a small tenant
/// has its share of large mailboxes, too.
pub(crate) fn sizes(users: usize, mean: f64) -> Vec<u64> {
    let size = |place: usize| {
        let quantile = (place as f64 + 0.5) / users as f64;
        let size = mean * (SPREAD * normal_quantile(quantile) - SPREAD * SPREAD / 2.0).exp();
        size.round().max(1.0) as u64
    };
    let mut sizes: Vec<u64> = (0..users).map(size).collect();
    // Drawn tails are cut; the mean is what was asked for.
    let sum: u64 = sizes.iter().sum();
    let factor = mean * users as f64 / sum as f64;
    for size in &mut sizes {
        *size = (*size as f64 * factor).round().max(1.0) as u64;
    }
    fastrand::Rng::with_seed(users as u64).shuffle(&mut sizes);
    sizes
}

/// Fills a tenant with mailboxes of these sizes, and returns their shape and the bytes of content.
pub(crate) fn fill(tenant: &Tenant, sizes: &[u64]) -> (Shape, u64) {
    let mut shape = Shape {
        mailboxes: Vec::new(),
    };
    let mut bytes = 0;
    for (number, size) in sizes.iter().enumerate() {
        let name = format!("user{number}@contoso.example");
        let user = tenant.add_user(&name, &format!("User {number}"), MailboxKind::User);
        let mut left = *size;
        let mut add = |folder: &str, wanted: u64| {
            let count = wanted.min(left);
            left -= count;
            for message in 0..count {
                let message = letter(number, message);
                let id = tenant.add_message(&user, folder, message);
                if message_is_sampled(number)
                    && let Some(id) = id
                {
                    bytes += tenant.mime(&user, &id).map_or(0, |mime| mime.len() as u64);
                }
            }
        };
        // Half of it in the inbox, a fifth sent, the rest in two others.
        add("inbox", size.div_ceil(2));
        add("sentitems", size / 5);
        add("archive", size / 5);
        add("deleteditems", u64::MAX);
        shape.mailboxes.push(MailboxShape {
            folders: folders_of(tenant, &user),
        });
    }
    let sampled: u64 = shape
        .mailboxes
        .iter()
        .enumerate()
        .filter(|(number, _)| message_is_sampled(*number))
        .map(|(_, mailbox)| mailbox.folders.iter().sum::<u64>())
        .sum();
    let mean = bytes as f64 / sampled.max(1) as f64;
    let all = (mean * shape.messages() as f64) as u64;
    (shape, all)
}

/// The length of messages is measured in one mailbox of ten.
fn message_is_sampled(mailbox: usize) -> bool {
    mailbox.is_multiple_of(10)
}

fn folders_of(tenant: &Tenant, user: &str) -> Vec<u64> {
    let folders = tenant.mail_folders(user);
    folders.into_iter().map(|(_, messages)| messages).collect()
}

fn letter(mailbox: usize, number: u64) -> NewMessage {
    NewMessage {
        subject: format!("Letter {number}"),
        text: Some(format!("Mailbox {mailbox}, letter {number}.\r\n")),
        received: 1_700_000_000 + i64::try_from(number).unwrap_or_default(),
        read: true,
        ..NewMessage::default()
    }
}

const SPREAD: f64 = 1.1;

/// Returns the quantile of the standard normal distribution, by bisection of its integral.
fn normal_quantile(quantile: f64) -> f64 {
    let (mut low, mut high) = (-8.0, 8.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if normal_integral(middle) < quantile {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// *Source*: Abramowitz and Stegun 26.2.17.
fn normal_integral(x: f64) -> f64 {
    if x < 0.0 {
        return 1.0 - normal_integral(-x);
    }
    let t = 1.0 / (1.0 + 0.231_641_9 * x);
    let terms = [
        0.319_381_530,
        -0.356_563_782,
        1.781_477_937,
        -1.821_255_978,
        1.330_274_429,
    ];
    let sum = terms.iter().rev().fold(0.0, |sum, term| (sum + term) * t);
    1.0 - (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * sum
}
