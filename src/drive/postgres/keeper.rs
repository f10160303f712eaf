//! Nothing is left behind: a tiny process that cleans up when this one is gone, however it went.
//!
//! Destructors do not run on SIGINT, SIGTERM or SIGKILL, nor for a `static`. A keeper is a `sh` that waits for the end of
//! its standard input, whose other end only this process holds. When this process ends in any way the kernel closes that
//! end and the keeper does its work. After an orderly clean-up it is dismissed.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// A process that waits for this one to end.
#[derive(Debug)]
pub(super) struct Keeper {
    child: Child,
}

impl Keeper {
    /// Starts a keeper that will run `script` with `$1`, `$2`, ... = `args`.
    ///
    /// It has a process group of its own and ignores the terminal's signals, so that Ctrl-C does not take it down with us.
    pub(super) fn start<S: AsRef<OsStr>>(
        script: &str,
        args: impl IntoIterator<Item = S>,
        configure: impl FnOnce(&mut Command),
    ) -> io::Result<Keeper> {
        let mut command = Command::new("/bin/sh");
        command
            .arg("-c")
            .arg(format!("trap '' INT TERM HUP; cat >/dev/null; {script}"))
            .arg("deadheat-keeper")
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        configure(&mut command);
        let child = command.spawn()?;
        Ok(Keeper { child })
    }

    /// Sends it away: what it guards has been cleaned up.
    pub(super) fn dismiss(mut self) {
        // Killed before its standard input closes, so that the script does not run. Both calls fail only if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::Keeper;

    #[test]
    fn a_keeper_acts_when_its_owner_goes_and_not_when_it_is_dismissed() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for (name, dismissed) in [("acted", false), ("idle", true)] {
            let mark = dir.path().join(name);
            let mut keeper = Keeper::start(": >\"$1\"", [&mark], |_| ()).expect("sh starts");
            if dismissed {
                keeper.dismiss();
            } else {
                // What the kernel does to our end of the pipe when this process dies.
                drop(keeper.child.stdin.take());
                keeper.child.wait().expect("the keeper ends");
            }
            assert_eq!(mark.exists(), !dismissed, "{name}");
        }
    }
}
