//! Connect: builds the store and the clients from options, config and secrets.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use backup_store::catalog::SnapshotEntry;
use backup_store::{ErrorKind, LocalBackend, StopSignal, Store, StoreOptions, Unlock};
use m365_auth::{
    CachedTokenProvider, Cloud, ReqwestTransport, RetryPolicy, Secret, SystemEnvironment,
    TokenClient, Transport, TransportOptions,
};
use m365_graph::{GraphClient, GraphOptions};

use crate::args::GlobalArgs;
use crate::config::{CloudChoice, Config};
use crate::failure::{Failure, Result, from_auth, from_graph, from_store, no_store};
use crate::output::Output;
use crate::{platform, secrets};

/// What every command works with.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) global: GlobalArgs,
    pub(crate) output: Output,
    pub(crate) stop: StopSignal,
}

impl Context {
    /// Gathers what every command works with.
    pub(crate) fn new(global: GlobalArgs, output: Output, stop: StopSignal) -> Self {
        Self {
            global,
            output,
            stop,
        }
    }

    /// Reads the config, if one is named.
    pub(crate) fn config(&self) -> Result<Option<Config>> {
        self.global.config.as_deref().map(Config::read).transpose()
    }

    /// Reads the config of a command that cannot do without.
    pub(crate) fn required_config(&self) -> Result<Config> {
        self.config()?.ok_or_else(|| {
            Failure::usage("this command needs the config of a backup set").next(
                "name it with --config FILE; write one with: m365-backup init --write-config FILE",
            )
        })
    }

    /// Returns where the store is, by option or config.
    pub(crate) fn store_path(&self, config: Option<&Config>) -> Result<PathBuf> {
        let named = self.global.store.as_ref();
        named
            .or_else(|| config.and_then(|config| config.store.as_ref()))
            .cloned()
            .ok_or_else(|| {
                Failure::usage("no store is named")
                    .next("name it with --store PATH, or in the config with --config FILE")
            })
    }

    /// Opens the store; with a config, its index is cached on this machine.
    pub(crate) async fn open_store(&self, config: Option<&Config>) -> Result<OpenStore> {
        let place = self.store_path(config)?;
        let unlock = |_: &Path| secrets::unlock(&self.global, config);
        self.open_store_at(place, unlock, config).await
    }

    /// Opens the store in `place`; the secret is asked for once it is known that there is a store.
    pub(crate) async fn open_store_at(
        &self,
        place: PathBuf,
        unlock: impl FnOnce(&Path) -> Result<Unlock>,
        config: Option<&Config>,
    ) -> Result<OpenStore> {
        let explain = |error| from_store("open", &place, &error);
        let backend = LocalBackend::open(&place).map_err(|error| match error.kind() {
            ErrorKind::NotFound => no_store(&place, &error),
            _ => explain(error),
        })?;
        let unlock = unlock(&place)?;
        let options = StoreOptions {
            cache_dir: config.and_then(state_base).map(|base| base.join("cache")),
            ..StoreOptions::default()
        };
        let store = Store::open(Arc::new(backend), unlock, options)
            .await
            .map_err(explain)?;
        Ok(self.opened(store, place))
    }

    /// Takes note of where an open store is.
    pub(crate) fn opened(&self, store: Store, place: PathBuf) -> OpenStore {
        OpenStore {
            store,
            place,
            output: self.output.clone(),
        }
    }
}

/// A store together with where it is, which every message about it names.
#[derive(Debug, Clone)]
pub(crate) struct OpenStore {
    pub(crate) store: Store,
    pub(crate) place: PathBuf,
    output: Output,
}

impl OpenStore {
    /// Lists the snapshots, oldest first, and warns of those that cannot be read.
    pub(crate) async fn snapshots(&self) -> Result<Vec<SnapshotEntry>> {
        let listing = self
            .store
            .snapshot_listing()
            .await
            .map_err(self.failed("read"))?;
        for (name, error) in listing.damaged {
            self.output
                .warn(&format!("snapshots in {name} cannot be read: {error}"));
        }
        Ok(listing.snapshots)
    }

    /// Explains a failure of this store.
    pub(crate) fn failed(&self, doing: &str) -> impl Fn(backup_store::Error) -> Failure + '_ {
        let doing = doing.to_owned();
        move |error| from_store(&doing, &self.place, &error)
    }
}

/// Returns the folder where this machine keeps what makes runs of this set cheap to resume.
///
/// *Shape*: the config's `state`, else a folder of the platform, with the store's id below it: a
/// journal belongs to one store.
pub(crate) fn state_folder(config: Option<&Config>, store: &Store) -> Result<PathBuf> {
    let base = config.map_or_else(platform::state_folder, state_base);
    let base = base.ok_or_else(|| {
        Failure::usage("this platform names no folder for the state of programs")
            .next("set `state` in the config")
    })?;
    Ok(base.join(store.id().to_string()))
}

/// Returns where this machine keeps caches and journals of a set: all of it may be lost.
fn state_base(config: &Config) -> Option<PathBuf> {
    config.state.clone().or_else(platform::state_folder)
}

/// Builds the client of the tenant that `config` names.
///
/// `retry` is off for the engines, which decide themselves when to try again.
pub(crate) fn graph_client(config: &Config, retry: RetryPolicy) -> Result<GraphClient> {
    let secret = secrets::read(&config.tenant.client_secret, "the client secret")?;
    let mut network = TransportOptions::default();
    USER_AGENT.clone_into(&mut network.user_agent);
    let transport = ReqwestTransport::new(&network)
        .map_err(|error| from_auth("prepare the network", &error))?;
    let cloud = cloud(&config.tenant.cloud)?;
    let login = Login {
        tenant: &config.tenant.id,
        client_id: &config.tenant.client_id,
        secret,
    };
    client(Arc::new(transport), &cloud, login, retry)
}

/// As whom the program speaks to a tenant.
#[derive(Debug)]
pub(crate) struct Login<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) secret: Secret,
}

/// Builds a client over any transport.
pub(crate) fn client(
    transport: Arc<dyn Transport>,
    cloud: &Cloud,
    login: Login<'_>,
    retry: RetryPolicy,
) -> Result<GraphClient> {
    let environment = Arc::new(SystemEnvironment);
    let tokens = TokenClient::client_secret(
        transport.clone(),
        cloud,
        login.tenant,
        login.client_id,
        login.secret,
        environment.clone(),
    )
    .map_err(|error| from_auth("prepare the login", &error))?;
    let tokens = Arc::new(CachedTokenProvider::new(Arc::new(tokens), environment));
    let options = GraphOptions {
        retry,
        user_agent: USER_AGENT.to_owned(),
        ..GraphOptions::default()
    };
    GraphClient::new(transport, tokens, cloud, options)
        .map_err(|error| from_graph("prepare the client", &error))
}

fn cloud(choice: &CloudChoice) -> Result<Cloud> {
    match choice {
        CloudChoice::Named(name) => Cloud::by_name(name).ok_or_else(|| {
            Failure::usage(format!("the config names an unknown cloud, {name:?}"))
                .next("choose global, us-gov-l4, us-gov-l5 or china, or give login, graph and ews")
        }),
        CloudChoice::Custom(custom) => {
            let (login, graph) = (custom.login.clone(), custom.graph.clone());
            Cloud::from_urls("custom", login, graph, custom.ews.clone())
                .map_err(|error| from_auth("read the cloud of the config", &error))
        }
    }
}

/// How the program introduces itself; Microsoft asks for this shape of decoration.
const USER_AGENT: &str = concat!("ISV|m365-backup|m365-backup/", env!("CARGO_PKG_VERSION"));
