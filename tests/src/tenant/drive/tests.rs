//! Laws of drives: any interleaving of changes and pages leaves the reader with the true tree.

use std::collections::BTreeMap;

use super::*;
use proptest::prelude::*;

type Tree = BTreeMap<String, (Option<String>, String, u32)>;

/// Reads as an honest client does: by id, last one wins, deletions by id.
fn read(tree: &mut Tree, page: &DeltaPage<'_>) {
    for change in &page.changes {
        match change {
            DeltaChange::Present(item) => {
                let seen = (item.parent.clone(), item.name.clone(), item.content_version);
                tree.insert(item.id.clone(), seen);
            }
            DeltaChange::Deleted(item) => {
                tree.remove(&item.id);
            }
        }
    }
}

fn truth(drive: &Drive) -> Tree {
    drive
        .walk()
        .into_iter()
        .map(|item| {
            let seen = (item.parent.clone(), item.name.clone(), item.content_version);
            (item.id.clone(), seen)
        })
        .collect()
}

#[derive(Debug, Clone)]
enum Act {
    Folder(usize, u8),
    File(usize, u8),
    Edit(usize),
    Move(usize, usize, u8),
    Delete(usize),
    Page(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let any_item = 0usize..40;
    prop_oneof![
        2 => (any_item.clone(), any::<u8>()).prop_map(|(at, name)| Act::Folder(at, name % 12)),
        3 => (any_item.clone(), any::<u8>()).prop_map(|(at, name)| Act::File(at, name % 12)),
        2 => any_item.clone().prop_map(Act::Edit),
        3 => (any_item.clone(), any_item.clone(), any::<u8>())
            .prop_map(|(of, to, name)| Act::Move(of, to, name % 12)),
        1 => any_item.prop_map(Act::Delete),
        4 => (1usize..6).prop_map(Act::Page),
    ]
}

fn perform(drive: &mut Drive, act: &Act) {
    let ids: Vec<String> = drive.walk().iter().map(|item| item.id.clone()).collect();
    let pick = |at: &usize| ids[at % ids.len()].clone();
    let times = FileTimes::both(1_000);
    let content = || Arc::new(Content::from_bytes("x"));
    // Refusals (a name taken, a file as a folder) are part of any script.
    let _refused = match act {
        Act::Folder(at, name) => drive
            .add_folder(&pick(at), &format!("n{name}"), NameConflict::Fail, times)
            .is_err(),
        Act::File(at, name) => drive
            .put_file(
                &pick(at),
                &format!("n{name}"),
                content(),
                NameConflict::Rename,
                times,
            )
            .is_err(),
        Act::Edit(at) => drive.set_content(&pick(at), content(), times).is_err(),
        Act::Move(of, to, name) => drive
            .relocate(&pick(of), Some(&pick(to)), Some(&format!("N{name}")))
            .is_err(),
        Act::Delete(at) => drive.delete(&pick(at)).is_err(),
        Act::Page(_) => false,
    };
}

proptest! {
    #[test]
    fn any_interleaving_of_changes_and_pages_ends_at_the_true_tree(
        before in prop::collection::vec(act(), 0..30),
        during in prop::collection::vec(act(), 0..60),
        parents in any::<bool>(),
    ) {
        let mut drive = Drive::new("u", 1, 0);
        before.iter().for_each(|act| perform(&mut drive, act));
        let mut position = drive.delta_start();
        let mut tree = Tree::new();
        for act in &during {
            perform(&mut drive, act);
            if let Act::Page(top) = act {
                let page = drive.delta(&position, *top, parents);
                read(&mut tree, &page);
                position = page.next;
            }
        }
        loop {
            let page = drive.delta(&position, 3, parents);
            read(&mut tree, &page);
            position = page.next;
            if !page.more {
                break;
            }
        }
        prop_assert_eq!(&tree, &truth(&drive));
        // Ids lead to paths and back.
        for item in drive.walk() {
            let names: Vec<String> =
                drive.path(&item.id).split('/').skip(1).map(str::to_owned).collect();
            let found = drive.at_path(drive.root(), &names);
            prop_assert_eq!(found.map(Item::id), Some(item.id()));
        }
    }
}

#[test]
fn renaming_a_folder_tells_the_folder_alone() {
    let mut drive = Drive::new("u", 1, 0);
    let root = drive.root().to_owned();
    let times = FileTimes::both(0);
    let folder = drive
        .add_folder(&root, "a", NameConflict::Fail, times)
        .unwrap();
    let content = Arc::new(Content::from_bytes("x"));
    drive
        .put_file(&folder, "f", content, NameConflict::Fail, times)
        .unwrap();
    let latest = drive.delta_latest();
    drive.relocate(&folder, None, Some("b")).unwrap();
    let page = drive.delta(&latest, 100, false);
    assert_eq!(page.changes.len(), 1);
    assert!(matches!(page.changes[0], DeltaChange::Present(item) if item.name() == "b"));
    assert!(!page.more);
}

#[test]
fn names_collide_whatever_their_case_and_rename_finds_a_free_one() {
    let mut drive = Drive::new("u", 1, 0);
    let root = drive.root().to_owned();
    let times = FileTimes::both(0);
    let mut put = |name: &str, conflict| {
        let content = Arc::new(Content::from_bytes("x"));
        drive.put_file(&root, name, content, conflict, times)
    };
    put("Report.txt", NameConflict::Fail).unwrap();
    assert_eq!(
        put("REPORT.TXT", NameConflict::Fail),
        Err(Refusal::NameTaken)
    );
    assert!(!put("report.txt", NameConflict::Replace).unwrap().1);
    let (renamed, created) = put("report.txt", NameConflict::Rename).unwrap();
    assert!(created);
    assert_eq!(drive.item(&renamed).unwrap().name(), "report 1.txt");
}

#[test]
fn a_folder_cannot_move_into_itself_and_the_root_stays() {
    let mut drive = Drive::new("u", 1, 0);
    let root = drive.root().to_owned();
    let times = FileTimes::both(0);
    let a = drive
        .add_folder(&root, "a", NameConflict::Fail, times)
        .unwrap();
    let b = drive
        .add_folder(&a, "b", NameConflict::Fail, times)
        .unwrap();
    assert_eq!(drive.relocate(&a, Some(&b), None), Err(Refusal::WrongPlace));
    assert_eq!(
        drive.relocate(&root, Some(&b), None),
        Err(Refusal::WrongPlace)
    );
    assert_eq!(drive.delete(&root), Err(Refusal::WrongPlace));
    assert_eq!(drive.delete(&a), Ok(2));
    assert!(drive.item(&b).is_none());
}
