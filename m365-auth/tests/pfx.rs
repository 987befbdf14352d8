//! Certificates from PFX files.

#![allow(clippy::unwrap_used, reason = "tests")]
#![cfg(feature = "pfx")]

use m365_auth::{Certificate, ErrorKind, Secret};
use p12_keystore::{KeyStore, KeyStoreEntry, PrivateKey, PrivateKeyChain};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};

#[test]
fn a_pfx_file_holds_the_same_certificate_as_the_pem_text() {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let certificate = CertificateParams::default().self_signed(&key).unwrap();
    let pem = format!("{}{}", key.serialize_pem(), certificate.pem());
    let from_pem = Certificate::from_pem(pem.as_bytes()).unwrap();
    let chain = PrivateKeyChain::new(
        vec![1, 2, 3],
        PrivateKey::from_der(&key.serialize_der()).unwrap(),
        [p12_keystore::Certificate::from_der(certificate.der()).unwrap()],
    );
    let mut store = KeyStore::new();
    store.add_entry("mine", KeyStoreEntry::PrivateKeyChain(chain));
    let pfx = store.writer("canary").write().unwrap();
    let from_pfx = Certificate::from_pfx(&pfx, &Secret::new("canary")).unwrap();
    assert_eq!(from_pfx.thumbprint(), from_pem.thumbprint());
    assert_eq!(from_pfx.valid_until(), from_pem.valid_until());
    for (bytes, password) in [(&pfx[..], "wrong"), (&pfx[..50], "canary"), (b"", "canary")] {
        let error = Certificate::from_pfx(bytes, &Secret::new(password)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(!format!("{error:?}").contains("canary"));
    }
}
