//! Probes: one request of each service, and in plain words why it was refused.

use std::sync::Arc;

use m365_auth::{
    AccessToken, AuthorizedTransport, Body, OriginPolicy, RetryPolicy, TokenContents, TokenProvider,
};
use m365_ews::{EwsClient, Parent};
use m365_graph::{ErrorKind, GraphClient, Requirement, requirements};
use url::Url;

use super::finding::{Finding, Findings};
use crate::config::{Config, EwsSignIn, Users};
use crate::connect::Connection;
use crate::exit::Exit;
use crate::failure::{Failure, Result, from_auth, from_ews, from_graph};

/// What a token says that its owner may do.
#[derive(Debug)]
pub(super) struct Granted {
    contents: Option<TokenContents>,
    /// Whether the token speaks for a person.
    pub(super) for_person: bool,
}

impl Granted {
    pub(super) fn of(token: &AccessToken, for_person: bool) -> Self {
        let contents = TokenContents::of(token);
        Self {
            contents,
            for_person,
        }
    }

    /// Returns what is granted, unless the token does not say.
    pub(super) fn names(&self) -> Option<Vec<&str>> {
        let contents = self.contents.as_ref()?;
        Some(match self.for_person {
            true => contents.scopes().collect(),
            false => contents.roles().iter().map(String::as_str).collect(),
        })
    }

    /// Tells whether an operation is permitted, as far as the token says.
    pub(super) fn meets(&self, need: &Requirement) -> Option<bool> {
        let names = self.names()?;
        Some(need.is_met(self.for_person, |name| names.contains(&name)))
    }

    /// Names what is missing for an operation that was refused, and who needs it.
    fn explain(&self, purpose: &str, failure: Failure) -> Failure {
        let need = requirements().iter().find(|need| need.purpose == purpose);
        let Some(need) = need.filter(|_| failure.exit() == Exit::PermissionMissing) else {
            return failure;
        };
        let enough = need.enough(self.for_person);
        match self.meets(need) {
            Some(true) => failure
                .cause(format!("the token carries a permission to {purpose}"))
                .next(
                    "look for what narrows it: an application access policy of Exchange, a \
                     conditional access policy, or the rights of the person",
                ),
            _ => lacking(failure, &[need], enough[0]),
        }
    }
}

/// Says which permission is missing, and for what.
pub(super) fn lacking(failure: Failure, needs: &[&Requirement], name: &str) -> Failure {
    let kind = match name {
        _ if needs.iter().all(|need| need.application.contains(&name)) => "permission",
        _ => "delegated permission",
    };
    let failure = needs.iter().fold(failure, |failure, need| {
        failure.cause(format!("needed to {} ({})", need.purpose, need.operation))
    });
    failure.next(format!(
        "give the app the {kind} {name}, with admin consent"
    ))
}

/// Asks every service for a little, and tells what comes back.
pub(super) async fn run(
    findings: &mut Findings<'_>,
    config: &Config,
    connection: &Connection,
    granted: &Granted,
) -> Result<()> {
    let graph = match connection.graph_of_few(RetryPolicy::none()) {
        Ok(graph) => graph,
        Err(failure) => return findings.tell("graph", &Finding::Bad(failure)),
    };
    let (finding, people) = users(&graph, config, granted).await;
    findings.tell("users", &finding)?;
    let selected = |service: &str| config.selection.services.iter().any(|name| name == service);
    for (check, service) in [("mail", "outlook"), ("drive", "onedrive")] {
        let finding = match (selected(service), people.is_empty()) {
            (false, _) => Finding::Skipped("not selected".to_owned()),
            (_, true) => Finding::Skipped("no user to try it with".to_owned()),
            _ if check == "mail" => mail(&graph, &people, granted).await,
            _ => drive(&graph, &people, granted).await,
        };
        findings.tell(check, &finding)?;
    }
    let finding = match (&config.tenant.ews, people.first()) {
        (None, _) => Finding::Skipped("no `tenant.ews` in the config".to_owned()),
        (Some(_), None) => Finding::Skipped("no user to try it with".to_owned()),
        (Some(sign_in), Some(person)) => {
            let as_whom = match sign_in {
                EwsSignIn::Password { .. } => Caller::Account,
                EwsSignIn::Token if granted.for_person => Caller::Person,
                EwsSignIn::Token => Caller::App,
            };
            match connection.ews(sign_in) {
                Ok(client) => ews(&client, person, as_whom).await,
                Err(failure) => Finding::Bad(failure),
            }
        }
    };
    findings.tell("ews", &finding)?;
    let finding = match &config.tenant.sharepoint {
        None => Finding::Skipped("no `tenant.sharepoint` in the config".to_owned()),
        Some(site) => sharepoint(connection, site).await.into(),
    };
    findings.tell("sharepoint", &finding)
}

async fn users(graph: &GraphClient, config: &Config, granted: &Granted) -> (Finding, Vec<String>) {
    let chosen = match &config.selection.users {
        Users::Chosen(chosen) => chosen.clone(),
        Users::Word(_) => Vec::new(),
    };
    match graph.users_page(None).await {
        Ok(page) => {
            let more = if page.next.is_some() { " and more" } else { "" };
            let said = format!("{}{more} are listed", page.items.len());
            let listed = page
                .items
                .iter()
                .filter_map(|user| user.user_principal_name.clone());
            let people = if chosen.is_empty() {
                listed.collect()
            } else {
                chosen
            };
            (Finding::Good(said), people)
        }
        Err(error) => {
            let failure = from_graph("list the users", &error);
            (
                Finding::Bad(granted.explain("list the users", failure)),
                chosen,
            )
        }
    }
}

async fn mail(graph: &GraphClient, people: &[String], granted: &Granted) -> Finding {
    for person in people {
        return match graph.mail(person).folder("inbox").await {
            // Not everybody in the directory has a mailbox.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Ok(folder) => {
                let count = folder.total_item_count.unwrap_or_default();
                Finding::Good(format!("the inbox of {person} holds {count} messages"))
            }
            Err(error) => {
                let failure = from_graph(&format!("read the inbox of {person}"), &error);
                Finding::Bad(granted.explain("read a mail folder", failure))
            }
        };
    }
    Finding::Warning(format!(
        "none of the first {} users has a mailbox",
        people.len()
    ))
}

async fn drive(graph: &GraphClient, people: &[String], granted: &Granted) -> Finding {
    for person in people {
        return match graph.user_drive(person).await {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Ok(_) => Finding::Good(format!("the drive of {person} is there")),
            Err(error) => {
                let failure = from_graph(&format!("find the drive of {person}"), &error);
                Finding::Bad(granted.explain("find the drive of a user", failure))
            }
        };
    }
    Finding::Warning(format!(
        "none of the first {} users has a drive",
        people.len()
    ))
}

/// As whom Exchange Web Services are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caller {
    App,
    /// A person who signed in, in the own name.
    Person,
    /// An account of a server on premises, for others.
    Account,
}

async fn ews(client: &EwsClient, person: &str, caller: Caller) -> Finding {
    let doing = "list the public folders";
    let acting;
    let client = match caller {
        Caller::Person => client,
        Caller::App | Caller::Account => {
            acting = client.impersonating(person);
            &acting
        }
    };
    match client.folders_in(&Parent::PublicFoldersRoot).await {
        Ok(folders) => Finding::Good(format!("{} public folders at the top", folders.len())),
        Err(error) if error.kind() == m365_ews::ErrorKind::NotFound && error.code().is_some() => {
            Finding::Good("it answers; the tenant has no public folders".to_owned())
        }
        Err(error) => {
            use m365_ews::ErrorKind as Kind;

            let failure = from_ews(doing, &error);
            let failure = match error.kind() {
                Kind::Forbidden => failure.cause("needed to list the public folders (FindFolder)"),
                _ => failure,
            };
            Finding::Bad(match (caller, error.kind()) {
                (Caller::Person, Kind::Forbidden) => {
                    failure.next("give the app the delegated permission EWS.AccessAsUser.All")
                }
                (Caller::Account, Kind::Forbidden) => failure.next(
                    "give the account the management role ApplicationImpersonation at the server",
                ),
                (Caller::Account, Kind::Unauthorized) => {
                    let takes_others = failure.mentions("offers") && !failure.mentions("Basic");
                    failure.next(match takes_others {
                        true => {
                            "let the server take Basic for Exchange Web Services, or take \
                                 \"oauth\" where it offers Bearer"
                        }
                        false => "check `user` and `password` of `tenant.ews`",
                    })
                }
                _ => failure,
            })
        }
    }
}

async fn sharepoint(connection: &Connection, site: &Url) -> Result<String> {
    let failed = |error| from_auth("ask SharePoint", &error);
    let audience = connection.cloud.sharepoint_audience(site).map_err(failed)?;
    let policy = OriginPolicy::new([site]).map_err(failed)?;
    let (transport, tokens) = (
        Arc::clone(&connection.transport),
        Arc::clone(&connection.tokens),
    );
    let door = AuthorizedTransport::new(transport, tokens, audience, policy);
    let unusable = |_| Failure::usage("the address of SharePoint is not usable");
    let mut url = site.clone();
    url.set_path("/_api/web");
    url.set_query(Some("$select=Title"));
    let request = http::Request::get(url.as_str())
        .header("accept", "application/json")
        .body(Body::empty())
        .map_err(|_| unusable(()))?;
    let response = door.send(request).await.map_err(failed)?;
    let failure = |exit, message: &str, next: &str| {
        Failure::new(exit, format!("SharePoint {message}")).next(next)
    };
    match response.status().as_u16() {
        200 => Ok("the root site answers".to_owned()),
        401 => Err(failure(
            Exit::LoginRefused,
            "does not take the token",
            "it takes apps that prove themselves by a certificate only: set \
             `tenant.client-certificate`",
        )),
        403 => Err(failure(
            Exit::PermissionMissing,
            "refuses the app",
            "give the app the permission Sites.Read.All of SharePoint, with admin consent",
        )
        .cause("needed to read the root site (GET /_api/web)")),
        status => {
            let (exit, next) = match status {
                429 | 503 => (Exit::Throttled, "run it again later"),
                500..=599 => (
                    Exit::Failed,
                    "run it again later; the service fails on its side",
                ),
                _ => (
                    Exit::Failed,
                    "check `tenant.sharepoint`: the address of the tenant's own host",
                ),
            };
            let message = format!("answers with status {status}");
            Err(failure(exit, &message, next))
        }
    }
}

/// Asks for a token of a service, and says what it is worth.
pub(super) async fn token(
    tokens: &dyn TokenProvider,
    service: &str,
    audience: &m365_auth::Audience,
) -> Result<AccessToken> {
    let token = tokens.token(audience).await;
    token.map_err(|error| from_auth(&format!("get a token for {service}"), &error))
}

#[cfg(test)]
mod tests {
    use m365_graph::requirements;

    #[test]
    fn what_is_probed_is_in_the_table() {
        for purpose in [
            "list the users",
            "read a mail folder",
            "find the drive of a user",
        ] {
            assert!(
                requirements().iter().any(|need| need.purpose == purpose),
                "{purpose}"
            );
        }
    }
}
