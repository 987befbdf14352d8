//! Outlook target: writes the mail of one mailbox through Graph.
//!
//! A message is created from JSON in its folder, already sent and received at its own times; an
//! import of MIME would leave a draft. Nothing here submits anything: no call of this file can send.

mod compare;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backup_store::Store;
use backup_store::catalog::{Container, Item, ItemState, RepresentationKind, Service};
use bytes::Bytes;
use m365_auth::Charge;
use m365_graph::{Entity, GraphClient, Mail, NewAttachment, User};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{
    FoundContainer, NewContainer, Occupant, Place, ServiceLimits, Target, WriteCost, WriteJob,
    Written,
};
use crate::content::{read_all, read_json};
use crate::error::{Error, ErrorKind, Result};
use crate::loss::LossCode;
use crate::message::mime::{Attachment, MimeView};
use crate::message::{INCOMPLETE_PREFIX, NewMessage, SOURCE_ITEM_PROPERTY, build, source_property};

/// Writes the mail of one user.
#[derive(Clone)]
pub struct OutlookTarget {
    client: GraphClient,
    owner: String,
    /// Named by the id of its owner, as a backup names it: the limiter knows it by one name.
    mail: Arc<OnceCell<Mail>>,
}

impl OutlookTarget {
    /// Creates the target for the mailbox of `owner`, a principal name or an id.
    ///
    /// `client` shall have no retry of its own: the engine decides when to try again.
    pub fn new(client: GraphClient, owner: impl Into<String>) -> Self {
        Self {
            client,
            owner: owner.into(),
            mail: Arc::default(),
        }
    }

    async fn mail(&self) -> Result<&Mail> {
        let find = || async {
            let user = self.user().await?;
            Ok(self.client.mail(&user.id))
        };
        self.mail.get_or_try_init(find).await
    }

    async fn user(&self) -> Result<Entity<User>> {
        let user = self.client.user(&self.owner).await;
        user.map_err(|cause| self.of_mailbox(cause))
    }

    fn of_mailbox(&self, cause: m365_graph::Error) -> Error {
        Error::from(cause).in_context(format_args!("mailbox of {}", self.owner))
    }

    /// Reads the stored forms and builds the message anew from them.
    async fn stored(&self, store: &Store, item: &Item) -> Result<NewMessage> {
        let missing = |form: &str| {
            let cause = format!("message \"{}\": its {form} form is not stored", item.name);
            Error::new(ErrorKind::Damaged, cause)
        };
        let properties = item.representation(&RepresentationKind::GraphJson);
        let properties = properties.ok_or_else(|| missing("graph-json"))?;
        let properties = read_json(store, properties).await?;
        let mime = item.representation(&RepresentationKind::Mime);
        let mime = mime.ok_or_else(|| missing("mime"))?;
        let bytes = read_all(store, mime, MIME_BYTES_MAX).await?;
        let id = item.key.id.clone();
        let name = item.name.clone();
        let work = move || {
            let view = MimeView::parse(&bytes).ok_or_else(|| {
                let cause = format!("message \"{name}\": its stored MIME has no header");
                Error::new(ErrorKind::Damaged, cause)
            })?;
            Ok(build(&id, &properties, view))
        };
        backup_store::offload(store.offload().as_ref(), work).await?
    }

    /// Adds what did not fit into the create call, then takes away the mark of incompleteness.
    async fn complete(&self, id: &str, item: &Item, later: Vec<Attachment>) -> Result<()> {
        for attachment in later {
            let Attachment {
                name,
                content_type,
                content_id,
                inline,
                bytes,
            } = attachment;
            let mut new = NewAttachment::new(name, Bytes::from(bytes));
            new = new.with_content_type(content_type);
            if let Some(content_id) = content_id {
                new = new.with_content_id(content_id, inline);
            }
            self.mail().await?.add_attachment(id, &new).await?;
        }
        let whole =
            json!({"singleValueExtendedProperties": [source_property(&item.key.id, false)]});
        self.mail().await?.update_message(id, &whole).await?;
        Ok(())
    }

    async fn marked(&self, folder: &str, value: Option<&str>) -> Result<Vec<Occupant>> {
        let mut list = Vec::new();
        let mut next = None;
        loop {
            let page = self
                .mail()
                .await?
                .marked_messages_page(folder, SOURCE_ITEM_PROPERTY, value, next.as_ref())
                .await?;
            list.extend(page.items.iter().map(|message| occupant(message.raw())));
            match page.next {
                Some(link) => next = Some(link),
                None => return Ok(list),
            }
        }
    }
}

#[async_trait]
impl Target for OutlookTarget {
    fn service(&self) -> Service {
        Service::Outlook
    }

    async fn place(&self) -> Result<Place> {
        let user = self.user().await?;
        let mail = self
            .mail
            .get_or_init(async || self.client.mail(&user.id))
            .await;
        let root = mail.folder("msgfolderroot").await;
        let root = root.map_err(|cause| self.of_mailbox(cause))?;
        let owner = user.user_principal_name.as_deref().unwrap_or(&self.owner);
        Ok(Place::new(&Service::Outlook, &user.id, owner, &root.id))
    }

    async fn charge(&self) -> Result<Charge> {
        Ok(self.mail().await?.lane())
    }

    fn names_are_unique(&self) -> bool {
        false
    }

    fn standing_losses(&self) -> &'static [LossCode] {
        &[
            LossCode::NewIdentity,
            LossCode::TransportHeaders,
            LossCode::MimeForm,
        ]
    }

    /// *Source*: the service's throttling page, per app and mailbox: 10,000 requests in 10 minutes,
    /// 150 MB of uploads in 5 minutes, 4 requests at once.
    fn limits(&self) -> ServiceLimits {
        ServiceLimits {
            units: 10_000,
            unit_window: Duration::from_secs(600),
            bytes: 150_000_000,
            byte_window: Duration::from_secs(300),
            concurrency: 4,
        }
    }

    fn cost(&self, item: &Item) -> WriteCost {
        let mime = item.representation(&RepresentationKind::Mime);
        let bytes = mime.map_or(item.size_bytes, |content| content.length);
        // Create, and read back; what does not fit into the create call comes in calls of its own,
        // and a message with attachments is read back in two.
        let further = if bytes > LARGE_BYTES {
            3 + bytes / FRAGMENT_BYTES
        } else {
            0
        };
        let requests = 2 + further;
        WriteCost {
            requests,
            units: requests,
            bytes,
            memory_bytes: bytes.saturating_mul(6),
        }
    }

    fn unavailable(&self, item: &Item) -> Option<LossCode> {
        let forms = [RepresentationKind::GraphJson, RepresentationKind::Mime];
        if forms.iter().all(|form| item.representation(form).is_some()) {
            return None;
        }
        Some(match item.state {
            ItemState::Quarantined { .. } => LossCode::Quarantined,
            ItemState::Skipped { .. } => LossCode::SkippedAtBackup,
            _ => LossCode::NoContent,
        })
    }

    async fn well_known(&self, name: &str) -> Result<Option<String>> {
        match self.mail().await?.folder(name).await {
            Ok(folder) => Ok(Some(folder.id.clone())),
            Err(error) if error.kind() == m365_graph::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn child_containers(&self, parent: &str) -> Result<Vec<FoundContainer>> {
        let mut list = Vec::new();
        let mut next = None;
        loop {
            let page = self
                .mail()
                .await?
                .child_folders(parent, next.as_ref())
                .await?;
            list.extend(page.items.iter().map(|folder| FoundContainer {
                id: folder.id.clone(),
                name: folder.display_name.clone().unwrap_or_default(),
            }));
            match page.next {
                Some(link) => next = Some(link),
                None => return Ok(list),
            }
        }
    }

    async fn occupants(&self, container: &str) -> Result<Vec<Occupant>> {
        self.marked(container, None).await
    }

    async fn create_container(&self, parent: &str, new: &NewContainer) -> Result<String> {
        let folder = self
            .mail()
            .await?
            .create_folder(parent, &new.name, new.hidden)
            .await?;
        Ok(folder.id.clone())
    }

    async fn stored_hash(&self, _: &Store, _: &Item) -> Result<Option<String>> {
        Ok(None)
    }

    async fn write(&self, store: &Store, job: &WriteJob<'_>) -> Result<Written> {
        let message = self.stored(store, job.item).await?;
        let context = |error: Error| error.in_context(format_args!("message \"{}\"", job.name));
        let NewMessage {
            create,
            later,
            losses,
        } = message;
        let created = self
            .mail()
            .await?
            .create_message(job.container, &create)
            .await;
        let created = created.map_err(|error| context(error.into()))?;
        drop(create);
        if !later.is_empty() {
            // From here on something is there: whatever fails is looked for before it is repeated.
            let completed = self.complete(&created.id, job.item, later).await;
            completed.map_err(|error| context(error).with_something_written())?;
        }
        Ok(Written {
            id: created.id.clone(),
            bytes: self.cost(job.item).bytes,
            losses,
        })
    }

    async fn find(&self, _: &Store, job: &WriteJob<'_>) -> Result<Option<Occupant>> {
        let source = &job.item.key.id;
        let whole = self
            .marked(job.container, Some(source))
            .await?
            .into_iter()
            .next();
        if whole.is_some() {
            return Ok(whole);
        }
        let begun = format!("{INCOMPLETE_PREFIX}{source}");
        Ok(self
            .marked(job.container, Some(&begun))
            .await?
            .into_iter()
            .next())
    }

    async fn verify(&self, store: &Store, job: &WriteJob<'_>, id: &str) -> Result<Vec<String>> {
        let expected = self.stored(store, job.item).await?;
        let actual = self.mail().await?.message(id).await?.into_raw();
        let mut attachments = Vec::new();
        if compare::has_attachments(&expected, &actual) {
            let mime = self
                .mail()
                .await?
                .mime(id)
                .await?
                .collect(MIME_BYTES_MAX)
                .await?;
            let view = MimeView::parse(&mime);
            attachments = view.map(|view| view.attachments).unwrap_or_default();
        }
        Ok(compare::differences(
            &expected,
            &actual,
            &attachments,
            job.container,
        ))
    }

    fn interim_name(&self, item: &Item) -> String {
        item.name.clone()
    }

    async fn rename(&self, _: &str, _: &str) -> Result<()> {
        Ok(())
    }

    async fn remove(&self, id: &str) -> Result<()> {
        match self.mail().await?.delete_message(id).await {
            Err(error) if error.kind() == m365_graph::ErrorKind::NotFound => Ok(()),
            other => Ok(other?),
        }
    }

    async fn finish_container(&self, _: &Store, _: &str, _: &Container) -> Result<()> {
        Ok(())
    }
}

impl fmt::Debug for OutlookTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutlookTarget").finish_non_exhaustive()
    }
}

fn occupant(message: &Value) -> Occupant {
    let properties = message["singleValueExtendedProperties"].as_array();
    let mark = properties.into_iter().flatten().find(|property| {
        property["id"]
            .as_str()
            .is_some_and(|id| id.eq_ignore_ascii_case(SOURCE_ITEM_PROPERTY))
    });
    let mark = mark.and_then(|property| property["value"].as_str());
    let unfinished = mark.and_then(|mark| mark.strip_prefix(INCOMPLETE_PREFIX));
    Occupant {
        id: message["id"].as_str().unwrap_or_default().to_owned(),
        source_item: unfinished.or(mark).map(str::to_owned),
        incomplete: unfinished.is_some(),
        change_key: message["changeKey"].as_str().map(str::to_owned),
        ..Occupant::default()
    }
}

/// The largest MIME form that is taken into memory: the service's own limit for a message.
const MIME_BYTES_MAX: usize = 150 << 20;

/// MIME forms above this may not fit into one create call.
const LARGE_BYTES: u64 = 3_000_000;

/// Pieces in which large attachments are sent.
const FRAGMENT_BYTES: u64 = 12 * 327_680;
