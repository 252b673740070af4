//! `quarterdeck console`: a server's console, for a person on a terminal or for a program on pipes.

mod keys;
mod piped;
mod render;
mod screen;
mod terminal;

use std::io::IsTerminal;

use crate::args::Global;
use crate::args::client::ConsoleArgs;
use crate::commands::Context;
use crate::fault::Fault;

/// Does it.
pub(crate) async fn run(context: &Context, global: &Global, args: ConsoleArgs) -> Result<(), Fault> {
    let server = context.rest.find(&args.server).await?;
    let for_a_person = !context.output.json
        && std::io::stdin().is_terminal()
        && std::io::stdout().is_terminal()
        && !terminal::is_dumb();
    if for_a_person {
        let history = terminal::history_file(global, &server.uuid);
        terminal::run(context, &server, history).await
    } else {
        piped::run(context, &server, &args).await
    }
}
