//! Sections 3 to 8: config, keys, key slots, key epochs, small sealed objects.

use std::collections::BTreeMap;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};

use super::bytes::{Cursor, hex, inflate, unhex};
use super::{Answer, Hash, Objects};

/// 18: the version of the format.
const VERSION: u32 = 3;

/// What opens a store.
pub enum Secret {
    Passphrase(String),
    /// The text of a recovery code.
    RecoveryCode(String),
    /// The text of a key file.
    KeyFile(String),
}

/// All keys of a store.
pub struct Keys {
    pub store: [u8; 16],
    pub epoch: u32,
    pub recipient_key: Hash,
    /// 7: roots of epochs 0, 1, …
    pub roots: Vec<Hash>,
    pub chunk_id: Hash,
    pub chunker: Hash,
}

/// 4: derive(key, purpose; parts…).
pub fn derive(key: &[u8], purpose: &str, parts: &[&[u8]]) -> Hash {
    let mut message = key.to_vec();
    for part in parts {
        message.extend((part.len() as u64).to_le_bytes());
        message.extend(*part);
    }
    blake3::derive_key(&format!("m365-backup store 2026-11 {purpose}"), &message)
}

/// 5: the beginning of associated data.
pub fn context(store: &[u8; 16], kind: u8, name: &str, header: &[u8]) -> Vec<u8> {
    let mut bytes = b"m365-backup store".to_vec();
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(store);
    bytes.push(kind);
    bytes.extend((name.len() as u64).to_le_bytes());
    bytes.extend(name.as_bytes());
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend(header);
    bytes
}

/// 5: opens ciphertext and tag.
pub fn open(key: &Hash, nonce: &[u8; 12], aad: &[u8], sealed: &[u8]) -> Answer<Vec<u8>> {
    let payload = Payload { msg: sealed, aad };
    Aes256Gcm::new(&(*key).into())
        .decrypt(&Nonce::from(*nonce), payload)
        .map_err(|_| "it does not authenticate".to_owned())
}

/// 5: opens a message of a pack or a segment.
pub fn open_message(
    key: &Hash,
    nonce_key: &Hash,
    context: &[u8],
    (role, number, last): (u8, u32, bool),
    message: &[u8],
) -> Answer<Vec<u8>> {
    let mut cursor = Cursor::new(message);
    let nonce: [u8; 12] = cursor.array()?;
    let mut place = vec![role];
    place.extend(number.to_le_bytes());
    let mut aad = context.to_vec();
    aad.extend(&place);
    aad.push(u8::from(last));
    let plain = open(key, &nonce, &aad, &message[12..])?;
    place.extend(&plain);
    if blake3::keyed_hash(nonce_key, &place).as_bytes()[..12] != nonce {
        return Err("its nonce is not that of its content".to_owned());
    }
    Ok(plain)
}

impl Secret {
    fn kind(&self) -> u8 {
        match self {
            Self::Passphrase(_) => 1,
            Self::RecoveryCode(_) => 2,
            Self::KeyFile(_) => 3,
        }
    }

    /// 6: the recipient key.
    fn recipient_key(&self, store: &[u8; 16], salt: &[u8], costs: [u32; 3]) -> Answer<Hash> {
        let parts: [&[u8]; 2] = [store, salt];
        match self {
            Self::Passphrase(passphrase) => {
                let [memory, passes, lanes] = costs;
                let params = argon2::Params::new(memory, passes, lanes, Some(32))
                    .map_err(|cause| cause.to_string())?;
                let argon = argon2::Argon2::new(
                    argon2::Algorithm::Argon2id,
                    argon2::Version::V0x13,
                    params,
                );
                let mut key = [0; 32];
                argon
                    .hash_password_into(passphrase.as_bytes(), salt, &mut key)
                    .map_err(|cause| cause.to_string())?;
                Ok(key)
            }
            Self::RecoveryCode(text) => Ok(derive(
                &recovery_code(text)?,
                "recovery code recipient key",
                &parts,
            )),
            Self::KeyFile(text) => Ok(derive(&key_file(text)?, "key file recipient key", &parts)),
        }
    }
}

/// 6: the 20 bytes of a recovery code.
pub fn recovery_code(text: &str) -> Answer<Vec<u8>> {
    let alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let mut bits = String::new();
    for symbol in text
        .to_uppercase()
        .chars()
        .filter(|c| *c != '-' && !c.is_whitespace())
    {
        let symbol = match symbol {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        };
        let value = alphabet.find(symbol).ok_or("a strange symbol")?;
        bits.push_str(&format!("{value:05b}"));
    }
    if bits.len() != 180 {
        return Err("a recovery code has 36 symbols".to_owned());
    }
    let byte = |at: usize| u8::from_str_radix(&bits[at..at + 8], 2).map_err(|_| "no bits");
    let secret = (0..20)
        .map(|at| byte(at * 8))
        .collect::<Result<Vec<u8>, _>>()?;
    let context = "m365-backup store 2026-11 recovery code check";
    let check: String = blake3::derive_key(context, &secret)
        .iter()
        .map(|byte| format!("{byte:08b}"))
        .collect();
    if bits[160..] != check[..20] {
        return Err("the check of a recovery code does not match".to_owned());
    }
    Ok(secret)
}

/// 6: the 32 bytes of a key file.
pub fn key_file(text: &str) -> Answer<Vec<u8>> {
    let lines: Vec<&str> = text.lines().collect();
    let [first, key, last] = lines[..] else {
        return Err("a key file has three lines".to_owned());
    };
    let check = blake3::hash(format!("{first}\n{key}\n").as_bytes()).to_hex();
    if first != "m365-backup key file 1" || last != format!("blake3 {}", &check[..16]) {
        return Err("not a key file".to_owned());
    }
    unhex(key)
}

impl Keys {
    /// 7: opens the highest epoch.
    pub fn open(objects: &Objects, secret: &Secret) -> Answer<Self> {
        let config = objects.get("config").ok_or("there is no config")?;
        let store = read_config(config)?;
        let epochs = objects
            .keys()
            .filter_map(|name| name.strip_prefix("epochs/"));
        let epoch = epochs.filter_map(|number| number.parse::<u32>().ok()).max();
        let epoch = epoch.ok_or("there is no key epoch")?;
        let mut known = BTreeMap::new();
        for (name, slot) in objects {
            if !name.starts_with(&format!("keys/{epoch}.")) || slot.get(5) != Some(&secret.kind()) {
                continue;
            }
            let opened = open_slot(&store, epoch, name, slot, secret, &mut known)?;
            let Some((root, recipient_key)) = opened else {
                continue;
            };
            let name = format!("epochs/{epoch}");
            if let Some(plain) = open_epoch(&store, &name, &objects[&name], config, &root)? {
                let mut keys: Vec<Hash> = Vec::new();
                let mut cursor = Cursor::new(&plain);
                while !cursor.is_empty() {
                    keys.push(cursor.array()?);
                }
                if keys.len() != 2 + epoch as usize {
                    return Err("an epoch holds another number of keys".to_owned());
                }
                let mut roots = keys.split_off(2);
                roots.push(root);
                let (chunk_id, chunker) = (keys[0], keys[1]);
                return Ok(Self {
                    store,
                    epoch,
                    recipient_key,
                    roots,
                    chunk_id,
                    chunker,
                });
            }
        }
        Err("no key slot opens".to_owned())
    }

    pub fn content_key(&self, epoch: u32) -> Answer<Hash> {
        let root = self.roots.get(epoch as usize).ok_or("an unknown epoch")?;
        Ok(derive(
            root,
            "content key",
            &[&self.store, &epoch.to_le_bytes()],
        ))
    }

    pub fn catalog_key(&self, epoch: u32) -> Answer<Hash> {
        let root = self.roots.get(epoch as usize).ok_or("an unknown epoch")?;
        Ok(derive(
            root,
            "catalog key",
            &[&self.store, &epoch.to_le_bytes()],
        ))
    }

    pub fn chunk_name(&self, plain: &[u8]) -> Hash {
        blake3::keyed_hash(&self.chunk_id, plain).into()
    }

    pub fn boundary_key(&self) -> Hash {
        derive(&self.chunk_id, "tree boundary key", &[])
    }

    pub fn gear_key(&self) -> Hash {
        derive(&self.chunker, "chunker gear table", &[])
    }

    /// 8: opens a small sealed object.
    pub fn open_object(&self, kind: u8, name: &str, object: &[u8]) -> Answer<Vec<u8>> {
        let failed = |cause: String| format!("object {name}: {cause}");
        self.open_small(kind, name, object).map_err(failed)
    }

    fn open_small(&self, kind: u8, name: &str, object: &[u8]) -> Answer<Vec<u8>> {
        let mut cursor = Cursor::new(object);
        if cursor.take(8)? != [b'M', b'3', b'B', b'O', 1, kind, 0, 0] {
            return Err("a strange header".to_owned());
        }
        let catalog = self.catalog_key(cursor.u32()?)?;
        let (salt, commitment): (Hash, Hash) = (cursor.array()?, cursor.array()?);
        let parts: [&[u8]; 3] = [&[kind], name.as_bytes(), &salt];
        if derive(&catalog, "object commitment", &parts) != commitment {
            return Err("the commitment does not match".to_owned());
        }
        let mut aad = context(&self.store, kind, name, &object[..76]);
        aad.extend(0u64.to_le_bytes());
        aad.push(1);
        let key = derive(&catalog, "object key", &parts);
        let payload = open(&key, &[0; 12], &aad, &object[76..])?;
        let mut cursor = Cursor::new(&payload);
        let codec = cursor.u8()?;
        let (data, plain) = (cursor.u64()? as usize, cursor.u64()? as usize);
        let data = cursor.take(data)?;
        inflate(codec, data, plain)
    }
}

/// 3: the store id.
fn read_config(config: &[u8]) -> Answer<[u8; 16]> {
    let text = std::str::from_utf8(config).map_err(|_| "config is no text")?;
    let lines: Vec<&str> = text.lines().collect();
    let [first, json, last] = lines[..] else {
        return Err("config has three lines".to_owned());
    };
    let hash = blake3::hash(format!("{first}\n{json}\n").as_bytes());
    if first != format!("m365-backup-store {VERSION}")
        || last != format!("blake3 {}", hash.to_hex())
    {
        return Err("config is of another version, or damaged".to_owned());
    }
    let at = json
        .find("\"store_id\":\"")
        .ok_or("config has no store id")?
        + 12;
    let id = unhex(&json[at..at + 32])?;
    id.try_into().map_err(|_| "a strange store id".to_owned())
}

/// 6: the root and the recipient key, if the slot is for this secret.
fn open_slot(
    store: &[u8; 16],
    epoch: u32,
    name: &str,
    slot: &[u8],
    secret: &Secret,
    known: &mut BTreeMap<Vec<u8>, Hash>,
) -> Answer<Option<(Hash, Hash)>> {
    if slot.len() != 305 || blake3::hash(&slot[..273]).as_bytes()[..] != slot[273..] {
        return Err(format!("object {name}: damaged"));
    }
    let mut cursor = Cursor::new(slot);
    if cursor.take(8)? != [b'M', b'3', b'B', b'K', 1, secret.kind(), 0, 0] || cursor.u32()? != epoch
    {
        return Err(format!("object {name}: a strange header"));
    }
    cursor.take(16)?;
    let costs = [cursor.u32()?, cursor.u32()?, cursor.u32()?];
    let recipient_salt = cursor.take(32)?;
    let slot_salt = cursor.take(32)?;
    let key = match known.get(&slot[12..72]) {
        Some(key) => *key,
        None => secret.recipient_key(store, recipient_salt, costs)?,
    };
    known.insert(slot[12..72].to_vec(), key);
    if derive(&key, "slot commitment", &[slot_salt]) != slot[104..136] {
        return Ok(None);
    }
    let mut aad = context(store, 1, name, &slot[..104]);
    aad.push(0);
    let wrap = derive(&key, "slot wrap key", &[slot_salt]);
    let root = open(&wrap, &[0; 12], &aad, &slot[136..184])?;
    let root: Hash = root.try_into().map_err(|_| "a strange root")?;
    *aad.last_mut().ok_or("no associated data")? = 1;
    let label = derive(&root, "slot info key", &[slot_salt]);
    open(&label, &[0; 12], &aad, &slot[184..273])
        .map_err(|_| format!("object {name}: its label"))?;
    Ok(Some((root, key)))
}

/// 7: what an epoch object holds, if this is its root.
fn open_epoch(
    store: &[u8; 16],
    name: &str,
    object: &[u8],
    config: &[u8],
    root: &Hash,
) -> Answer<Option<Vec<u8>>> {
    let body = object
        .len()
        .checked_sub(32)
        .ok_or("an epoch is too short")?;
    if blake3::hash(&object[..body]).as_bytes()[..] != object[body..] {
        return Err(format!("object {name}: damaged"));
    }
    if !object.starts_with(&[b'M', b'3', b'B', b'E', 1, 0, 0, 0]) {
        return Err(format!("object {name}: a strange header"));
    }
    let salt = &object[12..44];
    if derive(root, "root commitment", &[salt]) != object[44..76] {
        return Ok(None);
    }
    let mut aad = context(store, 2, name, &object[..76]);
    aad.extend(blake3::hash(config).as_bytes());
    let key = derive(root, "epoch wrap key", &[salt]);
    let plain = open(&key, &[0; 12], &aad, &object[76..body]);
    plain
        .map(Some)
        .map_err(|cause| format!("object {name}: {cause} ({})", hex(salt)))
}
