//! Laws of the browse cache: it finds in every snapshot what a scan of its trees finds.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::BrowseCache;
use crate::backend::{Backend, MemoryBackend};
use crate::catalog::samples::{container, item, resource, snapshot};
use crate::catalog::{Browse, Filter, ItemKind, Search, Snapshot};
use crate::keys::passphrase::{KdfParams, Passphrase};
use crate::{
    CreateOptions, InlineOffload, RunId, Store, StoreOptions, Timestamp, Writer, WriterOptions,
};

/// Items of one state of a mailbox: container, time, word, whether the subject is long.
type State = Vec<(u8, u8, u8)>;

const WORDS: [&str; 6] = [
    "Bridge",
    "ÉVA müsste",
    "a\"b",
    "Lunch at 12",
    "ab",
    "İstanbul OFFER",
];

struct World {
    writer: Writer,
    directory: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let create = CreateOptions {
            kdf: KdfParams::minimum(),
        };
        let backend: Arc<dyn Backend> = Arc::new(MemoryBackend::new());
        let options = StoreOptions {
            offload: Arc::new(InlineOffload),
            ..StoreOptions::default()
        };
        let store = Store::create(backend, &Passphrase::new("words"), create, options).await;
        let options = WriterOptions {
            run: RunId::from_bytes([1; 16]),
            spool_dir: directory.path().join("spool"),
            adopts: Vec::new(),
        };
        let writer = store.unwrap().begin(options).await.unwrap();
        Self { writer, directory }
    }

    /// Publishes a state of a mailbox; its folders are named anew when `names` differs.
    async fn publish(&self, mailbox: &str, sequence: u64, names: u8, state: &State) {
        let containers = [
            container("0", None, "Inbox"),
            container("1", Some("0"), &format!("Projects {names}")),
        ];
        let mut items: Vec<_> = state
            .iter()
            .map(|(folder, time, word)| {
                let word = usize::from(*word);
                let name = format!("{} {}", WORDS[word % 6], WORDS[word / 6 % 6]);
                let id = format!("{time}");
                let mut item = item(&(folder % 3).to_string(), (*time).into(), &id, &name);
                item.sender = (word % 2 == 0).then(|| format!("Dana{word}@contoso.example"));
                item.recipients = vec![WORDS[word % 5].to_owned(), "Éva@contoso.example".into()];
                if word % 7 == 0 {
                    item.kind = ItemKind::File;
                }
                item
            })
            .collect();
        items.sort_by_key(|item| item.key.encode());
        items.dedup_by_key(|item| item.key.encode());
        let made = snapshot(&self.writer, &containers, &items).await;
        let made = Snapshot {
            resource: resource(mailbox),
            token: self.writer.claim_token(),
            sequence,
            ..made
        };
        self.writer.publish(vec![made]).await.unwrap();
    }

    async fn cache(&self) -> BrowseCache {
        let path = self.directory.path().join("browse.sqlite");
        BrowseCache::open(self.writer.store(), &path).await.unwrap()
    }

    /// Compares cache and scan in every snapshot; returns how much was found.
    async fn compare(&self, cache: &BrowseCache, filter: &Filter) -> usize {
        let hits = cache.search(filter, None, usize::MAX).await.unwrap();
        let mut count = 0;
        for entry in self.writer.store().snapshots().await.unwrap() {
            let browse = Browse::new(self.writer.store(), &entry.snapshot);
            let mut scan = Search::begin(&browse, filter).await.unwrap();
            let mut scanned = BTreeSet::new();
            while let Some(found) = scan.next().await {
                let found = found.unwrap();
                scanned.insert((found.path, found.item.key.encode(), found.item.encode()));
            }
            let in_this = hits.iter().filter(|hit| {
                hit.snapshots.contains(&entry.id) && hit.resource == entry.snapshot.resource.id
            });
            let cached: BTreeSet<_> = in_this
                .map(|hit| (hit.path.clone(), hit.item.key.encode(), hit.item.encode()))
                .collect();
            assert_eq!(cached, scanned, "{filter:?}");
            count += scanned.len();
        }
        assert_eq!(
            hits.iter().map(|hit| hit.snapshots.len()).sum::<usize>(),
            count
        );
        count
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}

fn filters() -> Vec<Filter> {
    let text = |text: &str| Some(text.to_owned());
    let words = |words: &[&str]| Filter {
        words: words.iter().map(|word| (*word).to_owned()).collect(),
        ..Filter::default()
    };
    let base = Filter::default;
    vec![
        base(),
        Filter {
            text: text("BRIDGE"),
            ..base()
        },
        Filter {
            text: text("éva"),
            ..base()
        },
        Filter {
            text: text("a\"b"),
            ..base()
        },
        Filter {
            name: text("ab"),
            ..base()
        },
        Filter {
            name: text("at 12 br"),
            ..base()
        },
        Filter {
            name: text("İstanbul"),
            ..base()
        },
        Filter {
            sender: text("dana1"),
            ..base()
        },
        Filter {
            recipient: text("müsste"),
            sender: text("contoso"),
            ..base()
        },
        Filter {
            path: text("inbox/projects 1"),
            ..base()
        },
        Filter {
            path: text("/Inbox/"),
            name: text("offer"),
            ..base()
        },
        Filter {
            path: text(""),
            ..base()
        },
        Filter {
            kind: Some(ItemKind::File),
            ..base()
        },
        Filter {
            created: Some(Timestamp::from_millis(3)..Timestamp::from_millis(9)),
            ..base()
        },
        words(&["BRIDGE", "projects"]),
        words(&["dana", "offer", "at"]),
        words(&["*bridge", "inbox"]),
        words(&["éva", "b?x*"]),
        words(&["a\"b"]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn cache_and_scan_find_the_same(
        states in prop::collection::vec(
            (any::<bool>(), 0u8..2, prop::collection::vec((0u8..3, 0u8..12, 0u8..36), 0..12)), 1..6),
    ) {
        run(async {
            let world = World::new().await;
            for (sequence, (other, names, state)) in (1..).zip(&states) {
                let mailbox = if *other { "dana" } else { "alex" };
                world.publish(mailbox, sequence, *names, state).await;
                // Filled now and then, not after each.
                if sequence % 2 == 0 {
                    world.cache().await.fill().await.unwrap();
                }
            }
            let cache = world.cache().await;
            cache.fill().await.unwrap();
            for filter in filters() {
                world.compare(&cache, &filter).await;
            }
        });
    }
}

#[test]
fn a_damaged_cache_is_built_anew_and_only_its_owner_reads_it() {
    run(async {
        let world = World::new().await;
        world
            .publish("alex", 1, 0, &vec![(0, 1, 0), (1, 2, 7), (2, 3, 14)])
            .await;
        let cache = world.cache().await;
        assert!(cache.is_built_anew());
        let report = cache.fill().await.unwrap();
        assert_eq!((report.added, report.differences), (1, 3));
        assert_eq!(cache.fill().await.unwrap().added, 0);
        assert_eq!(world.compare(&cache, &Filter::default()).await, 3);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(cache.path())
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let path = cache.path().to_owned();
        drop(cache);
        assert!(!world.cache().await.is_built_anew());
        let mut bytes = std::fs::read(&path).unwrap();
        let half = bytes.len() / 2;
        bytes[half..].fill(0x5a);
        std::fs::write(&path, bytes).unwrap();
        let cache = world.cache().await;
        assert!(cache.is_built_anew());
        cache.fill().await.unwrap();
        assert_eq!(world.compare(&cache, &Filter::default()).await, 3);
    });
}
