//! FindFolder and FindItem: what lies in a folder, page by page.

use std::marker::PhantomData;

use super::Operation;
use super::wire::Wire;
use crate::error::Result;
use crate::types::{Folder, Item, Paging, Parent};
use crate::xml::{Element, Namespace, Reader, Writer};

/// Asks for the folders directly in a folder, 100 a page by default.
pub type FindFolder = Find<Folder>;

/// Asks for the items of a folder with their ids and change keys, oldest first, 500 a page by
/// default; text in them may be cut at 255 characters.
pub type FindItem = Find<Item>;

/// Asks for what lies directly in a folder (traversal `Shallow`, the only one that public folders
/// allow), page by page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Find<T> {
    parent: Parent,
    offset: u32,
    page: u32,
    wanted: PhantomData<fn() -> T>,
}

/// Holds a page of what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Found<T> {
    /// The folders, or the items.
    pub entries: Vec<T>,
    /// Whether and where it goes on.
    pub paging: Paging,
}

impl<T> Default for Found<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            paging: Paging::default(),
        }
    }
}

/// What can be found, and how one asks for it; sealed, since its types are not for others.
pub trait Findable: Send + Sized {
    /// The operation's name.
    const NAME: &'static str;
    /// The element of the request.
    const REQUEST: &'static str;
    /// The element that says which page.
    const VIEW: &'static str;
    /// The element of the answer that holds what was found.
    const LIST: &'static str;
    /// How many make a page.
    const PAGE: u32;

    /// Writes which properties are wanted, in the shape that `IdOnly` and its like begin.
    fn write_shape(out: &mut Writer);

    /// Writes in which order they are wanted, where one can say so.
    fn write_order(_: &mut Writer) {}

    /// Reads one of them.
    fn read(reader: &mut Reader<'_>, element: &Element) -> Result<Self>;
}

impl<T: Findable> Find<T> {
    /// Asks for what lies directly in `parent`, from the beginning.
    pub fn new(parent: Parent) -> Self {
        Self {
            parent,
            offset: 0,
            page: T::PAGE,
            wanted: PhantomData,
        }
    }

    /// Begins at `offset`: what [`Paging::next`] of the page before said.
    #[must_use]
    pub fn from_offset(mut self, offset: u32) -> Self {
        self.offset = offset;
        self
    }

    /// Sets how many make a page at most, 1 to 1,000; the service may give fewer.
    #[must_use]
    pub fn with_page(mut self, page: u32) -> Self {
        self.page = page.clamp(1, 1000);
        self
    }
}

impl<T: Findable> Operation for Find<T> {
    type Answer = Found<T>;
}

impl<T: Findable> Wire for Find<T> {
    type Out = Found<T>;
    const NAME: &'static str = T::NAME;

    fn write(&self, out: &mut Writer) {
        out.open(T::REQUEST, &[("Traversal", "Shallow")]);
        T::write_shape(out);
        let (page, offset) = (self.page.to_string(), self.offset.to_string());
        let view = [
            ("MaxEntriesReturned", page.as_str()),
            ("Offset", offset.as_str()),
            ("BasePoint", "Beginning"),
        ];
        out.empty(T::VIEW, &view);
        T::write_order(out);
        out.open("m:ParentFolderIds", &[]);
        self.parent.write(out);
        out.close().close();
    }

    fn read(reader: &mut Reader<'_>, element: &Element, found: &mut Found<T>) -> Result<()> {
        if !element.is(Namespace::Messages, "RootFolder") {
            return Ok(());
        }
        found.paging = Paging::read(element);
        reader.children(
            |reader, element| match element.is(Namespace::Types, T::LIST) {
                false => Ok(()),
                true => read_all(reader, &mut found.entries),
            },
        )
    }
}

/// Reads everything in a list.
pub(super) fn read_all<T: Findable>(reader: &mut Reader<'_>, found: &mut Vec<T>) -> Result<()> {
    reader.children(|reader, element| {
        if element.namespace == Namespace::Types {
            found.push(T::read(reader, element)?);
        }
        Ok(())
    })
}

impl Findable for Folder {
    const NAME: &'static str = "FindFolder";
    const REQUEST: &'static str = "m:FindFolder";
    const VIEW: &'static str = "m:IndexedPageFolderView";
    const LIST: &'static str = "Folders";
    const PAGE: u32 = 100;

    fn write_shape(out: &mut Writer) {
        out.open("m:FolderShape", &[])
            .leaf("t:BaseShape", "Default");
        write_fields(out, &["folder:ParentFolderId", "folder:FolderClass"]);
        out.close();
    }

    fn read(reader: &mut Reader<'_>, element: &Element) -> Result<Self> {
        Self::read(reader, element)
    }
}

impl Findable for Item {
    const NAME: &'static str = "FindItem";
    const REQUEST: &'static str = "m:FindItem";
    const VIEW: &'static str = "m:IndexedPageItemView";
    const LIST: &'static str = "Items";
    const PAGE: u32 = 500;

    fn write_shape(out: &mut Writer) {
        out.open("m:ItemShape", &[]).leaf("t:BaseShape", "IdOnly");
        let fields = [
            "item:Subject",
            "item:ItemClass",
            "item:Size",
            "item:DateTimeReceived",
        ];
        write_fields(out, &fields);
        out.close();
    }

    fn write_order(out: &mut Writer) {
        out.open("m:SortOrder", &[])
            .open("t:FieldOrder", &[("Order", "Ascending")]);
        out.empty("t:FieldURI", &[("FieldURI", "item:DateTimeReceived")]);
        out.close().close();
    }

    fn read(reader: &mut Reader<'_>, element: &Element) -> Result<Self> {
        Self::read(reader, element)
    }
}

/// Writes further properties that are wanted.
pub(super) fn write_fields(out: &mut Writer, fields: &[&str]) {
    out.open("t:AdditionalProperties", &[]);
    for field in fields {
        out.empty("t:FieldURI", &[("FieldURI", field)]);
    }
    out.close();
}
