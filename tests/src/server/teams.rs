//! Teams: the Graph paths below `/teams`, in the error style of Teams.

mod messages;
#[cfg(test)]
mod tests;

use std::time::UNIX_EPOCH;

use http::Method;
use serde_json::{Value, json};

use super::answer::{self, Outcome, Refusal, instant};
use super::call::Call;
use super::directory::context;
use crate::tenant::State;
use crate::tenant::teams::{Channel, Migration, Team};

/// Answers one request about teams.
pub(super) fn route(call: &Call) -> Outcome {
    let keys = call.keys();
    let rest = keys.get(1..).unwrap_or_default();
    match (rest, call.method.as_str()) {
        ([], "GET") => list(call),
        ([], "POST") => create(call),
        ([_], "GET") => with_team(call, &READ_TEAMS, |_, team| {
            let context = context(call, "teams/$entity");
            Ok(answer::json(200, &with_context(team_json(team), context)))
        }),
        ([_, "operations", _], "GET") => operation(call),
        ([_, "channels" | "allchannels"], "GET") => channels(call),
        ([_, "channels"], "POST") => add_channel(call),
        ([_, "channels", "getallmessages"], "GET") => messages::all(call),
        // What retention policies keep is not simulated; the word is no id of a channel.
        ([_, "channels", "getallretainedmessages"], _) => Err(Refusal::no_such_segment(call)),
        ([_, "channels", _], "GET") => with_channel(call, &READ_CHANNELS, |_, channel| {
            let context = context(call, "teams('…')/channels/$entity");
            Ok(answer::json(
                200,
                &with_context(channel_json(channel), context),
            ))
        }),
        ([_, "channels", _, "startmigration"], "POST") => start(call),
        ([_, "channels", _, "completemigration"], "POST") => complete_channel(call),
        ([_, "completemigration"], "POST") => complete_team(call),
        ([_, "channels", _, "messages", below @ ..], _) => messages::route(call, below),
        (_, "GET" | "POST") => Err(Refusal::no_such_segment(call)),
        _ => Err(call.wrong_verb()),
    }
}

fn with_context(mut body: Value, context: String) -> Value {
    body["@odata.context"] = json!(context);
    body
}

fn not_found(what: &str) -> Refusal {
    Refusal::new(
        404,
        "NotFound",
        format!("No {what} found with the given id."),
    )
}

fn bad(text: impl Into<String>) -> Refusal {
    Refusal::new(400, "BadRequest", text)
}

/// Finds the team of a path; one that is being made is not found for a while.
fn with_team(
    call: &Call,
    permissions: &[&str],
    act: impl FnOnce(Context, &mut Team) -> Outcome,
) -> Outcome {
    call.require(permissions)?;
    let mut state = call.tenant.lock();
    let context = Context::of(&state);
    let team = state.teams.team_mut(call.segment(1));
    let team = team.ok_or_else(|| not_found("team"))?;
    if team.unseen > 0 {
        team.unseen -= 1;
        return Err(not_found("team"));
    }
    act(context, team)
}

fn with_channel(
    call: &Call,
    permissions: &[&str],
    act: impl FnOnce(Context, &mut Channel) -> Outcome,
) -> Outcome {
    with_team(call, permissions, |context, team| {
        let mut channels = team.channels.iter_mut();
        let channel = channels.find(|own| own.id == call.segment(3));
        act(context, channel.ok_or_else(|| not_found("channel"))?)
    })
}

/// What of the tenant an act on one team needs.
#[derive(Debug, Clone, Copy)]
struct Context {
    seed: u64,
    /// Seconds since 1970, by the wall clock.
    now: i64,
}

impl Context {
    fn of(state: &State) -> Self {
        let since = (state.clock)().duration_since(UNIX_EPOCH);
        Self {
            seed: state.seed,
            now: since.map_or(0, |since| {
                i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
            }),
        }
    }
}

fn list(call: &Call) -> Outcome {
    call.check(Method::GET, &READ_TEAMS)?;
    let state = call.tenant.lock();
    let seen = state.teams.all.iter().filter(|team| team.unseen == 0);
    let value: Vec<Value> = seen.map(team_json).collect();
    let body = json!({"@odata.context": context(call, "teams"), "value": value});
    Ok(answer::json(200, &body))
}

/// Begins to make a team: 202, with the address of the operation.
fn create(call: &Call) -> Outcome {
    call.check(Method::POST, &["Team.Create"])?;
    let body = call.json()?;
    // A team of a group that is there has the name of the group.
    let named = body["displayName"].as_str().map(str::to_owned);
    let name = named.or_else(|| name_of_group(call, &body["group@odata.bind"]));
    let name = name.unwrap_or_default();
    let template = body["template@odata.bind"].as_str().unwrap_or_default();
    if name.is_empty() || !template.contains("teamsTemplates('") {
        return Err(bad("A team needs 'displayName' and 'template@odata.bind'."));
    }
    let migrating = body["@microsoft.graph.teamCreationMode"] == "migration";
    if migrating {
        call.require(&MIGRATE)?;
    }
    let mut state = call.tenant.lock();
    let context = Context::of(&state);
    let created = created(&body, context.now, migrating)?;
    let team = state.teams.add(context.seed, &name, created, migrating);
    team.description = body["description"].as_str().unwrap_or_default().to_owned();
    let (id, operation) = (team.id.clone(), team.operation.clone());
    let mut answer = answer::empty(202);
    answer::put_header(&mut answer, "content-location", &format!("/teams('{id}')"));
    let location = format!("/teams('{id}')/operations('{operation}')");
    answer::put_header(&mut answer, "location", &location);
    Ok(answer)
}

/// Finds the name of the group that an address means; one that nobody described is called by its id.
fn name_of_group(call: &Call, address: &Value) -> Option<String> {
    let (_, id) = address.as_str()?.split_once("groups('")?;
    let id = id.split('\'').next()?;
    let groups = call.tenant.lock().collections.get("groups");
    let mut known = groups.objects();
    let group = known.find(|group| group["id"] == id);
    let name = group.and_then(|group| group["displayName"].as_str());
    Some(name.unwrap_or(id).to_owned())
}

/// Reads when something is to have been created; only what is imported may say so.
fn created(body: &Value, now: i64, migrating: bool) -> Result<i64, Refusal> {
    match (body["createdDateTime"].as_str(), migrating) {
        (None, false) => Ok(now),
        (Some(_), false) => Err(bad("createdDateTime can be set in migration mode only.")),
        (None, true) => Err(bad("createdDateTime is required in migration mode.")),
        (Some(text), true) => past(text, now),
    }
}

fn past(text: &str, now: i64) -> Result<i64, Refusal> {
    let time = text.parse::<jiff::Timestamp>();
    let seconds = time.map_err(|_| bad("A date cannot be read."))?.as_second();
    match seconds <= now {
        true => Ok(seconds),
        false => Err(bad("The date must not be in the future.")),
    }
}

fn operation(call: &Call) -> Outcome {
    call.check(Method::GET, &["Team.Create", "Team.ReadBasic.All"])?;
    let mut state = call.tenant.lock();
    let team = state.teams.team_mut(call.segment(1));
    let team = team.filter(|team| team.operation == call.segment(3));
    let team = team.ok_or_else(|| not_found("operation"))?;
    let status = match team.unseen {
        0 => "succeeded",
        _ => "inProgress",
    };
    team.unseen = team.unseen.saturating_sub(1);
    let body = json!({
        "@odata.context": context(call, "teams('…')/operations/$entity"),
        "id": team.operation,
        "operationType": "createTeam",
        "status": status,
        "createdDateTime": instant(team.created),
        "lastActionDateTime": instant(team.created),
        "attemptsCount": 1,
        "targetResourceId": team.id,
        "targetResourceLocation": format!("/teams('{}')", team.id),
        "error": null,
    });
    Ok(answer::json(200, &body))
}

fn channels(call: &Call) -> Outcome {
    with_team(call, &READ_CHANNELS, |_, team| {
        let value: Vec<Value> = team.channels.iter().map(channel_json).collect();
        let context = context(call, "teams('…')/channels");
        let body = json!({"@odata.context": context, "value": value});
        Ok(answer::json(200, &body))
    })
}

fn add_channel(call: &Call) -> Outcome {
    let body = call.json()?;
    with_team(call, &["Channel.Create"], |context, team| {
        let name = body["displayName"].as_str().unwrap_or_default();
        if name.is_empty() {
            return Err(bad("A channel needs 'displayName'."));
        }
        if team
            .channels
            .iter()
            .any(|own| own.name.eq_ignore_ascii_case(name))
        {
            return Err(bad("Channel name already existed, please use other name."));
        }
        let migrating = body["@microsoft.graph.channelCreationMode"] == "migration";
        if migrating && !team.migrating {
            return Err(bad("The team is not in migration mode."));
        }
        let created = created(&body, context.now, migrating)?;
        let migration = migrating.then_some(Migration::InProgress);
        let channel = team.add_channel(context.seed, name, created, migration);
        Ok(answer::json(201, &channel_json(channel)))
    })
}

/// Opens an existing channel for messages of the past.
///
/// *Source*: Graph, channel: startMigration (2026-03).
fn start(call: &Call) -> Outcome {
    let body = match call.body.is_empty() {
        true => json!({}),
        false => call.json()?,
    };
    with_channel(call, &MIGRATE, |context, channel| {
        if channel.migration == Some(Migration::InProgress) {
            return Err(bad("The channel is already in migration mode."));
        }
        if let Some(text) = body["conversationCreationDateTime"].as_str() {
            let begins = past(text, context.now)?;
            if begins >= channel.created {
                return Err(bad(
                    "conversationCreationDateTime must be older than createdDateTime.",
                ));
            }
            channel.created = begins;
        }
        channel.migration = Some(Migration::InProgress);
        Ok(answer::empty(204))
    })
}

fn complete_channel(call: &Call) -> Outcome {
    with_channel(call, &MIGRATE, |_, channel| {
        if channel.migration != Some(Migration::InProgress) {
            return Err(bad("The channel is not in migration mode."));
        }
        channel.migration = Some(Migration::Completed);
        Ok(answer::empty(204))
    })
}

/// Ends the migration of a team, whose channels come first.
fn complete_team(call: &Call) -> Outcome {
    with_team(call, &MIGRATE, |_, team| {
        let open = |own: &Channel| own.migration == Some(Migration::InProgress);
        if !team.migrating {
            return Err(bad("The team is not in migration mode."));
        }
        if team.channels.iter().any(open) {
            return Err(bad(
                "The migration of a channel of the team is not complete.",
            ));
        }
        team.migrating = false;
        Ok(answer::empty(204))
    })
}

fn team_json(team: &Team) -> Value {
    json!({
        "id": team.id,
        "displayName": team.name,
        "description": team.description,
        "createdDateTime": instant(team.created),
        "isArchived": false,
        "visibility": "public",
    })
}

fn channel_json(channel: &Channel) -> Value {
    let mut shown = json!({
        "id": channel.id,
        "displayName": channel.name,
        "createdDateTime": instant(channel.created),
        "membershipType": "standard",
        "isArchived": false,
    });
    if let Some(migration) = channel.migration {
        shown["migrationMode"] = json!(migration.as_str());
    }
    shown
}

const READ_TEAMS: [&str; 2] = ["Team.ReadBasic.All", "TeamSettings.Read.All"];
const READ_CHANNELS: [&str; 2] = ["Channel.ReadBasic.All", "ChannelSettings.Read.All"];
const MIGRATE: [&str; 1] = ["Teamwork.Migrate.All"];
