//! Fills the folded forms of what was written before there were any: once, when the schema is brought up to date.

use sqlx::Sqlite;

use super::change::Change;
use super::{Columns, Result, folded};

/// Of all servers and users.
pub(super) async fn fill(tx: &mut Change) -> Result<()> {
    let servers = sqlx::query::<Sqlite>("SELECT uuid, name, description, external_id FROM servers");
    for row in servers.fetch_all(&mut **tx).await? {
        let update =
            "UPDATE servers SET name_folded = $2, description_folded = $3, external_id_folded = $4 WHERE uuid = $1";
        sqlx::query::<Sqlite>(update)
            .bind(row.text("uuid")?)
            .bind(folded(&row.text("name")?))
            .bind(folded(&row.text("description")?))
            .bind(row.text_or_null("external_id")?.map(|text| folded(&text)))
            .execute(&mut **tx)
            .await?;
    }
    let users = sqlx::query::<Sqlite>("SELECT uuid, external_id FROM users WHERE external_id IS NOT NULL");
    for row in users.fetch_all(&mut **tx).await? {
        sqlx::query::<Sqlite>("UPDATE users SET external_id_folded = $2 WHERE uuid = $1")
            .bind(row.text("uuid")?)
            .bind(folded(&row.text("external_id")?))
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}
