//! Change: what must be done for an item that a feed shows. Pure.

use backup_store::catalog::{Item, ItemState};

use crate::source::SeenItem;

/// Says what must be done for an item that was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Decision {
    /// Nothing: the record holds this state.
    Unchanged,
    /// New properties, the content as it is; no request.
    KeepContent {
        /// Whether equal content is assumed, not proven.
        assumed: bool,
    },
    /// Its content must be fetched.
    Fetch,
    /// It has no content that can be fetched, for a known reason.
    Skip,
}

/// Decides from the record and from what was shown.
pub(crate) fn decide(known: Option<&Item>, seen: &SeenItem) -> Decision {
    if seen.skip.is_some() {
        return Decision::Skip;
    }
    let Some(known) = known else {
        return Decision::Fetch;
    };
    if known.state != ItemState::Stored {
        return Decision::Fetch;
    }
    if known.change_key == seen.change_key && known.key.container == seen.container {
        return Decision::Unchanged;
    }
    let (Some(before), Some(now)) = (&known.content_key, &seen.content_key) else {
        return Decision::Fetch;
    };
    if before == now && seen.content_key_is_proof {
        return Decision::KeepContent { assumed: false };
    }
    let ((content, labels), (content_now, labels_now)) = (parts(before), parts(now));
    let explained =
        known.key.container != seen.container || labels.is_none() || labels != labels_now;
    if content == content_now && explained && !seen.draft && !known.draft {
        return Decision::KeepContent { assumed: true };
    }
    // A change that shows nowhere may be one of the body, which a page does not carry.
    Decision::Fetch
}

/// Joins a key of what shapes the content and a key of what only labels it.
///
/// A record is written three times and stays for years, so that they are no longer than they must
/// be: each is compared with the one before it of the same item, and with no other.
pub(crate) fn content_key(content: &[u8], labels: &[u8]) -> String {
    let (content, labels) = (blake3::hash(content), blake3::hash(labels));
    let mut key = content.to_hex()[..CONTENT_DIGITS].to_owned();
    key.push(LABELS);
    key.push_str(&labels.to_hex()[..LABEL_DIGITS]);
    key
}

fn parts(key: &str) -> (&str, Option<&str>) {
    match key.split_once(LABELS) {
        Some((content, labels)) => (content, Some(labels)),
        None => (key, None),
    }
}

/// Digits of the hashes: 128 bits of what shapes the content, 64 of what labels it.
const CONTENT_DIGITS: usize = 32;
const LABEL_DIGITS: usize = 16;
/// Separates the two parts of a content key; a key without it says nothing about labels.
const LABELS: char = '+';

#[cfg(test)]
pub(crate) mod tests {
    use backup_store::Timestamp;
    use backup_store::catalog::{ItemKey, ItemKind};

    use super::*;

    pub(crate) fn item(container: &str, id: &str, change_key: &str) -> Item {
        Item {
            key: ItemKey {
                container: container.into(),
                created: Timestamp::from_millis(1_000),
                id: id.into(),
            },
            kind: ItemKind::Message,
            name: "subject".into(),
            sender: None,
            recipients: Vec::new(),
            change_key: change_key.into(),
            content_key: Some("content".into()),
            size_bytes: 10,
            modified: None,
            draft: false,
            state: ItemState::Stored,
            representations: Vec::new(),
        }
    }

    pub(crate) fn seen(container: &str, id: &str, change_key: &str) -> SeenItem {
        SeenItem {
            id: id.into(),
            container: container.into(),
            created: Timestamp::from_millis(1_000),
            kind: ItemKind::Message,
            name: "subject".into(),
            sender: None,
            recipients: Vec::new(),
            change_key: change_key.into(),
            content_key: Some("content".into()),
            content_key_is_proof: false,
            size_bytes: None,
            modified: None,
            draft: false,
            skip: None,
            properties: b"{}".to_vec(),
        }
    }

    #[test]
    fn equal_change_key_in_the_same_container_is_unchanged() {
        let known = item("a", "1", "k1");
        assert_eq!(
            decide(Some(&known), &seen("a", "1", "k1")),
            Decision::Unchanged
        );
        let moved = decide(Some(&known), &seen("b", "1", "k1"));
        assert_eq!(moved, Decision::KeepContent { assumed: true });
    }

    #[test]
    fn content_is_assumed_only_where_nothing_that_shapes_it_changed() {
        let known = item("a", "1", "k1");
        let mut shown = seen("a", "1", "k2");
        assert_eq!(
            decide(Some(&known), &shown),
            Decision::KeepContent { assumed: true }
        );
        shown.content_key = Some("other".into());
        assert_eq!(decide(Some(&known), &shown), Decision::Fetch);
        shown.content_key = None;
        assert_eq!(decide(Some(&known), &shown), Decision::Fetch);
        assert_eq!(decide(None, &shown), Decision::Fetch);
    }

    #[test]
    fn a_change_that_shows_nowhere_is_fetched() {
        let mut known = item("a", "1", "k1");
        let mut shown = seen("a", "1", "k2");
        known.content_key = Some(content_key(b"subject", b"unread"));
        shown.content_key = Some(content_key(b"subject", b"unread"));
        assert_eq!(decide(Some(&known), &shown), Decision::Fetch);
        let assumed = Decision::KeepContent { assumed: true };
        shown.content_key = Some(content_key(b"subject", b"read"));
        assert_eq!(decide(Some(&known), &shown), assumed);
        shown.content_key = Some(content_key(b"subject", b"unread"));
        shown.container = "b".into();
        assert_eq!(decide(Some(&known), &shown), assumed);
    }

    #[test]
    fn a_draft_is_fetched_even_if_its_content_key_is_equal() {
        let known = item("a", "1", "k1");
        let mut shown = seen("a", "1", "k2");
        shown.draft = true;
        assert_eq!(decide(Some(&known), &shown), Decision::Fetch);
        shown.content_key_is_proof = true;
        assert_eq!(
            decide(Some(&known), &shown),
            Decision::KeepContent { assumed: false }
        );
    }

    #[test]
    fn what_is_not_stored_is_tried_again_and_what_cannot_be_is_skipped() {
        let mut known = item("a", "1", "k1");
        known.state = ItemState::Quarantined {
            representation: backup_store::catalog::RepresentationKind::Mime,
            cause: "corrupt".into(),
        };
        let mut shown = seen("a", "1", "k1");
        assert_eq!(decide(Some(&known), &shown), Decision::Fetch);
        shown.skip = Some("a notebook has no content of its own".into());
        assert_eq!(decide(Some(&known), &shown), Decision::Skip);
    }
}
