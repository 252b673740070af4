//! How a server is started, for those who use it: variables, image, name, installation.

use axum::Json;
use axum::http::StatusCode;
use serde_json::{Value, json};
use wire::api::{ErrorBody, Item, Rename, SetDockerImage, SetVariable, StartupList, StartupMeta, Variable};
use wire::application::Labels;

use super::application::settings::NAME_CHARS_MAX;
use super::caller::AtServer;
use super::fields::Fields;
use super::problem::{Answer, Problem};
use super::show;
use crate::access::asked;
use crate::app::definition::{Whole, shown_invocation};
use crate::app::eggs::{faults_of, value_of};
use crate::nodes::outbox::Notice;
use crate::store::allocations::Allocation;
use crate::store::eggs::StoredEgg;
use crate::store::servers::Server;

const DESCRIPTION_CHARS_MAX: usize = 2000;
const IMAGE_CHARS_MAX: usize = 191;

async fn around(at: &AtServer) -> Answer<(Vec<Allocation>, Option<std::sync::Arc<StoredEgg>>)> {
    let app = &at.call.app;
    Ok((app.store.allocations(at.server.uuid).await?, app.egg_of(at.server.egg).await?))
}

/// The variables that users may see, with the command line. Needs `startup.read`.
#[utoipa::path(
    get, path = "/api/client/servers/{server}/startup", tag = "client", operation_id = "show_startup",
    params(("server" = String, Path, description = "The whole uuid or its first eight characters.")),
    responses((status = 200, body = StartupList), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn list(at: AtServer) -> Answer<Json<StartupList>> {
    at.require(asked::STARTUP_READ)?;
    let (allocations, egg) = around(&at).await?;
    let egg = egg.as_deref();
    let whole = Whole { server: &at.server, allocations: &allocations, egg, place: &at.node.name };
    let images = egg.map(|egg| egg.egg.images.as_slice()).unwrap_or_default();
    Ok(Json(StartupList {
        object: "list".to_owned(),
        data: show::variables(&at.server, egg).into_iter().map(|one| Item::new("egg_variable", one)).collect(),
        meta: StartupMeta {
            startup_command: shown_invocation(whole, true),
            docker_images: Labels(images.iter().map(|image| (image.label.clone(), image.image.clone())).collect()),
            raw_startup_command: at.server.invocation.clone(),
        },
    }))
}

/// Sets a variable; it counts from the next start. Needs `startup.update`.
#[utoipa::path(
    put, path = "/api/client/servers/{server}/startup/variable", tag = "client", operation_id = "set_variable",
    params(("server" = String, Path, description = "The whole uuid or its first eight characters.")),
    request_body = SetVariable,
    responses((status = 200, body = Item<Variable>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn set(at: AtServer) -> Answer<Json<Item<Variable>>> {
    at.require(asked::STARTUP_UPDATE)?;
    let mut fields = Fields::of(&at.call.body);
    let key = fields.text("key", NAME_CHARS_MAX);
    let value = match at.call.body.get("value") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) => String::new(),
        Some(Value::Number(number)) => number.to_string(),
        // As PHP panels write them.
        Some(Value::Bool(flag)) => u8::from(*flag).to_string(),
        Some(_) => {
            fields.fail("value", "string", "The value must be a string.");
            String::new()
        }
        None => {
            fields.fail("value", "present", "The value field must be present.");
            String::new()
        }
    };
    fields.finish()?;
    let (allocations, egg) = around(&at).await?;
    let variables = egg.as_deref().map(|egg| egg.egg.variables.as_slice()).unwrap_or_default();
    let variable = variables.iter().find(|variable| variable.env_variable == key && variable.user_viewable);
    let Some(variable) = variable else {
        return Err(Problem::BadRequest("The environment variable you are trying to edit does not exist.".to_owned()));
    };
    if !variable.user_editable {
        return Err(Problem::BadRequest("The environment variable you are trying to edit is read-only.".to_owned()));
    }
    let faults = faults_of(variable, &value, "value");
    if !faults.is_empty() {
        return Err(Problem::Invalid(faults));
    }
    let mut old = String::new();
    let edit = |server: &mut Server| {
        value_of(&server.environment, variable).clone_into(&mut old);
        server.environment.insert(key.clone(), value.clone());
        Ok::<_, Problem>(vec![Notice::Sync { server: server.uuid }.to(server.node)])
    };
    let server = change(&at, edit).await?;
    if old != value {
        record(&at, "server:startup.edit", json!({ "variable": key, "old": old, "new": value })).await;
    }
    let whole = Whole { server: &server, allocations: &allocations, egg: egg.as_deref(), place: &at.node.name };
    let meta = json!({ "startup_command": shown_invocation(whole, true), "raw_startup_command": server.invocation });
    Ok(Json(Item::new("egg_variable", show::variable(&server, variable)).with_meta(meta)))
}

/// Chooses another image of the server's egg; it counts from the next start. Needs `startup.docker-image`.
#[utoipa::path(
    put, path = "/api/client/servers/{server}/settings/docker-image", tag = "client", operation_id = "set_docker_image",
    params(("server" = String, Path, description = "The whole uuid or its first eight characters.")),
    request_body = SetDockerImage,
    responses((status = 204, description = "Done."), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn set_image(at: AtServer) -> Answer<StatusCode> {
    at.require(asked::STARTUP_IMAGE)?;
    let mut fields = Fields::of(&at.call.body);
    let image = fields.text("docker_image", IMAGE_CHARS_MAX);
    let egg = at.call.app.egg_of(at.server.egg).await?;
    let is_the_eggs =
        |image: &str| egg.as_deref().is_some_and(|egg| egg.egg.images.iter().any(|known| known.image == image));
    if !image.is_empty() && !is_the_eggs(&image) {
        fields.fail("docker_image", "in", "The selected docker image is not one of those of the server's egg.");
    }
    fields.finish()?;
    if !is_the_eggs(&at.server.image) {
        let text = "This server's image was set by an administrator: ask one to change it.".to_owned();
        return Err(Problem::BadRequest(text));
    }
    let mut old = String::new();
    let edit = |server: &mut Server| {
        old = std::mem::replace(&mut server.image, image.clone());
        Ok::<_, Problem>(vec![Notice::Sync { server: server.uuid }.to(server.node)])
    };
    change(&at, edit).await?;
    if old != image {
        record(&at, "server:startup.image", json!({ "old": old, "new": image })).await;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Changes name and description. Needs `settings.rename`.
#[utoipa::path(
    post, path = "/api/client/servers/{server}/settings/rename", tag = "client", operation_id = "rename_server",
    params(("server" = String, Path, description = "The whole uuid or its first eight characters.")),
    request_body = Rename,
    responses((status = 204, description = "Done."), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn rename(at: AtServer) -> Answer<StatusCode> {
    at.require(asked::SETTINGS_RENAME)?;
    let mut fields = Fields::of(&at.call.body);
    let name = fields.name("name", NAME_CHARS_MAX);
    let description = fields
        .has("description")
        .then(|| fields.text_or_none("description", DESCRIPTION_CHARS_MAX).unwrap_or_default());
    fields.finish()?;
    let (mut old_name, mut old_description) = (String::new(), String::new());
    let edit = |server: &mut Server| {
        old_name = std::mem::replace(&mut server.name, name.clone());
        old_description.clone_from(&server.description);
        if let Some(description) = &description {
            server.description.clone_from(description);
        }
        Ok::<_, Problem>(vec![Notice::Sync { server: server.uuid }.to(server.node)])
    };
    let server = change(&at, edit).await?;
    if server.name != old_name {
        record(&at, "server:settings.rename", json!({ "old": old_name, "new": server.name })).await;
    }
    if server.description != old_description {
        let metadata = json!({ "old": old_description, "new": server.description });
        record(&at, "server:settings.description", metadata).await;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Installs the server once more with the script of its egg. Needs `settings.reinstall`.
#[utoipa::path(
    post, path = "/api/client/servers/{server}/settings/reinstall", tag = "client", operation_id = "reinstall_server",
    params(("server" = String, Path, description = "The whole uuid or its first eight characters.")),
    responses(
        (status = 202, description = "The node has begun; the body is empty but for `[]`.", body = [Object]),
        (status = "4XX", body = ErrorBody),
        (status = "5XX", description = "The node refuses or does not answer.", body = ErrorBody),
    ),
)]
pub(crate) async fn reinstall(at: AtServer) -> Answer<(StatusCode, Json<Value>)> {
    at.require(asked::SETTINGS_REINSTALL)?;
    at.call.app.reinstall_server(&at.server, &at.node).await?;
    record(&at, "server:reinstall", json!({})).await;
    Ok((StatusCode::ACCEPTED, Json(json!([]))))
}

/// Ends an installation that is under way; it counts as failed. Needs `settings.reinstall`.
#[utoipa::path(
    delete, path = "/api/client/servers/{server}/settings/reinstall", tag = "client", operation_id = "abort_installation",
    params(("server" = String, Path, description = "The whole uuid or its first eight characters.")),
    responses(
        (status = 204, description = "The node ends it."), (status = "4XX", body = ErrorBody),
        (status = "5XX", description = "The node refuses or does not answer.", body = ErrorBody),
    ),
)]
pub(crate) async fn abort(at: AtServer) -> Answer<StatusCode> {
    at.require(asked::SETTINGS_REINSTALL)?;
    at.call.app.nodes.abort_install(&at.node, at.server.uuid).await?;
    record(&at, "server:reinstall.abort", json!({})).await;
    Ok(StatusCode::NO_CONTENT)
}

async fn change(
    at: &AtServer,
    edit: impl FnOnce(&mut Server) -> Answer<Vec<crate::store::outbox::Waiting>>,
) -> Answer<Server> {
    let app = &at.call.app;
    let (server, notices) = app.store.change_server(at.server.uuid, edit).await?.ok_or(Problem::NotFound)?;
    app.outbox.first_try(&notices).await;
    Ok(server)
}

async fn record(at: &AtServer, event: &str, metadata: Value) {
    at.call.app.record(&at.call.actor(), Some(at.server.uuid), event, metadata).await;
}
