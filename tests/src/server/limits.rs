//! Limits: what a request costs its service, and how the service says that it is too much.
//!
//! *Source*: Microsoft Graph, service-specific throttling limits; SharePoint Online, avoid getting throttled
//! or blocked.

use http::Method;

use super::answer::{Answer, Refusal, put_header};
use super::call::Call;
use crate::tenant::urls::Door;
use crate::throttling::{Gauge, Reading};

/// Which service a Graph request belongs to, as far as limits are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    Outlook,
    SharePoint,
    Directory,
    Teams,
    OneNote,
    /// No published limit that is simulated.
    Other,
}

/// Headers that a request within the limits gets all the same.
#[derive(Debug, Default)]
pub(super) struct Signals(Vec<(&'static str, String)>);

impl Signals {
    pub(super) fn put_on(self, answer: &mut Answer) {
        for (name, value) in self.0 {
            put_header(answer, name, &value);
        }
    }
}

/// Counts a request; refuses it when it is too much.
pub(super) fn admit(call: &Call) -> Result<Signals, Refusal> {
    match service(call) {
        Service::Outlook => outlook(call),
        Service::SharePoint => sharepoint(call),
        Service::Directory => directory(call),
        Service::Teams => teams(call),
        Service::OneNote => onenote(call),
        Service::Other => Ok(Signals::default()),
    }
}

fn service(call: &Call) -> Service {
    match call.door {
        Door::Graph => {}
        // One budget serves Graph and the REST of SharePoint.
        Door::SharePoint => return Service::SharePoint,
        _ => return Service::Other,
    }
    match call.keys().as_slice() {
        ["users" | "groups" | "sites", _, "onenote", ..] => Service::OneNote,
        ["drives" | "sites" | "shares", ..] | ["users" | "groups", _, "drive" | "drives", ..] => {
            Service::SharePoint
        }
        ["teams", ..] => Service::Teams,
        ["admin", "exchange", "mailboxes", _, ..] => Service::Outlook,
        ["users", _, "mailboxsettings"] | ["users", _, _, ..] => Service::Outlook,
        ["users" | "groups", ..] => Service::Directory,
        _ => Service::Other,
    }
}

fn spend(call: &Call, gauge: Gauge, scope: &str, cost: u64) -> Option<Reading> {
    let mut state = call.tenant.lock();
    let now = (state.clock)();
    state.usage.spend(gauge, scope, cost, now)
}

fn outlook(call: &Call) -> Result<Signals, Refusal> {
    // By id or by name, it is one mailbox.
    let scope = {
        let state = call.tenant.lock();
        // The export names a mailbox `MBX:user@tenant`.
        let named = match call.keys().first() {
            Some(&"admin") => call.segment(3).trim_start_matches("MBX:"),
            _ => call.segment(1),
        };
        let own = named.split('@').next().and_then(|id| state.user(id));
        let user = state.user(named).or(own);
        user.map_or_else(|| named.to_owned(), |user| user.id.clone())
    };
    let bytes = call.body.len() as u64;
    let readings = [
        spend(call, Gauge::MailboxRequests, &scope, 1),
        spend(call, Gauge::MailboxUpload, &scope, bytes),
    ];
    match readings
        .into_iter()
        .flatten()
        .find(|reading| reading.is_over())
    {
        None => Ok(Signals::default()),
        Some(reading) => Err(Refusal::new(
            429,
            "ApplicationThrottled",
            "Application is over its request limit.",
        )
        .with_header("retry-after", reading.reset.to_string())),
    }
}

fn sharepoint(call: &Call) -> Result<Signals, Refusal> {
    let cost = sharepoint_units(call);
    let day = spend(call, Gauge::SharePointDay, "", cost);
    let minute = spend(call, Gauge::SharePointMinute, "", cost);
    let headers = |reading: Reading| {
        vec![
            ("ratelimit-limit", reading.limit.to_string()),
            (
                "ratelimit-remaining",
                reading.limit.saturating_sub(reading.used).to_string(),
            ),
            ("ratelimit-reset", reading.reset.to_string()),
        ]
    };
    if let Some(over) = [day, minute]
        .into_iter()
        .flatten()
        .find(|reading| reading.is_over())
    {
        let mut refusal = Refusal::new(
            429,
            "activityLimitReached",
            "The app or user has been throttled.",
        )
        .with_header("retry-after", over.reset.to_string());
        refusal.headers.extend(headers(over));
        return Err(refusal);
    }
    let near = minute.filter(|reading| reading.is_near());
    Ok(Signals(near.map(headers).unwrap_or_default()))
}

/// Returns the resource units that a request to SharePoint or OneDrive costs.
fn sharepoint_units(call: &Call) -> u64 {
    let keys = call.keys();
    let named = |word: &str| keys.contains(&word);
    let expanded = call
        .query
        .get("expand")
        .is_some_and(|text| text.contains("permissions"));
    if named("permissions")
        || named("roleassignments")
        || named("invite")
        || named("createlink")
        || expanded
    {
        return 5;
    }
    if call.method != Method::GET {
        return 2;
    }
    let last = keys.last().copied().unwrap_or_default();
    if last.starts_with("delta") {
        let token = call
            .query
            .get("token")
            .or_else(|| call.query.get("deltatoken"));
        let known = token.is_some_and(|token| !token.is_empty()) || last.contains("token=");
        return if known { 1 } else { 2 };
    }
    match last {
        "children" | "drives" | "sites" | "lists" | "items" | "versions" | "columns" => 2,
        _ => 1,
    }
}

/// Counts a request about teams; Teams names a pause and nothing else.
fn teams(call: &Call) -> Result<Signals, Refusal> {
    let keys = call.keys();
    let messages = keys
        .iter()
        .any(|key| matches!(*key, "messages" | "replies"));
    let gauge = if messages {
        Gauge::TeamMessages
    } else {
        Gauge::TeamReads
    };
    let team = (keys.len() > 1).then(|| spend(call, Gauge::Team, call.segment(1), 1));
    let readings = [team.flatten(), spend(call, gauge, "", 1)];
    match readings.into_iter().flatten().find(|own| own.is_over()) {
        None => Ok(Signals::default()),
        Some(over) => Err(Refusal::new(429, "TooManyRequests", "Too Many Requests")
            .with_header("retry-after", over.reset.to_string())),
    }
}

/// Counts a request to OneNote, which refuses without saying for how long.
fn onenote(call: &Call) -> Result<Signals, Refusal> {
    let over = spend(call, Gauge::OneNote, "", 1).is_some_and(Reading::is_over);
    match over {
        false => Ok(Signals::default()),
        true => Err(Refusal::new(
            429,
            "20166",
            "Application is over its request limit.",
        )),
    }
}

fn directory(call: &Call) -> Result<Signals, Refusal> {
    if call.method != Method::GET
        && let Some(over) = spend(call, Gauge::DirectoryWrites, "", 1).filter(|own| own.is_over())
    {
        return Err(Refusal::new(429, "TooManyRequests", "Too many requests.")
            .with_header("retry-after", over.reset.to_string())
            .with_header("x-ms-throttle-information", "WriteLimitExceeded"));
    }
    let cost = directory_units(call);
    let Some(reading) = spend(call, Gauge::Directory, "", cost) else {
        return Ok(Signals::default());
    };
    let mut headers = vec![("x-ms-resource-unit", cost.to_string())];
    if reading.is_near() {
        let share = reading.used.saturating_mul(10) / reading.limit.max(1);
        let share = format!("{}.{}", share / 10, share % 10);
        headers.push(("x-ms-throttle-limit-percentage", share));
    }
    if !reading.is_over() {
        return Ok(Signals(headers));
    }
    let app = call.tenant.app();
    let scope = format!(
        "Tenant_Application/ReadWrite/{}/{}",
        app.client_id, app.tenant_id
    );
    let mut refusal = Refusal::new(429, "TooManyRequests", "Too many requests.")
        .with_header("retry-after", reading.reset.to_string())
        .with_header("x-ms-throttle-scope", scope)
        .with_header("x-ms-throttle-information", "ResourceUnitLimitExceeded");
    refusal.headers.extend(headers);
    Err(refusal)
}

/// Returns the resource units that a request to the directory costs.
fn directory_units(call: &Call) -> u64 {
    let keys = call.keys();
    let base: u64 = match keys.last().copied().unwrap_or_default() {
        "transitivemembers" => 5,
        "members" | "owners" | "memberof" => 3,
        "users" | "groups" => 2,
        last if last.starts_with("delta") => 2,
        _ => 1,
    };
    let small = call
        .query
        .get("top")
        .and_then(|top| top.parse::<u32>().ok());
    let less = u64::from(call.query.get("select").is_some())
        + u64::from(small.is_some_and(|top| top < 20));
    let more = u64::from(call.query.get("expand").is_some());
    (base + more).saturating_sub(less).max(1)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use bytes::Bytes;
    use http::{HeaderMap, Request};

    use crate::server::testing::Client;
    use crate::{MailboxKind, Tenant, Throttling};

    async fn get(client: &Client, path: &str) -> (u16, HeaderMap) {
        let url = format!("{}v1.0{path}", client.tenant.urls().graph);
        let request = Request::get(url)
            .header("authorization", format!("Bearer {}", client.token))
            .body(Bytes::new())
            .expect("a request");
        let (status, headers, _) = client.raw(request).await;
        (status, headers)
    }

    async fn client(limits: Throttling) -> Client {
        let tenant = Tenant::empty(1);
        let alice = tenant.add_user("alice@contoso.example", "Alice Adler", MailboxKind::User);
        tenant.give_drive(&alice);
        let start: SystemTime = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        tenant.set_clock(move || start);
        let client = Client::new(tenant).await;
        client.tenant.set_throttling(limits);
        client
    }

    #[tokio::test]
    async fn a_mailbox_has_its_limit_by_id_and_name_together() {
        let limits = Throttling {
            mailbox_requests: Some(2),
            ..Throttling::default()
        };
        let client = client(limits).await;
        let id = client.tenant.users()[0].id.clone();
        assert_eq!(
            get(&client, &format!("/users/{id}/mailFolders")).await.0,
            200
        );
        assert_eq!(
            get(&client, "/users/alice@contoso.example/mailFolders")
                .await
                .0,
            200
        );
        let (status, headers) = get(&client, &format!("/users/{id}/mailFolders")).await;
        assert_eq!(
            (status, &headers["retry-after"]),
            (429, &"600".parse().expect("text"))
        );
        assert_eq!(get(&client, "/users").await.0, 200, "other services go on");
    }

    #[tokio::test]
    async fn the_export_of_a_mailbox_counts_with_its_mail() {
        let limits = Throttling {
            mailbox_requests: Some(1),
            ..Throttling::default()
        };
        let client = client(limits).await;
        let (user, tenant) = (
            client.tenant.users()[0].id.clone(),
            client.tenant.app().tenant_id,
        );
        let export = format!("/admin/exchange/mailboxes/MBX:{user}@{tenant}/folders");
        assert_eq!(get(&client, &export).await.0, 200);
        let mail = "/users/alice@contoso.example/mailFolders";
        assert_eq!(get(&client, mail).await.0, 429);
    }

    #[tokio::test]
    async fn refused_requests_count_as_the_others_do() {
        let limits = Throttling {
            sharepoint_units_per_minute: Some(2),
            ..Throttling::default()
        };
        let client = client(limits).await;
        let drive = "/users/alice@contoso.example/drive";
        for status in [200, 200, 429, 429] {
            assert_eq!(get(&client, drive).await.0, status);
        }
        let used = client.tenant.lock().usage.spend(
            crate::throttling::Gauge::SharePointMinute,
            "",
            0,
            UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        );
        assert_eq!(used.map(|reading| reading.used), Some(4));
    }

    #[tokio::test]
    async fn a_team_takes_four_requests_a_second_and_onenote_does_not_say_when() {
        let limits = Throttling {
            onenote_requests: Some(1),
            ..Throttling::documented(10)
        };
        let client = client(limits).await;
        let (team, _) = client.tenant.add_team("Plans");
        let (other, _) = client.tenant.add_team("Other plans");
        let own = format!("/teams/{team}");
        for _ in 0..4 {
            assert_eq!(get(&client, &own).await.0, 200);
        }
        let (status, headers) = get(&client, &own).await;
        assert_eq!(
            (status, headers["retry-after"].as_bytes()),
            (429, &b"1"[..])
        );
        assert_eq!(get(&client, &format!("/teams/{other}")).await.0, 200);
        let notes = "/users/alice@contoso.example/onenote/pages";
        assert_ne!(get(&client, notes).await.0, 429);
        let (status, headers) = get(&client, notes).await;
        assert_eq!((status, headers.get("retry-after")), (429, None));
    }

    #[tokio::test]
    async fn drives_warn_from_eighty_percent_and_then_refuse() {
        let limits = Throttling {
            sharepoint_units_per_minute: Some(10),
            ..Throttling::default()
        };
        let client = client(limits).await;
        let children = "/users/alice@contoso.example/drive/root/children";
        for used in [2, 4, 6] {
            let (status, headers) = get(&client, children).await;
            assert_eq!(
                (status, headers.get("ratelimit-limit")),
                (200, None),
                "{used}"
            );
        }
        let (status, headers) = get(&client, children).await;
        assert_eq!(
            (status, &headers["ratelimit-remaining"]),
            (200, &"2".parse().expect("text"))
        );
        assert_eq!(get(&client, children).await.0, 200, "ten of ten");
        let (status, headers) = get(&client, "/users/alice@contoso.example/drive").await;
        assert_eq!(
            (status, &headers["ratelimit-remaining"]),
            (429, &"0".parse().expect("text"))
        );
        assert_eq!(headers["retry-after"], "60");
    }

    #[tokio::test]
    async fn the_directory_says_what_a_request_costs() {
        let limits = Throttling {
            directory_units: Some(4),
            ..Throttling::default()
        };
        let client = client(limits).await;
        let (_, headers) = get(&client, "/users?$select=id").await;
        assert_eq!(headers["x-ms-resource-unit"], "1");
        let (_, headers) = get(&client, "/users").await;
        assert_eq!(headers.get("x-ms-throttle-limit-percentage"), None);
        let (_, headers) = get(&client, "/users/alice@contoso.example").await;
        assert_eq!(headers["x-ms-throttle-limit-percentage"], "1.0");
        let (status, headers) = get(&client, "/users").await;
        assert_eq!(status, 429);
        assert_eq!(
            headers["x-ms-throttle-information"],
            "ResourceUnitLimitExceeded"
        );
        assert_eq!(headers["x-ms-throttle-limit-percentage"], "1.5");
    }
}
