//! SharePoint REST against the simulated tenant, signed in by a certificate as the service wants it,
//! and against hostile answers.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::{OneToken, Seen, header, lines};
use futures_util::stream;
use http::{Request, Response};
use m365_auth::{
    CachedTokenProvider, Certificate, Charge, Cloud, Credential, Environment, RetryPolicy,
    ServiceTransport, SystemEnvironment, TokenClient, Transport, Unit,
};
use m365_graph::{ErrorKind, GraphOptions, SharePointClient};
use m365_simulator::Tenant;
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};
use url::Url;

const LIST: &str = "22e03ef3-6ef4-424d-a1d3-92a337807c30";

fn tenant() -> Tenant {
    let tenant = Tenant::empty(1);
    tenant.add_site("sites/Plans", "Plans", "STS", 3);
    assert!(tenant.attach("sites/plans", LIST, 5, "it's 50 % & more.txt", b"hello"));
    assert!(tenant.give_role("sites/plans", "Plans Owners", "Full Control"));
    tenant
}

/// A client of a site of the tenant, signed in by that credential.
fn client(tenant: &Tenant, credential: Credential, site: &str) -> SharePointClient {
    let served = tenant.clone();
    let transport: Arc<dyn Transport> = Arc::new(ServiceTransport::new(move |request| {
        let tenant = served.clone();
        async move { tenant.handle(request).await }
    }));
    let urls = tenant.urls();
    let (login, graph, ews) = (urls.login.as_str(), urls.graph.as_str(), urls.ews.as_str());
    let cloud = Cloud::from_record("simulated", login, graph, ews).unwrap();
    let cloud = cloud.with_sharepoint_domain("sharepoint.example");
    let environment: Arc<dyn Environment> = Arc::new(SystemEnvironment);
    let app = tenant.app();
    let tokens = TokenClient::new(
        Arc::clone(&transport),
        &cloud,
        &app.tenant_id,
        &app.client_id,
        credential,
        Arc::clone(&environment),
    );
    let tokens = CachedTokenProvider::new(Arc::new(tokens.unwrap()), environment);
    let options = GraphOptions {
        retry: RetryPolicy::none(),
        ..GraphOptions::default()
    };
    let site = urls.sharepoint.join(site).unwrap();
    SharePointClient::new(transport, Arc::new(tokens), &cloud, &site, options).unwrap()
}

fn certificate(tenant: &Tenant) -> Credential {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let own = CertificateParams::default()
        .self_signed(&key)
        .unwrap()
        .pem();
    tenant.register_certificate(&own).unwrap();
    let pem = format!("{}{own}", key.serialize_pem());
    Credential::certificate(Certificate::from_pem(pem.as_bytes()).unwrap())
}

#[tokio::test]
async fn what_graph_does_not_tell_of_a_site_is_read_and_written() {
    let tenant = tenant();
    let site = client(&tenant, certificate(&tenant), "sites/Plans");
    let web = site.web().await.unwrap();
    assert_eq!(web.title.as_deref(), Some("Plans"));
    assert_eq!(
        (web.web_template.as_deref(), web.configuration),
        (Some("STS"), Some(3))
    );
    let roles = site.role_assignments(None).await.unwrap();
    let owners = &roles.items[0];
    let member = owners.member.as_ref().unwrap();
    assert_eq!(
        (member.title.as_deref(), member.principal_type),
        (Some("Plans Owners"), Some(8))
    );
    assert_eq!(owners.roles[0].name.as_deref(), Some("Full Control"));
    assert!(roles.next.is_none());

    let files = site.attachments(LIST, 5).await.unwrap();
    let name = files[0].file_name.clone().unwrap();
    assert_eq!((files.len(), name.as_str()), (1, "it's 50 % & more.txt"));
    let content = site.attachment(LIST, 5, &name).await.unwrap();
    assert_eq!(content.collect(99).await.unwrap(), "hello");
    let large = vec![7; 3_000_000];
    let made = site
        .add_attachment(LIST, 6, "é+#1.bin", large.clone())
        .await;
    assert_eq!(made.unwrap().file_name.as_deref(), Some("é+#1.bin"));
    let content = site.attachment(LIST, 6, "é+#1.bin").await.unwrap();
    assert!(content.collect(4 << 20).await.unwrap() == large);
    assert!(site.attachments(LIST, 7).await.unwrap().is_empty());
}

#[tokio::test]
async fn refusals_of_a_site_have_their_kinds() {
    let tenant = tenant();
    let site = client(&tenant, certificate(&tenant), "sites/Plans");
    let twice = site
        .add_attachment(LIST, 5, "it's 50 % & more.txt", "x")
        .await;
    assert_eq!(twice.unwrap_err().kind(), ErrorKind::InvalidRequest);
    let error = site.attachment(LIST, 5, "nothing").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(
        error.service_message(),
        Some("The attachment does not exist.")
    );
    let error = site.attachments("no guid", 5).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    let elsewhere = client(&tenant, certificate(&tenant), "sites/nowhere");
    assert_eq!(
        elsewhere.web().await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    tenant.set_permissions(["Sites.Read.All"]);
    site.web().await.unwrap();
    let error = site.role_assignments(None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
    let error = site.add_attachment(LIST, 9, "a", "x").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
}

#[tokio::test]
async fn a_secret_opens_no_site() {
    let tenant = tenant();
    let secret = Credential::secret(tenant.app().client_secret);
    let site = client(&tenant, secret, "sites/Plans");
    assert_eq!(
        site.web().await.unwrap_err().kind(),
        ErrorKind::Unauthorized
    );
}

#[tokio::test]
async fn no_token_goes_to_a_host_that_is_no_site_of_the_cloud() {
    let cloud = Cloud::global();
    for address in [
        "https://contoso.sharepoint.com.evil.example/",
        "https://evilsharepoint.com/sites/x",
        "http://contoso.sharepoint.com/",
    ] {
        let site = Url::parse(address).unwrap();
        let options = GraphOptions::default();
        let nobody = ServiceTransport::new(|_| async { Ok(Response::new(stream::empty())) });
        let (nobody, token) = (Arc::new(nobody), Arc::new(OneToken));
        let made = SharePointClient::new(nobody, token, &cloud, &site, options);
        assert_eq!(
            made.unwrap_err().kind(),
            ErrorKind::OriginRefused,
            "{address}"
        );
    }
}

/// A site whose host answers everything alike.
fn site_of(answer: &Value) -> (SharePointClient, Seen) {
    let seen = Seen::default();
    let (kept, answer) = (Arc::clone(&seen), Bytes::from(answer.to_string()));
    let transport = ServiceTransport::new(move |request: Request<Bytes>| {
        kept.lock().unwrap().push(request);
        let answer = answer.clone();
        async move {
            Ok(Response::new(stream::iter([Ok::<_, std::io::Error>(
                answer,
            )])))
        }
    });
    let site = Url::parse("https://contoso.sharepoint.com/sites/X/?a#b").unwrap();
    let (cloud, options) = (Cloud::global(), GraphOptions::default());
    let transport = Arc::new(transport);
    let site = SharePointClient::new(transport, Arc::new(OneToken), &cloud, &site, options);
    (site.unwrap(), seen)
}

#[tokio::test]
async fn a_link_to_elsewhere_spoils_the_page() {
    let away = json!({"value": [], "odata.nextLink": "https://evil.example/_api/web?$skip=1"});
    let (site, seen) = site_of(&away);
    let error = site.role_assignments(None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OriginRefused);
    assert_eq!(lines(&seen).len(), 1);
}

#[tokio::test]
async fn requests_say_what_they_want_and_what_they_cost() {
    let (site, seen) = site_of(&json!({"value": [{"FileName": "a"}], "new": 1}));
    assert_eq!(site.web().await.unwrap().raw()["new"], 1);
    site.role_assignments(None).await.unwrap();
    site.attachments(LIST, 5).await.unwrap();
    site.attachment(LIST, 5, "it's").await.unwrap();
    site.add_attachment(LIST, 5, "a/b", "12345").await.unwrap();
    let item = format!("/sites/X/_api/web/lists(guid'{LIST}')/items(5)/AttachmentFiles");
    assert_eq!(
        lines(&seen),
        [
            "GET /sites/X/_api/web?$select=Id,Title,Url,WebTemplate,Configuration".to_owned(),
            "GET /sites/X/_api/web/roleassignments?$expand=Member,RoleDefinitionBindings"
                .to_owned(),
            format!("GET {item}"),
            format!("GET {item}('it%27%27s')/$value"),
            format!("POST {item}/add(FileName='a%2Fb')"),
        ]
    );
    let accepts = (0..5).map(|number| header(&seen, number, "accept").unwrap());
    let plain = "application/json;odata=nometadata";
    assert_eq!(
        accepts.collect::<Vec<_>>(),
        [plain, plain, plain, "*/*", plain]
    );
    let seen = seen.lock().unwrap();
    let charges = seen.iter().map(|request| {
        assert_eq!(request.headers().get("prefer"), None);
        let charge = request.extensions().get::<Charge>().unwrap();
        let names = charge.path()[2..].join(" ");
        let sent = charge.amount(Unit::SentBytes);
        (names, charge.amount(Unit::Units), sent)
    });
    let costs = [
        ("read", 1, 0),
        ("permissions", 5, 0),
        ("list", 2, 0),
        ("read", 1, 0),
        ("write", 2, 5),
    ];
    let wanted = costs.map(|(operation, units, sent)| {
        let names = format!("sharepoint contoso.sharepoint.com/sites/x {operation}");
        (names, units, sent)
    });
    assert_eq!(charges.collect::<Vec<_>>(), wanted);
}

#[tokio::test]
async fn an_attachment_that_no_list_takes_is_not_sent() {
    let (site, seen) = site_of(&json!({}));
    let huge = Bytes::from(vec![0; (250 << 20) + 1]);
    let error = site.add_attachment(LIST, 5, "a", huge).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    for name in ["", ".", ".."] {
        let error = site.attachment(LIST, 5, name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{name}");
    }
    assert!(seen.lock().unwrap().is_empty());
}
