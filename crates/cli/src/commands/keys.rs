//! `quarterdeck key`: API keys of the caller, and for administrators those of others.

use serde_json::{Value, json};
use wire::api::CreateApiKey;
use wire::application::{CreateUserKey, KeyType};

use crate::args::client::{CreateKeyArgs, KeyAction};
use crate::client::api::{ApiKey, Item};
use crate::client::rest::attributes;
use crate::commands::{Context, users};
use crate::fault::Fault;
use crate::output::note;

/// Characters of a key that name it; the rest is its secret.
const IDENTIFIER_CHARS: usize = 16;

/// Does it.
pub(crate) async fn run(context: &Context, action: KeyAction) -> Result<(), Fault> {
    match action {
        KeyAction::List { user } => list(context, &Keys::of(context, user).await?).await,
        KeyAction::Create(args) => create(context, args).await,
        KeyAction::Delete { identifier, user } => delete(context, &Keys::of(context, user).await?, &identifier).await,
    }
}

/// Whose keys.
enum Keys {
    /// The caller's.
    Own,
    /// Of the user with this uuid.
    Of(String),
}

impl Keys {
    async fn of(context: &Context, typed: Option<String>) -> Result<Self, Fault> {
        Ok(match typed {
            None => Self::Own,
            Some(typed) => Self::Of(users::find(context, &typed).await?.uuid),
        })
    }

    fn path(&self) -> Vec<&str> {
        match self {
            Self::Own => vec!["api", "client", "account", "api-keys"],
            Self::Of(uuid) => vec!["api", "application", "users", uuid, "api-keys"],
        }
    }
}

async fn list(context: &Context, whose: &Keys) -> Result<(), Fault> {
    let items = context.rest.all(&whose.path(), &[]).await?;
    if context.output.json {
        let keys: Vec<Value> = items.into_iter().map(|mut item| item["attributes"].take()).collect();
        return context.output.document(&keys);
    }
    let mut rows = Vec::new();
    for item in items {
        let key: ApiKey = attributes(item)?;
        let from = key.allowed_ips.filter(|ips| !ips.is_empty()).map_or_else(|| "anywhere".into(), |ips| ips.join(" "));
        rows.push(vec![
            key.identifier,
            key.description.unwrap_or_default(),
            from,
            key.last_used_at.unwrap_or_else(|| "never".into()),
            key.created_at.unwrap_or_default(),
        ]);
    }
    context.output.table(&["IDENTIFIER", "DESCRIPTION", "USABLE FROM", "LAST USED", "CREATED"], rows)
}

async fn create(context: &Context, args: CreateKeyArgs) -> Result<(), Fault> {
    let CreateKeyArgs { description, allowed_ips, user, application } = args;
    let whose = Keys::of(context, user).await?;
    let item: Item<ApiKey> = match &whose {
        Keys::Own => {
            let body = CreateApiKey { description, allowed_ips, expires_at: None };
            context.rest.post(&whose.path(), &body).await?
        }
        Keys::Of(_) => {
            let kind = if application { KeyType::Application } else { KeyType::Account };
            let body = CreateUserKey { description, allowed_ips, expires_at: None, kind: Some(kind) };
            context.rest.post(&whose.path(), &body).await?
        }
    };
    let secret = item.meta["secret_token"].as_str().unwrap_or_default();
    let key = format!("{}{secret}", item.attributes.identifier);
    if context.output.json {
        return context.output.document(&json!({ "identifier": item.attributes.identifier, "key": key }));
    }
    note("This is the only time the whole key is shown:");
    context.output.line(&key)
}

async fn delete(context: &Context, whose: &Keys, typed: &str) -> Result<(), Fault> {
    // Somebody may paste the whole key; its secret has no place in a URL, and with it in server logs.
    let identifier = typed.get(..IDENTIFIER_CHARS).unwrap_or(typed);
    let mut path = whose.path();
    path.push(identifier);
    context.rest.delete(&path).await.map_err(|fault| match fault.status() {
        Some(404) => Fault::Failed(format!(
            "no such key: `{}`; `quarterdeck key list` shows yours, with --user those of somebody else",
            crate::output::plain(identifier)
        )),
        _ => fault,
    })?;
    if context.output.json {
        return context.output.document(&json!({ "deleted": identifier }));
    }
    context.output.line(&format!("the key {identifier} is deleted"))
}
