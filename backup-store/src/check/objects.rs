//! Checking names and small objects: what lies in the store beside packs, segments and snapshots.

use super::Checker;
use super::report::{CheckPhase, RemarkKind, chain};
use crate::pack::pack_id;
use crate::rounds::parse_round_name;
use crate::seal::ObjectKind;
use crate::slots::parse_slot_name;
use crate::store::is_damage_name;
use crate::{LeaseId, ObjectInfo, ObjectName, Result, RunId};

/// What a name says that an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    /// Read when the store is opened, or by a check of its own.
    Known,
    /// A small object that nothing else reads.
    Sealed(ObjectKind),
    Foreign,
}

impl Checker<'_> {
    /// Lists every object, and notes names that no store gives.
    pub(super) async fn list_objects(&mut self) -> Result<()> {
        for info in self.store.backend().list("").await? {
            if named(&info.name) == Named::Foreign {
                self.findings.remark(&info.name, RemarkKind::ForeignName);
            }
            if let Some(pack) = pack_id(&info.name) {
                self.pack_sizes.insert(pack, info.size);
            }
        }
        for name in self
            .store
            .backend()
            .several_versions()
            .await?
            .into_iter()
            .flatten()
        {
            self.findings.remark(&name, RemarkKind::SeveralVersions);
        }
        Ok(())
    }

    /// Reads the small objects that nothing else reads.
    pub(super) async fn small_objects(&mut self) -> Result<()> {
        let mut listed = Vec::new();
        for folder in ["leases/", "acks/", "gc/", "breaks/"] {
            listed.extend(self.store.backend().list(folder).await?);
        }
        let total = Some(listed.len() as u64);
        for (done, info) in (1..).zip(&listed) {
            if let Named::Sealed(kind) = named(&info.name) {
                self.open(info, kind).await;
            }
            self.report_progress(CheckPhase::Objects, done, total);
        }
        Ok(())
    }

    async fn open(&mut self, info: &ObjectInfo, kind: ObjectKind) {
        if let Err(cause) = self.store.get_object(kind, &info.name).await
            && cause.kind() != crate::ErrorKind::NotFound
        {
            let object = format!("object {}", info.name);
            self.findings.note(object, chain(&cause));
        }
    }
}

fn named(name: &ObjectName) -> Named {
    let text = name.as_str();
    let Some((folder, rest)) = text.split_once('/') else {
        return known(text == "config");
    };
    let id = |text: &str| text.parse::<RunId>().is_ok_and(|id| id.to_string() == text);
    let number = |text: &str| text.parse::<u32>().is_ok_and(|n| n.to_string() == text);
    let pair = |left: &dyn Fn(&str) -> bool, right: &dyn Fn(&str) -> bool| {
        rest.split_once('.')
            .is_some_and(|(a, b)| left(a) && right(b))
    };
    match folder {
        "epochs" => known(number(rest)),
        "keys" => known(pair(&number, &id)),
        "packs" => known(pack_id(name).is_some()),
        "segments" | "replica" => known(id(rest)),
        "snaps" => known(parse_slot_name(name).is_some()),
        "runs" => known(pair(&id, &id)),
        "acks" if pair(&id, &number) => Named::Sealed(ObjectKind::Ack),
        "gc" => match parse_round_name(name) {
            Some((_, part)) => Named::Sealed(part.kind()),
            None if is_damage_name(name) => Named::Sealed(ObjectKind::Damage),
            None => Named::Foreign,
        },
        "probe" => known(pair(&id, &|rest| rest == "prune" || number(rest))),
        "breaks" if id(rest) => Named::Sealed(ObjectKind::BrokenLease),
        "leases" if rest.parse::<LeaseId>().is_ok() => Named::Sealed(ObjectKind::Lease),
        _ => Named::Foreign,
    }
}

fn known(is: bool) -> Named {
    if is { Named::Known } else { Named::Foreign }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_store_are_told_from_foreign_ones() {
        let id = "00112233445566778899aabbccddeeff";
        let named = |text: String| named(&ObjectName::new(text).unwrap());
        let ours = [
            "config".to_owned(),
            "epochs/3".to_owned(),
            format!("keys/0.{id}"),
            format!("packs/00/{id}"),
            format!("segments/{id}"),
            format!("snaps/{id}.12"),
            format!("runs/{id}.{id}"),
            format!("probe/{id}.2"),
            format!("probe/{id}.prune"),
        ];
        for name in ours {
            assert_eq!(named(name.clone()), Named::Known, "{name}");
        }
        let sealed = [
            (format!("leases/{id}"), ObjectKind::Lease),
            (format!("acks/{id}.4"), ObjectKind::Ack),
            ("gc/7.verdict".to_owned(), ObjectKind::Verdict),
            (format!("gc/{id}.damage"), ObjectKind::Damage),
            (format!("breaks/{id}"), ObjectKind::BrokenLease),
        ];
        for (name, kind) in sealed {
            assert_eq!(named(name.clone()), Named::Sealed(kind), "{name}");
        }
        let foreign = [
            "readme.txt".to_owned(),
            "epochs/03".to_owned(),
            format!("packs/01/{id}"),
            "segments/1".to_owned(),
            format!("snaps/{id}"),
            "gc/7.sweep".to_owned(),
            "gc/7.damage".to_owned(),
            format!("leases/{id}0"),
        ];
        for name in foreign {
            assert_eq!(named(name.clone()), Named::Foreign, "{name}");
        }
    }
}
