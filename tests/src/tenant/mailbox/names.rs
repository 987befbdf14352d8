//! Names of a mailbox: ids that carry their own check, change keys, well-known folders by language.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use crate::tenant::ids;

/// In place of the number of moves, in ids that survive moves.
pub(crate) const IMMUTABLE: u32 = u32::MAX;

const IMMUTABLE_PREFIX: &str = "AAkALgAAAAAAHYQDEapmEc2byACqAC-EWg0A";
const MUTABLE_PREFIX: &str = "AAMkADNhMmI0ZTk1LTg5";

/// What an id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Folder,
    Message,
}

/// The folders that every mailbox has: well-known name, hidden, names in several languages.
/// *Source*: Microsoft Graph, mailFolder resource type; the names in other languages are those of Outlook.
pub(crate) const WELL_KNOWN: [(&str, bool, [&str; 4]); 11] = [
    (
        "msgfolderroot",
        false,
        [
            "Top of Information Store",
            "Oberste Ebene des Informationsspeichers",
            "Haut de la banque d'informations",
            "インフォメーション ストアの先頭",
        ],
    ),
    (
        "inbox",
        false,
        ["Inbox", "Posteingang", "Boîte de réception", "受信トレイ"],
    ),
    (
        "drafts",
        false,
        ["Drafts", "Entwürfe", "Brouillons", "下書き"],
    ),
    (
        "sentitems",
        false,
        [
            "Sent Items",
            "Gesendete Elemente",
            "Éléments envoyés",
            "送信済みアイテム",
        ],
    ),
    (
        "deleteditems",
        false,
        [
            "Deleted Items",
            "Gelöschte Elemente",
            "Éléments supprimés",
            "削除済みアイテム",
        ],
    ),
    (
        "junkemail",
        false,
        [
            "Junk Email",
            "Junk-E-Mail",
            "Courrier indésirable",
            "迷惑メール",
        ],
    ),
    (
        "outbox",
        false,
        ["Outbox", "Postausgang", "Boîte d'envoi", "送信トレイ"],
    ),
    (
        "archive",
        false,
        ["Archive", "Archiv", "Archives", "アーカイブ"],
    ),
    (
        "conversationhistory",
        false,
        [
            "Conversation History",
            "Unterhaltungsverlauf",
            "Historique des conversations",
            "会話の履歴",
        ],
    ),
    (
        "syncissues",
        true,
        [
            "Sync Issues",
            "Synchronisierungsprobleme",
            "Problèmes de synchronisation",
            "同期の失敗",
        ],
    ),
    (
        "scheduled",
        true,
        ["Scheduled", "Geplant", "Planifié", "スケジュール済み"],
    ),
];

/// Returns the id of a message.
pub(crate) fn message_id(seed: u64, serial: u32, moves: u32, immutable: bool) -> String {
    if immutable {
        encode(seed, IMMUTABLE_PREFIX, Kind::Message, serial, IMMUTABLE)
    } else {
        encode(seed, MUTABLE_PREFIX, Kind::Message, serial, moves)
    }
}

/// Returns the id of a folder; these are constant whatever ids are asked for.
pub(crate) fn folder_id(seed: u64, key: u32) -> String {
    encode(seed, MUTABLE_PREFIX, Kind::Folder, key, 0)
}

/// Returns the id of an attachment of a message.
pub(crate) fn attachment_id(message_id: &str, index: usize) -> String {
    let index = u32::try_from(index).unwrap_or(u32::MAX);
    format!("{message_id}{}", URL_SAFE.encode(index.to_be_bytes()))
}

/// Takes an attachment's id apart: the place in its message, if it is of this message.
pub(crate) fn attachment_index(message_id: &str, id: &str) -> Option<usize> {
    let bytes = URL_SAFE.decode(id.strip_prefix(message_id)?).ok()?;
    let index = u32::from_be_bytes(bytes.try_into().ok()?);
    usize::try_from(index).ok()
}

/// Takes an id apart: kind, number, moves. An id of another mailbox is none.
pub(crate) fn decode(seed: u64, id: &str) -> Option<(Kind, u32, u32)> {
    let (text, immutable) = match id.strip_prefix(IMMUTABLE_PREFIX) {
        Some(text) => (text, true),
        None => (id.strip_prefix(MUTABLE_PREFIX)?, false),
    };
    let bytes: [u8; 25] = URL_SAFE.decode(text).ok()?.try_into().ok()?;
    let (head, check) = bytes.split_at(9);
    if check != &check_bytes(seed, head)[..] {
        return None;
    }
    let kind = if head[0] == 1 {
        Kind::Folder
    } else {
        Kind::Message
    };
    let number = u32::from_be_bytes(head[1..5].try_into().ok()?);
    let moves = u32::from_be_bytes(head[5..9].try_into().ok()?);
    ((moves == IMMUTABLE) == immutable).then_some((kind, number, moves))
}

/// Writes a change key from the hash of a place.
pub(crate) fn change_key(hash: [u8; 32]) -> String {
    format!("CQAAABYAAAB{}", STANDARD.encode(&hash[..16]))
}

fn encode(seed: u64, prefix: &str, kind: Kind, number: u32, moves: u32) -> String {
    let mut bytes = vec![if kind == Kind::Folder { 1 } else { 2 }];
    bytes.extend(number.to_be_bytes());
    bytes.extend(moves.to_be_bytes());
    let check = check_bytes(seed, &bytes);
    bytes.extend(check);
    format!("{prefix}{}", URL_SAFE.encode(bytes))
}

/// Returns the 16 bytes that make an id of one mailbox unknown in others.
pub(crate) fn check_bytes(seed: u64, bytes: &[u8]) -> [u8; 16] {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let mut check = [0; 16];
    check.copy_from_slice(&blake3::keyed_hash(&key, bytes).as_bytes()[..16]);
    check
}

/// Returns a number between 0 and `below` that depends on the seed and two others.
pub(crate) fn chance(seed: u64, first: u64, second: u64, below: u64) -> u64 {
    ids::number(seed ^ first.rotate_left(32), "chance", second) % below.max(1)
}
