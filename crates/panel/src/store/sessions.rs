//! Sign-ins of people in browsers: sessions, and links that open one once.

use sqlx::Sqlite;
use sqlx::sqlite::SqliteRow;
use wire::ids::UserId;

use super::outbox::{self, Waiting};
use super::{Columns, Result, Store};
use crate::secret;

/// Characters of a session's secret and of a link's: more than 200 bits.
const SECRET_CHARS: usize = 40;
/// A session that nobody uses ends after this time.
const IDLE_MS: i64 = 14 * 24 * 60 * 60 * 1000;
/// No session is older.
const LIFE_MS: i64 = 90 * 24 * 60 * 60 * 1000;
/// A secret is replaced when it is older.
const ROTATE_AFTER_MS: i64 = 60 * 60 * 1000;
/// How long a replaced secret still counts, for requests that were under way.
const REPLACED_MS: i64 = 60 * 1000;
/// Use is written down at most this often.
const SEEN_EVERY_MS: i64 = 60 * 1000;
/// Sessions one person may have; the one unused for longest makes room.
const SESSIONS_MAX: i64 = 50;

/// A session, as one request finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) digest: String,
    pub(crate) user: UserId,
    pub(crate) is_replaced: bool,
    pub(crate) signed_in_at: i64,
    pub(crate) issued_at: i64,
    pub(crate) seen_at: i64,
    pub(crate) expires_at: i64,
}

impl Session {
    /// Whether its secret is due to be replaced.
    pub(crate) fn is_due(&self, now: i64) -> bool {
        !self.is_replaced && now - self.issued_at >= ROTATE_AFTER_MS
    }

    /// Whether its use is to be written down.
    pub(crate) fn is_stale(&self, now: i64) -> bool {
        !self.is_replaced && now - self.seen_at >= SEEN_EVERY_MS
    }
}

/// A session's secret, as its cookie has it; kept nowhere.
#[derive(Clone)]
pub(crate) struct SessionSecret(String);

impl SessionSecret {
    fn new() -> Self {
        Self(secret::alphanumeric(SECRET_CHARS))
    }

    /// Of a cookie.
    pub(crate) fn of(text: &str) -> Option<Self> {
        let sane = text.len() == SECRET_CHARS && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        sane.then(|| Self(text.to_owned()))
    }

    /// The text for the cookie.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// What a page proves with that it can read our answers, unlike a page of somebody else that only makes the browser send
    /// the cookie.
    pub(crate) fn csrf(&self) -> String {
        secret::digest(&format!("csrf {}", self.0))
    }

    fn digest(&self) -> String {
        secret::digest(&self.0)
    }
}

/// From where a session was opened.
#[derive(Clone, Debug)]
pub(crate) struct Opener {
    pub(crate) ip: String,
    /// What the browser calls itself.
    pub(crate) agent: String,
}

fn read(row: &SqliteRow) -> Result<Session> {
    Ok(Session {
        digest: row.text("digest")?,
        user: row.parsed("user_uuid")?,
        is_replaced: row.flag("is_replaced")?,
        signed_in_at: row.int("signed_in_at")?,
        issued_at: row.int("issued_at")?,
        seen_at: row.int("seen_at")?,
        expires_at: row.int("expires_at")?,
    })
}

const fn expiry(signed_in_at: i64, now: i64) -> i64 {
    let (idle, end) = (now.saturating_add(IDLE_MS), signed_in_at.saturating_add(LIFE_MS));
    if idle < end { idle } else { end }
}

impl Store {
    /// Opens a session; with a `hash` only if that is still the one of the person's password.
    pub(crate) async fn open_session(
        &self,
        user: UserId,
        hash: Option<&str>,
        opener: &Opener,
        now: i64,
    ) -> Result<Option<(SessionSecret, Session)>> {
        let secret = SessionSecret::new();
        let mut tx = self.change().await?;
        // Sessions are told apart by their beginning: no two of a person have the same.
        let known = sqlx::query::<Sqlite>(
            "SELECT password_hash, (SELECT COALESCE(MAX(signed_in_at), -1) FROM sessions WHERE user_uuid = $1) AS newest \
             FROM users WHERE uuid = $1",
        );
        let known = tx.row(known.bind(user.to_string())).await?;
        if hash.is_some() && known.text_or_null("password_hash")?.as_deref() != hash {
            return Ok(None);
        }
        let signed_in_at = now.max(known.int("newest")?.saturating_add(1));
        let row = tx.row(insert(&secret, user, opener, signed_in_at, now)).await?;
        let session = read(&row)?;
        let surplus = sqlx::query::<Sqlite>(
            "DELETE FROM sessions WHERE expires_at <= $2 OR digest IN (SELECT digest FROM sessions WHERE user_uuid = $1 \
             ORDER BY is_replaced, seen_at DESC, digest LIMIT 1000 OFFSET $3)",
        )
        .bind(user.to_string())
        .bind(now)
        .bind(SESSIONS_MAX);
        surplus.execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(Some((secret, session)))
    }

    /// The session with this secret, if it has not ended.
    pub(crate) async fn session(&self, secret: &SessionSecret, now: i64) -> Result<Option<Session>> {
        let query = sqlx::query::<Sqlite>(
            "SELECT * FROM sessions WHERE digest = $1 AND expires_at > $2 AND (is_replaced = FALSE OR expires_at <= $3)",
        )
        .bind(secret.digest())
        .bind(now)
        // A clock that was set back does not give a replaced secret hours of life.
        .bind(now.saturating_add(REPLACED_MS));
        query.fetch_optional(&self.read).await?.as_ref().map(read).transpose()
    }

    /// Writes down that a session is used, which also puts its end off.
    pub(crate) async fn touch_session(&self, session: &Session, now: i64) -> Result<()> {
        let statement = sqlx::query::<Sqlite>(
            "UPDATE sessions SET seen_at = $2, expires_at = $3 WHERE digest = $1 AND is_replaced = FALSE",
        )
        .bind(session.digest.clone())
        .bind(now)
        .bind(expiry(session.signed_in_at, now));
        self.write.execute(statement).await?;
        Ok(())
    }

    /// Replaces a session's secret. None if another request has done that already.
    pub(crate) async fn rotate_session(
        &self,
        session: &Session,
        opener: &Opener,
        now: i64,
    ) -> Result<Option<(SessionSecret, Session)>> {
        let mut tx = self.change().await?;
        let retire = sqlx::query::<Sqlite>(
            "UPDATE sessions SET is_replaced = TRUE, expires_at = $2 WHERE digest = $1 AND is_replaced = FALSE",
        )
        .bind(session.digest.clone())
        .bind(now.saturating_add(REPLACED_MS));
        if retire.execute(&mut *tx).await?.rows_affected() == 0 {
            return Ok(None);
        }
        let secret = SessionSecret::new();
        let row = tx.row(insert(&secret, session.user, opener, session.signed_in_at, now)).await?;
        let session = read(&row)?;
        tx.commit().await?;
        Ok(Some((secret, session)))
    }

    /// Ends one session, with the secrets it had before and has got since.
    pub(crate) async fn end_session(&self, session: &Session) -> Result<()> {
        let statement = sqlx::query::<Sqlite>("DELETE FROM sessions WHERE user_uuid = $1 AND signed_in_at = $2")
            .bind(session.user.to_string())
            .bind(session.signed_in_at);
        self.write.execute(statement).await?;
        Ok(())
    }

    /// Ends all of somebody's sessions, and what opens new ones without a password. `notices` is what nodes must hear of that.
    pub(crate) async fn end_sessions(&self, user: UserId, notices: &[Waiting]) -> Result<()> {
        let mut tx = self.change().await?;
        end_all(&mut tx, user, None).await?;
        outbox::put(&mut tx, notices).await?;
        tx.commit().await
    }

    /// Makes a link that opens a session once; its secret, which is kept nowhere. Links that were made for the same person
    /// before open nothing any more.
    pub(crate) async fn insert_link(&self, user: UserId, expires_at: i64) -> Result<String> {
        let secret = SessionSecret::new();
        let mut tx = self.change().await?;
        let old = sqlx::query::<Sqlite>("DELETE FROM sign_in_links WHERE user_uuid = $1").bind(user.to_string());
        old.execute(&mut *tx).await?;
        let new =
            sqlx::query::<Sqlite>("INSERT INTO sign_in_links (digest, user_uuid, expires_at) VALUES ($1, $2, $3)")
                .bind(secret.digest())
                .bind(user.to_string())
                .bind(expires_at);
        new.execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(secret.0)
    }

    /// Whose link this is. It opens nothing any more.
    pub(crate) async fn take_link(&self, text: &str, now: i64) -> Result<Option<UserId>> {
        let Some(secret) = SessionSecret::of(text) else { return Ok(None) };
        let mut tx = self.change().await?;
        let take = sqlx::query::<Sqlite>("DELETE FROM sign_in_links WHERE digest = $1 RETURNING user_uuid, expires_at")
            .bind(secret.digest());
        let row = match tx.row(take).await {
            Ok(row) => row,
            Err(sqlx::Error::RowNotFound) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        tx.commit().await?;
        if row.int("expires_at")? <= now { Ok(None) } else { row.parsed("user_uuid").map(Some) }
    }
}

/// Ends somebody's sessions, all or all but one, and their links.
pub(super) async fn end_all(tx: &mut super::change::Change, user: UserId, but: Option<&Session>) -> Result<()> {
    // A session is told by its beginning: its secret may have been replaced a moment ago.
    let sessions =
        sqlx::query::<Sqlite>("DELETE FROM sessions WHERE user_uuid = $1 AND signed_in_at <> COALESCE($2, -1)")
            .bind(user.to_string())
            .bind(but.map(|session| session.signed_in_at));
    sessions.execute(&mut **tx).await?;
    let links = sqlx::query::<Sqlite>("DELETE FROM sign_in_links WHERE user_uuid = $1").bind(user.to_string());
    links.execute(&mut **tx).await?;
    Ok(())
}

fn insert(
    secret: &SessionSecret,
    user: UserId,
    opener: &Opener,
    signed_in_at: i64,
    now: i64,
) -> super::change::Statement {
    sqlx::query::<Sqlite>(
        "INSERT INTO sessions (digest, user_uuid, ip, agent, is_replaced, signed_in_at, issued_at, seen_at, expires_at) \
         VALUES ($1, $2, $3, $4, FALSE, $5, $6, $6, $7) RETURNING *",
    )
    .bind(secret.digest())
    .bind(user.to_string())
    .bind(opener.ip.clone())
    .bind(opener.agent.clone())
    .bind(signed_in_at)
    .bind(now)
    .bind(expiry(signed_in_at, now))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use crate::store::users::NewUser;

    async fn store() -> (tempfile::TempDir, Store, UserId) {
        let dir = tempfile::TempDir::new().unwrap();
        let store = Store::open(&dir.path().join("panel.sqlite")).await.unwrap();
        let new = NewUser { username: "a".to_owned(), email: "a@b".to_owned(), ..NewUser::default() };
        let user = store.insert_user(new).await.unwrap().uuid;
        (dir, store, user)
    }

    fn opener() -> Opener {
        Opener { ip: "127.0.0.1".to_owned(), agent: String::new() }
    }

    #[tokio::test]
    async fn a_secret_is_replaced_once_and_works_a_little_longer() {
        let (_dir, store, user) = store().await;
        let (first, session) = store.open_session(user, None, &opener(), 0).await.unwrap().unwrap();
        assert!(!session.is_due(ROTATE_AFTER_MS - 1) && session.is_due(ROTATE_AFTER_MS));
        let now = ROTATE_AFTER_MS;
        let (second, newer) = store.rotate_session(&session, &opener(), now).await.unwrap().unwrap();
        assert!(store.rotate_session(&session, &opener(), now).await.unwrap().is_none());
        assert_ne!(first.csrf(), second.csrf());
        assert!(!newer.is_due(now) && newer.signed_in_at == 0);
        let old = store.session(&first, now + REPLACED_MS - 1).await.unwrap().unwrap();
        assert!(old.is_replaced && !old.is_due(i64::MAX) && !old.is_stale(i64::MAX));
        store.touch_session(&old, now).await.unwrap();
        assert!(store.session(&first, now + REPLACED_MS).await.unwrap().is_none());
        assert!(store.session(&second, now + REPLACED_MS).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_session_ends_with_all_its_secrets() {
        let (_dir, store, user) = store().await;
        let (other, _) = store.open_session(user, None, &opener(), 1).await.unwrap().unwrap();
        for use_old in [true, false] {
            let (first, session) = store.open_session(user, None, &opener(), 0).await.unwrap().unwrap();
            let (second, newer) = store.rotate_session(&session, &opener(), 2).await.unwrap().unwrap();
            store.end_session(if use_old { &session } else { &newer }).await.unwrap();
            assert!(store.session(&first, 3).await.unwrap().is_none());
            assert!(store.session(&second, 3).await.unwrap().is_none());
        }
        assert!(store.session(&other, 3).await.unwrap().is_some());
        // A change of the password asked for with the old secret keeps the new one as well.
        let (_, session) = store.open_session(user, None, &opener(), 0).await.unwrap().unwrap();
        let (second, _) = store.rotate_session(&session, &opener(), 2).await.unwrap().unwrap();
        assert!(store.set_password(user, None, "hash", Some(&session), &[]).await.unwrap());
        assert!(store.session(&second, 3).await.unwrap().is_some());
        assert!(store.session(&other, 3).await.unwrap().is_none());
    }

    /// Of two offers at the same time only the newer one can be confirmed: a code of the other was checked against another secret.
    #[tokio::test]
    async fn a_second_factor_is_confirmed_as_it_was_offered() {
        let (_dir, store, user) = store().await;
        let (first, second) = (Secret::new("AAAA".to_owned()), Secret::new("BBBB".to_owned()));
        assert!(store.offer_totp(user, &first).await.unwrap() && store.offer_totp(user, &second).await.unwrap());
        assert!(!store.confirm_totp(user, &first, &[]).await.unwrap());
        assert!(!store.credentials(user).await.unwrap().totp_confirmed);
        assert!(store.confirm_totp(user, &second, &[]).await.unwrap());
        assert!(!store.confirm_totp(user, &second, &[]).await.unwrap(), "once is enough");
        assert!(store.credentials(user).await.unwrap().totp_confirmed);
    }

    /// Checking a password takes long enough for another one to be set meanwhile.
    #[tokio::test]
    async fn a_password_that_was_replaced_opens_nothing_and_changes_nothing() {
        let (_dir, store, user) = store().await;
        assert!(store.set_password(user, None, "one", None, &[]).await.unwrap());
        assert!(store.open_session(user, Some("one"), &opener(), 1).await.unwrap().is_some());
        assert!(store.set_password(user, Some("one"), "two", None, &[]).await.unwrap());
        assert!(store.open_session(user, Some("one"), &opener(), 1).await.unwrap().is_none());
        assert!(!store.set_password(user, Some("one"), "three", None, &[]).await.unwrap());
        assert!(store.open_session(user, Some("two"), &opener(), 1).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn sessions_of_one_moment_end_one_by_one() {
        let (_dir, store, user) = store().await;
        let (_, one) = store.open_session(user, None, &opener(), 7).await.unwrap().unwrap();
        let (other, _) = store.open_session(user, None, &opener(), 7).await.unwrap().unwrap();
        store.end_session(&one).await.unwrap();
        assert!(store.session(&other, 8).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn use_puts_the_end_off_but_not_for_ever() {
        let (_dir, store, user) = store().await;
        let (secret, session) = store.open_session(user, None, &opener(), 0).await.unwrap().unwrap();
        assert_eq!(session.expires_at, IDLE_MS);
        assert!(store.session(&secret, IDLE_MS - 1).await.unwrap().is_some());
        assert!(store.session(&secret, IDLE_MS).await.unwrap().is_none());
        store.touch_session(&session, LIFE_MS - 1).await.unwrap();
        assert!(store.session(&secret, LIFE_MS).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn there_are_never_too_many_sessions_of_one_person() {
        let (_dir, store, user) = store().await;
        let (oldest, _) = store.open_session(user, None, &opener(), 0).await.unwrap().unwrap();
        let (kept, _) = store.open_session(user, None, &opener(), 1).await.unwrap().unwrap();
        for now in 2..=SESSIONS_MAX {
            store.open_session(user, None, &opener(), now).await.unwrap().unwrap();
        }
        assert!(store.session(&oldest, 100).await.unwrap().is_none());
        assert!(store.session(&kept, 100).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_link_works_once_and_not_too_late() {
        let (_dir, store, user) = store().await;
        let old = store.insert_link(user, 10).await.unwrap();
        assert_eq!(store.take_link(&old, 10).await.unwrap(), None);
        let link = store.insert_link(user, 10).await.unwrap();
        assert_eq!(store.take_link(&link, 9).await.unwrap(), Some(user));
        assert_eq!(store.take_link(&link, 9).await.unwrap(), None);
    }
}
