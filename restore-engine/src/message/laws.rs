//! Laws of message building, over generated mail: nothing is lost, nothing is doubled.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::mime::{Attachment, MimeView};
use super::{NewMessage, SOURCE_ITEM_PROPERTY, build};

/// One generated attachment.
#[derive(Debug, Clone)]
struct Part {
    name: String,
    bytes: Vec<u8>,
    text: bool,
    inline: bool,
}

/// One generated message.
#[derive(Debug, Clone)]
struct Mail {
    subject: String,
    text: Option<String>,
    html: Option<String>,
    parts: Vec<Part>,
}

fn part() -> impl Strategy<Value = Part> {
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..400),
        "[a-z \r\n.=-]{0,200}".prop_map(String::into_bytes),
        Just(vec![7; 2_500_000]),
    ];
    (
        "[A-Za-z0-9 ]{1,20}\\.[a-z]{3}",
        bytes,
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(name, bytes, text, inline)| Part {
            name,
            bytes,
            text,
            inline,
        })
}

fn mail() -> impl Strategy<Value = Mail> {
    let words = "[ -~äöü€\n]{0,120}";
    // A message without any body has no alternative to choose from.
    let body = (words, prop::option::of(words), any::<bool>()).prop_map(|(one, other, html)| {
        if html {
            (other, Some(one))
        } else {
            (Some(one), other)
        }
    });
    (
        "[A-Za-z0-9äöü€]{0,40}",
        body,
        prop::collection::vec(part(), 0..5),
    )
        .prop_map(|(subject, (text, html), parts)| Mail {
            subject,
            text,
            html,
            parts,
        })
}

fn encoded(bytes: &[u8]) -> String {
    let text = STANDARD.encode(bytes);
    let lines = text
        .as_bytes()
        .chunks(76)
        .map(|line| String::from_utf8_lossy(line).into_owned());
    lines.map(|line| line + "\r\n").collect()
}

/// Writes the message as mail programs do: alternative bodies first, then what is attached.
fn written(mail: &Mail) -> Vec<u8> {
    let mut out = format!(
        "Subject: =?utf-8?B?{}?=\r\n",
        STANDARD.encode(&mail.subject)
    );
    out.push_str("From: A <a@x.example>\r\nTo: b@x.example\r\nMIME-Version: 1.0\r\n");
    out.push_str("Content-Type: multipart/mixed; boundary=outer\r\n\r\n--outer\r\n");
    out.push_str("Content-Type: multipart/alternative; boundary=inner\r\n\r\n");
    for (kind, body) in [("plain", &mail.text), ("html", &mail.html)] {
        if let Some(body) = body {
            out.push_str(&format!(
                "--inner\r\nContent-Type: text/{kind}; charset=utf-8\r\n\
                 Content-Transfer-Encoding: base64\r\n\r\n{}",
                encoded(body.as_bytes())
            ));
        }
    }
    out.push_str("--inner--\r\n");
    for (number, part) in mail.parts.iter().enumerate() {
        let kind = if part.text {
            "text/plain; charset=utf-16"
        } else {
            "application/x-thing"
        };
        let shown = if part.inline { "inline" } else { "attachment" };
        let name = &part.name;
        out.push_str(&format!(
            "--outer\r\nContent-Type: {kind}\r\nContent-ID: <c{number}@x>\r\n\
             Content-Disposition: {shown}; filename=\"{name}\"\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n{}",
            encoded(&part.bytes)
        ));
    }
    out.push_str("--outer--\r\n");
    out.into_bytes()
}

fn inside(create: &Value) -> Vec<Attachment> {
    let list = create["attachments"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    list.map(|value| Attachment {
        name: text(&value["name"]),
        content_type: text(&value["contentType"]),
        content_id: value["contentId"].as_str().map(str::to_owned),
        inline: value["isInline"].as_bool().unwrap(),
        bytes: STANDARD.decode(text(&value["contentBytes"])).unwrap(),
    })
    .collect()
}

fn value_of<'a>(create: &'a Value, id: &str) -> Option<&'a str> {
    let list = create["singleValueExtendedProperties"].as_array()?;
    list.iter().find(|property| property["id"] == id)?["value"].as_str()
}

fn properties() -> Value {
    json!({
        "subject": "from the mailbox", "isRead": true, "isDraft": false, "importance": "high",
        "categories": ["Blue"], "receivedDateTime": "2025-03-04T05:06:07Z",
        "sentDateTime": "2025-03-04T05:06:00Z", "internetMessageId": "<1@x.example>",
        "flag": {"flagStatus": "flagged", "@odata.type": "#microsoft.graph.followupFlag"},
        "bccRecipients": [{"emailAddress": {"name": "C", "address": "c@x.example"}}],
        "changeKey": "abc", "id": "src",
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_attachment_comes_once_with_its_bytes_and_the_richest_body_is_kept(mail in mail()) {
        let view = MimeView::parse(&written(&mail)).unwrap();
        prop_assert_eq!(view.subject.clone().unwrap_or_default(), mail.subject.clone());
        let NewMessage { create, later, .. } = build("src", &properties(), view);

        let body = mail.html.as_ref().or(mail.text.as_ref()).cloned().unwrap_or_default();
        prop_assert_eq!(create["body"]["content"].as_str().unwrap(), body);
        let kind = if mail.html.is_some() { "html" } else { "text" };
        prop_assert_eq!(create["body"]["contentType"].as_str().unwrap(), kind);

        let mut found: Vec<(String, Vec<u8>, bool)> = inside(&create)
            .into_iter().chain(later.clone()).map(|a| (a.name, a.bytes, a.inline)).collect();
        let mut wanted: Vec<(String, Vec<u8>, bool)> =
            mail.parts.iter().map(|p| (p.name.clone(), p.bytes.clone(), p.inline)).collect();
        found.sort();
        wanted.sort();
        prop_assert!(found == wanted, "attachments differ");

        prop_assert!(create.to_string().len() < 4_000_000);
        let mark = value_of(&create, SOURCE_ITEM_PROPERTY).unwrap();
        prop_assert_eq!(mark, if later.is_empty() { "src" } else { "incomplete:src" });
    }

    #[test]
    fn taking_apart_and_building_never_panic(mime in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Some(view) = MimeView::parse(&mime) {
            build("src", &json!({}), view);
        }
    }

    #[test]
    fn mime_like_noise_never_panics(
        lines in prop::collection::vec(
            prop_oneof![
                Just("--b"), Just("--b--"), Just(""), Just("text"), Just("=3D=\t"),
                Just("Content-Type: multipart/related; boundary=b"),
                Just("Content-Type: multipart/alternative; boundary=b"),
                Just("Content-Type: message/rfc822"), Just("Content-Type: text/html; charset=x"),
                Just("Content-Transfer-Encoding: base64"),
                Just("Content-Transfer-Encoding: quoted-printable"), Just("Subject: =?x?q?=?="),
            ], 0..40)
    ) {
        if let Some(view) = MimeView::parse(lines.join("\r\n").as_bytes()) {
            build("src", &json!({}), view);
        }
    }
}

#[test]
fn a_received_message_is_created_as_one_and_a_draft_stays_a_draft() {
    let view = MimeView::parse(b"Subject: s\r\nX-A: 1\r\n\r\nbody\r\n").unwrap();
    let sent = build("src", &properties(), view.clone()).create;
    assert_eq!(value_of(&sent, "Integer 0x0E07"), Some("1"));
    assert_eq!(
        value_of(&sent, "SystemTime 0x0039"),
        Some("2025-03-04T05:06:00Z")
    );
    assert_eq!(
        value_of(&sent, "SystemTime 0x0E06"),
        Some("2025-03-04T05:06:07Z")
    );
    assert_eq!(sent["subject"], "from the mailbox");
    assert_eq!(sent["flag"], json!({"flagStatus": "flagged"}));
    assert_eq!(
        sent["bccRecipients"][0]["emailAddress"]["address"],
        "c@x.example"
    );
    assert_eq!(
        sent["internetMessageHeaders"],
        json!([{"name": "X-A", "value": "1"}])
    );
    assert!(sent.get("id").is_none() && sent.get("changeKey").is_none());

    let mut unread = properties();
    unread["isRead"] = json!(false);
    let unread = build("src", &unread, view.clone()).create;
    assert_eq!(value_of(&unread, "Integer 0x0E07"), Some("0"));

    let mut draft = properties();
    draft["isDraft"] = json!(true);
    let draft = build("src", &draft, view).create;
    assert_eq!(value_of(&draft, "Integer 0x0E07"), None);
}
