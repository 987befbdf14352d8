//! Workload identity federation: a token of another platform in the place of a secret.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;

use async_trait::async_trait;

use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;

/// Gives the token of another platform that vouches for this program.
///
/// It is asked before every request to the token endpoint: such tokens are short-lived and rotate.
#[async_trait]
pub trait AssertionSource: fmt::Debug + Send + Sync {
    /// Returns a token that is valid now.
    async fn assertion(&self) -> Result<Secret>;
}

/// Reads the token from a file, anew every time, as Kubernetes rotates it.
#[derive(Clone, PartialEq, Eq)]
pub struct FileAssertion {
    path: PathBuf,
}

impl FileAssertion {
    /// Reads from `path`; the caller knows it, for example from the environment of the pod.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

#[async_trait]
impl AssertionSource for FileAssertion {
    /// *Errors*: [`ErrorKind::Configuration`] for a file that cannot be read, is empty, or is
    /// longer than 64 KiB.
    async fn assertion(&self) -> Result<Secret> {
        let path = self.path.clone();
        let unreadable = |message| Error::new(ErrorKind::Configuration, message);
        let text = tokio::task::spawn_blocking(move || read(&path))
            .await
            .map_err(|_| unreadable("the file of the federated token could not be read"))?
            .map_err(|cause| {
                unreadable("the file of the federated token could not be read").with_source(cause)
            })?;
        let text = Secret::new(text);
        if text.expose().trim().is_empty() {
            return Err(unreadable("the file of the federated token is empty"));
        }
        Ok(Secret::new(text.expose().trim()))
    }
}

fn read(path: &std::path::Path) -> std::io::Result<String> {
    use std::io::Read;

    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    file.take(MAX_TOKEN_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_TOKEN_BYTES {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    Ok(text)
}

impl fmt::Debug for FileAssertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileAssertion(..)")
    }
}

type Asked = Pin<Box<dyn Future<Output = Result<Secret>> + Send>>;

/// Asks a function of the caller for the token.
pub struct CallbackAssertion(Box<dyn Fn() -> Asked + Send + Sync>);

impl CallbackAssertion {
    /// Wraps `ask`.
    pub fn new<F, Fut>(ask: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Secret>> + Send + 'static,
    {
        Self(Box::new(move || Box::pin(ask())))
    }
}

#[async_trait]
impl AssertionSource for CallbackAssertion {
    async fn assertion(&self) -> Result<Secret> {
        (self.0)().await
    }
}

impl fmt::Debug for CallbackAssertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallbackAssertion")
    }
}

/// The longest token that is taken, in bytes.
const MAX_TOKEN_BYTES: u64 = 64 << 10;
