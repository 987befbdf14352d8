//! How an operation is written and read; sealed, since its types are not for others.

use crate::error::Result;
use crate::xml::{Element, Reader, Writer};

/// Writes a request and reads its answer.
pub trait Wire {
    /// What one response message holds.
    type Out: Default;
    /// The operation's name: its request element, and its response element without `Response`.
    const NAME: &'static str;

    /// Writes the element of the request into the body.
    fn write(&self, out: &mut Writer);

    /// Reads one child of a response message.
    fn read(reader: &mut Reader<'_>, element: &Element, out: &mut Self::Out) -> Result<()>;
}
