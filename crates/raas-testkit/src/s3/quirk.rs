//! Differences between this service and AWS, as other services have them.

use super::request::Request;

/// A difference from AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quirk {
    /// Every header with a checksum, or with the name of its algorithm, is refused: 400, as Backblaze B2 does.
    NoChecksums,
    /// An upload in parts takes no checksums: 501, as Cloudflare R2 does. Whole objects take them.
    NoChecksumsOfParts,
    /// A part with a checksum is refused, and the beginning of the upload is not: 400.
    NoChecksumOfPart,
    /// An object cannot be copied into a part: 501.
    NoCopyOfParts,
    /// Objects cannot be copied at all: 501.
    NoCopies,
    /// A listing of version 2 is answered as one of version 1. The service has version 1 too.
    ListsAsVersion1,
    /// A listing has no continuation token. The service knows `start-after`, and has no version 1.
    ListsWithoutToken,
    /// Every page of a listing is the first one, and says that there are more.
    ListsFirstPageOnly,
    /// Unfinished uploads and their parts cannot be listed; the answer has this status.
    NoListsOfUploads(u16),
    /// Entity tags have no quotation marks.
    BareEtags,
    /// The answer to HEAD for a missing object is 403.
    ForbidsMissingHead,
    /// The answer to HEAD and GET for a missing object is 403.
    ForbidsMissing,
}

/// A refusal: status, code and message.
pub(super) type Refusal = (u16, &'static str, String);

impl Quirk {
    /// The refusal of a request, if the service does not take it.
    pub(super) fn refusal(self, request: &Request) -> Option<Refusal> {
        let checksum = || {
            let mut names = request.headers.keys().map(String::as_str);
            names.find(|name| name.starts_with("x-amz-checksum-") || *name == "x-amz-sdk-checksum-algorithm")
        };
        let lacks = |what: &str| Some((501, "NotImplemented", format!("{what} is not implemented")));
        let operation = request.operation;
        match self {
            Self::NoChecksums => checksum().map(|name| {
                let message = format!("Unsupported header '{name}' received for this API call.");
                (400, "InvalidArgument", message)
            }),
            Self::NoChecksumsOfParts if ["CreateMultipartUpload", "UploadPart"].contains(&operation) => {
                checksum().and_then(|name| lacks(&format!("Header '{name}'")))
            }
            Self::NoChecksumOfPart if operation == "UploadPart" => {
                checksum().map(|_| (400, "InvalidRequest", "This header cannot be used here.".to_owned()))
            }
            Self::NoCopyOfParts if operation == "UploadPartCopy" => lacks(operation),
            Self::NoCopies if ["UploadPartCopy", "CopyObject"].contains(&operation) => lacks(operation),
            Self::ListsWithoutToken if operation == "ListObjects" => lacks(operation),
            Self::NoListsOfUploads(status) if ["ListMultipartUploads", "ListParts"].contains(&operation) => {
                let code = if status == 501 { "NotImplemented" } else { "InvalidRequest" };
                Some((status, code, format!("{operation} is not implemented")))
            }
            _ => None,
        }
    }

    /// Whether the service hides that an object is missing from this operation.
    pub(super) fn hides_missing(self, operation: &str) -> bool {
        match self {
            Self::ForbidsMissingHead => operation == "HeadObject",
            Self::ForbidsMissing => ["HeadObject", "GetObject"].contains(&operation),
            _ => false,
        }
    }
}
