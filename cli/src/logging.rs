//! Logging: the one place that installs a tracing subscriber.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::failure::{Failure, Result};
use crate::output::Output;

/// Installs the subscriber: stderr as chatty as `-v` asks, and a detailed log file if one is named.
pub(crate) fn install(output: &Output, verbose: u8, log_file: Option<&Path>) -> Result<()> {
    let terminal = fmt::layer()
        .with_writer(Terminal(output.clone()))
        .with_ansi(false)
        .without_time()
        .with_filter(ours(terminal_level(verbose)));
    let file = log_file.map(open).transpose()?.map(|file| {
        fmt::layer()
            .with_writer(LogFile(Arc::new(Mutex::new(file))))
            .with_ansi(false)
            .with_filter(ours(LevelFilter::DEBUG))
    });
    tracing_subscriber::registry()
        .with(terminal)
        .with(file)
        .try_init()
        .map_err(|error| Failure::usage("cannot start the log").because(&error))
}

fn terminal_level(verbose: u8) -> LevelFilter {
    match verbose {
        0 => LevelFilter::OFF,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    }
}

/// Our crates at `level`, all others at warnings and worse.
fn ours(level: LevelFilter) -> Targets {
    let others = level.min(LevelFilter::from_level(Level::WARN));
    let crates = [
        "m365_auth",
        "m365_graph",
        "m365_ews",
        "backup_store",
        "backup_engine",
        "restore_engine",
        "m365_backup",
    ];
    Targets::new()
        .with_default(others)
        .with_targets(crates.map(|name| (name, level)))
}

fn open(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(|error| Failure::file("write the log file", path, &error))
}

/// Writes log lines above the progress bars.
#[derive(Debug, Clone)]
struct Terminal(Output);

impl<'a> MakeWriter<'a> for Terminal {
    type Writer = Self;

    fn make_writer(&'a self) -> Self::Writer {
        self.clone()
    }
}

impl Write for Terminal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.error_line(String::from_utf8_lossy(bytes).trim_end());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Appends log lines to a file, whole.
#[derive(Debug, Clone)]
struct LogFile(Arc<Mutex<File>>);

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = Self;

    fn make_writer(&'a self) -> Self::Writer {
        self.clone()
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut file = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        file.write_all(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
