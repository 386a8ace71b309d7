//! `/token`: issues tokens to users and to guests.

use std::time::SystemTime;

use hyper::StatusCode;
use hyper::header::{self, HeaderValue};
use raas_types::Utc;
use serde::Serialize;

use super::reply::{NO_STORE, fail, reply};
use crate::auth::{TOKEN_LIFETIME, Users, Visitor};
use crate::error::{ApiError, ApiErrorCode};
use crate::response::Response;
use crate::route::Api;

/// Old clients read `token`, others `access_token`. Source: CNCF distribution, "Token Authentication Specification".
#[derive(Serialize)]
struct Token<'a> {
    token: &'a str,
    access_token: &'a str,
    expires_in: u64,
    issued_at: String,
}

pub(super) fn answer(users: &Users, visitor: &Visitor) -> Response {
    if *visitor == Visitor::BadCredentials {
        let failure = ApiError::new(ApiErrorCode::Unauthorized, "the user name or the password is wrong");
        let mut response = fail(Api::V2, &failure);
        let basic = HeaderValue::from_static("Basic realm=\"registry\", charset=\"UTF-8\"");
        response.headers.insert(header::WWW_AUTHENTICATE, basic);
        return response;
    }
    let now = SystemTime::now();
    let token = users.token(visitor, now);
    let issued_at = Utc::of(now).to_string();
    let token =
        Token { token: &token, access_token: &token, expires_in: TOKEN_LIFETIME.as_secs(), issued_at };
    let json = serde_json::to_vec(&token).expect("a token is text");
    let mut response = reply(StatusCode::OK, "application/json", json);
    response.headers.insert(header::CACHE_CONTROL, NO_STORE);
    response
}
