//! Delta: pages of a folder's log, and the tokens that say where a reader stands.
//!
//! A *chain* is everything that came of one first request: its options are baked in, and of its
//! tokens only those of the last three generations are remembered, as Outlook does.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::names::{chance, check_bytes};
use super::{Mailbox, Mark};

/// Generations of tokens that a chain remembers.
/// *Source*: field experience of others; no documented number.
const GENERATIONS: u32 = 3;

/// What a first request asked for; it holds for the whole chain.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    pub(crate) select: Option<Vec<String>>,
    pub(crate) expand: Option<String>,
    pub(crate) top: Option<usize>,
    /// `created`, `updated` or `deleted`: other changes are left out.
    pub(crate) change_type: Option<String>,
    pub(crate) hidden: bool,
    /// Seconds since 1970 before which messages are left out.
    pub(crate) received_from: Option<i64>,
}

/// One reader's line of tokens.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    /// The folder, or `None` for the chain of all folders.
    folder: Option<u32>,
    pub(crate) options: Options,
    newest: u32,
    /// Last place of the log when the chain began; who left before it was never shown.
    started: u64,
}

/// Where a reader stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    chain: u32,
    generation: u32,
    /// Everything up to this place of the log was shown.
    after: u64,
    /// Whether more pages of the same round were promised.
    within_round: bool,
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stale {
    /// It was never given out, or for another folder.
    Unknown,
    /// It is too old.
    Expired,
    /// Its folder is gone.
    FolderGone,
}

/// One page: what changed, and the token to go on with.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) marks: Vec<Mark>,
    pub(crate) token: String,
    /// Whether the token is for the next page of this round, not for the next round.
    pub(crate) more: bool,
    pub(crate) options: Options,
}

impl Mailbox {
    /// Begins a chain and returns its first token, which shows everything.
    pub(crate) fn begin_chain(&mut self, folder: Option<u32>, options: Options) -> Token {
        let chain = u32::try_from(self.chains.len()).unwrap_or(u32::MAX);
        self.chains.push(Chain {
            folder,
            options,
            newest: 0,
            started: self.last_place(),
        });
        Token {
            chain,
            generation: 0,
            after: 0,
            within_round: true,
        }
    }

    /// Reads a token that was given out for `folder`.
    pub(crate) fn read_token(&self, folder: Option<u32>, text: &str) -> Result<Token, Stale> {
        let token = Token::read(self.seed, text).ok_or(Stale::Unknown)?;
        let chain = self.chain(token).ok_or(Stale::Unknown)?;
        if chain
            .folder
            .is_some_and(|key| !self.folders.contains_key(&key))
        {
            return Err(Stale::FolderGone);
        }
        if chain.folder != folder {
            return Err(Stale::Unknown);
        }
        if token.generation + GENERATIONS <= chain.newest {
            return Err(Stale::Expired);
        }
        Ok(token)
    }

    /// Makes every token given out so far too old.
    pub(crate) fn expire_tokens(&mut self) {
        for chain in &mut self.chains {
            chain.newest += GENERATIONS;
        }
    }

    /// Answers the page behind a token, of at most `size` changes.
    pub(crate) fn page(&mut self, token: Token, size: usize) -> Result<Page, Stale> {
        let chain = self.chain(token).ok_or(Stale::Unknown)?.clone();
        let log = self.log(chain.folder).ok_or(Stale::FolderGone)?;
        let mut waiting = log
            .range(token.after + 1..)
            .filter(|(place, mark)| matches!(mark, Mark::Live(_)) || **place > chain.started)
            .take(size + 1);
        let mut marks = Vec::new();
        let mut after = token.after;
        for (place, mark) in waiting.by_ref().take(size) {
            marks.push(*mark);
            after = *place;
        }
        let more = waiting.next().is_some();
        let lot = |below| {
            let line = (u64::from(token.chain) << 32) | u64::from(token.generation);
            chance(self.seed, line, token.after, below)
        };
        let later_page = token.within_round && token.generation > 0;
        if later_page && more && lot(9) == 0 {
            // The service gives an empty page now and then.
            marks.clear();
            after = token.after;
        } else if later_page && lot(4) == 1 {
            // And shows again what it showed last.
            let shown = log.range(..=token.after).next_back().map(|(_, mark)| *mark);
            if let Some(live @ Mark::Live(_)) = shown {
                marks.insert(0, live);
            }
        }
        let next = Token {
            chain: token.chain,
            generation: token.generation + 1,
            after,
            within_round: more,
        };
        let index = usize::try_from(token.chain).unwrap_or(usize::MAX);
        if let Some(own) = self.chains.get_mut(index) {
            own.newest = own.newest.max(next.generation);
        }
        Ok(Page {
            marks,
            token: next.write(self.seed),
            more,
            options: chain.options,
        })
    }

    /// Returns the options of a token's chain.
    pub(crate) fn options_of(&self, token: Token) -> Options {
        self.chain(token)
            .map(|chain| chain.options.clone())
            .unwrap_or_default()
    }

    fn chain(&self, token: Token) -> Option<&Chain> {
        self.chains.get(usize::try_from(token.chain).ok()?)
    }
}

impl Token {
    fn write(self, seed: u64) -> String {
        let mut bytes = Vec::new();
        bytes.extend(self.chain.to_be_bytes());
        bytes.extend(self.generation.to_be_bytes());
        bytes.extend(self.after.to_be_bytes());
        bytes.push(u8::from(self.within_round));
        let check = check_bytes(seed ^ TOKEN_PURPOSE, &bytes);
        // Scrambled, so that nobody is tempted to read it.
        for (byte, mask) in bytes.iter_mut().zip(check.iter().cycle()) {
            *byte ^= mask;
        }
        bytes.extend(check);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn read(seed: u64, text: &str) -> Option<Self> {
        let mut bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        if bytes.len() != 33 {
            return None;
        }
        let check = bytes.split_off(17);
        for (byte, mask) in bytes.iter_mut().zip(check.iter().cycle()) {
            *byte ^= mask;
        }
        if check != check_bytes(seed ^ TOKEN_PURPOSE, &bytes) {
            return None;
        }
        Some(Self {
            chain: u32::from_be_bytes(bytes[0..4].try_into().ok()?),
            generation: u32::from_be_bytes(bytes[4..8].try_into().ok()?),
            after: u64::from_be_bytes(bytes[8..16].try_into().ok()?),
            within_round: bytes[16] == 1,
        })
    }
}

/// Keeps the checks of tokens apart from those of ids.
const TOKEN_PURPOSE: u64 = 0x746f_6b65_6e21;
