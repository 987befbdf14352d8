//! Upload sessions at the content origin: fragments, status, cancellation.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use super::super::answer::{self, Answer, Outcome, Refusal, instant};
use super::super::call::Call;
use super::super::directory::context;
use super::super::drives::{drive_mut, drive_of, invalid, refused, show_item};
use super::{now, range};
use crate::tenant::State;
use crate::tenant::drive::{FragmentFault, Upload, UploadPlan};
use crate::tenant::ids;

/// How long a session waits for its next fragment, in seconds.
const SESSION_SECONDS: i64 = 7 * 86_400;

/// Fragments must stay below this many bytes.
const FRAGMENT_MAX: usize = 60 * 1024 * 1024;

/// Begins an upload and answers with its address.
pub(in super::super) fn begin_upload(call: &Call, state: &mut State, plan: UploadPlan) -> Answer {
    state.requests += 1;
    let name = ids::guid(state.seed, "upload", state.requests);
    let upload = Upload::new(plan, now(state) + SESSION_SECONDS);
    let mut body = status(&upload);
    body["@odata.context"] = json!(context(call, "microsoft.graph.uploadSession"));
    body["uploadUrl"] = json!(format!("{}upload/{name}", call.tenant.urls().content));
    state.uploads.insert(name, upload);
    answer::json(200, &body)
}

/// Answers one request to an upload session.
pub(super) fn route(call: &Call) -> Outcome {
    let mut state = call.tenant.lock();
    let now = now(&state);
    state.uploads.retain(|_, upload| upload.expires >= now);
    let name = call.segment(1);
    let upload = state.uploads.get(name).ok_or_else(gone)?;
    if let Some(id) = &upload.finished {
        return repeated(call, &state, upload, id);
    }
    match call.method {
        Method::GET => Ok(answer::json(200, &status(upload))),
        Method::DELETE => {
            state.uploads.remove(name);
            Ok(answer::empty(204))
        }
        Method::PUT => fragment(call, &mut state, name),
        Method::POST if call.body.is_empty() => finish(call, &mut state, name),
        _ => Err(call.wrong_verb()),
    }
}

/// Answers a finished upload, which only a tolerant tenant remembers: msgraph-sdk for Python sends
/// the last fragment twice.
fn repeated(call: &Call, state: &State, upload: &Upload, id: &str) -> Outcome {
    let given = call.header("content-range").and_then(range::given);
    let last = given.is_some_and(|(part, total)| part.end == total && Some(total) == upload.total);
    if call.method != Method::PUT || !last {
        return Err(gone());
    }
    let (user, drive) = drive_of(state, &upload.plan.drive)?;
    let item = drive.item(id).ok_or_else(gone)?;
    Ok(answer::json(
        200,
        &show_item(call, state, user, drive, item, None)?,
    ))
}

fn gone() -> Refusal {
    Refusal::new(404, "itemNotFound", "The upload session was not found")
}

fn status(upload: &Upload) -> Value {
    json!({
        "expirationDateTime": instant(upload.expires),
        "nextExpectedRanges": match upload.is_whole() {
            true => Vec::new(),
            false => vec![expected(upload)],
        },
    })
}

fn expected(upload: &Upload) -> String {
    match upload.total {
        Some(total) if upload.received > 0 && upload.received < total => {
            format!("{}-{}", upload.received, total - 1)
        }
        _ => format!("{}-", upload.received),
    }
}

fn fragment(call: &Call, state: &mut State, name: &str) -> Outcome {
    let (part, total) = call
        .header("content-range")
        .and_then(range::given)
        .ok_or_else(|| invalid("A Content-Range header of the form bytes a-b/total is needed."))?;
    if call.body.len() >= FRAGMENT_MAX {
        return Err(Refusal::new(
            413,
            "invalidRequest",
            "Fragments must be below 60 MiB.",
        ));
    }
    let upload = state.uploads.get_mut(name).ok_or_else(gone)?;
    let done = upload
        .take(&part, total, &call.body)
        .map_err(|fault| match fault {
            FragmentFault::TotalChanged => invalid("The total size differs from the one declared."),
            FragmentFault::Length => invalid("The body is not as long as its Content-Range."),
            FragmentFault::Unaligned => {
                invalid("Fragments other than the last must be multiples of 327680 bytes.")
            }
            FragmentFault::Order => Refusal::new(
                416,
                "invalidRange",
                format!(
                    "Optimistic concurrency failure: expected {}.",
                    expected(upload)
                ),
            ),
        })?;
    if !done || upload.plan.deferred {
        return Ok(answer::json(202, &status(upload)));
    }
    commit(call, state, name)
}

/// Makes the file of an upload whose bytes are all there, when its commit was deferred.
fn finish(call: &Call, state: &mut State, name: &str) -> Outcome {
    let upload = state.uploads.get(name).ok_or_else(gone)?;
    if !upload.is_whole() {
        return Err(invalid("The upload is not complete."));
    }
    commit(call, state, name)
}

fn commit(call: &Call, state: &mut State, name: &str) -> Outcome {
    let upload = state.uploads.get(name).ok_or_else(gone)?;
    let (plan, content) = (upload.plan.clone(), upload.content());
    let file = plan.target.name(drive_mut(state, &plan.drive)?);
    let content = Arc::new(state.drifted(&file, content));
    let drive = drive_mut(state, &plan.drive)?;
    let (id, created) = plan
        .target
        .commit(drive, content, plan.conflict, plan.times)
        .map_err(refused)?;
    match state.uploads.get_mut(name) {
        Some(upload) if state.tolerant_content => upload.finish(&id),
        _ => drop(state.uploads.remove(name)),
    }
    let (user, drive) = drive_of(state, &plan.drive)?;
    let item = drive.item(&id).ok_or_else(gone)?;
    let mut body = show_item(call, state, user, drive, item, None)?;
    body["@odata.context"] = json!(context(call, "driveItems/$entity"));
    Ok(answer::json(if created { 201 } else { 200 }, &body))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;
    use serde_json::{Value, json};

    use crate::server::testing::Client;
    use crate::{MailboxKind, Tenant};

    const ALICE: &str = "alice@contoso.example";

    #[tokio::test]
    async fn a_deferred_upload_makes_its_file_when_asked() {
        let tenant = Tenant::empty(1);
        tenant.add_user(ALICE, "Alice Adler", MailboxKind::User);
        tenant.give_drive(ALICE);
        let client = Client::new(tenant).await;
        let path = format!("/users/{ALICE}/drive/root:/late.bin:/createUploadSession");
        let wish = json!({"item": {"fileSize": 5}, "deferCommit": true});
        let (status, session) = client.call("POST", &path, wish).await;
        assert_eq!(status, 200, "{session}");
        let url = session["uploadUrl"].as_str().expect("an address");
        let send = async |method: &str, range: Option<&str>, body: &'static [u8]| {
            let mut request = Request::builder().method(method).uri(url);
            if let Some(range) = range {
                request = request.header("content-range", range);
            }
            let request = request.body(Bytes::from_static(body)).expect("a request");
            let (status, _, body) = client.raw(request).await;
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            (status, body)
        };
        assert_eq!(send("POST", None, b"").await.0, 400, "nothing is there yet");
        let (status, body) = send("PUT", Some("bytes 0-4/5"), b"12345").await;
        assert_eq!((status, &body["nextExpectedRanges"]), (202, &json!([])));
        let item = format!("/users/{ALICE}/drive/root:/late.bin");
        assert_eq!(client.get(&item).await.0, 404);
        assert_eq!(send("POST", None, b"").await.0, 201);
        assert_eq!(client.get(&item).await.1["size"], 5);
    }
}
