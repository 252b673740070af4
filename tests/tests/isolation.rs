//! What a game can get at that is not its own: nothing, as far as the machine has the means.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use e2e::hostile::{
    OWN, STOPPED_BY_LANDLOCK, STOPPED_BY_SECCOMP, STOPPED_BY_SHIM, STOPPED_BY_USER, Scene, attempts, extra, set_command,
};
use e2e::{Deck, Socket, skip};
use serde_json::{Value, json};

const NODE: &str = "11111111-2222-3333-4444-555555555555";

/// Starts a server and waits until it runs.
async fn start(deck: &Deck, server: &str) -> Socket {
    let mut console = Socket::console(deck, server).await;
    console.say("set state", &json!(["start"])).await;
    console.status("running").await;
    console
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn server_dir(deck: &Deck, uuid: &str) -> PathBuf {
    deck.data().join("node/servers").join(uuid)
}

/// Everything at once, as it is by default.
#[tokio::test]
async fn a_hostile_game_gets_at_nothing() {
    if !is_root() {
        return skip("a_hostile_game_gets_at_nothing", "only root has users to give away", true);
    }
    let scene = Scene::play(Deck::isolated("", true).await).await;
    assert!(scene.has("uid"), "{:?}", scene.missing);
    scene.assert_stopped(&STOPPED_BY_USER);
    if scene.has("seccomp") {
        scene.assert_stopped(&STOPPED_BY_SECCOMP);
    }
    if scene.has("files") && scene.has("tcp") && scene.has("scopes") {
        scene.assert_stopped(&STOPPED_BY_LANDLOCK);
    }
    scene.assert_own_works();
    // Two servers, two users; what is around their files is still the daemon's.
    let owner = |uuid: &str, name: &str| std::fs::metadata(server_dir(&scene.deck, uuid).join(name)).unwrap().uid();
    let (one, other) = (owner(&scene.victim, "files"), owner(&scene.hostile, "files"));
    assert!(one != other && one >= 200_000 && other >= 200_000, "{one} {other}");
    for name in [".", "log", "definition.json"] {
        assert_eq!(owner(&scene.hostile, name), 0, "{name}");
    }
    let through =
        scene.attempts.iter().filter(|(name, outcome)| !OWN.contains(&name.as_str()) && *outcome == "got through");
    let through: Vec<_> = through.collect();
    assert!(through.is_empty(), "{through:?}");
}

/// Each rung stops what it is there for without the others.
#[tokio::test]
async fn a_user_of_its_own_is_a_wall_by_itself() {
    if !is_root() {
        return skip("a_user_of_its_own_is_a_wall_by_itself", "only root has users to give away", true);
    }
    let settings = "[isolation]\noff = [\"files\", \"tcp\", \"scopes\", \"seccomp\"]\n";
    let scene = Scene::play(Deck::isolated(settings, true).await).await;
    assert!(scene.has("uid") && !scene.has("files") && !scene.has("seccomp"), "{:?}", scene.missing);
    assert_eq!(scene.why_not("files"), "files: switched off in the settings");
    scene.assert_stopped(&STOPPED_BY_USER);
    scene.assert_own_works();
}

/// In a folder that others cannot enter games have the daemon's user, and Landlock keeps them apart.
#[tokio::test]
async fn landlock_is_a_wall_by_itself() {
    let settings = "[isolation]\noff = [\"seccomp\"]\n";
    let scene = Scene::play(Deck::isolated(settings, false).await).await;
    assert!(!scene.has("uid"));
    let why = scene.why_not("uid");
    assert!(why.contains("chmod o+x") || why.contains("not root"), "{why}");
    if !(scene.has("files") && scene.has("tcp") && scene.has("scopes")) {
        return skip("landlock_is_a_wall_by_itself", &format!("{:?}", scene.missing), false);
    }
    scene.assert_stopped(&STOPPED_BY_LANDLOCK);
    scene.assert_stopped(&STOPPED_BY_SHIM);
    scene.assert_own_works();
}

#[tokio::test]
async fn the_filter_is_a_wall_by_itself() {
    let settings = "[isolation]\noff = [\"uid\", \"files\", \"tcp\", \"scopes\"]\n";
    let scene = Scene::play(Deck::isolated(settings, true).await).await;
    assert!(!scene.has("uid") && !scene.has("files"));
    assert!(scene.has("seccomp"), "{:?}", scene.missing);
    scene.assert_stopped(&STOPPED_BY_SECCOMP);
    scene.assert_stopped(&STOPPED_BY_SHIM);
    scene.assert_own_works();
}

/// Without root all games have one user; they are kept apart all the same.
#[tokio::test]
async fn games_of_one_ordinary_user_are_kept_apart() {
    let scene = Scene::play(Deck::unprivileged().await).await;
    assert!(scene.why_not("uid").contains("not root"), "{:?}", scene.missing);
    assert!(scene.has("seccomp"));
    scene.assert_stopped(&STOPPED_BY_SECCOMP);
    scene.assert_stopped(&STOPPED_BY_SHIM);
    if scene.has("files") && scene.has("tcp") && scene.has("scopes") {
        scene.assert_stopped(&STOPPED_BY_LANDLOCK);
    }
    scene.assert_own_works();
}

/// A game that takes all it can get ends itself or is told no; its neighbour does not notice.
#[tokio::test]
async fn greed_is_contained() {
    let deck = Deck::isolated("", true).await;
    deck.learn_node_token().await;
    let neighbour = deck.game("--obey", json!({ "ready": "Done" })).await;
    start(&deck, &neighbour).await;
    let limits = json!({ "memory": 256, "swap": 0, "disk": 0, "io": 500, "cpu": 0 });
    let command = "{{QUARTERDECK}} fakegame hostile --forks 1000 --files 200000";
    let greedy = deck
        .create(json!({ "command": command, "ready": "attempts over", "limits": limits, "pids": 100, "stop": "stop" }))
        .await;
    let attempts = attempts(&deck, &greedy).await;
    let isolation = extra(&deck, &greedy).await["isolation"].clone();
    let holds = |rung: &str| isolation["active"].to_string().contains(rung);
    assert!(attempts["fds"].starts_with("refused"), "{attempts:?}");
    if holds("pids:") || holds("\"uid\"") {
        assert!(attempts["forks"].starts_with("refused"), "{attempts:?}");
    }
    if holds("memory:") {
        deck.power(&greedy, "kill").await;
        set_command(&deck, &greedy, "{{QUARTERDECK}} fakegame hostile --memory 1000").await;
        let mut console = Socket::console(&deck, &greedy).await;
        console.status("offline").await;
        console.say("set state", &json!(["start"])).await;
        console.line("out of memory").await;
    }
    let mut console = Socket::console(&deck, &neighbour).await;
    console.say("send command", &json!(["echo still here"])).await;
    console.line("still here").await;
}

/// Shared memory outlives whoever made it; a game's ends with the game.
#[tokio::test]
async fn shared_memory_ends_with_its_game() {
    if !is_root() {
        return skip("shared_memory_ends_with_its_game", "only root has users to give away", true);
    }
    let deck = Deck::isolated("", true).await;
    let name = format!("quarterdeck-test-{}", std::process::id());
    let shell = format!(
        "/bin/sh -c 'mkdir -p /dev/shm/{name}/inner && echo x > /dev/shm/{name}/inner/x && ipcmk -M 4096 && \
         echo segments $(wc -l < /proc/sysvipc/shm) && echo Done; read x'"
    );
    let server = deck.create(json!({ "command": shell, "ready": "Done", "stop": "stop" })).await;
    let mut console = Socket::console(&deck, &server).await;
    console.say("set state", &json!(["start"])).await;
    // The head of the table and its own; what the machine has besides it does not see.
    assert_eq!(console.line("segments").await, "segments 2");
    let shared = PathBuf::from("/dev/shm").join(&name);
    assert!(shared.join("inner/x").exists());
    assert!(std::fs::metadata(&shared).unwrap().uid() >= 200_000);
    let all = || std::fs::read_to_string("/proc/sysvipc/shm").unwrap().lines().count();
    let outside = all();
    console.say("send command", &json!(["end"])).await;
    console.status("offline").await;
    assert!(!shared.exists());
    assert_eq!(all(), outside, "it was never among the machine's");
}

/// Connections to the panel are for everybody: no game can take them all, though it comes from the same machine.
#[tokio::test]
async fn a_game_cannot_take_all_connections() {
    if !is_root() {
        return skip("a_game_cannot_take_all_connections", "only root has users to give away", true);
    }
    let deck = Deck::isolated("", true).await;
    deck.learn_node_token().await;
    let address = deck.url().trim_start_matches("http://").to_owned();
    let command = format!("{{{{QUARTERDECK}}}} fakegame hostile --connect {address} --connections 500");
    let server = deck.create(json!({ "command": command, "ready": "attempts over", "stop": "stop" })).await;
    let mut console = Socket::console(&deck, &server).await;
    console.say("set state", &json!(["start"])).await;
    let told = console.line("attempt connections:").await;
    assert!(told.ends_with("32 of 500 were kept"), "{told}");
    console.status("running").await;
    // And others are served as before, the node's own requests among them.
    let isolation = extra(&deck, &server).await["isolation"].clone();
    assert!(isolation["active"].to_string().contains("uid"), "{isolation}");
}

/// A server that ran as the daemon's user moves over with its files; links that a game has laid lead nobody out of its folder.
#[tokio::test]
async fn a_server_moves_over_to_its_own_user() {
    if !is_root() {
        return skip("a_server_moves_over_to_its_own_user", "only root has users to give away", true);
    }
    let mut deck = Deck::isolated("[isolation]\noff = [\"uid\"]\n", true).await;
    deck.learn_node_token().await;
    let shell = "/bin/sh -c 'mkdir -p world; echo x >> world/level; id -u; read x'";
    let server = deck.create(json!({ "command": shell, "ready": "", "stop": "stop" })).await;
    let mut console = Socket::console(&deck, &server).await;
    console.say("set state", &json!(["start"])).await;
    assert_eq!(console.line("0").await, "0", "root, as it was before");
    console.say("send command", &json!(["end"])).await;
    console.status("offline").await;
    let outside = deck.data().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "x").unwrap();
    std::os::unix::fs::symlink(&outside, deck.files(&server).join("world/out")).unwrap();
    deck.stop().await;
    std::fs::write(deck.data().join("quarterdeck.toml"), "").unwrap();
    deck.up_again().await;
    let mut console = Socket::console(&deck, &server).await;
    console.say("set state", &json!(["start"])).await;
    let uid: u32 = console.line("2").await.trim().parse().unwrap();
    let files = deck.files(&server);
    for path in ["", "world", "world/level", "world/out"] {
        assert_eq!(std::fs::symlink_metadata(files.join(path)).unwrap().uid(), uid, "{path}");
    }
    assert_eq!(std::fs::metadata(&outside).unwrap().uid(), 0);
    assert_eq!(std::fs::metadata(outside.join("secret")).unwrap().uid(), 0);
    // It is adopted by the next daemon with what its shim says of it.
    let before = extra(&deck, &server).await;
    deck.kill().await;
    deck.up_again().await;
    let after = extra(&deck, &server).await;
    assert_eq!((&after["pid"], &after["isolation"]), (&before["pid"], &before["isolation"]));
    // And it keeps its user.
    let mut console = Socket::console(&deck, &server).await;
    console.say("send command", &json!(["end"])).await;
    console.status("offline").await;
    console.say("set state", &json!(["start"])).await;
    console.status("running").await;
    let pid = extra(&deck, &server).await["pid"].as_u64().unwrap();
    assert_eq!(std::fs::metadata(format!("/proc/{pid}")).unwrap().uid(), uid);
}

/// Files that a definition brings, and what an administrator puts there, are the game's to change.
#[tokio::test]
async fn what_is_put_into_the_folder_belongs_to_the_game() {
    let deck = Deck::isolated("", true).await;
    let server = deck
        .create(
            json!({ "command": "/bin/sh -c 'echo more >> server.jar && echo written; read x'", "ready": "written" }),
        )
        .await;
    let jar = deck.files(&server).join("server.jar");
    std::fs::write(&jar, "x").unwrap();
    std::fs::set_permissions(&jar, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    start(&deck, &server).await;
    assert_eq!(std::fs::read_to_string(&jar).unwrap(), "xmore\n");
}

/// A program in a place that games may not read is named as such, and a setting opens the place.
#[tokio::test]
async fn a_program_elsewhere_takes_a_setting() {
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::set_permissions(elsewhere.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let program = elsewhere.path().join("game");
    std::fs::write(&program, "#!/bin/sh\ncat \"$(dirname \"$0\")/data\"\nread x\n").unwrap();
    std::fs::write(elsewhere.path().join("data"), "my own data\n").unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut deck = Deck::isolated("", true).await;
    deck.learn_node_token().await;
    let server = deck.create(json!({ "command": program.display().to_string(), "ready": "own data" })).await;
    if extra(&deck, &server).await["isolation"]["missing"].to_string().contains("files:") {
        return skip("a_program_elsewhere_takes_a_setting", "no Landlock here", false);
    }
    let mut console = Socket::console(&deck, &server).await;
    console.say("set state", &json!(["start"])).await;
    console.line("`readable`").await;
    deck.stop().await;
    let setting = format!("[isolation]\nreadable = [\"{}\"]\n", elsewhere.path().display());
    std::fs::write(deck.data().join("quarterdeck.toml"), setting).unwrap();
    deck.up_again().await;
    start(&deck, &server).await;
}

/// The doctor sees what a node would find, changes nothing, and fails when something is wrong.
#[tokio::test]
async fn the_doctor_tells_weaker_from_wrong() {
    let mut deck = Deck::isolated("[isolation]\noff = [\"seccomp\"]\n", false).await;
    let examine = async |deck: &Deck| {
        let done = deck.command(&["--json", "doctor"]).output().await.unwrap();
        let said: Value = serde_json::from_slice(&done.stdout).unwrap();
        (done.status.code(), said["found"].as_array().unwrap().clone())
    };
    let verdict = |found: &[Value], what: &str| {
        let of = |finding: &&Value| finding["what"] == what;
        let finding = found.iter().find(of).unwrap();
        (finding["verdict"].as_str().unwrap().to_owned(), finding["text"].as_str().unwrap().to_owned())
    };
    let (code, found) = examine(&deck).await;
    assert_eq!(code, Some(0), "{found:#?}");
    assert_eq!(verdict(&found, "shim").0, "good", "{found:#?}");
    assert_eq!(verdict(&found, "seccomp"), ("weaker".to_owned(), "off: switched off in the settings".to_owned()));
    assert_eq!(verdict(&found, "uid").0, "weaker");
    deck.stop().await;
    // A panel that is not there, and a secret that lies open.
    let node = format!("uuid = \"{NODE}\"\ntoken_id = \"i\"\ntoken = \"s\"\nremote = \"{}\"\n", deck.url());
    let path = deck.data().join("node.toml");
    std::fs::write(&path, node).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let (code, found) = examine(&deck).await;
    assert_eq!(code, Some(1), "{found:#?}");
    let (secrets, panel) = (verdict(&found, "secrets"), verdict(&found, "panel"));
    assert!(secrets.0 == "wrong" && secrets.1.contains("chmod 600"), "{secrets:?}");
    assert!(panel.0 == "wrong" && panel.1.contains(deck.url()), "{panel:?}");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    deck.up_again().await;
    let (code, found) = examine(&deck).await;
    assert_eq!((code, verdict(&found, "panel").0.as_str()), (Some(0), "good"), "{found:#?}");
}

/// What a game leaves in its temporary folder stops neither its next start nor the program, and its server can be deleted.
#[tokio::test]
async fn what_a_game_leaves_behind_stops_nothing() {
    // A tree deeper than a stack would take folder by folder, made by putting chains under each other; and a closed folder.
    const LEAVE: &str = "\
for base in $TMPDIR $HOME; do
    cd $base
    mkdir -p closed/inner; echo x > closed/inner/file; chmod 0 closed/inner closed
done
cd $TMPDIR
chain=d; for n in 1 2 3 4 5 6 7; do chain=$chain/$chain; done
for n in $(seq $CHAINS); do
    mkdir -p new/$chain
    if test -d chain; then mv chain new/$chain/next; fi
    mv new chain
done
echo left it all
";
    for unprivileged in [false, true] {
        let deck = if unprivileged { Deck::unprivileged().await } else { Deck::new().await };
        let spec = json!({ "command": "/bin/sh leave.sh", "files": { "leave.sh": LEAVE }, "crash_detection": false,
            "environment": { "CHAINS": if unprivileged { "1" } else { "160" } } });
        let server = deck.create(spec).await;
        let mut console = Socket::console(&deck, &server).await;
        console.say("set state", &json!(["start"])).await;
        console.line("left it all").await;
        console.status("offline").await;
        console.say("set state", &json!(["start"])).await;
        console.line("left it all").await;
        console.status("offline").await;
        let gone = deck.rest().delete(&format!("/api/application/servers/{server}/force")).await;
        assert_eq!(gone.status, 204, "{}", gone.text);
        // A node that takes longer than the panel waits goes on with it.
        let until = tokio::time::Instant::now() + e2e::DEADLINE;
        while deck.files(&server).parent().unwrap().exists() {
            assert!(tokio::time::Instant::now() < until, "unprivileged: {unprivileged}; it is still there");
            // sleeps: a folder says nothing of its going
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}
