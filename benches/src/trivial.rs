//! What stands beside the credentials' endpoint: one route of the same framework that looks at nothing, and answers everybody the
//! same JSON. It prints its port first, and serves until standard input ends.

use std::io::{self, Read, Write};

use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

/// See the module.
#[derive(Debug, clap::Args)]
pub(crate) struct TrivialArgs {
    /// Length of what stands in place of the token
    #[arg(long, default_value_t = 1000)]
    token_len: usize,
}

/// Serves, on as many threads as there are cores for it, as the program does.
pub(crate) fn run(args: &TrivialArgs) -> io::Result<()> {
    let token = "x".repeat(args.token_len);
    let answer = move || async move { Json(json!({ "data": { "token": token, "socket": "" } })) };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
    let mut out = io::stdout();
    writeln!(out, "{}", listener.local_addr()?.port())?;
    out.flush()?;
    let served = runtime.spawn(async move { axum::serve(listener, Router::new().route("/", get(answer))).await });
    io::stdin().read_to_end(&mut Vec::new())?;
    served.abort();
    Ok(())
}
