//! Redirects: where an answer sends us, and whether we go there, with a token or without.

use http::header::LOCATION;
use http::{HeaderMap, Method, StatusCode};
use url::Url;

use crate::error::{Error, ErrorKind, Result};
use crate::origin::OriginPolicy;

/// Says where a redirect leads.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedirectPlan {
    /// The answer is no redirect, or one that leaves the choice to the caller.
    Stay,
    /// To an origin that may see the token.
    WithToken(Url),
    /// Elsewhere, without a token.
    Bare(Url),
}

/// Decides what a redirect means; sends nothing.
///
/// *Shape*: an address of an allowed origin is followed with the token. Any other is followed
/// without one, if it is fit for a pre-authenticated request, and only by GET and HEAD: what is
/// sent in a body was meant for the service.
///
/// *Errors*: [`ErrorKind::OriginRefused`] for an address that nothing may be sent to;
/// [`ErrorKind::Malformed`] for one that is none.
pub fn plan_redirect(
    policy: &OriginPolicy,
    method: &Method,
    url: &Url,
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<RedirectPlan> {
    let reads = *method == Method::GET || *method == Method::HEAD;
    let keeps_method = match status.as_u16() {
        301..=303 => false,
        307 | 308 => true,
        _ => return Ok(RedirectPlan::Stay),
    };
    if !reads && !keeps_method {
        return Ok(RedirectPlan::Stay);
    }
    let malformed = || Error::new(ErrorKind::Malformed, "the redirect leads to no address");
    let location = headers.get(LOCATION).ok_or_else(malformed)?;
    let location = location.to_str().map_err(|_| malformed())?;
    let mut target = url.join(location).map_err(|_| malformed())?;
    target.set_fragment(None);
    if policy.allows(&target) {
        return Ok(RedirectPlan::WithToken(target));
    }
    policy.check_preauthenticated(&target)?;
    match reads {
        true => Ok(RedirectPlan::Bare(target)),
        false => policy.check(&target).map(|()| RedirectPlan::Stay),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Method, StatusCode};
    use url::Url;

    use super::{RedirectPlan, plan_redirect};
    use crate::error::ErrorKind;
    use crate::origin::OriginPolicy;

    fn plan(method: Method, status: u16, location: &str) -> Result<RedirectPlan, ErrorKind> {
        let url = Url::parse("https://graph.example/v1.0/a?b").unwrap();
        let policy = OriginPolicy::new([&url]).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("location", HeaderValue::from_str(location).unwrap());
        let status = StatusCode::from_u16(status).unwrap();
        plan_redirect(&policy, &method, &url, status, &headers).map_err(|error| error.kind())
    }

    #[test]
    fn the_token_goes_to_its_own_origin_only() {
        let url = |text: &str| Url::parse(text).unwrap();
        let own = RedirectPlan::WithToken(url("https://graph.example/v1.0/c"));
        assert_eq!(plan(Method::GET, 302, "c").unwrap(), own);
        assert_eq!(plan(Method::POST, 308, "/v1.0/c").unwrap(), own);
        let elsewhere = "https://content.example/x";
        let bare = RedirectPlan::Bare(url(elsewhere));
        assert_eq!(plan(Method::GET, 302, elsewhere).unwrap(), bare);
        assert_eq!(
            plan(Method::HEAD, 307, "//content.example/x").unwrap(),
            bare
        );
        assert_eq!(
            plan(Method::POST, 307, elsewhere),
            Err(ErrorKind::OriginRefused)
        );
        assert_eq!(
            plan(Method::POST, 302, elsewhere).unwrap(),
            RedirectPlan::Stay
        );
        assert_eq!(
            plan(Method::GET, 304, elsewhere).unwrap(),
            RedirectPlan::Stay
        );
        assert_eq!(
            plan(Method::GET, 200, elsewhere).unwrap(),
            RedirectPlan::Stay
        );
        for unfit in [
            "http://content.example/x",
            "ftp://content.example/",
            "https://u@h.example/",
        ] {
            assert_eq!(
                plan(Method::GET, 302, unfit),
                Err(ErrorKind::OriginRefused),
                "{unfit}"
            );
        }
        assert_eq!(
            plan(Method::GET, 302, "https://"),
            Err(ErrorKind::Malformed)
        );
    }
}
