//! `quarterdeck template`: the games a panel knows how to run.

use serde_json::Value;

use crate::args::client::TemplateAction;
use crate::commands::Context;
use crate::fault::Fault;

/// Does it.
pub(crate) async fn run(context: &Context, action: &TemplateAction) -> Result<(), Fault> {
    match action {
        TemplateAction::List => list(context).await,
    }
}

async fn list(context: &Context) -> Result<(), Fault> {
    let items = context.rest.all(&["api", "application", "templates"], &[]).await?;
    let templates: Vec<Value> = items.into_iter().map(|mut item| item["attributes"].take()).collect();
    if context.output.json {
        return context.output.document(&templates);
    }
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        _ => String::new(),
    };
    let rows = templates
        .iter()
        .map(|template| {
            let packages = text(&template["apt"]);
            let install = if packages.is_empty() { "-".to_owned() } else { format!("apt-get install {packages}") };
            vec![text(&template["name"]), text(&template["description"]), install]
        })
        .collect();
    context.output.table(&["TEMPLATE", "WHAT IT IS", "NEEDS"], rows)
}
