//! XML of requests: a small tree, by namespace.

use quick_xml::NsReader;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;

use super::SoapError;

/// Deepest nesting of a request.
const DEPTH_MAX: usize = 32;

/// One element with all it holds.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) namespace: String,
    pub(super) name: String,
    attributes: Vec<(String, String)>,
    pub(super) children: Vec<Self>,
    content: String,
}

impl Node {
    pub(super) fn is(&self, namespace: &str, name: &str) -> bool {
        self.namespace == namespace && self.name == name
    }

    pub(super) fn child(&self, namespace: &str, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.is(namespace, name))
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn text(&self) -> String {
        self.content.trim().to_owned()
    }
}

/// Reads a document into its root element.
pub(super) fn parse(document: &[u8]) -> Result<Node, SoapError> {
    let bad = |text: &str| SoapError::new("ErrorSchemaValidation", text);
    let mut reader = NsReader::from_reader(document);
    let mut open = vec![Node::default()];
    loop {
        let (namespace, event) = reader
            .read_resolved_event()
            .map_err(|cause| bad(&format!("The request failed schema validation: {cause}")))?;
        let namespace = match namespace {
            ResolveResult::Bound(namespace) => namespace.into_inner().to_owned(),
            _ => String::new(),
        };
        match event {
            Event::Start(start) if open.len() < DEPTH_MAX => open.push(node(namespace, &start)?),
            Event::Start(_) => return Err(bad("The request is nested too deeply.")),
            Event::Empty(start) => {
                let node = node(namespace, &start)?;
                if let Some(parent) = open.last_mut() {
                    parent.children.push(node);
                }
            }
            Event::End(_) => {
                let done = open
                    .pop()
                    .ok_or_else(|| bad("The request is not well formed."))?;
                let parent = open
                    .last_mut()
                    .ok_or_else(|| bad("The request is not well formed."))?;
                parent.children.push(done);
            }
            Event::Text(text) => append(&mut open, &text.into_inner()),
            Event::CData(text) => append(&mut open, &text.into_inner()),
            Event::GeneralRef(name) => {
                let name = name.into_inner();
                let text = quick_xml::escape::unescape(&format!("&{name};"))
                    .map_err(|_| bad("The request holds an invalid character."))?
                    .into_owned();
                append(&mut open, &text);
            }
            Event::DocType(_) => return Err(bad("The request holds a document type.")),
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
        }
    }
    match (
        open.len(),
        open.pop().and_then(|mut top| top.children.pop()),
    ) {
        (1, Some(root)) => Ok(root),
        _ => Err(bad("The request is not well formed.")),
    }
}

fn append(open: &mut [Node], text: &str) {
    if let Some(node) = open.last_mut() {
        node.content.push_str(text);
    }
}

fn node(namespace: String, start: &BytesStart<'_>) -> Result<Node, SoapError> {
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let bad = || SoapError::new("ErrorSchemaValidation", "An attribute is not well formed.");
        let attribute = attribute.map_err(|_| bad())?;
        let value = quick_xml::escape::unescape(&attribute.value).map_err(|_| bad())?;
        let name = attribute.key.local_name().into_inner().to_owned();
        attributes.push((name, value.into_owned()));
    }
    Ok(Node {
        namespace,
        name: start.local_name().into_inner().to_owned(),
        attributes,
        ..Node::default()
    })
}

/// Escapes text for content and attributes.
pub(super) fn escape(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}
