//! Batches: many small requests in one, each answered, and tried again, on its own.
//!
//! *Source*: Microsoft Graph, JSON batching (2025): at most 20 parts, ids unique, answers in no
//! order, 424 after a failed dependency, throttling of each part with its own `Retry-After`.

mod round;

use std::fmt;
use std::marker::PhantomData;

use http::{HeaderMap, Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::client::{Call, GraphClient, Segment, segment};
use crate::drive::DriveItem;
use crate::entity::Entity;
use crate::error::{Error, ErrorKind, Result};
use crate::mail::{MailFolder, Message};
use crate::users::User;

/// Gathers requests that are sent together.
///
/// *Units and limits*: any number of parts; they travel twenty at a time. To the limits of the
/// service each part counts as one request, and what carries them as none; see [`len`](Self::len).
pub struct Batch {
    client: GraphClient,
    parts: Vec<Prepared>,
}

/// Names one part of a batch, and what its answer is read as.
pub struct Part<T> {
    number: usize,
    answer: PhantomData<fn() -> T>,
}

/// Holds the answers to a batch, one for each part.
pub struct BatchAnswers(Vec<Option<Result<PartAnswer>>>);

/// One request with the part that it waits for.
struct Prepared {
    call: Call,
    after: Option<usize>,
}

/// What came back for a part that was not refused.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PartAnswer {
    /// The status, of the 2xx and 3xx.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; null where there is none, base64 text where it is not JSON.
    pub body: Value,
}

impl GraphClient {
    /// Begins a batch. Nothing is sent.
    pub fn batch(&self) -> Batch {
        Batch {
            client: self.clone(),
            parts: Vec::new(),
        }
    }
}

impl Batch {
    /// Returns the number of parts, which is what the batch costs in requests.
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// Tells whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Reads a user by id or principal name.
    ///
    /// *Errors*: [`ErrorKind::InvalidRequest`] for an id that is none, here and below.
    pub fn user(&mut self, user: &str) -> Result<Part<User>> {
        self.get("the user", &[segment("users"), user.into()])
    }

    /// Reads a mail folder by id or well-known name.
    pub fn mail_folder(&mut self, user: &str, folder: &str) -> Result<Part<MailFolder>> {
        let path = [
            segment("users"),
            user.into(),
            segment("mailFolders"),
            folder.into(),
        ];
        self.get("the mail folder", &path)
    }

    /// Reads a message with all its properties.
    pub fn message(&mut self, user: &str, message: &str) -> Result<Part<Message>> {
        self.get("the message", &message_path(user, message))
    }

    /// Changes properties of a message.
    pub fn update_message(
        &mut self,
        user: &str,
        message: &str,
        changes: &Value,
    ) -> Result<Part<Message>> {
        let path = message_path(user, message);
        self.add("the message", Method::PATCH, &path, Some(changes))
    }

    /// Moves a message to a folder, by id or well-known name.
    pub fn move_message(
        &mut self,
        user: &str,
        message: &str,
        folder: &str,
    ) -> Result<Part<Message>> {
        let [users, user, messages, message] = message_path(user, message);
        let path = [users, user, messages, message, segment("move")];
        let body = json!({"destinationId": folder});
        self.add("the message", Method::POST, &path, Some(&body))
    }

    /// Deletes a message.
    pub fn delete_message(&mut self, user: &str, message: &str) -> Result<Part<()>> {
        self.add(
            "the message",
            Method::DELETE,
            &message_path(user, message),
            None,
        )
    }

    /// Reads an item of a drive.
    pub fn drive_item(&mut self, drive: &str, item: &str) -> Result<Part<DriveItem>> {
        self.get("the drive item", &item_path(drive, item))
    }

    /// Changes properties of an item of a drive.
    pub fn update_drive_item(
        &mut self,
        drive: &str,
        item: &str,
        changes: &Value,
    ) -> Result<Part<DriveItem>> {
        let path = item_path(drive, item);
        self.add("the drive item", Method::PATCH, &path, Some(changes))
    }

    /// Deletes an item of a drive.
    pub fn delete_drive_item(&mut self, drive: &str, item: &str) -> Result<Part<()>> {
        self.add(
            "the drive item",
            Method::DELETE,
            &item_path(drive, item),
            None,
        )
    }

    /// Lets a part begin only when another has succeeded; otherwise it fails with
    /// [`ErrorKind::DependencyFailed`].
    ///
    /// *Shape*: the service takes a batch whose parts follow each other in the order in which they
    /// were added, or all follow the first one; nothing between.
    ///
    /// *Errors*: [`ErrorKind::InvalidRequest`] when `other` was not added before `part`.
    pub fn after<T, U>(&mut self, part: &Part<T>, other: &Part<U>) -> Result<()> {
        let waits = self.parts.get_mut(part.number);
        let Some(waits) = waits.filter(|_| other.number < part.number) else {
            return Err(invalid("a part of the batch waits for a later one"));
        };
        waits.after = Some(other.number);
        Ok(())
    }

    /// Sends the parts, and again, alone, those that the retry policy allows.
    ///
    /// *Errors*: [`ErrorKind::InvalidRequest`] when dependencies are of another shape than
    /// [`after`](Self::after) says, or more than twenty parts depend on each other. What happened
    /// to a part, a failure of all included, is in the answers.
    ///
    /// *Cancel safety*: parts that were under way may have been done.
    pub async fn send(self) -> Result<BatchAnswers> {
        round::check_order(&self.parts)?;
        let mut answers: Vec<Option<Result<PartAnswer>>> = Vec::new();
        answers.resize_with(self.parts.len(), || None);
        let numbers: Vec<usize> = (0..self.parts.len()).collect();
        for twenty in numbers.chunks(PARTS_MAX) {
            round::settle(&self.client, &self.parts, twenty, &mut answers).await;
        }
        Ok(BatchAnswers(answers))
    }

    fn get<T>(&mut self, about: &'static str, path: &[Segment<'_>]) -> Result<Part<T>> {
        self.add(about, Method::GET, path, None)
    }

    fn add<T>(
        &mut self,
        about: &'static str,
        method: Method,
        path: &[Segment<'_>],
        body: Option<&Value>,
    ) -> Result<Part<T>> {
        let call = self.client.call(about, method, path)?;
        let call = match body {
            Some(body) => call.json(body),
            None => call,
        };
        self.parts.push(Prepared { call, after: None });
        Ok(Part {
            number: self.parts.len() - 1,
            answer: PhantomData,
        })
    }
}

fn message_path<'s>(user: &'s str, message: &'s str) -> [Segment<'s>; 4] {
    [
        segment("users"),
        user.into(),
        segment("messages"),
        message.into(),
    ]
}

fn item_path<'s>(drive: &'s str, item: &'s str) -> [Segment<'s>; 4] {
    [
        segment("drives"),
        drive.into(),
        segment("items"),
        item.into(),
    ]
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidRequest, message)
}

impl BatchAnswers {
    /// Takes the answer to a part, read as the object that it asked for.
    ///
    /// *Errors*: what the part failed with; [`ErrorKind::Malformed`] when the answer is no such
    /// object; [`ErrorKind::InvalidRequest`] when it was taken before.
    pub fn take<T: DeserializeOwned>(&mut self, part: &Part<T>) -> Result<Entity<T>> {
        Entity::from_raw(self.take_raw(part)?.body)
    }

    /// Takes the answer to a part, unread; for parts whose answer is empty.
    ///
    /// *Errors*: as [`take`](Self::take).
    pub fn take_raw<T>(&mut self, part: &Part<T>) -> Result<PartAnswer> {
        let slot = self.0.get_mut(part.number);
        slot.and_then(Option::take)
            .unwrap_or_else(|| Err(invalid("the answer to a part was taken before")))
    }
}

impl<T> fmt::Debug for Part<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Part({})", self.number)
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batch({} parts)", self.parts.len())
    }
}

impl fmt::Debug for BatchAnswers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BatchAnswers({})", self.0.len())
    }
}

/// How many parts travel together.
const PARTS_MAX: usize = 20;
