//! Counters: how many requests each route answered.

use std::collections::BTreeMap;

use crate::tenant::urls::Door;

/// The envelope of a batch, which costs nothing beside its parts.
const BATCH: &str = "POST /$batch";

/// Requests answered since the start or the last reset, by route.
///
/// *Shape*: a route is a method and a path with its ids replaced, such as
/// `GET /users/{id}/mailFolders/{id}/messages/delta`; login routes begin with `login `, EWS routes
/// with `ews `, those of the content origin with `content `. Refused requests count where they
/// were answered; a connection that broke before an answer does not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    routes: BTreeMap<String, u64>,
    billed: u64,
}

impl Counters {
    /// Returns the number of requests that the route answered.
    pub fn route(&self, route: &str) -> u64 {
        self.routes.get(route).copied().unwrap_or(0)
    }

    /// Lists the routes that answered anything, in order.
    pub fn routes(&self) -> impl Iterator<Item = (&str, u64)> {
        self.routes
            .iter()
            .map(|(route, count)| (route.as_str(), *count))
    }

    /// Returns the requests answered by login, Graph and EWS; content origins do not count,
    /// nor do envelopes of batches, whose parts do.
    pub fn billed(&self) -> u64 {
        self.billed
    }

    /// Returns a route as it is counted, with the service in front.
    pub(crate) fn full_name(door: Door, route: &str) -> String {
        match door {
            Door::Login => format!("login {route}"),
            Door::Graph => route.to_string(),
            Door::Ews => format!("ews {route}"),
            Door::Content => format!("content {route}"),
            Door::SharePoint => format!("sharepoint {route}"),
        }
    }

    pub(crate) fn add(&mut self, door: Door, route: &str) {
        if door != Door::Content && route != BATCH {
            self.billed += 1;
        }
        let name = Self::full_name(door, route);
        *self.routes.entry(name).or_insert(0) += 1;
    }
}
