//! Who the game runs as and what it inherits.

use spool::spec::{Rlimit, User, resource};

use crate::harness::{Server, TERMINAL, output};

#[test]
fn it_inherits_nothing_but_what_the_spec_says() {
    let server = Server::new();
    let mut spec = server.script("env | sort; ls /proc/self/fd | wc -l; umask; pwd");
    spec.env.push((b"GAME".to_vec(), b"a b=c".to_vec()));
    spec.umask = 0o037;
    let lines = output(&server.run(&spec));
    let folder = server.path().canonicalize().unwrap();
    // 0, 1, 2, and the folder that ls itself has open.
    let expected = ["GAME=a b=c", "PATH=/usr/local/bin:/usr/bin:/bin", "4", "0037", folder.to_str().unwrap()];
    let found: Vec<&String> =
        lines.iter().filter(|line| !line.starts_with("PWD=") && !line.starts_with("_=")).collect();
    assert_eq!(found, expected);
}

#[test]
fn signals_are_as_new() {
    let server = Server::new();
    let lines = output(&server.run(&server.script("grep -E 'Sig(Blk|Ign)|NoNewPrivs' /proc/self/status")));
    let fields: Vec<&str> = lines.iter().filter_map(|line| line.split_ascii_whitespace().nth(1)).collect();
    assert_eq!(fields, ["0000000000000000", "0000000000000000", "1"]);
}

#[test]
fn limits_apply() {
    let server = Server::new();
    let mut spec = server.script("ulimit -n; ulimit -Hn; ulimit -c; ulimit -Hc");
    spec.rlimits = vec![
        Rlimit { resource: resource::NOFILE, soft: 100, hard: 200 },
        Rlimit { resource: resource::CORE, soft: 0, hard: 0 },
    ];
    assert_eq!(output(&server.run(&spec)), ["100", "200", "0", "0"]);
}

#[test]
fn it_leads_a_session_with_its_terminal() {
    let server = Server::new();
    let mut spec = server.script("echo hello > /dev/tty; echo $$; cut -d' ' -f5,6 /proc/$$/stat");
    spec.console = TERMINAL;
    let lines = output(&server.run(&spec));
    assert_eq!(lines[0], "hello");
    assert_eq!(lines[2], format!("{0} {0}", lines[1]), "its own group and session");
}

#[test]
#[allow(clippy::print_stderr)] // A skipped test must say so.
fn it_becomes_its_own_user() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can start a game as another user");
        return;
    }
    for console in [spool::spec::Console::Pipe, TERMINAL] {
        let server = Server::new();
        let mut spec = server.script(
            "id -u; id -g; id -G; echo stdout > /dev/stdout; echo stderr > /dev/stderr; cat log/lock || echo denied",
        );
        spec.user = Some(User { uid: 212_345, gid: 212_346 });
        spec.console = console;
        spec.cwd = "/".into();
        let secret = server.log_dir();
        spec.argv[2] = String::from_utf8(spec.argv[2].clone())
            .unwrap()
            .replace("log/lock", &format!("{}/lock 2> /dev/null", secret.display()))
            .into_bytes();
        let lines = output(&server.run(&spec));
        assert_eq!(lines, ["212345", "212346", "212346", "stdout", "stderr", "denied"]);
    }
}

#[test]
fn the_shim_protects_itself_from_the_memory_killer_but_not_the_game() {
    let server = Server::new();
    let before = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    let mut spec = server.script("cat /proc/self/oom_score_adj; read line");
    spec.oom_score_adj = Some(500);
    let running = server.start(&spec);
    let mut client = running.connect();
    client.wait_line(&server, before.trim());
    let path = format!("/proc/{}/oom_score_adj", running.shim.as_raw_nonzero());
    assert_eq!(std::fs::read_to_string(path).unwrap().trim(), "500");
    client.write(1, b"\n");
    client.wait_exit();
}
