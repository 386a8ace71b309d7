//! `/token`: issues tokens to users, customers and guests.

use std::time::SystemTime;

use hyper::StatusCode;
use hyper::header::{self, HeaderValue};
use raas_types::Utc;
use serde::Serialize;

use super::reply::{NO_STORE, fail, reply};
use crate::auth::{AccessPolicy, Login, RequestedScope, TOKEN_LIFETIME, Visitor};
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

/// A user's token for a password, a customer's token for a key, and a guest's token for a client without credentials. A
/// client with an accepted certificate gets a guest's token too: its certificate gives access without a token.
/// `None` if the site issues no tokens.
pub(super) fn answer(access: &AccessPolicy, visitor: &Visitor, query: Option<&str>) -> Option<Response> {
    // A user's token gives no other token, and neither does a customer's.
    let refused = match visitor {
        Visitor::BadCredentials | Visitor::User(Login::Token) => {
            Some("the user name or the password is wrong")
        }
        Visitor::Customer(visit) if visit.has_token() => {
            Some("log in with the key: a token gives no other token")
        }
        Visitor::RefusedKey(reason) => Some(reason.as_str()),
        _ => None,
    };
    let now = SystemTime::now();
    let token = access.token(visitor, &RequestedScope::of_query(query), now)?;
    if let Some(reason) = refused {
        let failure = ApiError::new(ApiErrorCode::Unauthorized, reason);
        let mut response = fail(Api::V2, &failure);
        let basic = HeaderValue::from_static("Basic realm=\"registry\", charset=\"UTF-8\"");
        response.headers.insert(header::WWW_AUTHENTICATE, basic);
        return Some(response);
    }
    let issued_at = Utc::of(now).to_string();
    let token =
        Token { token: &token, access_token: &token, expires_in: TOKEN_LIFETIME.as_secs(), issued_at };
    let json = serde_json::to_vec(&token).expect("a token is text");
    let mut response = reply(StatusCode::OK, "application/json", json);
    response.headers.insert(header::CACHE_CONTROL, NO_STORE);
    Some(response)
}
