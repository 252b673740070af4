//! `quarterdeck server`: list, show, suspend, delete.

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use crate::args::manage::ServerAction;
use crate::client::api::{Item, Resources, Server};
use crate::client::rest::attributes;
use crate::commands::{Context, change, confirmed, create};
use crate::fault::Fault;
use crate::output::{bytes, note, plain, uptime};

/// Servers asked for their state at the same time.
const STATES_AT_ONCE: usize = 8;

/// Does it.
pub(crate) async fn run(context: &Context, action: ServerAction) -> Result<(), Fault> {
    match action {
        ServerAction::List { deleted: true, .. } => list_deleted(context).await,
        ServerAction::List { all, .. } => list(context, all).await,
        ServerAction::Show { server } => show(context, &server).await,
        ServerAction::Create(args) => create::run(context, *args).await,
        ServerAction::Set(args) => change::run(context, *args).await,
        ServerAction::Suspend { server } => suspend(context, &server, true).await,
        ServerAction::Unsuspend { server } => suspend(context, &server, false).await,
        ServerAction::Reinstall { server } => reinstall(context, &server).await,
        ServerAction::Delete { server, now, yes } => delete(context, &server, now, yes).await,
        ServerAction::Restore { server } => restore(context, &server).await,
    }
}

async fn list(context: &Context, all: bool) -> Result<(), Fault> {
    let kind: &[(&str, &str)] = if all { &[("type", "admin-all")] } else { &[] };
    let items = context.rest.all(&["api", "client"], kind).await?;
    let asked = items.into_iter().map(|item| async {
        let server: Server = attributes(item.clone())?;
        let now = Now::of(context, &server).await;
        Ok::<_, Fault>((item, server, now))
    });
    let found: Vec<_> = stream::iter(asked).buffered(STATES_AT_ONCE).collect().await;
    let found = found.into_iter().collect::<Result<Vec<_>, Fault>>()?;
    if context.output.json {
        let document: Vec<Value> = found.into_iter().map(|(item, _, now)| with_state(item, &now)).collect();
        return context.output.document(&document);
    }
    if found.is_empty() {
        note("no servers yet; `quarterdeck server create --help` says how to make one");
        return Ok(());
    }
    let rows = found
        .into_iter()
        .map(|(_, server, now)| {
            let limit = |value: u64, unit: &str| if value == 0 { "-".to_owned() } else { format!("{value}{unit}") };
            vec![
                server.name.clone(),
                server.identifier.clone(),
                now.text,
                server.address().unwrap_or_else(|| "-".into()),
                limit(server.limits.memory, " MiB"),
                limit(server.limits.cpu, "%"),
                server.node,
            ]
        })
        .collect();
    context.output.table(&["NAME", "ID", "STATE", "ADDRESS", "MEMORY", "CPU", "NODE"], rows)
}

fn with_state(mut item: Value, now: &Now) -> Value {
    let mut attributes = item["attributes"].take();
    if let Some(map) = attributes.as_object_mut() {
        map.insert("current_state".into(), now.word.as_str().into());
        if let Some(resources) = &now.resources {
            map.insert("last_exit".into(), resources.last_exit.clone().into());
            map.insert("crashed".into(), resources.crashed.into());
            map.insert("restart_in_ms".into(), resources.restart_in_ms.into());
            map.insert("restart_at".into(), resources.restart_at.clone().into());
            map.insert("condition".into(), resources.condition.clone().into());
            map.insert("crashes_in_a_row".into(), resources.crashes_in_a_row.into());
            map.insert("gave_up".into(), resources.gave_up.into());
        }
    }
    attributes
}

async fn resources(context: &Context, server: &Server) -> Result<Resources, Fault> {
    let item: Item<Resources> = context.rest.get(&["api", "client", "servers", &server.uuid, "resources"]).await?;
    Ok(item.attributes)
}

/// A server's state, and what it uses where the panel says that.
struct Now {
    /// One word, for programs.
    word: String,
    /// For people: after a crash with the reason.
    text: String,
    resources: Option<Resources>,
}

impl Now {
    /// One server that cannot be asked does not spoil a list.
    async fn of(context: &Context, server: &Server) -> Self {
        let resources = resources(context, server).await.ok();
        let (word, text) = match &resources {
            _ if server.is_suspended => ("suspended".into(), "suspended".into()),
            _ if server.is_installing => ("installing".into(), "installing".into()),
            Some(resources) => (resources.state().to_string(), resources.state_text()),
            None => ("unknown".into(), "unknown".into()),
        };
        Self { word, text, resources }
    }
}

async fn show(context: &Context, typed: &str) -> Result<(), Fault> {
    let server = context.rest.find(typed).await?;
    let item: Value = context.rest.get(&["api", "client", "servers", &server.uuid]).await?;
    let now = Now::of(context, &server).await;
    if context.output.json {
        let meta = item["meta"].clone();
        let mut document = with_state(item, &now);
        document["meta"] = meta;
        return context.output.document(&document);
    }
    let permissions = words(&item["meta"]["user_permissions"]);
    let mut pairs = vec![
        ("name", server.name.clone()),
        ("id", server.identifier.clone()),
        ("uuid", server.uuid.clone()),
        ("state", now.text),
        ("address", server.address().unwrap_or_else(|| "-".into())),
        ("node", server.node.clone()),
        ("command", server.invocation.clone().unwrap_or_default()),
        ("yours", if server.is_mine { "yes".into() } else { "no".into() }),
        ("permissions", permissions),
    ];
    if let Some(description) = server.description.filter(|text| !text.is_empty()) {
        pairs.insert(1, ("description", description));
    }
    let limits = &server.limits;
    if let Some(resources) = &now.resources {
        let usage = &resources.usage;
        pairs.push(("memory", of(bytes(usage.memory_bytes), limits.memory, " MiB")));
        pairs.push(("cpu", of(format!("{:.1}%", usage.cpu_absolute), limits.cpu, "%")));
        pairs.push(("disk", of(bytes(usage.disk_bytes), limits.disk, " MiB")));
        pairs.push(("uptime", uptime(usage.uptime)));
        pairs.extend(resources.notes());
    }
    context.output.pairs(&pairs)
}

fn of(used: String, limit: u64, unit: &str) -> String {
    if limit == 0 { used } else { format!("{used} of {limit}{unit}") }
}

fn words(list: &Value) -> String {
    let words: Vec<&str> =
        list.as_array().map(|list| list.iter().filter_map(Value::as_str).collect()).unwrap_or_default();
    words.join(" ")
}

async fn delete(context: &Context, typed: &str, now: bool, yes: bool) -> Result<(), Fault> {
    let server = match context.rest.find(typed).await {
        Ok(server) => (server.name, server.identifier, server.uuid),
        // With `--now`, one that is deleted already is meant as well.
        Err(fault) => match deleted(context, typed).await {
            Ok(found) if now => (text(&found, "name"), text(&found, "identifier"), text(&found, "uuid")),
            _ => return Err(fault),
        },
    };
    let (name, identifier, uuid) = &server;
    let what = if now { " with its files and its whole console log, for good" } else { "" };
    let question = format!("Delete {} ({identifier}){what}? Type its name to go on:", plain(name));
    if !yes && !confirmed(&question, name)? {
        return Err(Fault::Failed("nothing was deleted".into()));
    }
    let path = ["api", "application", "servers", uuid.as_str()];
    let path: Vec<&str> = path.into_iter().chain(now.then_some("force")).collect();
    context.rest.delete(&path).await?;
    // With no grace it is gone at once.
    let kept = !now && deleted(context, uuid).await.is_ok();
    if context.output.json {
        return context.output.document(&json!({ "deleted": uuid, "can_be_restored": kept }));
    }
    context.output.line(&format!("{} ({identifier}) is deleted", plain(name)))?;
    if kept {
        note(&format!("for a while, `quarterdeck server restore {identifier}` brings it back"));
    }
    Ok(())
}

fn text(attributes: &Value, name: &str) -> String {
    attributes[name].as_str().unwrap_or_default().to_owned()
}

/// Those that are deleted and can still be restored.
async fn all_deleted(context: &Context) -> Result<Vec<Value>, Fault> {
    let items = context.rest.all(&["api", "application", "servers"], &[("filter[deleted]", "true")]).await?;
    Ok(items.into_iter().map(|mut item| item["attributes"].take()).collect())
}

/// One of them, by identifier, uuid or name.
async fn deleted(context: &Context, typed: &str) -> Result<Value, Fault> {
    let mut all = all_deleted(context).await?;
    all.retain(|one| ["identifier", "uuid", "name"].iter().any(|name| one[*name] == typed));
    match (all.pop(), all.is_empty()) {
        (Some(one), true) => Ok(one),
        (Some(_), false) => {
            Err(Fault::Failed(format!("several deleted servers are named `{typed}`; say which by identifier")))
        }
        (None, _) => Err(Fault::Failed(format!(
            "there is no deleted server `{typed}` that can be restored; `quarterdeck server list --deleted` shows them"
        ))),
    }
}

async fn list_deleted(context: &Context) -> Result<(), Fault> {
    let all = all_deleted(context).await?;
    if context.output.json {
        return context.output.document(&all);
    }
    if all.is_empty() {
        note("no deleted server can be restored");
        return Ok(());
    }
    let row = |one: &Value| ["name", "identifier", "delete_at"].map(|name| text(one, name)).to_vec();
    context.output.table(&["NAME", "ID", "GONE AT"], all.iter().map(row).collect())
}

async fn restore(context: &Context, typed: &str) -> Result<(), Fault> {
    let server = deleted(context, typed).await?;
    let uuid = text(&server, "uuid");
    context.rest.post_empty(&["api", "application", "servers", &uuid, "restore"], &json!({})).await?;
    if context.output.json {
        return context.output.document(&json!({ "restored": uuid }));
    }
    context.output.line(&format!("{} is back; it is not started by itself", plain(&text(&server, "name"))))
}

async fn reinstall(context: &Context, typed: &str) -> Result<(), Fault> {
    let server = context.rest.find(typed).await?;
    context.rest.post_empty(&["api", "application", "servers", &server.uuid, "reinstall"], &json!({})).await?;
    if context.output.json {
        return context.output.document(&json!({ "server": server.uuid, "reinstalling": true }));
    }
    context.output.line(&format!("{} is being installed", plain(&server.name)))
}

async fn suspend(context: &Context, typed: &str, suspended: bool) -> Result<(), Fault> {
    let server = context.rest.find(typed).await?;
    let action = if suspended { "suspend" } else { "unsuspend" };
    context.rest.post_empty(&["api", "application", "servers", &server.uuid, action], &json!({})).await?;
    if context.output.json {
        return context.output.document(&json!({ "server": server.uuid, "suspended": suspended }));
    }
    let name = plain(&server.name);
    context.output.line(&if suspended {
        format!("{name} is suspended: it is stopped, and nobody can use it")
    } else {
        format!("{name} can be used again; it is not started by itself")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_permissions_reads_as_words() {
        assert_eq!(words(&json!(["a", "b"])), "a b");
        assert_eq!(words(&Value::Null), "");
    }
}
