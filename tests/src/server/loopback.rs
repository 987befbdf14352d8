//! Loopback: the five services of a tenant on five ports of this machine, plain HTTP or TLS.

use std::io;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

#[cfg(feature = "serve")]
use super::{connect, tls};
use crate::tenant::urls::Door;
use crate::tenant::{Tenant, Urls};

/// The largest request body taken; upload fragments stay below 60 MiB.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The services in the order of their ports.
const DOORS: [Door; 5] = [
    Door::Login,
    Door::Graph,
    Door::Ews,
    Door::Content,
    Door::SharePoint,
];

/// A tenant that listens on 127.0.0.1; stops when dropped.
#[derive(Debug)]
pub struct Server {
    tenant: Tenant,
    doors: Vec<JoinHandle<()>>,
    #[cfg(feature = "serve")]
    proxy: Option<std::net::SocketAddr>,
}

/// What is spoken below HTTP.
#[derive(Clone)]
pub(super) enum Wire {
    Plain,
    #[cfg(feature = "serve")]
    Tls(tokio_rustls::TlsAcceptor),
}

impl Wire {
    fn scheme(&self) -> &'static str {
        match self {
            Self::Plain => "http",
            #[cfg(feature = "serve")]
            Self::Tls(_) => "https",
        }
    }
}

impl Server {
    /// Starts to listen on five free ports; the tenant's clones in process keep working.
    ///
    /// *Errors*: those of the operating system, when no port can be had. Must be called within a
    /// tokio runtime.
    pub async fn start(tenant: Tenant) -> io::Result<Self> {
        Self::start_on(tenant, Wire::Plain).await
    }

    /// Starts to listen with TLS, and opens a proxy that answers for the worldwide cloud's hosts.
    ///
    /// *Errors*: as [`start`](Self::start).
    #[cfg(feature = "serve")]
    pub async fn start_tls(tenant: Tenant, identity: &tls::Identity) -> io::Result<Self> {
        let wire = Wire::Tls(identity.acceptor());
        let mut server = Self::start_on(tenant, wire.clone()).await?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        server.proxy = Some(listener.local_addr()?);
        let tenant = server.tenant.clone();
        server
            .doors
            .push(tokio::spawn(connect::listen(tenant, wire, listener)));
        Ok(server)
    }

    async fn start_on(tenant: Tenant, wire: Wire) -> io::Result<Self> {
        let mut listeners = Vec::new();
        for _ in DOORS {
            listeners.push(TcpListener::bind(("127.0.0.1", 0)).await?);
        }
        let mut texts = Vec::new();
        let scheme = wire.scheme();
        for (listener, path) in listeners
            .iter()
            .zip(["/", "/", "/EWS/Exchange.asmx", "/", "/"])
        {
            texts.push(format!("{scheme}://{}{path}", listener.local_addr()?));
        }
        let urls = Urls::from_texts([&texts[0], &texts[1], &texts[2], &texts[3], &texts[4]])?;
        let tenant = tenant.with_urls(urls);
        let doors = listeners
            .into_iter()
            .zip(DOORS)
            .map(|(listener, door)| {
                tokio::spawn(listen(tenant.clone(), wire.clone(), door, listener))
            })
            .collect();
        Ok(Self {
            tenant,
            doors,
            #[cfg(feature = "serve")]
            proxy: None,
        })
    }

    /// Returns the tenant under its loopback addresses.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// Returns the addresses it listens on.
    pub fn urls(&self) -> &Urls {
        self.tenant.urls()
    }

    /// Returns where the proxy listens that answers `CONNECT` for the worldwide cloud's hosts;
    /// `None` where plain HTTP is spoken.
    #[cfg(feature = "serve")]
    pub fn proxy(&self) -> Option<std::net::SocketAddr> {
        self.proxy
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for door in &self.doors {
            door.abort();
        }
    }
}

async fn listen(tenant: Tenant, wire: Wire, door: Door, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((socket, _)) = accepted else { continue };
                connections.spawn(speak(tenant.clone(), wire.clone(), door, socket));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Answers the requests of one connection.
pub(super) async fn speak(tenant: Tenant, wire: Wire, door: Door, socket: TcpStream) {
    match wire {
        Wire::Plain => converse(tenant, "http", door, socket).await,
        #[cfg(feature = "serve")]
        Wire::Tls(acceptor) => {
            // Who does not trust the certificate learns it by the alert; nobody else is concerned.
            if let Ok(socket) = acceptor.accept(socket).await {
                converse(tenant, "https", door, socket).await;
            }
        }
    }
}

async fn converse<S>(tenant: Tenant, scheme: &'static str, door: Door, socket: S)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(|request| serve(tenant.clone(), scheme, door, request));
    // A broken connection concerns its client only, who sees it there.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(socket), service)
        .await;
}

type Frames = std::pin::Pin<Box<dyn futures_util::Stream<Item = io::Result<Frame<Bytes>>> + Send>>;

async fn serve(
    tenant: Tenant,
    scheme: &'static str,
    door: Door,
    request: Request<Incoming>,
) -> io::Result<Response<StreamBody<Frames>>> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX)
        .collect()
        .await
        .map_err(io::Error::other)?
        .to_bytes();
    let tenant = named(&tenant, scheme, door, &head);
    let answer = tenant
        .handle_at(door, Request::from_parts(head, body))
        .await?;
    let (head, body) = answer.into_parts();
    let frames: Frames = Box::pin(body.map(|piece| piece.map(Frame::data)));
    Ok(Response::from_parts(head, StreamBody::new(frames)))
}

/// Lets the tenant speak of the service by the name that the request used.
fn named(tenant: &Tenant, scheme: &'static str, door: Door, head: &http::request::Parts) -> Tenant {
    let text = |name| {
        let value: &http::HeaderValue = head.headers.get(name)?;
        value.to_str().ok()
    };
    let host = text(header::HOST).and_then(|host| host.parse().ok());
    let Some(host) = head.uri.authority().cloned().or(host) else {
        return tenant.clone();
    };
    let forwarded = head.headers.get("x-forwarded-proto");
    let scheme = match forwarded.and_then(|value| value.to_str().ok()) {
        Some("http") => "http",
        Some("https") => "https",
        _ => scheme,
    };
    tenant.named_by(tenant.home().followed(door, &host, scheme))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;
    use crate::{Fault, FaultPlan, FaultRule};

    async fn get(url: &url::Url, path: &str) -> io::Result<String> {
        let address = url.socket_addrs(|| None)?[0];
        get_by(url, &address.to_string(), path).await
    }

    async fn get_by(url: &url::Url, host: &str, path: &str) -> io::Result<String> {
        let address = url.socket_addrs(|| None)?[0];
        let mut socket = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn the_doors_answer_and_name_their_own_addresses() {
        let tenant = Tenant::empty(1);
        let server = Server::start(tenant.clone()).await.expect("five ports");
        let metadata = "/contoso.example/v2.0/.well-known/openid-configuration";
        let login = get(&server.urls().login, metadata)
            .await
            .expect("an answer");
        assert!(login.starts_with("HTTP/1.1 200"), "{login}");
        assert!(login.contains(server.urls().login.as_str()), "{login}");
        let graph = get(&server.urls().graph, "/v1.0/users")
            .await
            .expect("an answer");
        assert!(graph.starts_with("HTTP/1.1 401"), "{graph}");
        assert_eq!(tenant.counters().billed(), 2, "both clones share one state");
    }

    #[tokio::test]
    async fn absolute_addresses_follow_the_host_of_the_request() {
        let server = Server::start(Tenant::empty(1)).await.expect("five ports");
        let metadata = "/contoso.example/v2.0/.well-known/openid-configuration";
        let answer = get_by(
            &server.urls().login,
            "login.microsoftonline.com\r\nX-Forwarded-Proto: https",
            metadata,
        );
        let answer = answer.await.expect("an answer");
        let endpoint = "\"token_endpoint\":\"https://login.microsoftonline.com/";
        assert!(answer.contains(endpoint), "{answer}");
    }

    #[tokio::test]
    async fn a_reset_by_plan_breaks_the_connection() {
        let tenant = Tenant::empty(1);
        let rule = FaultRule::new("GET /users", Fault::Reset);
        tenant.set_faults(FaultPlan::new(1).with(rule));
        let server = Server::start(tenant).await.expect("five ports");
        let answer = get(&server.urls().graph, "/v1.0/users").await;
        assert!(answer.is_err() || answer.is_ok_and(|text| text.is_empty()));
    }
}
