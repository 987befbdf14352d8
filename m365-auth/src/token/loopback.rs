//! Loopback redirect: a port of this machine at which the browser ends after sign-in.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Duration, timeout};
use url::Url;

use super::{Authorization, CallbackAnswer};
use crate::error::{Error, ErrorKind, Result};

/// Listens on this machine, and on no other, for the end of a sign-in.
#[derive(Debug)]
pub struct LoopbackRedirect {
    listener: TcpListener,
    port: u16,
}

impl LoopbackRedirect {
    /// Takes a free port of 127.0.0.1.
    ///
    /// *Errors*: [`ErrorKind::Configuration`] when no port can be had: use the paste flow then.
    pub async fn bind() -> Result<Self> {
        let bound = async {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
            let port = listener.local_addr()?.port();
            io::Result::Ok(Self { listener, port })
        };
        bound.await.map_err(|cause| {
            let message = "no port of this machine can be listened on";
            Error::new(ErrorKind::Configuration, message).with_source(cause)
        })
    }

    /// Returns the redirect address; the application must have `http://localhost` among its own
    /// (the platform ignores the port).
    pub fn uri(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    /// Waits for the browser, and tells it that the window can be closed.
    ///
    /// Whatever else comes to the port, such as the browser's wish for an icon or somebody's guess
    /// at an answer, is turned away; only the answer of this sign-in ends the wait.
    ///
    /// *Errors*: the refusal of the identity platform, if the browser brings one. There is no time
    /// limit: set one around the call.
    ///
    /// *Cancel safety*: the future may be dropped and the call repeated.
    pub async fn wait(&self, authorization: &Authorization) -> Result<CallbackAnswer> {
        let mut guests = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => {
                    // A connection that broke before it was taken concerns nobody.
                    let Ok((guest, _)) = accepted else { continue };
                    while guests.len() >= MAX_GUESTS {
                        guests.join_next().await;
                    }
                    let port = self.port;
                    guests.spawn(async move { timeout(PATIENCE, read(guest, port)).await });
                }
                Some(read) = guests.join_next() => {
                    let Ok(Ok(Ok((guest, url)))) = read else { continue };
                    match CallbackAnswer::from_address(&url, authorization) {
                        Err(error) if is_stranger(&error) => say(guest, STRANGER).await,
                        Err(error) => {
                            say(guest, REFUSED).await;
                            return Err(error);
                        }
                        Ok(answer) => {
                            say(guest, DONE).await;
                            return Ok(answer);
                        }
                    }
                }
            }
        }
    }
}

fn is_stranger(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::AnswerRefused | ErrorKind::Malformed
    )
}

/// Reads the head of a request and returns the address that was asked for.
async fn read(mut guest: TcpStream, port: u16) -> io::Result<(TcpStream, Url)> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut piece = [0; 2_048];
        let count = guest.read(&mut piece).await?;
        head.extend_from_slice(&piece[..count]);
        if count == 0 || head.len() > MAX_HEAD_BYTES {
            return Err(invalid());
        }
    }
    let text = std::str::from_utf8(&head).map_err(|_| invalid())?;
    let line = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("GET "));
    let target = line
        .and_then(|line| line.split(' ').next())
        .ok_or_else(invalid)?;
    if !target.starts_with('/') {
        return Err(invalid());
    }
    let url = Url::parse(&format!("http://localhost:{port}{target}")).map_err(|_| invalid())?;
    Ok((guest, url))
}

/// Answers a guest; one who has left already does not matter.
async fn say(mut guest: TcpStream, (status, words): (&str, &str)) {
    let page = format!(
        "<!DOCTYPE html><html><head><meta charset=\"utf-8\"><title>Sign-in</title></head>\
         <body><p>{words}</p></body></html>"
    );
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nConnection: close\r\n\r\n",
        page.len()
    );
    let _ = timeout(PATIENCE, guest.write_all((head + &page).as_bytes())).await;
    let _ = timeout(PATIENCE, guest.shutdown()).await;
}

const DONE: (&str, &str) = ("200 OK", "You are signed in. This window can be closed.");
const REFUSED: (&str, &str) = (
    "200 OK",
    "The sign-in failed. The program says why. This window can be closed.",
);
const STRANGER: (&str, &str) = ("404 Not Found", "There is nothing here.");
/// The longest head of a request, in bytes.
const MAX_HEAD_BYTES: usize = 32 << 10;
/// How many guests are heard at once.
const MAX_GUESTS: usize = 16;
/// How long one guest is heard.
const PATIENCE: Duration = Duration::from_secs(10);
