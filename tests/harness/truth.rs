//! Truth: what the tenant holds at one moment, read past all protocols.

use std::collections::BTreeMap;

use backup_store::catalog::{ResourceId, Service};
use m365_simulator::Tenant;

/// One item as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub container: String,
    pub name: String,
    pub content: [u8; 32],
}

/// All items of all resources.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Truth {
    pub resources: BTreeMap<ResourceId, BTreeMap<String, Shown>>,
}

impl Truth {
    pub fn of(tenant: &Tenant) -> Self {
        let mut truth = Self::default();
        for user in tenant.users() {
            if user.mailbox.is_some() {
                let id = ResourceId::of(&Service::Outlook, &user.id);
                truth.resources.insert(id, mail(tenant, &user.id));
            }
            if let Some((drive, files)) = files(tenant, &user.id) {
                let id = ResourceId::of(&Service::OneDrive, &drive);
                truth.resources.insert(id, files);
            }
        }
        truth
    }
}

fn mail(tenant: &Tenant, user: &str) -> BTreeMap<String, Shown> {
    let messages = tenant.messages(user).into_iter();
    let shown = |message: m365_simulator::MessageInfo| {
        let mime = tenant.mime(user, &message.id).unwrap();
        let shown = Shown {
            container: message.folder,
            name: message.subject,
            content: *blake3::hash(&mime).as_bytes(),
        };
        (message.id, shown)
    };
    messages.map(shown).collect()
}

fn files(tenant: &Tenant, user: &str) -> Option<(String, BTreeMap<String, Shown>)> {
    tenant.with_drive(user, |drive| {
        let mut files = BTreeMap::new();
        for item in drive.walk() {
            let Some(content) = item.content() else {
                continue;
            };
            let bytes = content.read(0..content.length()).unwrap();
            let shown = Shown {
                container: item.parent().unwrap_or_default().to_owned(),
                name: item.name().to_owned(),
                content: *blake3::hash(&bytes).as_bytes(),
            };
            files.insert(item.id().to_owned(), shown);
        }
        (drive.id().to_owned(), files)
    })
}
