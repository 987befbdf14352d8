//! Unlock: the secrets that open a key slot, and the key that each leads to.

use std::fmt;

use super::key_file::KeyFile;
use super::passphrase::{KdfParams, Passphrase};
use super::recovery_code::RecoveryCode;
use super::{Key, Purpose};
use crate::error::{Error, ErrorKind, Result};
use crate::id::StoreId;

/// A secret that opens a store.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Unlock {
    /// Something that people remember.
    Passphrase(Passphrase),
    /// Something that people write down.
    RecoveryCode(RecoveryCode),
    /// Something that lies in a file.
    KeyFile(KeyFile),
}

/// Says what opens a key slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RecipientKind {
    /// A passphrase, through Argon2id.
    Passphrase,
    /// A recovery code.
    RecoveryCode,
    /// A key file.
    KeyFile,
    /// A public key: the format has room for it, this program cannot open it yet.
    PublicKey,
    /// A kind that this program has never heard of.
    Unknown,
}

impl RecipientKind {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::Passphrase => 1,
            Self::RecoveryCode => 2,
            Self::KeyFile => 3,
            Self::PublicKey => 4,
        }
    }

    pub(crate) fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Passphrase,
            2 => Self::RecoveryCode,
            3 => Self::KeyFile,
            4 => Self::PublicKey,
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for RecipientKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passphrase => "passphrase",
            Self::RecoveryCode => "recovery code",
            Self::KeyFile => "key file",
            Self::PublicKey => "public key",
            Self::Unknown => "unknown kind",
        })
    }
}

impl Unlock {
    /// Returns which kind of key slot this opens.
    pub fn kind(&self) -> RecipientKind {
        match self {
            Self::Passphrase(_) => RecipientKind::Passphrase,
            Self::RecoveryCode(_) => RecipientKind::RecoveryCode,
            Self::KeyFile(_) => RecipientKind::KeyFile,
        }
    }

    /// Turns the secret into the key of one recipient. For a passphrase this takes as long as
    /// `kdf` says: run it through `Offload`.
    pub(crate) fn recipient_key(&self, store: StoreId, kdf: KdfParams, salt: &[u8]) -> Result<Key> {
        let quick =
            |secret: &[u8], purpose| Key::derive_from(secret, purpose, &[store.as_bytes(), salt]);
        Ok(match self {
            Self::Passphrase(passphrase) => kdf.derive(passphrase, salt)?,
            Self::RecoveryCode(code) => quick(code.secret(), Purpose::RECOVERY_CODE),
            Self::KeyFile(file) => quick(file.secret(), Purpose::KEY_FILE),
        })
    }

    /// The error for a secret that no key slot opens with.
    pub(crate) fn refused(&self, words: impl Into<String>) -> Error {
        let kind = match self {
            Self::Passphrase(_) => ErrorKind::WrongPassphrase,
            Self::RecoveryCode(_) => ErrorKind::WrongRecoveryCode,
            Self::KeyFile(_) => ErrorKind::WrongKeyFile,
        };
        Error::new(kind, words)
    }
}

macro_rules! unlocks {
    ($($kind:ident),*) => {$(
        impl From<$kind> for Unlock {
            fn from(secret: $kind) -> Self {
                Self::$kind(secret)
            }
        }

        impl From<&$kind> for Unlock {
            fn from(secret: &$kind) -> Self {
                Self::$kind(secret.clone())
            }
        }
    )*};
}

unlocks!(Passphrase, RecoveryCode, KeyFile);

impl From<&Self> for Unlock {
    fn from(unlock: &Self) -> Self {
        unlock.clone()
    }
}
