//! Folders of a mailbox: GetFolder and what FindFolder finds, in the shapes of the service.

use super::operations::schema;
use super::xml::{Node, escape};
use super::{MESSAGES, SoapError};
use crate::tenant::State;
use crate::tenant::mailbox::{Folder, Mailbox, ROOT};

/// What a request names as a folder of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The root of the whole mailbox, above what people see.
    Above,
    /// A folder, by its key.
    Folder(u32),
}

/// The distinguished name of the root of the whole mailbox.
const ABOVE: &str = "root";

/// Finds the mailbox that a folder id names, or that the call acts for.
pub(super) fn mailbox_of<'a>(
    state: &'a State,
    acting: &str,
    id: &Node,
) -> Result<&'a Mailbox, SoapError> {
    let named = id.children.first().map(|mailbox| {
        let mut parts = mailbox.children.iter();
        parts
            .find(|part| part.name == "EmailAddress")
            .map(Node::text)
    });
    let name = named.flatten().unwrap_or_else(|| acting.to_owned());
    let user = state.user(&name).ok_or_else(|| {
        SoapError::new(
            "ErrorNonExistentMailbox",
            "The SMTP address has no mailbox associated with it.",
        )
    })?;
    user.mailbox.as_ref().ok_or_else(|| {
        SoapError::new(
            "ErrorMailboxNotEnabledForRESTAPI",
            "The mailbox is not enabled.",
        )
    })
}

/// Finds the folder of a mailbox that a request names.
pub(super) fn find(mailbox: &Mailbox, id: &Node) -> Option<Place> {
    let text = id.attribute("Id")?;
    match id.name.as_str() {
        "DistinguishedFolderId" if text.eq_ignore_ascii_case(ABOVE) => Some(Place::Above),
        "FolderId" if text == above_id(mailbox) => Some(Place::Above),
        "FolderId" => {
            let key = mailbox.folder_key(&from_ews(text))?;
            // Well-known names are no ids here.
            (mailbox.folder_id(key) == from_ews(text)).then_some(Place::Folder(key))
        }
        _ => mailbox.folder_key(text).map(Place::Folder),
    }
}

/// Answers GetFolder: one outcome for each folder.
pub(super) fn get(
    state: &State,
    acting: &str,
    request: &Node,
) -> Result<Vec<Result<String, SoapError>>, SoapError> {
    if request.child(MESSAGES, "FolderShape").is_none() {
        return Err(schema("The element 'FolderShape' is missing."));
    }
    let ids = request
        .child(MESSAGES, "FolderIds")
        .ok_or_else(|| schema("The element 'FolderIds' is missing."))?;
    let one = |id: &Node| {
        let public = super::operations::public_folder(state, id);
        let shown = match public {
            Some(shown) => shown,
            None => {
                let mailbox = mailbox_of(state, acting, id)?;
                let place = find(mailbox, id).ok_or_else(missing)?;
                show(mailbox, place)
            }
        };
        Ok(format!("<m:Folders>{shown}</m:Folders>"))
    };
    Ok(ids.children.iter().map(one).collect())
}

/// Lists the folders in a folder of a mailbox.
pub(super) fn below(mailbox: &Mailbox, place: Place, deep: bool) -> Vec<String> {
    let listed = |folder: &&Folder| match (place, deep) {
        (Place::Above, true) => true,
        (Place::Above, false) => folder.key == ROOT,
        (Place::Folder(key), true) => folder.key != key && mailbox.is_below(folder.key, key),
        (Place::Folder(key), false) => folder.parent == key && folder.key != key,
    };
    let folders = mailbox.folders.values().filter(listed);
    folders
        .map(|folder| show(mailbox, Place::Folder(folder.key)))
        .collect()
}

/// Refuses a folder that is not there.
pub(super) fn missing() -> SoapError {
    SoapError::new(
        "ErrorFolderNotFound",
        "The specified folder could not be found in the store.",
    )
}

/// Shows a folder of a mailbox.
fn show(mailbox: &Mailbox, place: Place) -> String {
    let folder = match place {
        Place::Folder(key) => mailbox.folders.get(&key),
        Place::Above => None,
    };
    let Some(folder) = folder else {
        let counts = Counts {
            total: 0,
            unread: 0,
            children: 1,
        };
        let id = above_id(mailbox);
        return element(&id, &mailbox.change_key(0), &id, "Root", ABOVE, counts);
    };
    let counts = Counts {
        total: mailbox.messages_in(folder.key).count(),
        unread: mailbox
            .messages_in(folder.key)
            .filter(|message| !message.read)
            .count(),
        children: mailbox.children(folder.key).count(),
    };
    let parent = match folder.key {
        ROOT => above_id(mailbox),
        _ => to_ews(&mailbox.folder_id(folder.parent)),
    };
    element(
        &to_ews(&mailbox.folder_id(folder.key)),
        &mailbox.change_key(folder.change),
        &parent,
        &folder.name,
        folder.well_known.unwrap_or_default(),
        counts,
    )
}

struct Counts {
    total: usize,
    unread: usize,
    children: usize,
}

fn element(
    id: &str,
    change_key: &str,
    parent: &str,
    name: &str,
    distinguished: &str,
    counts: Counts,
) -> String {
    let distinguished = match distinguished {
        "" => String::new(),
        name => format!("<t:DistinguishedFolderId>{name}</t:DistinguishedFolderId>"),
    };
    let Counts {
        total,
        unread,
        children,
    } = counts;
    let (id, change_key, parent) = (escape(id), escape(change_key), escape(parent));
    let name = escape(name);
    format!(
        "<t:Folder><t:FolderId Id=\"{id}\" ChangeKey=\"{change_key}\"/>\
         <t:ParentFolderId Id=\"{parent}\"/><t:FolderClass>IPF.Note</t:FolderClass>\
         <t:DisplayName>{name}</t:DisplayName><t:TotalCount>{total}</t:TotalCount>\
         <t:ChildFolderCount>{children}</t:ChildFolderCount>{distinguished}\
         <t:UnreadCount>{unread}</t:UnreadCount></t:Folder>"
    )
}

fn above_id(mailbox: &Mailbox) -> String {
    to_ews(&mailbox.folder_id(u32::MAX))
}

/// Writes an id as EWS does; Graph replaces two characters of it, so that it fits into addresses.
pub(super) fn to_ews(id: &str) -> String {
    id.replace('-', "/").replace('_', "+")
}

/// Reads an id of EWS as Graph writes it.
pub(super) fn from_ews(id: &str) -> String {
    id.replace('/', "-").replace('+', "_")
}
