//! The program `m365-simulator`: keeps a tenant running on loopback, for anybody's client.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use m365_simulator::server::tls::{Credential, Identity};
use m365_simulator::{Server, Tenant, TenantSpec, UserInfo};
use serde_json::{Value, json};

/// A simulated Microsoft 365 tenant.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Keeps a tenant running on loopback until it is told to end.
    Serve(Serve),
}

#[derive(Debug, clap::Args)]
struct Serve {
    /// Where to write, as JSON, all that a client needs; written once the tenant answers.
    ///
    /// Certificates and keys are written beside it.
    #[arg(long)]
    tenant_file: PathBuf,
    /// Users, shared mailboxes, rooms and pieces of equipment together.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(3..))]
    users: u16,
    /// Decides what the tenant holds.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Messages per mailbox, on average.
    #[arg(long, default_value_t = 120)]
    messages: usize,
    /// Files per drive, on average.
    #[arg(long, default_value_t = 40)]
    files: usize,
    /// MiB of mail and files together, about.
    #[arg(long, default_value_t = 64)]
    mebibytes: u64,
    /// Speaks TLS with a certificate of a private authority, made anew at each start.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1,
        default_missing_value = "true")]
    tls: bool,
    /// Refuses an Authorization header at addresses that need none, as the service may do; some
    /// clients send one.
    #[arg(long)]
    strict_content: bool,
}

fn main() -> io::Result<()> {
    let Verb::Serve(serve) = Arguments::parse().verb;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(run(serve))
}

async fn run(serve: Serve) -> io::Result<()> {
    let tenant = Tenant::generate(TenantSpec {
        seed: serve.seed,
        users: usize::from(serve.users),
        messages_per_user: serve.messages,
        files_per_user: serve.files,
        logical_bytes: serve.mebibytes << 20,
        ..TenantSpec::default()
    })?;
    tenant.set_tolerant_content(!serve.strict_content);
    let app = Credential::generate()?;
    tenant.register_certificate(&app.certificate)?;
    let identity = Identity::generate()?;
    let server = match serve.tls {
        true => Server::start_tls(tenant, &identity).await?,
        false => Server::start(tenant).await?,
    };
    let beside = |name: &str| serve.tenant_file.with_file_name(name);
    let (ca, cert, key) = (
        beside("ca.pem"),
        beside("app-cert.pem"),
        beside("app-key.pem"),
    );
    std::fs::write(&ca, identity.ca_pem())?;
    std::fs::write(&cert, &app.certificate)?;
    std::fs::write(&key, &app.key)?;
    let mut record = describe(&server)?;
    for (name, path) in [("ca", &ca), ("cert", &cert), ("key", &key)] {
        record[name] = json!(std::path::absolute(path)?);
    }
    write_whole(&serve.tenant_file, &record)?;
    let mut out = io::stdout();
    writeln!(out, "serving {} until interrupted", server.urls().graph)?;
    out.flush()?;
    tokio::signal::ctrl_c().await
}

/// Says all that a client needs to know.
fn describe(server: &Server) -> io::Result<Value> {
    let (tenant, urls) = (server.tenant(), server.urls());
    let app = tenant.app();
    let users = tenant.users();
    let owner = users
        .iter()
        .find(|user| has_enough(tenant, user))
        .ok_or_else(|| {
            io::Error::other("no user has seven messages and two files; ask for more")
        })?;
    let names: Vec<&str> = users
        .iter()
        .map(|user| user.principal_name.as_str())
        .collect();
    Ok(json!({
        "login": urls.login,
        "graph": urls.graph,
        "ews": urls.ews,
        "content": urls.content,
        "sharepoint": urls.sharepoint,
        "proxy": server.proxy().map(|address| format!("http://{address}")),
        "tenant": app.tenant_id,
        "client": app.client_id,
        "secret": app.client_secret,
        "user": owner.principal_name,
        "password": tenant.password(&owner.id),
        "refresh": tenant.refresh_token(&owner.id),
        "drive": tenant.with_drive(&owner.id, |drive| drive.id().to_owned()),
        "users": names,
    }))
}

/// Tells whether a user owns what scripts expect: seven messages in the inbox, two files.
fn has_enough(tenant: &Tenant, user: &UserInfo) -> bool {
    let files = tenant.with_drive(&user.id, |drive| {
        drive.walk().iter().filter(|item| !item.is_folder()).count()
    });
    tenant.count_messages(&user.id, "inbox") >= 7 && files.is_some_and(|files| files >= 2)
}

/// Writes a file that others see whole or not at all.
fn write_whole(path: &Path, record: &Value) -> io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    std::fs::write(&unfinished, format!("{record:#}\n"))?;
    std::fs::rename(&unfinished, path)
}
