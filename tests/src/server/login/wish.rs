//! Wish: the scopes of a sign-in, and the one service that they are of.

use super::Denial;
use crate::tenant::Tenant;
use crate::tenant::sign_ins::Wish;

/// Scopes that are of no service.
const OPENID: [&str; 4] = ["openid", "profile", "email", "offline_access"];

/// Reads the scopes of a person's sign-in.
///
/// Names without an address are Graph's, as the platform takes them.
pub(super) fn of_person(tenant: &Tenant, scope: &str) -> Result<Wish, Denial> {
    let mut wish = Wish {
        audience: String::new(),
        scopes: Vec::new(),
        offline: false,
        openid: false,
    };
    for word in scope.split_whitespace() {
        if OPENID.contains(&word) {
            wish.offline |= word == "offline_access";
            wish.openid |= word == "openid";
            continue;
        }
        let (audience, name) = match word.rsplit_once('/') {
            Some((resource, name)) => (resource_of(tenant, resource)?, name),
            None => (super::origin(&tenant.home().graph), word),
        };
        if !wish.audience.is_empty() && wish.audience != audience {
            return Err(Denial::new(
                "invalid_request",
                28_000,
                format!(
                    "Provided value for the input parameter scope is not valid because it \
                     contains more than one resource. Scope {scope} is not valid."
                ),
            ));
        }
        wish.audience = audience;
        wish.scopes.push(name.to_string());
    }
    if wish.audience.is_empty() {
        // Signing in alone gives a token that reads the person's own profile.
        wish.audience = super::origin(&tenant.home().graph);
        wish.scopes.push("User.Read".to_string());
    }
    Ok(wish)
}

/// Finds the one service that the scope of an application's own token asks for.
pub(super) fn of_app(tenant: &Tenant, scope: &str) -> Result<String, Denial> {
    let mut resources = scope.split_whitespace();
    let (Some(first), None) = (resources.next(), resources.next()) else {
        return Err(Denial::new(
            "invalid_scope",
            70_011,
            format!("The provided value for the input parameter 'scope' is not valid: '{scope}'."),
        ));
    };
    let Some(resource) = first.strip_suffix("/.default") else {
        return Err(Denial::new(
            "invalid_scope",
            1_002_012,
            format!(
                "The provided value for scope {first} is not valid. Client credential flows must \
                 have a scope value with /.default suffixed to the resource identifier."
            ),
        ));
    };
    resource_of(tenant, resource)
}

/// Finds a service by its address.
pub(super) fn resource_of(tenant: &Tenant, resource: &str) -> Result<String, Denial> {
    let resource = resource.trim_end_matches('/');
    tenant.audience_of(resource).ok_or_else(|| {
        Denial::new(
            "invalid_resource",
            500_011,
            format!("The resource principal named {resource} was not found in the tenant."),
        )
    })
}
