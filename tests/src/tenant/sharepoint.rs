//! SharePoint: sites, as far as Graph does not tell of them: where they come from, who may do what
//! on them, and what is attached to the items of their lists.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};

use super::Tenant;

/// The sites of a tenant, by their path in lower case, without slashes around it.
#[derive(Debug, Clone)]
pub(crate) struct Sites(pub(crate) BTreeMap<String, Site>);

impl Default for Sites {
    /// Every tenant has a site at the root of its host.
    fn default() -> Self {
        let root = Site {
            title: "Contoso".to_owned(),
            template: "SITEPAGEPUBLISHING".to_owned(),
            ..Site::default()
        };
        Self(BTreeMap::from([(String::new(), root)]))
    }
}

/// One site.
#[derive(Debug, Default, Clone)]
pub(crate) struct Site {
    pub(crate) title: String,
    /// The template and its kind, such as `STS#3`.
    pub(crate) template: String,
    pub(crate) kind: u32,
    /// Who may do what, as the service shows it.
    pub(crate) roles: Vec<Value>,
    /// Attachments by list, item and name.
    pub(crate) attachments: BTreeMap<(String, u64), BTreeMap<String, Bytes>>,
}

impl Tenant {
    /// Adds a site, or changes the one at that path.
    ///
    /// *Shape*: the path as in its address, such as `sites/plans`, empty for the root; the template
    /// such as `STS` with its kind, 3 in `STS#3`.
    pub fn add_site(&self, path: &str, title: &str, template: &str, kind: u32) {
        let mut state = self.lock();
        let site = state.sites.0.entry(key(path)).or_default();
        site.title = title.to_owned();
        site.template = template.to_owned();
        site.kind = kind;
    }

    /// Gives a group of a site a role on it; `false` where there is no such site.
    pub fn give_role(&self, site: &str, group: &str, role: &str) -> bool {
        let mut state = self.lock();
        let Some(site) = state.sites.0.get_mut(&key(site)) else {
            return false;
        };
        let number = site.roles.len() + 3;
        site.roles.push(json!({
            "PrincipalId": number,
            "Member": {
                "Id": number,
                "LoginName": group,
                "Title": group,
                "PrincipalType": 8,
                "IsHiddenInUI": false,
            },
            "RoleDefinitionBindings": [{"Id": 1_073_741_826, "Name": role, "RoleTypeKind": 3}],
        }));
        true
    }

    /// Attaches bytes to an item of a list; `false` where there is no such site.
    pub fn attach(&self, site: &str, list: &str, item: u64, name: &str, content: &[u8]) -> bool {
        let mut state = self.lock();
        let Some(site) = state.sites.0.get_mut(&key(site)) else {
            return false;
        };
        let files = site.attachments.entry((list.to_lowercase(), item));
        let content = Bytes::copy_from_slice(content);
        files.or_default().insert(name.to_owned(), content);
        true
    }
}

/// Brings the path of a site into the form it is kept by.
pub(crate) fn key(path: &str) -> String {
    path.trim_matches('/').to_lowercase()
}
