//! Route names: a request's method and path with its ids replaced, for counters and fault plans.

use http::Method;

use crate::tenant::urls::Door;

/// Segments that are spelled out in route names; everything else is `{id}`.
const KEYWORDS: [&str; 41] = [
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
];

/// Collections: what follows one of them is an id, unless it is a function.
const COLLECTIONS: [&str; 9] = [
    "users",
    "mailfolders",
    "messages",
    "childfolders",
    "attachments",
    "drives",
    "items",
    "permissions",
    "versions",
];

/// Functions that may follow a collection.
const FUNCTIONS: [&str; 3] = ["delta", "createuploadsession", "$batch"];

/// Names the route of a request.
pub(crate) fn of(door: Door, method: &Method, segments: &[String], keys: &[String]) -> String {
    let mut name = format!("{method} ");
    let mut in_path = false;
    let mut after_collection = false;
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
        if segment.contains(':') && door == Door::Graph {
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
            "/drives/b!1/items/1:/n:/createUploadSession",
            "GET /drives/{id}/items/{id}:{path}/createUploadSession",
        );
    }
}
