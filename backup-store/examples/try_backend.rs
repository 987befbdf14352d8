//! Tries a cloud backend: does it do what a store needs of it?
//!
//! ```text
//! try_backend conform PLACE    all rules of the conformance suite
//! try_backend probe PLACE      only what the probe finds, such as a dishonest conditional create
//! try_backend writers PLACE    eight writers and a prune at once, then all data is checked
//! ```
//!
//! PLACE is `s3://bucket/prefix`, `azure://container/prefix`, `gs://bucket/prefix` or a directory,
//! and holds nothing yet. Credentials come from `TRY_KEY_ID`, `TRY_SECRET` and, where needed,
//! `TRY_ENDPOINT` and `TRY_ACCOUNT`; an `http://` endpoint is allowed here.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a command line program for tests"
)]

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/crowd/mod.rs"]
mod crowd;

use std::process::ExitCode;
use std::sync::Arc;

use backup_store::backend::{
    AzureCredentials, AzureOptions, BackendPlace, BackendRetry, GcsOptions, RetryBackend,
    S3Options, Secret,
};
use backup_store::{
    Backend, Error, ErrorKind, LocalBackend, Result, SystemEnvironment, conformance,
};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, place] = &arguments[..] else {
        eprintln!("usage: try_backend conform|probe|writers PLACE");
        return ExitCode::from(2);
    };
    match attempt(what, place).await {
        Ok(words) => {
            println!("{place}: {words}");
            ExitCode::SUCCESS
        }
        Err(cause) => {
            eprintln!("{place}: {cause}");
            ExitCode::FAILURE
        }
    }
}

async fn attempt(what: &str, place: &str) -> Result<String> {
    let backend = connect(&BackendPlace::parse(place)?)?;
    match what {
        "conform" => {
            conformance::check(backend.as_ref()).await?;
            Ok("conforms".to_owned())
        }
        "probe" => {
            let found = backend.probe().await?;
            let (honest, listed) = (found.put_if_absent, found.listed_after_put);
            Ok(format!("put-if-absent {honest}, listed after put {listed}"))
        }
        "writers" => Ok(writers(backend).await),
        _ => Err(invalid("conform, probe or writers, nothing else")),
    }
}

fn connect(place: &BackendPlace) -> Result<Arc<dyn Backend>> {
    let set = |name: &str| std::env::var(name).ok();
    let need = |name: &str| set(name).ok_or_else(|| invalid(&format!("{name} is not set")));
    let endpoint = set("TRY_ENDPOINT");
    let backend = match place {
        BackendPlace::Directory(path) => return Ok(Arc::new(LocalBackend::create(path)?)),
        BackendPlace::S3(place) => {
            let secret = Secret::new(need("TRY_SECRET")?);
            let (bucket, prefix) = (&place.bucket, &place.prefix);
            let mut options = S3Options::new(bucket, prefix, need("TRY_KEY_ID")?, secret);
            options.endpoint = endpoint;
            options.allow_http = true;
            options.connect()?
        }
        BackendPlace::Azure(place) => {
            let key = AzureCredentials::AccessKey(Secret::new(need("TRY_SECRET")?));
            let (container, prefix) = (&place.bucket, &place.prefix);
            let mut options = AzureOptions::new(need("TRY_ACCOUNT")?, container, prefix, key);
            options.endpoint = endpoint;
            options.allow_http = true;
            options.connect()?
        }
        BackendPlace::Gcs(place) => {
            let key = Secret::new(need("TRY_SECRET")?);
            let mut options = GcsOptions::new(&place.bucket, &place.prefix, key);
            options.endpoint = endpoint;
            options.connect()?
        }
        _ => return Err(invalid("a place of an unknown kind")),
    };
    Ok(Arc::new(backend))
}

/// Eight writers and a prune at once; whatever was published and not forgotten is read back.
async fn writers(backend: Arc<dyn Backend>) -> String {
    let retry = BackendRetry::default();
    let environment = Arc::new(SystemEnvironment);
    let backend = Arc::new(RetryBackend::new(backend, retry, environment));
    crowd::nothing_is_lost(backend).await.to_string()
}

fn invalid(words: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, words)
}
