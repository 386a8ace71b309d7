//! The decision about a request, before anything is waited for.

use crate::content::{ContentPlan, FilePlan, ProxyPlan};
use crate::http::headers::Headers;
use crate::response::Response;

/// An answer from memory, or the plan of an answer whose content has to be waited for.
pub(super) enum Decision {
    /// The whole answer.
    Ready(Response),
    /// The status and the body follow when the content is open.
    Wait(ContentPlan),
}

impl Decision {
    /// The headers of the answer, as far as they are known before its content is open.
    pub(super) fn headers_mut(&mut self) -> &mut Headers {
        match self {
            Decision::Ready(response) => &mut response.headers,
            Decision::Wait(ContentPlan::File(plan)) => &mut plan.headers,
            Decision::Wait(ContentPlan::Proxy(plan)) => &mut plan.headers,
        }
    }
}

impl From<Response> for Decision {
    fn from(response: Response) -> Self {
        Decision::Ready(response)
    }
}

impl From<FilePlan> for Decision {
    fn from(plan: FilePlan) -> Self {
        Decision::Wait(ContentPlan::File(Box::new(plan)))
    }
}

impl From<ProxyPlan> for Decision {
    fn from(plan: ProxyPlan) -> Self {
        Decision::Wait(ContentPlan::Proxy(Box::new(plan)))
    }
}
