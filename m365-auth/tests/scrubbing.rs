//! Recordings of bodies with a secret at any place of them: whatever the body is, and wherever in
//! it the secret stands, no recording shows it.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod common;

use std::cell::Cell;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use common::service;
use http::{Request, Response};
use m365_auth::{Body, Recording, RecordingTransport, Transport};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// What is planted: letters and digits, as keys and tokens have them.
const SECRET: &str = "q7zX9canary";

/// Text in which the secret stands, or none, in one of the ways in which XML says the same.
fn said() -> impl Strategy<Value = String> {
    let base64 = STANDARD.encode(SECRET);
    prop_oneof![
        Just(SECRET.to_owned()),
        Just(format!("to: {SECRET} &amp; sons")),
        Just(format!("<![CDATA[{SECRET}]]>")),
        Just(format!("<!-- {SECRET} -->")),
        Just(format!("<?{SECRET} {SECRET}?>")),
        Just(format!("&{SECRET};")),
        Just(format!("item:{SECRET}")),
        Just(format!("Error{SECRET}")),
        Just(format!("a:Error{SECRET}")),
        Just(format!("IPM.Note.{SECRET}")),
        Just(format!("2026-01-02T03:04:05Z{SECRET}")),
        Just(format!("NoError{SECRET}NoError")),
        Just(format!(" \n{SECRET}\t")),
        Just(format!("https://x.example/{SECRET}?sig={SECRET}")),
        Just(base64),
        Just("12345".to_owned()),
        Just("IPM.Note".to_owned()),
        Just(String::new()),
    ]
}

/// The name of an element or attribute: the schema's, or one that is the secret.
fn name() -> impl Strategy<Value = String> {
    let known = prop_oneof![
        Just("Subject"),
        Just("MimeContent"),
        Just("Data"),
        Just("ResponseCode"),
        Just("faultcode"),
        Just("Size"),
        Just("Value"),
        Just("Id"),
        Just("ItemId"),
        Just("FieldURI"),
        Just("Envelope"),
    ];
    let prefix = prop_oneof![3 => Just("t:"), 1 => Just("q7zX9canary:"), 1 => Just("")];
    (prefix, prop_oneof![5 => known, 1 => Just(SECRET)])
        .prop_map(|(prefix, name)| format!("{prefix}{name}"))
}

fn attributes() -> impl Strategy<Value = String> {
    let plain = |text: String| text.replace(['<', '\n', '\t'], " ");
    let declared = prop_oneof![
        Just(format!(" xmlns:{SECRET}=\"urn:{SECRET}\"")),
        Just(format!(" xmlns=\"urn:{SECRET}\"")),
        Just(" xmlns:t=\"http://schemas.microsoft.com/exchange/services/2006/types\"".to_owned()),
        Just(String::new()),
    ];
    let one = (name(), said()).prop_map(move |(name, text)| format!(" {name}='{}'", plain(text)));
    (declared, proptest::option::of(one))
        .prop_map(|(declared, one)| declared + &one.unwrap_or_default())
}

/// A whole body of XML.
fn document() -> impl Strategy<Value = String> {
    let leaf = (name(), attributes(), said())
        .prop_map(|(name, attributes, text)| format!("<{name}{attributes}>{text}</{name}>"));
    let tree = leaf.prop_recursive(4, 24, 4, |inner| {
        let children = proptest::collection::vec(prop_oneof![3 => inner, 1 => said()], 0..4);
        (name(), attributes(), children).prop_map(|(name, attributes, children)| {
            format!("<{name}{attributes}>{}</{name}>", children.concat())
        })
    });
    let begin = prop_oneof![
        3 => Just("<?xml version=\"1.0\" encoding=\"utf-8\"?>".to_owned()),
        1 => Just(format!("<!DOCTYPE x [<!ENTITY y \"{SECRET}\">]>")),
        1 => Just(format!("\u{feff}<!-- {SECRET} -->")),
        1 => Just(format!("{SECRET} ")),
    ];
    // A document may also end before its end.
    (begin, tree, 0usize..400).prop_map(|(begin, tree, cut)| {
        let whole = begin + &tree;
        match cut < 20 {
            true => whole
                .chars()
                .take(whole.chars().count() * cut / 20)
                .collect(),
            false => whole,
        }
    })
}

/// Records one exchange in which both sides send the body.
fn record(kind: &'static str, body: &str) -> Recording {
    let answer = Bytes::copy_from_slice(body.as_bytes());
    let (inner, _) = service(move |_: &Request<Bytes>| {
        let response = Response::builder().header("content-type", kind);
        response.body(answer.clone()).unwrap()
    });
    let recorder = Arc::new(RecordingTransport::new(inner));
    let request = Request::post("https://outlook.office365.com/EWS/Exchange.asmx")
        .header("content-type", kind)
        .body(Body::from(body.to_owned()))
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let response = recorder.send(request).await.unwrap();
        response.into_body().collect(1 << 20).await.unwrap();
    });
    recorder.recording()
}

fn check(recording: &Recording, body: &str) -> Result<(), TestCaseError> {
    let text = recording.to_text();
    for planted in [SECRET, &STANDARD.encode(SECRET)] {
        prop_assert!(!text.contains(planted), "{body}\n---\n{text}");
    }
    prop_assert_eq!(&Recording::parse(&text).unwrap(), recording, "{}", text);
    Ok(())
}

#[test]
fn a_secret_at_any_place_of_a_soap_body_is_not_recorded() {
    let config = Config {
        failure_persistence: None,
        ..Config::with_cases(10_000)
    };
    let (planted, kept) = (Cell::new(0u32), Cell::new(0u32));
    let law = |body: String| {
        let recording = record("text/xml; charset=utf-8", &body);
        planted.set(planted.get() + u32::from(body.contains(SECRET)));
        kept.set(kept.get() + u32::from(recording.to_text().contains("</")));
        check(&recording, &body)
    };
    if let Err(found) = TestRunner::new(config).run(&document(), law) {
        panic!("{found}");
    }
    let (planted, kept) = (planted.get(), kept.get());
    println!("10,000 bodies, {planted} with the secret in them, {kept} kept, none with it");
    assert!(planted > 5_000 && kept > 3_000);
}

proptest! {
    #![proptest_config(Config::with_cases(2_000))]
    #[test]
    fn a_secret_in_any_field_of_json_or_a_form_is_not_recorded(
        field in prop_oneof![
            Just("subject"), Just("code"), Just("error"), Just("@odata.nextLink"), Just("value"),
            Just("access_token"), Just("grant_type"), Just("contentType"), Just(SECRET)
        ],
        value in said(),
    ) {
        let value = serde_json::Value::from(value);
        for body in [
            serde_json::json!({ field: value }),
            serde_json::json!([{ field: [value.clone(), { "n": { field: value } }] }]),
        ] {
            let body = body.to_string();
            check(&record("application/json", &body), &body)?;
            check(&record("text/plain", &body), &body)?;
        }
        let text = value.as_str().unwrap().replace(['&', '='], "+");
        let body = format!("{field}={text}&client_secret={SECRET}&{SECRET}");
        check(&record("application/x-www-form-urlencoded", &body), &body)?;
    }
}
