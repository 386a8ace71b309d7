//! Obtains one certificate: from the order to the chain.

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Identifier, NewAccount, NewOrder, Order, OrderStatus,
    RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use tokio::sync::Mutex;

use super::client::Http;
use super::folder::AcmeFolder;
use crate::tls::{Certificate, Challenges, Proof};

/// Why a certificate cannot be obtained.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// How long an authority may take to check a name, and to sign.
const POLLING: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(90));

/// Source: RFC 8555, section 6.7.
const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// A certification authority, and our account there.
pub(super) struct Authority {
    http: Http,
    directory: String,
    email: Option<String>,
    folder: AcmeFolder,
    challenges: Arc<Challenges>,
    /// Opened at the first order.
    account: Mutex<Option<Account>>,
}

impl Authority {
    pub(super) fn new(
        http: Http,
        directory: String,
        email: Option<String>,
        folder: AcmeFolder,
        challenges: Arc<Challenges>,
    ) -> Self {
        Self { http, directory, email, folder, challenges, account: Mutex::default() }
    }

    /// Obtains a certificate for a name, and stores it.
    pub(super) async fn certificate(&self, domain: &str) -> Result<Certificate, Error> {
        let identifiers = [Identifier::Dns(domain.to_owned())];
        let new = NewOrder::new(&identifiers);
        let mut order = match self.account().await?.new_order(&new).await {
            // The authority has lost the account, or was set up anew.
            Err(instant_acme::Error::Api(problem)) if problem.r#type.as_deref() == Some(NO_ACCOUNT) => {
                tracing::warn!(
                    directory = self.directory,
                    "the authority does not know the stored account; creating another one"
                );
                *self.account.lock().await = None;
                self.folder.forget_account()?;
                self.account().await?.new_order(&new).await?
            }
            order => order?,
        };
        let proofs = self.prove(domain, &mut order).await?;
        // The proofs must stay until the authority has checked them.
        let status = order.poll_ready(&POLLING).await?;
        if status == OrderStatus::Invalid {
            return Err(refusal(&mut order).await);
        }
        drop(proofs);
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![domain.to_owned()])?;
        params.distinguished_name = DistinguishedName::new();
        order.finalize_csr(params.serialize_request(&key)?.der()).await?;
        let chain = order.poll_certificate(&POLLING).await?;
        let certificate = Certificate::read(chain.as_bytes(), key.serialize_pem().as_bytes())?;
        let pem = key.serialize_pem() + &chain;
        // The certificate is used even if it cannot be stored. The next start orders another one.
        if let Err(error) = self.folder.store_certificate(domain, &pem) {
            tracing::error!(domain, %error, "cannot store the new certificate; the next start orders another one");
        }
        Ok(certificate)
    }

    async fn account(&self) -> Result<Account, Error> {
        let mut account = self.account.lock().await;
        match &*account {
            Some(account) => Ok(account.clone()),
            None => Ok(account.insert(self.open_account().await?).clone()),
        }
    }

    async fn open_account(&self) -> Result<Account, Error> {
        let builder = || Account::builder_with_http(Box::new(self.http.clone()));
        if let Some(stored) = self.folder.account()? {
            return Ok(builder().from_credentials(serde_json::from_slice(&stored)?).await?);
        }
        let contact = self.email.as_ref().map(|email| format!("mailto:{email}"));
        let new = NewAccount {
            contact: &contact.iter().map(String::as_str).collect::<Vec<_>>(),
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let (account, credentials) = builder().create(&new, self.directory.clone(), None).await?;
        self.folder.store_account(&serde_json::to_vec(&credentials)?)?;
        Ok(account)
    }

    /// Shows a proof for every pending authorization, and tells the authority.
    async fn prove(&self, domain: &str, order: &mut Order) -> Result<Vec<Proof>, Error> {
        let mut proofs = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            match authorization.status {
                AuthorizationStatus::Pending => {}
                // The name was proved a short time ago.
                AuthorizationStatus::Valid => continue,
                other => {
                    return Err(
                        format!("the authority reports the authorization of the name as {other:?}").into()
                    );
                }
            }
            let mut challenge = authorization
                .challenge(ChallengeType::TlsAlpn01)
                .ok_or("the authority does not offer the challenge tls-alpn-01")?;
            let digest = challenge.key_authorization().digest();
            proofs.push(self.challenges.show(domain, digest.as_ref())?);
            challenge.set_ready().await?;
        }
        Ok(proofs)
    }
}

/// The authority's reason to refuse an order.
async fn refusal(order: &mut Order) -> Error {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        // The state that was read before the authority checked has no error yet.
        if let Ok(state) = authorization.refresh().await
            && let Some(problem) = state.challenges.iter().find_map(|challenge| challenge.error.as_ref())
        {
            return format!("the authority refuses the name: {problem}").into();
        }
    }
    "the authority refuses the order".into()
}
