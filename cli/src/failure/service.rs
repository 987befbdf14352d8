//! Failures of the identity platform and of Graph, in words.

use std::error::Error as StdError;

use m365_auth::ErrorKind as AuthKind;
use m365_graph::ErrorKind as GraphKind;

use super::Failure;
use crate::exit::Exit;

/// Explains a failure of the door to the network or of the identity platform.
pub(crate) fn from_auth(doing: &str, error: &m365_auth::Error) -> Failure {
    let (exit, next) = auth_exit(error.kind());
    // What the identity platform's own code calls for is nearer than what its kind does.
    let next = error.next_step().unwrap_or(next);
    let failure = Failure::new(exit, auth_message(doing, error.kind())).because(error);
    let known = ON_THE_WAY
        .iter()
        .find(|(cause, _)| error.kind() == AuthKind::Connect && failure.mentions(cause));
    let failure = failure.next(known.map_or(next, |(_, next)| next));
    with_request_id(failure, error.request_id())
}

/// What stands in the way of a connection, by the words of the network library, and what to do.
const ON_THE_WAY: [(&str, &str); 6] = [
    (
        "certificate",
        "where a proxy or a private server has a certificate of your own authority, name the \
         authority in `network.ca-file`",
    ),
    (
        "dns error",
        "check the spelling in `tenant.cloud`, and the name servers of this machine; where only a \
         proxy knows names, set `network.proxy`",
    ),
    (
        "proxy authorization required",
        "the proxy asks for a name and a password, or refuses those it gets: set `user` and \
         `password` of `network.proxy`",
    ),
    (
        "failed to create underlying connection",
        "check the address and the port of the proxy, in `network.proxy`",
    ),
    (
        "tunnel error",
        "the proxy refuses to connect to this service: ask whoever runs it to allow the address",
    ),
    (
        "SOCKS error",
        "the proxy refuses to connect to this service, or is no SOCKS proxy: check `network.proxy`",
    ),
];

/// Explains a failure of Graph while `doing` something, such as `read the user ada@…`.
pub(crate) fn from_graph(doing: &str, error: &m365_graph::Error) -> Failure {
    if let Some(auth) = auth_error_in(error) {
        return from_auth(doing, auth);
    }
    let (exit, next) = graph_exit(error.kind());
    let failure = Failure::new(exit, format!("cannot {doing}"))
        .because(error)
        .next(next);
    with_request_id(failure, error.request_id())
}

/// Explains a failure of Exchange Web Services.
pub(crate) fn from_ews(doing: &str, error: &m365_ews::Error) -> Failure {
    use m365_ews::ErrorKind as Kind;

    if let Some(auth) = auth_error_in(error) {
        return from_auth(doing, auth);
    }
    let (exit, next) = match error.kind() {
        Kind::Unauthorized | Kind::Credential => (
            Exit::LoginRefused,
            "check `tenant.id`, `tenant.client-id` and the credential",
        ),
        Kind::Disabled => (
            Exit::PermissionMissing,
            "an administrator must enable exchange web services and list the app",
        ),
        Kind::Forbidden => (
            Exit::PermissionMissing,
            "give the app full_access_as_app of Office 365 Exchange Online, with admin consent",
        ),
        Kind::Throttled => (Exit::Throttled, THROTTLED),
        Kind::Connect | Kind::Transport => (Exit::Failed, UNREACHABLE),
        _ => (Exit::Failed, TRY_AGAIN),
    };
    Failure::new(exit, format!("cannot {doing}"))
        .because(error)
        .next(next)
}

/// Finds the identity platform's own refusal below an error of Graph or of an engine.
pub(super) fn auth_error_in<'a>(
    error: &'a (dyn StdError + 'static),
) -> Option<&'a m365_auth::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<m365_auth::Error>() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// Finds Graph's answer below an error of an engine.
pub(super) fn graph_error_in<'a>(
    error: &'a (dyn StdError + 'static),
) -> Option<&'a m365_graph::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<m365_graph::Error>() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

fn auth_message(doing: &str, kind: AuthKind) -> String {
    match kind {
        AuthKind::CredentialRefused | AuthKind::InteractionNeeded => {
            "the tenant refuses the login of the app".to_owned()
        }
        _ => format!("cannot {doing}"),
    }
}

fn auth_exit(kind: AuthKind) -> (Exit, &'static str) {
    match kind {
        AuthKind::CredentialRefused => (
            Exit::LoginRefused,
            "check `tenant.id`, `tenant.client-id` and the client secret; a secret may have \
             expired",
        ),
        AuthKind::InteractionNeeded => (
            Exit::LoginRefused,
            "an administrator must consent to the app again",
        ),
        AuthKind::Throttled => (Exit::Throttled, THROTTLED),
        AuthKind::Connect | AuthKind::Transport => (Exit::Failed, UNREACHABLE),
        AuthKind::OriginRefused | AuthKind::Configuration => (
            Exit::Failed,
            "check `tenant.cloud`: only its own servers are spoken to, by https",
        ),
        _ => (Exit::Failed, TRY_AGAIN),
    }
}

fn graph_exit(kind: GraphKind) -> (Exit, &'static str) {
    match kind {
        GraphKind::Unauthorized | GraphKind::Credential => (
            Exit::LoginRefused,
            "check `tenant.id`, `tenant.client-id` and the client secret",
        ),
        GraphKind::Forbidden => (
            Exit::PermissionMissing,
            "m365-backup auth doctor names the permission that is missing; give it to the app, with \
             admin consent",
        ),
        GraphKind::Throttled => (Exit::Throttled, THROTTLED),
        GraphKind::NotFound => (
            Exit::Failed,
            "check the name; whoever left the tenant can still be restored to another user with \
             --to",
        ),
        GraphKind::Connect | GraphKind::Transport => (Exit::Failed, UNREACHABLE),
        _ => (Exit::Failed, TRY_AGAIN),
    }
}

fn with_request_id(failure: Failure, id: Option<&str>) -> Failure {
    match id {
        Some(id) if !failure.mentions(id) => {
            failure.cause(format!("request id {id}, for Microsoft's support"))
        }
        _ => failure,
    }
}

const THROTTLED: &str = "run it again later, or lower `parallelism.resources`; what was committed \
                         is kept";
const UNREACHABLE: &str = "check the network, the proxy and `tenant.cloud`, then run it again; what \
                           was committed is kept";
const TRY_AGAIN: &str = "run it again; what was committed is kept";

#[cfg(test)]
mod tests {
    use m365_auth::{Error, ErrorKind};

    use super::from_auth;

    #[test]
    fn a_refused_login_is_exit_code_20_and_names_what_to_check() {
        let error = Error::new(
            ErrorKind::CredentialRefused,
            "the client secret is not valid",
        )
        .with_service_code("AADSTS7000215");
        let failure = from_auth("list the users", &error);
        assert_eq!(failure.exit().code(), 20);
        assert_eq!(
            failure.to_string(),
            "the tenant refuses the login of the app\n  cause: the client secret is not valid \
             (AADSTS7000215)\n  next:  check `tenant.id`, `tenant.client-id` and the client \
             secret; a secret may have expired"
        );
    }
}
