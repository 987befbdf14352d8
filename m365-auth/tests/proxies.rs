//! Proxies and private CAs: the built-in transport against servers that speak word by word.

#![allow(clippy::unwrap_used, reason = "tests")]
#![cfg(feature = "reqwest")]

use http::Request;
use m365_auth::{Body, ErrorKind, Proxy, ReqwestTransport, Secret, Transport, TransportOptions};
use m365_simulator::{Server, Tenant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

async fn head(connection: &mut TcpStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(connection.read_u8().await.unwrap());
    }
    String::from_utf8(text).unwrap()
}

/// Takes one connection and returns what `speak` made of it.
async fn listen<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    speak: impl FnOnce(TcpStream) -> F + Send + 'static,
) -> (u16, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = tokio::spawn(async move {
        let (connection, _) = listener.accept().await.unwrap();
        speak(connection).await
    });
    (port, heard)
}

fn through(url: String, with_credentials: bool, bypass: &[&str]) -> ReqwestTransport {
    let credentials = ("adele".to_owned(), Secret::new("pass word"));
    let mut options = TransportOptions::default();
    options.proxy = Proxy::Server {
        url,
        credentials: with_credentials.then_some(credentials),
        bypass: bypass.iter().map(ToString::to_string).collect(),
    };
    ReqwestTransport::new(&options).unwrap()
}

async fn get(transport: &ReqwestTransport, url: &str) -> Result<bytes::Bytes, m365_auth::Error> {
    let request = Request::get(url).body(Body::empty()).unwrap();
    transport
        .send(request)
        .await?
        .into_body()
        .collect(100)
        .await
}

#[tokio::test]
async fn an_http_proxy_gets_the_whole_address_and_the_credentials() {
    let (port, heard) = listen(|mut connection| async move {
        let head = head(&mut connection).await;
        connection.write_all(ANSWER).await.unwrap();
        head
    })
    .await;
    let transport = through(format!("http://127.0.0.1:{port}"), true, &[]);
    assert_eq!(
        get(&transport, "http://graph.invalid/a").await.unwrap(),
        "ok"
    );
    let head = heard.await.unwrap();
    assert!(
        head.starts_with("GET http://graph.invalid/a HTTP/1.1\r\n"),
        "{head}"
    );
    // "adele:pass word" in base64.
    let expected = "proxy-authorization: basic ywrlbgu6cgfzcyb3b3jk\r\n";
    assert!(head.to_lowercase().contains(expected), "{head}");
}

#[tokio::test]
async fn https_goes_through_a_tunnel_that_the_proxy_may_refuse() {
    let (port, heard) = listen(|mut connection| async move {
        let head = head(&mut connection).await;
        let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
        connection.write_all(refusal).await.unwrap();
        head
    })
    .await;
    let transport = through(format!("http://127.0.0.1:{port}"), true, &[]);
    let error = get(&transport, "https://graph.invalid/").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    let head = heard.await.unwrap();
    assert!(
        head.starts_with("CONNECT graph.invalid:443 HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(!format!("{error:?}").contains("pass word"));
}

#[tokio::test]
async fn a_socks_proxy_resolves_the_name_and_checks_who_asks() {
    let (port, heard) = listen(|mut connection| async move {
        // RFC 1928 and 1929.
        let version = connection.read_u8().await.unwrap();
        let count = connection.read_u8().await.unwrap();
        let mut methods = vec![0; usize::from(count)];
        connection.read_exact(&mut methods).await.unwrap();
        assert!(version == 5 && methods.contains(&2));
        connection.write_all(&[5, 2]).await.unwrap();
        assert_eq!(connection.read_u8().await.unwrap(), 1);
        let mut texts = Vec::new();
        for _ in 0..2 {
            let length = connection.read_u8().await.unwrap();
            let mut text = vec![0; usize::from(length)];
            connection.read_exact(&mut text).await.unwrap();
            texts.push(String::from_utf8(text).unwrap());
        }
        connection.write_all(&[1, 0]).await.unwrap();
        let mut start = [0; 5];
        connection.read_exact(&mut start).await.unwrap();
        assert_eq!(start[..4], [5, 1, 0, 3], "connect to a name");
        let mut name = vec![0; usize::from(start[4])];
        connection.read_exact(&mut name).await.unwrap();
        texts.push(String::from_utf8(name).unwrap());
        texts.push(connection.read_u16().await.unwrap().to_string());
        connection
            .write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])
            .await
            .unwrap();
        head(&mut connection).await;
        connection.write_all(ANSWER).await.unwrap();
        texts
    })
    .await;
    let transport = through(format!("socks5h://127.0.0.1:{port}"), true, &[]);
    assert_eq!(
        get(&transport, "http://graph.invalid/a").await.unwrap(),
        "ok"
    );
    let heard = heard.await.unwrap();
    assert_eq!(heard, ["adele", "pass word", "graph.invalid", "80"]);
}

#[tokio::test]
async fn hosts_on_the_list_are_reached_without_the_proxy() {
    let answer = |mut connection: TcpStream| async move {
        let head = head(&mut connection).await;
        connection.write_all(ANSWER).await.unwrap();
        head
    };
    let (port, heard) = listen(answer).await;
    // Nobody listens at the proxy's address.
    let transport = through(
        "http://127.0.0.1:1".to_owned(),
        false,
        &["10.0.0.0/8", "127.0.0.1"],
    );
    let url = format!("http://127.0.0.1:{port}/direct");
    assert_eq!(get(&transport, &url).await.unwrap(), "ok");
    assert!(heard.await.unwrap().starts_with("GET /direct "));
    let error = get(&transport, "http://graph.invalid/").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
}

#[tokio::test]
async fn a_private_ca_is_trusted_when_it_is_named() {
    let identity = m365_simulator::server::tls::Identity::generate().unwrap();
    let server = Server::start_tls(Tenant::empty(1), &identity)
        .await
        .unwrap();
    let url = format!("{}x/oauth2/v2.0/token", server.urls().login);
    let mut options = TransportOptions::default();
    options.proxy = Proxy::Direct;
    let stranger = ReqwestTransport::new(&options).unwrap();
    let error = get(&stranger, &url).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    options.extra_roots_pem = vec![identity.ca_pem().as_bytes().to_vec()];
    let trusting = ReqwestTransport::new(&options).unwrap();
    let request = Request::get(&url).body(Body::empty()).unwrap();
    let response = trusting.send(request).await.unwrap();
    assert_eq!(response.status(), 400, "AADSTS900561");
}
