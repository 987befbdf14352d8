//! Which collections there are: their addresses, and how each lets itself be paged.
//!
//! *Source*: the v1.0 metadata of 2026-08 for the addresses; Graph, delta query (2025), for the
//! directory; the pages of the single delta functions for page sizes.

use super::{
    Calendar, ChannelMessage, Contact, ContactFolder, Event, Feed, Group, ListItem, Listing,
    MailboxFolder, MailboxItem, Paged, Site, SiteList, TodoList, TodoTask,
};
use crate::client::{GraphClient, Segment, segment};
use crate::drive::{Drive, DriveItem};
use crate::error::Result;
use crate::mail::{MailFolder, Message};
use crate::users::User;

/// Every function here builds and sends nothing. *Errors*:
/// [`InvalidRequest`](crate::ErrorKind::InvalidRequest) for an id that is empty or only dots.
impl GraphClient {
    /// Tells the changes of the users of the tenant, with the properties selected.
    pub fn users_feed(&self) -> Result<Feed<User>> {
        let path = [segment("users"), segment("delta")];
        self.feed("the changes of the users", &path, Paged::Fixed)
    }

    /// Tells the changes of the groups of the tenant, with their members where selected.
    pub fn groups_feed(&self) -> Result<Feed<Group>> {
        let path = [segment("groups"), segment("delta")];
        self.feed("the changes of the groups", &path, Paged::Fixed)
    }

    /// Tells the changes of a user's mail folders.
    pub fn mail_folders_feed(&self, user: &str) -> Result<Feed<MailFolder>> {
        let path = of(user, &[segment("mailFolders"), segment("delta")]);
        self.feed("the changes of the mail folders", &path, Paged::Preferred)
    }

    /// Tells the changes of the messages of a mail folder.
    pub fn messages_feed(&self, user: &str, folder: &str) -> Result<Feed<Message>> {
        let rest = [
            segment("mailFolders"),
            folder.into(),
            segment("messages"),
            segment("delta"),
        ];
        let about = "the changes of the messages in the folder";
        self.feed(about, &of(user, &rest), Paged::Preferred)
    }

    /// Tells the changes of a user's contact folders.
    pub fn contact_folders_feed(&self, user: &str) -> Result<Feed<ContactFolder>> {
        let path = of(user, &[segment("contactFolders"), segment("delta")]);
        self.feed(
            "the changes of the contact folders",
            &path,
            Paged::Preferred,
        )
    }

    /// Tells the changes of the contacts of a folder, or of the default folder.
    pub fn contacts_feed(&self, user: &str, folder: Option<&str>) -> Result<Feed<Contact>> {
        let mut rest = Vec::new();
        if let Some(folder) = folder {
            rest.extend([segment("contactFolders"), folder.into()]);
        }
        rest.extend([segment("contacts"), segment("delta")]);
        self.feed(
            "the changes of the contacts",
            &of(user, &rest),
            Paged::Preferred,
        )
    }

    /// Tells the changes of the events of a calendar, or of the default calendar: single events
    /// and masters of series.
    pub fn events_feed(&self, user: &str, calendar: Option<&str>) -> Result<Feed<Event>> {
        let path = in_calendar(user, calendar, &[segment("events"), segment("delta")]);
        self.feed("the changes of the events", &path, Paged::Preferred)
    }

    /// Tells the changes of a calendar, or of the default calendar, between two times; occurrences
    /// of series come one by one.
    ///
    /// *Shape*: times are RFC 3339. Events outside of the two may come as removed.
    pub fn calendar_view_feed(
        &self,
        user: &str,
        calendar: Option<&str>,
        begin: &str,
        end: &str,
    ) -> Result<Feed<Event>> {
        let path = in_calendar(user, calendar, &[segment("calendarView"), segment("delta")]);
        let mut feed = self.feed("the changes of the calendar", &path, Paged::Preferred)?;
        feed.first = feed
            .first
            .query("startDateTime", begin)
            .query("endDateTime", end);
        Ok(feed)
    }

    /// Tells the changes of a user's lists of tasks.
    pub fn todo_lists_feed(&self, user: &str) -> Result<Feed<TodoList>> {
        let path = of(user, &[segment("todo"), segment("lists"), segment("delta")]);
        self.feed("the changes of the task lists", &path, Paged::Preferred)
    }

    /// Tells the changes of the tasks of a list.
    pub fn todo_tasks_feed(&self, user: &str, list: &str) -> Result<Feed<TodoTask>> {
        let rest = [
            segment("todo"),
            segment("lists"),
            list.into(),
            segment("tasks"),
            segment("delta"),
        ];
        self.feed(
            "the changes of the tasks",
            &of(user, &rest),
            Paged::Preferred,
        )
    }

    /// Tells the changes of the folders of a mailbox, by its export id.
    pub fn mailbox_folders_feed(&self, mailbox: &str) -> Result<Feed<MailboxFolder>> {
        let path = exported(mailbox, &[segment("folders"), segment("delta")]);
        self.feed(
            "the changes of the mailbox folders",
            &path,
            Paged::Preferred,
        )
    }

    /// Tells the changes of the items of a folder of a mailbox, of every class, by export ids.
    pub fn mailbox_items_feed(&self, mailbox: &str, folder: &str) -> Result<Feed<MailboxItem>> {
        let rest = [
            segment("folders"),
            folder.into(),
            segment("items"),
            segment("delta"),
        ];
        let path = exported(mailbox, &rest);
        self.feed("the changes of the mailbox items", &path, Paged::Preferred)
    }

    /// Tells the changes of a drive, all folders together.
    pub fn drive_feed(&self, drive: &str) -> Result<Feed<DriveItem>> {
        let path = [
            segment("drives"),
            drive.into(),
            segment("root"),
            segment("delta"),
        ];
        self.feed("the changes of the drive", &path, Paged::Top)
            .map(Feed::of_drives)
    }

    /// Tells the changes of the sites of the tenant; for applications only.
    pub fn sites_feed(&self) -> Result<Feed<Site>> {
        let path = [segment("sites"), segment("delta")];
        self.feed("the changes of the sites", &path, Paged::Fixed)
    }

    /// Tells the changes of the items of a list.
    pub fn list_items_feed(&self, site: &str, list: &str) -> Result<Feed<ListItem>> {
        let path = in_list(site, list, &[segment("items"), segment("delta")]);
        self.feed("the changes of the list items", &path, Paged::Top)
            .map(Feed::of_drives)
    }

    /// Tells the changes of the messages of a channel, of the last eight months at most.
    pub fn channel_messages_feed(&self, team: &str, channel: &str) -> Result<Feed<ChannelMessage>> {
        let path = [
            segment("teams"),
            team.into(),
            segment("channels"),
            channel.into(),
            segment("messages"),
            segment("delta"),
        ];
        self.feed("the changes of the channel messages", &path, Paged::Top)
    }

    /// Lists the users of the tenant.
    pub fn users(&self) -> Result<Listing<User>> {
        self.listing("the list of users", &[segment("users")])
    }

    /// Lists the groups of the tenant.
    pub fn groups(&self) -> Result<Listing<Group>> {
        self.listing("the list of groups", &[segment("groups")])
    }

    /// Lists the users that are members of a group, those of groups within it left out.
    pub fn group_members(&self, group: &str) -> Result<Listing<User>> {
        let path = [segment("groups"), group.into(), segment("members")];
        self.listing("the members of the group", &path)
    }

    /// Lists the messages of a mail folder.
    pub fn messages(&self, user: &str, folder: &str) -> Result<Listing<Message>> {
        let rest = [segment("mailFolders"), folder.into(), segment("messages")];
        self.listing("the messages in the folder", &of(user, &rest))
    }

    /// Lists a user's contact folders.
    pub fn contact_folders(&self, user: &str) -> Result<Listing<ContactFolder>> {
        self.listing(
            "the contact folders",
            &of(user, &[segment("contactFolders")]),
        )
    }

    /// Lists a user's calendars.
    pub fn calendars(&self, user: &str) -> Result<Listing<Calendar>> {
        self.listing("the calendars", &of(user, &[segment("calendars")]))
    }

    /// Lists the events of a calendar, or of the default calendar.
    pub fn events(&self, user: &str, calendar: Option<&str>) -> Result<Listing<Event>> {
        self.listing(
            "the events",
            &in_calendar(user, calendar, &[segment("events")]),
        )
    }

    /// Lists the items in a folder of a drive.
    pub fn drive_children(&self, drive: &str, folder: &str) -> Result<Listing<DriveItem>> {
        let path = [
            segment("drives"),
            drive.into(),
            segment("items"),
            folder.into(),
            segment("children"),
        ];
        self.listing("the items in the drive folder", &path)
    }

    /// Lists all sites of the tenant; for applications only.
    pub fn sites(&self) -> Result<Listing<Site>> {
        self.listing(
            "the list of sites",
            &[segment("sites"), segment("getAllSites")],
        )
    }

    /// Lists the drives of a site.
    pub fn site_drives(&self, site: &str) -> Result<Listing<Drive>> {
        let path = [segment("sites"), site.into(), segment("drives")];
        self.listing("the drives of the site", &path)
    }

    /// Lists the lists of a site; hidden ones come when `system` is selected.
    pub fn site_lists(&self, site: &str) -> Result<Listing<SiteList>> {
        let path = [segment("sites"), site.into(), segment("lists")];
        self.listing("the lists of the site", &path)
    }

    /// Lists the items of a list with all their fields.
    pub fn list_items(&self, site: &str, list: &str) -> Result<Listing<ListItem>> {
        let path = in_list(site, list, &[segment("items")]);
        let mut listing = self.listing("the list items", &path)?;
        listing.first = listing.first.query("$expand", "fields");
        Ok(listing)
    }

    fn feed<T: serde::de::DeserializeOwned>(
        &self,
        about: &'static str,
        path: &[Segment<'_>],
        paged: Paged,
    ) -> Result<Feed<T>> {
        Ok(Feed::new(self, self.get(about, path)?, paged))
    }

    fn listing<T: serde::de::DeserializeOwned>(
        &self,
        about: &'static str,
        path: &[Segment<'_>],
    ) -> Result<Listing<T>> {
        Ok(Listing::new(self, self.get(about, path)?))
    }
}

fn of<'s>(user: &'s str, rest: &[Segment<'s>]) -> Vec<Segment<'s>> {
    let mut path = vec![segment("users"), user.into()];
    path.extend_from_slice(rest);
    path
}

fn in_calendar<'s>(
    user: &'s str,
    calendar: Option<&'s str>,
    rest: &[Segment<'s>],
) -> Vec<Segment<'s>> {
    let mut path = vec![segment("users"), user.into()];
    if let Some(calendar) = calendar {
        path.extend([segment("calendars"), calendar.into()]);
    }
    path.extend_from_slice(rest);
    path
}

fn in_list<'s>(site: &'s str, list: &'s str, rest: &[Segment<'s>]) -> Vec<Segment<'s>> {
    let mut path = vec![segment("sites"), site.into(), segment("lists"), list.into()];
    path.extend_from_slice(rest);
    path
}

fn exported<'s>(mailbox: &'s str, rest: &[Segment<'s>]) -> Vec<Segment<'s>> {
    let mut path = vec![
        segment("admin"),
        segment("exchange"),
        segment("mailboxes"),
        mailbox.into(),
    ];
    path.extend_from_slice(rest);
    path
}
