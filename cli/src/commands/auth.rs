//! `auth`: signs people in, and finds out why the services cannot be reached or refuse.

mod doctor;
mod finding;
mod login;
mod probe;
mod reach;
mod test;

use crate::args::{AuthArgs, AuthCommand};
use crate::connect::{Context, Purpose};
use crate::exit::Exit;
use crate::failure::Result;

/// Runs the command.
pub(crate) async fn run(context: &Context, args: AuthArgs) -> Result<Exit> {
    match args.command {
        AuthCommand::Login(args) => login::run(context, args).await,
        AuthCommand::Test(args) => test::run(context, purpose(args.restore)).await,
        AuthCommand::Doctor => doctor::run(context).await,
    }
}

fn purpose(restore: bool) -> Purpose {
    match restore {
        true => Purpose::Restore,
        false => Purpose::Backup,
    }
}
