//! XML bodies, as Exchange Web Services sends and takes them: what may be kept of them, by allow
//! list.
//!
//! Names of the schema, words of the service, error codes and counts are kept; every other name,
//! value and text becomes a pseudonym. References are never resolved: what is not on a list is
//! replaced whole. Comments and instructions are left out; a document type, or what is no
//! well-formed document, leaves out the body.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::scrub::{A_TIMESTAMP, is_timestamp};

/// What the rest of a recording knows: pseudonyms, and names of further fields.
pub(super) trait Names {
    fn pseudonym(&mut self, kind: &str, text: &str) -> String;
    fn is_known(&self, field: &str) -> bool;
}

/// Tells whether a media type is XML.
pub(super) fn is_xml(kind: &str) -> bool {
    ["text/xml", "application/xml", "application/soap+xml"]
        .iter()
        .any(|known| kind.eq_ignore_ascii_case(known))
}

/// Returns a document in which only words of the service are left as they were.
pub(super) fn scrub(document: &[u8], names: &mut impl Names) -> Option<String> {
    let text = std::str::from_utf8(document).ok()?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    reader.config_mut().check_end_names = true;
    let mut out = Document {
        names,
        text: String::new(),
        open: Vec::new(),
        pending: String::new(),
    };
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => {
                let name = out.start(&start, ">")?;
                out.open.push(name);
            }
            Event::Empty(start) => {
                out.start(&start, "/>")?;
            }
            Event::End(_) => {
                out.flush();
                let (shown, _) = out.open.pop()?;
                out.text.push_str(&format!("</{shown}>"));
            }
            Event::Text(text) => out.pending.push_str(&text),
            Event::CData(text) => out.pending.push_str(&text),
            Event::GeneralRef(name) => out.pending.push_str(&format!("&{};", &*name)),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::DocType(_) => return None,
            Event::Eof => break,
        }
    }
    let is_whole = out.open.is_empty() && out.pending.trim().is_empty() && !out.text.is_empty();
    is_whole.then_some(out.text)
}

struct Document<'a, N> {
    names: &'a mut N,
    text: String,
    /// The elements that are open: as shown, and by their own name without prefix.
    open: Vec<(String, String)>,
    /// Text that waits for the tag after it.
    pending: String,
}

impl<N: Names> Document<'_, N> {
    fn start(&mut self, start: &BytesStart<'_>, end: &str) -> Option<(String, String)> {
        self.flush();
        if self.open.len() >= MAX_DEPTH {
            return None;
        }
        let name = start.name();
        let shown = self.name(name.into_inner());
        let local = name.local_name().into_inner().to_owned();
        self.text.push_str(&format!("<{shown}"));
        for attribute in start.attributes() {
            let attribute = attribute.ok()?;
            let (name, value) = (attribute.key.into_inner(), &*attribute.value);
            let (name, value) = self.attribute(name, value);
            self.text.push_str(&format!(" {name}=\"{value}\""));
        }
        self.text.push_str(end);
        Some((shown, local))
    }

    fn attribute(&mut self, name: &str, value: &str) -> (String, String) {
        let declared = name
            .strip_prefix("xmlns")
            .map(|rest| rest.strip_prefix(':'));
        match declared {
            Some(prefix) if prefix.is_some() || name == "xmlns" => {
                let shown = prefix.map(|prefix| format!("xmlns:{}", self.prefix(prefix)));
                let value = match NAMESPACES.contains(&value) {
                    true => value.to_owned(),
                    false => self.names.pseudonym("namespace", value),
                };
                (shown.unwrap_or_else(|| "xmlns".to_owned()), value)
            }
            _ => {
                let local = name.rsplit(':').next().unwrap_or_default().to_owned();
                (self.name(name), self.value(&local, value))
            }
        }
    }

    /// Writes what stands between two tags.
    fn flush(&mut self) {
        let text = std::mem::take(&mut self.pending);
        if text.trim().is_empty() {
            return;
        }
        let field = self.open.last().map(|(_, local)| local.clone());
        let shown = self.value(&field.unwrap_or_default(), text.trim());
        self.text.push_str(&shown);
    }

    fn name(&mut self, name: &str) -> String {
        let (prefix, local) = match name.split_once(':') {
            Some((prefix, local)) => (Some(prefix), local),
            None => (None, name),
        };
        let local = match ELEMENTS.contains(&local) || self.names.is_known(local) {
            true => local.to_owned(),
            false => self.names.pseudonym("field", local),
        };
        match prefix {
            Some(prefix) => format!("{}:{local}", self.prefix(prefix)),
            None => local,
        }
    }

    fn prefix(&mut self, prefix: &str) -> String {
        match PREFIXES.contains(&prefix) {
            true => prefix.to_owned(),
            false => self.names.pseudonym("prefix", prefix),
        }
    }

    fn value(&mut self, field: &str, value: &str) -> String {
        let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        let is_word = value.is_empty() || WORDS.contains(&value);
        let is_known = CODES.contains(&field) && is_code(value) || is_property(value);
        if is_word || is_known {
            value.to_owned()
        } else if is_number {
            let count = COUNTS.contains(&field);
            if count { value } else { "0" }.to_owned()
        } else if is_timestamp(value) {
            A_TIMESTAMP.to_owned()
        } else if BASE64.contains(&field) {
            STANDARD.encode(self.names.pseudonym("id", value))
        } else {
            self.names.pseudonym("id", value)
        }
    }
}

/// Tells whether a text is an error code, such as `ErrorItemNotFound`.
fn is_code(text: &str) -> bool {
    let code = text.rsplit(':').next().unwrap_or_default();
    code.len() <= 64
        && code.starts_with("Error")
        && code.bytes().all(|byte| byte.is_ascii_alphabetic())
        && (code.len() == text.len() || PREFIXES.iter().any(|p| text == format!("{p}:{code}")))
}

/// Tells whether a text names a property, such as `item:Subject`.
fn is_property(text: &str) -> bool {
    text.split_once(':')
        .is_some_and(|(kind, name)| KINDS.contains(&kind) && ELEMENTS.contains(&name))
}

/// How deep documents are looked into.
const MAX_DEPTH: usize = 64;

const NAMESPACES: &[&str] = &[
    "http://schemas.microsoft.com/exchange/services/2006/errors",
    "http://schemas.microsoft.com/exchange/services/2006/messages",
    "http://schemas.microsoft.com/exchange/services/2006/types",
    "http://schemas.xmlsoap.org/soap/envelope/",
    "http://www.w3.org/2001/XMLSchema",
    "http://www.w3.org/2001/XMLSchema-instance",
];
const PREFIXES: &[&str] = &[
    "a", "e", "h", "m", "s", "soap", "soapenv", "t", "x", "xml", "xsd", "xsi", "y",
];
/// Kinds of properties, before the colon of a field's address.
const KINDS: &[&str] = &[
    "calendar",
    "contacts",
    "conversation",
    "distributionlist",
    "folder",
    "item",
    "meeting",
    "message",
    "postitem",
    "task",
];

/// Values that are words of the service.
const WORDS: &[&str] = &[
    "AllProperties",
    "Associated",
    "Beginning",
    "Create",
    "CreateNew",
    "Deep",
    "Default",
    "Delete",
    "End",
    "Error",
    "Exchange2007_SP1",
    "Exchange2010",
    "Exchange2010_SP1",
    "Exchange2010_SP2",
    "Exchange2013",
    "Exchange2013_SP1",
    "Exchange2015",
    "Exchange2016",
    "HardDelete",
    "HTML",
    "IPF.Appointment",
    "IPF.Contact",
    "IPF.Note",
    "IPF.Task",
    "IPM.Appointment",
    "IPM.Contact",
    "IPM.Note",
    "IPM.Post",
    "IPM.Task",
    "IdOnly",
    "MoveToDeletedItems",
    "NoError",
    "Normal",
    "NormalItems",
    "SaveOnly",
    "Shallow",
    "SoftDelete",
    "SoftDeleted",
    "Success",
    "Text",
    "Update",
    "UpdateOrCreate",
    "Warning",
    "archivemsgfolderroot",
    "calendar",
    "contacts",
    "deleteditems",
    "drafts",
    "false",
    "inbox",
    "journal",
    "junkemail",
    "msgfolderroot",
    "notes",
    "outbox",
    "publicfoldersroot",
    "root",
    "sentitems",
    "tasks",
    "true",
];
/// Elements whose text is an error code.
const CODES: &[&str] = &["InnerErrorResponseCode", "ResponseCode", "faultcode"];
/// Elements and attributes whose number is a count or a version of the server.
const COUNTS: &[&str] = &[
    "BackOffMilliseconds",
    "ChildFolderCount",
    "IndexedPagingOffset",
    "MajorBuildNumber",
    "MajorVersion",
    "MaxChangesReturned",
    "MaxEntriesReturned",
    "MinorBuildNumber",
    "MinorVersion",
    "Offset",
    "Size",
    "TotalCount",
    "TotalItemsInView",
    "UnreadCount",
];
/// Elements whose text is base64.
const BASE64: &[&str] = &["Content", "Data", "MimeContent"];

/// Names of elements and attributes that any operation may have; further ones come from its client.
const ELEMENTS: &[&str] = &[
    "AbsoluteDateTransition",
    "Additional",
    "AdditionalProperties",
    "Attachment",
    "AttachmentId",
    "Attachments",
    "BackOffMilliseconds",
    "BaseShape",
    "BasePoint",
    "Body",
    "BodyType",
    "CalendarItem",
    "ChangeKey",
    "Changes",
    "CharacterSet",
    "ChildFolderCount",
    "ConnectingSID",
    "Contact",
    "Content",
    "ContentType",
    "Create",
    "CreateAction",
    "CreateItem",
    "CreateItemResponse",
    "Data",
    "DateTimeCreated",
    "DateTimeReceived",
    "DateTimeSent",
    "Delete",
    "DeleteItem",
    "DeleteItemResponse",
    "DeleteType",
    "DescriptiveLinkKey",
    "DisplayName",
    "DistinguishedFolderId",
    "DistinguishedPropertySetId",
    "EmailAddress",
    "Envelope",
    "ExchangeImpersonation",
    "ExportItems",
    "ExportItemsResponse",
    "ExportItemsResponseMessage",
    "ExtendedFieldURI",
    "ExtendedProperty",
    "Fault",
    "FieldURI",
    "FieldOrder",
    "FileAttachment",
    "FindFolder",
    "FindFolderResponse",
    "FindFolderResponseMessage",
    "FindItem",
    "FindItemResponse",
    "FindItemResponseMessage",
    "Folder",
    "FolderClass",
    "FolderId",
    "FolderIds",
    "FolderShape",
    "Folders",
    "GetAttachment",
    "GetFolder",
    "GetFolderResponse",
    "GetFolderResponseMessage",
    "GetItem",
    "GetItemResponse",
    "GetItemResponseMessage",
    "HasAttachments",
    "Header",
    "Id",
    "IncludesLastFolderInRange",
    "IncludesLastItemInRange",
    "IncludeMimeContent",
    "IndexedPageFolderView",
    "IndexedPageItemView",
    "IndexedPagingOffset",
    "InnerErrorResponseCode",
    "IsRead",
    "Item",
    "ItemAttachment",
    "ItemClass",
    "ItemId",
    "ItemIds",
    "ItemShape",
    "Items",
    "LastModifiedTime",
    "MajorBuildNumber",
    "MajorVersion",
    "MaxChangesReturned",
    "MaxEntriesReturned",
    "Message",
    "MessageText",
    "MessageXml",
    "MimeContent",
    "MinorBuildNumber",
    "MinorVersion",
    "Mailbox",
    "Name",
    "Offset",
    "Order",
    "ParentFolderId",
    "ParentFolderIds",
    "PostItem",
    "PrimarySmtpAddress",
    "PropertyId",
    "PropertyName",
    "PropertySetId",
    "PropertyTag",
    "PropertyType",
    "RequestServerVersion",
    "ResponseClass",
    "ResponseCode",
    "ResponseMessages",
    "RootFolder",
    "ServerVersionInfo",
    "Size",
    "SortOrder",
    "Subject",
    "SyncFolderHierarchy",
    "SyncFolderHierarchyResponse",
    "SyncFolderHierarchyResponseMessage",
    "SyncFolderId",
    "SyncFolderItems",
    "SyncFolderItemsResponse",
    "SyncFolderItemsResponseMessage",
    "SyncState",
    "Task",
    "TotalCount",
    "TotalItemsInView",
    "Traversal",
    "UnreadCount",
    "Update",
    "UploadItems",
    "UploadItemsResponse",
    "UploadItemsResponseMessage",
    "Value",
    "Version",
    "detail",
    "faultcode",
    "faultstring",
];

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use quick_xml::Reader;
    use quick_xml::events::Event;

    use super::{Names, scrub};

    #[derive(Default)]
    struct Numbers(HashMap<String, usize>);

    impl Names for Numbers {
        fn pseudonym(&mut self, kind: &str, text: &str) -> String {
            let next = self.0.len() + 1;
            let number = *self.0.entry(text.to_owned()).or_insert(next);
            format!("{kind}-{number}")
        }

        fn is_known(&self, _: &str) -> bool {
            false
        }
    }

    fn scrubbed(document: &str) -> Option<String> {
        scrub(document.as_bytes(), &mut Numbers::default())
    }

    #[test]
    fn words_and_counts_stay_and_all_else_becomes_a_pseudonym() {
        let document = r#"<?xml version="1.0"?><!-- canary --><s:Envelope
            xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:canary="urn:canary">
            <m:GetItemResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode>
            <t:ItemId Id="AAcanary==" ChangeKey="canary"/><t:Subject>the &amp; canary</t:Subject>
            <t:Size>5551234</t:Size><canary:Phone>5551234</canary:Phone><t:ItemClass>IPM.Note</t:ItemClass>
            <t:MimeContent CharacterSet="UTF-8"><![CDATA[Y2FuYXJ5]]></t:MimeContent>
            <t:FieldURI FieldURI="item:Subject"/><t:FieldURI FieldURI="item:canary"/>
            <t:DateTimeSent>2026-01-02T03:04:05Z</t:DateTimeSent><e:ResponseCode>ErrorAccessDenied</e:ResponseCode>
            <t:ParentFolderId Id="AAcanary=="/></m:GetItemResponseMessage></s:Envelope>"#;
        let text = scrubbed(document).unwrap();
        assert!(
            !text.contains("canary") && !text.contains("Y2FuY"),
            "{text}"
        );
        for kept in [
            "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"",
            "ResponseClass=\"Success\"",
            "<m:ResponseCode>NoError</m:ResponseCode>",
            "<t:Size>5551234</t:Size>",
            "<t:ItemClass>IPM.Note</t:ItemClass>",
            "FieldURI=\"item:Subject\"",
            "ErrorAccessDenied",
            "2000-01-01T00:00:00Z",
        ] {
            assert!(text.contains(kept), "{kept}: {text}");
        }
        assert!(
            text.contains(">0</"),
            "a number that counts nothing: {text}"
        );
        let id = text.split("<t:ItemId Id=\"").nth(1).unwrap();
        let id = id.split('"').next().unwrap();
        assert!(
            text.contains(&format!("<t:ParentFolderId Id=\"{id}\"")),
            "{text}"
        );
    }

    #[test]
    fn what_is_no_document_is_left_out() {
        for text in [
            "",
            "canary",
            "<a>",
            "<a></b>",
            "</a>",
            "<!DOCTYPE a [<!ENTITY b 'canary'>]><a>&b;</a>",
            "<a b='1' b='2'/>",
            &"<a>".repeat(1_000),
        ] {
            assert_eq!(scrubbed(text), None, "{text}");
        }
        assert_eq!(scrub(b"<a>\xff</a>", &mut Numbers::default()), None);
    }

    /// Documents with secrets wherever one can stand.
    fn documents() -> impl Strategy<Value = String> {
        let name = || {
            prop_oneof![
                Just("t:Subject"),
                Just("canary"),
                Just("canary:x"),
                Just("m:canary")
            ]
        };
        let text = || {
            prop_oneof![
                Just("canary"),
                Just("NoErrorcanary7"),
                Just("&canary;"),
                Just("&#99;anary canary"),
                Just("<![CDATA[canary]]>"),
                Just("<!-- canary -->"),
                Just("<?canary canary?>"),
                Just("true"),
                Just("2026-01-02T03:04:05canary"),
                Just("item:canary"),
            ]
        };
        let leaf = (name(), name(), text()).prop_map(|(tag, key, text)| {
            let value = text.replace(['<', '>'], "");
            format!("<{tag} {key}='{value}' xmlns:canary='{value}'>{text}</{tag}>")
        });
        leaf.prop_recursive(4, 40, 5, move |inner| {
            (name(), proptest::collection::vec(inner, 0..5), text())
                .prop_map(|(tag, inner, text)| format!("<{tag}>{text}{}</{tag}>", inner.concat()))
        })
    }

    proptest! {
        #[test]
        fn no_secret_survives_and_the_rest_is_a_document(document in documents()) {
            if let Some(text) = scrubbed(&document) {
                prop_assert!(!text.contains("anary"), "{}", text);
                let mut reader = Reader::from_str(&text);
                while !matches!(reader.read_event().unwrap(), Event::Eof) {}
            }
        }

        #[test]
        fn any_bytes_are_survived(text in "[<>a-c/='\" &;!?\\[\\]-]{0,80}") {
            let _ = scrubbed(&text);
        }
    }
}
