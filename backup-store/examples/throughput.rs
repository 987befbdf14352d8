//! Measures writing and reading on this machine: `cargo run --release -p backup-store --example
//! throughput`. Half of the content compresses like mail, half does not compress.

use std::error::Error;
use std::sync::Arc;

use backup_store::catalog::ResourceId;
use backup_store::{
    ContentClass, CreateOptions, LocalBackend, Passphrase, RunId, Store, StoreOptions,
    SystemEnvironment, WriterOptions,
};
use tokio::time::Instant;

const ITEMS: u64 = 12_000;
const ITEM_BYTES: usize = 20_000;
const FILES: u64 = 6;
const FILE_BYTES: usize = 40 << 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let backend = Arc::new(LocalBackend::create(directory.path().join("store"))?);
    let passphrase = Passphrase::new("not a secret");
    let options = StoreOptions::default();
    let store = Store::create(backend, &passphrase, CreateOptions::default(), options).await?;
    let writer = store
        .begin(WriterOptions {
            run: RunId::random(&SystemEnvironment)?,
            spool_dir: directory.path().join("spool"),
            adopts: Vec::new(),
        })
        .await?;
    let began = Instant::now();
    let mail = async {
        let gatherer = writer.gather(&ResourceId::new("outlook:1"));
        let mut contents = Vec::new();
        for item in 0..ITEMS {
            let bytes = words(item);
            contents.push(gatherer.put(ContentClass::Text, &bytes).await?);
            if item % 50 == 49 {
                gatherer.commit().await?;
            }
        }
        gatherer.commit().await?;
        Ok::<_, backup_store::Error>(contents)
    };
    let files = async {
        let gatherer = writer.gather(&ResourceId::new("onedrive:1"));
        let mut contents = Vec::new();
        for file in 0..FILES {
            contents.push(
                gatherer
                    .put(ContentClass::Binary, &noise(file, FILE_BYTES))
                    .await?,
            );
            gatherer.commit().await?;
        }
        Ok::<_, backup_store::Error>(contents)
    };
    let (mail, files) = tokio::join!(mail, files);
    let contents = [mail?, files?].concat();
    writer.end().await?;
    let total: u64 = contents.iter().map(|content| content.length).sum();
    report("written", total, began);
    let began = Instant::now();
    for content in &contents {
        store.open_content(content).collect(u64::MAX).await?;
    }
    report("read", total, began);
    Ok(())
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next)
        .flatten()
        .take(length)
        .collect()
}

fn words(seed: u64) -> Vec<u8> {
    let list = [
        "budget", "meeting", "regards", "tomorrow", "the", "of", "project", "and", "re",
    ];
    let noise = noise(seed + 1000, ITEM_BYTES / 5);
    let words = noise.iter().flat_map(|byte| {
        let word = list[usize::from(*byte) % list.len()].bytes();
        word.chain([b' ', byte % 26 + b'a'])
    });
    words.take(ITEM_BYTES).collect()
}

#[allow(
    clippy::print_stdout,
    reason = "an example talks to the person who runs it"
)]
fn report(what: &str, bytes: u64, began: Instant) {
    let seconds = began.elapsed().as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
    let rate = bytes as f64 / 1e6 / seconds;
    println!(
        "{what}: {} MB in {seconds:.2} s: {rate:.0} MB/s",
        bytes / 1_000_000
    );
}
