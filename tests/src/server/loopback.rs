//! Loopback: the four services of a tenant on four ports of this machine, plain HTTP.

use std::io;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use crate::tenant::urls::Door;
use crate::tenant::{Tenant, Urls};

/// The largest request body taken; upload fragments stay below 60 MiB.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A tenant that listens on 127.0.0.1; stops when dropped.
#[derive(Debug)]
pub struct Server {
    tenant: Tenant,
    doors: Vec<JoinHandle<()>>,
}

impl Server {
    /// Starts to listen on four free ports; the tenant's clones in process keep working.
    ///
    /// *Errors*: those of the operating system, when no port can be had. Must be called within a
    /// tokio runtime.
    pub async fn start(tenant: Tenant) -> io::Result<Self> {
        let mut listeners = Vec::new();
        for _ in 0..4 {
            listeners.push(TcpListener::bind(("127.0.0.1", 0)).await?);
        }
        let mut texts = Vec::new();
        for (listener, path) in listeners.iter().zip(["/", "/", "/EWS/Exchange.asmx", "/"]) {
            texts.push(format!("http://{}{path}", listener.local_addr()?));
        }
        let urls = Urls::from_texts([&texts[0], &texts[1], &texts[2], &texts[3]])?;
        let tenant = tenant.with_urls(urls);
        let doors = listeners
            .into_iter()
            .zip([Door::Login, Door::Graph, Door::Ews, Door::Content])
            .map(|(listener, door)| tokio::spawn(listen(tenant.clone(), door, listener)))
            .collect();
        Ok(Self { tenant, doors })
    }

    /// Returns the tenant under its loopback addresses.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// Returns the addresses it listens on.
    pub fn urls(&self) -> &Urls {
        self.tenant.urls()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for door in &self.doors {
            door.abort();
        }
    }
}

async fn listen(tenant: Tenant, door: Door, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((socket, _)) = accepted else { continue };
                let tenant = tenant.clone();
                connections.spawn(async move {
                    let service = service_fn(|request| serve(tenant.clone(), door, request));
                    // A broken connection concerns its client only, who sees it there.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(socket), service)
                        .await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

type Frames = std::pin::Pin<Box<dyn futures_util::Stream<Item = io::Result<Frame<Bytes>>> + Send>>;

async fn serve(
    tenant: Tenant,
    door: Door,
    request: Request<Incoming>,
) -> io::Result<Response<StreamBody<Frames>>> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX)
        .collect()
        .await
        .map_err(io::Error::other)?
        .to_bytes();
    let answer = tenant
        .handle_at(door, Request::from_parts(head, body))
        .await?;
    let (head, body) = answer.into_parts();
    let frames: Frames = Box::pin(body.map(|piece| piece.map(Frame::data)));
    Ok(Response::from_parts(head, StreamBody::new(frames)))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;
    use crate::{Fault, FaultPlan, FaultRule};

    async fn get(url: &url::Url, path: &str) -> io::Result<String> {
        let address = url.socket_addrs(|| None)?[0];
        let mut socket = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn the_four_doors_answer_and_name_their_own_addresses() {
        let tenant = Tenant::empty(1);
        let server = Server::start(tenant.clone()).await.expect("four ports");
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
    async fn a_reset_by_plan_breaks_the_connection() {
        let tenant = Tenant::empty(1);
        let rule = FaultRule::new("GET /users", Fault::Reset);
        tenant.set_faults(FaultPlan::new(1).with(rule));
        let server = Server::start(tenant).await.expect("four ports");
        let answer = get(&server.urls().graph, "/v1.0/users").await;
        assert!(answer.is_err() || answer.is_ok_and(|text| text.is_empty()));
    }
}
