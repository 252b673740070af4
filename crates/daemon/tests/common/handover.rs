//! What a listener owes a node.

use axum::Extension;
use daemon::Handover;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade;
use tokio::net::TcpStream;

/// How connections come out of `axum::serve`.
pub(crate) fn handover() -> Extension<Handover> {
    Extension(Handover::new(|upgraded| {
        let parts = upgrade::downcast::<TokioIo<TcpStream>>(upgraded)?;
        Ok((parts.io.into_inner(), parts.read_buf))
    }))
}
