//! Commands on their way to the game: taken or refused, numbered, answered once by the shim.
//!
//! Whoever asks is answered in time. A command that was not answered by then stays here, in its place among the others, for what
//! becomes of it later: it may have reached the game, and then belongs on the record.

use spool::message::Outcome;
use wire::remote::StopKind;
use wire::server::State;

use engine::power::Input;

use crate::clock;
use crate::server::actor::Actor;
use crate::server::journal::WAITING_MAX;
use crate::server::{Asker, Refused, RefusedKind, Reply, Standing};

/// Commands without the shim's answer, those included that nobody waits for any more; one more is refused.
const COMMANDS_MAX: usize = 128;
// After a lost connection they are sent again, and the shim must still know which of them, and of our notes, it has done.
const _: () =
    assert!(COMMANDS_MAX + WAITING_MAX <= spool::message::KNOWN_IDS, "both share the shim's memory of numbers");

/// How long a command waits for the shim's answer.
const COMMAND_TIMEOUT_MS: u64 = 10_000;

/// A command that the shim has not answered yet.
pub(super) struct PendingCommand {
    text: String,
    asker: Asker,
    /// It is the configured stop command.
    stops: bool,
    asked_mono_ms: u64,
    /// Gone once whoever asked was told that it is not known.
    reply: Option<Reply>,
}

impl Actor {
    pub(super) fn command(&mut self, text: String, asker: Asker, reply: Reply) {
        let refusal = match (&self.link, self.power.state()) {
            _ if self.server.status().borrow().standing == Standing::Suspended => {
                Some(Refused::new(RefusedKind::Suspended, "the server is suspended; commands are not taken"))
            }
            (_, State::Offline) => Some(Refused::new(RefusedKind::Offline, "the server is offline; start it first")),
            (None, _) => Some(Refused::new(
                RefusedKind::Offline,
                "the server cannot take commands right now; try again in a moment",
            )),
            (Some(_), _) if self.commands.len() >= COMMANDS_MAX => {
                Some(Refused::new(RefusedKind::Busy, "the server has too many commands waiting; try again in a moment"))
            }
            _ => None,
        };
        if let Some(refused) = refusal {
            // Whoever asked may be gone.
            let _ = reply.send(Err(refused));
            return;
        }
        let stop = &self.definition.process_configuration.stop;
        let stops = stop.kind == StopKind::Command && text.trim() == stop.value.trim();
        let id = self.id();
        let command = PendingCommand { text, asker, stops, asked_mono_ms: clock::mono_ms(), reply: Some(reply) };
        self.write(id, &command);
        self.commands.insert(id, command);
    }

    /// Sends again what was sent and not answered, under its number: the shim carries it out once.
    pub(super) fn resend_commands(&self) {
        for (id, command) in &self.commands {
            self.write(*id, command);
        }
    }

    fn write(&self, id: u64, command: &PendingCommand) {
        if let Some(link) = &self.link {
            let user = command.asker.user.map(|user| user.to_string()).unwrap_or_default();
            link.write(id, &user, format!("{}\n", command.text).as_bytes());
        }
    }

    /// Whether somebody waits for an answer.
    pub(super) fn awaits_answers(&self) -> bool {
        self.commands.values().any(|command| command.reply.is_some())
    }

    /// When the oldest command has waited long enough for the shim's answer.
    pub(super) fn commands_due(&self) -> Option<u64> {
        let awaited = self.commands.values().filter(|command| command.reply.is_some());
        awaited.map(|command| command.asked_mono_ms + COMMAND_TIMEOUT_MS).min()
    }

    /// Tells whoever asked that their commands were not answered in time.
    pub(super) fn give_up_commands(&mut self) {
        let now_ms = clock::mono_ms();
        for command in self.commands.values_mut() {
            if command.asked_mono_ms + COMMAND_TIMEOUT_MS > now_ms {
                continue;
            }
            if let Some(reply) = command.reply.take() {
                let text = "the game's holder does not answer; whether the command reached the game is not known";
                // Whoever asked may be gone.
                let _ = reply.send(Err(Refused::new(RefusedKind::Unknown, text)));
            }
        }
    }

    /// The shim has said what became of a command, however late.
    pub(super) async fn answered(&mut self, id: u64, outcome: Outcome) {
        let result = match outcome {
            Outcome::Accepted | Outcome::AlreadyDone => Ok(()),
            Outcome::Busy => Err((RefusedKind::Busy, "the game does not read its input; the command was not sent")),
            Outcome::NotRunning => Err((RefusedKind::Offline, "the game is ending; the command was not sent")),
            Outcome::InputClosed => {
                Err((RefusedKind::Invalid, "the game has closed its input; the command was not sent"))
            }
        };
        let Some(PendingCommand { text, asker, stops, reply, .. }) = self.commands.remove(&id) else { return };
        if result.is_ok() {
            let details = serde_json::json!({ "command": text });
            self.node.record(self.server.id(), asker, "server:console.command", Some(details));
            self.acted(asker, "server:console.command");
        }
        let typed_stop = stops && result.is_ok();
        if let Some(reply) = reply {
            // Whoever asked may be gone.
            let _ = reply.send(result.map_err(|(kind, text)| Refused::new(kind, text)));
        }
        if typed_stop {
            // Whoever types the stop command means a stop, not a crash.
            self.input(Input::StopTyped).await;
        }
    }

    /// The run is over: no answer comes any more.
    pub(super) fn end_commands(&mut self) {
        for (_, command) in std::mem::take(&mut self.commands) {
            if let Some(reply) = command.reply {
                let text = "the game ended; whether it read the command is not known";
                // Whoever asked may be gone.
                let _ = reply.send(Err(Refused::new(RefusedKind::Unknown, text)));
            }
        }
    }
}
