//! FindFolder: the folders in a folder.

use super::Operation;
use super::wire::Wire;
use crate::error::Result;
use crate::types::{Folder, Paging, Parent};
use crate::xml::{Element, Namespace, Reader, Writer};

/// Asks for the folders directly in a folder (traversal `Shallow`, the only one that public folders
/// allow), page by page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FindFolder {
    parent: Parent,
    offset: u32,
    page: u32,
}

impl FindFolder {
    /// Asks for what lies directly in `parent`, from the beginning, 100 folders a page.
    pub fn new(parent: Parent) -> Self {
        Self {
            parent,
            offset: 0,
            page: 100,
        }
    }

    /// Begins at `offset`: what [`Paging::next`] of the page before said.
    #[must_use]
    pub fn from_offset(mut self, offset: u32) -> Self {
        self.offset = offset;
        self
    }

    /// Sets the most folders of a page, 1 to 1,000; the service may give fewer.
    #[must_use]
    pub fn with_page(mut self, page: u32) -> Self {
        self.page = page.clamp(1, 1000);
        self
    }
}

/// Holds a page of folders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundFolders {
    /// The folders.
    pub folders: Vec<Folder>,
    /// Whether and where it goes on.
    pub paging: Paging,
}

impl Operation for FindFolder {
    type Answer = FoundFolders;
}

impl Wire for FindFolder {
    type Out = FoundFolders;
    const NAME: &'static str = "FindFolder";

    fn write(&self, out: &mut Writer) {
        out.open("m:FindFolder", &[("Traversal", "Shallow")]);
        out.open("m:FolderShape", &[])
            .leaf("t:BaseShape", "Default");
        out.open("t:AdditionalProperties", &[]);
        for field in ["folder:ParentFolderId", "folder:FolderClass"] {
            out.empty("t:FieldURI", &[("FieldURI", field)]);
        }
        out.close().close();
        let (page, offset) = (self.page.to_string(), self.offset.to_string());
        let view = [
            ("MaxEntriesReturned", page.as_str()),
            ("Offset", offset.as_str()),
            ("BasePoint", "Beginning"),
        ];
        out.empty("m:IndexedPageFolderView", &view);
        out.open("m:ParentFolderIds", &[]);
        self.parent.write(out);
        out.close().close();
    }

    fn read(reader: &mut Reader<'_>, element: &Element, found: &mut FoundFolders) -> Result<()> {
        if !element.is(Namespace::Messages, "RootFolder") {
            return Ok(());
        }
        found.paging = Paging::read(element);
        reader.children(
            |reader, element| match element.is(Namespace::Types, "Folders") {
                false => Ok(()),
                true => reader.children(|reader, element| {
                    if element.namespace == Namespace::Types {
                        found.folders.push(Folder::read(reader, element)?);
                    }
                    Ok(())
                }),
            },
        )
    }
}
