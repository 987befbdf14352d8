//! Identity: from the config to credentials, and to the sign-ins of people that are kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use m365_auth::{
    Certificate, Credential, Environment, FileAssertion, ManagedIdentity, ManagedIdentityEndpoint,
    ManagedIdentityName, SealedTokenFile, Secret, SystemEnvironment, TokenProvider, TokenStore,
    Transport,
};

use super::state_base;
use crate::config::{App, Config, CredentialChoice, Machine, Person, SecretSource};
use crate::exit::Exit;
use crate::failure::{Failure, Result, from_auth};
use crate::{secrets, words};

/// Reads by what an app proves itself; a managed identity proves itself in another way.
pub(super) fn credential(app: &App) -> Result<Credential> {
    Ok(match &app.credential {
        CredentialChoice::Secret { source, .. } => {
            Credential::secret(secrets::read(source, "the client secret")?)
        }
        CredentialChoice::Certificate {
            certificate: path,
            key,
            password,
        } => Credential::certificate(certificate(path, key.as_deref(), password.as_ref())?),
        CredentialChoice::Federated(path) => {
            Credential::federated(Arc::new(FileAssertion::new(path)))
        }
        CredentialChoice::Machine(_) | CredentialChoice::Public => Credential::public(),
    })
}

/// Reads a certificate and its key: one PEM file, two, or a PFX file.
pub(crate) fn certificate(
    path: &Path,
    key: Option<&Path>,
    password: Option<&SecretSource>,
) -> Result<Certificate> {
    let read = |path: &Path| {
        fs::read(path).map_err(|error| Failure::file("read the certificate", path, &error))
    };
    let unusable = |error: m365_auth::Error| {
        let next = error.next_step().unwrap_or(
            "give a PEM file with the certificate, and the key in it or in `client-key`; or a PFX \
             file",
        );
        Failure::usage(format!("cannot use the certificate {}", path.display()))
            .because(&error)
            .next(next)
    };
    let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
    if extension == "pfx" || extension == "p12" {
        let password = password.map(|source| secrets::read(source, "the certificate's password"));
        let password = password.transpose()?.unwrap_or_else(|| Secret::new(""));
        return pfx(&read(path)?, &password).map_err(unusable);
    }
    if password.is_some() {
        return Err(
            Failure::usage("a password is given for a certificate that is no PFX file")
                .next("name a file that ends in .pfx or .p12, or leave the password out"),
        );
    }
    let mut pem = read(path)?;
    if let Some(key) = key {
        pem.push(b'\n');
        pem.extend(read(key)?);
    }
    Certificate::from_pem(&pem).map_err(unusable)
}

#[cfg(feature = "pfx")]
fn pfx(bytes: &[u8], password: &Secret) -> m365_auth::Result<Certificate> {
    Certificate::from_pfx(bytes, password)
}

#[cfg(not(feature = "pfx"))]
fn pfx(_: &[u8], _: &Secret) -> m365_auth::Result<Certificate> {
    let message = "this build of m365-backup reads no pfx files: the feature `pfx` is left out";
    Err(
        m365_auth::Error::new(m365_auth::ErrorKind::Configuration, message).with_next_step(
            "take a release package, or turn the file into PEM with openssl pkcs12",
        ),
    )
}

/// Prepares to ask the machine for tokens.
pub(super) fn machine(
    machine: Machine,
    client_id: Option<&str>,
    direct: Arc<dyn Transport>,
) -> Result<Arc<dyn TokenProvider>> {
    let endpoint = match machine {
        Machine::VirtualMachine => ManagedIdentityEndpoint::VirtualMachine,
        Machine::AppService => app_service()?,
    };
    let name = match client_id {
        Some(id) => ManagedIdentityName::ClientId(id.to_owned()),
        None => ManagedIdentityName::SystemAssigned,
    };
    ManagedIdentity::new(direct, endpoint, name, Arc::new(SystemEnvironment))
        .map(|identity| Arc::new(identity) as Arc<dyn TokenProvider>)
        .map_err(|error| from_auth("prepare the managed identity", &error))
}

/// Reads where App Service gives tokens.
#[allow(clippy::disallowed_methods, reason = "the cli reads the environment")]
fn app_service() -> Result<ManagedIdentityEndpoint> {
    let set = |name| {
        std::env::var(name).map_err(|_| {
            Failure::usage(format!("the environment variable {name} is not set"))
                .next("run it where App Service sets it, or use another credential")
        })
    };
    let url = set("IDENTITY_ENDPOINT")?.parse().map_err(|_| {
        Failure::usage("the environment variable IDENTITY_ENDPOINT holds no address")
    })?;
    let header = Secret::new(set("IDENTITY_HEADER")?);
    Ok(ManagedIdentityEndpoint::AppService { url, header })
}

/// Finds the file in which the sign-in of a person is kept.
pub(crate) fn token_file(config: &Config, person: &Person) -> Result<PathBuf> {
    match &person.token_file {
        Some(path) => Ok(path.clone()),
        None => Ok(base(config)?.join("tokens.sealed")),
    }
}

/// Opens the file in which sign-ins are kept.
///
/// `create` makes the key where there is none; else that means that nobody has signed in.
pub(crate) fn token_store(
    config: &Config,
    person: &Person,
    create: bool,
) -> Result<Arc<dyn TokenStore>> {
    let file = token_file(config, person)?;
    let key = match &person.token_key {
        Some(source) => read_key(&secrets::read(source, "the key of the token file")?)?,
        None => {
            let path = base(config)?.join("tokens.key");
            if !path.exists() {
                if !create {
                    return Err(nobody_signed_in(&person.account));
                }
                make_key(&path)?;
            }
            let source = SecretSource::File(path);
            read_key(&secrets::read(&source, "the key of the token file")?)?
        }
    };
    if create && let Some(folder) = file.parent() {
        fs::create_dir_all(folder)
            .map_err(|error| Failure::file("make the folder", folder, &error))?;
    }
    let environment = Arc::new(SystemEnvironment);
    Ok(Arc::new(SealedTokenFile::new(file, key, environment)))
}

fn base(config: &Config) -> Result<PathBuf> {
    state_base(config).ok_or_else(|| {
        Failure::usage("this platform names no folder for the state of programs")
            .next("set `state` in the config")
    })
}

fn nobody_signed_in(account: &str) -> Failure {
    Failure::new(
        Exit::LoginRefused,
        format!("{account} has not signed in on this machine"),
    )
    .next("sign in with: m365-backup auth login")
}

/// Writes a random key where only this account may read it.
fn make_key(path: &Path) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)
            .map_err(|error| Failure::file("make the folder", folder, &error))?;
    }
    let mut key = [0; 32];
    SystemEnvironment
        .fill(&mut key)
        .map_err(|error| from_auth("make the key of the token file", &error))?;
    secrets::write_private(path, "write the key of the token file", &words::hex(&key))
}

/// Reads 64 hexadecimal digits; anything shorter could be guessed.
fn read_key(text: &Secret) -> Result<[u8; 32]> {
    let digits = text.expose().trim().as_bytes();
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut key = [0; 32];
    let is_key = digits.len() == 64
        && key.iter_mut().zip(digits.chunks(2)).all(|(byte, pair)| {
            match (digit(pair[0]), digit(pair[1])) {
                (Some(high), Some(low)) => {
                    *byte = high << 4 | low;
                    true
                }
                _ => false,
            }
        });
    is_key.then_some(key).ok_or_else(|| {
        Failure::usage("the key of the token file is not 64 hexadecimal digits")
            .next("make one with: openssl rand -hex 32")
    })
}

#[cfg(test)]
mod tests {
    use m365_auth::Secret;

    use super::read_key;

    #[test]
    fn a_key_is_64_hexadecimal_digits_and_nothing_else() {
        let key = read_key(&Secret::new("0fA0".repeat(16))).unwrap();
        assert_eq!(key[..4], [0x0f, 0xa0, 0x0f, 0xa0]);
        for text in ["", "0f", &"0g".repeat(32), &"0f".repeat(33)] {
            assert!(read_key(&Secret::new(text)).is_err(), "{text}");
        }
    }
}
