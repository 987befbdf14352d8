//! Subscriptions: who wants to be told of changes, and the notifications that wait for delivery.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Value, json};

use super::{State, Tenant, ids};
use crate::server::answer::instant;
use crate::tenant::mailbox::Mark;

/// Whoever listens at the addresses of notifications.
pub(crate) type Listener = Arc<dyn Fn(Request<Bytes>) -> Response<Bytes> + Send + Sync>;

/// What a tenant knows of subscriptions.
#[derive(Default, Clone)]
pub(crate) struct Subscriptions {
    pub(crate) active: Vec<Subscription>,
    pub(crate) listener: Option<Listener>,
    /// How many notifications are lost from now on.
    lose: u64,
    opened: u64,
}

/// One subscription.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    pub(crate) id: String,
    /// What it is shown as, but for id and expiry.
    pub(crate) shown: Value,
    pub(crate) expires: SystemTime,
    pub(crate) target: Target,
    /// Place of the log up to which it was told.
    after: u64,
}

/// What a subscription listens to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// Messages of a user: of one folder, or of all.
    Messages { user: String, folder: Option<u32> },
    /// The drive of a user, by its root.
    Drive { user: String },
}

/// What the service tells about a subscription itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LifecycleEvent {
    /// Its authorization must be renewed.
    ReauthorizationRequired,
    /// It is gone; a new one must be made.
    SubscriptionRemoved,
    /// Notifications were lost.
    Missed,
}

impl LifecycleEvent {
    fn as_str(self) -> &'static str {
        match self {
            Self::ReauthorizationRequired => "reauthorizationRequired",
            Self::SubscriptionRemoved => "subscriptionRemoved",
            Self::Missed => "missed",
        }
    }
}

impl Tenant {
    /// Sets who listens at the addresses of notifications: it gets the request that validates an
    /// address, and every notification.
    ///
    /// *Shape*: called without the tenant's lock, so that it may ask the tenant; an address is good
    /// when the answer to its validation is the token as plain text.
    pub fn set_notification_listener(
        &self,
        listener: impl Fn(Request<Bytes>) -> Response<Bytes> + Send + Sync + 'static,
    ) {
        self.lock().subscriptions.listener = Some(Arc::new(listener));
    }

    /// Loses so many of the notifications that come next; Outlook tells of it afterwards.
    pub fn lose_notifications(&self, count: u64) {
        self.lock().subscriptions.lose = count;
    }

    /// Delivers what has changed since the last delivery; returns how many notifications arrived.
    ///
    /// *Shape*: one notification for each change of a message, one for any change of a drive;
    /// those whose listener does not answer 2xx are not sent again here.
    pub fn deliver_notifications(&self) -> usize {
        let (listener, waiting) = {
            let mut state = self.lock();
            let waiting = state.collect_notifications();
            (state.subscriptions.listener.clone(), waiting)
        };
        self.post(listener, waiting)
    }

    /// Tells every subscriber that gave an address for it of an event; a removal ends them all.
    pub fn send_lifecycle_event(&self, event: LifecycleEvent) -> usize {
        let (listener, waiting) = {
            let mut state = self.lock();
            let tenant = state.app.app.tenant_id.clone();
            let of = |own: &Subscription| own.lifecycle(event, &tenant);
            let waiting = state.subscriptions.active.iter().filter_map(of).collect();
            if event == LifecycleEvent::SubscriptionRemoved {
                state.subscriptions.active.clear();
            }
            (state.subscriptions.listener.clone(), waiting)
        };
        self.post(listener, waiting)
    }

    fn post(&self, listener: Option<Listener>, waiting: VecDeque<(String, Value)>) -> usize {
        let Some(listener) = listener else { return 0 };
        let arrived = |(url, notification): (String, Value)| {
            let body = json!({"value": [notification]}).to_string();
            let request = Request::post(url)
                .header("content-type", "application/json")
                .body(Bytes::from(body));
            request.is_ok_and(|request| listener(request).status().is_success())
        };
        waiting.into_iter().map(arrived).filter(|ok| *ok).count()
    }
}

impl State {
    /// Adds a subscription, which is told of changes from now on.
    pub(crate) fn subscribe(
        &mut self,
        shown: Value,
        expires: SystemTime,
        target: Target,
    ) -> &Subscription {
        self.subscriptions.opened += 1;
        let number = self.subscriptions.opened;
        let subscription = Subscription {
            id: ids::guid(self.seed, "subscription", number),
            shown,
            expires,
            after: self.place_of(&target),
            target,
        };
        let place = self.subscriptions.active.len();
        self.subscriptions.active.push(subscription);
        &self.subscriptions.active[place]
    }

    /// Returns the last place of the log behind a target.
    fn place_of(&self, target: &Target) -> u64 {
        match target {
            Target::Messages { user, .. } => self
                .user(user)
                .and_then(|user| user.mailbox.as_ref())
                .map_or(0, super::mailbox::Mailbox::last_place),
            Target::Drive { user } => self
                .user(user)
                .and_then(|user| user.drive.as_ref())
                .map_or(0, super::drive::Drive::last_place),
        }
    }

    /// Returns addresses and notifications, and moves every subscription on.
    fn collect_notifications(&mut self) -> VecDeque<(String, Value)> {
        let now = (self.clock)();
        let tenant = self.app.app.tenant_id.clone();
        let mut active = std::mem::take(&mut self.subscriptions.active);
        active.retain(|own| own.expires > now);
        let mut waiting = VecDeque::new();
        for own in &mut active {
            let mut missed = false;
            for change in self.changes_for(own) {
                if self.subscriptions.lose > 0 {
                    self.subscriptions.lose -= 1;
                    missed = true;
                    continue;
                }
                waiting.extend(own.notification(&change, &tenant));
            }
            if missed && matches!(own.target, Target::Messages { .. }) {
                waiting.extend(own.lifecycle(LifecycleEvent::Missed, &tenant));
            }
            own.after = self.place_of(&own.target);
        }
        self.subscriptions.active = active;
        waiting
    }

    /// Returns what changed behind a subscription: kind of change, and what is known of its object.
    fn changes_for(&self, own: &Subscription) -> Vec<(&'static str, Option<Value>)> {
        let (user, folder) = match &own.target {
            Target::Messages { user, folder } => (user, *folder),
            Target::Drive { .. } if self.place_of(&own.target) > own.after => {
                return vec![("updated", None)];
            }
            Target::Drive { .. } => return Vec::new(),
        };
        let Some(mailbox) = self.user(user).and_then(|user| user.mailbox.as_ref()) else {
            return Vec::new();
        };
        let logs = mailbox
            .folders
            .values()
            .filter(|found| folder.is_none_or(|key| key == found.key));
        let marks = logs.flat_map(|folder| folder.log.range(own.after + 1..));
        let mut changes: Vec<(u64, &'static str, Value)> = marks
            .filter_map(|(place, mark)| {
                let (kind, id) = match *mark {
                    Mark::Live(serial) => {
                        let message = mailbox.messages.get(&serial)?;
                        let new = message.created == message.modified;
                        let kind = if new { "created" } else { "updated" };
                        (kind, mailbox.message_id(message, false))
                    }
                    Mark::Gone(serial, moves) => ("deleted", mailbox.gone_id(serial, moves, false)),
                };
                let data = json!({
                    "@odata.type": "#Microsoft.Graph.Message",
                    "@odata.id": format!("Users/{user}/Messages/{id}"),
                    "id": id,
                });
                Some((*place, kind, data))
            })
            .collect();
        changes.sort_by_key(|(place, ..)| *place);
        let plain = |(_, kind, data)| (kind, Some(data));
        changes.into_iter().map(plain).collect()
    }
}

impl Subscription {
    /// Shows the subscription.
    pub(crate) fn to_json(&self) -> Value {
        let mut shown = self.shown.clone();
        shown["id"] = json!(self.id);
        shown["expirationDateTime"] = json!(self.end());
        shown
    }

    fn end(&self) -> String {
        let since = self.expires.duration_since(UNIX_EPOCH).unwrap_or_default();
        instant(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
    }

    fn notification(
        &self,
        (kind, data): &(&'static str, Option<Value>),
        tenant: &str,
    ) -> Option<(String, Value)> {
        let wanted = self.shown["changeType"].as_str()?;
        let url = self.shown["notificationUrl"].as_str()?.to_owned();
        let mut body = self.envelope(tenant);
        body["changeType"] = json!(kind);
        if let Some(data) = data {
            body["resourceData"] = data.clone();
        }
        let listens = wanted.split(',').any(|word| word.trim() == *kind);
        listens.then_some((url, body))
    }

    fn lifecycle(&self, event: LifecycleEvent, tenant: &str) -> Option<(String, Value)> {
        let url = self.shown["lifecycleNotificationUrl"].as_str()?.to_owned();
        let mut body = self.envelope(tenant);
        body["lifecycleEvent"] = json!(event.as_str());
        Some((url, body))
    }

    fn envelope(&self, tenant: &str) -> Value {
        json!({
            "subscriptionId": self.id,
            "subscriptionExpirationDateTime": self.end(),
            "clientState": self.shown["clientState"],
            "resource": self.shown["resource"],
            "tenantId": tenant,
        })
    }
}

impl fmt::Debug for Subscriptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriptions")
            .field("active", &self.active.len())
            .finish_non_exhaustive()
    }
}
