//! Teams: teams that come into being slowly, their channels and messages, and migration mode.

use serde_json::Value;

use super::{Tenant, ids};

/// Requests about a new team that still find nothing.
const UNSEEN: u32 = 2;

/// The teams of a tenant.
#[derive(Debug, Clone, Default)]
pub(crate) struct Teams {
    pub(crate) all: Vec<Team>,
    made: u64,
}

/// One team.
#[derive(Debug, Clone)]
pub(crate) struct Team {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) description: String,
    /// Seconds since 1970.
    pub(crate) created: i64,
    /// The operation that makes it.
    pub(crate) operation: String,
    /// Requests that find nothing, before it is there.
    pub(crate) unseen: u32,
    pub(crate) migrating: bool,
    pub(crate) channels: Vec<Channel>,
}

/// One channel.
#[derive(Debug, Clone)]
pub(crate) struct Channel {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) created: i64,
    pub(crate) migration: Option<Migration>,
    pub(crate) messages: Vec<Post>,
    /// Rises with every change of a message.
    pub(crate) place: u64,
}

/// Where a channel stands with the import of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Migration {
    InProgress,
    Completed,
}

impl Migration {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "inProgress",
            Self::Completed => "completed",
        }
    }
}

/// One message of a channel, or an answer to one.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    pub(crate) id: String,
    pub(crate) reply_to: Option<String>,
    pub(crate) created: i64,
    pub(crate) modified: i64,
    /// Place of its last change in its channel.
    pub(crate) place: u64,
    pub(crate) from: Value,
    pub(crate) body: Value,
}

impl Teams {
    /// Adds a team with its general channel, which is there after some requests.
    pub(crate) fn add(
        &mut self,
        seed: u64,
        name: &str,
        created: i64,
        migrating: bool,
    ) -> &mut Team {
        self.made += 1;
        let mut team = Team {
            id: ids::guid(seed, "team", self.made),
            name: name.to_owned(),
            description: String::new(),
            created,
            operation: ids::guid(seed, "team operation", self.made),
            unseen: UNSEEN,
            migrating,
            channels: Vec::new(),
        };
        let migration = migrating.then_some(Migration::InProgress);
        team.add_channel(seed, "General", created, migration);
        let place = self.all.len();
        self.all.push(team);
        &mut self.all[place]
    }

    pub(crate) fn team_mut(&mut self, id: &str) -> Option<&mut Team> {
        let mut teams = self.all.iter_mut();
        teams.find(|team| team.id.eq_ignore_ascii_case(id))
    }
}

impl Team {
    /// Adds a channel.
    pub(crate) fn add_channel(
        &mut self,
        seed: u64,
        name: &str,
        created: i64,
        migration: Option<Migration>,
    ) -> &Channel {
        let number = ids::number(seed, &self.id, self.channels.len() as u64);
        let id = ids::guid(number, "channel", 0).replace('-', "");
        let place = self.channels.len();
        self.channels.push(Channel {
            id: format!("19:{id}@thread.tacv2"),
            name: name.to_owned(),
            created,
            migration,
            messages: Vec::new(),
            place: 0,
        });
        &self.channels[place]
    }
}

impl Channel {
    /// Adds a message, whose id is the moment of its creation, in milliseconds.
    pub(crate) fn post(
        &mut self,
        reply_to: Option<&str>,
        created: i64,
        from: Value,
        body: Value,
    ) -> &Post {
        let mut number = created * 1_000;
        while self
            .messages
            .iter()
            .any(|post| post.id == number.to_string())
        {
            number += 1;
        }
        self.place += 1;
        let at = self.messages.len();
        self.messages.push(Post {
            id: number.to_string(),
            reply_to: reply_to.map(str::to_owned),
            created,
            modified: created,
            place: self.place,
            from,
            body,
        });
        &self.messages[at]
    }
}

impl Tenant {
    /// Adds a team, which is there at once; returns its id and that of its general channel.
    pub fn add_team(&self, name: &str) -> (String, String) {
        let mut state = self.lock();
        let (seed, now) = (state.seed, state.tick());
        let team = state.teams.add(seed, name, now, false);
        team.unseen = 0;
        (team.id.clone(), team.channels[0].id.clone())
    }

    /// Adds a message to a channel, as a person would have written it at `created`, in seconds
    /// since 1970; returns its id.
    pub fn add_channel_message(
        &self,
        team: &str,
        channel: &str,
        text: &str,
        created: i64,
    ) -> Option<String> {
        let mut state = self.lock();
        let user = state.users.first().map(|user| {
            serde_json::json!({"user": {"id": user.id, "displayName": user.display_name,
                "userIdentityType": "aadUser"}})
        });
        let team = state.teams.team_mut(team)?;
        let channel = team.channels.iter_mut().find(|own| own.id == channel)?;
        let body = serde_json::json!({"contentType": "text", "content": text});
        let post = channel.post(None, created, user.unwrap_or_default(), body);
        Some(post.id.clone())
    }
}
