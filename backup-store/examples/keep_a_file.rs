//! Keeps a file in a store in a directory, and reads it back.
//!
//! `cargo run -p backup-store --example keep_a_file -- FILE DIRECTORY`; without arguments it keeps
//! itself in a temporary directory.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use backup_store::catalog::ResourceId;
use backup_store::{
    ContentClass, CreateOptions, ErrorKind, LocalBackend, Passphrase, RunId, Store, StoreOptions,
    SystemEnvironment, WriterOptions,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let temporary = tempfile::tempdir()?;
    let file = arguments.next().unwrap_or_else(|| file!().into());
    let directory = arguments
        .next()
        .unwrap_or_else(|| temporary.path().to_path_buf());
    let bytes = std::fs::read(&file).or_else(|_| std::fs::read("examples/keep_a_file.rs"))?;

    let backend = Arc::new(LocalBackend::create(directory.join("store"))?);
    let passphrase = Passphrase::new("an example is no place for a secret");
    let options = StoreOptions::default();
    let store = match Store::open(backend.clone(), &passphrase, options.clone()).await {
        Err(cause) if cause.kind() == ErrorKind::NotAStore => {
            Store::create(backend, &passphrase, CreateOptions::default(), options).await?
        }
        opened => opened?,
    };

    let writer = store
        .begin(WriterOptions {
            run: RunId::random(&SystemEnvironment)?,
            spool_dir: directory.join("spool"),
            adopts: Vec::new(),
        })
        .await?;
    let gatherer = writer.gather(&ResourceId::new("files:example"));
    let content = gatherer.put(ContentClass::Binary, &bytes).await?;
    let receipt = gatherer.commit().await?;
    writer.end().await?;
    print(&format!(
        "{} bytes in {} chunks",
        content.length,
        content.chunk_ids().count()
    ));
    print(&format!("packs {:?}", receipt.packs));

    let found = store.open_content(&content).collect(u64::MAX).await?;
    print(if found == bytes {
        "read back and equal"
    } else {
        "different!"
    });
    Ok(())
}

#[allow(
    clippy::print_stdout,
    reason = "an example talks to the person who runs it"
)]
fn print(line: &str) {
    println!("{line}");
}
