//! `auth login`: a person signs in once; what the program needs to go on alone is kept, encrypted.

use std::io::{self, BufRead, Write};
use std::time::Duration;

use m365_auth::{
    AuthorizationOptions, CallbackAnswer, LoopbackRedirect, SignIn, SignedIn, TokenContents,
    UserTokenProvider,
};
use serde_json::json;

use super::purpose;
use crate::args::{How, LoginArgs};
use crate::config::{App, CredentialChoice, Person};
use crate::connect::{Context, app, sign_in, token_file, token_store, transport};
use crate::exit::Exit;
use crate::failure::{Failure, Result, from_auth};
use crate::output::Output;

/// Runs the command.
pub(super) async fn run(context: &Context, args: LoginArgs) -> Result<Exit> {
    let config = context.required_config()?;
    let app = app(&config, purpose(args.restore));
    let person = app.person.as_ref().ok_or_else(|| nobody_to_sign_in(app))?;
    let out = &context.output;
    let network = transport(&config.network, false)?;
    let sign_in = sign_in(&config, app, &network)?;
    let store = token_store(&config, person, true)?;
    let provider = UserTokenProvider::new(sign_in.clone(), store, &person.account);
    if args.forget {
        let forgotten = provider.forget().await;
        forgotten.map_err(|error| from_auth("forget the sign-in", &error))?;
        return told(out, person, "forgotten", &[]);
    }
    let scopes = [config.tenant.cloud.graph_audience().default_scope()];
    let signed_in = match args.how {
        How::Device => by_device(out, &sign_in, &scopes).await,
        How::Browser => by_browser(out, &sign_in, &scopes, person).await,
        How::Paste => by_paste(out, &sign_in, &scopes, person).await,
    }?;
    if let Some(account) = TokenContents::of(signed_in.access())
        .and_then(|contents| contents.account().map(str::to_owned))
        .filter(|account| !account.eq_ignore_ascii_case(&person.account))
    {
        let expected = &person.account;
        return Err(
            Failure::usage(format!("{account} signed in, not {expected}"))
                .next("sign in with the account that `sign-in-as` names, or change the config"),
        );
    }
    let adopted = provider.adopt(&signed_in).await;
    adopted.map_err(|error| from_auth("keep the sign-in", &error))?;
    let file = token_file(&config, person)?;
    out.note(&format!("kept, encrypted, in {}", file.display()));
    told(out, person, "signed in", signed_in.scopes())
}

fn told(out: &Output, person: &Person, what: &str, scopes: &[String]) -> Result<Exit> {
    let account = &person.account;
    if out.is_json() {
        let fields = json!({ "account": account, "outcome": what, "scopes": scopes });
        out.object("summary", fields)?;
    } else {
        out.name_line(&format!("{account}: {what}"))?;
    }
    Ok(Exit::Complete)
}

fn nobody_to_sign_in(app: &App) -> Failure {
    let by = match app.credential {
        CredentialChoice::Secret { .. } => "a secret",
        CredentialChoice::Certificate { .. } => "a certificate",
        CredentialChoice::Federated(_) => "a federated token",
        CredentialChoice::Machine(_) => "the identity of the machine",
        CredentialChoice::Public => "nothing",
    };
    Failure::usage(format!(
        "nobody has to sign in: the app proves itself by {by}"
    ))
    .next(
        "try it with: m365-backup auth test; to act in the name of a person, set \
         `tenant.sign-in-as`",
    )
}

async fn by_device(out: &Output, sign_in: &SignIn, scopes: &[String]) -> Result<SignedIn> {
    let failed = |error| from_auth("sign in", &error);
    let device = sign_in.begin_device(scopes).await.map_err(failed)?;
    if out.is_json() {
        let (url, code) = (device.verification_url(), device.user_code());
        let fields = json!({ "url": url, "code": code, "message": device.message() });
        out.object("sign_in", fields)?;
    } else {
        out.name_line(device.message())?;
    }
    sign_in.wait_for_device(&device).await.map_err(failed)
}

async fn by_browser(
    out: &Output,
    sign_in: &SignIn,
    scopes: &[String],
    person: &Person,
) -> Result<SignedIn> {
    let failed = |error| from_auth("sign in", &error);
    let door = LoopbackRedirect::bind().await.map_err(failed)?;
    let options = options(person);
    let begun = sign_in
        .begin(&door.uri(), scopes, &options)
        .map_err(failed)?;
    show(out, begun.url().as_str())?;
    let answer = tokio::time::timeout(PATIENCE, door.wait(&begun)).await;
    let answer = answer.map_err(|_| too_late())?.map_err(failed)?;
    sign_in.finish(begun, &answer).await.map_err(failed)
}

async fn by_paste(
    out: &Output,
    sign_in: &SignIn,
    scopes: &[String],
    person: &Person,
) -> Result<SignedIn> {
    let failed = |error: m365_auth::Error| from_auth("sign in", &error);
    let redirect = sign_in.paste_redirect().map_err(failed)?;
    let options = options(person);
    let begun = sign_in.begin(&redirect, scopes, &options).map_err(failed)?;
    show(out, begun.url().as_str())?;
    let quiet = out.is_json();
    let pasted = tokio::task::spawn_blocking(move || read_line(quiet)).await;
    let pasted = pasted
        .map_err(|_| too_late())?
        .map_err(|error| Failure::usage("cannot read the address").because(&error))?;
    let answer = CallbackAnswer::from_paste(&pasted, &begun).map_err(failed)?;
    sign_in.finish(begun, &answer).await.map_err(failed)
}

fn options(person: &Person) -> AuthorizationOptions {
    let mut options = AuthorizationOptions::default();
    options.login_hint = Some(person.account.clone());
    options
}

fn show(out: &Output, url: &str) -> Result<()> {
    match out.is_json() {
        true => out.object("sign_in", json!({ "url": url })),
        false => {
            out.line("Open this address in a browser, and sign in:")?;
            out.line(url)
        }
    }
}

fn read_line(quiet: bool) -> io::Result<String> {
    if !quiet {
        let mut error = io::stderr().lock();
        write!(error, "Paste the address at which the browser ends: ")?;
        error.flush()?;
    }
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line)
}

fn too_late() -> Failure {
    Failure::new(Exit::LoginRefused, "nobody signed in").next("begin the sign-in again")
}

/// How long a browser on this machine is waited for.
const PATIENCE: Duration = Duration::from_secs(900);
