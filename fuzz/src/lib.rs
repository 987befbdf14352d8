#![doc = include_str!("../README.md")]

mod auth;
mod store;
mod stored;
mod wire;

pub use auth::{
    auth_callback, auth_certificate, auth_challenge, auth_recording, auth_refusal, auth_scrub,
};
pub use store::{
    store_container, store_item, store_item_key, store_mime, store_run_note, store_run_record,
    store_snapshot, store_tree,
};
pub use stored::{
    STORED, parser, store_index, store_keys, store_local, store_name, store_node, store_object,
    store_pack, store_recipe, store_round, store_slot,
};
pub use wire::{
    ews_find_folder, ews_find_item, ews_get_item, graph_batch, graph_delta, graph_error,
    graph_page, graph_signals, graph_upload, token_response,
};

/// One target: takes any bytes, and must neither panic nor hang nor take memory without bound.
pub type Target = fn(&[u8]);

/// Lists every target by the name of its folder under `corpus/`.
pub const TARGETS: &[(&str, Target)] = &[
    ("auth_callback", auth_callback),
    ("auth_certificate", auth_certificate),
    ("auth_challenge", auth_challenge),
    ("auth_recording", auth_recording),
    ("auth_refusal", auth_refusal),
    ("auth_scrub", auth_scrub),
    ("ews_find_folder", ews_find_folder),
    ("ews_find_item", ews_find_item),
    ("ews_get_item", ews_get_item),
    ("graph_batch", graph_batch),
    ("graph_delta", graph_delta),
    ("graph_error", graph_error),
    ("graph_page", graph_page),
    ("graph_signals", graph_signals),
    ("graph_upload", graph_upload),
    ("store_container", store_container),
    ("store_index", store_index),
    ("store_item", store_item),
    ("store_item_key", store_item_key),
    ("store_keys", store_keys),
    ("store_local", store_local),
    ("store_mime", store_mime),
    ("store_name", store_name),
    ("store_node", store_node),
    ("store_object", store_object),
    ("store_pack", store_pack),
    ("store_recipe", store_recipe),
    ("store_round", store_round),
    ("store_run_note", store_run_note),
    ("store_run_record", store_run_record),
    ("store_slot", store_slot),
    ("store_snapshot", store_snapshot),
    ("store_tree", store_tree),
    ("token_response", token_response),
];
