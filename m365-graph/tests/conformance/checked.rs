//! Checks of exchanges against the description of their operations.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};

use crate::description::Description;
use crate::recording::Exchange;

/// Query options that the description does not list where the service takes them.
const UNLISTED: [&str; 7] = [
    // Of tokens, which are opaque.
    "$skiptoken",
    "$deltatoken",
    "token",
    // Mail folders: list (2025) and its delta; drive item: upload (2025).
    "includeHiddenFolders",
    "@microsoft.graph.conflictBehavior",
    // Calendar views: listed for the view itself, and wanted by its delta as well.
    "startDateTime",
    "endDateTime",
];

/// What the checks of many exchanges came to.
#[derive(Default)]
pub struct Checked {
    pub complaints: BTreeSet<String>,
    pub requests: usize,
    pub answers: usize,
    /// Operations, with how often they succeeded.
    pub operations: BTreeMap<String, usize>,
}

impl Checked {
    /// Compares one exchange with the description of its operation.
    pub fn check(&mut self, description: &Description, exchange: &Exchange) {
        let name = exchange.name(description);
        if exchange.path.starts_with('{') {
            *self.operations.entry(name).or_default() += usize::from(exchange.status < 400);
            self.transfer(exchange);
            return;
        }
        let Some(operation) = exchange.operation(description) else {
            self.complaints.insert(format!("{name}: no such operation"));
            return;
        };
        let met = self.operations.entry(name.clone()).or_default();
        *met += usize::from(exchange.status < 400);
        let options = description.options(&operation);
        for (option, _) in url::form_urlencoded::parse(exchange.query.as_bytes()) {
            if !options.contains(&*option) && !UNLISTED.contains(&&*option) {
                self.complaints
                    .insert(format!("{name}: no option {option}"));
            }
        }
        if let (Some(schema), Some(body)) =
            (description.schema(&operation, None), &exchange.request())
        {
            self.requests += 1;
            let found = description.complaints(schema, body);
            let found = found.iter().map(|text| format!("{name} request {text}"));
            self.complaints.extend(found);
        }
        let schema = description.schema(&operation, Some(exchange.status));
        match (schema, &exchange.answer) {
            (Some(schema), Some(body)) => {
                self.answers += 1;
                let found = description.complaints(schema, body);
                let status = exchange.status;
                let found = found.iter().map(|text| format!("{name} {status} {text}"));
                self.complaints.extend(found);
            }
            (None, Some(_)) => {
                let status = exchange.status;
                let text = format!("{name}: no answer {status} is described");
                self.complaints.insert(text);
            }
            _ => {}
        }
    }

    /// Checks a request to an address of its own: no token, and fragments in their order.
    ///
    /// *Source*: the pages on upload sessions and on the import of mailbox items.
    fn transfer(&mut self, exchange: &Exchange) {
        let name = format!("{} {}", exchange.method, exchange.path);
        if exchange.headers.contains_key("authorization") {
            self.complaints.insert(format!("{name}: a token"));
        }
        if name != "PUT {uploadUrl}" {
            return;
        }
        let range = exchange.headers.get("content-range");
        let range = range.and_then(|range| range.to_str().ok());
        let read = |range: &str| {
            let (span, total) = range.strip_prefix("bytes ")?.split_once('/')?;
            let (first, last) = span.split_once('-')?;
            let number = |text: &str| text.parse::<usize>().ok();
            Some((number(first)?, number(last)? + 1, number(total)?))
        };
        let whole = range.and_then(read).is_some_and(|(first, end, total)| {
            let aligned = end == total || (end - first).is_multiple_of(327_680);
            end - first == exchange.sent.len() && end <= total && aligned
        });
        self.requests += 1;
        if !whole {
            self.complaints
                .insert(format!("{name}: the range {range:?}"));
        }
    }
}
