//! The operations: GetFolder, FindFolder, FindItem, GetItem.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::answer::instant;
use super::folders::{self, Place};
use super::items;
use super::xml::{Node, escape};
use super::{MESSAGES, SoapError, TYPES};
use crate::tenant::State;
use crate::tenant::mailbox::Mailbox;
use crate::tenant::public_folders::{PublicFolder, PublicItem};

/// Most entries of a page.
const PAGE_MAX: usize = 1000;

/// Performs a request; returns the element of its answer.
pub(super) fn perform(state: &State, mailbox: &str, request: &Node) -> Result<String, SoapError> {
    let operation = request.name.as_str();
    let parts = match operation {
        "FindFolder" => parents(request, |parent| {
            find_folder(state, mailbox, request, parent)
        })?,
        "FindItem" => parents(request, |parent| find_item(state, mailbox, request, parent))?,
        "GetFolder" => folders::get(state, mailbox, request)?,
        "GetItem" => get_items(state, mailbox, request)?,
        "SyncFolderItems" | "SyncFolderHierarchy" => {
            return Err(SoapError::new(
                "ErrorInvalidOperation",
                "The operation is not supported here.",
            ));
        }
        _ => {
            return Err(SoapError::new(
                "ErrorSchemaValidation",
                format!("The request '{operation}' is not known."),
            ));
        }
    };
    let messages: String = parts.iter().map(|part| message(operation, part)).collect();
    Ok(format!(
        "<m:{operation}Response xmlns:m=\"{MESSAGES}\" xmlns:t=\"{TYPES}\"><m:ResponseMessages>\
         {messages}</m:ResponseMessages></m:{operation}Response>"
    ))
}

fn message(operation: &str, part: &Result<String, SoapError>) -> String {
    let name = format!("m:{operation}ResponseMessage");
    match part {
        Ok(payload) => format!(
            "<{name} ResponseClass=\"Success\"><m:ResponseCode>NoError</m:ResponseCode>{payload}\
             </{name}>"
        ),
        Err(error) => format!(
            "<{name} ResponseClass=\"Error\"><m:MessageText>{}</m:MessageText>\
             <m:ResponseCode>{}</m:ResponseCode><m:DescriptiveLinkKey>0</m:DescriptiveLinkKey>\
             </{name}>",
            escape(&error.text),
            error.code
        ),
    }
}

pub(super) fn schema(text: &str) -> SoapError {
    SoapError::new("ErrorSchemaValidation", text)
}

/// Performs `act` for each parent folder of a request.
fn parents(
    request: &Node,
    act: impl Fn(&Node) -> Result<String, SoapError>,
) -> Result<Vec<Result<String, SoapError>>, SoapError> {
    let traversal = request.attribute("Traversal");
    if !matches!(
        traversal,
        Some("Shallow" | "Deep" | "SoftDeleted" | "Associated")
    ) {
        return Err(schema(
            "The required attribute 'Traversal' is missing or invalid.",
        ));
    }
    let parents = request
        .child(MESSAGES, "ParentFolderIds")
        .filter(|parents| !parents.children.is_empty())
        .ok_or_else(|| schema("The element 'ParentFolderIds' is missing."))?;
    Ok(parents.children.iter().map(act).collect())
}

/// Finds the public folder that a request names.
fn public<'a>(
    state: &'a State,
    mailbox: &str,
    request: &Node,
    parent: &Node,
) -> Result<&'a PublicFolder, SoapError> {
    let folders = &state.ews.folders;
    let id = parent.attribute("Id").unwrap_or("");
    let id = match parent.name.as_str() {
        "DistinguishedFolderId" if id.eq_ignore_ascii_case("publicfoldersroot") => folders.root(),
        "DistinguishedFolderId" => {
            return Err(SoapError::new(
                "ErrorFolderNotFound",
                format!("The folder '{id}' of {mailbox} was not found."),
            ));
        }
        _ => id,
    };
    if request.attribute("Traversal") != Some("Shallow") {
        return Err(SoapError::new(
            "ErrorInvalidOperation",
            "Only shallow traversals are allowed for public folders.",
        ));
    }
    folders.folder(id).ok_or_else(|| {
        SoapError::new(
            "ErrorItemNotFound",
            "The specified object was not found in the store.",
        )
    })
}

/// Cuts a page out of a list; returns it with the attributes of its root element.
fn page<T>(request: &Node, view: &str, all: Vec<T>) -> Result<(Vec<T>, String), SoapError> {
    let total = all.len();
    let (most, offset) = match request.child(MESSAGES, view) {
        None => (PAGE_MAX, 0),
        Some(view) => {
            let number = |name| {
                view.attribute(name)
                    .and_then(|text| text.parse::<usize>().ok())
            };
            let most = number("MaxEntriesReturned").unwrap_or(PAGE_MAX);
            let offset = number("Offset").ok_or_else(|| schema("'Offset' is missing."))?;
            if most == 0 || view.attribute("BasePoint") != Some("Beginning") {
                return Err(schema("The view is not valid."));
            }
            (most.min(PAGE_MAX), offset)
        }
    };
    let taken: Vec<T> = all.into_iter().skip(offset).take(most).collect();
    let next = (offset + taken.len()).min(total);
    let attributes = format!(
        "IndexedPagingOffset=\"{next}\" TotalItemsInView=\"{total}\" \
         IncludesLastItemInRange=\"{}\"",
        next >= total
    );
    Ok((taken, attributes))
}

fn find_folder(
    state: &State,
    mailbox: &str,
    request: &Node,
    parent: &Node,
) -> Result<String, SoapError> {
    let deep = request.attribute("Traversal") == Some("Deep");
    let shown: Vec<String> = match own(state, mailbox, parent)? {
        Some((mailbox, place)) => folders::below(mailbox, place, deep),
        None => {
            let parent = public(state, mailbox, request, parent)?;
            let children = state.ews.folders.children(&parent.id);
            children
                .into_iter()
                .map(|folder| show_folder(state, folder))
                .collect()
        }
    };
    let (shown, attributes) = page(request, "IndexedPageFolderView", shown)?;
    Ok(format!(
        "<m:RootFolder {attributes}><t:Folders>{}</t:Folders></m:RootFolder>",
        shown.concat()
    ))
}

/// Finds the folder of the mailbox that a request names; `None` when it has no such folder.
fn own<'a>(
    state: &'a State,
    mailbox: &str,
    parent: &Node,
) -> Result<Option<(&'a Mailbox, Place)>, SoapError> {
    if public_folder(state, parent).is_some() {
        return Ok(None);
    }
    let mailbox = folders::mailbox_of(state, mailbox, parent)?;
    Ok(folders::find(mailbox, parent).map(|place| (mailbox, place)))
}

/// Shows the public folder that a request names, if it names one.
pub(super) fn public_folder(state: &State, id: &Node) -> Option<String> {
    let folders = &state.ews.folders;
    let text = id.attribute("Id")?;
    let text = match id.name.as_str() {
        "DistinguishedFolderId" if text.eq_ignore_ascii_case("publicfoldersroot") => folders.root(),
        "DistinguishedFolderId" => return None,
        _ => text,
    };
    let folder = folders.folder(text)?;
    Some(show_folder(state, folder))
}

fn show_folder(state: &State, folder: &PublicFolder) -> String {
    format!(
        "<t:Folder><t:FolderId Id=\"{}\" ChangeKey=\"{}\"/><t:ParentFolderId Id=\"{}\"/>\
         <t:FolderClass>IPF.Note</t:FolderClass><t:DisplayName>{}</t:DisplayName>\
         <t:TotalCount>{}</t:TotalCount><t:ChildFolderCount>{}</t:ChildFolderCount></t:Folder>",
        escape(&folder.id),
        folder.change_key,
        escape(folder.parent.as_deref().unwrap_or_default()),
        escape(&folder.name),
        folder.items.len(),
        state.ews.folders.children(&folder.id).len()
    )
}

fn find_item(
    state: &State,
    mailbox: &str,
    request: &Node,
    parent: &Node,
) -> Result<String, SoapError> {
    if let Some((mailbox, place)) = own(state, mailbox, parent)? {
        let messages = match place {
            Place::Folder(folder) => items::listed(mailbox, folder, request)?,
            Place::Above => Vec::new(),
        };
        let (messages, attributes) = page(request, "IndexedPageItemView", messages)?;
        let shown: String = messages
            .into_iter()
            .map(|message| items::show(mailbox, message, false, false))
            .collect();
        return Ok(format!(
            "<m:RootFolder {attributes}><t:Items>{shown}</t:Items></m:RootFolder>"
        ));
    }
    let folder = public(state, mailbox, request, parent)?;
    let (items, attributes) = page(
        request,
        "IndexedPageItemView",
        folder.items.iter().collect(),
    )?;
    let items: String = items
        .into_iter()
        .map(|item| show_item(folder, item, false))
        .collect();
    Ok(format!(
        "<m:RootFolder {attributes}><t:Items>{items}</t:Items></m:RootFolder>"
    ))
}

fn get_items(
    state: &State,
    mailbox: &str,
    request: &Node,
) -> Result<Vec<Result<String, SoapError>>, SoapError> {
    let shape = request
        .child(MESSAGES, "ItemShape")
        .ok_or_else(|| schema("The element 'ItemShape' is missing."))?;
    let asked = |field: &Node| field.attribute("FieldURI") == Some("item:MimeContent");
    let mime = shape
        .child(TYPES, "IncludeMimeContent")
        .is_some_and(|wanted| wanted.text() == "true")
        || shape
            .child(TYPES, "AdditionalProperties")
            .is_some_and(|fields| fields.children.iter().any(asked));
    let ids = request
        .child(MESSAGES, "ItemIds")
        .ok_or_else(|| schema("The element 'ItemIds' is missing."))?;
    let get = |id: &Node| {
        let name = id.attribute("Id").unwrap_or("");
        if let Some((mailbox, message)) = items::find(state, mailbox, name) {
            let shown = items::show(mailbox, message, mime, true);
            return Ok(format!("<m:Items>{shown}</m:Items>"));
        }
        let found = state.ews.folders.item(name);
        let (folder, item) = found.ok_or_else(|| {
            SoapError::new(
                "ErrorItemNotFound",
                "The specified object was not found in the store.",
            )
        })?;
        Ok(format!(
            "<m:Items>{}</m:Items>",
            show_item(folder, item, mime)
        ))
    };
    Ok(ids.children.iter().map(get).collect())
}

fn show_item(folder: &PublicFolder, item: &PublicItem, mime: bool) -> String {
    let content = match mime {
        true => format!(
            "<t:MimeContent CharacterSet=\"UTF-8\">{}</t:MimeContent>",
            STANDARD.encode(&item.mime)
        ),
        false => String::new(),
    };
    format!(
        "<t:Message>{content}<t:ItemId Id=\"{}\" ChangeKey=\"{}\"/><t:ParentFolderId Id=\"{}\"/>\
         <t:ItemClass>IPM.Post</t:ItemClass><t:Subject>{}</t:Subject>\
         <t:DateTimeReceived>{}</t:DateTimeReceived><t:Size>{}</t:Size></t:Message>",
        escape(&item.id),
        item.change_key,
        escape(&folder.id),
        escape(&item.subject),
        instant(item.received),
        item.mime.len()
    )
}
