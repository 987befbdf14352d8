//! Recording: what passes between a tenant and whoever speaks to it.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "tests")]

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request};
use m365_auth::{ServiceTransport, Transport};
use m365_simulator::{ByteStream, Tenant};
use serde_json::Value;

use crate::description::{Description, Operation};

/// One request with its answer; a part of a batch is one as well.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub method: String,
    /// Below the version, decoded; `{uploadUrl}` and the like where the service made the address.
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub sent: Bytes,
    pub status: u16,
    pub answer: Option<Value>,
}

impl Exchange {
    /// Returns the JSON that was sent, where it was JSON.
    pub fn request(&self) -> Option<Value> {
        serde_json::from_slice(&self.sent).ok()
    }

    /// Finds the operation of the description that it belongs to.
    pub fn operation<'d>(&self, description: &'d Description) -> Option<Operation<'d>> {
        // An item named by its parent and name is described under its id alone.
        let path = match self.path.split_once(":/") {
            Some((item, name)) if !name.contains(':') => item,
            _ => &self.path,
        };
        description.operation(&self.method, path)
    }

    /// Names the operation as the published samples do.
    pub fn name(&self, description: &Description) -> String {
        match self.operation(description) {
            Some(operation) => operation.name(),
            None => format!("{} {}", self.method, self.path),
        }
    }
}

/// All that passes, by whichever of its transports.
#[derive(Clone, Default)]
pub struct Recording(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    exchanges: Vec<Exchange>,
    /// Addresses that the service made, and how samples name them.
    made: Vec<(String, &'static str)>,
}

impl Recording {
    /// Returns a transport to the tenant, all of whose exchanges are kept.
    pub fn transport(&self, tenant: &Tenant) -> Arc<dyn Transport> {
        let (recording, tenant) = (self.clone(), tenant.clone());
        Arc::new(ServiceTransport::new(move |request: Request<Bytes>| {
            let (recording, tenant) = (recording.clone(), tenant.clone());
            async move {
                let asked = request.clone();
                let (head, answer) = tenant.handle(request).await?.into_parts();
                let answer = answer.collect().await?;
                let location = head.headers.get("location");
                let location = location.and_then(|text| text.to_str().ok());
                recording.keep(&tenant, asked, head.status.as_u16(), &answer, location);
                Ok(http::Response::from_parts(
                    head,
                    ByteStream::from_bytes(answer),
                ))
            }
        }))
    }

    pub fn exchanges(&self) -> Vec<Exchange> {
        self.0.lock().unwrap().exchanges.clone()
    }

    fn keep(
        &self,
        tenant: &Tenant,
        request: Request<Bytes>,
        status: u16,
        answer: &Bytes,
        location: Option<&str>,
    ) {
        let mut state = self.0.lock().unwrap();
        let answer: Option<Value> = serde_json::from_slice(answer).ok();
        let (head, sent) = request.into_parts();
        let uri = head.uri;
        let address = uri.to_string();
        let made = state.made.iter().find(|(made, _)| address == *made);
        let path = if uri.host() == tenant.urls().graph.host_str() {
            let path = percent_encoding::percent_decode_str(uri.path());
            let path = path.decode_utf8().unwrap().into_owned();
            path.trim_start_matches("/v1.0").to_owned()
        } else if let Some((_, name)) = made {
            (*name).to_owned()
        } else {
            return;
        };
        let value = answer.clone().unwrap_or_default();
        let names = [("uploadUrl", "{uploadUrl}"), ("importUrl", "{importUrl}")];
        for (member, name) in names {
            if let Some(made) = value[member].as_str() {
                // As the client will write it.
                let made = url::Url::parse(made).unwrap().to_string();
                state.made.push((made, name));
            }
        }
        if let Some(location) = location.filter(|_| status == 302) {
            state.made.push((location.to_owned(), "{download}"));
        }
        let whole = Exchange {
            method: head.method.to_string(),
            path,
            query: uri.query().unwrap_or_default().to_owned(),
            headers: head.headers,
            sent,
            status,
            answer,
        };
        if whole.path == "/$batch" {
            state.exchanges.extend(parts(&whole));
        }
        state.exchanges.push(whole);
    }
}

/// Takes a batch apart.
fn parts(batch: &Exchange) -> Vec<Exchange> {
    let asked = batch.request().unwrap_or_default()["requests"].take();
    let answered = batch.answer.clone().unwrap_or_default()["responses"].take();
    let (Some(asked), Some(answers)) = (asked.as_array(), answered.as_array()) else {
        return Vec::new();
    };
    let part = |asked: &Value| {
        let answer = answers.iter().find(|answer| answer["id"] == asked["id"]);
        let answer = answer.cloned().unwrap_or_default();
        let address = asked["url"].as_str().unwrap();
        let (path, query) = address.split_once('?').unwrap_or((address, ""));
        let path = percent_encoding::percent_decode_str(path).decode_utf8();
        let body = &asked["body"];
        let sent = if body.is_null() {
            Bytes::new()
        } else {
            body.to_string().into()
        };
        Exchange {
            method: asked["method"].as_str().unwrap().to_owned(),
            path: path.unwrap().into_owned(),
            query: query.to_owned(),
            headers: HeaderMap::new(),
            sent,
            status: u16::try_from(answer["status"].as_u64().unwrap_or_default()).unwrap(),
            answer: answer.get("body").cloned(),
        }
    };
    asked.iter().map(part).collect()
}
