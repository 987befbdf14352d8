//! Connect: a proxy for programs that know the worldwide cloud's hosts only.
//!
//! It answers `CONNECT` for those hosts by itself, as the host, and opens a way to nobody else.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::loopback::{Wire, speak};
use crate::tenant::urls::Door;
use crate::tenant::{Tenant, Urls};

/// The longest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Takes connections until it is dropped.
pub(super) async fn listen(tenant: Tenant, wire: Wire, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((socket, _)) = accepted else { continue };
                let (tenant, wire) = (tenant.clone(), wire.clone());
                connections.spawn(async move {
                    // A broken connection concerns its client only, who sees it there.
                    let _ = open(tenant, wire, socket).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn open(tenant: Tenant, wire: Wire, mut socket: TcpStream) -> io::Result<()> {
    let head = head(&mut socket).await?;
    match target(&tenant, &head) {
        Some(door) => {
            socket
                .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
                .await?;
            speak(tenant, wire, door, socket).await;
            Ok(())
        }
        None => {
            socket
                .write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                .await
        }
    }
}

/// Reads the head of the request; what follows belongs to the host.
async fn head(socket: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == HEAD_BYTES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the head is too long",
            ));
        }
        head.push(socket.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// Finds the service that the head asks to be connected with.
fn target(tenant: &Tenant, head: &str) -> Option<Door> {
    let mut words = head.lines().next()?.split(' ');
    if words.next()? != "CONNECT" {
        return None;
    }
    let authority: http::uri::Authority = words.next()?.parse().ok()?;
    let (host, port) = (authority.host(), authority.port_u16());
    Urls::global()
        .door(host, port)
        .or_else(|| tenant.home().door(host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_hosts_only_are_connected() {
        let tenant = Tenant::empty(1);
        let check = |line: &str, door| assert_eq!(target(&tenant, line), door, "{line}");
        check(
            "CONNECT graph.microsoft.com:443 HTTP/1.1\r\n\r\n",
            Some(Door::Graph),
        );
        check(
            "CONNECT login.microsoftonline.com:443 HTTP/1.1",
            Some(Door::Login),
        );
        check(
            "CONNECT content.contoso.example:443 HTTP/1.1",
            Some(Door::Content),
        );
        check("CONNECT graph.microsoft.com:80 HTTP/1.1", None);
        check("CONNECT elsewhere.example:443 HTTP/1.1", None);
        check("GET http://graph.microsoft.com/ HTTP/1.1", None);
        check("", None);
    }
}
