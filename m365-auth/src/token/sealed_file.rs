//! Sealed token file: tokens in one encrypted file that only its owner may read.
//!
//! *Shape of the file*: the 8 bytes `M365TOK1`, a random nonce of 12 bytes, and the AES-256-GCM
//! ciphertext of a JSON object from names to values, with the first 8 bytes as associated data.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use async_trait::async_trait;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::TokenStore;
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;

/// Keeps tokens in one file, sealed under a key of the caller.
///
/// Every change writes the whole file anew beside the old one and renames it: after a crash either
/// the old or the new one is there. On Unix the file is readable by its owner only; elsewhere it
/// has the rights of its folder. Programs that share the file read each other's changes; of two
/// that write in the same moment the later one wins.
///
/// *Units and limits*: up to 4 MiB. A key may seal 2³² changes before its nonces may repeat.
pub struct SealedTokenFile(Arc<Inner>);

struct Inner {
    path: PathBuf,
    key: Zeroizing<[u8; 32]>,
    environment: Arc<dyn Environment>,
    turn: Mutex<()>,
}

type Tokens = BTreeMap<String, Zeroizing<String>>;

impl SealedTokenFile {
    /// Uses the file at `path`, which need not exist yet, under a key of 256 random bits.
    pub fn new(path: impl Into<PathBuf>, key: [u8; 32], environment: Arc<dyn Environment>) -> Self {
        Self(Arc::new(Inner {
            path: path.into(),
            key: Zeroizing::new(key),
            environment,
            turn: Mutex::new(()),
        }))
    }

    /// Works on the file away from the threads that serve the network.
    async fn work<T, F>(&self, act: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Inner) -> Result<T> + Send + 'static,
    {
        let _turn = self.0.turn.lock().await;
        let inner = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || act(&inner))
            .await
            .map_err(|_| failed("was left in the middle of a change"))?
    }
}

#[async_trait]
impl TokenStore for SealedTokenFile {
    async fn load(&self, name: &str) -> Result<Option<Secret>> {
        let name = name.to_owned();
        self.work(move |inner| {
            let tokens = inner.read()?;
            Ok(tokens.get(&name).map(|value| Secret::new(value.as_str())))
        })
        .await
    }

    /// *Cancel safety*: a change that has begun is finished.
    async fn save(&self, name: &str, value: &Secret) -> Result<()> {
        let (name, value) = (name.to_owned(), value.clone());
        self.work(move |inner| {
            let mut tokens = inner.read()?;
            tokens.insert(name, Zeroizing::new(value.expose().to_owned()));
            inner.write(&tokens)
        })
        .await
    }

    /// *Cancel safety*: a change that has begun is finished.
    async fn remove(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.work(move |inner| {
            let mut tokens = inner.read()?;
            match tokens.remove(&name) {
                Some(_) => inner.write(&tokens),
                None => Ok(()),
            }
        })
        .await
    }
}

impl Inner {
    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(&Key::<Aes256Gcm>::from(*self.key))
    }

    fn read(&self) -> Result<Tokens> {
        let bytes = match read_bounded(&self.path) {
            Ok(bytes) => bytes,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Tokens::new()),
            Err(cause) => return Err(failed("cannot be read").with_source(cause)),
        };
        let Some((nonce, sealed)) = bytes
            .strip_prefix(MAGIC)
            .and_then(|rest| rest.split_first_chunk::<12>())
        else {
            return Err(failed("is not a file of tokens"));
        };
        let payload = Payload {
            msg: sealed,
            aad: MAGIC,
        };
        let plain = self
            .cipher()
            .decrypt(&Nonce::from(*nonce), payload)
            .map(Zeroizing::new)
            .map_err(|_| failed("does not open with this key, or is damaged"))?;
        // The cause may repeat the text: not passed on.
        let tokens: BTreeMap<String, String> =
            serde_json::from_slice(&plain).map_err(|_| failed("holds what is not tokens"))?;
        Ok(tokens
            .into_iter()
            .map(|(name, value)| (name, Zeroizing::new(value)))
            .collect())
    }

    fn write(&self, tokens: &Tokens) -> Result<()> {
        let plain: BTreeMap<&str, &str> = tokens
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let plain = serde_json::to_vec(&plain)
            .map(Zeroizing::new)
            .map_err(|_| failed("could not be written"))?;
        let mut random = [0; 24];
        self.environment.fill(&mut random)?;
        let (nonce, name) = random.split_at(12);
        let nonce: [u8; 12] = nonce.try_into().unwrap_or_default();
        let payload = Payload {
            msg: &plain,
            aad: MAGIC,
        };
        let sealed = self
            .cipher()
            .encrypt(&Nonce::from(nonce), payload)
            .map_err(|_| failed("could not be sealed"))?;
        if sealed.len() as u64 > MAX_BYTES {
            return Err(failed("would be longer than 4 MiB"));
        }
        let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
        let beside = self.path.with_extension(format!("{name}.new"));
        let written = create(&beside)
            .and_then(|mut file| {
                file.write_all(MAGIC)?;
                file.write_all(&nonce)?;
                file.write_all(&sealed)?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&beside, &self.path))
            .and_then(|()| sync_folder(&self.path));
        written.map_err(|cause| {
            // What was written so far is sealed; if it cannot be removed either, it does no harm.
            let _ = fs::remove_file(&beside);
            failed("cannot be written").with_source(cause)
        })
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read;

    let mut bytes = Vec::new();
    fs::File::open(path)?
        .take(MAX_BYTES + 64)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn create(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options.open(path)
}

/// Makes a rename in the folder of `path` outlive a crash, where folders can be synced.
fn sync_folder(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

fn failed(cause: &str) -> Error {
    Error::new(ErrorKind::TokenStore, format!("the token file {cause}"))
}

impl fmt::Debug for SealedTokenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedTokenFile(..)")
    }
}

const MAGIC: &[u8; 8] = b"M365TOK1";
/// The longest file, in bytes.
const MAX_BYTES: u64 = 4 << 20;
