//! `quarterdeck user`: the panel's users, for administrators.

use serde_json::{Value, json};

use crate::args::manage::UserAction;
use crate::client::api::{Item, User};
use crate::client::rest::attributes;
use crate::commands::{Context, confirmed};
use crate::fault::Fault;
use crate::output::plain;

const PATH: [&str; 3] = ["api", "application", "users"];

/// Does it.
pub(crate) async fn run(context: &Context, action: UserAction) -> Result<(), Fault> {
    match action {
        UserAction::List => list(context).await,
        UserAction::Create { email, name, admin } => create(context, &email, name, admin).await,
        UserAction::Link { user } => link(context, &user).await,
        UserAction::Delete { user, yes } => delete(context, &user, yes).await,
    }
}

/// The user somebody means: by number, uuid, name or e-mail address.
pub(crate) async fn find(context: &Context, typed: &str) -> Result<User, Fault> {
    let unknown = || Fault::Failed(format!("there is no user `{typed}`; `quarterdeck user list` shows all"));
    if typed.contains('@') {
        return known(context, typed).await?.ok_or_else(unknown);
    }
    // Nothing, or dots, would be another path.
    if !typed.contains(char::is_alphanumeric) {
        return Err(unknown());
    }
    let path: Vec<&str> = PATH.into_iter().chain([typed]).collect();
    match context.rest.get::<Item<User>>(&path).await {
        Ok(item) => Ok(item.attributes),
        Err(fault) if fault.status() == Some(404) => Err(unknown()),
        Err(fault) => Err(fault),
    }
}

/// The user with an e-mail address, if there is one. For administrators.
pub(crate) async fn known(context: &Context, email: &str) -> Result<Option<User>, Fault> {
    for item in context.rest.all(&PATH, &[("filter[email]", email)]).await? {
        let user: User = attributes(item)?;
        if user.email.eq_ignore_ascii_case(email) {
            return Ok(Some(user));
        }
    }
    Ok(None)
}

async fn list(context: &Context) -> Result<(), Fault> {
    let items = context.rest.all(&PATH, &[]).await?;
    if context.output.json {
        let users: Vec<Value> = items.into_iter().map(|mut item| item["attributes"].take()).collect();
        return context.output.document(&users);
    }
    let mut rows = Vec::new();
    for item in items {
        let user: User = attributes(item)?;
        let role = if user.root_admin { "administrator" } else { "user" };
        rows.push(vec![user.id.to_string(), user.username, user.email, role.into(), user.uuid]);
    }
    context.output.table(&["ID", "NAME", "E-MAIL", "ROLE", "UUID"], rows)
}

async fn create(context: &Context, email: &str, name: Option<String>, admin: bool) -> Result<(), Fault> {
    let name = name.unwrap_or_else(|| email.split('@').next().unwrap_or(email).to_owned());
    let body = json!({ "email": email, "username": name, "first_name": name, "last_name": name, "root_admin": admin });
    let answer: Value = context.rest.post(&PATH, &body).await?;
    if context.output.json {
        return context.output.document(&answer["attributes"]);
    }
    let user: User = attributes(answer)?;
    context.output.pairs(&[
        ("id", user.id.to_string()),
        ("name", user.username),
        ("e-mail", user.email),
        ("uuid", user.uuid),
    ])
}

async fn link(context: &Context, typed: &str) -> Result<(), Fault> {
    let user = find(context, typed).await?;
    let path: Vec<&str> = PATH.into_iter().chain([user.uuid.as_str(), "sign-in-link"]).collect();
    let answer: Value = context.rest.post(&path, &json!({})).await?;
    if context.output.json {
        return context.output.document(&answer["attributes"]);
    }
    context.output.line(&plain(answer["attributes"]["url"].as_str().unwrap_or_default()))
}

async fn delete(context: &Context, typed: &str, yes: bool) -> Result<(), Fault> {
    let user = find(context, typed).await?;
    let question = format!(
        "Delete {} ({}) with their keys and shares? Type the name to go on:",
        plain(&user.username),
        plain(&user.email)
    );
    if !yes && !confirmed(&question, &user.username)? {
        return Err(Fault::Failed("nobody was deleted".into()));
    }
    let path: Vec<&str> = PATH.into_iter().chain([user.uuid.as_str()]).collect();
    context.rest.delete(&path).await?;
    if context.output.json {
        return context.output.document(&json!({ "deleted": user.uuid }));
    }
    context.output.line(&format!("{} ({}) is deleted", plain(&user.username), plain(&user.email)))
}
