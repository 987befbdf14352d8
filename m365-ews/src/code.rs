//! Response codes of the service and what they mean to a caller.

use crate::error::ErrorKind;

/// Sorts a response code, with or without its `Error` prefix, into a kind.
///
/// *Source*: the code table of the web service reference; codes not listed are the request's fault,
/// since the service names its own failures one by one.
pub(crate) fn kind_of(code: &str) -> ErrorKind {
    match code.strip_prefix("Error").unwrap_or(code) {
        "ServerBusy"
        | "ExceededConnectionCount"
        | "TooManyObjectsOpened"
        | "InsufficientResources" => ErrorKind::Throttled,
        "TimeoutExpired"
        | "InternalServerTransientError"
        | "InternalServerError"
        | "MailboxStoreUnavailable"
        | "MailboxFailover"
        | "MailboxMoveInProgress"
        | "ConnectionFailed"
        | "ADUnavailable"
        | "ADOperation"
        | "NoPublicFolderServerAvailable"
        | "PublicFolderOperationFailed" => ErrorKind::Service,
        "BatchProcessingStopped" => ErrorKind::NotAttempted,
        "AccessDenied"
        | "ImpersonateUserDenied"
        | "ImpersonationDenied"
        | "ImpersonationFailed"
        | "AccountDisabled" => ErrorKind::Forbidden,
        "ItemNotFound"
        | "FolderNotFound"
        | "ParentFolderNotFound"
        | "NonExistentMailbox"
        | "NonPrimarySmtpAddress"
        | "PublicFolderServerNotFound"
        | "PublicFolderMailboxDiscoveryFailed"
        | "ObjectTypeChanged" => ErrorKind::NotFound,
        "IrresolvableConflict"
        | "StaleObject"
        | "ChangeKeyRequired"
        | "ChangeKeyRequiredForWriteOperations"
        | "InvalidChangeKey"
        | "FolderExists" => ErrorKind::Conflict,
        "InvalidSyncStateData" | "SyncFolderNotFound" => ErrorKind::CursorReset,
        "ItemCorrupt"
        | "CorruptData"
        | "MimeContentConversionFailed"
        | "ContentConversionFailed" => ErrorKind::ItemCorrupt,
        "DataSizeLimitExceeded" | "MessageSizeExceeded" | "AttachmentSizeLimitExceeded" => {
            ErrorKind::TooLarge
        }
        "QuotaExceeded" | "MessagePerFolderCountReceiveQuotaExceeded" => ErrorKind::QuotaExceeded,
        "TokenSerializationDenied" | "InvalidToken" => ErrorKind::Unauthorized,
        _ => ErrorKind::InvalidRequest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_whether_to_wait_to_give_up_or_to_look_elsewhere() {
        for (code, kind) in [
            ("ErrorServerBusy", ErrorKind::Throttled),
            ("ErrorMailboxMoveInProgress", ErrorKind::Service),
            ("ErrorFolderNotFound", ErrorKind::NotFound),
            ("ErrorBatchProcessingStopped", ErrorKind::NotAttempted),
            ("ErrorInvalidIdMalformed", ErrorKind::InvalidRequest),
            ("", ErrorKind::InvalidRequest),
        ] {
            assert_eq!(kind_of(code), kind, "{code}");
        }
    }
}
