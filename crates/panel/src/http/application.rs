//! `/api/application`: administration from outside.

pub(crate) mod allocations;
pub(crate) mod eggs;
mod includes;
pub(crate) mod keys;
pub(crate) mod links;
pub(crate) mod nodes;
pub(crate) mod servers;
pub(crate) mod settings;
pub(crate) mod users;

use axum::Json;
use serde_json::Value;
use wire::api::{ErrorBody, List};
use wire::application::Template;

use super::caller::{Admin, Call};
use crate::templates;

/// What the definitions of games are that servers can be made from.
#[utoipa::path(
    get, path = "/api/application/templates", tag = "application", operation_id = "list_templates",
    responses((status = 200, body = List<Template>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn list_templates(Admin(_call): Admin) -> Json<List<Template>> {
    let shown = templates::all().iter().map(|template| Template {
        name: template.name.clone(),
        title: template.title.clone(),
        description: template.description.clone(),
        apt: template.apt.clone(),
        hint: template.install_hint(),
        command: template.command.clone(),
        ready: template.ready.clone(),
        stop: template.stop.clone(),
        console: template.console,
        memory: template.memory_mib,
    });
    Json(List::whole("template", shown))
}

/// Where a new thing is, as stock panels say it beside what they made.
fn resource_meta(call: &Call, kind: &str, number: u64) -> Value {
    serde_json::json!({ "resource": format!("{}/api/application/{kind}/{number}", call.public_url()) })
}

/// A field that names something by number or by word.
fn number_or_word(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.trim().to_owned()),
        _ => None,
    }
}
