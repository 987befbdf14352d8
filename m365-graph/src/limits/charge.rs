//! Charges: what a request counts for, found from its method and its address.

use http::Method;
use m365_auth::{Charge, Unit};
use percent_encoding::percent_decode_str;
use url::Url;

/// Names a service and one of its resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    service: Service,
    resource: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    Exchange,
    SharePoint,
    Teams,
    TeamsExport,
    Directory,
    OneNote,
    Reports,
    /// What belongs to no service with limits of its own.
    Graph,
}

impl Service {
    fn name(self) -> &'static str {
        match self {
            Self::Exchange => "exchange",
            Self::SharePoint => "sharepoint",
            Self::Teams => "teams",
            Self::TeamsExport => "teams-export",
            Self::Directory => "directory",
            Self::OneNote => "onenote",
            Self::Reports => "reports",
            Self::Graph => "graph",
        }
    }

    /// Returns how many names of a path are paused together when the service refuses: Outlook
    /// refuses one mailbox, SharePoint the whole app.
    fn paused_depth(self, resource: &str) -> usize {
        match self {
            Self::Exchange => 4,
            Self::Teams if resource != NO_RESOURCE => 4,
            Self::Reports => 5,
            _ => 3,
        }
    }
}

impl Node {
    pub(crate) fn drive(id: &str) -> Self {
        Self::new(Service::SharePoint, id)
    }

    pub(crate) fn site(address: &str) -> Self {
        Self::new(Service::SharePoint, address)
    }

    /// Charges one request that says of itself what it does.
    pub(crate) fn does(&self, root: &[String; 2], operation: &str, units: u64) -> Charge {
        self.charge(root, operation).with_units(units)
    }

    pub(crate) fn mailbox(user: &str) -> Self {
        Self::new(Service::Exchange, user)
    }

    pub(crate) fn directory() -> Self {
        Self::new(Service::Directory, NO_RESOURCE)
    }

    /// Charges the transfer of content by an address of its own, which costs bytes and no units.
    pub(crate) fn transfer(&self, root: &[String; 2]) -> Charge {
        self.charge(root, "transfer")
    }

    /// Charges one request at the resource, whatever it does: where its work is limited as one.
    pub(crate) fn lane(&self, root: &[String; 2]) -> Charge {
        let [app, tenant] = root;
        let units = u64::from(self.service == Service::SharePoint);
        Charge::at([app, tenant, self.service.name(), &self.resource])
            .pausing_at(self.service.paused_depth(&self.resource))
            .with_units(units)
    }

    fn new(service: Service, resource: &str) -> Self {
        Self {
            service,
            resource: resource.to_lowercase(),
        }
    }

    /// Finds the service that serves a path, given by its segments in lower case.
    fn of(keys: &[&str]) -> Self {
        use Service::{
            Directory, Exchange, Graph, OneNote, Reports, SharePoint, Teams, TeamsExport,
        };
        let (service, resource) = match keys {
            ["teams" | "teamwork" | "users", .., last] if last.starts_with("getall") => {
                (TeamsExport, NO_RESOURCE)
            }
            ["users" | "groups" | "sites", _, "onenote", ..] => (OneNote, NO_RESOURCE),
            ["sites", "getallsites" | "delta"] | ["sites"] => (SharePoint, NO_RESOURCE),
            ["drives" | "shares" | "sites", id, ..]
            | ["users" | "groups", id, "drive" | "drives" | "sites", ..] => (SharePoint, *id),
            ["admin", "exchange", "mailboxes", id, ..] => (Exchange, *id),
            ["teams" | "chats", id, ..] => (Teams, *id),
            ["teams" | "teamwork" | "chats"]
            | ["teamwork", ..]
            | ["users", _, "joinedteams" | "chats", ..] => (Teams, NO_RESOURCE),
            ["users", id, member, ..] if !OF_THE_DIRECTORY.contains(member) => (Exchange, *id),
            ["users" | "groups" | "directory" | "subscribedskus", ..] => (Directory, NO_RESOURCE),
            ["reports", ..] => (Reports, NO_RESOURCE),
            _ => (Graph, NO_RESOURCE),
        };
        Self::new(service, resource)
    }

    fn charge(&self, root: &[String; 2], operation: &str) -> Charge {
        let [app, tenant] = root;
        let service = self.service.name();
        Charge::at([app, tenant, service, &self.resource, operation])
            .pausing_at(self.service.paused_depth(&self.resource))
    }
}

/// Charges a request to `url`, which lies below `base`.
pub(crate) fn of_request(root: &[String; 2], base: &Url, method: &Method, url: &Url) -> Charge {
    let path = url.path().strip_prefix(base.path()).unwrap_or(url.path());
    let decoded = |segment: &str| {
        percent_decode_str(segment)
            .decode_utf8_lossy()
            .to_lowercase()
    };
    let segments: Vec<String> = path
        .split('/')
        .filter(|segment| !segment.is_empty())
        .map(decoded)
        .collect();
    let keys: Vec<&str> = segments.iter().map(|key| plain(key)).collect();
    let node = Node::of(&keys);
    let query = Query::of(url);
    let operation = match (node.service, keys.last()) {
        // Each report has a limit of its own.
        (Service::Reports, Some(report)) => report.split('(').next().unwrap_or(report),
        _ => operation(method, &keys),
    };
    let units = match node.service {
        Service::SharePoint => sharepoint_units(operation, &query),
        Service::Directory => directory_units(&keys, &query),
        _ => 0,
    };
    node.charge(root, operation).with_units(units)
}

/// Charges requests that travel together: at the names they have in common, for all that they cost.
pub(crate) fn together(charges: &[Charge]) -> Charge {
    let first = charges.first().map_or(&[][..], Charge::path);
    let common = |charge: &Charge| {
        let pairs = charge.path().iter().zip(first);
        pairs.take_while(|(own, other)| own == other).count()
    };
    let depth = charges.iter().map(common).min().unwrap_or(0);
    let paused = charges.iter().map(|charge| charge.paused_path().len());
    let units = charges
        .iter()
        .map(|charge| charge.amount(Unit::Units))
        .sum();
    Charge::at(first[..depth].iter().cloned())
        .with_requests(u32::try_from(charges.len()).unwrap_or(u32::MAX))
        .with_units(units)
        .pausing_at(paused.min().unwrap_or(0))
}

/// Takes the namespace and the brackets off a segment.
fn plain(segment: &str) -> &str {
    let name = segment.strip_prefix("microsoft.graph.").unwrap_or(segment);
    name.strip_suffix("()").unwrap_or(name)
}

/// Sorts a request by what it does.
fn operation(method: &Method, keys: &[&str]) -> &'static str {
    let last = keys.last().copied().unwrap_or_default();
    if matches!(last, "invite" | "createlink" | "grant") || keys.contains(&"permissions") {
        return "permissions";
    }
    if *method != Method::GET {
        return "write";
    }
    if last == "delta" || last.starts_with("delta(") {
        return "changes";
    }
    match last {
        "content" | "$value" => "content",
        _ if LISTS.contains(&last) => "list",
        _ => "read",
    }
}

/// Returns the units of a request to SharePoint or OneDrive.
///
/// *Source*: SharePoint Online, avoid getting throttled or blocked, 2025-10-02.
fn sharepoint_units(operation: &str, query: &Query) -> u64 {
    match operation {
        "permissions" => 5,
        _ if query.expand.contains("permissions") => 5,
        "list" | "write" => 2,
        "changes" if !query.resumes => 2,
        _ => 1,
    }
}

/// Returns the units of a request to the directory.
///
/// *Source*: Microsoft Graph, service-specific throttling limits, identity and access, 2024-06.
fn directory_units(keys: &[&str], query: &Query) -> u64 {
    let base: u64 = match keys.last().copied().unwrap_or_default() {
        "transitivemembers" | "transitivememberof" => 5,
        "members" | "owners" | "memberof" => 3,
        "users" | "groups" | "delta" => 2,
        _ => 1,
    };
    let more = u64::from(!query.expand.is_empty());
    let less = u64::from(query.selects) + u64::from(query.top.is_some_and(|top| top < 20));
    (base + more).saturating_sub(less).max(1)
}

/// What of a query changes the price.
#[derive(Debug, Default)]
struct Query {
    selects: bool,
    expand: String,
    top: Option<u32>,
    /// A cursor is given, and not an empty one.
    resumes: bool,
}

impl Query {
    fn of(url: &Url) -> Self {
        let mut query = Self::default();
        for (name, value) in url.query_pairs() {
            match name.trim_start_matches('$').to_lowercase().as_str() {
                "select" => query.selects = true,
                "expand" => query.expand = value.to_lowercase(),
                "top" => query.top = value.parse().ok(),
                "token" | "deltatoken" | "skiptoken" => query.resumes |= !value.is_empty(),
                _ => {}
            }
        }
        // The older form keeps the cursor in the path.
        query.resumes |= url.path().contains("token=");
        query
    }
}

/// The name of the resource where a request names none.
const NO_RESOURCE: &str = "-";
/// What below a user belongs to the directory, not to the mailbox.
const OF_THE_DIRECTORY: [&str; 7] = [
    "licensedetails",
    "memberof",
    "transitivememberof",
    "manager",
    "directreports",
    "getmembergroups",
    "restore",
];
/// Last segments that ask for many objects.
const LISTS: [&str; 28] = [
    "attachments",
    "calendars",
    "channels",
    "childfolders",
    "children",
    "columns",
    "contactfolders",
    "contacts",
    "contenttypes",
    "drives",
    "events",
    "folders",
    "getallsites",
    "groups",
    "items",
    "lists",
    "mailfolders",
    "members",
    "messages",
    "owners",
    "pages",
    "replies",
    "sites",
    "tasks",
    "teams",
    "transitivemembers",
    "users",
    "versions",
];

#[cfg(test)]
mod tests {
    use http::Method;
    use m365_auth::{Charge, Unit};
    use url::Url;

    use super::{Node, of_request, together};

    fn charge(method: &Method, rest: &str) -> Charge {
        let base = Url::parse("https://graph.example/v1.0").unwrap();
        let url = Url::parse(&format!("https://graph.example/v1.0/{rest}")).unwrap();
        of_request(&root(), &base, method, &url)
    }

    fn root() -> [String; 2] {
        ["app".to_owned(), "tenant".to_owned()]
    }

    fn check(rest: &str, names: [&str; 3], units: u64, paused: usize) {
        check_as(&Method::GET, rest, names, units, paused);
    }

    fn check_as(method: &Method, rest: &str, names: [&str; 3], units: u64, paused: usize) {
        let charge = charge(method, rest);
        let [service, resource, operation] = names;
        let wanted = ["app", "tenant", service, resource, operation];
        assert_eq!(charge.path(), wanted, "{method} {rest}");
        assert_eq!(charge.amount(Unit::Units), units, "{method} {rest}");
        assert_eq!(charge.paused_path().len(), paused, "{method} {rest}");
    }

    #[test]
    fn a_mailbox_is_charged_by_requests() {
        let ada = |operation| ["exchange", "ada@x.example", operation];
        check("users/Ada%40x.example/messages/AAMk", ada("read"), 0, 4);
        check(
            "users/Ada@x.example/messages/AAMk/$value",
            ada("content"),
            0,
            4,
        );
        check("users/ada@x.example/mailFolders", ada("list"), 0, 4);
        check(
            "users/ada@x.example/mailFolders/inbox/messages/microsoft.graph.delta()?$skiptoken=x",
            ada("changes"),
            0,
            4,
        );
        check("users/ada@x.example/mailboxSettings", ada("read"), 0, 4);
        let export = "admin/exchange/mailboxes/MBX:7@t/folders/f/items/delta";
        check(export, ["exchange", "mbx:7@t", "changes"], 0, 4);
        let send = "users/ada@x.example/messages/A/move";
        check_as(&Method::POST, send, ada("write"), 0, 4);
    }

    #[test]
    fn a_drive_is_charged_by_units_and_paused_with_its_service() {
        let drive = |operation| ["sharepoint", "b!1", operation];
        check("drives/b!1/items/2", drive("read"), 1, 3);
        check("drives/b!1/items/2/children?$top=9", drive("list"), 2, 3);
        check("drives/b!1/root/delta", drive("changes"), 2, 3);
        check("drives/b!1/root/delta?token=", drive("changes"), 2, 3);
        check("drives/b!1/root/delta?token=a", drive("changes"), 1, 3);
        check("drives/b!1/root/delta(token='a')", drive("changes"), 1, 3);
        check("drives/b!1/items/2/content", drive("content"), 1, 3);
        check("drives/b!1/items/2/permissions", drive("permissions"), 5, 3);
        let expanded = "drives/b!1/items/2/children?%24expand=permissions";
        check(expanded, drive("list"), 5, 3);
        let name = "drives/b!1/items/2:/permissions and more:/content";
        check(name, drive("content"), 1, 3);
        let upload = "drives/b!1/items/2:/n:/createUploadSession";
        check_as(&Method::POST, upload, drive("write"), 2, 3);
        check("users/ada/drive", ["sharepoint", "ada", "read"], 1, 3);
        check("sites/getAllSites", ["sharepoint", "-", "list"], 2, 3);
        check("groups/g/sites/root", ["sharepoint", "g", "read"], 1, 3);
    }

    #[test]
    fn the_directory_is_charged_by_what_is_asked_for() {
        let all = |operation| ["directory", "-", operation];
        check("users", all("list"), 2, 3);
        check("users?$select=id", all("list"), 1, 3);
        check("users?$select=id&$top=5", all("list"), 1, 3);
        check("groups/g/members", all("list"), 3, 3);
        check("groups/g/transitiveMembers?$expand=x", all("list"), 6, 3);
        check("users/ada", all("read"), 1, 3);
        check("users/ada/licenseDetails", all("read"), 1, 3);
        check("users/delta", all("changes"), 2, 3);
    }

    #[test]
    fn teams_and_the_small_services_have_their_nodes() {
        check("teams/T1/channels", ["teams", "t1", "list"], 0, 4);
        check("users/ada/joinedTeams", ["teams", "-", "read"], 0, 3);
        check_as(&Method::POST, "teams", ["teams", "-", "write"], 0, 3);
        let export = "teams/t/channels/getAllMessages";
        check(export, ["teams-export", "-", "read"], 0, 3);
        check(
            "users/a/chats/getAllMessages",
            ["teams-export", "-", "read"],
            0,
            3,
        );
        check("users/a/onenote/pages", ["onenote", "-", "list"], 0, 3);
        let report = "reports/getMailboxUsageDetail(period='D7')";
        check(report, ["reports", "-", "getmailboxusagedetail"], 0, 5);
        check("solutions/backupRestore", ["graph", "-", "read"], 0, 3);
    }

    #[test]
    fn a_batch_is_charged_where_its_parts_meet() {
        let parts = [
            charge(&Method::GET, "users/a/messages/1"),
            charge(&Method::DELETE, "users/a/messages/2"),
        ];
        let batch = together(&parts);
        assert_eq!(batch.path(), ["app", "tenant", "exchange", "a"]);
        assert_eq!((batch.requests(), batch.paused_path().len()), (2, 4));
        let drives = [
            charge(&Method::GET, "drives/d1/items/1/permissions"),
            charge(&Method::GET, "drives/d2/items/1"),
        ];
        let batch = together(&drives);
        assert_eq!(batch.path(), ["app", "tenant", "sharepoint"]);
        assert_eq!(batch.amount(Unit::Units), 6);
        let mixed = [parts[0].clone(), drives[0].clone()];
        assert_eq!(together(&mixed).path(), ["app", "tenant"]);
        assert_eq!(together(&parts[..1]).path(), parts[0].path());
        let content = Node::drive("B!1").transfer(&root());
        assert_eq!(content.path()[2..], ["sharepoint", "b!1", "transfer"]);
    }
}
