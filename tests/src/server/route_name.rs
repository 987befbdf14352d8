//! Route names: a request's method and path with its ids replaced, for counters and fault plans.

use http::Method;

use crate::tenant::urls::Door;

/// Segments that are spelled out in route names; everything else is `{id}`.
const KEYWORDS: [&str; 76] = [
    "_api",
    "web",
    "translateExchangeIds",
    "users",
    "mailboxSettings",
    "mailFolders",
    "messages",
    "childFolders",
    "delta",
    "attachments",
    "createUploadSession",
    "$value",
    "move",
    "copy",
    "drive",
    "drives",
    "items",
    "root",
    "children",
    "content",
    "permissions",
    "versions",
    "$batch",
    "oauth2",
    "v2.0",
    "token",
    "authorize",
    "devicecode",
    "adminconsent",
    "metadata",
    "identity",
    "msi",
    ".well-known",
    "openid-configuration",
    "EWS",
    "Exchange.asmx",
    "mail",
    "download",
    "upload",
    "special",
    "search",
    "invite",
    "createLink",
    "admin",
    "exchange",
    "mailboxes",
    "folders",
    "exportItems",
    "createImportSession",
    "settings",
    "subscriptions",
    "reauthorize",
    "teams",
    "channels",
    "operations",
    "replies",
    "startMigration",
    "completeMigration",
    "api",
    "gv1.0",
    "importItem",
    "getAllMessages",
    "onenote",
    "allChannels",
    "contacts",
    "contactFolders",
    "calendars",
    "events",
    "calendarView",
    "todo",
    "lists",
    "tasks",
    "groups",
    "members",
    "sites",
    "getAllSites",
];

/// Collections: what follows one of them is an id, unless it is a function.
const COLLECTIONS: [&str; 24] = [
    "users",
    "mailfolders",
    "messages",
    "childfolders",
    "attachments",
    "drives",
    "items",
    "permissions",
    "versions",
    "mailboxes",
    "folders",
    "subscriptions",
    "teams",
    "channels",
    "operations",
    "replies",
    "contacts",
    "contactfolders",
    "calendars",
    "events",
    "lists",
    "tasks",
    "groups",
    "sites",
];

/// Functions that may follow a collection.
const FUNCTIONS: [&str; 5] = [
    "delta",
    "createuploadsession",
    "$batch",
    "getallmessages",
    "getallsites",
];

/// Names the route of a request.
pub(crate) fn of(door: Door, method: &Method, segments: &[String], keys: &[String]) -> String {
    let mut name = format!("{method} ");
    let mut in_path = false;
    let mut after_collection = false;
    let mut before = "";
    for (segment, key) in segments.iter().zip(keys) {
        if in_path {
            in_path = !segment.ends_with(':');
            continue;
        }
        name.push('/');
        let function = FUNCTIONS.contains(&key.as_str());
        let known = KEYWORDS.iter().find(|word| word.eq_ignore_ascii_case(key));
        match known {
            Some(word) if !after_collection || function => name.push_str(word),
            _ => name.push_str("{id}"),
        }
        // Mailboxes, channels and chats have colons in their ids; only items of drives have paths.
        let item = key.starts_with("root:") || matches!(before, "items" | "special");
        before = key;
        if item && segment.contains(':') && door == Door::Graph {
            name.push_str(":{path}");
            in_path = segment.matches(':').count() < 2;
        }
        let is_collection = COLLECTIONS.contains(&key.as_str());
        after_collection = is_collection && !after_collection;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: &str) {
        let segments: Vec<String> = path.split('/').skip(1).map(ToString::to_string).collect();
        let keys: Vec<String> = segments
            .iter()
            .map(|text| text.to_ascii_lowercase())
            .collect();
        assert_eq!(of(Door::Graph, &Method::GET, &segments, &keys), expected);
    }

    #[test]
    fn ids_are_replaced_and_keywords_kept() {
        check(
            "/users/items/mailfolders/inbox/messages/delta",
            "GET /users/{id}/mailFolders/{id}/messages/delta",
        );
        check(
            "/users/a/messages/AAMk/$value",
            "GET /users/{id}/messages/{id}/$value",
        );
        check(
            "/drives/b!1/root:/a/b:/content",
            "GET /drives/{id}/{id}:{path}/content",
        );
        check(
            "/admin/exchange/mailboxes/MBX:1@2/folders/AAMk/items/delta",
            "GET /admin/exchange/mailboxes/{id}/folders/{id}/items/delta",
        );
        check(
            "/teams/1/channels/19:a@thread.tacv2/messages/delta",
            "GET /teams/{id}/channels/{id}/messages/delta",
        );
        check(
            "/drives/b!1/items/1:/n:/createUploadSession",
            "GET /drives/{id}/items/{id}:{path}/createUploadSession",
        );
    }
}
