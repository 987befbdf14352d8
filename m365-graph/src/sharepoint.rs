//! SharePoint REST: what of a site Graph does not tell, such as the attachments of list items, the
//! template of the site, and who may do what on it.
//!
//! Its tokens are for the SharePoint host of the tenant, not for Graph; an application gets them by
//! a certificate alone: the service refuses those that a secret was given for.
//!
//! *Source*: SharePoint developer documentation, app-only access by Entra ID, working with folders
//! and files by REST (2026-07); reference of list items and role assignments (REST endpoints).

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use http::header::ACCEPT;
use m365_auth::{AuthorizedTransport, Body, Cloud, OriginPolicy, TokenProvider, Transport};
use url::Url;

use crate::client::{Call, Dialect, Given, GraphClient, GraphOptions, Repeat, Segment, segment};
use crate::entity::{Entity, view};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::Node;
use crate::page::{self, Page, PageLink};

view! {
    /// Shows a site.
    pub struct Web {
        /// The name to show.
        title: Option<String> = "Title",
        /// Its address.
        url: Option<String> = "Url",
        /// The template that it was made from, such as `STS` or `SITEPAGEPUBLISHING`.
        web_template: Option<String> = "WebTemplate",
        /// Which kind of that template, as in `STS#3`.
        configuration: Option<i64> = "Configuration",
    }
}

view! {
    /// Shows an attachment of a list item.
    pub struct ListAttachment {
        /// Its name, by which its content is asked for.
        file_name: Option<String> = "FileName",
        /// Its path on the host.
        server_relative_url: Option<String> = "ServerRelativeUrl",
    }
}

view! {
    /// Shows what one person or group may do on a site.
    pub struct RoleAssignment {
        /// The number of the person or group on this site.
        principal_id: Option<i64> = "PrincipalId",
        /// The person or group.
        member: Option<Principal> = "Member",
        /// What it may do.
        roles: Vec<Role> = "RoleDefinitionBindings",
    }
}

view! {
    /// Shows a person or a group of a site.
    pub struct Principal {
        /// The name that the service knows it by, with its kind of sign-in.
        login_name: Option<String> = "LoginName",
        /// The name to show.
        title: Option<String> = "Title",
        /// 1 for a person, 4 for a group of the directory, 8 for a group of the site.
        principal_type: Option<i64> = "PrincipalType",
    }
}

view! {
    /// Shows a role of a site.
    pub struct Role {
        /// Its number on this site.
        id: Option<i64> = "Id",
        /// Its name, in the language of the site.
        name: Option<String> = "Name",
    }
}

/// Speaks to one site.
#[derive(Clone)]
pub struct SharePointClient {
    client: GraphClient,
    node: Node,
}

impl SharePointClient {
    /// Prepares a client of the site at that address; nothing is sent yet. Tokens go to the origin
    /// of the site only.
    ///
    /// *Errors*: [`ErrorKind::OriginRefused`] for a host that is none of `cloud`'s.
    pub fn new(
        transport: Arc<dyn Transport>,
        tokens: Arc<dyn TokenProvider>,
        cloud: &Cloud,
        site: &Url,
        options: GraphOptions,
    ) -> Result<Self> {
        let audience = cloud.sharepoint_audience(site)?;
        let policy = OriginPolicy::new([site])?;
        let door = AuthorizedTransport::new(transport, tokens, audience, policy);
        let path = site.path().trim_end_matches('/');
        let mut root = site.clone();
        root.set_query(None);
        root.set_fragment(None);
        root.set_path(&format!("{path}/_api/web"));
        let host = site.host_str().unwrap_or_default();
        let node = Node::site(&format!("{host}{path}"));
        let client = GraphClient::over(door, root, Dialect::SharePoint, options)?;
        Ok(Self { client, node })
    }

    /// Reads what the site is.
    pub async fn web(&self) -> Result<Entity<Web>> {
        let call = self.get("the site", &[], Cost::Read)?;
        let properties = "Id,Title,Url,WebTemplate,Configuration";
        self.client.entity(call.query("$select", properties)).await
    }

    /// Reads one page of who may do what on the site.
    ///
    /// *Errors*: [`ErrorKind::Forbidden`] for all but full control of the site.
    pub async fn role_assignments(&self, next: Option<&PageLink>) -> Result<Page<RoleAssignment>> {
        const ABOUT: &str = "the roles on the site";
        let call = match next {
            Some(link) => self.charged(self.client.follow(ABOUT, link.url())?, Cost::Permissions),
            None => self
                .get(ABOUT, &[segment("roleassignments")], Cost::Permissions)?
                .query("$expand", "Member,RoleDefinitionBindings"),
        };
        page::list(self.client.json(call).await?, &|link| {
            self.client.check(link)
        })
        .map_err(|error| error.about(ABOUT))
    }

    /// Reads which attachments an item of a list has.
    ///
    /// *Shape*: the list by its GUID, the item by its number, as Graph gives both.
    pub async fn attachments(&self, list: &str, item: u64) -> Result<Vec<Entity<ListAttachment>>> {
        const ABOUT: &str = "the attachments of the list item";
        let path = attachment_path(ABOUT, list, item)?;
        let call = self.get(ABOUT, &path, Cost::List)?;
        let page = page::list(self.client.json(call).await?, &|link| {
            self.client.check(link)
        });
        let page = page.map_err(|error| error.about(ABOUT))?;
        if page.next.is_some() {
            // The service gives them all at once; what it does not must not be taken for all.
            let message = format!("{ABOUT}: the answer says that there are more, and names no way");
            return Err(Error::new(ErrorKind::Malformed, message));
        }
        Ok(page.items)
    }

    /// Opens the content of an attachment for reading, streamed.
    ///
    /// *Errors*: [`ErrorKind::NotFound`]; errors in the body are those of the transport. The
    /// service names neither length nor hash.
    pub async fn attachment(&self, list: &str, item: u64, name: &str) -> Result<Body> {
        const ABOUT: &str = "the attachment of the list item";
        let [list, item, _] = attachment_path(ABOUT, list, item)?;
        let own = Segment::Function("AttachmentFiles", Given::Text(name));
        let path = [list, item, own, segment("$value")];
        let call = self.get(ABOUT, &path, Cost::Read)?.header(ACCEPT, "*/*")?;
        Ok(self.client.stream(call).await?.body)
    }

    /// Adds an attachment to an item of a list.
    ///
    /// *Units and limits*: 250 MB at most, held in memory.
    ///
    /// *Errors*: [`ErrorKind::TooLarge`] before anything is sent; [`ErrorKind::Conflict`] or
    /// [`ErrorKind::InvalidRequest`] when there is one of that name, as the service words it; after
    /// [`ErrorKind::Transport`] or [`ErrorKind::Service`] the attachment may exist.
    pub async fn add_attachment(
        &self,
        list: &str,
        item: u64,
        name: &str,
        content: impl Into<Bytes>,
    ) -> Result<Entity<ListAttachment>> {
        const ABOUT: &str = "the new attachment of the list item";
        let content = content.into();
        if content.len() > ATTACHMENT_BYTES_MAX {
            let message = format!("{ABOUT}: it is longer than {ATTACHMENT_BYTES_MAX} bytes");
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        let [list, item, files] = attachment_path(ABOUT, list, item)?;
        let add = Segment::Function("add", Given::Named("FileName", name));
        let call = self
            .client
            .call(ABOUT, Method::POST, &[list, item, files, add])?;
        let call = self.charged(call, Cost::Write).repeat(Repeat::Creates);
        self.client.entity(call.bytes(content)).await
    }

    fn get(&self, about: &'static str, path: &[Segment<'_>], cost: Cost) -> Result<Call> {
        Ok(self.charged(self.client.get(about, path)?, cost))
    }

    fn charged(&self, call: Call, cost: Cost) -> Call {
        let (operation, units) = match cost {
            Cost::Read => ("read", 1),
            Cost::List => ("list", 2),
            Cost::Write => ("write", 2),
            Cost::Permissions => ("permissions", 5),
        };
        let root = &self.client.options().limited_as;
        call.charged(self.node.does(root, operation, units))
    }
}

impl fmt::Debug for SharePointClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharePointClient")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// What a call costs, as the like of it costs by Graph: the service publishes no units for these
/// calls, and one budget serves both.
#[derive(Debug, Clone, Copy)]
enum Cost {
    Read,
    List,
    Write,
    Permissions,
}

fn attachment_path<'s>(about: &str, list: &'s str, item: u64) -> Result<[Segment<'s>; 3]> {
    let digits = list
        .bytes()
        .all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if list.len() != 36 || !digits {
        let message = format!("{about}: the id of the list is no guid");
        return Err(Error::new(ErrorKind::InvalidRequest, message));
    }
    Ok([
        Segment::Function("lists", Given::Guid(list)),
        Segment::Function("items", Given::Number(item)),
        segment("AttachmentFiles"),
    ])
}

/// The longest attachment of a list item, in bytes (SharePoint limits, 2025).
const ATTACHMENT_BYTES_MAX: usize = 250 << 20;
