//! Azure Blob Storage.
#![cfg(feature = "azure")]

use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};

use super::{ObjectBackend, Secret, connection, refused};
use crate::error::Result;

/// Where a container is, and who we are there. Nothing is read from the environment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AzureOptions {
    /// The storage account.
    pub account: String,
    /// The container; it must exist.
    pub container: String,
    /// What stands before the names of the objects; may be empty.
    pub prefix: String,
    /// Who we are.
    pub credentials: AzureCredentials,
    /// Address of the account in another cloud, such as
    /// `https://account.blob.core.usgovcloudapi.net`.
    pub endpoint: Option<String>,
    /// Whether an `http://` endpoint is allowed: for tests on this machine.
    pub allow_http: bool,
}

/// Who we are at Azure.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum AzureCredentials {
    /// A key of the storage account.
    AccessKey(Secret),
    /// A shared access signature: the query string that begins with `sv=`.
    SharedAccessSignature(Secret),
    /// An application of the directory, and its secret.
    Application {
        /// The directory (tenant) id.
        tenant_id: String,
        /// The application (client) id.
        client_id: String,
        /// The application's secret.
        client_secret: Secret,
    },
    /// The machine's own identity, as its metadata service tells.
    ManagedIdentity,
}

impl AzureOptions {
    /// Names a container of the public cloud.
    pub fn new(
        account: impl Into<String>,
        container: impl Into<String>,
        prefix: impl Into<String>,
        credentials: AzureCredentials,
    ) -> Self {
        Self {
            account: account.into(),
            container: container.into(),
            prefix: prefix.into(),
            credentials,
            endpoint: None,
            allow_http: false,
        }
    }

    /// Makes the backend; nothing is sent yet.
    ///
    /// *Errors*: [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput).
    pub fn connect(&self) -> Result<ObjectBackend> {
        let (client, retry) = connection(self.allow_http);
        let mut builder = MicrosoftAzureBuilder::new()
            .with_account(&self.account)
            .with_container_name(&self.container)
            .with_client_options(client)
            .with_retry(retry);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.clone());
        }
        builder = match &self.credentials {
            AzureCredentials::AccessKey(key) => builder.with_access_key(key.text()),
            AzureCredentials::SharedAccessSignature(signature) => {
                let query = signature.text().trim_start_matches('?');
                builder.with_config(AzureConfigKey::SasKey, query)
            }
            // What is asked where nothing is configured.
            AzureCredentials::ManagedIdentity => builder,
            AzureCredentials::Application {
                tenant_id,
                client_id,
                client_secret,
            } => {
                builder.with_client_secret_authorization(client_id, client_secret.text(), tenant_id)
            }
        };
        let place = format!("azure://{}", self.container);
        let client = builder.build().map_err(|cause| refused(&place, &cause))?;
        ObjectBackend::new(client, "azure", &self.container, &self.prefix)
    }
}
