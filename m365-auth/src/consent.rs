//! Admin consent: the address at which an administrator allows the application, and the answer.

use url::Url;

use crate::cloud::Cloud;
use crate::error::{Error, ErrorKind, Result};
use crate::origin::OriginPolicy;
use crate::token::{IdentityError, endpoint};

/// Asks an administrator to consent to an application.
///
/// *Source*: the identity platform's page on admin consent (0ec14b1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentRequest {
    url: Url,
    state: String,
}

impl ConsentRequest {
    /// Builds the address for an administrator of `tenant` (or `organizations`).
    ///
    /// `scope` is usually the [`default_scope`](crate::Audience::default_scope) of a service: that
    /// asks for everything in the application's registration. `state` is returned in the answer.
    ///
    /// *Errors*: [`ErrorKind::Configuration`] for the tenant `common`, which has no administrator,
    /// for an empty field, or an authority that is neither https nor on loopback.
    pub fn new(
        cloud: &Cloud,
        tenant: &str,
        client_id: &str,
        scope: &str,
        redirect: &str,
        state: &str,
    ) -> Result<Self> {
        let configuration = |message: &str| Error::new(ErrorKind::Configuration, message);
        if ["common", "consumers"].contains(&tenant) {
            return Err(configuration(
                "the tenant has no administrator; name it by its id",
            ));
        }
        if [tenant, client_id, scope, redirect, state]
            .iter()
            .any(|text| text.is_empty())
        {
            return Err(configuration("a field of the request for consent is empty"));
        }
        OriginPolicy::new([&cloud.authority])?;
        let mut url = endpoint::below(&cloud.authority, tenant, &["v2.0", "adminconsent"])?;
        url.query_pairs_mut()
            .append_pair("client_id", client_id)
            .append_pair("scope", scope)
            .append_pair("redirect_uri", redirect)
            .append_pair("state", state);
        Ok(Self {
            url,
            state: state.to_owned(),
        })
    }

    /// Returns the address that the administrator opens.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Reads the address at which the browser ended.
    ///
    /// The tenant in the answer is what the browser says, and proves nothing.
    ///
    /// *Errors*: [`ErrorKind::AnswerRefused`] for the answer to another request; the refusal of the
    /// identity platform; [`ErrorKind::Malformed`] for an address without an answer.
    pub fn answer(&self, address: &str) -> Result<Consent> {
        use crate::token::callback::{refusal, single};

        let malformed = |message: &str| Error::new(ErrorKind::Malformed, message);
        let url = Url::parse(address.trim()).map_err(|_| malformed("the answer is no address"))?;
        let query = url.query().unwrap_or_default();
        if single(query, "state")?.as_deref() != Some(self.state.as_str()) {
            let message = "the answer is not taken: it belongs to another request for consent";
            return Err(Error::new(ErrorKind::AnswerRefused, message));
        }
        if let Some(error) = single(query, "error")? {
            let description = single(query, "error_description")?;
            return Err(refusal(&IdentityError::from_redirect(
                &error,
                description.as_deref(),
            )));
        }
        match single(query, "admin_consent")? {
            Some(word) if word.eq_ignore_ascii_case("true") => Ok(Consent {
                tenant: single(query, "tenant")?,
                scope: single(query, "scope")?,
            }),
            _ => Err(malformed("the answer holds no consent")),
        }
    }
}

/// Holds what an administrator consented to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    tenant: Option<String>,
    scope: Option<String>,
}

impl Consent {
    /// Returns the tenant as the browser names it; not to be trusted for a decision about rights.
    pub fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    /// Returns the scopes that were consented to.
    pub fn scope(&self) -> Option<&str> {
        self.scope.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::ConsentRequest;
    use crate::cloud::Cloud;
    use crate::error::ErrorKind;

    fn request() -> ConsentRequest {
        let (cloud, redirect) = (Cloud::global(), "http://localhost:1");
        let scope = cloud.graph_audience().default_scope();
        ConsentRequest::new(&cloud, "contoso.example", "app", &scope, redirect, "s1").unwrap()
    }

    #[test]
    fn the_address_is_the_documented_one() {
        assert_eq!(
            request().url().as_str(),
            "https://login.microsoftonline.com/contoso.example/v2.0/adminconsent?client_id=app&\
             scope=https%3A%2F%2Fgraph.microsoft.com%2F.default&\
             redirect_uri=http%3A%2F%2Flocalhost%3A1&state=s1"
        );
    }

    #[test]
    fn answers_are_told_apart() {
        let kind = |query: &str| {
            let address = format!("http://localhost:1/?{query}");
            request().answer(&address).map_err(|error| error.kind())
        };
        let good = kind("admin_consent=True&tenant=t&scope=a+b&state=s1").unwrap();
        assert_eq!((good.tenant(), good.scope()), (Some("t"), Some("a b")));
        let declined = "error=access_denied&error_description=AADSTS65004%3A+no&admin_consent=True";
        assert_eq!(
            kind(&format!("{declined}&state=s1")),
            Err(ErrorKind::InteractionNeeded)
        );
        assert_eq!(
            kind("admin_consent=True&state=s2"),
            Err(ErrorKind::AnswerRefused)
        );
        assert_eq!(kind("admin_consent=True"), Err(ErrorKind::AnswerRefused));
        assert_eq!(kind("state=s1"), Err(ErrorKind::Malformed));
        assert_eq!(kind("state=s1&state=s1"), Err(ErrorKind::Malformed));
    }
}
