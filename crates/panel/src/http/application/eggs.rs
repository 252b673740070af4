//! Definitions of games and their groups, for administrators.

use axum::Json;
use axum::extract::OriginalUri;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use egg::{Egg, ReadError};
use serde_json::{Value, json};
use wire::api::{ErrorBody, Item, List};
use wire::application::{
    CreateNest, Egg as EggBody, EggConfig, EggScript, EggVariable, Labels, Nest as NestBody, Relationships,
};

use super::includes::{self, json_of, many, nothing};
use super::{resource_meta, servers};
use crate::app::eggs::{value_of, variable_number};
use crate::app::is_taken_for_an_id;
use crate::clock::{self, iso};
use crate::http::caller::{Admin, Call};
use crate::http::fields::Fields;
use crate::http::page::{Asked, paged};
use crate::http::path::Path;
use crate::http::problem::{Answer, Problem};
use crate::store::Window;
use crate::store::eggs::{NEST_AUTHOR_DEFAULT, Nest, StoredEgg};
use crate::store::servers::Server;

const NAME_CHARS_MAX: usize = 191;
const DESCRIPTION_CHARS_MAX: usize = 2000;
/// Eggs of one nest, and servers of an egg, that are shown at once: stock panels have no pages there.
const WHOLE_MAX: u64 = 1000;

const WHOLE: Window = Window { limit: WHOLE_MAX, offset: 0 };

/// A nest.
pub(super) fn nest_item(nest: &Nest) -> Item<NestBody> {
    let shown = NestBody {
        id: nest.number,
        uuid: nest.uuid.to_string(),
        author: nest.author.clone(),
        name: nest.name.clone(),
        description: nest.description.clone(),
        created_at: iso(nest.created_at),
        updated_at: iso(nest.updated_at),
        relationships: Relationships::new(),
    };
    Item::new("nest", shown)
}

/// An egg, in a nest of this number.
pub(super) fn item(stored: &StoredEgg, nest: u64) -> Answer<Item<EggBody>> {
    let egg = &stored.egg;
    let config = config_of(egg)?;
    let shown = EggBody {
        id: stored.number,
        uuid: stored.uuid.to_string(),
        name: egg.name.clone(),
        nest,
        author: egg.author.clone(),
        description: egg.description.clone(),
        docker_image: egg.images.first().map(|image| image.image.clone()).unwrap_or_default(),
        docker_images: Labels(egg.images.iter().map(|image| (image.label.clone(), image.image.clone())).collect()),
        config,
        startup: egg.startup.first().map(|(_, line)| line.clone()).unwrap_or_default(),
        script: EggScript {
            privileged: true,
            install: egg.install.script.clone(),
            entry: egg.install.entrypoint.clone(),
            container: egg.install.container.clone(),
            extends: None,
        },
        features: egg.features.clone(),
        tags: egg.tags.clone(),
        created_at: iso(stored.created_at),
        updated_at: iso(stored.updated_at),
        relationships: Relationships::new(),
    };
    Ok(Item::new("egg", shown))
}

/// The `config` member, as it stands in the file of an egg.
fn config_of(egg: &Egg) -> Answer<EggConfig> {
    let broken = |error: serde_json::Error| {
        tracing::error!(%error, "an egg that was written cannot be read");
        Problem::Internal
    };
    let file: Value = serde_json::from_str(&egg.to_ptdl_v2("")).map_err(broken)?;
    // Each stands there as a text with JSON in it.
    let part = |name: &str| -> Answer<Value> {
        let text = file["config"][name].as_str().unwrap_or("{}");
        let part: Value = serde_json::from_str(text).map_err(broken)?;
        Ok(if part.is_object() { part } else { json!({}) })
    };
    Ok(EggConfig {
        files: part("files")?,
        startup: part("startup")?,
        stop: egg.config.stop.clone(),
        logs: part("logs")?,
        file_denylist: egg.file_denylist.clone(),
        extends: None,
    })
}

/// The variables of an egg; of a server's with their values.
pub(super) fn variables(stored: &StoredEgg, server: Option<&Server>) -> Vec<EggVariable> {
    let shown = |(place, variable): (usize, &egg::Variable)| EggVariable {
        id: variable_number(stored.number, place),
        egg_id: stored.number,
        name: variable.name.clone(),
        description: variable.description.clone(),
        env_variable: variable.env_variable.clone(),
        default_value: variable.default_value.clone(),
        user_viewable: variable.user_viewable,
        user_editable: variable.user_editable,
        rules: variable.rules.join("|"),
        created_at: iso(stored.created_at),
        updated_at: iso(stored.updated_at),
        server_value: server.map(|server| value_of(&server.environment, variable).to_owned()),
    };
    stored.egg.variables.iter().enumerate().map(shown).collect()
}

/// Eggs with what is asked for beside them.
async fn show_all(call: &Call, asked: &Asked, eggs: &[StoredEgg]) -> Answer<Vec<Item<EggBody>>> {
    let nests = call.app.store.nests_of(eggs.iter()).await?;
    let mut items = Vec::with_capacity(eggs.len());
    for egg in eggs {
        let nest = nests.get(&egg.nest);
        let mut shown = item(egg, nest.map_or(0, |nest| nest.number))?;
        let all = &mut shown.attributes.relationships;
        if asked.includes("variables") {
            all.insert("variables".to_owned(), includes::variables("egg_variable", Some(egg), None)?);
        }
        if asked.includes("nest") {
            all.insert("nest".to_owned(), nest.map_or_else(|| Ok(nothing()), |nest| json_of(&nest_item(nest)))?);
        }
        if asked.includes("servers") {
            let rows = call.app.store.servers_of_eggs(&[egg.uuid], WHOLE).await?;
            let plain = Asked::default();
            all.insert("servers".to_owned(), many(servers::show_all(call, &plain, &rows).await?)?);
        }
        for name in ["config", "script"] {
            if asked.includes(name) {
                all.insert(name.to_owned(), nothing());
            }
        }
        items.push(shown);
    }
    Ok(items)
}

async fn show(call: &Call, asked: &Asked, egg: StoredEgg) -> Answer<Item<EggBody>> {
    show_all(call, asked, &[egg]).await?.pop().ok_or(Problem::Internal)
}

/// A nest with what is asked for beside it.
async fn show_nest(call: &Call, asked: &Asked, nest: &Nest) -> Answer<Item<NestBody>> {
    let mut shown = nest_item(nest);
    let (wants_eggs, wants_servers) = (asked.includes("eggs"), asked.includes("servers"));
    if wants_eggs || wants_servers {
        let plain = Asked::default();
        let eggs = call.app.store.eggs(Some(nest.uuid), WHOLE).await?.rows;
        let all = &mut shown.attributes.relationships;
        if wants_servers {
            let ids: Vec<_> = eggs.iter().map(|egg| egg.uuid).collect();
            let rows = call.app.store.servers_of_eggs(&ids, WHOLE).await?;
            all.insert("servers".to_owned(), many(servers::show_all(call, &plain, &rows).await?)?);
        }
        if wants_eggs {
            all.insert("eggs".to_owned(), many(show_all(call, &plain, &eggs).await?)?);
        }
    }
    Ok(shown)
}

async fn find_nest(call: &Call, text: &str) -> Answer<Nest> {
    call.app.find_nest(text).await?.ok_or(Problem::NotFound)
}

async fn find(call: &Call, text: &str) -> Answer<StoredEgg> {
    call.app.find_egg(text).await?.ok_or(Problem::NotFound)
}

/// All nests.
#[utoipa::path(
    get, path = "/api/application/nests", tag = "application", operation_id = "list_nests",
    params(
        ("page" = Option<u64>, Query, description = "From 1."),
        ("per_page" = Option<u64>, Query, description = "50 unless told, 100 at most."),
        ("include" = Option<String>, Query, description = "`eggs`, `servers`."),
    ),
    responses((status = 200, body = List<NestBody>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn list_nests(Admin(call): Admin, uri: OriginalUri, asked: Asked) -> Answer<Json<List<NestBody>>> {
    let page = asked.usual_page();
    let found = call.app.store.nests(page.window()).await?;
    let mut items = Vec::with_capacity(found.rows.len());
    for nest in &found.rows {
        items.push(show_nest(&call, &asked, nest).await?);
    }
    Ok(Json(paged(&call, &uri, &asked, page, found.total, items)))
}

/// One nest.
#[utoipa::path(
    get, path = "/api/application/nests/{nest}", tag = "application", operation_id = "show_nest",
    params(
        ("nest" = String, Path, description = "Number, uuid or name."),
        ("include" = Option<String>, Query, description = "`eggs`, `servers`."),
    ),
    responses((status = 200, body = Item<NestBody>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn read_nest(
    Admin(call): Admin,
    Path(id): Path<String>,
    asked: Asked,
) -> Answer<Json<Item<NestBody>>> {
    let nest = find_nest(&call, &id).await?;
    Ok(Json(show_nest(&call, &asked, &nest).await?))
}

/// Makes a nest.
#[utoipa::path(
    post, path = "/api/application/nests", tag = "application", operation_id = "create_nest",
    request_body = CreateNest,
    responses((status = 201, body = Item<NestBody>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn create_nest(Admin(call): Admin) -> Answer<(StatusCode, Json<Item<NestBody>>)> {
    let mut fields = Fields::of(&call.body);
    let name = fields.name("name", NAME_CHARS_MAX);
    if is_taken_for_an_id(&name) {
        fields.fail("name", "regex", "The name may not be a number or a uuid: it would be taken for another nest's.");
    }
    let description = fields.text_or_none("description", DESCRIPTION_CHARS_MAX).unwrap_or_default();
    let author = fields.text_or_none("author", NAME_CHARS_MAX).unwrap_or_else(|| NEST_AUTHOR_DEFAULT.to_owned());
    fields.finish()?;
    let nest = call.app.store.insert_nest(&name, &author, &description).await?;
    call.app.record(&call.actor(), None, "nest:create", json!({ "name": nest.name, "uuid": nest.uuid })).await;
    let meta = resource_meta(&call, "nests", nest.number);
    Ok((StatusCode::CREATED, Json(nest_item(&nest).with_meta(meta))))
}

/// The eggs of a nest.
#[utoipa::path(
    get, path = "/api/application/nests/{nest}/eggs", tag = "application", operation_id = "list_nest_eggs",
    params(
        ("nest" = String, Path, description = "Number, uuid or name."),
        ("include" = Option<String>, Query, description = "`variables`, `nest`, `servers`, `config`, `script`."),
    ),
    responses((status = 200, body = List<EggBody>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn list_in_nest(
    Admin(call): Admin,
    Path(id): Path<String>,
    asked: Asked,
) -> Answer<Json<List<EggBody>>> {
    let nest = find_nest(&call, &id).await?;
    let eggs = call.app.store.eggs(Some(nest.uuid), WHOLE).await?.rows;
    let data = show_all(&call, &asked, &eggs).await?;
    Ok(Json(List { object: "list".to_owned(), data, meta: None }))
}

/// One egg of a nest.
#[utoipa::path(
    get, path = "/api/application/nests/{nest}/eggs/{egg}", tag = "application", operation_id = "show_nest_egg",
    params(
        ("nest" = String, Path, description = "Number, uuid or name."),
        ("egg" = String, Path, description = "Number, uuid or name."),
        ("include" = Option<String>, Query, description = "`variables`, `nest`, `servers`, `config`, `script`."),
    ),
    responses((status = 200, body = Item<EggBody>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn read_in_nest(
    Admin(call): Admin,
    Path(ids): Path<(String, String)>,
    asked: Asked,
) -> Answer<Json<Item<EggBody>>> {
    let (nest, id) = ids;
    let nest = find_nest(&call, &nest).await?;
    let egg = find(&call, &id).await?;
    if egg.nest != nest.uuid {
        return Err(Problem::NotFound);
    }
    Ok(Json(show(&call, &asked, egg).await?))
}

/// All eggs, whatever nest they are in.
#[utoipa::path(
    get, path = "/api/application/eggs", tag = "application", operation_id = "list_eggs",
    params(
        ("page" = Option<u64>, Query, description = "From 1."),
        ("per_page" = Option<u64>, Query, description = "50 unless told, 100 at most."),
        ("include" = Option<String>, Query, description = "`variables`, `nest`, `servers`, `config`, `script`."),
    ),
    responses((status = 200, body = List<EggBody>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn list(Admin(call): Admin, uri: OriginalUri, asked: Asked) -> Answer<Json<List<EggBody>>> {
    let page = asked.usual_page();
    let found = call.app.store.eggs(None, page.window()).await?;
    let items = show_all(&call, &asked, &found.rows).await?;
    Ok(Json(paged(&call, &uri, &asked, page, found.total, items)))
}

/// One egg.
#[utoipa::path(
    get, path = "/api/application/eggs/{egg}", tag = "application", operation_id = "show_egg",
    params(
        ("egg" = String, Path, description = "Number, uuid or name."),
        ("include" = Option<String>, Query, description = "`variables`, `nest`, `servers`, `config`, `script`."),
    ),
    responses((status = 200, body = Item<EggBody>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn read(Admin(call): Admin, Path(id): Path<String>, asked: Asked) -> Answer<Json<Item<EggBody>>> {
    let egg = find(&call, &id).await?;
    Ok(Json(show(&call, &asked, egg).await?))
}

/// Imports an egg: the body is the text of its file, JSON or YAML, of Pterodactyl's or Pelican's panels.
///
/// `meta.notes` says what of it is not used as it stands, `meta.nodes` where its servers can run.
#[utoipa::path(
    post, path = "/api/application/eggs/import", tag = "application", operation_id = "import_egg",
    params(
        ("nest" = Option<String>, Query, description = "Number, uuid or name; `Imported` when left out."),
        ("replace" = Option<bool>, Query, description = "Put it in place of the egg of the same uuid or name."),
    ),
    request_body(content = String, description = "The whole file.", content_type = "text/plain"),
    responses(
        (status = 200, description = "It is in place of an older one.", body = Item<EggBody>),
        (status = 201, body = Item<EggBody>), (status = "4XX", body = ErrorBody),
    ),
)]
pub(crate) async fn import(Admin(call): Admin, asked: Asked) -> Answer<(StatusCode, Json<Item<EggBody>>)> {
    let Ok(text) = std::str::from_utf8(&call.bytes) else {
        return Err(Problem::field("egg", "utf8", "The body must be the text of an egg's file; it is no UTF-8."));
    };
    if text.trim().is_empty() {
        return Err(Problem::field("egg", "required", "The body must be the text of an egg's file; it is empty."));
    }
    let (egg, notes) = Egg::read(text).map_err(|error| {
        let rule = match error {
            ReadError::TooLong(_) => "max",
            ReadError::Syntax(_) => "json",
            ReadError::NoEgg(_) | ReadError::Unusable(_) => "egg",
        };
        Problem::field("egg", rule, error.to_string())
    })?;
    let nest = match asked.get("nest") {
        Some(text) => {
            let unknown = || Problem::field("nest", "exists", "There is no such nest on this panel.");
            Some(call.app.find_nest(text).await?.ok_or_else(unknown)?.uuid)
        }
        None => None,
    };
    let (stored, is_new) = call.app.store.import_egg(&egg, nest, asked.flag("replace")).await?;
    let event = if is_new { "egg:import" } else { "egg:update" };
    call.app.record(&call.actor(), None, event, json!({ "name": egg.name, "uuid": stored.uuid })).await;
    let mut meta = resource_meta(&call, "eggs", stored.number);
    let nodes: Vec<Value> = call.app.verdicts(&egg).await?.into_iter().map(verdict).collect();
    if let Some(meta) = meta.as_object_mut() {
        let notes: Vec<String> = notes.into_iter().map(|note| note.0).collect();
        meta.extend([("notes".to_owned(), json!(notes)), ("nodes".to_owned(), json!(nodes))]);
    }
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(show(&call, &asked, stored).await?.with_meta(meta))))
}

fn verdict((node, word, text): (crate::store::nodes::Node, &'static str, String)) -> Value {
    json!({ "node": node.number, "name": node.name, "verdict": word, "text": text })
}

/// The file of an egg, as Pterodactyl's panels write and read it.
#[utoipa::path(
    get, path = "/api/application/eggs/{egg}/export", tag = "application", operation_id = "export_egg",
    params(("egg" = String, Path, description = "Number, uuid or name.")),
    responses((status = 200, body = Object), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn export(Admin(call): Admin, Path(id): Path<String>) -> Answer<Response> {
    let stored = find(&call, &id).await?;
    let text = stored.egg.to_ptdl_v2(&iso(clock::now_ms()));
    let disposition = format!("attachment; filename=\"egg-{}.json\"", file_name(&stored.egg.name));
    let disposition = HeaderValue::try_from(disposition).map_err(|_| Problem::Internal)?;
    let kind = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, disposition)], text).into_response())
}

/// What is left of a name in the name of a file.
fn file_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let mut text: String = name.chars().map(plain).collect();
    while text.contains("--") {
        text = text.replace("--", "-");
    }
    text.trim_matches('-').to_owned()
}

/// Deletes an egg that no server uses.
#[utoipa::path(
    delete, path = "/api/application/eggs/{egg}", tag = "application", operation_id = "delete_egg",
    params(("egg" = String, Path, description = "Number, uuid or name.")),
    responses((status = 204, description = "Gone."), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn delete(Admin(call): Admin, Path(id): Path<String>) -> Answer<StatusCode> {
    let egg = find(&call, &id).await?;
    call.app.store.delete_egg(egg.uuid).await?;
    call.app.record(&call.actor(), None, "egg:delete", json!({ "name": egg.egg.name, "uuid": egg.uuid })).await;
    Ok(StatusCode::NO_CONTENT)
}
