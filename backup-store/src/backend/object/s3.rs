//! Amazon S3, and services that speak its protocol.
#![cfg(feature = "s3")]

use object_store::aws::{AmazonS3Builder, S3ConditionalPut};

use super::{ObjectBackend, Secret, connection, refused};
use crate::error::Result;

/// Where a bucket is, and who we are there. Nothing is read from the environment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct S3Options {
    /// The bucket; it must exist.
    pub bucket: String,
    /// What stands before the names of the objects; may be empty.
    pub prefix: String,
    /// The region; where there is none, `us-east-1` is sent.
    pub region: Option<String>,
    /// Address of a service other than Amazon's, such as `https://s3.example.com`.
    pub endpoint: Option<String>,
    /// The id of the access key; empty where the machine's own role is asked for keys.
    pub access_key_id: String,
    /// The access key.
    pub secret_access_key: Secret,
    /// The token of temporary credentials.
    pub session_token: Option<Secret>,
    /// Whether the bucket is part of the host name, instead of the path.
    pub virtual_hosted: bool,
    /// Whether an `http://` endpoint is allowed: for tests on this machine.
    pub allow_http: bool,
}

impl S3Options {
    /// Names a bucket of Amazon S3.
    pub fn new(
        bucket: impl Into<String>,
        prefix: impl Into<String>,
        access_key_id: impl Into<String>,
        secret_access_key: Secret,
    ) -> Self {
        Self {
            bucket: bucket.into(),
            prefix: prefix.into(),
            region: None,
            endpoint: None,
            access_key_id: access_key_id.into(),
            secret_access_key,
            session_token: None,
            virtual_hosted: false,
            allow_http: false,
        }
    }

    /// Names a bucket that the machine's own role opens: that of the instance, as its metadata
    /// service tells.
    pub fn of_this_machine(bucket: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self::new(bucket, prefix, "", Secret::new(""))
    }

    /// Makes the backend; nothing is sent yet.
    ///
    /// *Errors*: [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput).
    pub fn connect(&self) -> Result<ObjectBackend> {
        let (client, retry) = connection(self.allow_http);
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&self.bucket)
            .with_region(self.region.as_deref().unwrap_or("us-east-1"))
            .with_virtual_hosted_style_request(self.virtual_hosted)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_client_options(client)
            .with_retry(retry);
        if !self.access_key_id.is_empty() {
            builder = builder
                .with_access_key_id(&self.access_key_id)
                .with_secret_access_key(self.secret_access_key.text());
        }
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(token) = &self.session_token {
            builder = builder.with_token(token.text());
        }
        let place = format!("s3://{}", self.bucket);
        let client = builder.build().map_err(|cause| refused(&place, &cause))?;
        ObjectBackend::new(client, "s3", &self.bucket, &self.prefix)
    }
}
