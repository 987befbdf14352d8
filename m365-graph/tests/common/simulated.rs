//! A client of the simulated tenant, signed in for real, without a socket.

#![allow(unreachable_pub, reason = "each test binary has its own copy")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use m365_auth::{
    CachedTokenProvider, Cloud, Environment, RetryPolicy, Secret, SystemEnvironment, TokenClient,
    Transport,
};
use m365_graph::{GraphClient, GraphOptions};
use m365_simulator::Tenant;

/// Signs in to a tenant by its secret; what the client sends goes through `transport`.
pub fn signed_in(
    tenant: &Tenant,
    transport: Arc<dyn Transport>,
    options: GraphOptions,
) -> GraphClient {
    let urls = tenant.urls();
    let (login, graph, ews) = (urls.login.as_str(), urls.graph.as_str(), urls.ews.as_str());
    let cloud = Cloud::from_record("simulated", login, graph, ews).unwrap();
    let environment: Arc<dyn Environment> = Arc::new(SystemEnvironment);
    let app = tenant.app();
    let tokens = TokenClient::client_secret(
        Arc::clone(&transport),
        &cloud,
        &app.tenant_id,
        &app.client_id,
        Secret::new(app.client_secret),
        Arc::clone(&environment),
    );
    let tokens = CachedTokenProvider::new(Arc::new(tokens.unwrap()), environment);
    let options = GraphOptions {
        retry: RetryPolicy::none(),
        ..options
    };
    GraphClient::new(transport, Arc::new(tokens), &cloud, options).unwrap()
}
