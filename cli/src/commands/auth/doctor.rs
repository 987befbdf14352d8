//! `auth doctor`: which permissions are missing and what needs them, and what ends soon.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use m365_auth::{Environment, ExpiryLevel, ExpiryWarning, SystemEnvironment};
use m365_graph::{Access, Area, Requirement, requirements};
use toml::value::Datetime;

use super::finding::{Finding, Findings};
use super::probe::{self, Granted, lacking};
use crate::config::{App, Config, CredentialChoice};
use crate::connect::{Connection, Context, Purpose, app, certificate};
use crate::exit::Exit;
use crate::failure::{Failure, Result};

/// Runs the command.
pub(super) async fn run(context: &Context) -> Result<Exit> {
    let config = context.required_config()?;
    let mut findings = Findings::new(&context.output);
    for purpose in [Purpose::Backup, Purpose::Restore] {
        examine(&config, purpose, &mut findings).await?;
    }
    findings.end()
}

async fn examine(config: &Config, purpose: Purpose, findings: &mut Findings<'_>) -> Result<()> {
    let app = app(config, purpose);
    // One app for both has one credential.
    let is_first = purpose == Purpose::Backup || config.tenant.restore.is_some();
    if is_first && let Some(finding) = endings(app) {
        findings.tell("credential", &finding)?;
    }
    let connected = Connection::new(config, purpose);
    let token = async {
        let connection = connected?;
        let audience = connection.cloud.graph_audience();
        let token = probe::token(connection.tokens.as_ref(), "Graph", &audience).await?;
        Ok((connection, token))
    };
    let (connection, token) = match token.await {
        Ok(found) => found,
        Err(failure) => return findings.tell("token", &Finding::Bad(failure)),
    };
    let granted = Granted::of(&token, app.person.is_some());
    permissions(config, purpose, &granted, findings)?;
    if purpose == Purpose::Backup {
        probe::run(findings, config, &connection, &granted).await?;
    }
    Ok(())
}

/// Compares what a token grants with what every operation needs.
fn permissions(
    config: &Config,
    purpose: Purpose,
    granted: &Granted,
    findings: &mut Findings<'_>,
) -> Result<()> {
    let (check, access) = match purpose {
        Purpose::Backup => ("to back up", Access::Read),
        Purpose::Restore => ("to restore", Access::Write),
    };
    let needs: Vec<&Requirement> = requirements()
        .iter()
        .filter(|need| need.access == access && is_selected(config, need.area))
        .collect();
    if granted.names().is_none() {
        let said = "the token does not say what it grants".to_owned();
        return findings.tell(check, &Finding::Skipped(said));
    }
    let is_missing = |need: &&&Requirement| granted.meets(need) == Some(false);
    let missing: Vec<&Requirement> = needs.iter().filter(is_missing).copied().collect();
    if missing.is_empty() {
        let said = format!("every permission is there, for {} operations", needs.len());
        return findings.tell(check, &Finding::Good(said));
    }
    for (name, needs) in by_permission(&missing, granted.for_person) {
        let message = format!("the permission {name} is missing");
        let failure = Failure::new(Exit::PermissionMissing, message);
        let failure = lacking(failure, &needs, name);
        // Whoever backs up with an app that can only read does well.
        let is_wanted = purpose == Purpose::Backup || config.tenant.restore.is_some();
        let finding = match is_wanted {
            true => Finding::Bad(failure),
            false => Finding::Warning(failure.to_string()),
        };
        findings.tell(check, &finding)?;
    }
    Ok(())
}

fn is_selected(config: &Config, area: Area) -> bool {
    let service = match area {
        Area::Mail => "outlook",
        Area::Drives => "onedrive",
        _ => return true,
    };
    config.selection.services.iter().any(|name| name == service)
}

/// Gathers what is missing by the permission that would serve.
fn by_permission<'a>(
    missing: &[&'a Requirement],
    for_person: bool,
) -> Vec<(&'static str, Vec<&'a Requirement>)> {
    let mut gathered: Vec<(&'static str, Vec<&Requirement>)> = Vec::new();
    for need in missing {
        let Some(name) = need.enough(for_person).first() else {
            continue;
        };
        match gathered.iter_mut().find(|(known, _)| known == name) {
            Some((_, needs)) => needs.push(need),
            None => gathered.push((name, vec![need])),
        }
    }
    gathered
}

/// Says what of a credential ends soon.
pub(super) fn endings(app: &App) -> Option<Finding> {
    let (what, ends) = match &app.credential {
        CredentialChoice::Secret { expires, .. } => ("the client secret", day(expires.as_ref()?)?),
        CredentialChoice::Certificate {
            certificate: path,
            key,
            password,
        } => match certificate(path, key.as_deref(), password.as_ref()) {
            Ok(certificate) => ("the certificate", certificate.valid_until()),
            Err(failure) => return Some(Finding::Bad(failure)),
        },
        _ => return None,
    };
    Some(ending(what, ends, SystemEnvironment.now()))
}

fn ending(what: &str, ends: SystemTime, now: SystemTime) -> Finding {
    let Some(warning) = ExpiryWarning::due(ends, now) else {
        let days = ends.duration_since(now).unwrap_or_default().as_secs() / SECONDS_A_DAY;
        return Finding::Good(format!("{what} is valid for {days} days"));
    };
    let words = warning.words(what);
    match warning.level() {
        ExpiryLevel::Expired => Finding::Bad(
            Failure::new(Exit::LoginRefused, words)
                .next("make a new one for the app, and put it into the config"),
        ),
        _ => Finding::Warning(words),
    }
}

/// Returns the begin of a day, UTC.
///
/// *Source*: the civil calendar counted from March, so that leap days come last in a year.
fn day(date: &Datetime) -> Option<SystemTime> {
    let date = date.date?;
    let (year, month, day) = (
        u64::from(date.year),
        u64::from(date.month),
        u64::from(date.day),
    );
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year.checked_sub(1)?, month + 9)
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    let since = days.checked_sub(DAYS_TO_1970)?;
    Some(UNIX_EPOCH + Duration::from_secs(since * SECONDS_A_DAY))
}

const SECONDS_A_DAY: u64 = 86_400;
/// Days from the first of March of the year 0 to the first of January 1970.
const DAYS_TO_1970: u64 = 719_468;

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::{Finding, day, ending};

    #[test]
    fn days_are_counted_as_calendars_do() {
        for (text, days) in [
            ("1970-01-01", 0),
            ("2000-02-29", 11_016),
            ("2027-06-30", 20_999),
        ] {
            let since = Duration::from_secs(days * 86_400);
            assert_eq!(
                day(&text.parse().unwrap()),
                Some(UNIX_EPOCH + since),
                "{text}"
            );
        }
    }

    #[test]
    fn what_has_ended_is_bad_and_what_ends_soon_is_a_warning() {
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let in_days = |days: u64| ending("it", now + Duration::from_secs(days * 86_400), now);
        assert!(matches!(in_days(0), Finding::Bad(_)));
        assert!(matches!(in_days(5), Finding::Warning(words) if words == "it expires in 5 days"));
        assert!(matches!(in_days(300), Finding::Good(_)));
    }
}
