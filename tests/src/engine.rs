//! Container engines for tests: the one that `cargo xtask test` names, or one of the test's own. Where there is none, tests say that they
//! are skipped.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use crate::{DEADLINE, Folder};

/// The image that `testdata/image.sh` makes: a shell, a few programs, the libraries of our own program.
pub const IMAGE: &str = "quarterdeck-test:1";
/// Names the socket of an engine for tests, with [`IMAGE`] in it.
pub const ENGINE_VARIABLE: &str = "QUARTERDECK_TEST_ENGINE";
/// `docker`: games of tests run in containers, unless the test is about something else.
pub const RUNTIME_VARIABLE: &str = "QUARTERDECK_TEST_RUNTIME";

/// An engine that answers.
pub struct Engine {
    socket: PathBuf,
}

impl Engine {
    /// The engine for tests, if there is one; else the test is skipped, which in CI is a failure.
    pub fn find(test: &str) -> Option<Self> {
        let socket = std::env::var_os(ENGINE_VARIABLE).map(PathBuf::from).filter(|socket| socket.exists());
        if socket.is_none() {
            crate::skip(test, &format!("no container engine: {ENGINE_VARIABLE} names none"), true);
        }
        Some(Self { socket: socket? })
    }

    /// The engine in which all games of this run of the tests are; none if they are processes.
    pub fn of_all_games() -> Option<Self> {
        let wanted = std::env::var_os(RUNTIME_VARIABLE).is_some_and(|runtime| runtime == "docker");
        wanted.then(|| Self { socket: std::env::var_os(ENGINE_VARIABLE).map(PathBuf::from).unwrap_or_default() })
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The table of a node's settings that names it.
    pub fn settings(&self) -> String {
        format!("[containers]\nmode = \"on\"\nsocket = \"{}\"\n", self.socket.display())
    }

    /// Runs Docker's own client on it and gives what it prints.
    ///
    /// # Panics
    /// When it cannot be run, or fails.
    #[allow(clippy::expect_used)]
    pub fn docker(&self, arguments: &[&str]) -> String {
        let output = client(&self.socket).args(arguments).output().expect("Docker's client runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "docker {arguments:?}: {error}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Removes what is there of a server, whose program may be gone.
    pub fn forget(&self, server: &str) {
        let containers = self.containers_of(server);
        if !containers.is_empty() {
            let _ = client(&self.socket).args(["rm", "--force"]).args(&containers).output();
        }
        let network = format!("quarterdeck-{}", server.get(..8).unwrap_or_default());
        // Most have none.
        let _ = client(&self.socket).args(["network", "rm", &network]).output();
    }

    /// The containers of a server, running or not.
    pub fn containers_of(&self, server: &str) -> Vec<String> {
        let label = format!("label=quarterdeck.server={server}");
        let listed = self.docker(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &label]);
        listed.lines().map(str::to_owned).collect()
    }
}

/// An engine of a test's own, to be ended and started again. It goes with all its containers.
pub struct Dockerd {
    folder: Folder,
    arguments: Vec<String>,
    /// Apart from it, as service managers have it: it holds the containers when its engine is killed.
    containerd: Child,
    child: Option<Child>,
    engine: Engine,
}

impl Dockerd {
    /// Whether one can be started here.
    ///
    /// # Errors
    /// What is missing, and how to get it.
    pub fn possible() -> Result<(), String> {
        if !rustix::process::geteuid().is_root() {
            return Err("an engine of the tests' own takes root".to_owned());
        }
        let is_there =
            |name: &&&str| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success());
        match ["containerd", "dockerd", "docker"].iter().find(|name| !is_there(name)) {
            Some(name) => Err(format!("there is no {name} (apt-get install docker.io)")),
            None => Ok(()),
        }
    }

    /// One that comes up with the image in it.
    ///
    /// # Panics
    /// When it does not.
    #[allow(clippy::expect_used)]
    pub fn start(arguments: &[&str]) -> Self {
        let folder = Folder::new();
        let engine = Engine { socket: folder.path().join("docker.sock") };
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let at = |name: &str| folder.path().join(name);
        let containerd = Command::new("containerd")
            .arg("--root")
            .arg(at("containerd"))
            .arg("--state")
            .arg(at("state"))
            .arg("--address")
            .arg(at("containerd.sock"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("containerd starts");
        let mut dockerd = Self { folder, arguments, containerd, child: None, engine };
        dockerd.up();
        let mut tar = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/image.sh"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("the image's files");
        let files = tar.stdout.take().expect("a pipe");
        let mut import = client(&dockerd.engine.socket);
        let imported = import.args(["import", "-", IMAGE]).stdin(files).stdout(Stdio::null()).status();
        assert!(imported.expect("Docker's client").success() && tar.wait().is_ok_and(|made| made.success()));
        dockerd
    }

    /// The engine that it is.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Starts it, again if it has ended, and waits until it answers.
    ///
    /// # Panics
    /// When it does not.
    #[allow(clippy::expect_used)]
    pub fn up(&mut self) {
        let at = |name: &str| self.folder.path().join(name);
        let log = std::fs::File::options().create(true).append(true).open(at("log")).expect("a log");
        // One that was killed leaves it, and the next one would think that it is still there.
        let _ = std::fs::remove_file(at("pid"));
        let child = Command::new("dockerd")
            .arg("--data-root")
            .arg(at("data"))
            .arg("--exec-root")
            .arg(at("exec"))
            .arg("--pidfile")
            .arg(at("pid"))
            .arg("--containerd")
            .arg(at("containerd.sock"))
            .arg("--host")
            .arg(format!("unix://{}", self.engine.socket.display()))
            .args(["--bridge", "none"])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn();
        self.child = Some(child.expect("dockerd starts"));
        let begun = Instant::now();
        while !client(&self.engine.socket)
            .arg("version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|answered| answered.success())
        {
            let log = std::fs::read_to_string(at("log")).unwrap_or_default();
            assert!(begun.elapsed() < DEADLINE, "dockerd does not answer; its log:\n{log}");
            let has_ended =
                self.child.as_mut().is_some_and(|child| child.try_wait().is_ok_and(|ended| ended.is_some()));
            assert!(!has_ended, "dockerd has ended; its log:\n{log}");
            std::thread::yield_now();
        }
    }

    /// Ends it at once, as a crash does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Ends it as a service manager does, and waits.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            end(&mut child);
        }
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        if self.child.is_some() {
            let all = client(&self.engine.socket).args(["ps", "--all", "--quiet"]).output();
            let all = all.map(|all| String::from_utf8_lossy(&all.stdout).into_owned()).unwrap_or_default();
            let ids: Vec<&str> = all.split_whitespace().collect();
            if !ids.is_empty() {
                let _ = client(&self.engine.socket).args(["rm", "--force"]).args(&ids).output();
            }
            let _ = client(&self.engine.socket).args(["network", "prune", "--force"]).output();
        }
        self.stop();
        end(&mut self.containerd);
    }
}

/// Asks a process of ours to end, and waits.
fn end(child: &mut Child) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
    let _ = child.wait();
}

/// Ports of tests: below those that connections to somewhere get from the kernel, and below those of nodes.
const PORTS: std::ops::Range<u16> = 10_000..20_000;

/// A port of this machine that nobody has at the moment, on any address. Which one is left to chance: tests run side by side.
///
/// # Panics
/// When there is none.
#[allow(clippy::expect_used)]
pub fn free_port() -> u16 {
    use std::hash::{BuildHasher, RandomState};
    use std::net::{TcpListener, UdpSocket};
    let count = u64::from(PORTS.end - PORTS.start);
    let chance = || u16::try_from(RandomState::new().hash_one(std::process::id()) % count).unwrap_or_default();
    let is_free =
        |port: &u16| TcpListener::bind(("0.0.0.0", *port)).is_ok() && UdpSocket::bind(("0.0.0.0", *port)).is_ok();
    let mut ports = std::iter::repeat_with(|| PORTS.start + chance()).take(1000);
    ports.find(is_free).expect("a free port")
}

fn client(socket: &Path) -> Command {
    let mut client = Command::new("docker");
    client.arg("--host").arg(format!("unix://{}", socket.display()));
    client
}
