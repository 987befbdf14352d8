//! Embeds the engine: backs up a simulated tenant twice, and prints what each run cost.
//!
//! Run it with `cargo run --example embed_backup`; it needs no account and no network.

#![allow(clippy::print_stdout, reason = "an example prints")]

use std::sync::Arc;

use backup_engine::{
    BackupJob, BackupOptions, Event, Observer, OneDriveSource, OutlookSource, Source,
};
use backup_store::{CreateOptions, MemoryBackend, Passphrase, StopSignal, Store, StoreOptions};
use m365_auth::{CachedTokenProvider, Cloud, RetryPolicy, Secret, ServiceTransport};
use m365_auth::{SystemEnvironment, TokenClient, Transport};
use m365_graph::{GraphClient, GraphOptions};
use m365_simulator::{Tenant, TenantSpec};

type AnyError = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let tenant = Tenant::generate(TenantSpec {
        users: 4,
        messages_per_user: 50,
        files_per_user: 10,
        logical_bytes: 4 << 20,
        ..TenantSpec::default()
    })?;
    let client = sign_in(&tenant)?;
    let passphrase = Passphrase::new("correct horse battery staple");
    let backend = Arc::new(MemoryBackend::new());
    let (create, open) = (CreateOptions::default(), StoreOptions::default());
    let store = Store::create(backend, &passphrase, create, open).await?;
    let state = tempfile::tempdir()?;
    let sources: Vec<Arc<dyn Source>> = vec![
        Arc::new(OutlookSource::new(client.clone())),
        Arc::new(OneDriveSource::new(client)),
    ];
    let options = BackupOptions {
        state_dir: state.path().to_owned(),
        ..BackupOptions::default()
    };
    let job = BackupJob::new(store, sources, options);
    for name in ["first", "idle"] {
        tenant.reset_counters();
        let report = job.run(&Progress, &StopSignal::new()).await?;
        println!(
            "{name}: {}, {} resources, {} items stored, {} requests",
            report.outcome.as_str(),
            report.resources.len(),
            report.totals.stored,
            tenant.counters().billed(),
        );
    }
    Ok(())
}

/// Signs in as an application. The client retries nothing: when to try again is for the engine.
fn sign_in(tenant: &Tenant) -> Result<GraphClient, AnyError> {
    let service = tenant.clone();
    let transport: Arc<dyn Transport> = Arc::new(ServiceTransport::new(move |request| {
        let service = service.clone();
        async move { service.handle(request).await }
    }));
    let environment = Arc::new(SystemEnvironment);
    let (urls, app) = (tenant.urls(), tenant.app());
    let (login, graph, ews) = (urls.login.as_str(), urls.graph.as_str(), urls.ews.as_str());
    let cloud = Cloud::from_record("simulated", login, graph, ews)?;
    let tokens = TokenClient::client_secret(
        transport.clone(),
        &cloud,
        &app.tenant_id,
        &app.client_id,
        Secret::new(app.client_secret),
        environment.clone(),
    )?;
    let tokens = Arc::new(CachedTokenProvider::new(Arc::new(tokens), environment));
    let options = GraphOptions {
        retry: RetryPolicy::none(),
        ..GraphOptions::default()
    };
    Ok(GraphClient::new(transport, tokens, &cloud, options)?)
}

/// Prints how far a run has come.
#[derive(Debug)]
struct Progress;

impl Observer for Progress {
    fn event(&self, event: &Event) {
        if let Event::ResourceFinished { report, .. } = event {
            let name = &report.resource.name;
            println!(
                "  {name}: {:?}, {} items seen",
                report.outcome, report.totals.seen
            );
        }
    }
}
