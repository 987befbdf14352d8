//! The built-in transport, against a server on loopback that speaks HTTP word by word.

#![allow(clippy::unwrap_used, reason = "tests")]
#![cfg(feature = "reqwest")]

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::Request;
use m365_auth::{Body, ErrorKind, Proxy, ReqwestTransport, Transport, TransportOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Answers each connection with the next of `answers`, and gives back what it was sent.
async fn server(answers: Vec<&'static str>) -> (String, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let seen = tokio::spawn(async move {
        let mut seen = Vec::new();
        for answer in answers {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut text = Vec::new();
            while !complete(&text) {
                let mut piece = [0; 4_096];
                let count = connection.read(&mut piece).await.unwrap();
                assert!(count > 0, "the client left");
                text.extend_from_slice(&piece[..count]);
            }
            connection.write_all(answer.as_bytes()).await.unwrap();
            seen.push(String::from_utf8(text).unwrap());
        }
        seen
    });
    (address, seen)
}

/// Tells whether a request has arrived with all of its body.
fn complete(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.parse().unwrap())
}

fn transport() -> ReqwestTransport {
    let mut options = TransportOptions::default();
    options.proxy = Proxy::Direct;
    options.read_timeout = Duration::from_secs(20);
    ReqwestTransport::new(&options).unwrap()
}

#[tokio::test]
async fn redirects_and_failures_are_handed_on_as_they_are() {
    let (address, seen) = server(vec![
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\
         Connection: close\r\n\r\n",
        "HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno",
    ])
    .await;
    let transport = transport();
    let request = Request::get(format!("{address}/a"))
        .body(Body::empty())
        .unwrap();
    let response = transport.send(request).await.unwrap();
    assert_eq!(response.status(), 302);
    let request = Request::get(format!("{address}/b"))
        .body(Body::empty())
        .unwrap();
    let response = transport.send(request).await.unwrap();
    assert_eq!(
        (
            response.status().as_u16(),
            &response.headers()["retry-after"]
        ),
        (503, &"7".parse().unwrap())
    );
    assert_eq!(response.into_body().collect(10).await.unwrap(), "no");
    let seen = seen.await.unwrap();
    assert_eq!(seen.len(), 2);
    assert!(seen[0].starts_with("GET /a HTTP/1.1\r\n") && seen[1].starts_with("GET /b "));
}

#[tokio::test]
async fn streamed_bodies_go_out_with_their_length() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let (address, seen) = server(vec![answer]).await;
    let pieces = stream::iter(["he", "llo"].map(|text| Ok(Bytes::from(text))));
    let request = Request::put(address)
        .body(Body::from_stream(pieces, Some(5)))
        .unwrap();
    transport().send(request).await.unwrap();
    let seen = &seen.await.unwrap()[0];
    assert!(
        seen.to_lowercase().contains("content-length: 5\r\n"),
        "{seen}"
    );
    assert!(seen.ends_with("\r\n\r\nhello"), "{seen}");
}

#[tokio::test]
async fn a_cut_body_is_an_error_not_an_end() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nhalf";
    let (address, _seen) = server(vec![answer]).await;
    let request = Request::get(address).body(Body::empty()).unwrap();
    let response = transport().send(request).await.unwrap();
    assert_eq!(response.body().length(), Some(10));
    let error = response.into_body().collect(100).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transport);
}

#[tokio::test]
async fn an_address_where_nobody_listens_is_a_connect_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let url = format!("http://{address}/canary?tempauth=canary");
    let request = Request::get(url).body(Body::empty()).unwrap();
    let error = transport().send(request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert!(!format!("{error:?}").contains("canary"));
}

#[test]
fn certificates_and_proxies_that_cannot_be_read_are_refused() {
    let mut options = TransportOptions::default();
    options.extra_roots_pem = vec![b"no certificate".to_vec()];
    assert_eq!(
        ReqwestTransport::new(&options).unwrap_err().kind(),
        ErrorKind::Configuration
    );
    let mut options = TransportOptions::default();
    options.proxy = Proxy::Server {
        url: "::".to_owned(),
        credentials: None,
        bypass: Vec::new(),
    };
    assert_eq!(
        ReqwestTransport::new(&options).unwrap_err().kind(),
        ErrorKind::Configuration
    );
}
