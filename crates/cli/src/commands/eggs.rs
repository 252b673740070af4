//! `quarterdeck egg`: definitions of games that servers can be made from.

use std::io::Read;
use std::path::Path;

use serde_json::{Value, json};

use crate::args::manage::EggAction;
use crate::client::api::Item;
use crate::commands::Context;
use crate::fault::Fault;
use crate::output::{note, plain};

const PATH: [&str; 3] = ["api", "application", "eggs"];
/// Longest file that is sent; the panel takes no more either.
const FILE_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// Does it.
pub(crate) async fn run(context: &Context, action: EggAction) -> Result<(), Fault> {
    match action {
        EggAction::List => list(context).await,
        EggAction::Show { egg } => show(context, &egg).await,
        EggAction::Import { files, nest, replace } => {
            let mut done = Vec::new();
            for file in &files {
                let made = import(context, file, nest.as_deref(), replace).await;
                done.push(made.map_err(|fault| fault.about(&format!("{}", file.display())))?);
            }
            if context.output.json { context.output.document(&done) } else { Ok(()) }
        }
        EggAction::Export { egg } => {
            let path = path(&egg)?;
            let text = context.rest.get_text(&[&path[..], &["export"]].concat()).await?;
            context.output.line(text.trim_end())
        }
        EggAction::Delete { egg } => {
            context.rest.delete(&path(&egg)?).await?;
            if context.output.json {
                return context.output.document(&json!({ "deleted": egg }));
            }
            context.output.line(&format!("{} is deleted", plain(&egg)))
        }
    }
}

/// Of one egg; nothing, or dots, would be another path.
fn path(egg: &str) -> Result<Vec<&str>, Fault> {
    if !egg.contains(char::is_alphanumeric) {
        return Err(Fault::Failed(format!("there is no egg `{egg}`; `quarterdeck egg list` shows all")));
    }
    Ok(PATH.into_iter().chain([egg]).collect())
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

async fn list(context: &Context) -> Result<(), Fault> {
    let items = context.rest.all(&PATH, &[]).await?;
    let eggs: Vec<Value> = items.into_iter().map(|mut item| item["attributes"].take()).collect();
    if context.output.json {
        return context.output.document(&eggs);
    }
    if eggs.is_empty() {
        note("no eggs yet; `quarterdeck egg import --help` says how to get some");
        return Ok(());
    }
    let row = |egg: &Value| ["id", "name", "author", "docker_image"].map(|name| text(&egg[name])).to_vec();
    context.output.table(&["ID", "NAME", "AUTHOR", "IMAGE"], eggs.iter().map(row).collect())
}

async fn show(context: &Context, egg: &str) -> Result<(), Fault> {
    let item: Item<Value> = context.rest.get_query(&path(egg)?, &[("include", "variables,nest")]).await?;
    let egg = item.attributes;
    if context.output.json {
        return context.output.document(&egg);
    }
    let images = egg["docker_images"].as_object().into_iter().flatten();
    let images: Vec<String> = images.map(|(label, image)| format!("{} ({label})", text(image))).collect();
    context.output.pairs(&[
        ("name", text(&egg["name"])),
        ("id", text(&egg["id"])),
        ("uuid", text(&egg["uuid"])),
        ("nest", text(&egg["relationships"]["nest"]["attributes"]["name"])),
        ("author", text(&egg["author"])),
        ("description", text(&egg["description"])),
        ("command", text(&egg["startup"])),
        ("stop", text(&egg["config"]["stop"])),
        ("images", images.join(", ")),
    ])?;
    let variables = egg["relationships"]["variables"]["data"].as_array().cloned().unwrap_or_default();
    if variables.is_empty() {
        return Ok(());
    }
    let row = |item: &Value| {
        let one = &item["attributes"];
        ["env_variable", "default_value", "rules", "name"].map(|name| text(&one[name])).to_vec()
    };
    context.output.table(&["VARIABLE", "DEFAULT", "RULES", "WHAT IT IS"], variables.iter().map(row).collect())
}

/// One file; what the panel says of it.
async fn import(context: &Context, file: &Path, nest: Option<&str>, replace: bool) -> Result<Value, Fault> {
    let mut query = Vec::new();
    query.extend(nest.map(|nest| ("nest", nest)));
    query.extend(replace.then_some(("replace", "true")));
    let path: Vec<&str> = PATH.into_iter().chain(["import"]).collect();
    let made: Value = context.rest.post_text(&path, &query, read(file)?).await?;
    if context.output.json {
        return Ok(made);
    }
    let egg = &made["attributes"];
    context.output.line(&format!("{} is egg {}", plain(&text(&egg["name"])), text(&egg["id"])))?;
    for node in made["meta"]["nodes"].as_array().into_iter().flatten() {
        context.output.line(&format!("  {}: {}", plain(&text(&node["name"])), plain(&text(&node["text"]))))?;
    }
    for one in made["meta"]["notes"].as_array().into_iter().flatten() {
        note(&plain(&text(one)));
    }
    Ok(made)
}

fn read(file: &Path) -> Result<String, Fault> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(FILE_BYTES_MAX + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text))
    };
    match read {
        Ok(length) if u64::try_from(length).unwrap_or(u64::MAX) > FILE_BYTES_MAX => {
            Err(Fault::Failed(format!("longer than {FILE_BYTES_MAX} bytes; is it an egg?")))
        }
        Ok(_) => Ok(text),
        Err(error) => Err(Fault::Failed(format!("cannot be read: {error}"))),
    }
}
