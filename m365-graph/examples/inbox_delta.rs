//! Lists the changes of a user's inbox: everything the first time, then what has changed since.
//!
//! `cargo run -p m365-graph --example inbox_delta -- TENANT CLIENT_ID USER [CURSOR] < secret.txt`

use std::error::Error;
use std::io::Read;
use std::sync::Arc;

use m365_auth::{
    CachedTokenProvider, Cloud, Environment, ReqwestTransport, Secret, SystemEnvironment,
    TokenClient, TransportOptions,
};
use m365_graph::{Change, DeltaNext, GraphClient, GraphOptions};

#[tokio::main(flavor = "current_thread")]
#[allow(clippy::print_stdout, reason = "an example speaks to a person")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [tenant, client_id, user, rest @ ..] = arguments.as_slice() else {
        return Err("usage: inbox_delta TENANT CLIENT_ID USER [CURSOR] < secret.txt".into());
    };
    let client = client(tenant, client_id)?;
    let kept = rest
        .first()
        .and_then(|path| std::fs::read_to_string(path).ok());
    let mut cursor = match kept {
        Some(text) => Some(client.parse_delta_link(&text)?),
        None => None,
    };
    let mail = client.mail(user);
    loop {
        let page = mail.messages_delta("inbox", cursor.as_ref()).await?;
        for change in &page.changes {
            match change {
                Change::Upserted(message) => {
                    let subject = message.subject.as_deref().unwrap_or("(no subject)");
                    println!(
                        "{}  {subject}",
                        message.received_date_time.as_deref().unwrap_or("-")
                    );
                }
                Change::Removed { id, .. } => println!("removed {id}"),
            }
        }
        match page.next {
            DeltaNext::More(next) => cursor = Some(next),
            DeltaNext::End(end) => {
                if let Some(path) = rest.first() {
                    std::fs::write(path, end.as_str())?;
                }
                return Ok(());
            }
        }
    }
}

fn client(tenant: &str, client_id: &str) -> Result<GraphClient, Box<dyn Error>> {
    // Not on the command line, where other users of the machine would see it.
    let mut secret = String::new();
    std::io::stdin().read_to_string(&mut secret)?;
    let environment: Arc<dyn Environment> = Arc::new(SystemEnvironment);
    let transport = Arc::new(ReqwestTransport::new(&TransportOptions::default())?);
    let cloud = Cloud::global();
    let tokens = TokenClient::client_secret(
        transport.clone(),
        &cloud,
        tenant,
        client_id,
        Secret::new(secret.trim()),
        Arc::clone(&environment),
    )?;
    let tokens = Arc::new(CachedTokenProvider::new(Arc::new(tokens), environment));
    Ok(GraphClient::new(
        transport,
        tokens,
        &cloud,
        GraphOptions::default(),
    )?)
}
