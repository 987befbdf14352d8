//! The `config` object: what a program must know of a store before it has a key.
//!
//! *Shape*: three lines of text. The first names the format version and the last holds an unkeyed
//! hash of the lines before it; both keep their form in every version. The line between is JSON.

use serde::{Deserialize, Serialize};

use crate::backend::Capabilities;
use crate::chunker;
use crate::error::{Error, ErrorKind, Result};
use crate::id::StoreId;
use crate::seal::FORMAT_VERSION;
use crate::time::Timestamp;

const FIRST_WORD: &str = "m365-backup-store";
const LAST_WORD: &str = "blake3";
/// Largest `config` that is read.
pub(crate) const MAX_BYTES: u64 = 64 * 1024;

/// The contents of `config`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Config {
    pub(crate) store_id: StoreId,
    pub(crate) created: Timestamp,
    /// Name of the chunking rules.
    pub(crate) chunker: String,
    pub(crate) chunk_min: usize,
    pub(crate) chunk_average: usize,
    pub(crate) chunk_max: usize,
    /// What the probe at creation found.
    pub(crate) put_if_absent: bool,
    pub(crate) listed_after_put: bool,
}

const CHUNKER: &str = "fastcdc-2020-keyed";

impl Config {
    pub(crate) fn new(store_id: StoreId, created: Timestamp, found: Capabilities) -> Self {
        Self {
            store_id,
            created,
            chunker: CHUNKER.to_owned(),
            chunk_min: chunker::MIN_BYTES,
            chunk_average: chunker::AVERAGE_BYTES,
            chunk_max: chunker::MAX_BYTES,
            put_if_absent: found.put_if_absent,
            listed_after_put: found.listed_after_put,
        }
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        let json = serde_json::to_string(self).map_err(|cause| {
            Error::new(ErrorKind::Malformed, "object config: cannot be written").with_source(cause)
        })?;
        let body = format!("{FIRST_WORD} {FORMAT_VERSION}\n{json}\n");
        let hash = blake3::hash(body.as_bytes());
        Ok(format!("{body}{LAST_WORD} {hash}\n").into_bytes())
    }

    /// Reads `config`.
    ///
    /// *Errors*: [`ErrorKind::NotAStore`] for other bytes, [`ErrorKind::Damaged`],
    /// [`ErrorKind::UnsupportedFormat`] for a store of another version, naming both.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let damaged = |cause: &str| Error::damaged("object config", cause);
        let text = std::str::from_utf8(bytes).map_err(|_| damaged("it is not text"))?;
        let Some(rest) = text.strip_prefix(FIRST_WORD) else {
            let words = "object config: not the config of a backup store";
            return Err(Error::new(ErrorKind::NotAStore, words));
        };
        let last = format!("\n{LAST_WORD} ");
        let at = text
            .rfind(&last)
            .ok_or_else(|| damaged("its last line is missing"))?;
        let (body, line) = text.split_at(at + 1);
        let expected = format!("{LAST_WORD} {}\n", blake3::hash(body.as_bytes()));
        if line != expected {
            return Err(damaged("its hash does not match"));
        }
        let version = rest.lines().next().unwrap_or_default().trim();
        if version != FORMAT_VERSION.to_string() {
            let words = format!(
                "store: has format version {version}; this program reads and writes version \
                 {FORMAT_VERSION}"
            );
            return Err(Error::new(ErrorKind::UnsupportedFormat, words));
        }
        let json = body.lines().nth(1).unwrap_or_default();
        let config: Self = serde_json::from_str(json)
            .map_err(|cause| damaged("its fields cannot be read").with_source(cause))?;
        let sizes = (config.chunk_min, config.chunk_average, config.chunk_max);
        let ours = (
            chunker::MIN_BYTES,
            chunker::AVERAGE_BYTES,
            chunker::MAX_BYTES,
        );
        if config.chunker != CHUNKER || sizes != ours {
            let words = format!(
                "store: cuts chunks by rules not known here ({})",
                config.chunker
            );
            return Err(Error::new(ErrorKind::UnsupportedFormat, words));
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let found = Capabilities {
            put_if_absent: true,
            listed_after_put: true,
        };
        Config::new(StoreId::from_bytes([1; 16]), Timestamp::EPOCH, found)
    }

    #[test]
    fn config_survives_being_written_and_read() {
        assert_eq!(
            Config::decode(&config().encode().unwrap()).unwrap(),
            config()
        );
    }

    #[test]
    fn another_version_is_refused_naming_both() {
        let text = String::from_utf8(config().encode().unwrap()).unwrap();
        let first = format!(" {FORMAT_VERSION}\n");
        let body = text.replacen(&first, " 7\n", 1);
        let body = &body[..body.rfind("blake3 ").unwrap()];
        let other = format!("{body}blake3 {}\n", blake3::hash(body.as_bytes()));
        let error = Config::decode(other.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnsupportedFormat);
        assert!(error.to_string().contains("version 7"), "{error}");
        let ours = format!("version {FORMAT_VERSION}");
        assert!(error.to_string().contains(&ours), "{error}");
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_noticed() {
        let bytes = config().encode().unwrap();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 4;
            for bytes in [&flipped[..], &bytes[..at]] {
                let kind = Config::decode(bytes).unwrap_err().kind();
                assert!(
                    matches!(kind, ErrorKind::Damaged | ErrorKind::NotAStore),
                    "byte {at}"
                );
            }
        }
    }
}
