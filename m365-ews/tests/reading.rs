//! Laws and examples of reading answers: nothing panics, limits hold, samples parse.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "test code"
)]

use std::path::PathBuf;
use std::time::Duration;

use m365_ews::{ErrorKind, FindFolder, FindItem, GetItem, Limits, Operation, read_answer};
use proptest::prelude::*;

const MESSAGES: &str = "http://schemas.microsoft.com/exchange/services/2006/messages";
const TYPES: &str = "http://schemas.microsoft.com/exchange/services/2006/types";
const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";

fn answer(subject: &str) -> String {
    format!(
        "<e:Envelope xmlns:e=\"{SOAP}\"><e:Body><GetItemResponse xmlns=\"{MESSAGES}\">\
         <ResponseMessages><GetItemResponseMessage ResponseClass=\"Success\"><Items>\
         <q:Message xmlns:q=\"{TYPES}\"><q:ItemId Id=\"a&amp;b\" ChangeKey=\"k\"/>\
         <q:Subject>{subject}</q:Subject><q:MimeContent>SGVs\nbG8=</q:MimeContent></q:Message>\
         </Items></GetItemResponseMessage></ResponseMessages></GetItemResponse></e:Body></e:Envelope>"
    )
}

fn subject_of(text: &str) -> Result<String, ErrorKind> {
    let outcomes = read_answer::<GetItem>(answer(text).as_bytes(), Limits::default())
        .map_err(|error| error.kind())?;
    let items = outcomes.into_iter().next().unwrap().unwrap();
    assert_eq!(items[0].id.id, "a&b");
    assert_eq!(items[0].mime.as_deref(), Some(&b"Hello"[..]));
    Ok(items[0].subject.clone().unwrap_or_default())
}

#[test]
fn prefixes_do_not_matter_and_illegal_references_are_tolerated() {
    assert_eq!(
        subject_of("a &lt;b&gt; &#252;&#xfc;").as_deref(),
        Ok("a <b> üü")
    );
    assert_eq!(
        subject_of("x&#x0;y&#x1F;z&#xFFFF;").as_deref(),
        Ok("x\u{fffd}y\u{fffd}z\u{fffd}")
    );
    assert_eq!(
        subject_of("<![CDATA[<raw & text>]]>").as_deref(),
        Ok("<raw & text>")
    );
    assert_eq!(subject_of("own &entity;"), Err(ErrorKind::Malformed));
}

#[test]
fn document_types_are_refused() {
    let document = format!("<!DOCTYPE x [<!ENTITY a \"b\">]>{}", answer("x"));
    let error = read_answer::<GetItem>(document.as_bytes(), Limits::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);
}

#[test]
fn a_fault_becomes_an_error_with_its_back_off() {
    let fault = format!(
        "<s:Envelope xmlns:s=\"{SOAP}\"><s:Body><s:Fault>\
         <faultcode xmlns:a=\"{TYPES}\">a:ErrorServerBusy</faultcode><faultstring>Busy.</faultstring>\
         <detail><e:ResponseCode xmlns:e=\"x\">ErrorServerBusy</e:ResponseCode>\
         <t:MessageXml xmlns:t=\"{TYPES}\"><t:Value Name=\"BackOffMilliseconds\">297749</t:Value>\
         </t:MessageXml></detail></s:Fault></s:Body></s:Envelope>"
    );
    let error = read_answer::<FindItem>(fault.as_bytes(), Limits::default()).unwrap_err();
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::Throttled, Some("ErrorServerBusy"))
    );
    assert_eq!(error.retry_after(), Some(Duration::from_millis(297_749)));
    assert_eq!(error.to_string(), "Busy. (ErrorServerBusy)");
}

#[test]
fn limits_hold() {
    let check = |document: &str, limits: Limits| {
        let error = read_answer::<GetItem>(document.as_bytes(), limits).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    };
    let usual = Limits::default();
    check(
        &answer("x"),
        Limits {
            document: 100,
            ..usual
        },
    );
    check(&answer("x"), Limits { depth: 7, ..usual });
    check(&answer(&"x".repeat(1000)), Limits { text: 999, ..usual });
    check(&answer(&"<b>".repeat(10_000)), usual);
    let many: String = (0..100).map(|n| format!(" a{n}=\"\"")).collect();
    check(&answer(&format!("<b{many}/>")), usual);
}

/// Reads every sample answer of one operation; returns how many there were.
fn read_samples<O: Operation>(name: &str) -> usize {
    let folder = std::env::var_os("M365_CONFORMANCE_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")),
        PathBuf::from,
    );
    let Ok(entries) = std::fs::read_dir(folder.join("ews/samples")) else {
        return 0;
    };
    let mut count = 0;
    for entry in entries {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        if !file.starts_with(&format!("{name}-response-")) {
            continue;
        }
        let document = std::fs::read(&path).unwrap();
        match read_answer::<O>(&document, Limits::default()) {
            Ok(messages) => assert!(!messages.is_empty(), "{file} has no response message"),
            Err(error) => assert!(error.code().is_some(), "{file}: {error:?}"),
        }
        count += 1;
    }
    count
}

#[test]
#[allow(
    clippy::disallowed_methods,
    reason = "conformance data is found through the environment"
)]
fn official_samples_parse() {
    let (folders, items, got) = (
        read_samples::<FindFolder>("findfolder"),
        read_samples::<FindItem>("finditem"),
        read_samples::<GetItem>("getitem"),
    );
    println!("official answers read: FindFolder {folders}, FindItem {items}, GetItem {got}");
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _outcome = read_answer::<FindItem>(&bytes, Limits::default()).is_ok();
    }

    #[test]
    fn no_damage_to_an_answer_makes_the_reader_panic(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0usize..20), 1..6),
    ) {
        let mut bytes = answer("subject &amp; more").into_bytes();
        for (at, byte, length) in cuts {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            let end = (at + length).min(bytes.len());
            bytes.splice(at..end, [byte]);
        }
        let _outcome = read_answer::<GetItem>(&bytes, Limits::default()).is_ok();
    }

    #[test]
    fn any_text_survives(text in "[^\u{0}-\u{8}\u{b}\u{c}\u{d}\u{e}-\u{1f}\u{fffe}\u{ffff}]{0,40}") {
        let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace("]]>", "]]&gt;");
        prop_assert_eq!(subject_of(&escaped), Ok(text));
    }
}
