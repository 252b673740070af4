//! Starts that work, starts that do not, and what they leave behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::process::{Signal, WaitOptions};
use spool::message::RunState;
use spool::ready::{Ready, Stage};
use spool::writer::is_locked;

use crate::harness::{RUN_ID, Said, Server, answer_to, exit_of, output, wait_gone};

const ENOENT: i32 = 2;
const EACCES: i32 = 13;
const ENOEXEC: i32 = 8;

#[test]
fn a_run_from_its_first_line_to_its_exit_record() {
    let server = Server::new();
    let running = server.start(&server.script("echo one; echo two >&2; printf three"));
    let status = running.wait();
    assert_eq!(status.exit_status(), Some(0));
    let log = server.log();
    let Said::Started(start) = &log[0] else { panic!("{log:?}") };
    assert_eq!((start.errno, start.run_id), (0, RUN_ID));
    assert_ne!(start.boot_id, [0; 16]);
    assert_eq!(output(&log), ["one", "two", "three"]);
    let exit = exit_of(&log);
    assert_eq!((exit.code(), exit.pid, exit.oom), (Some(0), start.pid, false));
    let record = server.exit_record().unwrap();
    assert_eq!((record.exit, record.run_id, record.line), (exit, RUN_ID, 3));
    assert!(!server.path().join("shim.sock").exists());
    assert!(!is_locked(&server.log_dir()).unwrap());
}

#[test]
fn greets_with_who_it_is() {
    let server = Server::new();
    let running = server.start(&server.script("echo up; read line"));
    let mut client = running.connect();
    let log = client.wait_line(&server, "up");
    let Said::Started(start) = &log[0] else { panic!("{log:?}") };
    let hello = client.hello.clone();
    assert_eq!((hello.state, hello.run_id, hello.terminal), (RunState::Running, RUN_ID, false));
    assert_eq!((hello.game_pid, hello.start_ticks), (start.pid, start.start_ticks));
    assert!(hello.start_ticks > 0);
    assert!(server.exit_record().is_none());
    assert!(is_locked(&server.log_dir()).unwrap());
    let mode = fs::metadata(server.path().join("shim.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn the_exit_code_and_the_signal_come_through() {
    let server = Server::new();
    let running = server.start(&server.script("exit 7"));
    assert_eq!(running.wait().exit_status(), Some(7));
    assert_eq!(exit_of(&server.log()).code(), Some(7));
    let running = server.start(&server.script("kill -SEGV $$"));
    assert_eq!(running.wait().exit_status(), Some(128 + 11));
    let exit = exit_of(&server.log());
    assert_eq!((exit.code(), exit.signal()), (None, Some(11)));
}

#[test]
fn a_second_run_goes_on_with_the_numbers() {
    let server = Server::new();
    let spec = server.script("echo a; echo b");
    server.run(&spec);
    let log = server.run(&spec);
    let numbers: Vec<u64> =
        log.iter().filter_map(|said| if let Said::Game(seq, _) = said { Some(*seq) } else { None }).collect();
    assert_eq!(numbers, [0, 1, 2, 3]);
}

#[test]
fn a_program_that_cannot_be_run_says_why() {
    let server = Server::new();
    let plain = server.path().join("plain");
    fs::write(&plain, "data").unwrap();
    let script = server.path().join("script");
    fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    let garbage = server.path().join("garbage");
    fs::write(&garbage, "no program").unwrap();
    for file in [&script, &garbage] {
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let cases = [
        ("/no/such/program", ENOENT, "does not exist"),
        ("no-such-program-in-path", ENOENT, "does not exist"),
        ("./plain", EACCES, "not executable"),
        ("./script", ENOENT, "interpreter"),
        ("./garbage", ENOEXEC, "not a program"),
    ];
    for (program, errno, words) in cases {
        let (stage, found, text) = Server::fail_to_start(&server.program(&[program, "a secret"]));
        assert_eq!((stage, found), (Stage::Exec, errno), "{program}");
        assert!(text.contains(words) && text.contains(program) && !text.contains("secret"), "{text}");
        let log = server.log();
        let [.., Said::Started(start), Said::Exited(exit)] = log.as_slice() else { panic!("{log:?}") };
        assert_eq!((start.errno, exit.code()), (errno, Some(127)));
        assert_eq!(server.exit_record().unwrap().exit, *exit);
        assert!(!server.path().join("shim.sock").exists());
        assert!(!is_locked(&server.log_dir()).unwrap());
    }
    assert_eq!(output(&server.run(&server.script("echo fine"))), ["fine"]);
}

#[test]
fn a_missing_working_folder_says_so() {
    let server = Server::new();
    let mut spec = server.script("echo never");
    spec.cwd = server.path().join("missing");
    let (stage, errno, text) = Server::fail_to_start(&spec);
    assert_eq!((stage, errno), (Stage::Cwd, ENOENT));
    assert!(text.contains("missing"), "{text}");
}

#[test]
fn a_cgroup_that_cannot_be_joined_says_so() {
    let server = Server::new();
    let mut spec = server.script("echo never");
    spec.cgroup_procs = vec![server.path().join("no/cgroup.procs")];
    assert_eq!(Server::fail_to_start(&spec).0, Stage::Cgroup);
    assert!(output(&server.log()).is_empty());
}

#[test]
fn the_game_is_in_its_cgroup_before_it_runs() {
    let server = Server::new();
    // A file stands in for the kernel's: what matters is that it is written, by the child, before exec.
    let procs = server.path().join("cgroup.procs");
    fs::write(&procs, "").unwrap();
    let mut spec = server.script("cat cgroup.procs; echo");
    spec.cgroup_procs = vec![procs];
    assert_eq!(output(&server.run(&spec)), ["0"]);
}

#[test]
fn a_spec_that_is_none_is_refused() {
    let server = Server::new();
    let whole = server.script("echo never").encode();
    let truncated = &whole[..whole.len() - 1];
    let unknown = [whole.as_slice(), &[0xff, 0x00, 0, 0, 0, 0]].concat();
    for bytes in [b"".as_slice(), b"garbage", truncated, &unknown] {
        let Ready::Failed { stage, .. } = answer_to(bytes) else { panic!("{bytes:?} started") };
        assert_eq!(stage, Stage::Spec);
    }
    assert!(!server.log_dir().exists());
    let mut zero = server.script("echo never");
    zero.env.push((b"A".to_vec(), b"a\0b".to_vec()));
    assert_eq!(Server::fail_to_start(&zero).0, Stage::Spec);
}

#[test]
fn a_field_that_may_be_ignored_is() {
    let server = Server::new();
    let spec = [server.script("echo fine").encode().as_slice(), &[0xff, 0x80, 1, 0, 0, 0, 7]].concat();
    let Ready::Ok { shim_pid, .. } = answer_to(&spec) else { panic!("it did not start") };
    let shim = crate::harness::pid(shim_pid);
    wait_gone(shim);
    rustix::process::waitpid(Some(shim), WaitOptions::empty()).unwrap();
    assert_eq!(output(&server.log()), ["fine"]);
}

#[test]
fn a_second_shim_is_refused_and_harms_nothing() {
    let server = Server::new();
    let spec = server.script("echo up; read line; echo \"got $line\"");
    let running = server.start(&spec);
    let mut client = running.connect();
    client.wait_line(&server, "up");
    let (stage, _, text) = Server::fail_to_start(&spec);
    assert_eq!(stage, Stage::Locked);
    assert!(text.contains("another process"), "{text}");
    client.write(1, b"hello\n");
    client.wait_exit();
    assert_eq!(output(&server.log()), ["up", "got hello"]);
}

#[test]
fn a_folder_that_cannot_be_written_is_refused() {
    let server = Server::new();
    fs::write(server.log_dir(), "a file where the log folder should be").unwrap();
    assert_eq!(Server::fail_to_start(&server.script("echo never")).0, Stage::Log);
    fs::remove_file(server.log_dir()).unwrap();
    let mut spec = server.script("echo never");
    spec.socket_dir = server.path().join("missing");
    assert_eq!(Server::fail_to_start(&spec).0, Stage::Socket);
    assert!(!is_locked(&server.log_dir()).unwrap());
}

#[test]
fn the_folder_may_have_a_path_longer_than_a_socket_address() {
    let server = Server::new();
    let deep = server.path().join("d".repeat(100)).join("e".repeat(100));
    fs::create_dir_all(&deep).unwrap();
    let mut spec = server.script("read line");
    spec.socket_dir = deep.clone();
    let _running = server.start(&spec);
    let stream = spool::message::connect(&deep).unwrap();
    drop(stream);
}

#[test]
fn a_killed_shim_takes_the_game_along_and_the_log_goes_on() {
    let server = Server::new();
    let spec = server.script("trap 'echo bye > saved; exit' TERM; echo up; while :; do sleep 0.02; done");
    let running = server.start(&spec);
    let mut client = running.connect();
    client.wait_line(&server, "up");
    let game = running.game;
    rustix::process::kill_process(running.shim, Signal::KILL).unwrap();
    running.wait();
    wait_gone(game);
    assert_eq!(fs::read_to_string(server.path().join("saved")).unwrap(), "bye\n", "the game had its chance to save");
    assert!(server.exit_record().is_none());
    assert!(!is_locked(&server.log_dir()).unwrap());
    let log = server.run(&server.script("echo again"));
    assert_eq!(output(&log), ["up", "again"]);
    assert!(log.contains(&Said::Game(1, b"again".to_vec())));
}

#[test]
fn a_shim_whose_children_were_ignored_hears_of_their_end() {
    let server = Server::new();
    let inherited =
        ["env", "--ignore-signal=CHLD", "--ignore-signal=TERM", "--block-signal=CHLD", "--block-signal=USR1"];
    let running = server.start_through(&inherited, &server.script("grep '^Sig[BI]' /proc/self/status; exit 3"));
    running.wait();
    let log = server.log();
    assert_eq!(exit_of(&log).code(), Some(3));
    assert_eq!(
        output(&log),
        ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000"],
        "nor does the game inherit it"
    );
    let running = server.start_through(&inherited, &server.script("echo up; exec sleep 1000"));
    let mut client = running.connect();
    client.send(&spool::message::Request::Kill);
    assert_eq!(client.wait_exit(), 9);
}
