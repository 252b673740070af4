//! What hangs on a thing, for those who ask for it with `include`.

use serde::Serialize;
use serde_json::{Value, json};
use wire::api::{Item, List};
use wire::application::Relationships;

use super::{allocations, eggs, nodes, users};
use crate::app::definition::Whole;
use crate::http::caller::Call;
use crate::http::page::Asked;
use crate::http::problem::{Answer, Problem};
use crate::store::eggs::{Nest, StoredEgg};
use crate::store::nodes::Node;
use crate::store::users::User;

/// The JSON of an answer that stands in another one.
pub(super) fn json_of(value: &impl Serialize) -> Answer<Value> {
    serde_json::to_value(value).map_err(|error| {
        tracing::error!(%error, "an answer has no JSON form");
        Problem::Internal
    })
}

/// Nothing, where something could be.
pub(super) fn nothing() -> Value {
    json!({ "object": "null_resource", "attributes": null })
}

fn one<T: Serialize>(item: Option<Item<T>>) -> Answer<Value> {
    item.map_or_else(|| Ok(nothing()), |item| json_of(&item))
}

/// A whole list.
pub(super) fn many<T: Serialize>(data: Vec<Item<T>>) -> Answer<Value> {
    json_of(&List { object: "list".to_owned(), data, meta: None })
}

/// Of a server: `allocations`, `user`, `nest`, `egg`, `variables`, `node`.
pub(super) fn of_server(
    _call: &Call,
    asked: &Asked,
    whole: Whole<'_>,
    (owner, node, nest): (Option<&User>, Option<&Node>, Option<&Nest>),
) -> Answer<Relationships> {
    let mut all = Relationships::new();
    let mut put = |name: &str, value: &dyn Fn() -> Answer<Value>| {
        if asked.includes(name) {
            all.insert(name.to_owned(), value()?);
        }
        Ok::<(), Problem>(())
    };
    put("allocations", &|| many(whole.allocations.iter().map(allocations::item).collect()))?;
    put("user", &|| one(owner.cloned().map(users::show)))?;
    put("node", &|| one(node.map(|node| nodes::item(node, 0))))?;
    put("nest", &|| one(nest.map(eggs::nest_item)))?;
    let number = nest.map_or(0, |nest| nest.number);
    put("egg", &|| match whole.egg {
        Some(egg) => json_of(&eggs::item(egg, number)?),
        None => Ok(nothing()),
    })?;
    put("variables", &|| variables("server_variable", whole.egg, Some(whole)))?;
    Ok(all)
}

/// The variables of an egg, or with their values those of a server.
pub(super) fn variables(object: &str, egg: Option<&StoredEgg>, of: Option<Whole<'_>>) -> Answer<Value> {
    let all = egg.map(|egg| eggs::variables(egg, of.map(|whole| whole.server))).unwrap_or_default();
    many(all.into_iter().map(|variable| Item::new(object, variable)).collect())
}
