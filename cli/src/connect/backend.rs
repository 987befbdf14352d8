//! Backends: from the place of a store to what keeps its objects there.
//!
//! Credentials of the object stores come from the environment, under the names that the tools of
//! each provider use; where none are set, the machine's own role is asked.

use std::sync::Arc;

use backup_store::backend::BackendPlace;
#[cfg(any(feature = "s3", feature = "azure", feature = "gcs"))]
use backup_store::backend::{BackendRetry, BucketPlace, ObjectBackend, RetryBackend, Secret};
use backup_store::{Backend, ErrorKind, LocalBackend};

use crate::failure::{Failure, Result, from_store, no_store};

/// Opens what keeps the objects of the store in `place`; nothing of an object store is asked yet.
pub(crate) fn open_backend(place: &BackendPlace) -> Result<Arc<dyn Backend>> {
    match place {
        BackendPlace::Directory(path) => match LocalBackend::open(path) {
            Ok(backend) => Ok(Arc::new(backend)),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(no_store(place, &error)),
            Err(error) => Err(from_store("open", place, &error)),
        },
        _ => connect(place),
    }
}

/// Makes what will keep the objects of a new store in `place`; a bucket must exist already.
pub(crate) fn create_backend(place: &BackendPlace) -> Result<Arc<dyn Backend>> {
    match place {
        BackendPlace::Directory(path) => LocalBackend::create(path)
            .map(|backend| Arc::new(backend) as Arc<dyn Backend>)
            .map_err(|error| from_store("create", place, &error)),
        _ => connect(place),
    }
}

fn connect(place: &BackendPlace) -> Result<Arc<dyn Backend>> {
    match place {
        BackendPlace::Directory(_) => open_backend(place),
        #[cfg(feature = "s3")]
        BackendPlace::S3(bucket) => retried(place, s3(bucket)),
        #[cfg(feature = "azure")]
        BackendPlace::Azure(container) => retried(place, azure(container)?),
        #[cfg(feature = "gcs")]
        BackendPlace::Gcs(bucket) => retried(place, gcs(bucket)?),
        #[cfg(not(feature = "s3"))]
        BackendPlace::S3(_) => Err(not_built_in(place, "s3")),
        #[cfg(not(feature = "azure"))]
        BackendPlace::Azure(_) => Err(not_built_in(place, "azure")),
        #[cfg(not(feature = "gcs"))]
        BackendPlace::Gcs(_) => Err(not_built_in(place, "gcs")),
        _ => Err(Failure::usage(format!(
            "this program knows no stores in places like {place}"
        ))),
    }
}

/// Explains that a feature is not compiled in.
#[cfg(not(all(feature = "s3", feature = "azure", feature = "gcs")))]
fn not_built_in(place: &BackendPlace, feature: &str) -> Failure {
    Failure::usage(format!(
        "this build of m365-backup has no access to {place}: the feature `{feature}` is left out"
    ))
    .next(format!(
        "take a release package, or build it: cargo build --release --features {feature}"
    ))
}

/// Asks again what failed and may pass.
#[cfg(any(feature = "s3", feature = "azure", feature = "gcs"))]
fn retried(
    place: &BackendPlace,
    connected: backup_store::Result<ObjectBackend>,
) -> Result<Arc<dyn Backend>> {
    let backend = connected.map_err(|error| from_store("reach", place, &error))?;
    let environment = Arc::new(backup_store::SystemEnvironment);
    Ok(Arc::new(RetryBackend::new(
        Arc::new(backend),
        BackendRetry::default(),
        environment,
    )))
}

/// *Source* of the names: the AWS command line (credentials, region, endpoint).
#[cfg(feature = "s3")]
fn s3(place: &BucketPlace) -> backup_store::Result<ObjectBackend> {
    use backup_store::backend::S3Options;

    let mut options = match (set("AWS_ACCESS_KEY_ID"), set("AWS_SECRET_ACCESS_KEY")) {
        (Some(id), Some(key)) => S3Options::new(&place.bucket, &place.prefix, id, Secret::new(key)),
        _ => S3Options::of_this_machine(&place.bucket, &place.prefix),
    };
    options.session_token = set("AWS_SESSION_TOKEN").map(Secret::new);
    options.region = set("AWS_REGION").or_else(|| set("AWS_DEFAULT_REGION"));
    options.endpoint = set("AWS_ENDPOINT_URL_S3").or_else(|| set("AWS_ENDPOINT_URL"));
    options.allow_http = set("AWS_ALLOW_HTTP").is_some_and(|word| word == "true");
    options.virtual_hosted = set("AWS_VIRTUAL_HOSTED_STYLE_REQUEST").is_some_and(|w| w == "true");
    options.connect()
}

/// *Source* of the names: the Azure command line and identity libraries.
#[cfg(feature = "azure")]
fn azure(place: &BucketPlace) -> Result<backup_store::Result<ObjectBackend>> {
    use backup_store::backend::{AzureCredentials, AzureOptions};

    let account = set("AZURE_STORAGE_ACCOUNT").or_else(|| set("AZURE_STORAGE_ACCOUNT_NAME"));
    let account = account.ok_or_else(|| {
        Failure::usage("the storage account of the container is not known")
            .next("set AZURE_STORAGE_ACCOUNT")
    })?;
    let key = set("AZURE_STORAGE_KEY").or_else(|| set("AZURE_STORAGE_ACCOUNT_KEY"));
    let application = || {
        Some(AzureCredentials::Application {
            tenant_id: set("AZURE_TENANT_ID")?,
            client_id: set("AZURE_CLIENT_ID")?,
            client_secret: Secret::new(set("AZURE_CLIENT_SECRET")?),
        })
    };
    let credentials = match (key, set("AZURE_STORAGE_SAS_TOKEN")) {
        (Some(key), _) => AzureCredentials::AccessKey(Secret::new(key)),
        (None, Some(signature)) => AzureCredentials::SharedAccessSignature(Secret::new(signature)),
        (None, None) => application().unwrap_or(AzureCredentials::ManagedIdentity),
    };
    let mut options = AzureOptions::new(account, &place.bucket, &place.prefix, credentials);
    options.endpoint = set("AZURE_STORAGE_ENDPOINT");
    options.allow_http = set("AZURE_ALLOW_HTTP").is_some_and(|word| word == "true");
    Ok(options.connect())
}

/// *Source* of the name: Google's application default credentials.
#[cfg(feature = "gcs")]
fn gcs(place: &BucketPlace) -> Result<backup_store::Result<ObjectBackend>> {
    use backup_store::backend::GcsOptions;

    let (bucket, prefix) = (&place.bucket, &place.prefix);
    let options = match set("GOOGLE_APPLICATION_CREDENTIALS") {
        Some(path) => {
            let path = std::path::Path::new(&path);
            let key = std::fs::read_to_string(path)
                .map_err(|error| Failure::file("read the service account key", path, &error))?;
            GcsOptions::new(bucket, prefix, Secret::new(key))
        }
        None => GcsOptions::of_this_machine(bucket, prefix),
    };
    Ok(options.connect())
}

#[cfg(any(feature = "s3", feature = "azure", feature = "gcs"))]
#[allow(clippy::disallowed_methods, reason = "the cli reads the environment")]
fn set(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use backup_store::backend::BackendPlace;

    use super::open_backend;

    #[test]
    #[cfg(not(feature = "s3"))]
    fn a_place_whose_feature_is_left_out_names_the_feature() {
        let place = BackendPlace::parse("s3://bucket/contoso").unwrap();
        let failure = open_backend(&place).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "this build of m365-backup has no access to s3://bucket/contoso: the feature `s3` is \
             left out\n  next:  take a release package, or build it: cargo build --release \
             --features s3"
        );
        assert_eq!(failure.exit().code(), 2);
    }

    #[test]
    fn a_folder_that_is_not_there_is_no_store() {
        let place = BackendPlace::parse("/nowhere/at/all").unwrap();
        assert_eq!(open_backend(&place).unwrap_err().exit().code(), 10);
    }
}
