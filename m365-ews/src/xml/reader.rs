//! The reader: pulls elements from a document, by namespace, within limits.
//!
//! It holds one element at a time. What the service is known to get wrong it tolerates: character
//! references that XML forbids become U+FFFD. What only an attacker sends it refuses: document types,
//! entities, unbounded depth.

use std::borrow::Cow;

use quick_xml::NsReader;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;

use crate::error::{Error, ErrorKind, Result};

/// Bounds what a document may ask of the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Limits {
    /// Longest document, in bytes.
    pub document: usize,
    /// Deepest nesting of elements.
    pub depth: usize,
    /// Longest text of one element, in bytes.
    pub text: usize,
    /// Most attributes of one element.
    pub attributes: usize,
}

impl Default for Limits {
    /// 256 MiB, 64 levels, 224 MiB of text (a message of 150 MB in base64), 64 attributes.
    fn default() -> Self {
        Self {
            document: 256 << 20,
            depth: 64,
            text: 224 << 20,
            attributes: 64,
        }
    }
}

/// Names the namespaces that EWS uses; prefixes mean nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Namespace {
    /// SOAP 1.1.
    Soap,
    /// Requests and responses.
    Messages,
    /// Folders, items and their properties.
    Types,
    /// Details of faults.
    Errors,
    /// Any other, or none.
    Other,
}

impl Namespace {
    fn of(resolved: &ResolveResult<'_>) -> Self {
        let ResolveResult::Bound(namespace) = resolved else {
            return Self::Other;
        };
        match namespace.into_inner() {
            crate::envelope::SOAP => Self::Soap,
            crate::envelope::MESSAGES => Self::Messages,
            crate::envelope::TYPES => Self::Types,
            crate::envelope::ERRORS => Self::Errors,
            _ => Self::Other,
        }
    }
}

/// Holds the start of one element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name without prefix.
    pub name: String,
    attributes: Vec<(String, String)>,
}

impl Element {
    /// Tells whether it is this element.
    pub fn is(&self, namespace: Namespace, name: &str) -> bool {
        self.namespace == namespace && self.name == name
    }

    /// Returns the value of an attribute, by its name without prefix.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }
}

enum Step {
    Start(Element),
    Text(String),
    End,
    Done,
}

/// Reads one document.
#[derive(Debug)]
pub struct Reader<'a> {
    inner: NsReader<&'a [u8]>,
    limits: Limits,
    depth: usize,
    /// The end of an empty element, still to be reported.
    pending_end: bool,
    replaced: u64,
}

impl<'a> Reader<'a> {
    /// Begins to read.
    ///
    /// *Errors*: [`ErrorKind::TooLarge`], when the document passes its limit.
    pub fn new(document: &'a [u8], limits: Limits) -> Result<Self> {
        if document.len() > limits.document {
            return Err(too_large("the document", limits.document, "bytes"));
        }
        let mut inner = NsReader::from_reader(document);
        inner.config_mut().check_end_names = true;
        Ok(Self {
            inner,
            limits,
            depth: 0,
            pending_end: false,
            replaced: 0,
        })
    }

    /// Returns how many illegal character references were replaced.
    pub fn replaced(&self) -> u64 {
        self.replaced
    }

    /// Calls `visit` for every child of the element that was entered last, or for the root.
    ///
    /// What `visit` does not read of a child is skipped.
    ///
    /// *Errors*: those of `visit`; of kind `Malformed` or `TooLarge`, for the document.
    pub fn children(
        &mut self,
        mut visit: impl FnMut(&mut Self, &Element) -> Result<()>,
    ) -> Result<()> {
        loop {
            match self.step()? {
                Step::Start(element) => {
                    let inside = self.depth;
                    visit(self, &element)?;
                    self.leave(inside)?;
                }
                Step::Text(_) => {}
                Step::End | Step::Done => return Ok(()),
            }
        }
    }

    /// Returns the text of the element that was entered last, without that of its children.
    ///
    /// *Errors*: of kind `Malformed` or `TooLarge`.
    pub fn text(&mut self) -> Result<String> {
        let mut whole = String::new();
        loop {
            match self.step()? {
                Step::Text(part) => {
                    if whole.len() + part.len() > self.limits.text {
                        return Err(too_large("a text", self.limits.text, "bytes"));
                    }
                    if whole.is_empty() {
                        whole = part;
                    } else {
                        whole.push_str(&part);
                    }
                }
                Step::Start(_) => {
                    let child = self.depth;
                    self.leave(child)?;
                }
                Step::End | Step::Done => return Ok(whole),
            }
        }
    }

    /// Skips whatever is left inside an element at depth `inside`, its end included.
    fn leave(&mut self, inside: usize) -> Result<()> {
        while self.depth >= inside {
            if let Step::Done = self.step()? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn step(&mut self) -> Result<Step> {
        if std::mem::take(&mut self.pending_end) {
            self.depth -= 1;
            return Ok(Step::End);
        }
        loop {
            let (resolved, event) = self.inner.read_resolved_event().map_err(unreadable)?;
            let namespace = Namespace::of(&resolved);
            match event {
                Event::Start(start) => return self.enter(namespace, &start),
                Event::Empty(start) => {
                    let step = self.enter(namespace, &start)?;
                    self.pending_end = true;
                    return Ok(step);
                }
                Event::End(_) => {
                    self.depth = self.depth.checked_sub(1).ok_or_else(|| {
                        Error::malformed("the document ends an element that it did not begin")
                    })?;
                    return Ok(Step::End);
                }
                Event::Text(text) => return Ok(Step::Text(text.into_inner().into_owned())),
                Event::CData(text) => return Ok(Step::Text(text.into_inner().into_owned())),
                Event::GeneralRef(reference) => {
                    let name = reference.into_inner();
                    return Ok(Step::Text(resolve(&name, &mut self.replaced)?.to_string()));
                }
                Event::DocType(_) => {
                    return Err(Error::malformed("the document has a document type"));
                }
                Event::Eof if self.depth == 0 => return Ok(Step::Done),
                Event::Eof => return Err(Error::malformed("the document ends too early")),
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            }
        }
    }

    fn enter(&mut self, namespace: Namespace, start: &BytesStart<'_>) -> Result<Step> {
        if self.depth >= self.limits.depth {
            return Err(too_large("the nesting", self.limits.depth, "levels"));
        }
        self.depth += 1;
        let mut attributes = Vec::new();
        for attribute in start.attributes().with_checks(false) {
            let attribute = attribute.map_err(unreadable)?;
            if attributes.len() >= self.limits.attributes {
                return Err(too_large(
                    "an element",
                    self.limits.attributes,
                    "attributes",
                ));
            }
            let name = attribute.key.local_name().into_inner().to_owned();
            let value = unescape(&attribute.value, &mut self.replaced)?.into_owned();
            attributes.push((name, value));
        }
        Ok(Step::Start(Element {
            namespace,
            name: start.local_name().into_inner().to_owned(),
            attributes,
        }))
    }
}

/// Replaces the references in the value of an attribute.
fn unescape<'a>(text: &'a str, replaced: &mut u64) -> Result<Cow<'a, str>> {
    if !text.contains('&') {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        let (name, after) = after
            .split_once(';')
            .ok_or_else(|| Error::malformed("a reference in an attribute has no end"))?;
        out.push_str(before);
        out.push(resolve(name, replaced)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(Cow::Owned(out))
}

/// Returns what a reference stands for; a character that XML forbids becomes U+FFFD.
fn resolve(name: &str, replaced: &mut u64) -> Result<char> {
    let number = match name {
        "lt" => return Ok('<'),
        "gt" => return Ok('>'),
        "amp" => return Ok('&'),
        "quot" => return Ok('"'),
        "apos" => return Ok('\''),
        _ => match name.strip_prefix('#') {
            Some(digits) => match digits.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => digits.parse(),
            },
            None => return Err(Error::malformed("the document uses an entity of its own")),
        },
    };
    let legal =
        |c: &char| *c >= ' ' && !matches!(*c, '\u{fffe}' | '\u{ffff}') || "\t\n\r".contains(*c);
    Ok(number
        .ok()
        .and_then(char::from_u32)
        .filter(legal)
        .unwrap_or_else(|| {
            *replaced += 1;
            char::REPLACEMENT_CHARACTER
        }))
}

fn unreadable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::malformed("the document is not well-formed xml").with_source(cause)
}

fn too_large(what: &str, limit: usize, unit: &str) -> Error {
    Error::new(
        ErrorKind::TooLarge,
        format!("{what} passes the limit of {limit} {unit}"),
    )
}
