//! Tests of EWS: mailboxes by SOAP, by the token of an app and of a person.
#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use http::Request;

use super::{MESSAGES, SOAP, TYPES};
use crate::server::testing::{self, Client};
use crate::{MailboxKind, NewMessage, Tenant};

const ALICE: &str = "alice@contoso.example";

async fn tenant() -> Tenant {
    let tenant = Tenant::empty(1);
    let alice = tenant.add_user(ALICE, "Alice Adler", MailboxKind::User);
    for number in 0..3 {
        let message = NewMessage {
            subject: format!("number <{number}>"),
            ..NewMessage::default()
        };
        tenant.add_message(&alice, "inbox", message).unwrap();
    }
    tenant
}

async fn app_token(tenant: &Tenant) -> String {
    let app = tenant.app();
    let audience = tenant.urls().ews.origin().ascii_serialization();
    let form = format!(
        "grant_type=client_credentials&client_id={}&client_secret={}&scope={audience}/.default",
        app.client_id, app.client_secret
    );
    let (status, answer) = testing::login(tenant, &app.tenant_id, form).await;
    assert_eq!(status, 200, "{answer}");
    answer["access_token"].as_str().unwrap().to_owned()
}

async fn soap(tenant: &Tenant, token: &str, acting: Option<&str>, body: &str) -> (u16, String) {
    let header = acting.map_or_else(String::new, |address| {
        format!(
            "<t:ExchangeImpersonation><t:ConnectingSID><t:PrimarySmtpAddress>{address}\
             </t:PrimarySmtpAddress></t:ConnectingSID></t:ExchangeImpersonation>"
        )
    });
    let envelope = format!(
        "<s:Envelope xmlns:s=\"{SOAP}\" xmlns:m=\"{MESSAGES}\" xmlns:t=\"{TYPES}\"><s:Header>\
         <t:RequestServerVersion Version=\"Exchange2016\"/>{header}</s:Header>\
         <s:Body>{body}</s:Body></s:Envelope>"
    );
    let request = Request::post(tenant.urls().ews.as_str())
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "text/xml; charset=utf-8")
        .body(Bytes::from(envelope))
        .unwrap();
    let client = Client {
        tenant: tenant.clone(),
        token: String::new(),
        immutable: true,
    };
    let (status, _, body) = client.raw(request).await;
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn get_folders(names: &[&str]) -> String {
    let ids: String = names
        .iter()
        .map(|name| format!("<t:DistinguishedFolderId Id=\"{name}\"/>"))
        .collect();
    format!(
        "<m:GetFolder><m:FolderShape><t:BaseShape>IdOnly</t:BaseShape></m:FolderShape>\
         <m:FolderIds>{ids}</m:FolderIds></m:GetFolder>"
    )
}

/// Returns what stands between two texts.
fn between<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    let (_, rest) = text.split_once(before).unwrap();
    rest.split_once(after).unwrap().0
}

#[tokio::test]
async fn folders_of_a_mailbox_are_told_one_by_one() {
    let tenant = tenant().await;
    let token = app_token(&tenant).await;
    let body = get_folders(&["root", "Inbox", "calendar"]);
    let (status, answer) = soap(&tenant, &token, Some(ALICE), &body).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer.matches("ResponseClass=\"Success\"").count(), 2);
    assert!(answer.contains("ErrorFolderNotFound"), "{answer}");
    assert!(answer.contains("<t:TotalCount>3</t:TotalCount>"));
    assert!(answer.contains("<t:DistinguishedFolderId>inbox</t:DistinguishedFolderId>"));
    let root = between(&answer, "<t:FolderId Id=\"", "\"").to_owned();
    let find = format!(
        "<m:FindFolder Traversal=\"Deep\"><m:FolderShape><t:BaseShape>Default</t:BaseShape>\
         </m:FolderShape><m:ParentFolderIds><t:FolderId Id=\"{root}\"/></m:ParentFolderIds>\
         </m:FindFolder>"
    );
    let (status, all) = soap(&tenant, &token, Some(ALICE), &find).await;
    assert_eq!(status, 200, "{all}");
    assert!(
        all.contains(&format!("<t:ParentFolderId Id=\"{root}\"/>")),
        "the first hangs below the root"
    );
    assert!(all.contains("sentitems") && all.contains("TotalItemsInView=\"11\""));
}

#[tokio::test]
async fn items_are_found_in_order_and_read_with_their_content() {
    let tenant = tenant().await;
    let token = app_token(&tenant).await;
    let find = "<m:FindItem Traversal=\"Shallow\"><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape>\
         </m:ItemShape><m:IndexedPageItemView MaxEntriesReturned=\"2\" Offset=\"0\" \
         BasePoint=\"Beginning\"/><m:SortOrder><t:FieldOrder Order=\"Descending\"><t:FieldURI \
         FieldURI=\"item:Subject\"/></t:FieldOrder></m:SortOrder><m:ParentFolderIds>\
         <t:DistinguishedFolderId Id=\"inbox\"/></m:ParentFolderIds></m:FindItem>";
    let (status, found) = soap(&tenant, &token, Some(ALICE), find).await;
    assert_eq!(status, 200, "{found}");
    assert!(
        found.contains("TotalItemsInView=\"3\"") && found.contains("IndexedPagingOffset=\"2\"")
    );
    assert_eq!(
        between(&found, "<t:Subject>", "</t:Subject>"),
        "number &lt;2&gt;"
    );
    let id = between(&found, "<t:ItemId Id=\"", "\"");
    let get = format!(
        "<m:GetItem><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties>\
         <t:FieldURI FieldURI=\"item:MimeContent\"/></t:AdditionalProperties></m:ItemShape>\
         <m:ItemIds><t:ItemId Id=\"{id}\"/><t:ItemId Id=\"AAMknone\"/></m:ItemIds></m:GetItem>"
    );
    let (status, item) = soap(&tenant, &token, Some(ALICE), &get).await;
    assert_eq!(status, 200, "{item}");
    assert!(item.contains("<t:MimeContent CharacterSet=\"UTF-8\">"));
    assert_eq!(item.matches("ErrorItemNotFound").count(), 1);
    // Another mailbox does not know the item.
    tenant.add_user("ben@contoso.example", "Ben Bell", MailboxKind::User);
    let (_, other) = soap(&tenant, &token, Some("ben@contoso.example"), &get).await;
    assert_eq!(other.matches("ErrorItemNotFound").count(), 2);
}

#[tokio::test]
async fn a_person_reads_the_own_mailbox_by_scope_and_impersonates_nobody() {
    let tenant = tenant().await;
    let (app, password) = (tenant.app(), tenant.password(ALICE).unwrap());
    let sign_in = async |scope: &str| {
        let form = format!(
            "grant_type=password&client_id={}&username={ALICE}&password={password}\
             &scope=https://outlook.office365.com/{scope}",
            app.client_id
        );
        let (status, answer) = testing::login(&tenant, &app.tenant_id, form).await;
        assert_eq!(status, 200, "{answer}");
        answer["access_token"].as_str().unwrap().to_owned()
    };
    let token = sign_in("EWS.AccessAsUser.All").await;
    let body = get_folders(&["inbox"]);
    let (status, answer) = soap(&tenant, &token, None, &body).await;
    assert_eq!(
        (status, answer.contains("NoError")),
        (200, true),
        "{answer}"
    );
    let (status, answer) = soap(&tenant, &token, Some(ALICE), &body).await;
    assert_eq!(status, 500);
    assert!(answer.contains("ErrorImpersonationDenied"));
    let other = sign_in("Mail.Read").await;
    assert_eq!(soap(&tenant, &other, None, &body).await.0, 403);
    let app = app_token(&tenant).await;
    let (status, answer) = soap(&tenant, &app, None, &body).await;
    assert_eq!(status, 500, "an app has no mailbox of its own");
    assert!(answer.contains("ErrorImpersonateUserDenied"));
}
