//! Batch: up to twenty requests in one, each answered on its own.
//!
//! *Source*: Microsoft Graph, JSON batching: at most 20 parts; ids unique whatever their case; answers in no
//! order; 424 after a failed dependency; no part is followed anywhere.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fastrand::Rng;
use futures_util::FutureExt as _;
use http::{Method, Request};
use serde_json::{Map, Value, json};

use super::answer::{self, Answer, Outcome, Refusal};
use super::call::Call;
use crate::tenant::ids;
use crate::tenant::urls::Door;

/// The most requests in one.
const PARTS_MAX: usize = 20;

/// One request of a batch.
struct Part<'b> {
    id: &'b str,
    request: Request<Bytes>,
    after: Vec<String>,
}

/// Answers a batch.
pub(super) fn route(call: &Call) -> Outcome {
    if call.method != Method::POST {
        return Err(call.wrong_verb());
    }
    let body = call.json()?;
    let listed = body["requests"]
        .as_array()
        .ok_or_else(|| malformed("The batch holds no requests."))?;
    if listed.len() > PARTS_MAX {
        return Err(malformed(
            "Number of batch request steps exceeds the maximum value of 20.",
        ));
    }
    let parts = listed
        .iter()
        .map(|raw| part(call, raw))
        .collect::<Result<Vec<_>, _>>()?;
    check_ids(&parts)?;
    check_order(&parts)?;
    let mut answers = run(call, parts);
    let (seed, number) = {
        let state = call.tenant.lock();
        (state.seed, state.requests)
    };
    // The service promises no order; clients that rely on one shall notice.
    Rng::with_seed(ids::number(seed, "batch", number)).shuffle(&mut answers);
    Ok(answer::json(200, &json!({"responses": answers})))
}

fn malformed(message: impl Into<String>) -> Refusal {
    Refusal::new(400, "BadRequest", message)
}

/// Reads one request of the batch; members that nobody knows are ignored.
fn part<'b>(call: &Call, raw: &'b Value) -> Result<Part<'b>, Refusal> {
    let text = |name: &str| raw[name].as_str().filter(|text| !text.is_empty());
    let id = text("id").ok_or_else(|| malformed("Request id is null or empty."))?;
    let method = text("method")
        .and_then(|method| method.to_ascii_uppercase().parse::<Method>().ok())
        .ok_or_else(|| malformed(format!("Request '{id}' has no method.")))?;
    let url = text("url")
        .and_then(|url| relative(call, url))
        .ok_or_else(|| malformed(format!("Request '{id}' has no relative url.")))?;
    let path = format!("/{}", url.trim_start_matches('/')).replace(' ', "%20");
    let mut request = Request::builder().method(method).uri(path);
    let mut media_type = None;
    for (name, value) in raw["headers"].as_object().into_iter().flatten() {
        let Some(value) = value.as_str() else {
            continue;
        };
        if name.eq_ignore_ascii_case("content-type") {
            media_type = Some(value.to_ascii_lowercase());
        }
        request = request.header(name, value);
    }
    if let Some(token) = call.header("authorization") {
        request = request.header("authorization", token);
    }
    let body = match (&raw["body"], media_type) {
        (Value::Null, _) => Bytes::new(),
        (_, None) => {
            let text = format!("Request '{id}' has a body and no Content-Type.");
            return Err(malformed(text));
        }
        (Value::String(text), Some(kind)) if kind.starts_with("text/") => text.clone().into(),
        (Value::String(text), Some(kind)) if !kind.starts_with("application/json") => STANDARD
            .decode(text)
            .map_err(|_| malformed(format!("The body of request '{id}' is not base64.")))?
            .into(),
        (body, Some(_)) => body.to_string().into(),
    };
    let request = request
        .body(body)
        .map_err(|cause| malformed(format!("Request '{id}' is malformed: {cause}.")))?;
    let after = raw["dependsOn"].as_array().into_iter().flatten();
    let after = after.filter_map(Value::as_str).map(str::to_lowercase);
    Ok(Part {
        id,
        request,
        after: after.collect(),
    })
}

/// Takes the origin off an address; msgraph-sdk for Python writes whole ones.
fn relative<'u>(call: &Call, url: &'u str) -> Option<&'u str> {
    if !url.contains("://") {
        return Some(url);
    }
    let urls = [call.tenant.urls(), call.tenant.home()];
    urls.iter()
        .find_map(|urls| url.strip_prefix(urls.graph.as_str()))
}

fn check_ids(parts: &[Part<'_>]) -> Result<(), Refusal> {
    let mut known = BTreeSet::new();
    for part in parts {
        if !known.insert(part.id.to_lowercase()) {
            let text = format!("Request Id '{}' has to be unique in a batch.", part.id);
            return Err(malformed(text));
        }
    }
    Ok(())
}

/// Refuses an order other than: all at once, one after the other, or all after the same one.
fn check_order(parts: &[Part<'_>]) -> Result<(), Refusal> {
    let mut known = BTreeSet::new();
    let mut previous: Option<String> = None;
    let (mut serial, mut same) = (true, true);
    let mut first_named: Option<&String> = None;
    for part in parts {
        for named in &part.after {
            if !known.contains(named) {
                let text = format!(
                    "Request '{}' depends on one that does not come before.",
                    part.id
                );
                return Err(malformed(text));
            }
            same &= *first_named.get_or_insert(named) == named;
        }
        if let Some(previous) = &previous {
            serial &= part.after.as_slice() == std::slice::from_ref(previous);
        }
        let id = part.id.to_lowercase();
        known.insert(id.clone());
        previous = Some(id);
    }
    let independent = parts.iter().filter(|part| part.after.is_empty()).count();
    if independent == parts.len() || serial || (same && independent == 1) {
        return Ok(());
    }
    Err(malformed(
        "The requests of a batch run one after the other, or all at once, not in a mixed order.",
    ))
}

fn run(call: &Call, parts: Vec<Part<'_>>) -> Vec<Value> {
    let mut failed: BTreeMap<String, bool> = BTreeMap::new();
    let mut answers = Vec::new();
    for part in parts {
        let blocked = part
            .after
            .iter()
            .any(|id| failed.get(id).copied().unwrap_or(true));
        let answer = match blocked {
            true => failed_dependency(part.id),
            false => one(call, part.id, part.request),
        };
        let bad = answer["status"].as_u64().is_none_or(|status| status >= 400);
        failed.insert(part.id.to_lowercase(), bad);
        answers.push(answer);
    }
    answers
}

fn failed_dependency(id: &str) -> Value {
    json!({
        "id": id,
        "status": 424,
        "headers": {"Content-Type": "application/json"},
        "body": {"error": {
            "code": "FailedDependency",
            "message": "A request that this one depends on has failed.",
        }},
    })
}

/// Answers one part, as if it had come alone.
fn one(call: &Call, id: &str, request: Request<Bytes>) -> Value {
    let part = Call::new(call.tenant.clone(), Door::Graph, request);
    let answer = match part.keys().first() {
        Some(&"$batch") => malformed("A batch cannot hold another batch.").into_answer(&part),
        _ => super::respond(&part).unwrap_or_else(|_| no_answer(&part)),
    };
    let answer = call.tenant.stamp(&part, answer);
    render(&part, id, answer)
}

/// What a batch says of a part whose own connection broke.
fn no_answer(part: &Call) -> Answer {
    Refusal::new(504, "UnknownError", "").into_answer(part)
}

fn render(part: &Call, id: &str, answer: Answer) -> Value {
    let (head, body) = answer.into_parts();
    // Bodies of Graph are computed while they are asked for; none waits for anything.
    let Some(Ok(body)) = body.collect().now_or_never() else {
        return render(part, id, no_answer(part));
    };
    let mut headers = Map::new();
    for (name, value) in &head.headers {
        if name != "content-length" && name != "date" {
            headers.insert(spelled(name.as_str()), json!(value.to_str().unwrap_or("")));
        }
    }
    let mut rendered = json!({"id": id, "status": head.status.as_u16(), "headers": headers});
    if !body.is_empty() {
        rendered["body"] =
            serde_json::from_slice(&body).unwrap_or_else(|_| json!(STANDARD.encode(&body)));
    }
    rendered
}

/// Spells a header's name as batches do: `Retry-After`.
fn spelled(name: &str) -> String {
    let capital = |word: &str| match word.split_at_checked(1) {
        Some((first, rest)) => first.to_ascii_uppercase() + rest,
        None => String::new(),
    };
    name.split('-').map(capital).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::server::testing::Client;
    use crate::{Fault, FaultPlan, FaultRule, MailboxKind, Tenant};

    async fn client() -> Client {
        let tenant = Tenant::empty(1);
        tenant.add_user("alice@contoso.example", "Alice Adler", MailboxKind::User);
        Client::new(tenant).await
    }

    async fn post(client: &Client, requests: &Value) -> (u16, Value) {
        client
            .call("POST", "/$batch", json!({"requests": requests}))
            .await
    }

    fn statuses(answer: &Value) -> Vec<(String, u64)> {
        let mut found: Vec<(String, u64)> = answer["responses"]
            .as_array()
            .expect("answers")
            .iter()
            .map(|one| {
                let id = one["id"].as_str().expect("an id").to_owned();
                (id, one["status"].as_u64().expect("a status"))
            })
            .collect();
        found.sort();
        found
    }

    #[tokio::test]
    async fn parts_are_answered_each_on_its_own_and_counted() {
        let client = client().await;
        client.tenant.reset_counters();
        let requests = json!([
            {"id": "1", "method": "GET", "url": "/users/alice@contoso.example"},
            {"id": "2", "method": "get", "url": "v1.0/users/nobody", "dependsOn": []},
            {"id": "4", "method": "GET", "url": format!("{}v1.0/users", client.tenant.urls().graph)},
            {"id": "3", "method": "POST", "url": "/users/alice@contoso.example/mailFolders",
             "headers": {"content-type": "application/json"}, "body": {"displayName": "New"}},
        ]);
        let (status, answer) = post(&client, &requests).await;
        assert_eq!(status, 200);
        let expected = [("1", 200), ("2", 404), ("3", 201), ("4", 200)];
        assert_eq!(
            statuses(&answer),
            expected.map(|(id, status)| (id.to_owned(), status))
        );
        let counters = client.tenant.counters();
        assert_eq!(counters.route("GET /users/{id}"), 2);
        assert_eq!(counters.route("POST /$batch"), 1);
        assert_eq!(counters.billed(), 4, "the envelope is no request");
    }

    #[tokio::test]
    async fn what_follows_a_failure_is_not_done() {
        let client = client().await;
        let requests = json!([
            {"id": "a", "method": "GET", "url": "/users/nobody"},
            {"id": "b", "method": "GET", "url": "/users", "dependsOn": ["A"]},
            {"id": "c", "method": "GET", "url": "/users", "dependsOn": ["b"]},
        ]);
        let (_, answer) = post(&client, &requests).await;
        let expected = [("a", 404), ("b", 424), ("c", 424)];
        assert_eq!(
            statuses(&answer),
            expected.map(|(id, status)| (id.to_owned(), status))
        );
    }

    #[tokio::test]
    async fn one_part_alone_is_throttled() {
        let client = client().await;
        let rule = FaultRule::new("GET /users", Fault::Throttled(Some(7))).times(1);
        client.tenant.set_faults(FaultPlan::new(1).with(rule));
        let requests = json!([
            {"id": "1", "method": "GET", "url": "/users"},
            {"id": "2", "method": "GET", "url": "/users"},
        ]);
        let (status, answer) = post(&client, &requests).await;
        assert_eq!(status, 200);
        let throttled: Vec<&Value> = answer["responses"]
            .as_array()
            .expect("answers")
            .iter()
            .filter(|one| one["status"] == 429)
            .collect();
        assert_eq!(throttled.len(), 1);
        assert_eq!(throttled[0]["headers"]["Retry-After"], "7");
    }

    #[tokio::test]
    async fn malformed_batches_are_refused_whole() {
        let client = client().await;
        let get = |id: &str| json!({"id": id, "method": "GET", "url": "/users"});
        let after = |id: &str, on: &str| json!({"id": id, "method": "GET", "url": "/users", "dependsOn": [on]});
        let many: Vec<Value> = (0..21).map(|number| get(&number.to_string())).collect();
        for requests in [
            json!(null),
            json!(many),
            json!([get("a"), get("A")]),
            json!([{"id": "1", "method": "GET"}]),
            json!([{"id": "1", "method": "GET", "url": "https://elsewhere.example/"}]),
            json!([{"id": "1", "method": "POST", "url": "/users", "body": {}}]),
            json!([after("1", "2"), get("2")]),
            json!([get("1"), get("2"), after("3", "1")]),
        ] {
            let (status, _) = post(&client, &requests).await;
            assert_eq!(status, 400, "{requests}");
        }
        let (status, _) = post(
            &client,
            &json!([get("1"), after("2", "1"), after("3", "1")]),
        )
        .await;
        assert_eq!(status, 200, "all after the same one");
    }
}
