//! Folders, items and their ids, as far as they are read.

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::xml::{Element, Namespace, Reader, Writer};

/// Names a folder; stays the same when the folder moves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct FolderId {
    /// Opaque, case-sensitive, up to 512 bytes.
    pub id: String,
    /// The version of the folder; compare for equality only.
    pub change_key: Option<String>,
}

/// Names an item; changes when the item moves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ItemId {
    /// Opaque, case-sensitive, up to 512 bytes.
    pub id: String,
    /// The version of the item; compare for equality only.
    pub change_key: Option<String>,
}

impl FolderId {
    /// Names a folder without saying which version.
    pub fn new(id: impl Into<String>) -> Self {
        let (id, change_key) = (id.into(), None);
        Self { id, change_key }
    }

    fn read(element: &Element) -> Self {
        let (id, change_key) = id_of(element);
        Self { id, change_key }
    }
}

impl ItemId {
    /// Names an item without saying which version.
    pub fn new(id: impl Into<String>) -> Self {
        let (id, change_key) = (id.into(), None);
        Self { id, change_key }
    }

    fn read(element: &Element) -> Self {
        let (id, change_key) = id_of(element);
        Self { id, change_key }
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.empty("t:ItemId", &[("Id", &self.id)]);
    }
}

fn id_of(element: &Element) -> (String, Option<String>) {
    let text = |name| element.attribute(name).map(str::to_owned);
    (text("Id").unwrap_or_default(), text("ChangeKey"))
}

/// Says in which folder to look.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Parent {
    /// The root of the tenant's public folders.
    PublicFoldersRoot,
    /// The root of the mailbox's own folders.
    MsgFolderRoot,
    /// A folder with a name that every mailbox knows, such as `inbox`.
    Distinguished(String),
    /// A folder by its id.
    Id(FolderId),
}

impl Parent {
    pub(crate) fn write(&self, out: &mut Writer) {
        let name = match self {
            Self::PublicFoldersRoot => "publicfoldersroot",
            Self::MsgFolderRoot => "msgfolderroot",
            Self::Distinguished(name) => name,
            Self::Id(folder) => {
                out.empty("t:FolderId", &[("Id", &folder.id)]);
                return;
            }
        };
        out.empty("t:DistinguishedFolderId", &[("Id", name)]);
    }
}

/// Says whether more follows a page, and where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Paging {
    /// How many there are in all, as the service counts.
    pub total: Option<u32>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<u32>,
}

impl Paging {
    pub(crate) fn read(element: &Element) -> Self {
        let number = |name| {
            element
                .attribute(name)
                .and_then(|text| text.trim().parse().ok())
        };
        let last = element.attribute("IncludesLastItemInRange").map(str::trim) != Some("false");
        Self {
            total: number("TotalItemsInView"),
            next: if last {
                None
            } else {
                number("IndexedPagingOffset")
            },
        }
    }
}

/// Holds what is read of a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Folder {
    /// Its id.
    pub id: FolderId,
    /// What kind of folder it is: the service's element, such as `Folder` or `CalendarFolder`.
    pub kind: String,
    /// The folder that holds it.
    pub parent: Option<FolderId>,
    /// Its name.
    pub name: String,
    /// Its class, such as `IPF.Note`.
    pub class: Option<String>,
    /// How many items it holds.
    pub items: Option<u32>,
    /// How many folders it holds.
    pub folders: Option<u32>,
}

impl Folder {
    pub(crate) fn read(reader: &mut Reader<'_>, element: &Element) -> Result<Self> {
        let mut folder = Self {
            kind: element.name.clone(),
            ..Self::default()
        };
        reader.children(|reader, element| {
            if element.namespace != Namespace::Types {
                return Ok(());
            }
            match element.name.as_str() {
                "FolderId" => folder.id = FolderId::read(element),
                "ParentFolderId" => folder.parent = Some(FolderId::read(element)),
                "DisplayName" => folder.name = reader.text()?,
                "FolderClass" => folder.class = Some(reader.text()?),
                "TotalCount" => folder.items = number(reader)?,
                "ChildFolderCount" => folder.folders = number(reader)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(folder)
    }
}

/// Holds what is read of an item.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Item {
    /// Its id.
    pub id: ItemId,
    /// What kind of item it is: the service's element, such as `Message`, `Contact`, `Task`.
    pub kind: String,
    /// The folder that holds it.
    pub parent: Option<FolderId>,
    /// Its class, such as `IPM.Note`.
    pub class: Option<String>,
    /// Its subject.
    pub subject: Option<String>,
    /// Its size as the service counts, in bytes.
    pub size: Option<u64>,
    /// When it was received, as the service wrote it (RFC 3339, UTC).
    pub received: Option<String>,
    /// When it was last modified, as the service wrote it.
    pub modified: Option<String>,
    /// Its MIME content, if it was asked for.
    pub mime: Option<Bytes>,
}

impl Item {
    pub(crate) fn read(reader: &mut Reader<'_>, element: &Element) -> Result<Self> {
        let mut item = Self {
            kind: element.name.clone(),
            ..Self::default()
        };
        reader.children(|reader, element| {
            if element.namespace != Namespace::Types {
                return Ok(());
            }
            match element.name.as_str() {
                "ItemId" => item.id = ItemId::read(element),
                "ParentFolderId" => item.parent = Some(FolderId::read(element)),
                "ItemClass" => item.class = Some(reader.text()?),
                "Subject" => item.subject = Some(reader.text()?),
                "Size" => item.size = reader.text()?.trim().parse().ok(),
                "DateTimeReceived" => item.received = Some(reader.text()?),
                "LastModifiedTime" => item.modified = Some(reader.text()?),
                "MimeContent" => item.mime = Some(decode(&reader.text()?)?),
                _ => {}
            }
            Ok(())
        })?;
        Ok(item)
    }
}

fn number(reader: &mut Reader<'_>) -> Result<Option<u32>> {
    Ok(reader.text()?.trim().parse().ok())
}

/// Decodes base64, with line breaks in it or without.
fn decode(text: &str) -> Result<Bytes> {
    use base64::Engine as _;
    let plain: String;
    let text = if text.contains(|c: char| c.is_ascii_whitespace()) {
        plain = text.split_ascii_whitespace().collect();
        &plain
    } else {
        text
    };
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .map(Bytes::from)
        .map_err(|cause| Error::malformed("the mime content is not base64").with_source(cause))
}
