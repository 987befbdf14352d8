//! Failure: why a command could not do its work, in words for the person who has to act on it.

mod engine;
mod service;
mod store;

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::Path;

use serde_json::json;

use crate::exit::Exit;

pub(crate) use engine::{from_backup, from_restore};
pub(crate) use service::{from_auth, from_ews, from_graph};
pub(crate) use store::{from_store, no_store};

/// Shorthand for the result of anything in this program.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// Describes one failure: the object and what is wrong with it, the causes, and the next step.
///
/// *Shape*: `message` is one sentence without a final stop that names the object; `causes` go from
/// near to far and repeat nothing; `next` tells what to do.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    causes: Vec<String>,
    next: Option<String>,
}

impl Failure {
    /// Creates a failure that ends the program with `exit`.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            causes: Vec::new(),
            next: None,
        }
    }

    /// Creates a failure of the command line or the config.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Creates a failure of a local file or folder, with the next step where it is known.
    pub(crate) fn file(what: &str, path: &Path, error: &io::Error) -> Self {
        let failure =
            Self::new(Exit::Failed, format!("cannot {what} {}", path.display())).because(error);
        match next_step_for_io(error) {
            Some(next) => failure.next(next),
            None => failure,
        }
    }

    /// Adds the chain of causes, leaving out what the message or an earlier cause says already.
    #[must_use]
    pub(crate) fn because(mut self, error: &dyn StdError) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            let said = error.to_string();
            if !SAYS_NOTHING.contains(&said.as_str()) {
                self = self.cause(said);
            }
            cause = error.source();
        }
        self
    }

    /// Adds one cause.
    #[must_use]
    pub(crate) fn cause(mut self, text: impl Into<String>) -> Self {
        let text = text.into();
        if !text.is_empty() && !self.mentions(&text) {
            self.causes.push(text);
        }
        self
    }

    /// Tells whether the message or a cause says `text` already.
    pub(crate) fn mentions(&self, text: &str) -> bool {
        self.message.contains(text) || self.causes.iter().any(|cause| cause.contains(text))
    }

    /// Says what to do next.
    #[must_use]
    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// Returns how the program ends.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// Returns the failure as an object for `--json`.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        json!({
            "message_type": "error",
            "exit_code": self.exit.code(),
            "message": self.message,
            "causes": self.causes,
            "next": self.next,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for cause in &self.causes {
            write!(f, "\n  cause: {cause}")?;
        }
        if let Some(next) = &self.next {
            write!(f, "\n  next:  {next}")?;
        }
        Ok(())
    }
}

/// What the layers of the network library say when the next one says it better.
const SAYS_NOTHING: [&str; 5] = [
    "error sending request",
    "client error (Connect)",
    "client error (SendRequest)",
    "connection error",
    "error resolving DNS",
];

/// Finds the operating system's error in a chain of causes.
pub(crate) fn io_error_in<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a io::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<io::Error>() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// Returns what a person can do about an error of the operating system, where that is known.
pub(crate) fn next_step_for_io(error: &io::Error) -> Option<&'static str> {
    Some(match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space there, then run the same command again; what was committed is kept"
        }
        io::ErrorKind::PermissionDenied => {
            "give the account that runs this program access to it, then try again"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "mount it writable, or choose another place, then try again"
        }
        io::ErrorKind::NotFound => "check the path",
        io::ErrorKind::AlreadyExists => "choose another name, or move the old one away",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use super::Failure;
    use crate::exit::Exit;

    #[test]
    fn a_failure_says_object_cause_and_next_step() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let failure = Failure::file("write", Path::new("/store/packs/ab"), &full);
        assert_eq!(
            failure.to_string(),
            "cannot write /store/packs/ab\n  cause: no storage space\n  next:  free some space \
             there, then run the same command again; what was committed is kept"
        );
        assert_eq!(failure.exit(), Exit::Failed);
    }

    #[test]
    fn a_cause_that_is_said_already_is_not_repeated() {
        let failure = Failure::usage("the config has no name")
            .cause("no name")
            .cause("line 3");
        assert_eq!(
            failure.to_string(),
            "the config has no name\n  cause: line 3"
        );
    }
}
