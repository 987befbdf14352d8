//! The simulated tenant of the demo, and a client that reaches it without a socket.

use std::sync::Arc;

use m365_auth::{Cloud, RetryPolicy, Secret, ServiceTransport};
use m365_graph::GraphClient;
use m365_simulator::{ChangeSpec, Tenant, TenantSpec};

use super::DemoArgs;
use crate::connect::{Login, client};
use crate::failure::{Failure, Result, from_auth};

/// Makes the tenant.
pub(super) fn generate(args: &DemoArgs) -> Result<Tenant> {
    let spec = TenantSpec {
        seed: args.seed,
        users: args.users as usize,
        logical_bytes: BYTES_PER_USER * u64::from(args.users),
        mail_dir: args.mail.clone(),
        files_dir: args.files.clone(),
        ..TenantSpec::default()
    };
    Tenant::generate(spec).map_err(|error| {
        Failure::usage("cannot fill the simulated tenant")
            .because(&error)
            .next("check the folders given with --mail and --files")
    })
}

/// Lets the tenant change, and returns how many items that touched.
pub(super) fn change(tenant: &Tenant, seed: u64) -> u64 {
    let spec = ChangeSpec {
        seed: seed.wrapping_add(1),
        ..ChangeSpec::default()
    };
    tenant.change(&spec).changed_items
}

/// Builds a client of the tenant; no request leaves the process.
pub(super) fn client_of(tenant: &Tenant) -> Result<GraphClient> {
    let urls = tenant.urls();
    let (login, graph) = (urls.login.clone(), urls.graph.clone());
    let cloud = Cloud::from_urls("simulated", login, graph, urls.ews.clone())
        .map_err(|error| from_auth("prepare the client", &error))?;
    let app = tenant.app();
    let service = tenant.clone();
    let transport = ServiceTransport::new(move |request| {
        let tenant = service.clone();
        async move { tenant.handle(request).await }
    });
    let login = Login {
        tenant: &app.tenant_id,
        client_id: &app.client_id,
        secret: Secret::new(app.client_secret.clone()),
    };
    client(Arc::new(transport), &cloud, login, RetryPolicy::none())
}

/// 25 users make about 20,000 items and 1 GiB.
const BYTES_PER_USER: u64 = (1 << 30) / 25;
