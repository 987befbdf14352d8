//! A destination in memory: counts effects, and can break off before or after any of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use backup_store::Store;
use backup_store::catalog::{Container, Item, ItemState, RepresentationKind, Service};
use m365_auth::Charge;
use restore_engine::{
    Error, ErrorKind, FoundContainer, LossCode, NewContainer, Occupant, Place, Result,
    ServiceLimits, Target, WriteCost, WriteJob, Written,
};

/// How an effect goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Break {
    /// The program ends before the effect.
    CrashBefore,
    /// The program ends after the effect, before it knows.
    CrashAfter,
    /// The effect happens, the answer is lost; the program lives.
    LostAnswer,
    /// The service refuses for a while.
    Throttled,
}

/// In what the destination is not to be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lying {
    Never,
    /// What is read back of items of this name differs.
    About(&'static str),
    /// Items of this name are refused.
    Refuses(&'static str),
    /// Items of this name are written and cannot be read, until they are mended.
    Hides(&'static str),
}

#[derive(Debug, Clone)]
struct Kept {
    container: String,
    name: String,
    source: Option<String>,
    content: Vec<u8>,
}

#[derive(Debug, Default)]
struct State {
    containers: BTreeMap<String, (String, String)>,
    well_known: BTreeMap<String, String>,
    items: BTreeMap<String, Kept>,
    finished: BTreeSet<String>,
    next: u32,
    effects: u32,
    breaks: Option<(u32, Break)>,
    mended: bool,
}

#[derive(Debug)]
pub(crate) struct MemoryTarget {
    service: Service,
    lying: Lying,
    state: Mutex<State>,
}

impl MemoryTarget {
    /// A mailbox (`Outlook`) with an inbox and sent items, or a drive.
    pub(crate) fn new(service: Service) -> Self {
        let mut state = State::default();
        if service == Service::Outlook {
            for (id, name) in [("inbox", "Inbox"), ("sentitems", "Sent Items")] {
                state
                    .containers
                    .insert(id.into(), ("root".into(), name.into()));
                state.well_known.insert(id.into(), id.into());
            }
        }
        Self {
            service,
            lying: Lying::Never,
            state: Mutex::new(state),
        }
    }

    pub(crate) fn lying(mut self, lying: Lying) -> Self {
        self.lying = lying;
        self
    }

    /// Lets effect number `at`, from 1, go wrong.
    pub(crate) fn break_at(&self, at: u32, how: Break) {
        let mut state = self.state.lock().unwrap();
        state.effects = 0;
        state.breaks = Some((at, how));
    }

    pub(crate) fn mend(&self) {
        let mut state = self.state.lock().unwrap();
        state.breaks = None;
        state.mended = true;
    }

    pub(crate) fn effects(&self) -> u32 {
        self.state.lock().unwrap().effects
    }

    /// Puts an item there that no restore wrote.
    fn put(&self, container: &str, name: &str, content: &[u8]) {
        let mut state = self.state.lock().unwrap();
        state.next += 1;
        let id = format!("other-{}", state.next);
        let (container, name) = (container.to_owned(), name.to_owned());
        let content = content.to_vec();
        state.items.insert(
            id,
            Kept {
                container,
                name,
                source: None,
                content,
            },
        );
    }

    /// Puts an item into the folder with this name, directly under the top.
    pub(crate) fn put_in(&self, folder: &str, name: &str, content: &[u8]) {
        let id = {
            let state = self.state.lock().unwrap();
            let mut found = state.containers.iter();
            let wanted = folder.trim_start_matches('/');
            found
                .find(|(_, (_, name))| name == wanted)
                .map(|(id, _)| id.clone())
                .unwrap()
        };
        self.put(&id, name, content);
    }

    /// Removes all items of this name.
    pub(crate) fn lose(&self, name: &str) {
        self.state
            .lock()
            .unwrap()
            .items
            .retain(|_, kept| kept.name != name);
    }

    /// Shows everything as sorted lines of path and content.
    pub(crate) fn show(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        let path = |id: &str| {
            let (mut at, mut path) = (id, String::new());
            while let Some((parent, name)) = state.containers.get(at) {
                path = format!("/{name}{path}");
                at = parent;
            }
            path
        };
        let folders = state.containers.keys().map(|id| {
            let done = if state.finished.contains(id) {
                " (finished)"
            } else {
                ""
            };
            format!("{}/{done}", path(id))
        });
        let items = state.items.values().map(|kept| {
            let content = String::from_utf8_lossy(&kept.content);
            format!("{}/{}: {content}", path(&kept.container), kept.name)
        });
        let mut lines: Vec<String> = folders.chain(items).collect();
        lines.sort();
        lines
    }

    fn effect<T>(&self, action: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        let mut state = self.state.lock().unwrap();
        state.effects += 1;
        let now = state.effects;
        let how = state
            .breaks
            .filter(|(at, _)| *at == now)
            .map(|(_, how)| how);
        let crash = || Err(Error::new(ErrorKind::Credential, "the program ended"));
        match how {
            Some(Break::CrashBefore) => crash(),
            Some(Break::Throttled) => {
                let refused = Error::new(ErrorKind::Throttled, "too many requests");
                Err(refused.with_retry_after(Duration::from_secs(30)))
            }
            Some(Break::CrashAfter) => action(&mut state).and_then(|_| crash()),
            Some(Break::LostAnswer) => action(&mut state)
                .and_then(|_| Err(Error::new(ErrorKind::Service, "the connection broke"))),
            None => action(&mut state),
        }
    }
}

fn digest(content: &[u8]) -> String {
    format!("{content:?}")
}

async fn stored(store: &Store, item: &Item) -> Result<Vec<u8>> {
    let content = item
        .representation(&RepresentationKind::Content)
        .expect("an available item");
    Ok(store.open_content(content).collect(1 << 20).await?)
}

#[async_trait]
impl Target for MemoryTarget {
    fn service(&self) -> Service {
        self.service.clone()
    }

    async fn charge(&self) -> Result<Charge> {
        Ok(Charge::at(["app", "tenant", "memory"]))
    }

    async fn place(&self) -> Result<Place> {
        Ok(Place::new(
            &self.service,
            "destination",
            "bob@contoso.example",
            "root",
        ))
    }

    fn names_are_unique(&self) -> bool {
        self.service == Service::OneDrive
    }

    fn standing_losses(&self) -> &'static [LossCode] {
        &[LossCode::NewIdentity]
    }

    fn limits(&self) -> ServiceLimits {
        ServiceLimits {
            units: 60,
            unit_window: Duration::from_secs(60),
            bytes: 1_000_000,
            byte_window: Duration::from_secs(1),
            concurrency: 1,
        }
    }

    fn cost(&self, item: &Item) -> WriteCost {
        WriteCost {
            requests: 2,
            units: 2,
            bytes: item.size_bytes,
            memory_bytes: item.size_bytes,
        }
    }

    fn unavailable(&self, item: &Item) -> Option<LossCode> {
        matches!(item.state, ItemState::Quarantined { .. }).then_some(LossCode::Quarantined)
    }

    async fn well_known(&self, name: &str) -> Result<Option<String>> {
        Ok(self.state.lock().unwrap().well_known.get(name).cloned())
    }

    async fn child_containers(&self, parent: &str) -> Result<Vec<FoundContainer>> {
        let state = self.state.lock().unwrap();
        let children = state
            .containers
            .iter()
            .filter(|(_, (above, _))| above == parent);
        let found = |(id, (_, name)): (&String, &(String, String))| FoundContainer {
            id: id.clone(),
            name: name.clone(),
        };
        Ok(children.map(found).collect())
    }

    async fn occupants(&self, container: &str) -> Result<Vec<Occupant>> {
        let state = self.state.lock().unwrap();
        let here = state
            .items
            .iter()
            .filter(|(_, kept)| kept.container == container);
        let names = self.names_are_unique();
        let occupant = |(id, kept): (&String, &Kept)| Occupant {
            id: id.clone(),
            name: if names {
                kept.name.clone()
            } else {
                String::new()
            },
            source_item: kept.source.clone().filter(|_| !names),
            size: kept.content.len() as u64,
            content_hash: names.then(|| digest(&kept.content)),
            ..Occupant::default()
        };
        Ok(here.map(occupant).collect())
    }

    async fn create_container(&self, parent: &str, new: &NewContainer) -> Result<String> {
        self.effect(|state| {
            state.next += 1;
            let id = format!("folder-{}", state.next);
            let taken = state
                .containers
                .values()
                .any(|(p, n)| p == parent && *n == new.name);
            assert!(!taken, "\"{}\" is created twice", new.name);
            state
                .containers
                .insert(id.clone(), (parent.to_owned(), new.name.clone()));
            Ok(id)
        })
    }

    async fn stored_hash(&self, store: &Store, item: &Item) -> Result<Option<String>> {
        Ok(Some(digest(&stored(store, item).await?)))
    }

    async fn write(&self, store: &Store, job: &WriteJob<'_>) -> Result<Written> {
        let content = stored(store, job.item).await?;
        if self.lying == Lying::Refuses(leak(job.name)) {
            return Err(Error::new(
                ErrorKind::Refused,
                format!("\"{}\": refused", job.name),
            ));
        }
        let names = self.names_are_unique();
        self.effect(|state| {
            let taken = state
                .items
                .values()
                .any(|kept| kept.container == job.container && names && kept.name == job.name);
            assert!(!taken, "\"{}\" is written over another one", job.name);
            state.next += 1;
            let id = format!("item-{}", state.next);
            let bytes = content.len() as u64;
            let kept = Kept {
                container: job.container.to_owned(),
                name: job.name.to_owned(),
                source: Some(job.item.key.id.clone()),
                content,
            };
            state.items.insert(id.clone(), kept);
            Ok(Written {
                id,
                bytes,
                losses: Vec::new(),
            })
        })
    }

    async fn find(&self, _: &Store, job: &WriteJob<'_>) -> Result<Option<Occupant>> {
        let state = self.state.lock().unwrap();
        let mut here = state
            .items
            .iter()
            .filter(|(_, kept)| kept.container == job.container);
        let found = here.find(|(_, kept)| {
            kept.source.as_ref() == Some(&job.item.key.id) && kept.name == job.name
        });
        Ok(found.map(|(id, kept)| Occupant {
            id: id.clone(),
            name: kept.name.clone(),
            source_item: kept.source.clone(),
            ..Occupant::default()
        }))
    }

    async fn verify(&self, store: &Store, job: &WriteJob<'_>, id: &str) -> Result<Vec<String>> {
        let wanted = stored(store, job.item).await?;
        let state = self.state.lock().unwrap();
        if self.lying == Lying::Hides(leak(&job.item.name)) && !state.mended {
            return Err(Error::new(ErrorKind::Service, "it cannot be read"));
        }
        let Some(kept) = state.items.get(id) else {
            return Ok(vec!["is gone".into()]);
        };
        let same = kept.content == wanted && self.lying != Lying::About(leak(&job.item.name));
        Ok(if same {
            Vec::new()
        } else {
            vec!["content differs".into()]
        })
    }

    fn interim_name(&self, item: &Item) -> String {
        if self.names_are_unique() {
            format!("{}.restoring", item.name)
        } else {
            item.name.clone()
        }
    }

    async fn rename(&self, id: &str, name: &str) -> Result<()> {
        self.effect(|state| {
            if let Some(kept) = state.items.get_mut(id) {
                kept.name = name.to_owned();
            }
            Ok(())
        })
    }

    async fn remove(&self, id: &str) -> Result<()> {
        self.effect(|state| {
            state.items.remove(id);
            Ok(())
        })
    }

    async fn finish_container(&self, _: &Store, id: &str, _: &Container) -> Result<()> {
        self.effect(|state| {
            state.finished.insert(id.to_owned());
            Ok(())
        })
    }
}

/// Names in tests are few; to compare with a constant one needs the same lifetime.
fn leak(name: &str) -> &'static str {
    Box::leak(name.to_owned().into_boxed_str())
}
