//! What the client commands do. Each module is one command; all of them get the same [`Context`].

pub(crate) mod change;
pub(crate) mod create;
pub(crate) mod eggs;
pub(crate) mod keys;
pub(crate) mod logs;
pub(crate) mod power;
pub(crate) mod runs;
pub(crate) mod servers;
pub(crate) mod share;
pub(crate) mod stats;
pub(crate) mod templates;
pub(crate) mod users;

use std::io::{BufRead, IsTerminal, stdin};

use serde_json::json;
use wire::token::permission;

use crate::access::Access;
use crate::args::Global;
use crate::args::client::CommandArgs;
use crate::client::api::Server;
use crate::client::rest::Rest;
use crate::fault::Fault;
use crate::folder::Folder;
use crate::invocation::Invocation;
use crate::output::{Output, note};

/// Whom to ask and how to print.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// The panel.
    pub(crate) rest: Rest,
    /// How to print.
    pub(crate) output: Output,
    /// How to begin a command that is recommended.
    pub(crate) invocation: Invocation,
}

impl Context {
    /// From the arguments; nothing is asked yet.
    pub(crate) fn new(global: &Global) -> Result<Self, Fault> {
        let folder = Folder::locate(global.data.as_deref()).ok();
        Ok(Self {
            rest: Rest::new(Access::find(global)?)?,
            output: Output::new(global),
            invocation: Invocation::new(folder.as_ref()),
        })
    }
}

/// `quarterdeck command`.
pub(crate) async fn command(context: &Context, args: CommandArgs) -> Result<(), Fault> {
    let server = context.rest.find(&args.server).await?;
    let text = args.text.join(" ");
    send_command(&context.rest, &server, &text).await?;
    if context.output.json {
        context.output.document(&json!({ "server": server.uuid, "command": text }))?;
    }
    Ok(())
}

/// Sends one command over REST: the answer says whether the game got it.
pub(crate) async fn send_command(rest: &Rest, server: &Server, text: &str) -> Result<(), Fault> {
    rest.post_empty(&["api", "client", "servers", &server.uuid, "command"], &json!({ "command": text }))
        .await
        .map_err(|fault| fault.naming(permission::CONSOLE))
}

/// Asks before something that cannot be undone: the answer must be `expected`.
pub(crate) fn confirmed(question: &str, expected: &str) -> Result<bool, Fault> {
    if !stdin().is_terminal() {
        return Err(Fault::Usage("deleting asks first, and there is no terminal to ask on; say --yes".into()));
    }
    note(question);
    let mut answer = String::new();
    stdin().lock().read_line(&mut answer).map_err(|error| Fault::Failed(format!("cannot read the answer: {error}")))?;
    Ok(answer.trim() == expected)
}
