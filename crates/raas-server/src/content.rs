//! Content that a request must wait for: a file of a bucket that is a folder, or an object that the server fetches.
//!
//! An answer first *plans* its content without waiting ([`ContentPlan`]). Opening the plan waits, and has one of four
//! results ([`Opened`]).

use hyper::header::HeaderValue;

use crate::error::ApiError;
use crate::response::Response;

mod file;
mod proxy;

pub(crate) use file::{FilePlan, IfMissing};
pub(crate) use proxy::{ProxyPlan, ProxySource};

/// The content of an answer, not opened yet. The plans are in boxes because nearly all answers have none, and should
/// not carry their size.
pub(crate) enum ContentPlan {
    /// A file on this machine.
    File(Box<FilePlan>),
    /// An object that the server fetches and passes on.
    Proxy(Box<ProxyPlan>),
}

/// The result of opening a plan.
pub(crate) enum Opened {
    /// The content, or the range of it that the request names.
    Answer(Box<Response>),
    /// The content is not here. The client finds it at this URL.
    Redirect(HeaderValue),
    /// The content cannot be read.
    Error(ApiError),
    /// The requested range begins beyond the end. The value is the `Content-Range` that gives the length.
    RangeBeyondEnd(HeaderValue),
}
