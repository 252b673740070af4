//! `quarterdeck share`: who else may use a server, and what they may do.

use serde_json::{Value, json};

use crate::args::manage::{ShareAction, ShareArgs};
use crate::client::api::{Item, Server, Subuser};
use crate::client::rest::attributes;
use crate::commands::{Context, users};
use crate::fault::Fault;
use crate::output::plain;

/// Comes with every share.
const CONNECT: &str = wire::token::permission::CONNECT;

/// Does it.
pub(crate) async fn run(context: &Context, args: ShareArgs) -> Result<(), Fault> {
    let server = context.rest.find(&args.server).await?;
    match args.action.unwrap_or(ShareAction::List) {
        ShareAction::List => list(context, &server).await,
        ShareAction::Add { email, permissions } => add(context, &server, &email, permissions).await,
        ShareAction::Permissions => permissions(context).await,
        ShareAction::Remove { who } => remove(context, &server, &who).await,
    }
}

async fn all(context: &Context, server: &Server) -> Result<Vec<Value>, Fault> {
    context.rest.all(&["api", "client", "servers", &server.uuid, "users"], &[]).await
}

async fn list(context: &Context, server: &Server) -> Result<(), Fault> {
    let items = all(context, server).await?;
    if context.output.json {
        let users: Vec<Value> = items.into_iter().map(|mut item| item["attributes"].take()).collect();
        return context.output.document(&users);
    }
    let mut rows = Vec::new();
    for item in items {
        let user: Subuser = attributes(item)?;
        rows.push(vec![user.username, user.email, user.permissions.join(" ")]);
    }
    context.output.table(&["NAME", "E-MAIL", "MAY"], rows)
}

async fn find(context: &Context, server: &Server, who: &str) -> Result<Option<Subuser>, Fault> {
    for item in all(context, server).await? {
        let user: Subuser = attributes(item)?;
        if user.email.eq_ignore_ascii_case(who) || user.username == who || user.uuid == who {
            return Ok(Some(user));
        }
    }
    Ok(None)
}

/// Every permission the panel knows, with what it means.
async fn catalogue(context: &Context) -> Result<Vec<(String, String)>, Fault> {
    let item: Item<Value> = context.rest.get(&["api", "client", "permissions"]).await?;
    let mut all = Vec::new();
    for (group, about) in item.attributes["permissions"].as_object().into_iter().flatten() {
        for (key, meaning) in about["keys"].as_object().into_iter().flatten() {
            all.push((format!("{group}.{key}"), meaning.as_str().unwrap_or_default().to_owned()));
        }
    }
    Ok(all)
}

async fn permissions(context: &Context) -> Result<(), Fault> {
    let all = catalogue(context).await?;
    if context.output.json {
        let all: Vec<Value> =
            all.into_iter().map(|(name, meaning)| json!({ "name": name, "meaning": meaning })).collect();
        return context.output.document(&all);
    }
    let rows = all.into_iter().map(|(name, meaning)| vec![name, meaning]).collect();
    context.output.table(&["PERMISSION", "ALLOWS TO"], rows)
}

/// Refuses what the panel does not know, and names what may be meant.
fn check_known(known: &[(String, String)], asked: &[String]) -> Result<(), Fault> {
    let Some(wrong) = asked.iter().find(|asked| !known.iter().any(|(name, _)| name == *asked)) else { return Ok(()) };
    let near: Vec<&str> = known
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| name.split_once('.').is_some_and(|(group, key)| key == wrong || group == wrong))
        .collect();
    let wrong = plain(wrong);
    let meant = if near.is_empty() { String::new() } else { format!("; you may mean {}", near.join(" or ")) };
    Err(Fault::Usage(format!(
        "there is no permission `{wrong}`{meant}; `quarterdeck share SERVER permissions` lists all"
    )))
}

async fn add(context: &Context, server: &Server, email: &str, mut permissions: Vec<String>) -> Result<(), Fault> {
    permissions = permissions.iter().map(|permission| permission.trim().to_owned()).collect();
    permissions.retain(|permission| !permission.is_empty());
    if !permissions.iter().any(|permission| permission == CONNECT) {
        permissions.push(CONNECT.to_owned());
    }
    check_known(&catalogue(context).await?, &permissions)?;
    let before = find(context, server, email).await?;
    // Only administrators can know whether somebody has an account.
    let is_new = before.is_none() && matches!(users::known(context, email).await, Ok(None));
    let base = ["api", "client", "servers", server.uuid.as_str(), "users"];
    let answer: Value = match &before {
        Some(user) => {
            let path: Vec<&str> = base.into_iter().chain([user.uuid.as_str()]).collect();
            context.rest.post(&path, &json!({ "permissions": permissions })).await?
        }
        None => context.rest.post(&base, &json!({ "email": email, "permissions": permissions })).await?,
    };
    if context.output.json {
        return context.output.document(&answer["attributes"]);
    }
    let user: Subuser = attributes(answer)?;
    let account = if is_new { " (new account)" } else { "" };
    let (email, name, may) = (plain(&user.email), plain(&server.name), plain(&user.permissions.join(" ")));
    let Some(before) = before else {
        return context.output.line(&format!("{email}{account} may use {name}: {may}"));
    };
    let lost: Vec<String> = before.permissions.into_iter().filter(|old| !user.permissions.contains(old)).collect();
    let lost = if lost.is_empty() { String::new() } else { format!("; no longer: {}", plain(&lost.join(" "))) };
    context.output.line(&format!("{email} may use {name}, now: {may}{lost}"))
}

async fn remove(context: &Context, server: &Server, who: &str) -> Result<(), Fault> {
    let Some(user) = find(context, server, who).await? else {
        return Err(Fault::Failed(format!(
            "{} is not shared with `{who}`; `quarterdeck share` shows with whom it is",
            plain(&server.name)
        )));
    };
    context.rest.delete(&["api", "client", "servers", &server.uuid, "users", &user.uuid]).await?;
    if context.output.json {
        return context.output.document(&json!({ "removed": user.uuid }));
    }
    context.output.line(&format!("{} may no longer use {}", plain(&user.email), plain(&server.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_permission_is_answered_with_the_whole() {
        let known: Vec<_> = ["websocket.connect", "control.console", "control.start", "user.read", "activity.read"]
            .map(|name| (name.to_owned(), String::new()))
            .into();
        let check = |asked: &str| check_known(&known, &[asked.to_owned()]).map_err(|fault| fault.to_string());
        assert_eq!(check("control.start"), Ok(()));
        assert!(check("console").is_err_and(|text| text.contains("you may mean control.console;")));
        assert!(check("read").is_err_and(|text| text.contains("user.read or activity.read")));
        assert!(check("bogus\x1b").is_err_and(|text| !text.contains("mean") && !text.contains('\x1b')));
    }
}
