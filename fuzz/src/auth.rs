//! Targets over what reaches sign-in from outside: pasted addresses, challenges, refusals, files.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Request, Response};
use m365_auth::{
    Authorization, AuthorizationOptions, Body, CallbackAnswer, Certificate, Challenge, Claims,
    Cloud, ConsentRequest, Credential, Recording, RecordingTransport, ServiceTransport, SignIn,
    TokenProvider, Transport,
};

use crate::wire::{Fixed, answering, block_on, token_client};

/// Reads what a person pastes after a sign-in, and the answer to a request for consent.
pub fn auth_callback(bytes: &[u8]) {
    static BEGUN: OnceLock<Option<(Authorization, ConsentRequest)>> = OnceLock::new();
    let begun = BEGUN.get_or_init(|| {
        let cloud = Cloud::global();
        let public = Credential::public();
        let (transport, clock) = (answering(200, b""), Arc::new(Fixed));
        let sign_in = SignIn::new(transport, &cloud, "common", "app", public, clock).ok()?;
        let redirect = "http://localhost:5000";
        let options = AuthorizationOptions::default();
        let begun = sign_in.begin(redirect, &["x".to_owned()], &options).ok()?;
        let consent = ConsentRequest::new(&cloud, "t", "app", "x", redirect, "state").ok()?;
        Some((begun, consent))
    });
    let (Some((begun, consent)), Ok(text)) = (begun, std::str::from_utf8(bytes)) else {
        return;
    };
    if let Err(error) = CallbackAnswer::from_paste(text, begun) {
        assert!(!error.to_string().is_empty(), "an error says something");
    }
    if let Err(error) = consent.answer(text) {
        assert!(!error.to_string().is_empty(), "an error says something");
    }
}

/// Reads a `WWW-Authenticate` header and the claims that it demands.
pub fn auth_challenge(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let challenges = Challenge::parse_all(text);
        assert!(challenges.len() <= 64, "a header has a bound");
    }
    if let Ok(value) = HeaderValue::from_bytes(bytes) {
        let mut headers = HeaderMap::new();
        headers.insert("www-authenticate", value);
        let _claims = Claims::demanded(&headers);
    }
}

/// Reads a certificate and its key.
pub fn auth_certificate(bytes: &[u8]) {
    if let Ok(certificate) = Certificate::from_pem(bytes) {
        assert!(
            !certificate.thumbprint().is_empty(),
            "a certificate has a thumbprint"
        );
    }
}

/// Reads a recording; what was read is written and read again to the same.
pub fn auth_recording(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(recording) = Recording::parse(text) {
        let again = Recording::parse(&recording.to_text());
        let lossless = recording.exchanges().iter().all(|exchange| {
            let answered = exchange
                .response()
                .into_iter()
                .flat_map(|answer| &answer.headers);
            let mut values = exchange.request().headers.iter().chain(answered);
            values.all(|(_, value)| value.to_str().is_ok())
        });
        if lossless {
            assert_eq!(again.ok(), Some(recording), "written and read again");
        }
    }
}

/// Scrubs a body for a recording; the first byte says what it claims to be, and wherever another
/// byte is 1 a secret stands.
pub fn auth_scrub(bytes: &[u8]) {
    const SECRET: &[u8] = b"q7zX9canary";
    let Some((kind, rest)) = bytes.split_first() else {
        return;
    };
    let kind = [
        "text/xml; charset=utf-8",
        "application/json",
        "application/x-www-form-urlencoded",
        "text/plain",
    ][usize::from(kind % 4)];
    let planted = rest.split(|byte| *byte == 1).collect::<Vec<_>>();
    let body = Bytes::from(planted.join(SECRET));
    let recorder = RecordingTransport::new(answering_as(kind, &body));
    let request = Request::post("https://outlook.office365.com/EWS/Exchange.asmx")
        .header("content-type", kind)
        .body(Body::from(body));
    let Ok(request) = request else { return };
    let read = block_on(async {
        let response = recorder.send(request).await?;
        response.into_body().collect(16 << 20).await
    });
    assert!(read.is_ok(), "what is recorded is handed on");
    let recording = recorder.recording();
    let text = recording.to_text();
    let secret = String::from_utf8_lossy(SECRET);
    assert!(!text.contains(&*secret), "a recording shows no secret");
    assert_eq!(
        Recording::parse(&text).ok(),
        Some(recording),
        "written and read again"
    );
}

fn answering_as(kind: &'static str, body: &Bytes) -> Arc<dyn Transport> {
    let body = body.clone();
    Arc::new(ServiceTransport::new(move |_: Request<Bytes>| {
        let body = stream::iter([Ok(body.clone())]);
        let answer = Response::builder().header("content-type", kind).body(body);
        async move { answer.map_err(std::io::Error::other) }
    }))
}

/// Reads a refusal of the identity platform, its codes and their meaning.
pub fn auth_refusal(bytes: &[u8]) {
    let Some(client) = token_client(400, bytes) else {
        return;
    };
    let audience = Cloud::global().graph_audience();
    if let Err(error) = block_on(client.token(&audience)) {
        assert!(!error.to_string().is_empty(), "an error says something");
        assert!(error.to_string().len() < 2_000, "an error has a bound");
    }
}
