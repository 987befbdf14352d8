//! Rounds: which parts travel together, how their answers are read, which of them go again.

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use m365_auth::Charge;
use serde_json::{Map, Value, json};

use super::{PARTS_MAX, PartAnswer, Prepared, invalid};
use crate::client::{GraphClient, Read, Repeat, segment};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::together;
use crate::{odata, retry_after};

/// Refuses dependencies that the service does not take.
pub(super) fn check_order(parts: &[Prepared]) -> Result<()> {
    if parts.iter().all(|part| part.after.is_none()) {
        return Ok(());
    }
    if parts.len() > PARTS_MAX {
        return Err(invalid(
            "more than twenty parts of a batch depend on each other",
        ));
    }
    let follows = |number: usize, other: usize| parts[number].after == Some(other);
    let serial = (1..parts.len()).all(|number| follows(number, number - 1));
    let same = (1..parts.len()).all(|number| follows(number, 0));
    if serial || same {
        return Ok(());
    }
    Err(invalid(
        "the parts of a batch depend on each other in a mixed order",
    ))
}

/// Sends parts until each has its answer.
pub(super) async fn settle(
    client: &GraphClient,
    parts: &[Prepared],
    numbers: &[usize],
    answers: &mut [Option<Result<PartAnswer>>],
) {
    let mut open = numbers.to_vec();
    let mut attempt = 1;
    while !open.is_empty() {
        let outcomes = exchange(client, parts, &open, answers).await;
        let mut wait = Duration::ZERO;
        let mut again = Vec::new();
        for (number, outcome) in open.iter().copied().zip(outcomes) {
            let waited = parts[number].after;
            let with_other = waited.is_some_and(|other| again.contains(&other));
            match outcome {
                // What it waits for goes again, so it goes again.
                Err(error) if error.kind() == ErrorKind::DependencyFailed && with_other => {
                    again.push(number);
                }
                Err(error) if parts[number].call.may_repeat(&error) => {
                    match client.delay(attempt, &error) {
                        Some(delay) => {
                            wait = wait.max(delay);
                            again.push(number);
                        }
                        None => answers[number] = Some(Err(error)),
                    }
                }
                settled => answers[number] = Some(settled),
            }
        }
        if !again.is_empty() {
            tracing::debug!(
                attempt,
                parts = again.len(),
                "trying parts of a batch again"
            );
            tokio::time::sleep(wait).await;
        }
        open = again;
        attempt += 1;
    }
}

/// Sends the open parts once; returns an outcome for each.
async fn exchange(
    client: &GraphClient,
    parts: &[Prepared],
    open: &[usize],
    answers: &[Option<Result<PartAnswer>>],
) -> Vec<Result<PartAnswer>> {
    const ABOUT: &str = "the batch";
    let requests: Vec<Value> = open
        .iter()
        .map(|number| render(client, parts, *number, open, answers))
        .collect();
    let all_safe = open
        .iter()
        .all(|number| parts[*number].call.repeats() == Repeat::Safe);
    let envelope = client
        .call(ABOUT, Method::POST, &[segment("$batch")])
        .map(|call| {
            let repeat = if all_safe {
                Repeat::Safe
            } else {
                Repeat::Creates
            };
            let charges: Vec<Charge> = open
                .iter()
                .map(|number| parts[*number].call.charge(client))
                .collect();
            call.repeat(repeat)
                .charged(together(&charges))
                .json(&json!({"requests": requests}))
        });
    let answer = match envelope {
        Ok(call) => client.execute_once(&call, Read::Json).await,
        Err(error) => Err(error),
    };
    let listed = match &answer {
        Ok(answer) => answer.json.get("responses").and_then(Value::as_array),
        Err(error) => return open.iter().map(|_| Err(error.copied())).collect(),
    };
    let Some(listed) = listed else {
        let malformed = || Error::new(ErrorKind::Malformed, format!("{ABOUT}: it has no answers"));
        return open.iter().map(|_| Err(malformed())).collect();
    };
    let read = |number: &usize| {
        let about = parts[*number].call.about();
        let id = number.to_string();
        let found = listed
            .iter()
            .find(|answer| answer.get("id").and_then(Value::as_str) == Some(&id));
        match found {
            Some(answer) => outcome(client, about, answer),
            None => Err(Error::new(
                ErrorKind::Transport,
                "the batch has no answer to it",
            )),
        }
        .map_err(|error| error.about(about))
    };
    open.iter().map(read).collect()
}

/// Writes one part as the service wants it.
fn render(
    client: &GraphClient,
    parts: &[Prepared],
    number: usize,
    open: &[usize],
    answers: &[Option<Result<PartAnswer>>],
) -> Value {
    let part = &parts[number];
    let mut headers = Map::new();
    headers.insert("Prefer".to_owned(), json!(part.call.preferences()));
    let mut request = json!({
        "id": number.to_string(),
        "method": part.call.method().as_str(),
        "url": client.relative(&part.call),
    });
    if let Some(body) = part.call.json_body() {
        headers.insert("Content-Type".to_owned(), json!("application/json"));
        request["body"] = body;
    }
    request["headers"] = Value::Object(headers);
    // What has succeeded in an earlier round is no longer waited for.
    let waits = part
        .after
        .filter(|other| open.contains(other) && answers[*other].is_none());
    if let Some(other) = waits {
        request["dependsOn"] = json!([other.to_string()]);
    }
    request
}

/// Reads the answer to one part.
fn outcome(client: &GraphClient, about: &'static str, answer: &Value) -> Result<PartAnswer> {
    let status = answer
        .get("status")
        .and_then(Value::as_u64)
        .and_then(|status| u16::try_from(status).ok())
        .and_then(|status| StatusCode::from_u16(status).ok())
        .ok_or_else(|| {
            Error::new(
                ErrorKind::Malformed,
                "its answer in the batch has no status",
            )
        })?;
    let headers = headers(answer);
    client.options().observe(about, &headers);
    let body = answer.get("body").cloned().unwrap_or(Value::Null);
    if status.is_success() || status.is_redirection() {
        return Ok(PartAnswer {
            status,
            headers,
            body,
        });
    }
    if status == StatusCode::FAILED_DEPENDENCY {
        let message = "a part of the batch that it waits for has failed";
        return Err(Error::new(ErrorKind::DependencyFailed, message).with_status(status));
    }
    let error = odata::error(status, &headers, body.to_string().as_bytes());
    let refused = matches!(status.as_u16(), 429 | 503);
    let hint = retry_after::hint(&headers, refused, client.options().environment.now());
    Err(match hint {
        Some(wait) => error.with_retry_after(wait),
        None => error,
    })
}

fn headers(answer: &Value) -> HeaderMap {
    let given = answer.get("headers").and_then(Value::as_object);
    let pairs = given.into_iter().flatten().filter_map(|(name, value)| {
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_str(&text).ok()?))
    });
    let mut headers: HeaderMap = pairs.collect();
    headers
        .entry(CONTENT_TYPE)
        .or_insert(HeaderValue::from_static("application/json"));
    headers
}
