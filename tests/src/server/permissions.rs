//! Permissions: which token may do which operation.
//!
//! *Source*: the permissions that Microsoft publishes per operation (2026-08), carried over for the
//! operations that this tenant answers; `tests/conformance/rights.rs` of m365-graph compares them.

use std::collections::BTreeSet;

use super::answer::Refusal;
use super::call::Call;

/// Who may do what a row stands for.
#[derive(Debug, Clone, Copy)]
struct Right {
    /// Permissions of an app that speaks for itself; one is enough.
    application: &'static [&'static str],
    /// Scopes of a token that speaks for a person; one is enough.
    delegated: &'static [&'static str],
}

const READ_USERS: Right = Right {
    application: &[
        "User.ReadBasic.All",
        "User.Read.All",
        "User.ReadWrite.All",
        "Directory.Read.All",
        "Directory.ReadWrite.All",
    ],
    delegated: &[
        "User.ReadBasic.All",
        "User.Read.All",
        "User.ReadWrite.All",
        "Directory.Read.All",
        "Directory.ReadWrite.All",
    ],
};
const READ_USER_CHANGES: Right = Right {
    application: &super::directory::READ_CHANGES,
    delegated: &super::directory::READ_CHANGES,
};
/// A person's own entry needs less.
const READ_USER: Right = Right {
    application: READ_USERS.application,
    delegated: &[
        "User.Read",
        "User.ReadWrite",
        "User.ReadBasic.All",
        "User.Read.All",
        "User.ReadWrite.All",
        "Directory.Read.All",
        "Directory.ReadWrite.All",
    ],
};
const READ_SETTINGS: Right = Right {
    application: &["MailboxSettings.Read", "MailboxSettings.ReadWrite"],
    delegated: &["MailboxSettings.Read", "MailboxSettings.ReadWrite"],
};
const READ_MAIL_BASIC: Right = Right {
    application: &[
        "Mail.ReadBasic.All",
        "Mail.ReadBasic",
        "Mail.Read",
        "Mail.ReadWrite",
    ],
    delegated: &["Mail.ReadBasic", "Mail.Read", "Mail.ReadWrite"],
};
/// A message alone may be read without its content too; here its content comes with it.
const READ_MAIL: Right = Right {
    application: &["Mail.Read", "Mail.ReadWrite"],
    delegated: &["Mail.Read", "Mail.ReadWrite"],
};
const WRITE_MAIL: Right = Right {
    application: &["Mail.ReadWrite"],
    delegated: &["Mail.ReadWrite"],
};
const READ_FILES: Right = Right {
    application: &[
        "Files.Read.All",
        "Files.ReadWrite.All",
        "Sites.Read.All",
        "Sites.ReadWrite.All",
    ],
    delegated: &[
        "Files.Read",
        "Files.ReadWrite",
        "Files.Read.All",
        "Files.ReadWrite.All",
        "Sites.Read.All",
        "Sites.ReadWrite.All",
    ],
};
const WRITE_FILES: Right = Right {
    application: &["Files.ReadWrite.All", "Sites.ReadWrite.All"],
    delegated: &[
        "Files.ReadWrite",
        "Files.ReadWrite.All",
        "Sites.ReadWrite.All",
    ],
};

const READ_FOLDERS: Right = Right {
    application: &["MailboxFolder.Read.All", "MailboxFolder.ReadWrite.All"],
    delegated: &["MailboxFolder.Read", "MailboxFolder.ReadWrite"],
};
const READ_ITEMS: Right = Right {
    application: &["MailboxItem.Read.All", "MailboxItem.ReadWrite.All"],
    delegated: &["MailboxItem.Read", "MailboxItem.ReadWrite"],
};
const WRITE_ITEMS: Right = Right {
    application: &["MailboxItem.ReadWrite.All"],
    delegated: &["MailboxItem.ReadWrite"],
};
const EXPORT_ITEMS: Right = Right {
    application: &["MailboxItem.Export.All"],
    delegated: &["MailboxItem.Export"],
};
const IMPORT_ITEMS: Right = Right {
    application: &["MailboxItem.ImportExport.All"],
    delegated: &["MailboxItem.ImportExport"],
};
const READ_TEAMS: Right = Right {
    application: &["Team.ReadBasic.All"],
    delegated: &["Team.ReadBasic.All"],
};
const READ_CHANNELS: Right = Right {
    application: &["Channel.ReadBasic.All"],
    delegated: &["Channel.ReadBasic.All"],
};
const READ_CHANNEL_MESSAGES: Right = Right {
    application: &["ChannelMessage.Read.All"],
    delegated: &["ChannelMessage.Read.All"],
};
/// Nobody but an app migrates.
const MIGRATE: Right = Right {
    application: &["Teamwork.Migrate.All"],
    delegated: &[],
};

/// The operations, by route with `{id}` for every id.
const TABLE: &[(&str, Right)] = &[
    ("GET /users", READ_USERS),
    ("GET /users/delta", READ_USER_CHANGES),
    ("GET /users/{id}", READ_USER),
    ("GET /users/{id}/mailboxSettings", READ_SETTINGS),
    ("GET /users/{id}/mailFolders", READ_MAIL_BASIC),
    ("POST /users/{id}/mailFolders", WRITE_MAIL),
    ("GET /users/{id}/mailFolders/delta", READ_MAIL_BASIC),
    ("GET /users/{id}/mailFolders/{id}", READ_MAIL_BASIC),
    ("PATCH /users/{id}/mailFolders/{id}", WRITE_MAIL),
    ("DELETE /users/{id}/mailFolders/{id}", WRITE_MAIL),
    (
        "GET /users/{id}/mailFolders/{id}/childFolders",
        READ_MAIL_BASIC,
    ),
    ("POST /users/{id}/mailFolders/{id}/childFolders", WRITE_MAIL),
    ("POST /users/{id}/mailFolders/{id}/move", WRITE_MAIL),
    ("GET /users/{id}/mailFolders/{id}/messages", READ_MAIL_BASIC),
    ("POST /users/{id}/mailFolders/{id}/messages", WRITE_MAIL),
    (
        "GET /users/{id}/mailFolders/{id}/messages/delta",
        READ_MAIL_BASIC,
    ),
    ("POST /users/{id}/messages", WRITE_MAIL),
    ("GET /users/{id}/messages/{id}", READ_MAIL),
    ("PATCH /users/{id}/messages/{id}", WRITE_MAIL),
    ("DELETE /users/{id}/messages/{id}", WRITE_MAIL),
    ("GET /users/{id}/messages/{id}/$value", READ_MAIL),
    ("POST /users/{id}/messages/{id}/move", WRITE_MAIL),
    ("GET /users/{id}/messages/{id}/attachments", READ_MAIL),
    ("POST /users/{id}/messages/{id}/attachments", WRITE_MAIL),
    ("GET /users/{id}/messages/{id}/attachments/{id}", READ_MAIL),
    (
        "GET /users/{id}/messages/{id}/attachments/{id}/$value",
        READ_MAIL,
    ),
    (
        "POST /users/{id}/messages/{id}/attachments/createUploadSession",
        WRITE_MAIL,
    ),
    ("GET /users/{id}/drive", READ_FILES),
    ("GET /users/{id}/drives", READ_FILES),
    ("GET /drives/{id}", READ_FILES),
    ("GET /drives/{id}/root", READ_FILES),
    ("GET /drives/{id}/root/delta", READ_FILES),
    ("GET /drives/{id}/items/{id}", READ_FILES),
    ("PATCH /drives/{id}/items/{id}", WRITE_FILES),
    ("DELETE /drives/{id}/items/{id}", WRITE_FILES),
    ("GET /drives/{id}/items/{id}/children", READ_FILES),
    ("POST /drives/{id}/items/{id}/children", WRITE_FILES),
    ("GET /drives/{id}/items/{id}/content", READ_FILES),
    ("PUT /drives/{id}/items/{id}/content", WRITE_FILES),
    (
        "POST /drives/{id}/items/{id}/createUploadSession",
        WRITE_FILES,
    ),
    ("GET /admin/exchange/mailboxes/{id}/folders", READ_FOLDERS),
    (
        "GET /admin/exchange/mailboxes/{id}/folders/delta",
        READ_FOLDERS,
    ),
    (
        "GET /admin/exchange/mailboxes/{id}/folders/{id}",
        READ_FOLDERS,
    ),
    (
        "GET /admin/exchange/mailboxes/{id}/folders/{id}/childFolders",
        READ_FOLDERS,
    ),
    (
        "GET /admin/exchange/mailboxes/{id}/folders/{id}/items",
        READ_ITEMS,
    ),
    (
        "GET /admin/exchange/mailboxes/{id}/folders/{id}/items/delta",
        READ_ITEMS,
    ),
    (
        "GET /admin/exchange/mailboxes/{id}/folders/{id}/items/{id}",
        READ_ITEMS,
    ),
    (
        "DELETE /admin/exchange/mailboxes/{id}/folders/{id}/items/{id}",
        WRITE_ITEMS,
    ),
    (
        "POST /admin/exchange/mailboxes/{id}/exportItems",
        EXPORT_ITEMS,
    ),
    (
        "POST /admin/exchange/mailboxes/{id}/createImportSession",
        IMPORT_ITEMS,
    ),
    ("GET /teams", READ_TEAMS),
    ("GET /teams/{id}", READ_TEAMS),
    ("GET /teams/{id}/channels", READ_CHANNELS),
    ("GET /teams/{id}/channels/{id}", READ_CHANNELS),
    (
        "GET /teams/{id}/channels/{id}/messages",
        READ_CHANNEL_MESSAGES,
    ),
    (
        "GET /teams/{id}/channels/{id}/messages/delta",
        READ_CHANNEL_MESSAGES,
    ),
    (
        "GET /teams/{id}/channels/{id}/messages/{id}",
        READ_CHANNEL_MESSAGES,
    ),
    (
        "GET /teams/{id}/channels/{id}/messages/{id}/replies",
        READ_CHANNEL_MESSAGES,
    ),
    ("POST /teams/{id}/channels/{id}/startMigration", MIGRATE),
    ("POST /teams/{id}/channels/{id}/completeMigration", MIGRATE),
    ("POST /teams/{id}/completeMigration", MIGRATE),
];

/// Lists the operations with the permissions that open each: of apps, then of persons.
pub(super) fn table() -> impl Iterator<Item = super::Right> {
    TABLE
        .iter()
        .map(|(route, right)| (*route, right.application, right.delegated))
}

/// Refuses a token that does not carry what the operation needs; the operation itself may ask
/// for more.
pub(super) fn check(call: &Call) -> Result<(), Refusal> {
    let Some(right) = right_of(call) else {
        return Ok(());
    };
    let may = match scopes(call) {
        None => grants(&call.tenant.lock().app.permissions, right.application),
        // The default is what an administrator consented to, without naming it.
        Some(scopes) => scopes.contains(".default") || grants(&scopes, right.delegated),
    };
    may.then_some(()).ok_or_else(|| denied(call))
}

/// Tells whether the operation is in the table.
pub(super) fn knows(call: &Call) -> bool {
    right_of(call).is_some()
}

fn right_of(call: &Call) -> Option<Right> {
    let route = plain(&call.route);
    let mut rows = TABLE.iter();
    rows.find(|(known, _)| *known == route)
        .map(|(_, right)| *right)
}

fn grants(held: &BTreeSet<String>, wanted: &[&str]) -> bool {
    wanted.iter().any(|name| held.contains(*name))
}

/// Returns the scopes of a token that speaks for a person.
pub(super) fn scopes(call: &Call) -> Option<BTreeSet<String>> {
    let token = call.header("authorization")?.strip_prefix("Bearer ")?;
    let state = call.tenant.lock();
    let known = state.app.tokens.get(token)?;
    known.user.is_some().then(|| known.scopes.clone())
}

/// Refuses in the words of the service that the path belongs to.
pub(super) fn denied(call: &Call) -> Refusal {
    let (code, message) = match call.keys().as_slice() {
        ["drives" | "sites" | "shares", ..] | ["users" | "groups", _, "drive" | "drives", ..] => {
            ("accessDenied", "Access denied")
        }
        ["users", _, _, ..] => (
            "ErrorAccessDenied",
            "Access is denied. Check credentials and try again.",
        ),
        _ => (
            "Authorization_RequestDenied",
            "Insufficient privileges to complete the operation.",
        ),
    };
    Refusal::new(403, code, message)
}

/// Brings the ways of addressing an item of a drive to one.
fn plain(route: &str) -> String {
    let mut route = route.replace(":{path}", "");
    if let Some(rest) = route
        .find("/users/{id}/drive/")
        .map(|at| at + "/users/{id}/drive".len())
    {
        let method = route.split(' ').next().unwrap_or_default();
        route = format!("{method} /drives/{{id}}{}", &route[rest..]);
    }
    for action in ["/children", "/content", "/createUploadSession"] {
        route = route.replace(&format!("/root{action}"), &format!("/items/{{id}}{action}"));
    }
    // An item addressed from the root by its path is named so by the counters.
    if let Some(rest) = route
        .find("/drives/{id}/{id}")
        .map(|at| at + "/drives/{id}/{id}".len())
    {
        let method = route.split(' ').next().unwrap_or_default();
        route = format!("{method} /drives/{{id}}/items/{{id}}{}", &route[rest..]);
    }
    route
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::plain;
    use crate::server::testing::{Client, login};
    use crate::{MailboxKind, Tenant};

    #[test]
    fn the_ways_to_an_item_are_one() {
        let check = |route: &str, expected: &str| assert_eq!(plain(route), expected);
        check(
            "GET /drives/{id}/{id}:{path}/content",
            "GET /drives/{id}/items/{id}/content",
        );
        check(
            "GET /users/{id}/drive/root/children",
            "GET /drives/{id}/items/{id}/children",
        );
        check(
            "POST /drives/{id}/items/{id}:{path}/createUploadSession",
            "POST /drives/{id}/items/{id}/createUploadSession",
        );
        check("GET /users/{id}/drive", "GET /users/{id}/drive");
    }

    async fn tenant() -> Tenant {
        let tenant = Tenant::empty(1);
        for name in ["alice", "bob"] {
            let address = format!("{name}@contoso.example");
            let id = tenant.add_user(&address, name, MailboxKind::User);
            tenant.give_drive(&id);
        }
        tenant
    }

    #[tokio::test]
    async fn an_app_does_what_it_was_granted_and_no_more() {
        let client = Client::new(tenant().await).await;
        let check = async |permission: &str, method: &str, path: &str, status: u16| {
            client.tenant.set_permissions([permission]);
            let (found, body) = client.call(method, path, Value::Null).await;
            assert_eq!(found, status, "{permission} {path}: {body}");
            body["error"]["code"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let alice = "/users/alice@contoso.example";
        check("User.ReadBasic.All", "GET", "/users", 200).await;
        let code = check("Mail.Read", "GET", "/users", 403).await;
        assert_eq!(code, "Authorization_RequestDenied");
        check(
            "Mail.ReadBasic.All",
            "GET",
            &format!("{alice}/mailFolders"),
            200,
        )
        .await;
        let code = check("User.Read.All", "GET", &format!("{alice}/mailFolders"), 403).await;
        assert_eq!(code, "ErrorAccessDenied");
        check(
            "Sites.Read.All",
            "GET",
            &format!("{alice}/drive/root/children"),
            200,
        )
        .await;
        let code = check("Mail.Read", "GET", &format!("{alice}/drive/root:/x"), 403).await;
        assert_eq!(code, "accessDenied");
        check(
            "Files.Read.All",
            "DELETE",
            &format!("{alice}/drive/root:/x"),
            403,
        )
        .await;
        check(
            "Files.ReadWrite.All",
            "DELETE",
            &format!("{alice}/drive/root:/x"),
            404,
        )
        .await;
    }

    #[tokio::test]
    async fn a_person_does_what_the_scopes_say() {
        let tenant = tenant().await;
        let (app, password) = (tenant.app(), tenant.password("alice@contoso.example"));
        let token = async |scope: &str| {
            let form = format!(
                "grant_type=password&client_id={}&username=alice@contoso.example&password={}\
                 &scope={scope}",
                app.client_id,
                password.as_deref().unwrap_or_default()
            );
            let (status, answer) = login(&tenant, "organizations", form).await;
            assert_eq!(status, 200, "{answer}");
            answer["access_token"].as_str().expect("a token").to_owned()
        };
        let mut client = Client::new(tenant.clone()).await;
        client.token = token("User.Read Mail.Read").await;
        let check = async |client: &Client, path: &str, status: u16| {
            let (found, body) = client.get(path).await;
            assert_eq!(found, status, "{path}: {body}");
        };
        check(&client, "/users/alice@contoso.example", 200).await;
        check(&client, "/users", 403).await;
        check(&client, "/users/alice@contoso.example/mailFolders", 200).await;
        check(&client, "/users/alice@contoso.example/drive", 403).await;
        client.token = token(".default").await;
        check(&client, "/users/alice@contoso.example/drive", 200).await;
        let folder = json!({"displayName": "New"});
        client.token = token("Mail.Read").await;
        let (status, _) = client
            .call("POST", "/users/alice@contoso.example/mailFolders", folder)
            .await;
        assert_eq!(status, 403, "reading is not writing");
    }
}
