//! XML as EWS speaks it: a bounded reader that knows namespaces, and a writer.

mod reader;
mod writer;

pub use reader::{Element, Limits, Namespace, Reader};
pub use writer::Writer;
