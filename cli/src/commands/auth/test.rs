//! `auth test`: every step on the way to the services, in their order.

use m365_auth::{Environment, SystemEnvironment};

use super::finding::{Finding, Findings};
use super::probe::{self, Granted};
use super::{doctor, reach};
use crate::config::{Config, EwsSignIn};
use crate::connect::{Connection, Context, Purpose, app, transport};
use crate::exit::Exit;
use crate::failure::Result;

/// Runs the command.
pub(super) async fn run(context: &Context, purpose: Purpose) -> Result<Exit> {
    let config = context.required_config()?;
    let mut findings = Findings::new(&context.output);
    network(&config, &mut findings).await?;
    if let Some(finding) = doctor::endings(app(&config, purpose)) {
        findings.tell("credential", &finding)?;
    }
    let connection = match Connection::new(&config, purpose) {
        Ok(connection) => connection,
        Err(failure) => {
            findings.tell("token", &Finding::Bad(failure))?;
            return findings.end();
        }
    };
    if let Some(granted) = tokens(&config, purpose, &connection, &mut findings).await? {
        probe::run(&mut findings, &config, &connection, &granted).await?;
    }
    findings.end()
}

/// Tries what needs no token.
async fn network(config: &Config, findings: &mut Findings<'_>) -> Result<()> {
    let proxy = reach::proxy_of(&config.network);
    findings.tell("proxy", &reach::proxy(proxy.as_ref()).await)?;
    findings.tell("names", &reach::names(config, proxy.as_ref()).await)?;
    let transport = match transport(&config.network, false) {
        Ok(transport) => transport,
        Err(failure) => return findings.tell("network", &Finding::Bad(failure)),
    };
    let mut skews = Vec::new();
    for (service, url) in reach::services(config) {
        let (finding, skew) = reach::connection(transport.as_ref(), service, url).await;
        skews.extend(skew);
        findings.tell("connection", &finding)?;
    }
    findings.tell("clock", &reach::clock(&skews))
}

/// Asks for a token of every service, and returns what that of Graph grants.
pub(super) async fn tokens(
    config: &Config,
    purpose: Purpose,
    connection: &Connection,
    findings: &mut Findings<'_>,
) -> Result<Option<Granted>> {
    let cloud = &connection.cloud;
    let mut audiences = vec![("Graph", cloud.graph_audience())];
    if matches!(config.tenant.ews, Some(EwsSignIn::Token)) {
        audiences.push(("EWS", cloud.ews_audience()));
    }
    let site = config.tenant.sharepoint.as_ref();
    if let Some(audience) = site.and_then(|site| cloud.sharepoint_audience(site).ok()) {
        audiences.push(("SharePoint", audience));
    }
    let for_person = app(config, purpose).person.is_some();
    let mut of_graph = None;
    let mut refused: Option<(&str, String)> = None;
    for (service, audience) in audiences {
        let token = probe::token(connection.tokens.as_ref(), service, &audience).await;
        let said = token.map(|token| {
            let left = token.expires_at().duration_since(SystemEnvironment.now());
            let minutes = left.unwrap_or_default().as_secs() / 60;
            let granted = Granted::of(&token, for_person);
            let names = match granted.names() {
                Some(names) if names.is_empty() => "it grants nothing".to_owned(),
                Some(names) => names.join(", "),
                None => "it does not say what it grants".to_owned(),
            };
            if service == "Graph" {
                of_graph = Some(granted);
            }
            format!("for {service}, {minutes} minutes: {names}")
        });
        // One wrong secret is told once, not for every service. What follows the first cause is an
        // id of each refusal.
        let why = said.as_ref().err().map(|failure| {
            let text = failure.to_string().replace(service, "");
            text.lines().take(2).collect::<Vec<_>>().join("\n")
        });
        let finding = match (&why, &refused) {
            (Some(why), Some((before, known))) if why == known => {
                Finding::Skipped(format!("for {service}: as for {before}"))
            }
            _ => said.into(),
        };
        refused = refused.or(why.map(|why| (service, why)));
        findings.tell("token", &finding)?;
    }
    Ok(of_graph)
}
