//! Translation: ids that change with a move into ids that do not, and back.

use http::Method;
use serde_json::{Value, json};

use super::mailbox;
use crate::server::answer::{self, Outcome, Refusal};
use crate::server::call::Call;
use crate::server::directory::context;

/// Ids in one request at most.
/// *Source*: Microsoft Graph, user: translateExchangeIds.
const IDS_MAX: usize = 1000;

/// The formats that are told apart here; those of other protocols are refused.
const FORMATS: [(&str, bool); 2] = [("restId", false), ("restImmutableEntryId", true)];

/// Answers one request to translate ids.
pub(super) fn route(call: &Call) -> Outcome {
    call.check(
        Method::POST,
        &["User.ReadBasic.All", "User.Read.All", "User.ReadWrite.All"],
    )?;
    let body = call.json()?;
    // The description begins these names with a capital, the documentation does not.
    let member = |name: &str| {
        let mut members = body.as_object()?.iter();
        let (_, value) = members.find(|(own, _)| own.eq_ignore_ascii_case(name))?;
        Some(value)
    };
    let ids = member("inputIds")
        .and_then(Value::as_array)
        .filter(|ids| ids.iter().all(Value::is_string))
        .ok_or_else(|| Refusal::bad_request("The property 'inputIds' must be a list of ids."))?;
    if ids.len() > IDS_MAX {
        return Err(Refusal::bad_request(
            "At most 1000 ids can be translated at once.",
        ));
    }
    let format = |name: &str| {
        let wanted = member(name).and_then(Value::as_str).unwrap_or_default();
        let mut known = FORMATS.iter();
        known
            .find(|(format, _)| format.eq_ignore_ascii_case(wanted))
            .map(|(_, immutable)| *immutable)
            .ok_or_else(|| Refusal::bad_request(format!("{name} '{wanted}' is not supported.")))
    };
    let (from, to) = (format("sourceIdType")?, format("targetIdType")?);
    let state = call.tenant.lock();
    let mailbox = mailbox(call, &state)?;
    let translated: Vec<Value> = ids
        .iter()
        .filter_map(Value::as_str)
        .map(|id| {
            let message = mailbox.message(id);
            match message.filter(|message| mailbox.message_id(message, from) == id) {
                Some(message) => {
                    json!({"sourceId": id, "targetId": mailbox.message_id(message, to)})
                }
                None => json!({"sourceId": id, "errorDetails": {
                    "code": "ErrorInvalidIdMalformed",
                    "message": "Id is malformed.",
                }}),
            }
        })
        .collect();
    let name = context(call, "Collection(microsoft.graph.convertIdResult)");
    Ok(answer::json(
        200,
        &json!({"@odata.context": name, "value": translated}),
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::server::testing::Client;
    use crate::{MailboxKind, NewMessage, Tenant};

    #[tokio::test]
    async fn ids_are_translated_there_and_back_and_old_ones_are_not() {
        let tenant = Tenant::empty(1);
        let alice = tenant.add_user("alice@contoso.example", "Alice Adler", MailboxKind::User);
        let stable = tenant
            .add_message(&alice, "inbox", NewMessage::default())
            .expect("an inbox");
        let client = Client::new(tenant).await;
        let translate = async |id: &str, from: &str, to: &str| {
            let body = json!({"inputIds": [id], "sourceIdType": from, "targetIdType": to});
            let path = format!("/users/{alice}/translateExchangeIds");
            let (status, body) = client.call("POST", &path, body).await;
            assert_eq!(status, 200, "{body}");
            body["value"][0].clone()
        };
        let moving = translate(&stable, "restImmutableEntryId", "restId").await["targetId"].clone();
        let moving = moving.as_str().expect("an id");
        assert_ne!(moving, stable);
        let back = translate(moving, "restId", "restImmutableEntryId").await;
        assert_eq!(back["targetId"], json!(stable));
        let path = format!("/users/{alice}/messages/{stable}/move");
        client
            .call("POST", &path, json!({"destinationId": "archive"}))
            .await;
        let stale = translate(moving, "restId", "restImmutableEntryId").await;
        assert!(stale["errorDetails"].is_object(), "{stale}");
        let now = translate(&stable, "restImmutableEntryId", "restId").await;
        assert_ne!(now["targetId"], json!(moving), "it changed with the move");
        let path = format!("/users/{alice}/translateExchangeIds");
        let body = json!({"inputIds": [], "sourceIdType": "ewsId", "targetIdType": "restId"});
        assert_eq!(client.call("POST", &path, body).await.0, 400);
    }
}
