//! Tenant: from the config to the network, the tokens and the clients of the services.

use std::fs;
use std::sync::Arc;

use m365_auth::{
    BasicCredential, CachedTokenProvider, Charge, Cloud, LimitedTransport, LimiterMode, Proxy,
    QueueLimits, ReqwestTransport, RetryPolicy, Scheduler, SharedLimiter, SignIn,
    SystemEnvironment, TokenClient, TokenProvider, Transport, TransportOptions, UserTokenProvider,
};
use m365_ews::{EwsClient, EwsOptions};
use m365_graph::limits::{TenantSize, limit_table};
use m365_graph::{GraphClient, GraphOptions};

use super::identity;
use crate::config::{App, Config, CredentialChoice, EwsSignIn, Network, ProxyChoice};
use crate::failure::{Failure, Result, from_auth, from_ews, from_graph};
use crate::secrets;

/// What the program wants of the tenant; the config may name another app for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Backup,
    Restore,
}

/// The way to the services of a tenant.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) tokens: Arc<dyn TokenProvider>,
    pub(crate) cloud: Cloud,
}

impl Connection {
    /// Prepares the network and the sign-in; nothing is sent yet.
    pub(crate) fn new(config: &Config, purpose: Purpose) -> Result<Self> {
        let transport = transport(&config.network, false)?;
        let cloud = config.tenant.cloud.clone();
        let tokens = tokens(config, app(config, purpose), &transport)?;
        let tokens = Arc::new(CachedTokenProvider::new(
            tokens,
            Arc::new(SystemEnvironment),
        ));
        Ok(Self {
            transport,
            tokens,
            cloud,
        })
    }

    /// Returns the same way, on which requests keep to the limits of the services and leave a share
    /// of each day's budget, in percent, to others.
    pub(crate) fn limited(mut self, limiter: &SharedLimiter, mode: LimiterMode, left: u8) -> Self {
        let others = Charge::at(["app"]);
        let limited = LimitedTransport::new(self.transport, limiter.clone(), mode, others);
        self.transport = Arc::new(limited.leaving(left));
        self
    }

    /// Builds a client of Graph.
    ///
    /// `retry` is off for the engines, which decide themselves when to try again.
    pub(crate) fn graph(&self, retry: RetryPolicy) -> Result<GraphClient> {
        self.graph_with(GraphOptions {
            retry,
            ..GraphOptions::default()
        })
    }

    /// Builds a client of Graph that asks for a few entries at a time: enough to try it.
    pub(crate) fn graph_of_few(&self, retry: RetryPolicy) -> Result<GraphClient> {
        self.graph_with(GraphOptions {
            retry,
            list_page_size: 5,
            ..GraphOptions::default()
        })
    }

    fn graph_with(&self, options: GraphOptions) -> Result<GraphClient> {
        let options = GraphOptions {
            user_agent: USER_AGENT.to_owned(),
            ..options
        };
        let (transport, tokens) = (Arc::clone(&self.transport), Arc::clone(&self.tokens));
        GraphClient::new(transport, tokens, &self.cloud, options)
            .map_err(|error| from_graph("prepare the client", &error))
    }

    /// Builds a client of Exchange Web Services.
    pub(crate) fn ews(&self, sign_in: &EwsSignIn) -> Result<EwsClient> {
        let mut options = EwsOptions::default();
        options.retry = RetryPolicy::none();
        USER_AGENT.clone_into(&mut options.user_agent);
        let transport = Arc::clone(&self.transport);
        let client = match sign_in {
            EwsSignIn::Token => {
                EwsClient::new(transport, Arc::clone(&self.tokens), &self.cloud, options)
            }
            EwsSignIn::Password { user, password } => {
                let password = secrets::read(password, "the password for `tenant.ews`")?;
                let credential = BasicCredential::new(user, &password).map_err(|error| {
                    Failure::usage("cannot sign in to Exchange Web Services")
                        .because(&error)
                        .next("check `user` and `password` of `tenant.ews`")
                })?;
                EwsClient::with_password(transport, credential, &self.cloud, options)
            }
        };
        client.map_err(|error| from_ews("prepare the client", &error))
    }
}

/// Prepares the scheduler of an engine, with the limits that are published.
pub(crate) fn scheduler() -> Scheduler {
    let limiter = SharedLimiter::new(limit_table(TenantSize::default()));
    Scheduler::new(limiter, QueueLimits::default())
}

/// Builds the client that reads the tenant, for an engine that goes by `scheduler`.
pub(crate) fn graph_client(config: &Config, scheduler: &Scheduler) -> Result<GraphClient> {
    Connection::new(config, Purpose::Backup)?
        .limited(scheduler.limiter(), LimiterMode::Refuse, LEFT_BY_BACKUPS)
        .graph(RetryPolicy::none())
}

/// Builds the client that writes to the tenant, as `scheduler` and its limiter allow.
pub(crate) fn graph_client_for_restore(
    config: &Config,
    scheduler: &Scheduler,
    retry: RetryPolicy,
) -> Result<GraphClient> {
    Connection::new(config, Purpose::Restore)?
        .limited(scheduler.limiter(), LimiterMode::Wait, LEFT_BY_RESTORES)
        .graph(retry)
}

/// Returns the app that the config names for a purpose.
pub(crate) fn app(config: &Config, purpose: Purpose) -> &App {
    let tenant = &config.tenant;
    match (purpose, &tenant.restore) {
        (Purpose::Restore, Some(app)) => app,
        _ => &tenant.app,
    }
}

/// Prepares the sign-in of a person to an app.
pub(crate) fn sign_in(
    config: &Config,
    app: &App,
    transport: &Arc<dyn Transport>,
) -> Result<SignIn> {
    SignIn::new(
        Arc::clone(transport),
        &config.tenant.cloud,
        &config.tenant.id,
        app.client_id.as_deref().unwrap_or_default(),
        identity::credential(app)?,
        Arc::new(SystemEnvironment),
    )
    .map_err(|error| from_auth("prepare the login", &error))
}

/// Prepares the network; `direct` goes past every proxy.
pub(crate) fn transport(network: &Network, direct: bool) -> Result<Arc<dyn Transport>> {
    let mut options = TransportOptions::default();
    USER_AGENT.clone_into(&mut options.user_agent);
    options.proxy = match &network.proxy {
        _ if direct => Proxy::Direct,
        ProxyChoice::System => Proxy::System,
        ProxyChoice::Direct => Proxy::Direct,
        ProxyChoice::Server(server) => {
            let password = server
                .password
                .as_ref()
                .map(|source| secrets::read(source, "the password of the proxy"));
            Proxy::Server {
                url: server.url.to_string(),
                credentials: server.user.clone().zip(password.transpose()?),
                bypass: server.bypass.clone(),
            }
        }
    };
    if let Some(path) = &network.ca_file {
        let pem = fs::read(path)
            .map_err(|error| Failure::file("read the root certificates", path, &error))?;
        options.extra_roots_pem.push(pem);
    }
    let transport = ReqwestTransport::new(&options).map_err(|error| {
        Failure::usage("cannot prepare the network")
            .because(&error)
            .next("check `network` in the config")
    })?;
    Ok(Arc::new(transport))
}

fn tokens(
    config: &Config,
    app: &App,
    transport: &Arc<dyn Transport>,
) -> Result<Arc<dyn TokenProvider>> {
    if let CredentialChoice::Machine(machine) = app.credential {
        // The address is the machine's own: no proxy reaches it.
        let direct = self::transport(&config.network, true)?;
        return identity::machine(machine, app.client_id.as_deref(), direct);
    }
    if let Some(person) = &app.person {
        let store = identity::token_store(config, person, false)?;
        let sign_in = sign_in(config, app, transport)?;
        return Ok(Arc::new(UserTokenProvider::new(
            sign_in,
            store,
            &person.account,
        )));
    }
    let client = TokenClient::new(
        Arc::clone(transport),
        &config.tenant.cloud,
        &config.tenant.id,
        app.client_id.as_deref().unwrap_or_default(),
        identity::credential(app)?,
        Arc::new(SystemEnvironment),
    )
    .map_err(|error| from_auth("prepare the login", &error))?;
    Ok(Arc::new(client))
}

/// As whom the demo speaks to its tenant.
#[cfg(feature = "demo")]
#[derive(Debug)]
pub(crate) struct Login<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) secret: m365_auth::Secret,
}

/// Builds a client over any transport.
#[cfg(feature = "demo")]
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
    let connection = Connection {
        transport,
        tokens: Arc::new(CachedTokenProvider::new(Arc::new(tokens), environment)),
        cloud: cloud.clone(),
    };
    connection.graph(retry)
}

/// What a backup leaves of a day's budget to restores and checks, and a restore to checks, in percent.
const LEFT_BY_BACKUPS: u8 = 15;
const LEFT_BY_RESTORES: u8 = 5;

/// How the program introduces itself; Microsoft asks for this shape of decoration.
const USER_AGENT: &str = concat!("ISV|m365-backup|m365-backup/", env!("CARGO_PKG_VERSION"));
