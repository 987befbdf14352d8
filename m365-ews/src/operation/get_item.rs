//! GetItem: items by id, with their MIME content if wanted.

use super::Operation;
use super::find::{read_all, write_fields};
use super::wire::Wire;
use crate::error::Result;
use crate::types::{Item, ItemId};
use crate::xml::{Element, Namespace, Reader, Writer};

/// Asks for items by id; the answer has one response message for each, in this order.
///
/// *Units and limits*: ten at a time is what the service recommends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetItem {
    ids: Vec<ItemId>,
    mime: bool,
}

impl GetItem {
    /// Asks for these items without their MIME content.
    pub fn new(ids: impl IntoIterator<Item = ItemId>) -> Self {
        Self {
            ids: ids.into_iter().collect(),
            mime: false,
        }
    }

    /// Asks for the MIME content as well.
    #[must_use]
    pub fn with_mime(mut self) -> Self {
        self.mime = true;
        self
    }
}

impl Operation for GetItem {
    type Answer = Vec<Item>;
}

impl Wire for GetItem {
    type Out = Vec<Item>;
    const NAME: &'static str = "GetItem";

    fn write(&self, out: &mut Writer) {
        out.open("m:GetItem", &[]);
        out.open("m:ItemShape", &[]).leaf("t:BaseShape", "Default");
        out.leaf(
            "t:IncludeMimeContent",
            if self.mime { "true" } else { "false" },
        );
        let fields = [
            "item:ParentFolderId",
            "item:ItemClass",
            "item:LastModifiedTime",
        ];
        write_fields(out, &fields);
        out.close();
        out.open("m:ItemIds", &[]);
        for id in &self.ids {
            id.write(out);
        }
        out.close().close();
    }

    fn read(reader: &mut Reader<'_>, element: &Element, items: &mut Vec<Item>) -> Result<()> {
        match element.is(Namespace::Messages, "Items") {
            false => Ok(()),
            true => read_all(reader, items),
        }
    }
}
