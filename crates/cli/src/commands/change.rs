//! `quarterdeck server set`: changes a server's name, owner, limits and how it is started.

use serde_json::{Map, Value, json};

use crate::args::manage::SetArgs;
use crate::client::api::Item;
use crate::commands::{Context, create, users};
use crate::fault::Fault;
use crate::output::{note, plain};

/// Variables that every server gets from the panel and that are not the server's own.
const GIVEN: [&str; 10] = [
    "PORT",
    "SERVER_PORT",
    "BIND",
    "SERVER_IP",
    "NAME",
    "SERVER_MEMORY",
    "P_SERVER_UUID",
    "STARTUP",
    "P_SERVER_LOCATION",
    "P_SERVER_ALLOCATION_LIMIT",
];

/// Does it: one request for each of the three groups the application API has.
pub(crate) async fn run(context: &Context, args: SetArgs) -> Result<(), Fault> {
    if let Some(command) = &args.command {
        create::check_command(command)?;
    }
    let server = context.rest.find(&args.server).await?;
    if let Some(name) = args.name.as_deref().filter(|_| !args.same_name) {
        create::check_name(context, name, Some(&server.uuid)).await?;
    }
    let path = ["api", "application", "servers", server.uuid.as_str()];
    let before: Item<Value> = context.rest.get(&path).await?;
    let owner = match &args.owner {
        Some(owner) => Some(users::find(context, owner).await?.uuid),
        None => None,
    };
    let groups = [
        ("startup", startup(&args, &before.attributes["container"]["environment"])),
        ("build", given([("memory", args.memory.map(Value::from)), ("cpu", args.cpu.map(Value::from))])),
        (
            "details",
            given([
                ("name", args.name.map(Value::from)),
                ("description", args.description.map(Value::from)),
                ("user", owner.map(Value::from)),
            ]),
        ),
    ];
    let mut answer = before.attributes;
    let mut done = Vec::new();
    for (group, body) in groups.into_iter().filter(|(_, body)| !body.is_empty()) {
        let path: Vec<&str> = path.into_iter().chain([group]).collect();
        match context.rest.patch::<Item<Value>>(&path, &body).await {
            Ok(item) => answer = item.attributes,
            Err(fault) if done.is_empty() => return Err(fault),
            Err(fault) => {
                note(&format!("changed before that: {}", done.join(", ")));
                return Err(fault);
            }
        }
        done.extend(body.keys().cloned());
    }
    if context.output.json {
        return context.output.document(&answer);
    }
    let name = plain(answer["name"].as_str().unwrap_or(&server.name));
    context.output.line(&format!("{name}: changed {}", done.join(", ")))
}

fn given<const N: usize>(members: [(&str, Option<Value>); N]) -> Map<String, Value> {
    members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// The API replaces the variables as a whole, so those that stay are sent again.
fn startup(args: &SetArgs, environment: &Value) -> Map<String, Value> {
    let changes = !(args.env.is_empty() && args.unset.is_empty());
    let environment = changes.then(|| {
        let mut all = environment.as_object().cloned().unwrap_or_default();
        all.retain(|name, _| !GIVEN.contains(&name.as_str()) && !args.unset.contains(name));
        all.extend(args.env.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))));
        Value::from(all)
    });
    let console = match (args.pty, args.pipe) {
        (true, _) => Some(json!("pty")),
        (_, true) => Some(json!("pipe")),
        _ => None,
    };
    given([
        ("command", args.command.as_deref().map(Value::from)),
        ("ready", (!args.ready.is_empty()).then(|| json!(args.ready))),
        ("stop", args.stop.as_deref().map(Value::from)),
        ("grace_ms", args.grace.map(|seconds| seconds.saturating_mul(1000).into())),
        ("console", console),
        ("environment", environment),
    ])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::Parser;

    use super::*;
    use crate::args::manage::ServerAction;
    use crate::args::{Cli, Command};

    fn args(line: &[&str]) -> Option<SetArgs> {
        let line = ["quarterdeck", "server", "set", "x"].iter().chain(line);
        let Command::Server(server) = Cli::try_parse_from(line).ok()?.command else { unreachable!() };
        let ServerAction::Set(set) = server.action else { unreachable!() };
        Some(*set)
    }

    #[test]
    fn variables_that_are_not_named_stay_and_those_of_the_panel_are_not_frozen() {
        let now = json!({ "PORT": "4000", "NAME": "x", "A": "1", "B": "2", "C": "3" });
        let set = args(&["--env", "A=9", "--env", "D=4", "--unset", "B"]).unwrap();
        assert_eq!(Value::from(startup(&set, &now)), json!({ "environment": { "A": "9", "C": "3", "D": "4" } }));
        let set = args(&["--grace", "5", "--pipe", "--ready", "a"]).unwrap();
        assert_eq!(Value::from(startup(&set, &now)), json!({ "grace_ms": 5000, "console": "pipe", "ready": ["a"] }));
        assert!(startup(&args(&["--memory", "2G"]).unwrap(), &now).is_empty());
    }

    #[test]
    fn nothing_to_change_is_wrong_usage() {
        assert!(args(&[]).is_none());
        assert!(args(&["--same-name"]).is_none());
    }
}
