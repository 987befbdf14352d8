//! Reach: name resolution, proxy and TLS on the way to each service, before any token.

use std::time::{Duration, SystemTime};

use m365_auth::{Body, Environment, SystemEnvironment, Transport};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};
use url::Url;

use super::finding::Finding;
use crate::config::{Config, Network, ProxyChoice};
use crate::exit::Exit;
use crate::failure::{Failure, from_auth};

/// The services that a config names, with their addresses.
pub(super) fn services(config: &Config) -> Vec<(&'static str, &Url)> {
    let cloud = &config.tenant.cloud;
    let mut services = vec![("login", &cloud.authority), ("graph", &cloud.graph)];
    if config.tenant.ews.is_some() {
        services.push(("ews", &cloud.ews));
    }
    services.extend(
        config
            .tenant
            .sharepoint
            .as_ref()
            .map(|url| ("sharepoint", url)),
    );
    services
}

/// Which proxy stands in between, and who says so.
pub(super) fn proxy_of(network: &Network) -> Option<(Url, &'static str)> {
    match &network.proxy {
        ProxyChoice::Direct => None,
        ProxyChoice::Server(server) => Some((server.url.clone(), "the config")),
        ProxyChoice::System => ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
            .into_iter()
            .find_map(|name| Some((variable(name)?.parse().ok()?, name))),
    }
}

#[allow(clippy::disallowed_methods, reason = "the cli reads the environment")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Connects to the proxy.
pub(super) async fn proxy(found: Option<&(Url, &'static str)>) -> Finding {
    let Some((url, who)) = found else {
        return Finding::Good("none".to_owned());
    };
    let (host, port) = (url.host_str().unwrap_or_default(), port_of(url));
    match timeout(PATIENCE, TcpStream::connect((bare(host), port))).await {
        Ok(Ok(_)) => Finding::Good(format!("{host}:{port} answers (named by {who})")),
        Ok(Err(error)) => Finding::Bad(no_proxy(host, port, who).because(&error)),
        Err(_) => Finding::Bad(no_proxy(host, port, who).cause("it was silent for too long")),
    }
}

fn no_proxy(host: &str, port: u16, who: &str) -> Failure {
    let message = format!("the proxy {host}:{port}, named by {who}, cannot be reached");
    Failure::new(Exit::Failed, message).next("check its address and port, in `network.proxy`")
}

/// Finds the addresses of every service.
pub(super) async fn names(config: &Config, proxy: Option<&(Url, &'static str)>) -> Finding {
    if proxy.is_some() {
        return Finding::Skipped("left to the proxy".to_owned());
    }
    let mut found = Vec::new();
    for (_, url) in services(config) {
        let host = url.host_str().unwrap_or_default();
        if found.iter().any(|(known, _)| *known == host) {
            continue;
        }
        match timeout(PATIENCE, lookup_host((bare(host), port_of(url)))).await {
            Ok(Ok(addresses)) => found.push((host, addresses.count())),
            Ok(Err(error)) => return Finding::Bad(no_address(host).because(&error)),
            Err(_) => {
                return Finding::Bad(no_address(host).cause("no answer came in time"));
            }
        }
    }
    let found: Vec<String> = found
        .iter()
        .map(|(host, count)| format!("{host} ({count})"))
        .collect();
    Finding::Good(found.join(", "))
}

fn no_address(host: &str) -> Failure {
    Failure::new(Exit::Failed, format!("no address is found for {host}")).next(
        "check the spelling in `tenant.cloud`, and the name servers of this machine; where only a \
         proxy knows names, set `network.proxy`",
    )
}

/// Makes a connection and asks for nothing that needs a token; any answer will do.
pub(super) async fn connection(
    transport: &dyn Transport,
    service: &str,
    url: &Url,
) -> (Finding, Option<Skew>) {
    let asked = Instant::now();
    let request = http::Request::get(url.as_str()).body(Body::empty());
    let sent = match request {
        Ok(request) => transport.send(request).await,
        Err(_) => Err(m365_auth::Error::new(
            m365_auth::ErrorKind::Configuration,
            "the address is not usable",
        )),
    };
    match sent {
        Ok(response) => {
            let how = match url.scheme() {
                "https" => "TLS",
                _ => "plain HTTP",
            };
            let millis = asked.elapsed().as_millis();
            let said = format!(
                "{service} at {}: {how}, status {} after {millis} ms",
                url.host_str().unwrap_or_default(),
                response.status().as_u16()
            );
            let skew = Skew::of(response.headers(), SystemEnvironment.now());
            (Finding::Good(said), skew)
        }
        Err(error) => {
            let failure = from_auth(&format!("connect to {service}"), &error);
            (Finding::Bad(failure), None)
        }
    }
}

/// How far the clock of this machine is from that of a service.
#[derive(Debug, Clone, Copy)]
pub(super) struct Skew(Duration);

impl Skew {
    fn of(headers: &http::HeaderMap, now: SystemTime) -> Option<Self> {
        let text = headers.get(http::header::DATE)?.to_str().ok()?;
        let theirs = httpdate::parse_http_date(text).ok()?;
        let apart = now
            .duration_since(theirs)
            .or_else(|_| theirs.duration_since(now));
        apart.ok().map(Self)
    }
}

/// Says whether the clock is right enough for sign-ins.
pub(super) fn clock(skews: &[Skew]) -> Finding {
    match skews.iter().map(|skew| skew.0).min() {
        None => Finding::Skipped("no service told the time".to_owned()),
        Some(apart) if apart <= SKEW_MAX => Finding::Good("as the services have it".to_owned()),
        Some(apart) => {
            let message = format!(
                "the clock of this machine is {} s away from that of the services",
                apart.as_secs()
            );
            let failure = Failure::new(Exit::Failed, message);
            Finding::Bad(failure.next("set it; sign-ins fail when it is minutes away"))
        }
    }
}

/// Returns a host as the system wants it: without the brackets of an IPv6 address.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

fn port_of(url: &Url) -> u16 {
    match url.scheme() {
        "socks5" | "socks5h" => url.port().unwrap_or(1080),
        _ => url.port_or_known_default().unwrap_or(443),
    }
}

/// How long a name or a connection is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Assertions are valid for five minutes, and the platform allows as much again.
const SKEW_MAX: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::{Finding, Skew, clock};

    #[test]
    fn a_clock_that_is_minutes_away_is_named() {
        let mut headers = http::HeaderMap::new();
        let noon = UNIX_EPOCH + Duration::from_secs(1_795_000_000);
        let text = httpdate::fmt_http_date(noon);
        headers.insert("date", text.parse().unwrap());
        let skew = |now| Skew::of(&headers, now).unwrap();
        let (near, far) = (
            skew(noon + Duration::from_secs(200)),
            skew(noon - Duration::from_secs(4000)),
        );
        assert!(matches!(clock(&[near, far]), Finding::Good(_)));
        let Finding::Bad(failure) = clock(&[far]) else {
            panic!("an hour is too much");
        };
        assert!(failure.to_string().contains("4000 s away"), "{failure}");
        assert!(matches!(clock(&[]), Finding::Skipped(_)));
    }
}
