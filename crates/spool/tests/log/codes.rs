//! Everything that is encoded can be decoded, and nothing that is decoded can cause harm.

use std::path::PathBuf;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use spool::message::{self, Hello, Outcome, Reply, Request, RunState, Scope, StopBy, rung};
use spool::ready::{Ready, Stage};
use spool::sandbox::{Landlock, PathRule, PortRule};
use spool::segment::{NotASegment, POS_MAX};
use spool::spec::{Console, LaunchSpec, Rlimit, SpecError, User, resource};
use spool::{ExitPayload, GapPayload, GapReason, InPayload, SegmentHeader, SegmentName, StartPayload};

fn request_of(bytes: &[u8]) -> Request<'_> {
    let raw = message::first(bytes).unwrap().unwrap();
    assert_eq!(raw.bytes, bytes.len());
    Request::decode(raw).unwrap()
}

fn reply_of(bytes: &[u8]) -> Reply {
    Reply::decode(message::first(bytes).unwrap().unwrap()).unwrap()
}

#[test]
fn requests_survive_the_way() {
    let requests = [
        Request::Hello,
        Request::Write { request_id: 1, user: "ann", bytes: b"say hi\n" },
        Request::Write { request_id: u64::MAX, user: "", bytes: b"" },
        Request::Note { request_id: 2, text: b"a notice" },
        Request::Signal { signal: 15, scope: Scope::Main },
        Request::Signal { signal: -1, scope: Scope::Group },
        Request::Signal { signal: 9, scope: Scope::All },
        Request::Stop { grace_ms: 30_000, by: StopBy::Signal(2) },
        Request::Stop { grace_ms: 0, by: StopBy::Input(b"stop\n") },
        Request::Resize { rows: 50, columns: 200 },
        Request::Kill,
        Request::Unknown { letter: b'U' },
    ];
    for request in requests {
        let mut bytes = Vec::new();
        request.encode(&mut bytes);
        assert_eq!(request_of(&bytes), request);
        for length in 0..bytes.len() {
            assert_eq!(message::first(&bytes[..length]), Ok(None), "{request:?}");
        }
    }
}

#[test]
fn replies_survive_the_way() {
    let hello = Hello {
        versions: (1, 2),
        state: RunState::Stopping,
        terminal: true,
        shim_pid: 1,
        game_pid: 2,
        start_ticks: 3,
        started_ms: 4,
        run_id: [5; 16],
        pos: 6,
        line: 7,
        lost_bytes: 8,
        lost_lines: 9,
        queued_bytes: 10,
        rungs: Some(rung::OWN_USER | rung::SECCOMP),
        build: "0.1.0".to_owned(),
    };
    let outcomes = [Outcome::Accepted, Outcome::AlreadyDone, Outcome::Busy, Outcome::NotRunning, Outcome::InputClosed];
    let mut replies = vec![
        Reply::Hello(Hello { versions: (1, 1), rungs: None, ..hello.clone() }),
        Reply::Hello(hello),
        Reply::Doorbell { pos: 1, line: 2 },
        Reply::Exited { status: 9, pos: 1, line: 2 },
        Reply::Unknown { letter: b'z' },
        Reply::Other { letter: b'z' },
    ];
    replies.extend(outcomes.map(|outcome| Reply::Answer { request_id: 3, outcome }));
    for reply in replies {
        let mut bytes = Vec::new();
        reply.encode(&mut bytes);
        assert_eq!(reply_of(&bytes), reply);
    }
}

#[test]
fn a_spec_says_which_rungs_a_game_gets() {
    let bare = LaunchSpec::new([0; 16], "/log".as_ref(), "/run".as_ref(), vec![b"game".to_vec()], "/".as_ref());
    assert_eq!(bare.rungs(), rung::NO_NEW_PRIVS);
    let nproc = Rlimit { resource: resource::NPROC, soft: 1, hard: 1 };
    let shared = LaunchSpec { rlimits: vec![nproc], ..bare.clone() };
    assert_eq!(shared.rungs(), rung::NO_NEW_PRIVS, "a limit that counts others too is none");
    let full = LaunchSpec {
        user: Some(User { uid: 1, gid: 1 }),
        landlock: Some(Landlock { files: 1, scopes: 1, ..Landlock::default() }),
        seccomp: vec![vec![0; 8]],
        cgroup_procs: vec!["/cgroup.procs".into()],
        ..shared
    };
    let some = rung::OWN_USER | rung::FILES | rung::SCOPES | rung::SECCOMP | rung::CGROUPS | rung::PROCESSES;
    assert_eq!(full.rungs(), rung::NO_NEW_PRIVS | some);
}

#[test]
fn rules_without_a_ruleset_and_half_instructions_are_refused() {
    let spec = LaunchSpec::new([0; 16], "/log".as_ref(), "/run".as_ref(), vec![b"game".to_vec()], "/".as_ref());
    let with = |tag: u16, value: &[u8]| {
        let length = u32::try_from(value.len()).unwrap().to_le_bytes();
        LaunchSpec::decode(&[spec.encode().as_slice(), &tag.to_le_bytes(), &length, value].concat())
    };
    assert!(matches!(with(17, &[0, 0, 0, 0, 0, 0, 0, 0, b'/']), Err(SpecError::Missing { .. })));
    assert_eq!(with(17, &[0; 8]), Err(SpecError::Field { tag: 17 }), "no path");
    assert_eq!(with(19, &[0; 12]), Err(SpecError::Field { tag: 19 }));
    assert_eq!(with(19, &[]), Err(SpecError::Field { tag: 19 }));
}

#[test]
fn a_long_name_is_cut_between_two_characters() {
    let name = "ä".repeat(200);
    let mut bytes = Vec::new();
    Request::Write { request_id: 1, user: &name, bytes: b"x" }.encode(&mut bytes);
    let Request::Write { user, .. } = request_of(&bytes) else { panic!("not a write") };
    assert_eq!(user, "ä".repeat(127));
    let payload = InPayload { request_id: 1, user: &name, bytes: b"x" }.encode();
    assert_eq!(InPayload::decode(&payload).unwrap().user, "ä".repeat(127));
}

fn some_spec() -> impl Strategy<Value = LaunchSpec> {
    let text = || vec(any::<u8>(), 0..20);
    let path = || "/[a-z]{1,20}".prop_map(PathBuf::from);
    let console = prop_oneof![
        Just(Console::Pipe),
        (any::<u16>(), any::<u16>()).prop_map(|(rows, columns)| Console::Pty { rows, columns }),
    ];
    let rlimit =
        (any::<u32>(), any::<u64>(), any::<u64>()).prop_map(|(resource, soft, hard)| Rlimit { resource, soft, hard });
    let first = (any::<[u8; 16]>(), path(), path(), path(), vec(vec(any::<u8>(), 1..20), 1..4));
    let second =
        (vec((text(), text()), 0..4), console, any::<Option<(u32, u32)>>(), vec(rlimit, 0..3), vec(path(), 0..3));
    let third = (any::<bool>(), any::<u32>(), any::<u64>(), any::<u64>(), any::<Option<i32>>(), any::<bool>());
    let path_rule = (any::<u64>(), path()).prop_map(|(access, path)| PathRule { access, path });
    let port_rule = (any::<u64>(), any::<u16>()).prop_map(|(access, port)| PortRule { access, port });
    let landlock =
        (any::<[u64; 4]>(), vec(path_rule, 0..4), vec(port_rule, 0..4)).prop_map(|(numbers, paths, ports)| {
            let [files, net, scopes, terminal] = numbers;
            Landlock { files, net, scopes, terminal, paths, ports }
        });
    let program = vec(any::<[u8; 8]>(), 1..4).prop_map(|instructions| instructions.concat());
    let fourth = (option::of(landlock), vec(program, 0..3), any::<Option<u64>>());
    (first, second, third, fourth).prop_map(|((run_id, log_dir, socket_dir, cwd, argv), second, third, fourth)| {
        let (landlock, seccomp, capabilities) = fourth;
        let (env, console, user, rlimits, cgroup_procs) = second;
        let (no_new_privs, umask, segment_bytes, retain_bytes, oom_score_adj, ignore_hangup) = third;
        let user = user.map(|(uid, gid)| User { uid, gid });
        LaunchSpec {
            env,
            console,
            user,
            rlimits,
            cgroup_procs,
            no_new_privs,
            capabilities,
            landlock,
            seccomp,
            umask,
            segment_bytes,
            retain_bytes,
            oom_score_adj,
            ignore_hangup,
            ..LaunchSpec::new(run_id, &log_dir, &socket_dir, argv, &cwd)
        }
    })
}

proptest! {
    #[test]
    fn specs_survive_the_way(spec in some_spec()) {
        prop_assert_eq!(LaunchSpec::decode(&spec.encode()), Ok(spec));
    }

    #[test]
    fn a_spec_cut_short_is_refused(spec in some_spec(), cut in any::<prop::sample::Index>()) {
        let mut bytes = spec.encode();
        bytes.truncate(cut.index(bytes.len()));
        // Without its last optional fields a spec may still be whole; never another one.
        if let Ok(decoded) = LaunchSpec::decode(&bytes) {
            let oom_score_adj = decoded.oom_score_adj.and(spec.oom_score_adj);
            let ignore_hangup = decoded.ignore_hangup && spec.ignore_hangup;
            prop_assert_eq!(LaunchSpec { oom_score_adj, ignore_hangup, ..spec }, decoded);
        }
    }

    #[test]
    fn no_bytes_do_harm(bytes in vec(any::<u8>(), 0..300), letter in any::<u8>()) {
        if let Ok(Some(raw)) = message::first(&bytes) {
            prop_assert!(raw.bytes <= bytes.len());
        }
        let raw = message::Raw { letter, payload: &bytes, bytes: bytes.len() };
        if let Ok(request) = Request::decode(raw) {
            let mut again = Vec::new();
            request.encode(&mut again);
            prop_assert_eq!(request_of(&again), request);
        }
        let _ = Reply::decode(raw);
        let _ = LaunchSpec::decode(&bytes);
        let _ = Ready::decode(&bytes);
        let _ = InPayload::decode(&bytes);
        let _ = StartPayload::decode(&bytes);
        let _ = ExitPayload::decode(&bytes);
        let _ = GapPayload::decode(&bytes);
        let _ = SegmentHeader::decode(&bytes);
    }

    #[test]
    fn payloads_survive_the_way(
        numbers in any::<(u64, u64, u32, i32, u8)>(), ids in any::<([u8; 16], [u8; 16])>(), flag in any::<bool>(),
    ) {
        let (a, b, c, d, code) = numbers;
        let start = StartPayload { pid: c, start_ticks: a, started_ms: b, errno: d, run_id: ids.0, boot_id: ids.1 };
        prop_assert_eq!(StartPayload::decode(&start.encode()), Some(start));
        let exit = ExitPayload { status: d, pid: c, oom: flag, user_ms: a, system_ms: b, maxrss_kib: a ^ b };
        prop_assert_eq!(ExitPayload::decode(&exit.encode()), Some(exit));
        let gap = GapPayload { bytes: a, lines: b, reason: GapReason::from_code(code) };
        prop_assert_eq!(GapPayload::decode(&gap.encode()), Some(gap));
        let header = SegmentHeader { base_pos: a, base_line: b, created_ms: u64::from(c), run_id: ids.0 };
        prop_assert_eq!(SegmentHeader::decode(&header.encode()), Some(header));
        let name = SegmentName { base_pos: a, base_line: b };
        let expected = if a > POS_MAX { Err(NotASegment) } else { Ok(name) };
        prop_assert_eq!(name.file_name().parse(), expected);
    }

    #[test]
    fn names_sort_as_the_log_does(mut names in vec(any::<(u64, u64)>(), 0..20)) {
        names.sort_unstable();
        let files: Vec<String> =
            names.iter().map(|&(base_pos, base_line)| SegmentName { base_pos, base_line }.file_name()).collect();
        prop_assert!(files.is_sorted());
    }
}

#[test]
fn answers_survive_the_way() {
    let stages = (0..=u8::MAX).map_while(Stage::from_code);
    let mut answers: Vec<Ready> =
        stages.map(|stage| Ready::Failed { stage, errno: 2, text: format!("no {stage}") }).collect();
    assert_eq!(answers.len(), 15);
    answers.push(Ready::Ok { shim_pid: 1, game_pid: 2 });
    for answer in answers {
        assert_eq!(Ready::decode(&answer.encode()), Ok(answer));
    }
    assert!(Ready::decode(b"").is_err());
}

#[test]
fn a_spec_says_what_is_wrong_with_it() {
    let spec = LaunchSpec::new([0; 16], "/log".as_ref(), "/run".as_ref(), vec![b"game".to_vec()], "/".as_ref());
    let with = |tag: u16| [spec.encode().as_slice(), &tag.to_le_bytes(), &[0; 4]].concat();
    assert_eq!(LaunchSpec::decode(&with(99)), Err(SpecError::Unknown { tag: 99 }));
    assert_eq!(LaunchSpec::decode(&with(0x8099)), Ok(spec.clone()));
    assert_eq!(LaunchSpec::decode(b"QDSPEC\x02\0"), Err(SpecError::NotASpec));
    assert_eq!(LaunchSpec::decode(&with(9)), Err(SpecError::Field { tag: 9 }));
    let without = LaunchSpec { argv: Vec::new(), ..spec };
    assert!(LaunchSpec::decode(&without.encode()).is_err_and(|error| error.to_string().contains("program")));
}

#[test]
fn a_spec_does_not_print_its_secrets() {
    let mut spec = LaunchSpec::new(
        [0; 16],
        "/log".as_ref(),
        "/run".as_ref(),
        vec![b"game".to_vec(), b"hunter2".to_vec()],
        "/".as_ref(),
    );
    spec.env.push((b"PASSWORD".to_vec(), b"hunter2".to_vec()));
    assert!(!format!("{spec:?}").contains("hunter2"));
}
