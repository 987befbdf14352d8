//! Signs in to a simulated tenant in every way that needs no person, and in those that do with a
//! simulated one. Runs offline.
//!
//! `cargo run -p m365-auth --example every_way_in`

use std::error::Error;
use std::sync::Arc;

use http::Request;
use m365_auth::{
    AuthorizationOptions, Body, CachedTokenProvider, CallbackAnswer, Cloud, ConsentRequest,
    Credential, Environment, ManagedIdentity, ManagedIdentityEndpoint, ManagedIdentityName,
    MemoryTokenStore, ServiceTransport, SignIn, SystemEnvironment, TokenClient, TokenContents,
    TokenProvider, Transport, UserTokenProvider,
};
use m365_simulator::{Tenant, TenantSpec};

#[tokio::main(flavor = "current_thread")]
#[allow(clippy::print_stdout, reason = "an example speaks to a person")]
async fn main() -> Result<(), Box<dyn Error>> {
    let tenant = Tenant::generate(TenantSpec {
        users: 1,
        messages_per_user: 1,
        files_per_user: 0,
        logical_bytes: 10_000,
        ..TenantSpec::default()
    })?;
    tenant.set_device_patience(0);
    let (urls, app, service) = (tenant.urls().clone(), tenant.app(), tenant.clone());
    let transport: Arc<dyn Transport> = Arc::new(ServiceTransport::new(move |request| {
        let tenant = service.clone();
        async move { tenant.handle(request).await }
    }));
    let clock: Arc<dyn Environment> = Arc::new(SystemEnvironment);
    let cloud = Cloud::from_urls("simulated", urls.login, urls.graph, urls.ews)?;
    let graph = cloud.graph_audience();

    let secret = Credential::secret(app.client_secret);
    let (id, client) = (&app.tenant_id, &app.client_id);
    let application =
        TokenClient::new(transport.clone(), &cloud, id, client, secret, clock.clone())?;
    let application = CachedTokenProvider::new(Arc::new(application), clock.clone());
    show("the application", &application, &graph).await?;

    let address = cloud.authority.join("metadata/identity/oauth2/token")?;
    let machine = ManagedIdentity::new(
        transport.clone(),
        ManagedIdentityEndpoint::LikeVirtualMachine(address),
        ManagedIdentityName::SystemAssigned,
        clock.clone(),
    )?;
    show("the machine", &machine, &graph).await?;

    let public = Credential::public();
    let sign_in = SignIn::new(transport.clone(), &cloud, id, client, public, clock)?;
    let scopes = [graph.default_scope()];
    let redirect = sign_in.paste_redirect()?;
    let begun = sign_in.begin(&redirect, &scopes, &AuthorizationOptions::default())?;
    println!("a person opens {}…", &begun.url().as_str()[..60]);
    let pasted = browse(&*transport, begun.url().as_str()).await?;
    let answer = CallbackAnswer::from_paste(&pasted, &begun)?;
    let signed_in = sign_in.finish(begun, &answer).await?;
    let store = Arc::new(MemoryTokenStore::new());
    let person = UserTokenProvider::new(sign_in.clone(), store, "the person");
    person.adopt(&signed_in).await?;
    show("the person", &person, &graph).await?;

    let device = sign_in.begin_device(&scopes).await?;
    println!("{}", device.message());
    let signed_in = sign_in.wait_for_device(&device).await?;
    println!("the device: {} scopes", signed_in.scopes().len());

    let scope = graph.default_scope();
    let consent = ConsentRequest::new(&cloud, id, client, &scope, "http://localhost", "state")?;
    let answer = browse(&*transport, consent.url().as_str()).await?;
    println!(
        "an administrator consents: {:?}",
        consent.answer(&answer)?.scope()
    );
    Ok(())
}

#[allow(clippy::print_stdout, reason = "an example speaks to a person")]
async fn show(
    who: &str,
    tokens: &dyn TokenProvider,
    audience: &m365_auth::Audience,
) -> Result<(), Box<dyn Error>> {
    let token = tokens.token(audience).await?;
    let contents = TokenContents::of(&token);
    let may = contents.is_some_and(|contents| contents.permits("Mail.ReadWrite"));
    println!("{who} has a token; it may write mail: {may}");
    Ok(())
}

/// Does what a browser does: opens the page, and says where it ends.
async fn browse(transport: &dyn Transport, url: &str) -> Result<String, Box<dyn Error>> {
    let response = transport
        .send(Request::get(url).body(Body::empty())?)
        .await?;
    let target = response.headers().get("location").ok_or("no redirect")?;
    Ok(target.to_str()?.to_owned())
}
