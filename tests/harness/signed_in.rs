//! A Graph client that signed in by the secret of an app and retries nothing.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each program that speaks to a tenant has its own copy"
)]

use std::sync::Arc;

use m365_auth::{CachedTokenProvider, Cloud, RetryPolicy, Secret, TokenClient, Transport};
use m365_graph::{GraphClient, GraphOptions};
use m365_simulator::Tenant;

/// An app that is registered with a tenant.
pub struct App {
    pub cloud: Cloud,
    pub tenant: String,
    pub id: String,
    pub secret: String,
}

impl App {
    /// The app that a simulated tenant knows.
    pub fn of(tenant: &Tenant) -> Self {
        let (urls, app) = (tenant.urls(), tenant.app());
        let (login, graph, ews) = (urls.login.as_str(), urls.graph.as_str(), urls.ews.as_str());
        Self {
            cloud: Cloud::from_record("simulated", login, graph, ews).unwrap(),
            tenant: app.tenant_id,
            id: app.client_id,
            secret: app.client_secret,
        }
    }

    /// Signs in: tokens go by one transport, all other requests by the other.
    pub fn client(
        &self,
        login: Arc<dyn Transport>,
        service: Arc<dyn Transport>,
        options: GraphOptions,
    ) -> GraphClient {
        let secret = Secret::new(self.secret.as_str());
        let clock = options.environment.clone();
        let tokens = TokenClient::client_secret(
            login,
            &self.cloud,
            &self.tenant,
            &self.id,
            secret,
            clock.clone(),
        );
        let tokens = CachedTokenProvider::new(Arc::new(tokens.unwrap()), clock);
        let options = GraphOptions {
            retry: RetryPolicy::none(),
            ..options
        };
        GraphClient::new(service, Arc::new(tokens), &self.cloud, options).unwrap()
    }
}
