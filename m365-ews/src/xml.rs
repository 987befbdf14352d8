//! XML as EWS speaks it: a bounded reader that knows namespaces, and a writer.

mod reader;
mod writer;

pub use reader::Limits;
pub(crate) use reader::{Element, Namespace, Reader};
pub(crate) use writer::Writer;
