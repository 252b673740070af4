//! What only viewers who count lines are told (`wire::numbered`): what is to come of a state, and signs of life.

use std::time::Duration;

use tokio::time::Instant;
use wire::console::{Event, server as event};
use wire::numbered::{self, Heartbeat, StatusMembers};
use wire::server::State;

use crate::clock;
use crate::server::Status;
use crate::socket::Connection;
use crate::socket::viewer::Viewer;

/// Time between two signs of life: viewers notice a dead connection within two of them.
pub(super) const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);

impl Connection {
    pub(super) fn is_numbered(&self) -> bool {
        self.heartbeat_at.is_some()
    }

    /// A state, and to viewers who count lines also what is to come of it.
    pub(super) fn tell_state(&mut self, state: State) {
        if !self.is_numbered() {
            return self.send(&Event::Status(state));
        }
        let now = self.server.status().borrow().clone();
        let members = if now.state == state { members(&now) } else { StatusMembers::default() };
        let frame = numbered::frame(event::STATUS, state.as_str(), &members);
        self.status_told = Some(Box::new((state, members)));
        self.tell(event::STATUS, [crate::frame::text(frame)]);
    }

    /// What is to come of a state may be known only after the state itself.
    pub(super) fn status(&mut self) {
        let Some((told, members_told)) = self.status_told.as_deref() else { return };
        let now = self.server.status().borrow().clone();
        if *told == now.state && *members_told != members(&now) {
            self.tell_state(now.state);
        }
    }

    pub(super) fn heartbeat(&mut self) {
        self.heartbeat_at = Some(Instant::now() + HEARTBEAT_EVERY);
        if let Some(head) = self.viewer.as_ref().map(Viewer::head) {
            let at = u64::try_from(clock::wall_ms()).unwrap_or(0);
            self.send(&Event::Heartbeat(Heartbeat { head: head.0, at }));
        }
    }
}

/// What is to come of a state.
fn members(status: &Status) -> StatusMembers {
    let is_offline = status.state == State::Offline;
    let last_exit = status.last_exit.as_ref().filter(|_| is_offline);
    StatusMembers {
        kill_at: status.kill_at_ms.filter(|_| status.state == State::Stopping),
        exit: last_exit.map(|exit| exit.how.clone()),
        crashed: last_exit.is_some_and(|exit| exit.crashed),
        ended_at: last_exit.map(|exit| exit.at_ms),
        restart_at: status.restart_at_ms.filter(|_| is_offline),
        condition: status.crashes.condition,
        crashes_in_a_row: status.crashes.in_a_row,
        gave_up: status.crashes.gave_up && is_offline,
    }
}
