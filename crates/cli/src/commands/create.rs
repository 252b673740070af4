//! `quarterdeck server create`: makes a server, and starts it if that is wanted.

use serde_json::Value;
use wire::application::CreateServer;
use wire::remote::{ConsoleMode, RuntimeKind};
use wire::server::PowerAction;

use crate::args::manage::CreateArgs;
use crate::client::api::ServerId;
use crate::client::rest::attributes;
use crate::commands::{Context, power, users};
use crate::fault::Fault;
use crate::output::{Paint, note, plain};

const SERVERS: [&str; 3] = ["api", "application", "servers"];

/// Does it.
pub(crate) async fn run(context: &Context, args: CreateArgs) -> Result<(), Fault> {
    if let Some(command) = &args.command {
        check_command(command)?;
    }
    if !args.same_name {
        check_name(context, &args.name, None).await?;
    }
    let owner = match &args.owner {
        Some(owner) => Some(users::find(context, owner).await?.uuid),
        None => None,
    };
    // An application key cannot press start, so the panel is to do it; a game that is installed first is started behind that.
    let start = args.start && !context.rest.has_application_key() && args.egg.is_none();
    let by_panel = args.start && !start;
    let answer: Value = context.rest.post(&SERVERS, &create_body(args, owner, by_panel)).await?;
    // Else not by `start_on_completion`: a start of its own has an answer that says whether it is refused.
    let started = if start {
        let server: ServerId = attributes(answer.clone())?;
        Some(power::send(&context.rest, &server.uuid, PowerAction::Start).await)
    } else {
        by_panel.then_some(Ok(()))
    };
    let made = &answer["attributes"];
    if context.output.json {
        context.output.document(made)?;
    } else {
        print_made(context, made, started.as_ref())?;
    }
    match started {
        Some(Err(fault)) => Err(fault.about("it is made, but not started")),
        _ => Ok(()),
    }
}

/// A command line that splits into words.
pub(crate) fn check_command(command: &str) -> Result<(), Fault> {
    match shell_words::split(command) {
        Ok(words) if words.is_empty() => Err(Fault::Usage("--command names no program".into())),
        Ok(_) => Ok(()),
        Err(error) => Err(Fault::Usage(format!("--command: {error}; quote it as in a shell"))),
    }
}

/// Every command takes a server by its name, so two of one name would be in each other's way. `but`: the server that has it now.
pub(crate) async fn check_name(context: &Context, name: &str, but: Option<&str>) -> Result<(), Fault> {
    for item in context.rest.all(&SERVERS, &[("filter[name]", name)]).await? {
        let server: ServerId = attributes(item)?;
        if server.name == name && but != Some(server.uuid.as_str()) {
            return Err(Fault::Failed(format!(
                "the server {} is named {} already, and commands find servers by name; choose another name, or say --same-name",
                server.identifier,
                plain(name)
            )));
        }
    }
    Ok(())
}

fn print_made(context: &Context, made: &Value, started: Option<&Result<(), Fault>>) -> Result<(), Fault> {
    let (output, program) = (context.output, &context.invocation);
    let text = |name: &str| made[name].as_str().unwrap_or_default().to_owned();
    let id = text("identifier");
    output.pairs(&[("name", text("name")), ("id", id.clone()), ("uuid", text("uuid"))])?;
    if let Some(hint) = made["hint"].as_str() {
        note(&output.paint(Paint::Yellow, &plain(hint)));
    }
    // By its id: other servers may have the same name.
    match started {
        Some(Ok(())) => output.line(&format!("It is being started; watch it with: {program} console {id}")),
        Some(Err(_)) => Ok(()),
        None => output.line(&format!("Start it with: {program} power {id} start")),
    }
}

/// The words that the argument takes.
fn runtime(word: &str) -> RuntimeKind {
    if word == "docker" { RuntimeKind::Docker } else { RuntimeKind::Process }
}

/// What `POST /api/application/servers` takes from us; what was not given is left to the panel.
fn create_body(args: CreateArgs, user: Option<String>, start: bool) -> CreateServer {
    let console = match (args.pty, args.pipe) {
        (_, true) => Some(ConsoleMode::Pipe),
        (true, false) => Some(ConsoleMode::Pty),
        (false, false) => None,
    };
    CreateServer {
        name: args.name,
        description: args.description,
        user,
        node: args.node,
        template: args.template,
        egg: args.egg,
        image: args.image,
        runtime: args.runtime.as_deref().map(runtime),
        command: args.command,
        ready: (!args.ready.is_empty()).then_some(args.ready),
        stop: args.stop,
        console,
        grace_ms: args.grace.map(|seconds| seconds.saturating_mul(1000)),
        environment: args.env.into_iter().collect(),
        port: args.port,
        memory: args.memory,
        cpu: args.cpu,
        start_on_completion: start,
        ..CreateServer::default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::args::manage::ServerAction;
    use crate::args::{Cli, Command};

    fn body(args: &[&str]) -> Value {
        let line = ["quarterdeck", "server", "create"].iter().chain(args);
        let Command::Server(server) = Cli::try_parse_from(line).unwrap().command else { unreachable!() };
        let ServerAction::Create(create) = server.action else { unreachable!() };
        serde_json::to_value(create_body(*create, None, false)).unwrap()
    }

    #[test]
    fn only_what_was_given_is_sent() {
        assert_eq!(
            body(&["--name", "ttd", "--template", "openttd"]),
            json!({ "name": "ttd", "template": "openttd", "start_on_completion": false })
        );
        assert_eq!(
            body(&[
                "--name",
                "x",
                "--command",
                "cat -n",
                "--ready",
                "a",
                "--ready",
                "regex:b",
                "--stop",
                "^C",
                "--grace",
                "5",
                "--pipe",
                "--memory",
                "64",
                "--cpu",
                "50",
                "--port",
                "4000",
                "--env",
                "A=b=c",
                "--start",
            ]),
            json!({
                "name": "x", "command": "cat -n", "ready": ["a", "regex:b"], "stop": "^C", "grace_ms": 5000, "console": "pipe",
                "memory": 64, "cpu": 50, "port": 4000, "environment": { "A": "b=c" }, "start_on_completion": false,
            })
        );
    }
}
