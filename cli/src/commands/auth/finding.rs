//! Findings: what each check came to, one line or JSON object at a time.

use serde_json::json;

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::table::printable;
use crate::words;

/// What one check came to.
#[derive(Debug)]
pub(super) enum Finding {
    Good(String),
    Warning(String),
    Bad(Failure),
    Skipped(String),
}

impl Finding {
    fn word(&self) -> &'static str {
        match self {
            Self::Good(_) => "ok",
            Self::Warning(_) => "warning",
            Self::Bad(_) => "failed",
            Self::Skipped(_) => "skipped",
        }
    }
}

impl From<Result<String>> for Finding {
    fn from(result: Result<String>) -> Self {
        match result {
            Ok(said) => Self::Good(said),
            Err(failure) => Self::Bad(failure),
        }
    }
}

/// Tells each finding as it comes, and how all of them end.
#[derive(Debug)]
pub(super) struct Findings<'a> {
    out: &'a Output,
    counts: [u64; 4],
    exit: Exit,
}

impl<'a> Findings<'a> {
    pub(super) fn new(out: &'a Output) -> Self {
        Self {
            out,
            counts: [0; 4],
            exit: Exit::Complete,
        }
    }

    /// Tells one finding; the first bad one decides how the program ends.
    pub(super) fn tell(&mut self, check: &str, finding: &Finding) -> Result<()> {
        let place = match finding {
            Finding::Good(_) => 0,
            Finding::Warning(_) => 1,
            Finding::Bad(_) => 2,
            Finding::Skipped(_) => 3,
        };
        self.counts[place] += 1;
        if let Finding::Bad(failure) = finding
            && self.exit == Exit::Complete
        {
            self.exit = failure.exit();
        }
        if self.out.is_json() {
            return self.tell_json(check, finding);
        }
        let said = match finding {
            Finding::Good(said) | Finding::Warning(said) | Finding::Skipped(said) => said.clone(),
            Finding::Bad(failure) => failure.to_string(),
        };
        for (number, line) in said.lines().enumerate() {
            let line = printable(line);
            let line = match number {
                0 => format!("{:8} {check:13} {line}", finding.word()),
                _ => format!("{:22} {line}", ""),
            };
            self.out.line(line.trim_end())?;
        }
        Ok(())
    }

    fn tell_json(&self, check: &str, finding: &Finding) -> Result<()> {
        let mut object = match finding {
            Finding::Good(said) | Finding::Warning(said) | Finding::Skipped(said) => {
                json!({ "message": said })
            }
            Finding::Bad(failure) => {
                let mut object = failure.to_json();
                if let Some(fields) = object.as_object_mut() {
                    fields.remove("message_type");
                }
                object
            }
        };
        object["check"] = json!(check);
        object["outcome"] = json!(finding.word());
        self.out.object("check", object)
    }

    /// Sums up, and returns how the program ends.
    pub(super) fn end(self) -> Result<Exit> {
        let [good, warnings, failed, skipped] = self.counts;
        if self.out.is_json() {
            let counts = json!({
                "ok": good, "warnings": warnings, "failed": failed, "skipped": skipped,
            });
            self.out.object("summary", counts)?;
        } else {
            let warnings = words::counted(warnings, "warning");
            let line = format!("{good} ok, {warnings}, {failed} failed, {skipped} skipped");
            self.out.line(&line)?;
        }
        Ok(self.exit)
    }
}
