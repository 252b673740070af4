//! A small file system in memory, which can be filled, and system calls of one process that can be made to fail.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const FILLER: &str = "filler";

/// Mounted on a folder; unmounted when dropped.
pub(crate) struct Disk(PathBuf);

impl Disk {
    /// So many MiB on this folder.
    ///
    /// # Panics
    /// Without the right to mount.
    pub(crate) async fn on(folder: &Path, mib: u32) -> Self {
        fs::create_dir_all(folder).expect("a folder to mount on");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={mib}m,mode=755"), "quarterdeck-torture"]).arg(folder);
        let mounted = mount.output().await.expect("`mount` can be run");
        assert!(mounted.status.success(), "no right to mount: {}", String::from_utf8_lossy(&mounted.stderr));
        Self(folder.to_owned())
    }

    /// Takes all the space that is left.
    pub(crate) fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.0.join(FILLER)).expect("a file");
        while file.write_all(&[1; 4096]).is_ok() {}
        while file.write_all(&[1; 1]).is_ok() {}
    }

    /// Gives it back.
    pub(crate) fn make_room(&self) {
        fs::remove_file(self.0.join(FILLER)).expect("it was filled");
    }

    /// Whether it can be written to, for those who open files from now on: what is open stays open.
    pub(crate) async fn is_read_only(&self, yes: bool) {
        let mut mount = Command::new("mount");
        mount.args(["-o", if yes { "remount,ro" } else { "remount,rw" }]).arg(&self.0);
        let done = mount.output().await.expect("`mount` can be run");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: whoever still has it open keeps it.
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// Some system calls of a process fail as long as this is there.
pub(crate) struct Failing(Child);

impl Failing {
    /// Lets these calls (`writev,openat`) of a process fail with this error (`EIO`).
    ///
    /// # Panics
    /// When it cannot be traced: `strace` is not installed, or there is no right to.
    pub(crate) async fn calls(pid: i32, calls: &str, error: &str) -> Self {
        let mut strace = Command::new("strace");
        strace.args([
            "-p",
            &pid.to_string(),
            "-e",
            &format!("trace={calls}"),
            "-e",
            &format!("inject={calls}:error={error}"),
        ]);
        let mut child = (strace.stderr(Stdio::piped()).stdout(Stdio::null()).kill_on_drop(true))
            .spawn()
            .expect("`strace` is installed (apt-get install strace)");
        let mut lines = BufReader::new(child.stderr.take().expect("its output")).lines();
        let first = tokio::time::timeout(e2e::DEADLINE, lines.next_line()).await;
        let Ok(Ok(Some(first))) = first else { panic!("strace says nothing") };
        assert!(first.contains("attached"), "{first}");
        // Its output is read to its end, so that it never waits for us.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self(child)
    }

    /// Lets them work again.
    pub(crate) async fn end(mut self) {
        if let Some(pid) = self.0.id().and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).unwrap_or(0))) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        }
        let _ = self.0.wait().await;
    }
}
