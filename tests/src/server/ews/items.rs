//! Items of a mailbox: what FindItem finds and GetItem shows, in the shapes of the service.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::answer::instant;
use super::folders::{from_ews, to_ews};
use super::xml::{Node, escape};
use super::{MESSAGES, SoapError, TYPES};
use crate::tenant::State;
use crate::tenant::mailbox::Mailbox;
use crate::tenant::message::{Address, Message};

/// Returns the messages of a folder in the order that a request asks for, the newest first where it
/// asks for none.
pub(super) fn listed<'m>(
    mailbox: &'m Mailbox,
    folder: u32,
    request: &Node,
) -> Result<Vec<&'m Message>, SoapError> {
    if request.child(MESSAGES, "Restriction").is_some() {
        return Err(SoapError::new(
            "ErrorUnsupportedQueryFilter",
            "Restrictions are not supported here.",
        ));
    }
    let mut messages: Vec<&Message> = mailbox.messages_in(folder).collect();
    messages.sort_by_key(|message| std::cmp::Reverse((message.received, message.serial)));
    let order = request
        .child(MESSAGES, "SortOrder")
        .and_then(|order| order.children.first());
    let Some(order) = order else {
        return Ok(messages);
    };
    let field = order
        .child(TYPES, "FieldURI")
        .and_then(|field| field.attribute("FieldURI"));
    match field {
        Some("item:DateTimeReceived") => messages.sort_by_key(|message| message.received),
        Some("item:Subject") => {
            messages.sort_by_cached_key(|message| message.view(false).subject);
        }
        _ => {
            return Err(SoapError::new(
                "ErrorUnsupportedPathForSortGroup",
                "The property can not be used for sorting.",
            ));
        }
    }
    if order.attribute("Order") == Some("Descending") {
        messages.reverse();
    }
    Ok(messages)
}

/// Finds a message of any mailbox that the call may see: of the one it acts for.
pub(super) fn find<'a>(
    state: &'a State,
    acting: &str,
    id: &str,
) -> Option<(&'a Mailbox, &'a Message)> {
    let mailbox = state.user(acting)?.mailbox.as_ref()?;
    let message = mailbox.message(&from_ews(id))?;
    Some((mailbox, message))
}

/// Shows a message; its content only where that is asked for.
pub(super) fn show(mailbox: &Mailbox, message: &Message, mime: bool, whole: bool) -> String {
    let view = message.view(whole);
    let content = match mime {
        true => format!(
            "<t:MimeContent CharacterSet=\"UTF-8\">{}</t:MimeContent>",
            STANDARD.encode(message.mime())
        ),
        false => String::new(),
    };
    let body = match whole {
        true => {
            let (text, html) = view.body();
            let kind = if html { "HTML" } else { "Text" };
            format!("<t:Body BodyType=\"{kind}\">{}</t:Body>", escape(text))
        }
        false => String::new(),
    };
    let categories = match message.categories.as_slice() {
        [] => String::new(),
        names => {
            let names: String = names
                .iter()
                .map(|name| format!("<t:String>{}</t:String>", escape(name)))
                .collect();
            format!("<t:Categories>{names}</t:Categories>")
        }
    };
    format!(
        "<t:Message>{content}<t:ItemId Id=\"{id}\" ChangeKey=\"{change}\"/>\
         <t:ParentFolderId Id=\"{parent}\"/><t:ItemClass>IPM.Note</t:ItemClass>\
         <t:Subject>{subject}</t:Subject>{body}<t:DateTimeReceived>{received}</t:DateTimeReceived>\
         <t:Size>{size}</t:Size>{categories}<t:IsDraft>{draft}</t:IsDraft>\
         <t:DateTimeSent>{sent}</t:DateTimeSent><t:DateTimeCreated>{created}</t:DateTimeCreated>\
         <t:HasAttachments>{attached}</t:HasAttachments>\
         <t:LastModifiedTime>{modified}</t:LastModifiedTime>{to}{cc}{from}\
         <t:InternetMessageId>{message_id}</t:InternetMessageId><t:IsRead>{read}</t:IsRead>\
         </t:Message>",
        id = to_ews(&mailbox.message_id(message, false)),
        change = escape(&mailbox.change_key(message.change)),
        parent = to_ews(&mailbox.folder_id(message.folder)),
        subject = escape(&view.subject),
        received = instant(message.received),
        size = message.mime().len(),
        draft = message.draft,
        sent = instant(message.sent),
        created = instant(message.created),
        attached = view.attachments.iter().any(|file| !file.inline),
        modified = instant(message.modified),
        to = people("ToRecipients", &view.to),
        cc = people("CcRecipients", &view.cc),
        from = people("From", view.from.as_slice()),
        message_id = escape(&view.internet_message_id),
        read = message.read,
    )
}

fn people(name: &str, people: &[Address]) -> String {
    if people.is_empty() {
        return String::new();
    }
    let people: String = people
        .iter()
        .map(|person| {
            format!(
                "<t:Mailbox><t:Name>{}</t:Name><t:EmailAddress>{}</t:EmailAddress>\
                 <t:RoutingType>SMTP</t:RoutingType></t:Mailbox>",
                escape(&person.name),
                escape(&person.address)
            )
        })
        .collect();
    format!("<t:{name}>{people}</t:{name}>")
}
