//! A running `up` with a folder of its own, and the little that tests need around it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Nothing here takes longer, even on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// Lines read ahead; a program that prints more waits for the test.
const LINES_MAX: usize = 100_000;
/// Where `up` logs to, in its folder.
const LOG: &str = "test.log";

pub(crate) fn quarterdeck(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quarterdeck"));
    command.arg("--data").arg(data);
    for variable in ["QUARTERDECK_URL", "QUARTERDECK_KEY", "QUARTERDECK_DATA", "QUARTERDECK_LOG"] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null());
    command
}

/// A running `up`. Dropping it ends its games and then itself.
pub(crate) struct Up {
    pub(crate) child: Child,
    pub(crate) greeting: Value,
    pub(crate) data: TempDir,
}

impl Up {
    pub(crate) fn start() -> Self {
        Self::start_in(TempDir::new().unwrap())
    }

    pub(crate) fn start_in(data: TempDir) -> Self {
        Self::start_with(data, "127.0.0.1:0", &[])
    }

    /// On an address, with more arguments. Its log is in the folder.
    pub(crate) fn start_with(data: TempDir, listen: &str, more: &[&str]) -> Self {
        let log = File::options().create(true).append(true).open(data.path().join(LOG)).unwrap();
        let mut child = quarterdeck(data.path())
            .args(["up", "--json", "--listen", listen])
            .args(more)
            .env("QUARTERDECK_LOG", "trace")
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (told, greeting) = mpsc::sync_channel(1);
        thread::spawn(move || told.send(lines.next()));
        let greeting = greeting.recv_timeout(DEADLINE).unwrap().unwrap().unwrap();
        Self { child, greeting: serde_json::from_str(&greeting).unwrap(), data }
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        quarterdeck(self.data.path()).args(args).output().unwrap()
    }

    /// Runs a command that must work; its stdout.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[args, &["--json"]].concat())).unwrap()
    }

    /// Runs a command that must fail; its exit code and stderr.
    pub(crate) fn refused(&self, args: &[&str]) -> (i32, String) {
        let output = self.run(args);
        assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    pub(crate) fn console(&self, args: &[&str], input: &str) -> Output {
        let mut child = quarterdeck(self.data.path())
            .arg("console")
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    pub(crate) fn signal(&mut self, signal: Signal) -> Option<i32> {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        self.child.wait().unwrap().code()
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.data.path().join(LOG)).unwrap()
    }

    /// `address:port`.
    pub(crate) fn address(&self) -> String {
        self.greeting["url"].as_str().unwrap().trim_start_matches("http://").to_owned()
    }

    /// Ends the program and starts it again at the same place. Its games go on.
    pub(crate) fn restart(self) -> Self {
        let address = self.address();
        Self::start_with(self.end(), &address, &[])
    }

    /// Makes and starts a server that runs the deterministic game with these flags; its identifier.
    pub(crate) fn game(&self, name: &str, flags: &str) -> String {
        let command = format!("{{{{QUARTERDECK}}}} fakegame play {flags}");
        let made = self.json(&["server", "create", "--name", name, "--command", &command, "--ready", "Done ("]);
        self.ok(&["power", name, "start", "--wait"]);
        made["identifier"].as_str().unwrap().to_owned()
    }

    /// One answer of the panel or node: status and body. The key goes along.
    pub(crate) fn http(&self, method: &str, path: &str, more: &str, body: &str) -> (u16, String) {
        http(&self.address(), self.greeting["key"].as_str().unwrap(), method, path, more, body)
    }

    /// Ends the program, not its games, and gives back the folder.
    pub(crate) fn end(mut self) -> TempDir {
        assert_eq!(self.signal(Signal::TERM), Some(0));
        std::mem::replace(&mut self.data, TempDir::new().unwrap())
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            if let Ok(list) = serde_json::from_slice::<Value>(&self.run(&["server", "list", "--json"]).stdout) {
                for server in list.as_array().into_iter().flatten() {
                    self.run(&["server", "delete", "--now", "--yes", server["uuid"].as_str().unwrap_or_default()]);
                }
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

pub(crate) fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// One HTTP request on a connection of its own: status and body. `more` are header lines.
pub(crate) fn http(address: &str, key: &str, method: &str, path: &str, more: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{more}\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
    }
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).unwrap();
    (status, String::from_utf8(body).unwrap())
}

/// Lines of a program's output as they come.
pub(crate) struct Lines(mpsc::Receiver<String>);

impl Lines {
    pub(crate) fn of(output: impl Read + Send + 'static) -> Self {
        let (told, lines) = mpsc::sync_channel(LINES_MAX);
        thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                let Ok(line) = line else { return };
                if told.send(line).is_err() {
                    return;
                }
            }
        });
        Self(lines)
    }

    /// The next one; none at the end.
    pub(crate) fn next(&self) -> Option<String> {
        match self.0.recv_timeout(DEADLINE) {
            Ok(line) => Some(line),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("waited too long for a line"),
        }
    }

    /// Everything up to the line with this text in it.
    pub(crate) fn until(&self, text: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.next().unwrap_or_else(|| panic!("the output ended without `{text}`: {lines:?}"));
            let found = line.contains(text);
            lines.push(line);
            if found {
                return lines;
            }
        }
    }

    /// Everything to the end.
    pub(crate) fn rest(&self) -> Vec<String> {
        std::iter::from_fn(|| self.next()).collect()
    }
}
