//! What is read from the entities of feeds and listings; everything else stays in their raw JSON.
//!
//! Times are texts as the service gives them.

use serde_json::Value;

use crate::entity::view;

view! {
    /// Shows a group of the directory.
    pub struct Group with id {
        /// The name to show.
        display_name: Option<String> = "displayName",
        /// The mail address.
        mail: Option<String> = "mail",
        /// Holds `Unified` for Microsoft 365 groups.
        group_types: Vec<String> = "groupTypes",
        /// Holds `Team` where a team belongs to it.
        resource_provisioning_options: Vec<String> = "resourceProvisioningOptions",
    }
}

view! {
    /// Shows a contact.
    pub struct Contact with id, times {
        /// The name to show.
        display_name: Option<String> = "displayName",
        /// The change key: another one after every change.
        change_key: Option<String> = "changeKey",
        /// The id of its folder.
        parent_folder_id: Option<String> = "parentFolderId",
    }
}

view! {
    /// Shows a folder of contacts.
    pub struct ContactFolder with id {
        /// The name to show.
        display_name: Option<String> = "displayName",
        /// The id of the folder that holds it.
        parent_folder_id: Option<String> = "parentFolderId",
    }
}

view! {
    /// Shows a calendar.
    pub struct Calendar with id {
        /// The name to show.
        name: Option<String> = "name",
        /// The change key: another one after every change.
        change_key: Option<String> = "changeKey",
        /// Whether it is the one that new events go to.
        is_default_calendar: Option<bool> = "isDefaultCalendar",
        /// Whether the user may change it; calendars of others often not.
        can_edit: Option<bool> = "canEdit",
    }
}

view! {
    /// Shows an event of a calendar.
    pub struct Event with id, times {
        /// The subject.
        subject: Option<String> = "subject",
        /// The change key: another one after every change.
        change_key: Option<String> = "changeKey",
        /// The same in all calendars that hold the event.
        ical_uid: Option<String> = "iCalUId",
        /// `singleInstance`, `occurrence`, `exception` or `seriesMaster`.
        event_type: Option<String> = "type",
        /// The id of the master, of occurrences and exceptions.
        series_master_id: Option<String> = "seriesMasterId",
        /// Whether it has attachments.
        has_attachments: Option<bool> = "hasAttachments",
    }
}

view! {
    /// Shows a list of tasks.
    pub struct TodoList with id {
        /// The name to show.
        display_name: Option<String> = "displayName",
        /// `none`, `defaultList` or `flaggedEmails`.
        well_known_name: Option<String> = "wellknownListName",
    }
}

view! {
    /// Shows a task.
    pub struct TodoTask with id, times {
        /// The title.
        title: Option<String> = "title",
        /// `notStarted`, `inProgress`, `completed` and others.
        status: Option<String> = "status",
    }
}

view! {
    /// Shows a folder of a mailbox as its export names it, of any class.
    pub struct MailboxFolder with id {
        /// The name to show.
        display_name: Option<String> = "displayName",
        /// The id of the folder that holds it.
        parent_folder_id: Option<String> = "parentFolderId",
        /// The class of its items, such as `IPF.Note`.
        folder_class: Option<String> = "type",
        /// How many items it holds.
        total_item_count: Option<u64> = "totalItemCount",
        /// The well-known name, where the service tells it.
        well_known_name: Option<String> = "wellKnownName",
    }
}

view! {
    /// Shows an item of a mailbox as its export names it, of any class.
    pub struct MailboxItem with id, times {
        /// The class, such as `IPM.Note`.
        item_class: Option<String> = "type",
        /// The length, in bytes.
        size: Option<u64> = "size",
        /// The change key: another one after every change.
        change_key: Option<String> = "changeKey",
    }
}

view! {
    /// Shows a site.
    pub struct Site with id {
        /// The name in its address.
        name: Option<String> = "name",
        /// The name to show.
        display_name: Option<String> = "displayName",
        /// Its address for people.
        web_url: Option<String> = "webUrl",
        /// Whether it belongs to one person.
        is_personal_site: Option<bool> = "isPersonalSite",
    }
}

view! {
    /// Shows a list of a site.
    pub struct SiteList with id {
        /// The name in its address.
        name: Option<String> = "name",
        /// The name to show.
        display_name: Option<String> = "displayName",
        /// The eTag: another one after every change.
        e_tag: Option<String> = "eTag",
        /// The template and what else makes it a list.
        list: Option<Value> = "list",
        /// Present on lists that the service made for itself.
        system: Option<Value> = "system",
    }
}

view! {
    /// Shows an item of a list.
    pub struct ListItem with id, times {
        /// The eTag: another one after every change.
        e_tag: Option<String> = "eTag",
        /// Its fields, by their internal names.
        fields: Option<Value> = "fields",
    }
}

view! {
    /// Shows a message of a channel.
    pub struct ChannelMessage with id {
        /// The id of the message it answers.
        reply_to_id: Option<String> = "replyToId",
        /// The eTag: another one after every change.
        etag: Option<String> = "etag",
        /// When it was written.
        created_date_time: Option<String> = "createdDateTime",
        /// When it was changed last, reactions included.
        last_modified_date_time: Option<String> = "lastModifiedDateTime",
        /// When it was deleted, if it was.
        deleted_date_time: Option<String> = "deletedDateTime",
    }
}
