//! Connections: one connection at a time, made again when it is lost, over TLS where it leaves the
//! machine.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::PostgresOptions;
use crate::error::{Error, ErrorKind, Result};

/// What stands for a parameter of a statement.
pub(super) type Value<'a> = &'a (dyn ToSql + Sync);

/// Keeps a connection to the database.
#[derive(Debug)]
pub(super) struct Connections {
    config: Config,
    tls: Tls,
    patience: Duration,
    client: Mutex<Option<Arc<Client>>>,
}

/// The TLS settings; what they hold is not worth showing.
#[derive(Clone)]
struct Tls(MakeRustlsConnect);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl Connections {
    pub(super) fn new(options: &PostgresOptions) -> Result<Self> {
        let mut config: Config = options.address.parse().map_err(|_| {
            // The cause may quote the address, which holds a password.
            let message = "the address of the coordinator's database cannot be understood";
            Error::new(ErrorKind::Configuration, message)
        })?;
        if config.get_ssl_mode() == SslMode::Prefer && leaves_the_machine(&config) {
            config.ssl_mode(SslMode::Require);
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_MAX);
        }
        config.application_name("m365-backup");
        Ok(Self {
            config,
            tls: tls(options.authority.as_deref())?,
            patience: options.patience,
            client: Mutex::new(None),
        })
    }

    /// Runs one statement to its end; when the connection is lost, again over a new one.
    pub(super) async fn query(&self, statement: &str, values: &[Value<'_>]) -> Result<Vec<Row>> {
        let ask = |client: Arc<Client>| async move { client.query(statement, values).await };
        self.patiently(ask).await
    }

    /// Runs several statements without parameters.
    pub(super) async fn batch(&self, statements: &str) -> Result<()> {
        let ask = |client: Arc<Client>| async move { client.batch_execute(statements).await };
        self.patiently(ask).await
    }

    async fn patiently<T, F>(&self, ask: impl Fn(Arc<Client>) -> F) -> Result<T>
    where
        F: Future<Output = Result<T, tokio_postgres::Error>>,
    {
        let begun = Instant::now();
        let mut wait = FIRST_WAIT;
        loop {
            let answer = match self.client().await {
                // A network that went silent never answers.
                Ok(client) => match tokio::time::timeout(ANSWER_MAX, ask(client)).await {
                    Ok(answer) => answer,
                    Err(_) => {
                        self.drop_client().await;
                        if begun.elapsed() >= self.patience {
                            return Err(silent());
                        }
                        continue;
                    }
                },
                Err(cause) => Err(cause),
            };
            let cause = match answer {
                Ok(answer) => return Ok(answer),
                Err(cause) => cause,
            };
            if !may_pass(&cause) || begun.elapsed() + wait >= self.patience {
                return Err(failed(cause));
            }
            tracing::debug!(%cause, "the coordinator's database is asked again");
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    async fn drop_client(&self) {
        self.client.lock().await.take();
    }

    async fn client(&self) -> Result<Arc<Client>, tokio_postgres::Error> {
        let mut kept = self.client.lock().await;
        if let Some(client) = kept.as_ref().filter(|client| !client.is_closed()) {
            return Ok(client.clone());
        }
        let (client, connection) = self.config.connect(self.tls.0.clone()).await?;
        tokio::spawn(async move {
            if let Err(cause) = connection.await {
                tracing::warn!(%cause, "the connection to the coordinator's database is lost");
            }
        });
        let client = Arc::new(client);
        *kept = Some(client.clone());
        Ok(client)
    }
}

/// Tells whether asking again can help: the connection failed, or the server is going down, coming
/// up, full, or chose this transaction as the one to give way.
fn may_pass(cause: &tokio_postgres::Error) -> bool {
    let Some(state) = cause.code() else {
        // No word from the server; only a value of the wrong type never passes.
        return cause.is_closed() || std::error::Error::source(cause).is_some_and(is_io);
    };
    let code = state.code();
    ["08", "57P", "53", "40"]
        .iter()
        .any(|class| code.starts_with(class))
}

fn is_io(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.is::<std::io::Error>()
}

fn failed(cause: tokio_postgres::Error) -> Error {
    // What the server says of a login names the user, and never the password.
    let words = match cause.as_db_error() {
        Some(said) => said.message().to_owned(),
        None => cause.to_string(),
    };
    let message = format!("the coordinator's database failed: {words}");
    Error::new(ErrorKind::Coordinator, message).with_source(cause)
}

fn silent() -> Error {
    let message = "the coordinator's database does not answer";
    Error::new(ErrorKind::Coordinator, message)
}

/// Tells whether a connection may cross a network.
fn leaves_the_machine(config: &Config) -> bool {
    config.get_hosts().iter().any(|host| match host {
        Host::Tcp(name) => {
            let loopback = name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
            !loopback && name != "localhost"
        }
        #[cfg(unix)]
        Host::Unix(_) => false,
    })
}

fn tls(authority: Option<&str>) -> Result<Tls> {
    let wrong = |message: String| Error::new(ErrorKind::Configuration, message);
    let mut extra = Vec::new();
    if let Some(pem) = authority {
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            extra.push(certificate.map_err(|cause| {
                wrong(format!(
                    "the certificate authority of the coordinator: {cause}"
                ))
            })?);
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        rustls_platform_verifier::Verifier::new_with_extra_roots(extra, provider.clone())
            .map_err(|cause| wrong(format!("the certificates of this machine: {cause}")))?;
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|cause| wrong(format!("TLS cannot be set up: {cause}")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Tls(MakeRustlsConnect::new(config)))
}

const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// A claim takes milliseconds.
const ANSWER_MAX: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(address: &str) -> Result<Connections> {
        Connections::new(&PostgresOptions::new(address))
    }

    #[test]
    fn only_what_stays_on_this_machine_goes_without_tls() {
        for (address, mode) in [
            ("postgres://a:b@127.0.0.1/x", SslMode::Prefer),
            ("postgres://a:b@localhost/x", SslMode::Prefer),
            ("host=/run/postgresql user=a", SslMode::Prefer),
            ("postgres://a:b@db.example/x", SslMode::Require),
            ("postgres://a:b@localhost,db.example/x", SslMode::Require),
            (
                "postgres://a:b@db.example/x?sslmode=disable",
                SslMode::Disable,
            ),
        ] {
            assert_eq!(
                connections(address).unwrap().config.get_ssl_mode(),
                mode,
                "{address}"
            );
        }
    }

    #[test]
    fn an_address_never_shows_its_password() {
        let error = connections("postgres://ada:hunter2@@@:x/?nonsense=1").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(!format!("{error:?}").contains("hunter2"));
        let good = connections("postgres://ada:hunter2@localhost/x").unwrap();
        assert!(!format!("{good:?}").contains("hunter2"));
        let options = PostgresOptions::new("postgres://ada:hunter2@localhost/x");
        assert!(!format!("{options:?}").contains("hunter2"));
    }
}
