//! Recordings of EWS: scrubbed, written, read, and replayed to the same code.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use m365_auth::{
    AccessToken, Audience, Cloud, Recording, RecordingTransport, ReplayTransport, Result, Secret,
    ServiceTransport, TokenProvider, Transport,
};
use m365_ews::{EwsClient, EwsOptions, FindItem, GetItem, Parent};
use m365_simulator::ByteStream;

const CANARY: &str = "canary7f3a";

#[derive(Debug)]
struct Token;

#[async_trait]
impl TokenProvider for Token {
    async fn token(&self, _: &Audience) -> Result<AccessToken> {
        let expires = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40);
        Ok(AccessToken::new(Secret::new(CANARY), expires))
    }

    async fn invalidate(&self, _: &Audience, _: &AccessToken) {}
}

/// Answers as a server does, with secrets wherever there is room.
fn respond(request: &str) -> String {
    let (kind, found) = if request.contains("FindFolder") {
        (
            "FindFolder",
            format!(
                "<m:RootFolder TotalItemsInView='1' IncludesLastItemInRange='true'><t:Folders>\
                 <t:Folder><t:FolderId Id='{CANARY}==' ChangeKey='{CANARY}'/>\
                 <t:DisplayName>{CANARY} &amp; sons</t:DisplayName>\
                 <t:ChildFolderCount>3</t:ChildFolderCount></t:Folder></t:Folders></m:RootFolder>"
            ),
        )
    } else if request.contains("FindItem") {
        (
            "FindItem",
            format!(
                "<m:RootFolder TotalItemsInView='1' IncludesLastItemInRange='true'><t:Items>\
                 <t:Message><t:ItemId Id='{CANARY}item' ChangeKey='{CANARY}'/>\
                 <t:Subject>{CANARY}</t:Subject></t:Message></t:Items></m:RootFolder>"
            ),
        )
    } else {
        (
            "GetItem",
            format!(
                "<m:Items><t:Message><t:MimeContent CharacterSet='UTF-8'>Y2FuYXJ5</t:MimeContent>\
                 <t:ItemId Id='{CANARY}item' ChangeKey='{CANARY}'/><t:Size>7</t:Size>\
                 <t:{CANARY}>{CANARY}</t:{CANARY}></t:Message></m:Items>"
            ),
        )
    };
    format!(
        "<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'><s:Body>\
         <m:{kind}Response xmlns:m='http://schemas.microsoft.com/exchange/services/2006/messages' \
         xmlns:t='http://schemas.microsoft.com/exchange/services/2006/types'>\
         <m:ResponseMessages><m:{kind}ResponseMessage ResponseClass='Success'>\
         <m:ResponseCode>NoError</m:ResponseCode>{found}</m:{kind}ResponseMessage>\
         </m:ResponseMessages></m:{kind}Response></s:Body></s:Envelope>"
    )
}

fn client(transport: Arc<dyn Transport>) -> EwsClient {
    let options = EwsOptions::default();
    let client = EwsClient::new(transport, Arc::new(Token), &Cloud::global(), options);
    client
        .unwrap()
        .impersonating(format!("{CANARY}@contoso.example"))
}

/// Walks from the folders to the content of an item, and returns what a program would count.
async fn walk(client: &EwsClient) -> (usize, u64, usize) {
    let folders = client.folders_in(&Parent::PublicFoldersRoot).await.unwrap();
    let folder = Parent::Id(folders[0].id.clone());
    let found = client.one(&FindItem::new(folder)).await.unwrap();
    let get = GetItem::new([found.entries[0].id.clone()]).with_mime();
    let item = client.one(&get).await.unwrap().remove(0);
    assert_eq!(item.id, found.entries[0].id, "ids hang together");
    let mime = item.mime.map(|mime| mime.len()).unwrap_or_default();
    (folders.len(), item.size.unwrap_or_default(), mime)
}

#[tokio::test]
async fn what_was_recorded_replays_to_the_same_code_without_what_was_said() {
    let server = ServiceTransport::new(|request: http::Request<bytes::Bytes>| async move {
        let text = String::from_utf8_lossy(request.body()).into_owned();
        let body = ByteStream::from_bytes(respond(&text).into());
        let response = http::Response::builder().header("content-type", "text/xml; charset=utf-8");
        response.body(body).map_err(std::io::Error::other)
    });
    let recorder = Arc::new(RecordingTransport::new(Arc::new(server)));
    let online = walk(&client(recorder.clone())).await;
    assert_eq!((online.0, online.1), (1, 7));
    let text = recorder.recording().to_text();
    assert!(
        !text.contains(CANARY) && !text.contains("Y2FuYXJ5"),
        "{text}"
    );
    assert!(text.contains("<t:Subject>"), "{text}");
    let recording = Recording::parse(&text).unwrap();
    let replay = Arc::new(ReplayTransport::new(&recording));
    let offline = walk(&client(replay.clone())).await;
    assert_eq!((offline.0, offline.1), (1, 7));
    assert!(offline.2 > 0, "a content stays a content");
    assert_eq!(replay.left(), 0);
}
