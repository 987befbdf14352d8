//! Tries a cloud backend: does it do what a store needs of it?
//!
//! ```text
//! try_backend conform PLACE    all rules of the conformance suite
//! try_backend probe PLACE      only what the probe finds, such as a dishonest conditional create
//! try_backend writers PLACE    eight writers at once, then everything is restored
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

use std::process::ExitCode;
use std::sync::Arc;

use backup_store::backend::{
    AzureCredentials, AzureOptions, BackendPlace, BackendRetry, GcsOptions, RetryBackend,
    S3Options, Secret,
};
use backup_store::catalog::ResourceId;
use backup_store::{
    Backend, ContentClass, ContentRef, CreateOptions, Error, ErrorKind, KdfParams, LocalBackend,
    Passphrase, Result, RunId, Store, StoreOptions, SystemEnvironment, WriterOptions, conformance,
};

/// Writers at once.
const WRITERS: u8 = 8;
/// Contents that each of them puts; every other one is the same for all.
const CONTENTS: u32 = 40;

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
        "writers" => writers(backend).await,
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

/// Eight writers at once, each with a machine of its own; afterwards everything is read back.
async fn writers(backend: Arc<dyn Backend>) -> Result<String> {
    let retry = BackendRetry::default();
    let environment = Arc::new(SystemEnvironment);
    let backend: Arc<dyn Backend> = Arc::new(RetryBackend::new(backend, retry, environment));
    let passphrase = Passphrase::new("eight at once");
    let mut create = CreateOptions::default();
    create.kdf = KdfParams::minimum();
    let options = StoreOptions::default();
    Store::create(Arc::clone(&backend), &passphrase, create, options).await?;
    let spools = std::env::temp_dir().join(format!("try_backend-{}", std::process::id()));
    let tasks = (0..WRITERS).map(|number| {
        let (backend, passphrase) = (Arc::clone(&backend), passphrase.clone());
        let spool_dir = spools.join(number.to_string());
        tokio::spawn(async move {
            let store = Store::open(backend, &passphrase, StoreOptions::default()).await?;
            write(&store, number, spool_dir).await
        })
    });
    let mut kept = Vec::new();
    for written in futures_util::future::join_all(tasks).await {
        let written = written.map_err(|cause| invalid(&cause.to_string()))?;
        kept.extend(written?);
    }
    let store = Store::open(backend, &passphrase, StoreOptions::default()).await?;
    for (content, bytes) in &kept {
        if store.open_content(content).collect(1 << 20).await? != *bytes {
            return Err(Error::new(
                ErrorKind::Damaged,
                "a content came back different",
            ));
        }
    }
    drop(std::fs::remove_dir_all(&spools));
    Ok(format!(
        "{WRITERS} writers, {} contents restored",
        kept.len()
    ))
}

type Kept = Vec<(ContentRef, Vec<u8>)>;

async fn write(store: &Store, number: u8, spool_dir: std::path::PathBuf) -> Result<Kept> {
    let writer = store
        .begin(WriterOptions {
            run: RunId::from_bytes([number; 16]),
            spool_dir,
            adopts: Vec::new(),
        })
        .await?;
    let gatherer = writer.gather(&ResourceId::new(format!("outlook:{number}")));
    let mut kept = Vec::new();
    for content in 0..CONTENTS {
        let own = if content % 2 == 0 { number } else { 0 };
        let bytes = bytes_of(own, content);
        kept.push((gatherer.put(ContentClass::Binary, &bytes).await?, bytes));
        if content % 8 == 7 {
            gatherer.commit().await?;
            writer.flush().await?;
        }
    }
    gatherer.commit().await?;
    writer.end().await?;
    Ok(kept)
}

fn bytes_of(owner: u8, number: u32) -> Vec<u8> {
    let mut bytes = vec![0; 2000];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[owner]);
    hasher.update(&number.to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

fn invalid(words: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, words)
}
