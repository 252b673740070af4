//! What servers get from their eggs: values of variables, and where they can run.

use std::collections::BTreeMap;
use std::time::Duration;

use egg::{Egg, Host, Rules, Variable};
use futures_util::{StreamExt, stream};
use uuid::Uuid;
use wire::node::{EngineReport, SystemInfo};
use wire::remote::RuntimeKind;

use super::AppState;
use crate::http::problem::{Answer, FieldError, Problem};
use crate::store::eggs::{Nest, StoredEgg};
use crate::store::nodes::Node;
use crate::store::{StoreError, Window};

/// How long a node has to say what it has to offer, when that is only wanted.
const SYSTEM_TIMEOUT: Duration = Duration::from_secs(5);
/// Nodes asked at the same time for what they have to offer.
const SYSTEMS_AT_ONCE: usize = 8;
/// Nodes that are asked at all.
const SYSTEMS_MAX: u64 = 100;
/// Numbers of one egg's variables, which clients know them by: an egg's are this many from its own number times it on.
const VARIABLE_NUMBERS: u64 = 1000;

/// The number of an egg's variable, by its place.
pub(crate) fn variable_number(egg: u64, place: usize) -> u64 {
    egg.saturating_mul(VARIABLE_NUMBERS).saturating_add(u64::try_from(place).unwrap_or(0)).saturating_add(1)
}

/// What a variable is set to for a server.
pub(crate) fn value_of<'a>(environment: &'a BTreeMap<String, String>, variable: &'a Variable) -> &'a str {
    environment.get(&variable.env_variable).unwrap_or(&variable.default_value)
}

/// What is wrong with a value, rule by rule; under the name of this field.
pub(crate) fn faults_of(variable: &Variable, value: &str, field: &str) -> Vec<FieldError> {
    let (rules, _) = Rules::parse(&variable.rules);
    let rule = if value.trim().is_empty() { "required" } else { "rules" };
    let fault = |detail: String| FieldError { field: field.to_owned(), rule, detail };
    rules.check(&variable.name, value).err().unwrap_or_default().into_iter().map(fault).collect()
}

/// Values for all variables of an egg: what is given, else the defaults. What is given beside them stays.
pub(crate) fn filled(
    egg: &Egg,
    mut given: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Vec<FieldError>> {
    let mut faults = Vec::new();
    for variable in &egg.variables {
        let value = given.entry(variable.env_variable.clone()).or_insert_with(|| variable.default_value.clone());
        let field = format!("environment.{}", variable.env_variable);
        faults.extend(faults_of(variable, value, &field));
    }
    if faults.is_empty() { Ok(given) } else { Err(faults) }
}

/// What runs a new server of an egg: what is asked for; else a container, if the egg has an image and the node an engine that answers;
/// else a process.
pub(crate) fn choose_runtime(
    asked: Option<RuntimeKind>,
    has_image: bool,
    engine: Option<&EngineReport>,
) -> RuntimeKind {
    let can_contain = engine.is_some_and(|engine| engine.error.is_none() && !engine.name.is_empty());
    match asked {
        Some(asked) => asked,
        None if has_image && can_contain => RuntimeKind::Docker,
        None => RuntimeKind::Process,
    }
}

/// Where an egg's servers can run on a node, for people.
pub(crate) fn verdict(egg: &Egg, system: &SystemInfo) -> (&'static str, String) {
    let has_engine = system.engine.as_ref().is_some_and(|engine| engine.error.is_none() && !engine.name.is_empty());
    let host = Host { has_engine, programs: system.programs.clone() };
    let verdict = egg.verdict(&host);
    let word = match &verdict {
        egg::Verdict::RunsHere => "process",
        _ if has_engine => "docker",
        egg::Verdict::Needs(_) => "needs",
        egg::Verdict::NeedsDocker(_) => "needs_docker",
    };
    let text = if has_engine {
        format!("{verdict}; runs in containers of {}", engine_name(system))
    } else {
        verdict.to_string()
    };
    (word, text)
}

fn engine_name(system: &SystemInfo) -> &str {
    system.engine.as_ref().map_or("Docker", |engine| engine.name.as_str())
}

impl AppState {
    /// What a node has to offer, if it says so soon.
    pub(crate) async fn system_of(&self, node: &Node) -> Option<SystemInfo> {
        let asked = tokio::time::timeout(SYSTEM_TIMEOUT, self.nodes.system(node)).await;
        let told = asked.unwrap_or_else(|_| Err(crate::nodes::NodeFault::Unreachable("no answer in time".to_owned())));
        told.inspect_err(|error| tracing::info!(node = node.name, %error, "the node does not say what it has to offer"))
            .ok()
    }

    /// Where an egg's servers can run, node by node: a word, and for people.
    pub(crate) async fn verdicts(&self, egg: &Egg) -> Answer<Vec<(Node, &'static str, String)>> {
        let nodes = self.store.nodes(Window { limit: SYSTEMS_MAX, offset: 0 }).await?.rows;
        let asked = nodes.into_iter().map(|node| async move {
            let (word, text) = match self.system_of(&node).await {
                Some(system) => verdict(egg, &system),
                None => ("unknown", "the node does not answer, so it is not known what it has".to_owned()),
            };
            (node, word, text)
        });
        Ok(stream::iter(asked).buffered(SYSTEMS_AT_ONCE).collect().await)
    }

    /// An egg by number, uuid, or name if only one has it.
    pub(crate) async fn find_egg(&self, text: &str) -> Answer<Option<StoredEgg>> {
        if let Ok(number) = text.parse() {
            return Ok(self.store.egg_by_number(number).await?);
        }
        if let Ok(id) = Uuid::try_parse(text)
            && let Some(egg) = self.store.egg(id).await?
        {
            return Ok(Some(std::sync::Arc::unwrap_or_clone(egg)));
        }
        let mut named = self.store.eggs_by_name(text).await?;
        match (named.pop(), named.pop()) {
            (Some(_), Some(_)) => {
                Err(Problem::field("egg", "unique", "Several eggs have this name: say which by number or uuid."))
            }
            (only, _) => Ok(only),
        }
    }

    /// A nest by number, uuid or name.
    pub(crate) async fn find_nest(&self, text: &str) -> Result<Option<Nest>, StoreError> {
        match text.parse() {
            Ok(number) => self.store.nest_by_number(number).await,
            Err(_) => self.store.nest_by_word(text).await,
        }
    }

    /// The egg of a server, if it was made from one.
    pub(crate) async fn egg_of(&self, egg: Option<Uuid>) -> Answer<Option<std::sync::Arc<StoredEgg>>> {
        match egg {
            Some(id) => Ok(self.store.egg(id).await?),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_a_new_server() {
        let engine = |name: &str, error: Option<&str>| EngineReport {
            name: name.to_owned(),
            error: error.map(str::to_owned),
            ..EngineReport::default()
        };
        let (docker, silent, broken) = (engine("Docker", None), engine("", None), engine("Docker", Some("no access")));
        let (process, container) = (RuntimeKind::Process, RuntimeKind::Docker);
        for (asked, has_image, engine, expected) in [
            (None, true, Some(&docker), container),
            (None, false, Some(&docker), process),
            (None, true, Some(&silent), process),
            (None, true, Some(&broken), process),
            (None, true, None, process),
            // Whoever asks knows why.
            (Some(container), false, None, container),
            (Some(process), true, Some(&docker), process),
        ] {
            assert_eq!(choose_runtime(asked, has_image, engine), expected, "{asked:?} {has_image} {engine:?}");
        }
    }
}
