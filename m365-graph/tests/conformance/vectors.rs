//! Published values of the hash of drives.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use m365_graph::QuickXorHash;

use crate::{folder, read};

#[test]
fn every_published_hash_is_met() {
    let Some(folder) = folder() else { return };
    let file = read(folder.join("quickxorhash-vectors.json"));
    let vectors = file["vectors"].as_array().unwrap();
    for vector in vectors {
        let length = vector["len"].as_u64().unwrap();
        let input = match vector["inputBase64"].as_str() {
            Some(input) => STANDARD.decode(input).unwrap(),
            None => {
                assert_eq!(vector["pattern"], "i mod 251");
                (0..length)
                    .map(|i| u8::try_from(i % 251).unwrap())
                    .collect()
            }
        };
        assert_eq!(input.len() as u64, length);
        let mut hash = QuickXorHash::new();
        hash.update(&input);
        assert_eq!(
            hash.finish_base64(),
            vector["quickXorHash"].as_str().unwrap()
        );
    }
    println!("{} published hashes met", vectors.len());
    assert!(vectors.len() >= 20, "the file of vectors has shrunk");
}
