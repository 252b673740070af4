//! Has servers installed once more.

use super::AppState;
use crate::access::Blocked;
use crate::http::problem::{Answer, Problem};
use crate::store::nodes::Node;
use crate::store::outbox::Waiting;
use crate::store::servers::{Server, Status};

impl AppState {
    /// Asks the node to install a server once more. Nobody can use it until the node says how that ended. To be run where it is not
    /// dropped half-way.
    pub(crate) async fn reinstall_server(&self, server: &Server, node: &Node) -> Answer<()> {
        let mut former = Status::Normal;
        let edit = |server: &mut Server| {
            former = server.status;
            match server.status {
                _ if server.is_closed() => Err(Problem::Conflict(Blocked::Suspended)),
                Status::Installing => Err(Problem::Conflict(Blocked::NotInstalled)),
                Status::RestoringBackup => Err(Problem::Conflict(Blocked::Restoring)),
                Status::Transferring => Err(Problem::Conflict(Blocked::Transferring)),
                // Before the node is asked: it may have finished before its answer is here.
                Status::Normal | Status::InstallFailed | Status::ReinstallFailed | Status::Suspended => {
                    server.status = Status::Installing;
                    Ok(Vec::<Waiting>::new())
                }
            }
        };
        self.store.change_server(server.uuid, edit).await?.ok_or(Problem::NotFound)?;
        if let Err(fault) = self.nodes.reinstall(node, server.uuid).await {
            let back = |server: &mut Server| {
                if server.status == Status::Installing {
                    server.status = former;
                }
                Ok::<_, Problem>(Vec::new())
            };
            self.store.change_server(server.uuid, back).await?;
            return Err(fault.into());
        }
        self.samples.forget(server.uuid);
        Ok(())
    }
}
