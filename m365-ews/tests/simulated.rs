//! Stories against the simulated tenant, in process.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

use std::sync::Arc;
use std::time::Duration;

use m365_auth::{
    BasicCredential, CachedTokenProvider, Cloud, RetryPolicy, Secret, ServiceTransport,
};
use m365_auth::{SystemEnvironment, TokenClient, TokenProvider, Transport};
use m365_ews::FindFolder;
use m365_ews::{ErrorKind, EwsClient, EwsOptions, FindItem, FolderId, GetItem, ItemId, Parent};
use m365_simulator::{Tenant, TenantSpec};

struct World {
    tenant: Tenant,
    client: EwsClient,
    user: String,
    transport: Arc<dyn Transport>,
    cloud: Cloud,
}

fn world(retry: RetryPolicy) -> World {
    let tenant = Tenant::generate(TenantSpec {
        users: 1,
        messages_per_user: 1,
        files_per_user: 0,
        logical_bytes: 10_000,
        ..TenantSpec::default()
    })
    .unwrap();
    let (urls, app, service) = (tenant.urls().clone(), tenant.app(), tenant.clone());
    let transport: Arc<dyn Transport> = Arc::new(ServiceTransport::new(move |request| {
        let tenant = service.clone();
        async move { tenant.handle(request).await }
    }));
    let (login, graph, ews) = (urls.login.as_str(), urls.graph.as_str(), urls.ews.as_str());
    let cloud = Cloud::from_record("simulated", login, graph, ews).unwrap();
    let environment = Arc::new(SystemEnvironment);
    let tokens = TokenClient::client_secret(
        Arc::clone(&transport),
        &cloud,
        &app.tenant_id,
        &app.client_id,
        Secret::new(app.client_secret),
        environment.clone(),
    )
    .unwrap();
    let tokens: Arc<dyn TokenProvider> =
        Arc::new(CachedTokenProvider::new(Arc::new(tokens), environment));
    let mut options = EwsOptions::default();
    options.retry = retry;
    let user = tenant.users()[0].principal_name.clone();
    let client = EwsClient::new(transport.clone(), tokens, &cloud, options).unwrap();
    let client = client.impersonating(&user);
    World {
        tenant,
        client,
        user,
        transport,
        cloud,
    }
}

#[tokio::test]
async fn public_folders_and_their_items_are_read_page_by_page() {
    let World { tenant, client, .. } = world(RetryPolicy::none());
    let news = tenant.add_public_folder(None, "News & <views>").unwrap();
    tenant.add_public_folder(Some(&news), "Archive").unwrap();
    let mime = "Subject: S\r\n\r\nbody \u{fc}\r\n";
    let items: Vec<String> = (0..7)
        .map(|n| {
            tenant
                .add_public_item(&news, &format!("S{n}"), mime)
                .unwrap()
        })
        .collect();

    let top = client.folders_in(&Parent::PublicFoldersRoot).await.unwrap();
    assert_eq!(top.len(), 1);
    assert_eq!(
        (top[0].name.as_str(), top[0].items),
        ("News & <views>", Some(7))
    );
    assert!(
        top[0]
            .id
            .change_key
            .as_deref()
            .unwrap()
            .starts_with("AQAAABYAAA")
    );
    let parent = Parent::Id(top[0].id.clone());
    assert_eq!(client.folders_in(&parent).await.unwrap()[0].name, "Archive");

    let mut found = Vec::new();
    let mut offset = Some(0);
    let mut pages = 0;
    while let Some(from) = offset {
        let find = FindItem::new(parent.clone()).with_page(3).from_offset(from);
        let page = client.one(&find).await.unwrap();
        assert_eq!(page.paging.total, Some(7));
        found.extend(page.entries.into_iter().map(|item| item.id.id));
        offset = page.paging.next;
        pages += 1;
    }
    assert_eq!((found, pages), (items.clone(), 3));

    let ids = [ItemId::new(&items[0]), ItemId::new("AAEugone")];
    let outcomes = client.call(&GetItem::new(ids).with_mime()).await.unwrap();
    let first = &outcomes[0].as_ref().unwrap()[0];
    assert_eq!(first.mime.as_deref(), Some(mime.as_bytes()));
    assert_eq!(
        (first.subject.as_deref(), first.kind.as_str()),
        (Some("S0"), "Message")
    );
    let gone = outcomes[1].as_ref().unwrap_err();
    assert_eq!(
        (gone.kind(), gone.code()),
        (ErrorKind::NotFound, Some("ErrorItemNotFound"))
    );
}

#[tokio::test]
async fn the_folders_of_a_mailbox_are_read_as_well() {
    let World { client, .. } = world(RetryPolicy::none());
    let folders = client.folders_in(&Parent::MsgFolderRoot).await.unwrap();
    assert!(folders.len() >= 4, "{folders:?}");
    let missing = Parent::Id(FolderId::new("AAEunone"));
    let error = client.folders_in(&missing).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_busy_server_is_waited_for_as_long_as_it_says() {
    let World { tenant, client, .. } = world(RetryPolicy::standard());
    tenant.make_ews_busy(2, 180_000);
    let before = tokio::time::Instant::now();
    client.folders_in(&Parent::PublicFoldersRoot).await.unwrap();
    let waited = before.elapsed();
    assert!(waited >= Duration::from_secs(360), "{waited:?}");

    let World { tenant, client, .. } = world(RetryPolicy::none());
    tenant.make_ews_busy(1, 5000);
    let error = client
        .folders_in(&Parent::PublicFoldersRoot)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Throttled);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(5)));
}

#[tokio::test]
async fn refusals_say_what_is_wrong() {
    let World {
        tenant,
        client,
        user,
        ..
    } = world(RetryPolicy::none());
    let find = FindFolder::new(Parent::PublicFoldersRoot);
    let nobody = client.impersonating("nobody@contoso.example");
    assert_eq!(
        nobody.one(&find).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    tenant.turn_ews_off(true);
    let error = client.one(&find).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.is_retryable()),
        (ErrorKind::Disabled, false)
    );
    tenant.turn_ews_off(false);
    tenant.set_permissions(["Mail.ReadWrite"]);
    let error = client.impersonating(user).one(&find).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
}

#[tokio::test]
async fn a_server_that_takes_passwords_is_read_by_one() {
    let world = world(RetryPolicy::none());
    let (tenant, user) = (&world.tenant, world.user.as_str());
    let by_password = |name: &str, password: &str| {
        let credential = BasicCredential::new(name, &password.into()).unwrap();
        let (transport, options) = (Arc::clone(&world.transport), EwsOptions::default());
        EwsClient::with_password(transport, credential, &world.cloud, options).unwrap()
    };
    let password = tenant.password(user).unwrap();
    let find = FindFolder::new(Parent::PublicFoldersRoot);
    let client = by_password(user, &password);
    let error = client.one(&find).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    tenant.take_ews_passwords("nobody@contoso.example");
    client.one(&find).await.unwrap();
    let error = client.impersonating(user).one(&find).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden, "{error}");
    tenant.take_ews_passwords(user);
    client.impersonating(user).one(&find).await.unwrap();
    // As servers on premises call an account, too.
    let short = format!("CONTOSO\\{}", user.split('@').next().unwrap());
    by_password(&short, &password).one(&find).await.unwrap();
    let error = by_password(user, "wrong").one(&find).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the sign-in was refused; the server offers Basic (status 401)"
    );
}
