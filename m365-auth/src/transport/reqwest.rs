//! The built-in transport: HTTPS by reqwest, with everything automatic switched off.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use http::{Request, Response};

use super::{Body, Transport};
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;

/// Says how to reach the network.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TransportOptions {
    /// The `User-Agent` of requests that carry none.
    pub user_agent: String,
    /// The longest time to make a connection.
    pub connect_timeout: Duration,
    /// The longest silence while waiting for a response or its next bytes.
    pub read_timeout: Duration,
    /// Through which proxy to go.
    pub proxy: Proxy,
    /// Further root certificates to trust, each a PEM text of one or more.
    pub extra_roots_pem: Vec<Vec<u8>>,
}

impl Default for TransportOptions {
    fn default() -> Self {
        Self {
            user_agent: concat!("m365-auth/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(30),
            read_timeout: Duration::from_secs(180),
            proxy: Proxy::System,
            extra_roots_pem: Vec::new(),
        }
    }
}

/// Chooses the proxy.
#[derive(Clone)]
#[non_exhaustive]
pub enum Proxy {
    /// The settings of the operating system and of the usual environment variables.
    System,
    /// None, whatever the system says.
    Direct,
    /// This one for every request.
    Server {
        /// Its address, such as `http://proxy.contoso.example:8080`; http, https, socks5, or socks5h
        /// (which lets the proxy resolve names).
        url: String,
        /// User name and password, sent by the Basic scheme, or as SOCKS asks for them.
        credentials: Option<(String, Secret)>,
        /// Hosts that are reached without it: names with everything below them, addresses, or
        /// ranges such as `10.0.0.0/8`.
        bypass: Vec<String>,
    },
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address of a proxy may hold a password, so it is not shown at all.
        f.write_str(match self {
            Self::System => "System",
            Self::Direct => "Direct",
            Self::Server { .. } => "Server(..)",
        })
    }
}

/// Sends requests over the network.
///
/// Redirects are returned, not followed; nothing is sent twice; bodies are streamed both ways.
#[derive(Clone)]
pub struct ReqwestTransport {
    client: reqwest::Client,
}

impl ReqwestTransport {
    /// Prepares the transport; no connection is made yet.
    ///
    /// *Errors*: [`ErrorKind::Configuration`] for a proxy address or certificate that cannot be
    /// understood, or when TLS cannot be set up.
    pub fn new(options: &TransportOptions) -> Result<Self> {
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .user_agent(&options.user_agent)
            .connect_timeout(options.connect_timeout)
            .read_timeout(options.read_timeout);
        builder = match &options.proxy {
            Proxy::System => builder,
            Proxy::Direct => builder.no_proxy(),
            Proxy::Server {
                url,
                credentials,
                bypass,
            } => {
                let mut proxy = reqwest::Proxy::all(url)
                    .map_err(|_| configuration("the address of the proxy is not a url"))?;
                if let Some((user, password)) = credentials {
                    proxy = proxy.basic_auth(user, password.expose());
                }
                let proxy = proxy.no_proxy(reqwest::NoProxy::from_string(&bypass.join(",")));
                builder.no_proxy().proxy(proxy)
            }
        };
        let mut roots = Vec::new();
        for pem in &options.extra_roots_pem {
            let found = reqwest::Certificate::from_pem_bundle(pem).map_err(|cause| {
                configuration("a root certificate is not readable PEM").with_source(cause)
            })?;
            if found.is_empty() {
                return Err(configuration(
                    "a root certificate file holds no certificate",
                ));
            }
            roots.extend(found);
        }
        if !roots.is_empty() {
            builder = builder.tls_certs_merge(roots);
        }
        let client = builder.build().map_err(|cause| {
            configuration("the network client could not be set up").with_source(cause)
        })?;
        Ok(Self { client })
    }
}

#[async_trait]
impl Transport for ReqwestTransport {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>> {
        let (parts, body) = request.into_parts();
        let url = reqwest::Url::parse(&parts.uri.to_string())
            .map_err(|_| configuration("the address of a request is not a url"))?;
        let mut outgoing = self
            .client
            .request(parts.method, url)
            .headers(parts.headers);
        outgoing = match body.as_bytes() {
            Some(bytes) if bytes.is_empty() => outgoing,
            Some(bytes) => outgoing.body(bytes.clone()),
            None => {
                if let Some(length) = body.length() {
                    outgoing = outgoing.header(http::header::CONTENT_LENGTH, length);
                }
                outgoing.body(reqwest::Body::wrap_stream(chunks(body)))
            }
        };
        let response = outgoing.send().await.map_err(classify)?;
        let length = response.content_length();
        let mut head = Response::new(());
        *head.status_mut() = response.status();
        *head.version_mut() = response.version();
        *head.headers_mut() = response.headers().clone();
        let stream = response.bytes_stream().map(|chunk| chunk.map_err(classify));
        Ok(head.map(|()| Body::from_stream(stream, length)))
    }
}

fn chunks(body: Body) -> impl futures_core::Stream<Item = Result<bytes::Bytes>> + Send {
    stream::unfold(body, |mut body| async move {
        let chunk = body.chunk().await?;
        Some((chunk, body))
    })
}

fn classify(cause: reqwest::Error) -> Error {
    let cause = cause.without_url();
    let (kind, message) = if cause.is_connect() {
        (
            ErrorKind::Connect,
            "no connection to the service came about",
        )
    } else if cause.is_builder() {
        (ErrorKind::Configuration, "the request could not be built")
    } else if cause.is_timeout() {
        (ErrorKind::Transport, "the service was silent for too long")
    } else {
        (ErrorKind::Transport, "the connection to the service broke")
    };
    Error::new(kind, message).with_source(cause)
}

fn configuration(message: &str) -> Error {
    Error::new(ErrorKind::Configuration, message)
}

impl fmt::Debug for ReqwestTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReqwestTransport")
    }
}
