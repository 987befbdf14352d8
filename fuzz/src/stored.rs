//! Targets over stored bytes inside their seals: what is accepted is written as the same bytes
//! again, everything else is an error.

use backup_store::fuzzing::{PARSERS, Parser};

/// The parsers of each target; the first byte of an input chooses among them.
pub const STORED: &[(&str, &[&str])] = &[
    (
        "store_index",
        &[
            "segment directory",
            "segment trailer",
            "segment block",
            "filter shard",
        ],
    ),
    (
        "store_keys",
        &[
            "config",
            "key epoch",
            "key slot",
            "key file",
            "recovery code",
        ],
    ),
    ("store_local", &["memory of snapshots", "memory of samples"]),
    ("store_name", &["object name"]),
    ("store_node", &["tree node"]),
    ("store_object", &["small object"]),
    (
        "store_pack",
        &["pack table", "spool entry", "pack trailer", "block"],
    ),
    ("store_recipe", &["recipe"]),
    (
        "store_round",
        &[
            "plan",
            "verdict",
            "done",
            "ack",
            "broken lease",
            "lease",
            "damage record",
        ],
    ),
    ("store_slot", &["slot"]),
];

/// Decodes a part of a segment: directory, trailer, block or filter shard.
pub fn store_index(bytes: &[u8]) {
    read("store_index", bytes);
}

/// Decodes what leads to the keys: config, epoch object, key slot, key file, recovery code.
pub fn store_keys(bytes: &[u8]) {
    read("store_keys", bytes);
}

/// Decodes what is kept sealed on the local disk.
pub fn store_local(bytes: &[u8]) {
    read("store_local", bytes);
}

/// Reads the name of an object.
pub fn store_name(bytes: &[u8]) {
    read("store_name", bytes);
}

/// Decodes a node of a tree.
pub fn store_node(bytes: &[u8]) {
    read("store_node", bytes);
}

/// Unpacks what a small object holds.
pub fn store_object(bytes: &[u8]) {
    read("store_object", bytes);
}

/// Decodes a part of a pack: table, spool entry, trailer, block.
pub fn store_pack(bytes: &[u8]) {
    read("store_pack", bytes);
}

/// Decodes the recipe of a split message; two bytes say how long that claims to be.
pub fn store_recipe(bytes: &[u8]) {
    read("store_recipe", bytes);
}

/// Decodes a lease, or an object of a round of prune.
pub fn store_round(bytes: &[u8]) {
    read("store_round", bytes);
}

/// Decodes a slot.
pub fn store_slot(bytes: &[u8]) {
    read("store_slot", bytes);
}

fn read(target: &str, bytes: &[u8]) {
    let (Some((choice, input)), Some((_, names))) = (
        bytes.split_first(),
        STORED.iter().find(|(known, _)| *known == target),
    ) else {
        return;
    };
    let name = names[usize::from(*choice) % names.len()];
    let parser = parser(name);
    assert!(parser.is_some(), "{name} has a parser");
    if let Some(Ok(again)) = parser.map(|parser| parser(input)) {
        assert_eq!(again, input, "what is read as {name} has one encoding");
    }
}

/// Returns the parser of this name.
pub fn parser(name: &str) -> Option<Parser> {
    let found = PARSERS.iter().find(|(known, _)| *known == name);
    found.map(|(_, parser)| *parser)
}
