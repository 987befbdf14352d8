//! Lists the public folders of a simulated tenant, with how many items each holds.
//!
//! Nothing leaves this process. Against a real tenant only the transport, the cloud and the
//! credentials differ.
#![allow(clippy::print_stdout, reason = "an example shows its result")]

use std::error::Error;
use std::sync::Arc;

use m365_auth::{CachedTokenProvider, Cloud, Secret, ServiceTransport, SystemEnvironment};
use m365_auth::{TokenClient, TokenProvider, Transport};
use m365_ews::{EwsClient, EwsOptions, FindItem, GetItem, Parent};
use m365_simulator::{Tenant, TenantSpec};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let tenant = Tenant::generate(TenantSpec {
        users: 1,
        messages_per_user: 1,
        files_per_user: 0,
        logical_bytes: 10_000,
        ..TenantSpec::default()
    })?;
    let alice = tenant.users().swap_remove(0).principal_name;
    let projects = tenant
        .add_public_folder(None, "Projects")
        .ok_or("no root")?;
    let apollo = tenant
        .add_public_folder(Some(&projects), "Apollo")
        .ok_or("no parent")?;
    tenant.add_public_folder(None, "Company news");
    tenant.add_public_item(
        &apollo,
        "Kick-off",
        "Subject: Kick-off\r\n\r\nTomorrow at nine.\r\n",
    );

    let client = client(&tenant)?.impersonating(alice);
    let mut open = vec![(0, Parent::PublicFoldersRoot)];
    while let Some((depth, parent)) = open.pop() {
        for folder in client.folders_in(&parent).await? {
            let items = folder.items.unwrap_or(0);
            println!("{}{} ({items} items)", "  ".repeat(depth), folder.name);
            let inside = Parent::Id(folder.id);
            let found = client.one(&FindItem::new(inside.clone())).await?;
            for item in client
                .call(&GetItem::new(found.entries.into_iter().map(|item| item.id)))
                .await?
            {
                for item in item? {
                    println!(
                        "{}- {}",
                        "  ".repeat(depth + 1),
                        item.subject.unwrap_or_default()
                    );
                }
            }
            open.push((depth + 1, inside));
        }
    }
    Ok(())
}

fn client(tenant: &Tenant) -> Result<EwsClient, Box<dyn Error>> {
    let (urls, app, service) = (tenant.urls().clone(), tenant.app(), tenant.clone());
    let transport: Arc<dyn Transport> = Arc::new(ServiceTransport::new(move |request| {
        let tenant = service.clone();
        async move { tenant.handle(request).await }
    }));
    let (login, graph, ews) = (urls.login.as_str(), urls.graph.as_str(), urls.ews.as_str());
    let cloud = Cloud::from_record("simulated", login, graph, ews)?;
    let environment = Arc::new(SystemEnvironment);
    let secret = Secret::new(app.client_secret);
    let tokens = TokenClient::client_secret(
        Arc::clone(&transport),
        &cloud,
        &app.tenant_id,
        &app.client_id,
        secret,
        environment.clone(),
    );
    let tokens: Arc<dyn TokenProvider> =
        Arc::new(CachedTokenProvider::new(Arc::new(tokens?), environment));
    Ok(EwsClient::new(
        transport,
        tokens,
        &cloud,
        EwsOptions::default(),
    )?)
}
