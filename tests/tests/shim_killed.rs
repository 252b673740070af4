//! A shim is killed: its game is asked to end and gets to save, nothing of it stays whatever it is, the loss is shown, and the next start
//! goes on with the numbers.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use e2e::{DEADLINE, Deck, Socket, processes};
use futures_util::future::join_all;
use serde_json::json;

/// What games do to get away. `WORD` stands in the arguments of each of their processes.
const GAMES: [(&str, &str); 5] = [
    ("plain", "{{QUARTERDECK}} fakegame play --rate 50 --ready-line 'Done WORD'"),
    (
        "children with sessions",
        "{{QUARTERDECK}} fakegame play --rate 50 --fork-children 3 --setsid --ready-line 'Done WORD'",
    ),
    (
        "deaf",
        "{{QUARTERDECK}} fakegame play --rate 50 --ignore-signals TERM,INT,HUP --stop-command '' --ready-line 'Done WORD'",
    ),
    (
        "children of a deaf one that have forgotten who they are",
        "(env -i setsid sh -c 'trap \"\" TERM HUP; sleep 3600.WORD & sleep 3600.WORD & wait; : WORD' &); \
         env -i setsid --fork sleep 3600.WORD; trap '' HUP TERM; echo Done; sleep 3600.WORD & wait; sleep 3600.WORD",
    ),
    ("itself without an environment", "echo Done; exec env -i sleep 3600.WORD"),
];

struct Game {
    name: String,
    server: String,
    word: String,
    console: Socket,
    next_line: u64,
}

async fn quarterdeck(deck: &Deck, server: &str) -> serde_json::Value {
    deck.details(server).await["quarterdeck"].clone()
}

async fn start(deck: &Deck, (name, command): (&str, &str), console: &str) -> Game {
    // A number, because that is what `sleep` takes.
    let word = format!("{:012}", u64::from(rand()) << 8 | 1);
    let spec = json!({ "command": command.replace("WORD", &word), "ready": "Done", "console": console, "crash_detection": false });
    let server = deck.create(spec).await;
    let mut socket = Socket::console(deck, &server).await;
    socket.say("set state", &json!(["start"])).await;
    socket.status("running").await;
    // Seen, as a game is that did not begin this moment.
    for _ in 0..2 {
        socket.wait_for("a sample", |heard| heard.is("stats")).await;
    }
    Game { name: format!("{name}, {console}"), server, word, console: socket, next_line: 0 }
}

fn rand() -> u32 {
    u32::from_le_bytes(tempfile::Builder::new().rand_bytes(4).make(|path| Ok(path.to_owned())).map_or([7; 4], |name| {
        let name = name.path().file_name().unwrap().as_encoded_bytes().to_vec();
        name[name.len() - 4..].try_into().unwrap()
    }))
}

/// Kills the shims of all games at once, and sees what becomes of each.
async fn nothing_stays(deck: Deck) {
    deck.learn_node_token().await;
    let pairs = GAMES.into_iter().flat_map(|game| [(game, "pty"), (game, "pipe")]);
    let mut games = join_all(pairs.map(|(game, console)| start(&deck, game, console))).await;
    for game in &mut games {
        let known = quarterdeck(&deck, &game.server).await;
        game.next_line = known["next_line"].as_u64().unwrap();
        assert!(!processes::with_word(&game.word).is_empty(), "{}", game.name);
        processes::kill(processes::holder(known["pid"].as_u64().unwrap()));
    }
    for game in &mut games {
        game.console.status("offline").await;
        // Whoever is told that it is offline can rely on it.
        assert_eq!(processes::with_word(&game.word), Vec::<u64>::new(), "{}", game.name);
        let loss = "process that held the game was killed";
        if !game.console.lines().iter().any(|line| line.contains(loss)) {
            game.console.line(loss).await;
        }
    }
    for game in &mut games {
        game.console.say("set state", &json!(["start"])).await;
        game.console.status("running").await;
        let lines = format!("/api/client/servers/{}/console/lines?after={}&limit=5", game.server, game.next_line - 1);
        let lines = deck.rest().get(&lines).await.ok()["attributes"]["lines"].clone();
        assert!(lines[0]["seq"].as_u64() >= Some(game.next_line), "{}: {lines}", game.name);
        game.console.say("set state", &json!(["kill"])).await;
        game.console.status("offline").await;
        assert_eq!(processes::with_word(&game.word), Vec::<u64>::new(), "{}", game.name);
    }
}

#[tokio::test]
async fn nothing_of_a_game_stays_when_its_shim_is_killed() {
    nothing_stays(Deck::new().await).await;
}

/// Without control groups.
#[tokio::test]
async fn nothing_of_a_game_stays_for_an_ordinary_user_either() {
    nothing_stays(Deck::unprivileged().await).await;
}

/// The main process of one that goes into the background ends at once, and so does all of it.
#[tokio::test]
async fn a_game_that_goes_into_the_background_does_not_stay_there() {
    for deck in [Deck::new().await, Deck::unprivileged().await] {
        let word = format!("away-{}", deck.url().rsplit(':').next().unwrap());
        let server =
            deck.game(&format!("--daemonize --rate 50 --ready-line 'Done {word}'"), json!({ "ready": "never" })).await;
        let mut console = Socket::console(&deck, &server).await;
        console.status("offline").await;
        console.say("set state", &json!(["start"])).await;
        console.line("Running in background as PID").await;
        console.status("offline").await;
        assert_eq!(processes::with_word(&word), Vec::<u64>::new());
    }
}

/// A terminal hangs up when the shim dies, before the kernel's SIGTERM comes. A game that knows nothing of hang-ups must not die of it.
#[tokio::test]
async fn a_game_saves_when_its_shim_is_killed() {
    let deck = Deck::new().await;
    deck.learn_node_token().await;
    for console in ["pty", "pipe"] {
        let command = "trap 'echo saving > saved; exit 0' TERM; echo Done; while :; do sleep 1000 & wait; done";
        let spec = json!({ "command": command, "ready": "Done", "console": console, "crash_detection": false });
        let server = deck.create(spec).await;
        let mut socket = Socket::console(&deck, &server).await;
        socket.say("set state", &json!(["start"])).await;
        socket.status("running").await;
        let told = tokio::time::Instant::now();
        processes::kill(processes::holder(quarterdeck(&deck, &server).await["pid"].as_u64().unwrap()));
        socket.status("offline").await;
        assert!(told.elapsed() < DEADLINE.min(Duration::from_secs(20)), "{:?}", told.elapsed());
        let saved = std::fs::read_to_string(deck.files(&server).join("saved"));
        assert_eq!(saved.ok().as_deref(), Some("saving\n"), "{console}");
    }
}

/// Where SIGHUP is how a game is stopped, it means what it always does.
#[tokio::test]
async fn a_game_that_is_stopped_by_a_hang_up_hears_it() {
    let deck = Deck::new().await;
    let spec =
        json!({ "command": "echo Done; exec sleep 1000", "ready": "Done", "stop": "^SIGHUP", "grace_ms": 60_000 });
    let server = deck.create(spec).await;
    let mut console = Socket::console(&deck, &server).await;
    console.say("set state", &json!(["start"])).await;
    console.status("running").await;
    console.say("set state", &json!(["stop"])).await;
    console.status("offline").await;
    deck.learn_node_token().await;
    assert_eq!(quarterdeck(&deck, &server).await["last_exit"], "killed by SIGHUP");
}
