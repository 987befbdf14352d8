//! The door to the network: attaches the bearer token, or a name and password, where the origin
//! policy allows it, and nowhere else.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use url::Url;

use crate::challenge::Claims;
use crate::credential::BasicCredential;
use crate::error::{Error, ErrorKind, Result};
use crate::origin::OriginPolicy;
use crate::redirect::{RedirectPlan, plan_redirect};
use crate::token::{AccessToken, Audience, TokenProvider};
use crate::transport::{Body, Transport, trace};

/// Sends requests to the origins of one service with a token, and to others without.
///
/// A server that knows no tokens gets a name and a password in its place; everything that is said
/// here of tokens holds for these.
#[derive(Debug, Clone)]
pub struct AuthorizedTransport {
    transport: Arc<dyn Transport>,
    proof: Proof,
    policy: OriginPolicy,
}

/// What the `Authorization` header shows.
#[derive(Debug, Clone)]
enum Proof {
    Token(Arc<dyn TokenProvider>, Audience),
    Password(BasicCredential),
}

impl AuthorizedTransport {
    /// Joins a transport, the tokens of one audience, and the origins that may see them.
    pub fn new(
        transport: Arc<dyn Transport>,
        tokens: Arc<dyn TokenProvider>,
        audience: Audience,
        policy: OriginPolicy,
    ) -> Self {
        Self {
            transport,
            proof: Proof::Token(tokens, audience),
            policy,
        }
    }

    /// Joins a transport, a name and password, and the origins that may see them.
    ///
    /// *Errors*: [`ErrorKind::Configuration`] when one of the origins is not https, on a loopback
    /// address too: a password is worth more than a token, and is sent with every request.
    pub fn with_password(
        transport: Arc<dyn Transport>,
        credential: BasicCredential,
        policy: OriginPolicy,
    ) -> Result<Self> {
        if !policy.is_secure() {
            let message = format!("a password goes to https addresses only, not to {policy:?}");
            return Err(Error::new(ErrorKind::Configuration, message));
        }
        Ok(Self {
            transport,
            proof: Proof::Password(credential),
            policy,
        })
    }

    /// Checks a link of the service, before it is stored and before it is used.
    ///
    /// *Errors*: [`ErrorKind::OriginRefused`].
    pub fn check(&self, url: &Url) -> Result<()> {
        self.policy.check(url)
    }

    /// Sends a request with a bearer token, or the name and password.
    ///
    /// After an answer of 401 the token is renewed once, with the claims that the answer demands if
    /// it does, and the request sent again, provided its body was whole in memory; the answer to
    /// that is returned whatever it is. A refused password is not sent again. An `Authorization`
    /// header of the caller is replaced.
    ///
    /// *Errors*: [`ErrorKind::OriginRefused`] before a token is asked for; those of the token
    /// provider and of the transport.
    ///
    /// *Cancel safety*: dropping the future abandons the request; the service may have seen it.
    pub async fn send(&self, request: Request<Body>) -> Result<Response<Body>> {
        let (mut parts, body) = request.into_parts();
        let url = canonical(&mut parts)?;
        self.policy.check(&url)?;
        let (tokens, audience) = match &self.proof {
            Proof::Token(tokens, audience) => (tokens, audience),
            Proof::Password(credential) => {
                return self.send_with(parts, body, credential.header()).await;
            }
        };
        let replay: Option<(Parts, Bytes)> =
            body.as_bytes().map(|bytes| (parts.clone(), bytes.clone()));
        let token = tokens.token(audience).await?;
        let response = self.send_with(parts, body, bearer(&token)?).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        match Claims::demanded(response.headers()) {
            Some(claims) => tokens.challenge(audience, &token, &claims).await,
            None => tokens.invalidate(audience, &token).await,
        }
        let Some((parts, bytes)) = replay else {
            return Ok(response);
        };
        let renewed = tokens.token(audience).await?;
        if renewed.secret() == token.secret() {
            return Ok(response);
        }
        self.send_with(parts, bytes.into(), bearer(&renewed)?).await
    }

    /// Sends a request with a bearer token, and follows its redirects as
    /// [`plan_redirect`] decides: with the token within the allowed origins, without it elsewhere.
    ///
    /// A request with a streamed body is sent once; a redirect of it is handed on.
    ///
    /// *Units and limits*: at most ten redirects; the next one is handed on.
    ///
    /// *Errors*: those of [`send`](Self::send) and of [`plan_redirect`].
    ///
    /// *Cancel safety*: as [`send`](Self::send).
    pub async fn send_following(&self, request: Request<Body>) -> Result<Response<Body>> {
        let (mut parts, body) = request.into_parts();
        let mut url = canonical(&mut parts)?;
        let Some(bytes) = body.as_bytes().cloned() else {
            return self.send(Request::from_parts(parts, body)).await;
        };
        let mut response = self.send(Request::from_parts(parts.clone(), body)).await?;
        let mut trusted = true;
        for _ in 0..MAX_REDIRECTS {
            let (status, headers) = (response.status(), response.headers());
            url = match plan_redirect(&self.policy, &parts.method, &url, status, headers)? {
                RedirectPlan::Stay => break,
                RedirectPlan::WithToken(target) => target,
                RedirectPlan::Bare(target) => {
                    // Whoever was reached without a token does not lead us back with one.
                    trusted = false;
                    target
                }
            };
            parts.uri = url.as_str().parse().map_err(|_| {
                Error::new(ErrorKind::Malformed, "the redirect leads to no address")
            })?;
            let next = Request::from_parts(parts.clone(), Body::from(bytes.clone()));
            response = match trusted {
                true => self.send(next).await?,
                false => self.send_preauthenticated(next).await?,
            };
        }
        Ok(response)
    }

    /// Sends a request without a token, to an address that is its own authorization.
    ///
    /// `Authorization` and `Cookie` headers are taken off.
    ///
    /// *Errors*: [`ErrorKind::OriginRefused`] for an address that is neither https nor a known
    /// loopback address; those of the transport.
    ///
    /// *Cancel safety*: as [`send`](Self::send).
    pub async fn send_preauthenticated(&self, request: Request<Body>) -> Result<Response<Body>> {
        let (mut parts, body) = request.into_parts();
        let url = canonical(&mut parts)?;
        self.policy.check_preauthenticated(&url)?;
        for name in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION] {
            parts.headers.remove(name);
        }
        trace::send(&*self.transport, Request::from_parts(parts, body)).await
    }

    async fn send_with(
        &self,
        mut parts: Parts,
        body: Body,
        proof: HeaderValue,
    ) -> Result<Response<Body>> {
        parts.headers.insert(AUTHORIZATION, proof);
        trace::send(&*self.transport, Request::from_parts(parts, body)).await
    }
}

/// Returns the header that shows a token.
fn bearer(token: &AccessToken) -> Result<HeaderValue> {
    let text = zeroize::Zeroizing::new(format!("Bearer {}", token.secret().expose()));
    let mut value = HeaderValue::from_str(&text).map_err(|_| {
        Error::new(
            ErrorKind::Malformed,
            "the token holds bytes that no header may hold",
        )
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Returns the URL of a request, and makes the request use exactly what is returned: what is
/// checked and what is sent must not be read by two different parsers.
fn canonical(parts: &mut Parts) -> Result<Url> {
    let refused = || {
        Error::new(
            ErrorKind::OriginRefused,
            "the address of the request is not a whole url",
        )
    };
    let mut url = Url::parse(&parts.uri.to_string()).map_err(|_| refused())?;
    url.set_fragment(None);
    parts.uri = url.as_str().parse::<Uri>().map_err(|_| refused())?;
    Ok(url)
}

/// How many redirects are followed.
const MAX_REDIRECTS: usize = 10;
