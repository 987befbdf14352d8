//! FindItem: the items in a folder.

use super::Operation;
use super::wire::Wire;
use crate::error::Result;
use crate::types::{Item, Paging, Parent};
use crate::xml::{Element, Namespace, Reader, Writer};

/// Asks for the items of a folder with their ids and change keys, page by page, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FindItem {
    parent: Parent,
    offset: u32,
    page: u32,
}

impl FindItem {
    /// Asks for the items of `parent`, from the beginning, 500 a page.
    pub fn new(parent: Parent) -> Self {
        Self {
            parent,
            offset: 0,
            page: 500,
        }
    }

    /// Begins at `offset`: what [`Paging::next`] of the page before said.
    #[must_use]
    pub fn from_offset(mut self, offset: u32) -> Self {
        self.offset = offset;
        self
    }

    /// Sets the most items of a page, 1 to 1,000; the service may give fewer.
    #[must_use]
    pub fn with_page(mut self, page: u32) -> Self {
        self.page = page.clamp(1, 1000);
        self
    }
}

/// Holds a page of items; text in them may be cut at 255 characters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundItems {
    /// The items.
    pub items: Vec<Item>,
    /// Whether and where it goes on.
    pub paging: Paging,
}

impl Operation for FindItem {
    type Answer = FoundItems;
}

impl Wire for FindItem {
    type Out = FoundItems;
    const NAME: &'static str = "FindItem";

    fn write(&self, out: &mut Writer) {
        out.open("m:FindItem", &[("Traversal", "Shallow")]);
        out.open("m:ItemShape", &[]).leaf("t:BaseShape", "IdOnly");
        out.open("t:AdditionalProperties", &[]);
        for field in [
            "item:Subject",
            "item:ItemClass",
            "item:Size",
            "item:DateTimeReceived",
        ] {
            out.empty("t:FieldURI", &[("FieldURI", field)]);
        }
        out.close().close();
        let (page, offset) = (self.page.to_string(), self.offset.to_string());
        let view = [
            ("MaxEntriesReturned", page.as_str()),
            ("Offset", offset.as_str()),
            ("BasePoint", "Beginning"),
        ];
        out.empty("m:IndexedPageItemView", &view);
        out.open("m:SortOrder", &[])
            .open("t:FieldOrder", &[("Order", "Ascending")]);
        out.empty("t:FieldURI", &[("FieldURI", "item:DateTimeReceived")]);
        out.close().close();
        out.open("m:ParentFolderIds", &[]);
        self.parent.write(out);
        out.close().close();
    }

    fn read(reader: &mut Reader<'_>, element: &Element, found: &mut FoundItems) -> Result<()> {
        if !element.is(Namespace::Messages, "RootFolder") {
            return Ok(());
        }
        found.paging = Paging::read(element);
        reader.children(
            |reader, element| match element.is(Namespace::Types, "Items") {
                false => Ok(()),
                true => Item::read_all(reader, &mut found.items),
            },
        )
    }
}
