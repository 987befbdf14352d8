//! A client for tests of this crate: requests as JSON, answers as JSON.

use bytes::Bytes;
use http::{Request, Response};
use serde_json::Value;

use super::ByteStream;
use crate::tenant::Tenant;

/// A tenant with a token for Graph.
pub(crate) struct Client {
    pub(crate) tenant: Tenant,
    pub(crate) token: String,
    /// Whether ids that survive moves are asked for.
    pub(crate) immutable: bool,
}

impl Client {
    pub(crate) async fn new(tenant: Tenant) -> Self {
        let app = tenant.app();
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}&scope={}.default",
            app.client_id,
            app.client_secret,
            tenant.urls().graph
        );
        let (status, answer) = login(&tenant, &app.tenant_id, form).await;
        assert_eq!(status, 200, "{answer}");
        let token = answer["access_token"].as_str().expect("a token").to_owned();
        Self {
            tenant,
            token,
            immutable: true,
        }
    }

    pub(crate) async fn raw(&self, request: Request<Bytes>) -> (u16, http::HeaderMap, Bytes) {
        whole(self.tenant.handle(request).await.expect("an answer")).await
    }

    /// Sends a request with a token and reads the answer as JSON; `path` may be a whole address.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let (status, bytes) = self.bytes(method, path, &body).await;
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    pub(crate) async fn bytes(&self, method: &str, path: &str, body: &Value) -> (u16, Bytes) {
        let url = match path.starts_with("http") {
            true => path.to_owned(),
            false => format!("{}v1.0{path}", self.tenant.urls().graph),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(url)
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json");
        if self.immutable {
            request = request.header("prefer", "IdType=\"ImmutableId\", odata.maxpagesize=3");
        }
        let body = match body {
            Value::Null => Bytes::new(),
            body => Bytes::from(body.to_string()),
        };
        let (status, _, bytes) = self.raw(request.body(body).expect("a request")).await;
        (status, bytes)
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.call("GET", path, Value::Null).await
    }
}

/// Posts a form to the token endpoint.
pub(crate) async fn login(tenant: &Tenant, name: &str, form: String) -> (u16, Value) {
    let url = format!("{}{name}/oauth2/v2.0/token", tenant.urls().login);
    let request = Request::post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Bytes::from(form))
        .expect("a request");
    let answer = tenant.handle(request).await.expect("an answer");
    let (status, _, bytes) = whole(answer).await;
    (status, serde_json::from_slice(&bytes).expect("json"))
}

async fn whole(answer: Response<ByteStream>) -> (u16, http::HeaderMap, Bytes) {
    let (head, body) = answer.into_parts();
    let bytes = body.collect().await.expect("a whole body");
    (head.status.as_u16(), head.headers, bytes)
}
