//! A disk without space: what is answered is what is kept, and all is well when there is space again. On a small file system in
//! memory of its own; needs the right to mount and says so when it is missing.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use panel::Panel;
use serde_json::json;
use tempfile::TempDir;

use crate::ground::Ground;

/// More changes than fit into the space that the database had already when the disk became full.
const CHANGES_MAX: usize = 60;

/// A file system of 8 MiB; unmounted when dropped.
struct Disk(TempDir);

impl Disk {
    #[allow(clippy::print_stderr)] // A skipped test must say so.
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m", "quarterdeck-test"])
            .arg(dir.path())
            .output()
            .is_ok_and(|output| output.status.success());
        if !mounted {
            eprintln!("skipped: no right to mount a file system in memory");
        }
        mounted.then_some(Self(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all the space that is left.
    fn fill(&self) {
        let mut file = fs::File::create(self.path().join("filler")).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
    }

    fn make_room(&self) {
        fs::remove_file(self.path().join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the database may still be open when a test fails.
        let _ = Command::new("umount").arg("-l").arg(self.path()).output();
    }
}

async fn ground_on(disk: &Disk) -> Ground {
    Ground::with(|config| config.database = disk.path().join("panel.sqlite")).await
}

/// Makes an account; whether it was said to be there, after checking that this is so.
async fn makes_account(ground: &Ground, name: &str) -> bool {
    let body = json!({ "username": name, "email": format!("{name}@example.org") });
    let made = ground.send("POST", "/api/application/users", &ground.admin.key, &body).await;
    let found = ground.get(&format!("/api/application/users/{name}"), &ground.admin.key).await;
    match made.status {
        201 => assert_eq!(found.status, 200, "{name} was made and is not there"),
        503 => {
            assert_eq!(found.status, 404, "{name} was refused and is there");
            assert!(made.text().contains("the disk of its database is full"), "{}", made.text());
        }
        other => panic!("{other}: {}", made.text()),
    }
    made.status == 201
}

/// Makes a key; whether it was said to be there, after checking that it opens something.
async fn makes_key(ground: &Ground, memo: &str) -> bool {
    let body = json!({ "description": memo });
    let made = ground.send("POST", "/api/client/account/api-keys", &ground.admin.key, &body).await;
    if made.status == 503 {
        return false;
    }
    assert_eq!(made.status, 200, "{}", made.text());
    let made = made.json();
    let [identifier, secret] = [&made["attributes"]["identifier"], &made["meta"]["secret_token"]];
    let key = format!("{}{}", identifier.as_str().unwrap(), secret.as_str().unwrap());
    assert_eq!(ground.get("/api/client", &key).await.status, 200, "the key {memo} opens nothing");
    let gone = ground.ask("DELETE", &format!("/api/client/account/api-keys/{}", &key[..16]), &ground.admin.key).await;
    assert!(matches!(gone.status, 204 | 503), "{}", gone.text());
    true
}

#[tokio::test]
async fn what_was_answered_on_a_full_disk_is_what_is_kept() {
    let Some(disk) = Disk::new() else { return };
    let ground = ground_on(&disk).await;
    assert!(makes_account(&ground, "before").await && makes_key(&ground, "before").await);
    disk.fill();
    let mut kept = vec!["admin".to_owned(), "before".to_owned()];
    let mut refused = 0;
    for number in 0..CHANGES_MAX {
        let name = format!("full{number}");
        if makes_account(&ground, &name).await {
            kept.push(name);
        } else {
            refused += 1;
        }
        if refused >= 5 {
            break;
        }
    }
    assert!(refused >= 3, "the disk was not full");
    let gone = ground.ask("DELETE", "/api/application/users/before", &ground.admin.key).await;
    assert_eq!(gone.status, 503, "{}", gone.text());

    disk.make_room();
    for number in 0..3 {
        let name = format!("free{number}");
        assert!(makes_account(&ground, &name).await, "{name}");
        assert!(makes_key(&ground, &name).await, "{name}");
        kept.push(name);
    }
    assert_eq!(ground.ask("DELETE", "/api/application/users/before", &ground.admin.key).await.status, 204);
    assert_eq!(ground.get("/api/application/users/before", &ground.admin.key).await.status, 404);
    kept.retain(|name| name != "before");

    // And the file has it, not only this process.
    let Ground { panel, dir: _dir, node: _node, .. } = ground;
    panel.close().await;
    let panel = Panel::open(panel::Config::new(disk.path().join("panel.sqlite"))).await.unwrap();
    for name in kept {
        let again = panel.create_admin(&name, "somebody@example.org", None).await;
        assert!(again.is_err_and(|error| error.to_string().contains("username")), "{name} is gone after a restart");
    }
    panel.close().await;
}

#[tokio::test]
async fn no_key_is_handed_out_that_is_not_kept() {
    let Some(disk) = Disk::new() else { return };
    let ground = ground_on(&disk).await;
    // Used once, so that no other change comes between.
    assert_eq!(ground.get("/api/client", &ground.admin.key).await.status, 200);
    disk.fill();
    let mut refused = 0;
    for number in 0..CHANGES_MAX {
        refused += usize::from(!makes_key(&ground, &format!("full{number}")).await);
        if refused >= 3 {
            break;
        }
    }
    assert!(refused >= 3, "the disk was not full");
    disk.make_room();
    assert!(makes_key(&ground, "free").await);
}

#[tokio::test]
async fn keys_work_on_a_full_disk() {
    let Some(disk) = Disk::new() else { return };
    let ground = ground_on(&disk).await;
    // Never used before: its first use would be written down.
    let mut fresh = Vec::new();
    for memo in ["one", "two"] {
        fresh.push(ground.panel.create_client_key(ground.admin.user.uuid, memo).await.unwrap());
    }
    disk.fill();
    let mut refused = 0;
    for number in 0..CHANGES_MAX {
        refused += usize::from(!makes_account(&ground, &format!("full{number}")).await);
        if refused >= 3 {
            break;
        }
    }
    assert!(refused >= 3, "the disk was not full");
    for key in fresh {
        let answer = ground.get("/api/client", &key).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}
