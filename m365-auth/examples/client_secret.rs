//! Asks for a Graph token with a client secret, and says until when it lasts.
//!
//! `cargo run -p m365-auth --example client_secret -- TENANT CLIENT_ID < secret.txt`

use std::error::Error;
use std::io::Read;
use std::sync::Arc;

use m365_auth::{
    CachedTokenProvider, Cloud, Environment, ReqwestTransport, Secret, SystemEnvironment,
    TokenClient, TokenProvider, TransportOptions,
};

#[tokio::main(flavor = "current_thread")]
#[allow(clippy::print_stdout, reason = "an example speaks to a person")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(tenant), Some(client_id)) = (arguments.next(), arguments.next()) else {
        return Err("usage: client_secret TENANT CLIENT_ID < secret.txt".into());
    };
    // Not on the command line, where other users of the machine would see it.
    let mut secret = String::new();
    std::io::stdin().read_to_string(&mut secret)?;

    let environment: Arc<dyn Environment> = Arc::new(SystemEnvironment);
    let transport = Arc::new(ReqwestTransport::new(&TransportOptions::default())?);
    let cloud = Cloud::global();
    let secret = Secret::new(secret.trim());
    let client = TokenClient::client_secret(
        transport,
        &cloud,
        &tenant,
        &client_id,
        secret,
        Arc::clone(&environment),
    )?;
    let tokens = CachedTokenProvider::new(Arc::new(client), Arc::clone(&environment));
    let token = tokens.token(&cloud.graph_audience()).await?;
    let left = token.expires_at().duration_since(environment.now())?;
    println!(
        "a token for {} that lasts {} minutes",
        cloud.graph_audience(),
        left.as_secs() / 60
    );
    Ok(())
}
