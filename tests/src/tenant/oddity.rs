//! Odd items: what tenants hold beside ordinary mail and files, and how the services answer for it.

use super::drive::Content;
use super::{State, Tenant};
use crate::server::answer::Refusal;

/// What is odd about a message or an item of a drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Oddity {
    /// A message that the service cannot read: 500 for itself, and for every page of several that
    /// would hold it.
    Corrupt,
    /// A file in which malware was found: it is listed, and its content refused.
    Malware,
    /// A notebook or its like: it is listed as a package, and has no content of its own.
    Package,
    /// An item that somebody holds open: it can be read and not written.
    Locked,
}

impl Tenant {
    /// Makes a message, by its immutable id, or an item of a drive odd; `None` makes it ordinary.
    pub fn set_oddity(&self, id: &str, oddity: Option<Oddity>) {
        let mut state = self.lock();
        match oddity {
            Some(oddity) => state.oddities.insert(id.to_owned(), oddity),
            None => state.oddities.remove(id),
        };
    }

    /// Lets SharePoint write its own properties into Office files that are uploaded: their bytes,
    /// length and hash differ from then on from what was sent.
    pub fn set_office_drift(&self, drifts: bool) {
        self.lock().office_drift = drifts;
    }

    /// Sets how many bytes each drive holds; uploads beyond are refused with 507.
    pub fn set_drive_quota(&self, bytes: u64) {
        self.lock().drive_quota = bytes;
    }
}

impl State {
    /// Tells what is odd about an item.
    pub(crate) fn oddity(&self, id: &str) -> Option<Oddity> {
        self.oddities.get(id).copied()
    }

    /// Refuses to read a corrupt message.
    pub(crate) fn readable(&self, id: &str) -> Result<(), Refusal> {
        match self.oddity(id) {
            Some(Oddity::Corrupt) => Err(Refusal::new(500, "ErrorCorruptData", "Data is corrupt.")),
            _ => Ok(()),
        }
    }

    /// Refuses to give the content of an item that has none, or none to give.
    pub(crate) fn downloadable(&self, id: &str) -> Result<(), Refusal> {
        match self.oddity(id) {
            Some(Oddity::Malware) => Err(Refusal::new(
                403,
                "malwareDetected",
                "Malware was detected in the requested resource.",
            )),
            Some(Oddity::Package) => Err(Refusal::new(
                400,
                "notSupported",
                "A package has no content of its own.",
            )),
            _ => Ok(()),
        }
    }

    /// Returns what becomes of content that is uploaded under a name.
    pub(crate) fn drifted(&self, name: &str, content: Content) -> Content {
        let ending = name.rsplit('.').next().unwrap_or_default();
        let office = ["docx", "xlsx", "pptx"].contains(&ending.to_ascii_lowercase().as_str());
        match self.office_drift && office && content.length() > 0 {
            true => Content::concat([&content, &Content::from_bytes(PROMOTED)]),
            false => content,
        }
    }

    /// Refuses to write to an item that is locked.
    pub(crate) fn writable(&self, id: &str) -> Result<(), Refusal> {
        match self.oddity(id) {
            Some(Oddity::Locked) => Err(Refusal::new(
                423,
                "resourceLocked",
                "The resource you are attempting to access is locked.",
            )),
            _ => Ok(()),
        }
    }
}

/// What SharePoint adds to an Office file, about.
const PROMOTED: &[u8] = b"docProps/custom.xml<Properties><ContentTypeId>0x010100</ContentTypeId>";

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Oddity;
    use crate::server::testing::Client;
    use crate::{MailboxKind, NewMessage, Tenant};

    const ALICE: &str = "alice@contoso.example";

    async fn client() -> Client {
        let tenant = Tenant::empty(1);
        tenant.add_user(ALICE, "Alice Adler", MailboxKind::User);
        tenant.give_drive(ALICE);
        Client::new(tenant).await
    }

    #[tokio::test]
    async fn a_corrupt_message_costs_its_page_until_it_is_alone() {
        let client = client().await;
        let add = |subject: &str| {
            let message = NewMessage {
                subject: subject.to_owned(),
                ..NewMessage::default()
            };
            client
                .tenant
                .add_message(ALICE, "inbox", message)
                .expect("an inbox")
        };
        let ids = ["one", "two", "three"].map(add);
        client.tenant.set_oddity(&ids[1], Some(Oddity::Corrupt));
        let folder = format!("/users/{ALICE}/mailFolders/inbox/messages");
        let code = |body: &Value| body["error"]["code"].as_str().unwrap_or("none").to_owned();
        for path in [format!("{folder}?$top=3"), format!("{folder}/delta")] {
            let (status, body) = client.get(&path).await;
            assert_eq!(
                (status, code(&body).as_str()),
                (500, "ErrorCorruptData"),
                "{path}"
            );
        }
        let (status, body) = client
            .get(&format!("{folder}?$top=1&$skip=1&$select=id"))
            .await;
        assert_eq!((status, &body["value"][0]["id"]), (200, &json!(ids[1])));
        for path in ["", "/$value"] {
            let (status, _) = client
                .get(&format!("/users/{ALICE}/messages/{}{path}", ids[1]))
                .await;
            assert_eq!(status, 500, "{path}");
        }
        client.tenant.set_oddity(&ids[1], None);
        assert_eq!(client.get(&format!("{folder}/delta")).await.0, 200);
    }

    #[tokio::test]
    async fn odd_files_are_listed_and_answer_for_themselves() {
        let client = client().await;
        let root = format!("/users/{ALICE}/drive/root");
        let folder = json!({"name": "x", "folder": {}});
        client
            .call("POST", &format!("{root}/children"), folder)
            .await;
        let put = async |name: &str| {
            let path = format!("{root}:/{name}:/content");
            let (status, item) = client.call("PUT", &path, json!("content")).await;
            assert_eq!(status, 201, "{item}");
            item["id"].as_str().expect("an id").to_owned()
        };
        let (sick, book, held) = (put("a.exe").await, put("b.one").await, put("c.docx").await);
        client.tenant.set_oddity(&sick, Some(Oddity::Malware));
        client.tenant.set_oddity(&book, Some(Oddity::Package));
        client.tenant.set_oddity(&held, Some(Oddity::Locked));
        let (_, list) = client.get(&format!("{root}/children")).await;
        let named = |name: &str| {
            let items = list["value"].as_array().expect("items");
            items
                .iter()
                .find(|item| item["name"] == name)
                .cloned()
                .expect("the item")
        };
        assert!(named("a.exe")["malware"].is_object());
        assert_eq!(named("b.one")["package"]["type"], "oneNote");
        assert_eq!(named("b.one").get("file"), None);
        let content = async |name: &str| {
            let (status, body) = client.get(&format!("{root}:/{name}:/content")).await;
            (
                status,
                body["error"]["code"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
            )
        };
        assert_eq!(content("a.exe").await, (403, "malwareDetected".to_owned()));
        assert_eq!(content("b.one").await.0, 400);
        assert_eq!(content("c.docx").await.0, 302);
        for (method, body) in [
            ("PATCH", json!({"name": "d.docx"})),
            ("DELETE", Value::Null),
        ] {
            let (status, body) = client.call(method, &format!("{root}:/c.docx"), body).await;
            assert_eq!(
                (status, &body["error"]["code"]),
                (423, &json!("resourceLocked"))
            );
        }
        let path = format!("{root}:/c.docx:/content");
        assert_eq!(client.call("PUT", &path, json!("other")).await.0, 423);
    }

    #[tokio::test]
    async fn office_files_differ_from_what_was_sent_when_they_drift() {
        let client = client().await;
        client.tenant.set_office_drift(true);
        for (name, drifts) in [("a.DOCX", true), ("a.pdf", false)] {
            let path = format!("/users/{ALICE}/drive/root:/{name}:/content");
            let (status, item) = client.call("PUT", &path, json!("content")).await;
            assert_eq!(status, 201, "{item}");
            let sent = json!("content").to_string().len() as u64;
            assert_eq!(item["size"].as_u64() != Some(sent), drifts, "{name}");
        }
        client.tenant.set_office_drift(false);
        let path = format!("/users/{ALICE}/drive/root:/b.docx:/content");
        let (_, item) = client.call("PUT", &path, json!("content")).await;
        assert_eq!(item["size"], 9);
    }

    #[tokio::test]
    async fn who_has_no_licence_has_neither_mailbox_nor_site() {
        let client = client().await;
        client.tenant.remove_mailbox(ALICE);
        client.tenant.remove_drive(ALICE);
        for (path, code) in [
            ("mailboxSettings", "MailboxNotEnabledForRESTAPI"),
            ("mailFolders/inbox", "MailboxNotEnabledForRESTAPI"),
            ("settings/exchange", "MailboxNotEnabledForRESTAPI"),
            ("drive", "ResourceNotFound"),
        ] {
            let (status, body) = client.get(&format!("/users/{ALICE}/{path}")).await;
            assert_eq!(
                (status, &body["error"]["code"]),
                (404, &json!(code)),
                "{path}"
            );
        }
    }

    #[tokio::test]
    async fn a_full_drive_takes_no_upload() {
        let client = client().await;
        client.tenant.set_drive_quota(1_000_000);
        let path = format!("/users/{ALICE}/drive/root:/large.bin:/createUploadSession");
        let body = |size: u64| json!({"item": {"fileSize": size}});
        let (status, answer) = client.call("POST", &path, body(1_000_001)).await;
        assert_eq!(
            (status, &answer["error"]["code"]),
            (507, &json!("quotaLimitReached"))
        );
        assert_eq!(client.call("POST", &path, body(1_000_000)).await.0, 200);
    }
}
