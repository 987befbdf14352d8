//! Pending claims: what the next token for an audience must meet, until one was given.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::Audience;
use crate::challenge::Claims;

/// Keeps the claims of challenges until a token that meets them was given.
#[derive(Debug, Default)]
pub(super) struct PendingClaims(Mutex<HashMap<Audience, Claims>>);

impl PendingClaims {
    pub(super) fn add(&self, audience: &Audience, claims: &Claims) {
        self.with(|map| map.insert(audience.clone(), claims.clone()));
    }

    pub(super) fn of(&self, audience: &Audience) -> Option<Claims> {
        self.with(|map| map.get(audience).cloned())
    }

    /// Forgets the claims that were met; others that came meanwhile stay.
    pub(super) fn met(&self, audience: &Audience, claims: Option<&Claims>) {
        self.with(|map| {
            if map.get(audience) == claims {
                map.remove(audience);
            }
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<Audience, Claims>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
