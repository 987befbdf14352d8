//! What is read from drives and their items.

use serde::Deserialize;
use serde_json::Value;

use crate::entity::view;

view! {
    /// Shows a drive.
    pub struct Drive with id {
        /// The name to show.
        name: Option<String> = "name",
        /// `personal`, `business` or `documentLibrary`.
        drive_type: Option<String> = "driveType",
        /// Its address for people.
        web_url: Option<String> = "webUrl",
    }
}

view! {
    /// Shows a file or folder. Times are RFC 3339 texts in UTC, as the service gives them.
    pub struct DriveItem with id {
        /// The name; absent on removal.
        name: Option<String> = "name",
        /// The length of the content, in bytes; of a folder, of all that it holds.
        size: Option<u64> = "size",
        /// The eTag: another one after every change.
        e_tag: Option<String> = "eTag",
        /// The cTag: another one after every change of the content.
        c_tag: Option<String> = "cTag",
        /// When it was made in this drive.
        created_date_time: Option<String> = "createdDateTime",
        /// When it was changed last in this drive.
        last_modified_date_time: Option<String> = "lastModifiedDateTime",
        /// The times that the file had where it came from.
        file_system_info: Option<FileSystemInfo> = "fileSystemInfo",
        /// The folder that holds it.
        parent_reference: Option<ItemReference> = "parentReference",
        /// Present on files.
        file: Option<FileFacet> = "file",
        /// Present on folders.
        folder: Option<Value> = "folder",
        /// Present on the root folder.
        root: Option<Value> = "root",
        /// Present on packages, such as OneNote notebooks, whose content has no single file.
        package: Option<Value> = "package",
        /// Present where the service found malware.
        malware: Option<Value> = "malware",
        /// Present on shortcuts to items of other drives.
        remote_item: Option<Value> = "remoteItem",
    }
}

impl DriveItem {
    /// Tells whether it has content of its own that can be downloaded.
    pub fn is_file(&self) -> bool {
        self.file.is_some() && self.package.is_none() && self.remote_item.is_none()
    }

    /// Tells whether it can hold other items.
    pub fn is_folder(&self) -> bool {
        self.folder.is_some() || self.root.is_some()
    }

    /// Returns the id of the folder that holds it.
    pub fn parent_id(&self) -> Option<&str> {
        self.parent_reference.as_ref()?.id.as_deref()
    }

    /// Returns the quickXorHash of its content, in base64.
    pub fn quick_xor_hash(&self) -> Option<&str> {
        self.file
            .as_ref()?
            .hashes
            .as_ref()?
            .quick_xor_hash
            .as_deref()
    }
}

view! {
    /// Shows where an item lies.
    #[derive(Default)]
    pub struct ItemReference {
        /// The id of the folder.
        id: Option<String> = "id",
        /// The id of the drive.
        drive_id: Option<String> = "driveId",
        /// The path, where the service gives it; a delta does not.
        path: Option<String> = "path",
    }
}

view! {
    /// Shows what makes an item a file.
    #[derive(Default)]
    pub struct FileFacet {
        /// The media type.
        mime_type: Option<String> = "mimeType",
        /// Hashes of the content.
        hashes: Option<Hashes> = "hashes",
    }
}

/// Shows hashes of a file's content; business drives give the quickXorHash only.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[non_exhaustive]
pub struct Hashes {
    /// The quickXorHash, in base64.
    #[serde(default, rename = "quickXorHash")]
    pub quick_xor_hash: Option<String>,
}

/// Shows the times that a file had where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[non_exhaustive]
pub struct FileSystemInfo {
    /// When it was made.
    #[serde(default, rename = "createdDateTime")]
    pub created_date_time: Option<String>,
    /// When it was changed last.
    #[serde(default, rename = "lastModifiedDateTime")]
    pub last_modified_date_time: Option<String>,
}
