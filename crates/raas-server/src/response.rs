//! An answer, with headers that need no map.

use hyper::StatusCode;

use crate::body::Body;
use crate::http::headers::{self, Headers};

/// An answer.
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: Headers,
    pub(crate) body: Body,
}

/// An answer for hyper.
impl From<Response> for hyper::Response<Body> {
    fn from(mut answer: Response) -> Self {
        let mut response = hyper::Response::new(answer.body);
        *response.status_mut() = answer.status;
        let mut map = headers::take_spare_map();
        map.extend(answer.headers.drain());
        *response.headers_mut() = map;
        response
    }
}
