//! Messages by a mark: a named property that a program gave the messages it wrote.

use super::{Mail, Message};
use crate::client::segment;
use crate::error::Result;
use crate::page::{self, Page, PageLink};

impl Mail {
    /// Reads one page of the messages of a folder with one extended property of each, or only those
    /// in which it has this `value`.
    ///
    /// *Shape*: `property` is the service's own form, such as `String {guid} Name Mark`. Messages
    /// carry id, change key and `singleValueExtendedProperties`; the latter is absent where the
    /// property is not set.
    ///
    /// *Source*: get singleValueLegacyExtendedProperty, both forms of the query (2026-08).
    pub async fn marked_messages_page(
        &self,
        folder: &str,
        property: &str,
        value: Option<&str>,
        next: Option<&PageLink>,
    ) -> Result<Page<Message>> {
        const ABOUT: &str = "the marked messages in the folder";
        let call = self.client.page(ABOUT, next, || {
            let path = [segment("mailFolders"), folder.into(), segment("messages")];
            let size = self.client.options().list_page_size.to_string();
            let property = quoted(property);
            let shown = format!("singleValueExtendedProperties($filter=id eq {property})");
            let mut call = self
                .get(ABOUT)?
                .path(&path)?
                .query("$select", "id,changeKey");
            call = call.query("$expand", &shown);
            if let Some(value) = value {
                let same = format!("ep/id eq {property} and ep/value eq {}", quoted(value));
                let filter = format!("singleValueExtendedProperties/Any(ep: {same})");
                call = call.query("$filter", &filter);
            }
            Ok(call.query("$top", &size))
        })?;
        page::list(self.client.json(call).await?, &|link| {
            self.client.check(link)
        })
        .map_err(|error| error.about(ABOUT))
    }
}

/// Writes a text as OData does: in single quotes, those within doubled.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_quote_within_a_text_cannot_end_it() {
        assert_eq!(quoted("a'b"), "'a''b'");
    }
}
