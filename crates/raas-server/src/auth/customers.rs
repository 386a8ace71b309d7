//! Logins and tokens of customers.
//!
//! A token holds its expiry, the id of the secret that it was made for, and the repositories that the client asked for.
//! Each request looks the secret up again. So a token ends with its key, and grants what the key grants at that moment.

use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use raas_types::access::{KeyName, KeyState, SecretState};
use raas_types::{RepositoryName, Utc, VendorName};
use sha2::Sha256;

use super::{
    Claims, Holder, LEEWAY, TOKEN_LIFETIME, TokenKey, TokenVerdict, VerifiedTokens, View, Visitor, decode,
    encode,
};
use crate::catalog::{Catalog, Customers, FoundSecret, ServedCustomer};
use crate::http::query;
use crate::route::{Route, V2};

/// The beginning of a customer's token, which no other token has.
const PREFIX: &str = "c~";

/// The first byte of what a token says. The expiry follows, and for a customer the id of the secret and the repositories.
const GUEST: u8 = b'g';
const CUSTOMER: u8 = b'c';

/// The most repositories of a token. A client asks for one or two at once.
const MAX_ASKED: usize = 32;

/// The customers of a site, and the key of their tokens.
#[derive(Clone)]
pub(crate) struct CustomerKeys {
    customers: Arc<Customers>,
    vendor: VendorName,
    key: Hmac<Sha256>,
    verified: Arc<VerifiedTokens>,
}

impl std::fmt::Debug for CustomerKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CustomerKeys").finish_non_exhaustive()
    }
}

/// A customer who makes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CustomerVisit {
    pub(crate) customer: Arc<ServedCustomer>,
    pub(crate) key: KeyName,
    /// The id of the secret.
    secret: u128,
    /// What the client asked for with its token. None for a login without a token: it may do all that the customer may.
    asked: Option<Arc<RequestedScope>>,
}

/// What a client asks a token for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RequestedScope {
    repositories: Vec<RepositoryName>,
    /// The list of all repositories.
    catalog: bool,
}

/// The verdict about a name and a password.
pub(super) enum Login {
    Valid(Visitor),
    /// A customer's secret that is not valid any longer.
    Refused(Visitor),
    Unknown,
}

impl CustomerKeys {
    /// The customers of a site. None if there are none.
    pub(crate) fn new(customers: &Arc<Customers>, vendor: &VendorName, token_key: &TokenKey) -> Option<Self> {
        (!customers.is_empty()).then(|| Self {
            customers: Arc::clone(customers),
            vendor: vendor.clone(),
            key: token_key.for_customers(vendor.as_str()),
            verified: Arc::clone(token_key.verified()),
        })
    }

    /// Whether a token looks like a customer's.
    pub(super) fn reads(token: &str) -> bool {
        token.starts_with(PREFIX)
    }

    /// The verdict about a name and a password. Nobody can guess a secret, so a right one is accepted from every address.
    pub(super) fn login(&self, name: &str, password: &str, now: SystemTime) -> Login {
        match self.customers.login(name, password) {
            None => Login::Unknown,
            Some(found) => match found.state(Utc::of(now)) {
                SecretState::Key(KeyState::Valid) => Login::Valid(visit(&found, None)),
                state => Login::Refused(Visitor::RefusedKey(refusal(&found, state))),
            },
        }
    }

    /// A token for a customer, or for a guest.
    pub(crate) fn token(&self, visitor: &Visitor, asked: &RequestedScope, now: SystemTime) -> String {
        let end = Utc::of(now + TOKEN_LIFETIME).unix().to_be_bytes();
        let payload = match visitor {
            Visitor::Customer(CustomerVisit { secret, asked: None, .. }) => {
                [&[CUSTOMER][..], &end, &secret.to_be_bytes(), asked.to_string().as_bytes()].concat()
            }
            _ => [&[GUEST][..], &end].concat(),
        };
        let signature = self.key.clone().chain_update(&payload).finalize().into_bytes();
        format!("{PREFIX}{}.{}", encode(&payload), encode(&signature))
    }

    /// The verdict about a token.
    pub(super) fn check_token(&self, token: &str, now: SystemTime) -> TokenVerdict {
        let Some(Claims { end, holder }) = self.claims(token) else { return TokenVerdict::Forged };
        let time = Utc::of(now);
        // No token of any server is valid for longer.
        let last = time.unix() + TOKEN_LIFETIME.as_secs() + LEEWAY.as_secs();
        if end <= time.unix() || end > last {
            return TokenVerdict::Stale;
        }
        let Holder::Customer { secret, asked } = holder else { return TokenVerdict::Valid(Visitor::Guest) };
        // A customer or key that is gone.
        let Some(found) = self.customers.find(secret) else { return TokenVerdict::Stale };
        TokenVerdict::Valid(match found.state(time) {
            SecretState::Key(KeyState::Valid) => visit(&found, Some(asked)),
            state => Visitor::RefusedKey(refusal(&found, state)),
        })
    }

    /// What a token says. None for a token that no server with this key has made.
    fn claims(&self, token: &str) -> Option<Claims> {
        self.verified.claims(&self.vendor, token, || self.verify(token))
    }

    fn verify(&self, token: &str) -> Option<Claims> {
        let (payload, signature) = token.strip_prefix(PREFIX)?.split_once('.')?;
        let payload = decode(payload)?;
        let mut room = [0; 32];
        let length = URL_SAFE_NO_PAD.decode_slice(signature, &mut room).ok()?;
        let signature = room.get(..length)?;
        // The comparison takes constant time.
        self.key.clone().chain_update(&payload).verify_slice(signature).ok()?;
        let (kind, rest) = payload.split_first()?;
        let (end, rest) = rest.split_first_chunk()?;
        let end = u64::from_be_bytes(*end);
        if *kind == GUEST {
            return Some(Claims { end, holder: Holder::Guest });
        }
        let (secret, asked) = rest.split_first_chunk()?;
        let asked = Arc::new(RequestedScope::parse(std::str::from_utf8(asked).ok()?));
        Some(Claims { end, holder: Holder::Customer { secret: u128::from_be_bytes(*secret), asked } })
    }
}

fn visit(found: &FoundSecret<'_>, asked: Option<Arc<RequestedScope>>) -> Visitor {
    let (customer, key, secret) = (Arc::clone(found.customer), found.key.clone(), found.id());
    Visitor::Customer(CustomerVisit { customer, key, secret, asked })
}

/// Why a key is not accepted. Only the holder of the secret reads it.
fn refusal(found: &FoundSecret<'_>, state: SecretState) -> String {
    let FoundSecret { customer, key, .. } = found;
    let name = &customer.name;
    match state {
        SecretState::Key(KeyState::Expired(at)) => format!("the key `{key}` of {name} has expired at {at}"),
        SecretState::Replaced(at) => {
            format!("this secret of the key `{key}` of {name} was replaced by a new one, and ended at {at}")
        }
        SecretState::Key(_) => format!("the key `{key}` of {name} was revoked"),
    }
}

impl CustomerVisit {
    /// Whether the request has a token. A token is good only for the repositories that the client asked for, so another
    /// token of the customer may give access to others.
    pub(crate) fn has_token(&self) -> bool {
        self.asked.is_some()
    }

    /// Whether the token is for the repository with this name, as the client spells it. True without a token.
    pub(crate) fn asked_for(&self, name: &str) -> bool {
        self.asked.as_ref().is_none_or(|asked| asked.names(name))
    }

    /// Whether the request may list the repositories that the customer sees.
    pub(crate) fn lists_catalog(&self) -> bool {
        self.asked.as_ref().is_none_or(|asked| asked.catalog)
    }

    /// The catalog for a request. `public` is the catalog that everybody sees.
    pub(crate) fn view(&self, route: &Route<'_>, public: &Catalog) -> View {
        match route {
            Route::V2(V2::Catalog) if self.lists_catalog() => {
                View::of(route, public, |name, _| self.customer.may_see(name))
            }
            Route::V2(V2::Catalog) => View::Public,
            _ => View::of(route, public, |name, _| {
                let asked = |asked: &Arc<RequestedScope>| asked.has(name);
                self.customer.may_see(name) && self.asked.as_ref().is_none_or(asked)
            }),
        }
    }
}

impl RequestedScope {
    /// What the query of a request for a token asks for. Everything else in it has no meaning.
    ///
    /// Source: CNCF distribution, "Token Scope Documentation".
    pub(crate) fn of_query(query: Option<&str>) -> Self {
        let mut asked = Self::default();
        let pairs =
            query.into_iter().flat_map(|query| query.split('&')).filter_map(|pair| pair.split_once('='));
        for (_, scopes) in pairs.filter(|(name, _)| *name == "scope") {
            // A `+` is a space in a form.
            let Some(scopes) = query::decode(scopes) else { continue };
            for scope in scopes.split([' ', '+']) {
                asked.add(scope);
            }
        }
        asked
    }

    fn add(&mut self, scope: &str) {
        let Some((resource, actions)) = scope.rsplit_once(':') else { return };
        let is_pull = actions.split(',').any(|action| matches!(action, "pull" | "*"));
        match resource.split_once(':') {
            Some(("registry", "catalog")) => self.catalog |= actions.split(',').any(|action| action == "*"),
            Some(("repository", name)) if is_pull && self.repositories.len() < MAX_ASKED => {
                self.repositories.extend(name.parse().ok());
            }
            _ => {}
        }
    }

    fn parse(text: &str) -> Self {
        let mut asked = Self::default();
        for name in text.split(',') {
            match name {
                "*" => asked.catalog = true,
                name => asked.repositories.extend(name.parse().ok()),
            }
        }
        asked
    }

    fn names(&self, name: &str) -> bool {
        self.repositories.iter().any(|asked| asked.as_str() == name)
    }

    /// Whether a repository was asked for, with or without `library/`.
    fn has(&self, repository: &RepositoryName) -> bool {
        let is = |asked: &RepositoryName| {
            let asked = asked.as_str();
            asked == repository.as_str() || asked.strip_prefix("library/") == Some(repository.as_str())
        };
        self.repositories.iter().any(is)
    }
}

/// The form of a token: names separated by commas, and `*` for the list of all.
impl std::fmt::Display for RequestedScope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.repositories.iter().map(RepositoryName::as_str);
        for (at, name) in names.chain(self.catalog.then_some("*")).enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(f, "{comma}{name}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use raas_types::access::{Customer, CustomerKey, SecretHash};

    use super::*;

    const SECRET: &str = "raas_secret";

    fn keys(edit: impl FnOnce(&mut CustomerKey), vendor: &str) -> CustomerKeys {
        let mut customer = Customer::new(vec!["appliance/*".parse().unwrap()]);
        let mut key = CustomerKey::new(SecretHash::of(SECRET), Utc::from_unix(0), None);
        edit(&mut key);
        customer.keys.insert("ci".parse().unwrap(), key);
        let served = ServedCustomer::new("bigbank".parse().unwrap(), &customer);
        let customers = Arc::new(Customers::new(vec![Arc::new(served)]));
        CustomerKeys::new(&customers, &vendor.parse().unwrap(), &TokenKey::of_this_process()).unwrap()
    }

    fn token(keys: &CustomerKeys, asked: &str, now: SystemTime) -> String {
        let Login::Valid(visitor) = keys.login("bigbank", SECRET, now) else { panic!("a valid login") };
        keys.token(&visitor, &RequestedScope::of_query(Some(asked)), now)
    }

    #[test]
    fn a_token_ends_with_its_key() {
        let (valid, now) = (keys(|_| {}, "acme"), SystemTime::now());
        let made = token(&valid, "scope=repository:appliance/ui:pull", now);
        assert!(matches!(valid.check_token(&made, now), TokenVerdict::Valid(Visitor::Customer(_))));
        assert_eq!(valid.check_token(&made, now + TOKEN_LIFETIME), TokenVerdict::Stale);
        type Edit = fn(&mut CustomerKey);
        let table: [(Edit, &str); 3] = [
            (|key| key.expires = Some(Utc::from_unix(5)), "has expired at 1970-01-01T00:00:05Z"),
            (|key| key.revoked = Some(Utc::from_unix(5)), "was revoked"),
            (|key| key.secrets[0].until = Some(Utc::from_unix(5)), "was replaced"),
        ];
        for (edit, expected) in table {
            let later = keys(edit, "acme");
            for refused in [
                later.check_token(&made, now),
                match later.login("bigbank", SECRET, now) {
                    Login::Refused(visitor) => TokenVerdict::Valid(visitor),
                    _ => panic!("not valid"),
                },
            ] {
                let TokenVerdict::Valid(Visitor::RefusedKey(reason)) = refused else { panic!("{refused:?}") };
                assert!(reason.contains(expected) && reason.contains("`ci` of bigbank"), "{reason}");
            }
        }
        let gone = keys(|key| key.secrets.clear(), "acme");
        assert_eq!(gone.check_token(&made, now), TokenVerdict::Stale);
        // A token that was never seen before ends in the same way.
        let unseen = token(&valid, "scope=repository:appliance/db:pull", now);
        assert_eq!(gone.check_token(&unseen, now), TokenVerdict::Stale);
    }

    #[test]
    fn a_token_of_another_vendor_or_with_changed_bytes_is_forged() {
        let (ours, now) = (keys(|_| {}, "acme"), SystemTime::now());
        let other = keys(|_| {}, "other");
        let theirs = token(&other, "scope=repository:a:pull", now);
        // Also after the other vendor's site has verified it.
        assert!(matches!(other.check_token(&theirs, now), TokenVerdict::Valid(_)));
        assert_eq!(ours.check_token(&theirs, now), TokenVerdict::Forged);
        let made = token(&ours, "scope=repository:a:pull", now);
        for forged in [&made[1..], &made.replace('.', "x."), &format!("{made}A"), "c~", "c~.", "c~a.b"] {
            assert_eq!(ours.check_token(forged, now), TokenVerdict::Forged, "{forged}");
        }
        let late = token(&ours, "", now + Duration::from_secs(120));
        assert_eq!(ours.check_token(&late, now), TokenVerdict::Stale, "no server gives so long a token");
    }

    #[test]
    fn a_token_has_what_the_client_asked_for() {
        let query = "service=x&scope=repository:appliance/ui:pull,push+repository%3Alibrary%2Ftools%3A*&scope=registry:catalog:*\
                     &scope=repository:B:pull&scope=repository:c:push&scope=x";
        let asked = RequestedScope::of_query(Some(query));
        assert_eq!(asked.to_string(), "appliance/ui,library/tools,*");
        assert_eq!(RequestedScope::parse(&asked.to_string()), asked);
        assert_eq!(RequestedScope::parse(""), RequestedScope::default());
        assert!(
            asked.has(&"tools".parse().unwrap()) && !asked.names("tools") && asked.names("library/tools")
        );
        let many: Vec<String> = (0..100).map(|n| format!("scope=repository:a{n}:pull")).collect();
        assert_eq!(RequestedScope::of_query(Some(&many.join("&"))).repositories.len(), MAX_ASKED);
    }

    #[test]
    fn a_token_gives_no_other_token() {
        let (ours, now) = (keys(|_| {}, "acme"), SystemTime::now());
        let made = token(&ours, "scope=repository:a:pull", now);
        let TokenVerdict::Valid(visitor) = ours.check_token(&made, now) else { panic!("valid") };
        let again = ours.token(&visitor, &RequestedScope::of_query(Some("scope=repository:b:pull")), now);
        assert_eq!(ours.check_token(&again, now), TokenVerdict::Valid(Visitor::Guest));
    }
}
