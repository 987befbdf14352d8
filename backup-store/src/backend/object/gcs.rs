//! Google Cloud Storage.
#![cfg(feature = "gcs")]

use object_store::gcp::GoogleCloudStorageBuilder;

use super::{ObjectBackend, Secret, connection, refused};
use crate::error::Result;

/// Where a bucket is, and who we are there. Nothing is read from the environment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct GcsOptions {
    /// The bucket; it must exist.
    pub bucket: String,
    /// What stands before the names of the objects; may be empty.
    pub prefix: String,
    /// The key of a service account, as the JSON text that the console hands out; empty where the
    /// machine's own account is asked.
    pub service_account_key: Secret,
    /// Address of a service other than Google's: for tests on this machine, `http://` allowed.
    pub endpoint: Option<String>,
}

impl GcsOptions {
    /// Names a bucket.
    pub fn new(
        bucket: impl Into<String>,
        prefix: impl Into<String>,
        service_account_key: Secret,
    ) -> Self {
        Self {
            bucket: bucket.into(),
            prefix: prefix.into(),
            service_account_key,
            endpoint: None,
        }
    }

    /// Names a bucket that the machine's own account opens, as its metadata service tells.
    pub fn of_this_machine(bucket: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self::new(bucket, prefix, Secret::new(""))
    }

    /// Makes the backend; nothing is sent yet.
    ///
    /// *Errors*: [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput).
    pub fn connect(&self) -> Result<ObjectBackend> {
        let (client, retry) = connection(self.endpoint.is_some());
        let mut builder = GoogleCloudStorageBuilder::new()
            .with_bucket_name(&self.bucket)
            .with_client_options(client)
            .with_retry(retry);
        if !self.service_account_key.text().is_empty() {
            builder = builder.with_service_account_key(self.service_account_key.text());
        }
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_base_url(endpoint).with_skip_signature(true);
        }
        let place = format!("gs://{}", self.bucket);
        let client = builder.build().map_err(|cause| refused(&place, &cause))?;
        ObjectBackend::new(client, "gs", &self.bucket, &self.prefix)
    }
}
