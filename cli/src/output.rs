//! Output: results to stdout, everything else to stderr, as text or as JSON lines.

use std::io::{self, IsTerminal, Write};

use indicatif::MultiProgress;
use serde::Serialize;
use serde_json::{Value, json};

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::table::{Table, printable};

/// Writes what a command has to say; the one place that touches stdout and stderr.
///
/// Cheap to clone; clones share the progress bars, so that lines and bars do not mix.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
    progress: Progress,
    colour: bool,
    bars: MultiProgress,
}

/// Says how progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Bars that move, for a terminal.
    Bars,
    /// A line for each step, for a log.
    Lines,
    /// JSON objects on stdout.
    Json,
    /// Nothing.
    Off,
}

impl Output {
    /// Decides from the options and the terminal how to speak.
    pub(crate) fn new(json: bool, quiet: bool, no_progress: bool) -> Self {
        let terminal = io::stderr().is_terminal();
        let progress = match (json, quiet || no_progress) {
            (_, true) => Progress::Off,
            (true, false) => Progress::Json,
            (false, false) if terminal => Progress::Bars,
            (false, false) => Progress::Lines,
        };
        Self {
            json,
            quiet,
            progress,
            colour: terminal && !no_colour(),
            bars: MultiProgress::new(),
        }
    }

    /// Tells whether results are JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Returns how progress is shown.
    pub(crate) fn progress(&self) -> Progress {
        self.progress
    }

    /// Returns where progress bars are drawn.
    pub(crate) fn bars(&self) -> &MultiProgress {
        &self.bars
    }

    /// Writes one line of results.
    pub(crate) fn line(&self, text: &str) -> Result<()> {
        self.bars.suspend(|| {
            let mut out = io::stdout().lock();
            writeln!(out, "{text}").map_err(closed)
        })
    }

    /// Writes one line of results that holds names from elsewhere, made safe for a terminal.
    pub(crate) fn name_line(&self, text: &str) -> Result<()> {
        self.line(&printable(text))
    }

    /// Writes a table of results.
    pub(crate) fn table(&self, table: &Table) -> Result<()> {
        table.lines().iter().try_for_each(|line| self.line(line))
    }

    /// Writes one JSON object of the given type as one line.
    pub(crate) fn object(&self, message_type: &str, fields: impl Serialize) -> Result<()> {
        let fields = serde_json::to_value(fields).map_err(|error| {
            Failure::new(Exit::Failed, "cannot write the result as JSON").because(&error)
        })?;
        let mut object = json!({ "message_type": message_type });
        if let (Value::Object(object), Value::Object(fields)) = (&mut object, fields) {
            object.extend(fields);
        }
        self.line(&object.to_string())
    }

    /// Tells the person something on stderr; silent with `--quiet` and with `--json`.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet && !self.json {
            self.error_line(text);
        }
    }

    /// Warns on stderr, with `--quiet` too.
    pub(crate) fn warn(&self, text: &str) {
        if self.json {
            self.error_line(&json!({ "message_type": "warning", "message": text }).to_string());
        } else {
            self.error_line(&format!("{} {text}", self.paint("33;1", "warning:")));
        }
    }

    /// Reports why the command failed.
    pub(crate) fn failure(&self, failure: &Failure) {
        if self.json {
            self.error_line(&failure.to_json().to_string());
        } else {
            self.error_line(&format!("{} {failure}", self.paint("31;1", "error:")));
        }
    }

    /// Writes one line to stderr, above the progress bars.
    pub(crate) fn error_line(&self, text: &str) {
        self.bars.suspend(|| {
            // Nobody can be told when stderr itself is closed.
            let _ = writeln!(io::stderr().lock(), "{text}");
        });
    }

    /// Asks a yes-or-no question on the terminal; anything but yes is no.
    ///
    /// *Errors*: a usage failure where nobody can answer.
    pub(crate) fn ask(&self, question: &str) -> Result<bool> {
        if self.json || !io::stdin().is_terminal() {
            return Err(Failure::usage("nobody is there to agree to the plan")
                .next("add --yes to write without a question, or --dry-run to see the plan only"));
        }
        let mut error = io::stderr().lock();
        let asked = write!(error, "{question} [y/N] ").and_then(|()| error.flush());
        let mut answer = String::new();
        asked
            .and_then(|()| io::stdin().read_line(&mut answer))
            .map_err(|error| Failure::new(Exit::Failed, "cannot ask").because(&error))?;
        Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
    }

    fn paint(&self, style: &str, text: &str) -> String {
        if self.colour {
            format!("\u{1b}[{style}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

/// A reader that has seen enough (`| head`) is a reason to stop, quietly.
fn closed(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        std::process::exit(i32::from(Exit::Failed.code()));
    }
    Failure::new(Exit::Failed, "cannot write to standard output").because(&error)
}

#[allow(clippy::disallowed_methods, reason = "the cli reads the environment")]
fn no_colour() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}
