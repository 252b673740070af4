//! What people prove who they are with: password, two-factor secret, recovery codes.

use sqlx::Sqlite;
use wire::ids::UserId;

use super::outbox::{self, Waiting};
use super::sessions::{Session, end_all};
use super::{Columns, Result, Store};
use crate::clock;
use crate::secret::{self, Secret};

/// How somebody proves who they are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Credentials {
    /// Argon2id, as a PHC string; without one, only links and keys open anything.
    pub(crate) password_hash: Option<String>,
    /// Secret of the second factor, in base 32; only asked for when it is confirmed.
    pub(crate) totp_secret: Option<Secret>,
    pub(crate) totp_confirmed: bool,
}

impl Store {
    /// Somebody's; nothing for nobody.
    pub(crate) async fn credentials(&self, user: UserId) -> Result<Credentials> {
        let row = sqlx::query::<Sqlite>("SELECT password_hash, totp_secret, totp_confirmed FROM users WHERE uuid = $1")
            .bind(user.to_string())
            .fetch_optional(&self.read)
            .await?;
        let Some(row) = row else { return Ok(Credentials::default()) };
        Ok(Credentials {
            password_hash: row.text_or_null("password_hash")?,
            totp_secret: row.text_or_null("totp_secret")?.map(Secret::new),
            totp_confirmed: row.flag("totp_confirmed")?,
        })
    }

    /// Sets a password and ends the person's sessions, all but one, and their links. `notices` is what nodes must hear of that.
    /// False, and nothing is changed, when `old` is no longer the hash of the password there is.
    pub(crate) async fn set_password(
        &self,
        user: UserId,
        old: Option<&str>,
        hash: &str,
        but: Option<&Session>,
        notices: &[Waiting],
    ) -> Result<bool> {
        let mut tx = self.change().await?;
        let set = sqlx::query::<Sqlite>(
            "UPDATE users SET password_hash = $2, updated_at = $3 WHERE uuid = $1 AND COALESCE(password_hash, '') = $4",
        )
        .bind(user.to_string())
        .bind(hash.to_owned())
        .bind(clock::now_ms())
        .bind(old.unwrap_or_default().to_owned());
        if set.execute(&mut *tx).await?.rows_affected() == 0 {
            return Ok(false);
        }
        end_all(&mut tx, user, but).await?;
        outbox::put(&mut tx, notices).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Offers a secret for the second factor, in place of one that was offered and not confirmed. False when one is confirmed.
    pub(crate) async fn offer_totp(&self, user: UserId, totp_secret: &Secret) -> Result<bool> {
        let statement =
            sqlx::query::<Sqlite>("UPDATE users SET totp_secret = $2 WHERE uuid = $1 AND totp_confirmed = FALSE")
                .bind(user.to_string())
                .bind(totp_secret.expose().to_owned());
        Ok(self.write.execute(statement).await?.rows_affected() > 0)
    }

    /// Takes the code of a step, unless one of this step or a later one was taken before: whoever saw a code being typed cannot
    /// use it again.
    pub(crate) async fn take_totp_step(&self, user: UserId, step: i64) -> Result<bool> {
        let statement = sqlx::query::<Sqlite>("UPDATE users SET totp_step = $2 WHERE uuid = $1 AND totp_step < $2")
            .bind(user.to_string())
            .bind(step);
        Ok(self.write.execute(statement).await?.rows_affected() > 0)
    }

    /// Turns the second factor on, with these recovery codes.
    pub(crate) async fn confirm_totp(&self, user: UserId, offered: &Secret, codes: &[String]) -> Result<bool> {
        let mut tx = self.change().await?;
        let confirm = sqlx::query::<Sqlite>(
            "UPDATE users SET totp_confirmed = TRUE, updated_at = $2 WHERE uuid = $1 AND totp_secret = $3 AND totp_confirmed = FALSE",
        )
        .bind(user.to_string())
        .bind(clock::now_ms())
        .bind(offered.expose().to_owned());
        if confirm.execute(&mut *tx).await?.rows_affected() == 0 {
            return Ok(false);
        }
        let old = sqlx::query::<Sqlite>("DELETE FROM recovery_codes WHERE user_uuid = $1").bind(user.to_string());
        old.execute(&mut *tx).await?;
        for code in codes {
            let keep = sqlx::query::<Sqlite>("INSERT INTO recovery_codes (user_uuid, digest) VALUES ($1, $2)")
                .bind(user.to_string())
                .bind(secret::digest(code));
            keep.execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Turns the second factor off.
    pub(crate) async fn drop_totp(&self, user: UserId) -> Result<()> {
        let mut tx = self.change().await?;
        let off = sqlx::query::<Sqlite>(
            "UPDATE users SET totp_secret = NULL, totp_confirmed = FALSE, updated_at = $2 WHERE uuid = $1",
        )
        .bind(user.to_string())
        .bind(clock::now_ms());
        off.execute(&mut *tx).await?;
        let codes = sqlx::query::<Sqlite>("DELETE FROM recovery_codes WHERE user_uuid = $1").bind(user.to_string());
        codes.execute(&mut *tx).await?;
        tx.commit().await
    }

    /// Takes a recovery code; each works once.
    pub(crate) async fn take_recovery_code(&self, user: UserId, code: &str) -> Result<bool> {
        let statement = sqlx::query::<Sqlite>("DELETE FROM recovery_codes WHERE user_uuid = $1 AND digest = $2")
            .bind(user.to_string())
            .bind(secret::digest(code));
        Ok(self.write.execute(statement).await?.rows_affected() > 0)
    }
}
