//! Text: made-up words, sentences and paragraphs, always the same for a seed.

use std::sync::OnceLock;

use fastrand::Rng;

/// Size of the vocabulary.
const WORDS: usize = 3000;

const SYLLABLES: [&str; 48] = [
    "ka", "lo", "mi", "ren", "ta", "vo", "su", "bel", "dor", "fa", "gri", "hel", "in", "jo", "kel",
    "lan", "mor", "ne", "or", "pra", "qui", "ro", "sel", "tu", "um", "ver", "wan", "xe", "yl",
    "zan", "ster", "ment", "ble", "cor", "den", "est", "fin", "gar", "hol", "ist", "jun", "krä",
    "lé", "mün", "ñu", "ost", "pil", "tion",
];

/// Scripts other than Latin appear as whole words, now and then.
const FOREIGN: [&str; 12] = [
    "契約",
    "見積書",
    "Привет",
    "Отчёт",
    "שלום",
    "تقرير",
    "報告",
    "Ωmega",
    "naïve",
    "🚀",
    "👍🏽",
    "会議",
];

fn vocabulary() -> &'static [String] {
    static WORD_LIST: OnceLock<Vec<String>> = OnceLock::new();
    WORD_LIST.get_or_init(|| {
        let mut rng = Rng::with_seed(0x776f_7264);
        let word = |_| {
            let syllables = 1 + rng.usize(..3);
            (0..syllables)
                .map(|_| SYLLABLES[rng.usize(..SYLLABLES.len())])
                .collect()
        };
        (0..WORDS).map(word).collect()
    })
}

/// Returns one word; frequent ones come often, as in any language.
pub(crate) fn word(rng: &mut Rng) -> &'static str {
    let lot = rng.u32(..);
    if lot.is_multiple_of(211) {
        return FOREIGN[rng.usize(..FOREIGN.len())];
    }
    let words = vocabulary();
    let (high, low) = (lot >> 16, lot & 0xffff);
    // The product of two even numbers leans towards zero.
    let place = (u64::from(high) * u64::from(low)) >> 16;
    let place = usize::try_from(place).unwrap_or(0) * words.len() / 0x1_0000;
    &words[place]
}

/// Returns `count` words with a capital at the beginning.
pub(crate) fn title(rng: &mut Rng, count: usize) -> String {
    let mut text = String::new();
    for index in 0..count {
        if index > 0 {
            text.push(' ');
        }
        push_capital(&mut text, word(rng), index == 0);
    }
    text
}

/// Returns sentences of about `bytes` in all, lines ended by CR LF, with `open` before and `close`
/// after each paragraph.
pub(crate) fn paragraphs(rng: &mut Rng, bytes: usize, open: &str, close: &str) -> String {
    let mut text = String::with_capacity(bytes + 256);
    while text.len() < bytes {
        text.push_str(open);
        for _ in 0..(2 + rng.usize(..4)) {
            sentence(rng, &mut text);
        }
        text.push_str(close);
        text.push_str("\r\n");
    }
    text
}

fn sentence(rng: &mut Rng, text: &mut String) {
    let words = 4 + rng.usize(..12);
    for index in 0..words {
        push_capital(text, word(rng), index == 0);
        text.push_str(if index + 1 < words { " " } else { ".\r\n" });
    }
}

fn push_capital(text: &mut String, word: &str, capital: bool) {
    let mut letters = word.chars();
    match letters.next() {
        Some(first) if capital => {
            text.extend(first.to_uppercase());
            text.push_str(letters.as_str());
        }
        _ => text.push_str(word),
    }
}
