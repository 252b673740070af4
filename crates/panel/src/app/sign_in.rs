//! Signing in: passwords, second factors, and what happens to those who guess.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, LazyLock};

use serde_json::json;
use tokio::sync::Semaphore;
use totp_rs::{Builder, Totp};
use wire::ids::UserId;

use super::AppState;
use super::lockout::Lockout;
use crate::clock;
use crate::http::problem::{Answer, Problem};
use crate::secret::{self, Secret};
use crate::store::activity::NewRecord;
use crate::store::credentials::Credentials;
use crate::store::sessions::{Opener, Session, SessionSecret};
use crate::store::users::User;

/// Attempts on one account from one network that are free.
const FREE_PER_ACCOUNT: u32 = 5;
/// Attempts from one network that are free, whatever the account.
const FREE_PER_NETWORK: u32 = 30;
/// Passwords that are hashed at a time: each takes a core and 19 MiB.
const HASHES_AT_ONCE: usize = 2;
/// Recovery codes that come with a second factor.
const RECOVERY_CODES: usize = 10;
const RECOVERY_CODE_CHARS: usize = 10;
/// Bytes of a second factor's secret, as RFC 4226 recommends.
const TOTP_BYTES: usize = 20;
/// Name in authenticator apps.
const ISSUER: &str = "Quarterdeck";
/// How long a link that signs in works.
const LINK_LIFE_MS: i64 = 24 * 60 * 60 * 1000;

/// Checked when there is nobody or no password, so that the time an answer takes does not tell.
static NOBODYS_HASH: LazyLock<Option<String>> = LazyLock::new(|| secret::password_hash("nobody's").ok());

/// State of signing in that all requests share.
#[derive(Debug)]
pub(crate) struct Door {
    by_account: Lockout<(String, IpAddr)>,
    by_network: Lockout<IpAddr>,
    hashing: Semaphore,
}

impl Default for Door {
    fn default() -> Self {
        Self {
            by_account: Lockout::new(FREE_PER_ACCOUNT),
            by_network: Lockout::new(FREE_PER_NETWORK),
            hashing: Semaphore::new(HASHES_AT_ONCE),
        }
    }
}

/// An IPv6 customer has a whole /64.
fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip) & !u128::from(u64::MAX)).into(),
    }
}

fn locked_out(wait_ms: i64) -> Problem {
    Problem::LockedOut(wait_ms.unsigned_abs().div_ceil(1000))
}

impl AppState {
    /// Opens a session for whoever knows the password and, where there is one, has the second factor.
    pub(crate) async fn sign_in(
        &self,
        login: &str,
        password: String,
        code: Option<&str>,
        ip: IpAddr,
        agent: &str,
    ) -> Answer<(User, SessionSecret, Session)> {
        let now = clock::now_ms();
        let user = match self.store.user_by_email(login).await? {
            Some(user) => Some(user),
            None => self.store.user_by_name(login).await?,
        };
        // An account is one, by whichever of its names it is called.
        let name = user.as_ref().map_or_else(|| login.to_lowercase(), |user| user.uuid.to_string());
        let (account, network) = ((name, network(ip)), network(ip));
        if let Err(wait_ms) = self.door.by_network.attempt(&network, clock::mono_ms()) {
            return Err(locked_out(wait_ms));
        }
        if let Err(wait_ms) = self.door.by_account.attempt(&account, clock::mono_ms()) {
            // It was not tried.
            self.door.by_network.take_back(&network);
            return Err(locked_out(wait_ms));
        }
        let credentials = match &user {
            Some(user) => self.store.credentials(user.uuid).await?,
            None => Credentials::default(),
        };
        let is_right = self.is_password(&credentials, password).await?;
        let Some(user) = user.filter(|_| is_right) else {
            tracing::info!(%ip, "a sign-in failed");
            return Err(Problem::SignInRefused);
        };
        if let Some(totp_secret) = credentials.totp_secret.filter(|_| credentials.totp_confirmed) {
            let Some(code) = code else {
                // The password was right: asking for the code is no failed attempt on it, but one on the code of this account.
                self.door.by_network.take_back(&network);
                return Err(Problem::Rule(
                    "TwoFactorAuthRequiredException",
                    "Send the code of your authenticator app, or a recovery code, as `code`.".to_owned(),
                ));
            };
            if !self.takes_code(&user, &totp_secret, code, now).await? {
                tracing::info!(%ip, user = user.username, "a second factor was wrong");
                self.note(&user, ip, "auth:second-factor.fail").await;
                return Err(Problem::SignInRefused);
            }
        }
        // Checking it took a while, in which another one may have been set.
        let opened = self.open_session(&user, credentials.password_hash.as_deref(), ip, agent).await?;
        let (secret, session) = opened.ok_or(Problem::SignInRefused)?;
        self.door.by_account.succeeded(&account);
        self.door.by_network.take_back(&network);
        self.note(&user, ip, "auth:success").await;
        Ok((user, secret, session))
    }

    /// Opens a session for whoever has a link.
    pub(crate) async fn sign_in_by_link(
        &self,
        token: &str,
        ip: IpAddr,
        agent: &str,
    ) -> Answer<(User, SessionSecret, Session)> {
        let now = clock::now_ms();
        let network = network(ip);
        if let Err(wait_ms) = self.door.by_network.attempt(&network, clock::mono_ms()) {
            return Err(locked_out(wait_ms));
        }
        let user = match self.store.take_link(token, now).await? {
            Some(user) => self.store.user(user).await?.map(Arc::unwrap_or_clone),
            None => None,
        };
        let user = user.ok_or(Problem::SignInRefused)?;
        self.door.by_network.take_back(&network);
        let opened = self.open_session(&user, None, ip, agent).await?;
        let (secret, session) = opened.ok_or(Problem::SignInRefused)?;
        self.note(&user, ip, "auth:link").await;
        Ok((user, secret, session))
    }

    /// Makes a link for somebody: what stands behind its `#`, and until when it works.
    pub(crate) async fn make_link(&self, user: UserId) -> Answer<(String, i64)> {
        let expires_at = clock::now_ms().saturating_add(LINK_LIFE_MS);
        Ok((self.store.insert_link(user, expires_at).await?, expires_at))
    }

    async fn open_session(
        &self,
        user: &User,
        hash: Option<&str>,
        ip: IpAddr,
        agent: &str,
    ) -> Answer<Option<(SessionSecret, Session)>> {
        let opener = Opener { ip: ip.to_string(), agent: agent.to_owned() };
        Ok(self.store.open_session(user.uuid, hash, &opener, clock::now_ms()).await?)
    }

    async fn note(&self, user: &User, ip: IpAddr, event: &str) {
        let record = NewRecord {
            event: event.to_owned(),
            server: None,
            user: Some(user.uuid),
            api_key: None,
            ip: Some(ip.to_string()),
            metadata: json!(null),
            happened_at: clock::now_ms(),
        };
        if let Err(error) = self.store.insert_activity(vec![record]).await {
            tracing::error!(%error, event, "activity not recorded");
        }
    }

    /// Counts an attempt of somebody who is signed in to give their password again.
    pub(crate) fn try_password(&self, user: UserId, ip: IpAddr) -> Answer<()> {
        let account = (user.to_string(), network(ip));
        let attempt = self.door.by_account.attempt(&account, clock::mono_ms());
        attempt.map_err(locked_out)
    }

    /// It was right.
    pub(crate) fn password_was_right(&self, user: UserId, ip: IpAddr) {
        self.door.by_account.succeeded(&(user.to_string(), network(ip)));
    }

    /// Whether it is the password of these credentials. Takes the same time when there is none.
    pub(crate) async fn is_password(&self, credentials: &Credentials, password: String) -> Answer<bool> {
        let has_one = credentials.password_hash.is_some();
        let Some(hash) = credentials.password_hash.clone().or_else(|| NOBODYS_HASH.clone()) else {
            return Err(Problem::Internal);
        };
        let is_right = self.hashing(move || secret::password_is(&password, &hash)).await?;
        Ok(is_right && has_one)
    }

    /// The hash of a new password.
    pub(crate) async fn new_password_hash(&self, password: String) -> Answer<String> {
        self.hashing(move || secret::password_hash(&password)).await?.map_err(|error| {
            tracing::error!(%error, "a password could not be hashed");
            Problem::Internal
        })
    }

    async fn hashing<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Answer<T> {
        let _turn = self.door.hashing.acquire().await.map_err(|_| Problem::Internal)?;
        tokio::task::spawn_blocking(work).await.map_err(|error| {
            tracing::error!(%error, "hashing failed");
            Problem::Internal
        })
    }

    /// Takes a code of the second factor, or a recovery code; each works once.
    async fn takes_code(&self, user: &User, totp_secret: &Secret, code: &str, now: i64) -> Answer<bool> {
        let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
        if let Some(step) = totp(user, totp_secret)?.check(&code, now.unsigned_abs() / 1000) {
            let step = i64::try_from(step).unwrap_or(i64::MAX);
            return Ok(self.store.take_totp_step(user.uuid, step).await?);
        }
        Ok(self.store.take_recovery_code(user.uuid, &code).await?)
    }

    /// Offers a new secret for the second factor: the address for a QR code, and the secret in base 32.
    pub(crate) async fn offer_totp(&self, user: &User) -> Answer<(String, String)> {
        let bytes: [u8; TOTP_BYTES] = rand::random();
        let offered = Secret::new(totp_rs::Secret::from(bytes.to_vec()).to_base32());
        let address = totp(user, &offered)?.to_url().map_err(|error| unusable(&error))?;
        if !self.store.offer_totp(user.uuid, &offered).await? {
            return Err(Problem::Rule(
                "DisplayException",
                "A second factor is on already: turn it off first.".to_owned(),
            ));
        }
        Ok((address, offered.expose().to_owned()))
    }

    /// Turns the second factor on, if the code is one of the secret that was offered; the recovery codes, shown only now.
    pub(crate) async fn confirm_totp(&self, user: &User, code: &str) -> Answer<Vec<String>> {
        let credentials = self.store.credentials(user.uuid).await?;
        let wrong = || Problem::field("code", "in", "This is not the code that the app shows now; try the next one.");
        let offered = credentials.totp_secret.filter(|_| !credentials.totp_confirmed).ok_or_else(wrong)?;
        let step = totp(user, &offered)?.check(code.trim(), clock::now_ms().unsigned_abs() / 1000).ok_or_else(wrong)?;
        if !self.store.take_totp_step(user.uuid, i64::try_from(step).unwrap_or(i64::MAX)).await? {
            return Err(wrong());
        }
        let codes: Vec<String> = (0..RECOVERY_CODES).map(|_| secret::alphanumeric(RECOVERY_CODE_CHARS)).collect();
        // Another one may have been offered meanwhile, to whom no app is set up.
        if !self.store.confirm_totp(user.uuid, &offered, &codes).await? {
            return Err(wrong());
        }
        Ok(codes)
    }
}

/// Six digits every thirty seconds, by SHA-1: what every authenticator app knows. The steps beside the current one count too.
fn totp(user: &User, totp_secret: &Secret) -> Answer<Totp> {
    let secret = totp_rs::Secret::try_from_base32(totp_secret.expose()).map_err(|error| unusable(&error))?;
    // A colon ends the issuer in the address.
    let account = user.username.replace(':', "-");
    let builder = Builder::new().with_secret(secret).with_skew(1).with_account_name(account);
    builder.with_issuer(Some(ISSUER)).build().map_err(|error| unusable(&error))
}

fn unusable(error: &dyn std::fmt::Display) -> Problem {
    tracing::error!(%error, "a second factor cannot be used");
    Problem::Internal
}
