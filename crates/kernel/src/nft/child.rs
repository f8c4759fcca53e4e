//! `nft` as a child process.

use super::NftError;
use super::error::Refusal;
use crate::child::{die_with_caller, keep_locked};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where `nft` is looked for after PATH, which runtimes may have narrowed.
pub(super) const DIRECTORIES: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin"];

/// How long nft may take. It takes milliseconds, or seconds on a node with a hundred thousand rules.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// Runs nft in the calling thread's network namespace, which keeps `lock`; returns what it printed.
pub(super) fn run(args: &[&str], script: &str, lock: Option<BorrowedFd<'_>>) -> Result<Vec<u8>, NftError> {
    let program = find(std::env::var_os("PATH").as_deref()).ok_or(NftError::NotInstalled)?;
    let mut command = Command::new(program);
    command.args(args);
    if let Some(lock) = lock {
        keep_locked(&mut command, lock);
    }
    run_command(command, script, DEADLINE)
}

fn find(path: Option<&std::ffi::OsStr>) -> Option<PathBuf> {
    let in_path = path.into_iter().flat_map(std::env::split_paths).filter(|d| d.is_absolute());
    let executable =
        |p: &PathBuf| p.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    in_path.chain(DIRECTORIES.map(PathBuf::from)).map(|d| d.join("nft")).find(executable)
}

fn run_command(mut command: Command, script: &str, deadline: Duration) -> Result<Vec<u8>, NftError> {
    command.stdin(stdin(script)?).stdout(Stdio::piped()).stderr(Stdio::piped());
    // The C locale: its messages are read. Nothing else of the caller's environment is nft's business.
    command.env_clear().env("LC_ALL", "C");
    // A killed plugin's nft must not add what the DEL that follows has removed.
    let mut child = die_with_caller(&mut command)
        .spawn()
        .map_err(NftError::io(format!("start {}", command.get_program().display())))?;
    crate::crash::point("nft.started");
    let Output { stdout, stderr } = match collect(&mut child, Instant::now() + deadline) {
        Ok(output) => output,
        Err(e) => {
            kill(child);
            return Err(e);
        }
    };
    let status = child.wait().map_err(NftError::io("wait for nft"))?;
    crate::crash::point("nft.ended");
    if status.success() {
        return Ok(stdout);
    }
    let mut text = String::from_utf8_lossy(&stderr).into_owned();
    if text.is_empty() {
        text = status.to_string();
    }
    Err(NftError::Refused(Refusal::parse(text)))
}

/// A file in memory: unlike a pipe it never blocks the writer.
fn stdin(script: &str) -> Result<Stdio, NftError> {
    let fail = || NftError::io("write nft's script");
    let fd = memfd_create(c"nft", MFdFlags::MFD_CLOEXEC).map_err(|e| fail()(e.into()))?;
    let mut file = File::from(fd);
    file.write_all(script.as_bytes()).map_err(fail())?;
    file.rewind().map_err(fail())?;
    Ok(file.into())
}

#[derive(Default)]
struct Output {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// Reads both outputs to their end.
fn collect(child: &mut Child, deadline: Instant) -> Result<Output, NftError> {
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let mut output = Output::default();
    while out.is_some() || err.is_some() {
        let open: Vec<BorrowedFd<'_>> =
            out.iter().map(AsFd::as_fd).chain(err.iter().map(AsFd::as_fd)).collect();
        if !wait_readable(&open, deadline)? {
            return Err(NftError::Deadline);
        }
        read_ready(&mut out, &mut output.stdout)?;
        read_ready(&mut err, &mut output.stderr)?;
    }
    Ok(output)
}

fn wait_readable(fds: &[BorrowedFd<'_>], deadline: Instant) -> Result<bool, NftError> {
    let mut fds: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, timeout) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(nix::errno::Errno::EINTR) => {}
            Err(e) => return Err(NftError::io("wait for nft's output")(e.into())),
        }
    }
}

/// Reads once if there is something to read; at the end of the stream `pipe` becomes none.
fn read_ready<R: Read + AsFd>(pipe: &mut Option<R>, to: &mut Vec<u8>) -> Result<(), NftError> {
    let Some(open) = pipe else { return Ok(()) };
    if !wait_readable(&[open.as_fd()], Instant::now())? {
        return Ok(());
    }
    let mut buffer = [0; 8192];
    match open.read(&mut buffer).map_err(NftError::io("read nft's output"))? {
        0 => *pipe = None,
        n => to.extend_from_slice(&buffer[..n]),
    }
    Ok(())
}

/// A process in the middle of a system call may die later: a thread takes its exit status then.
fn kill(mut child: Child) {
    let _ = child.kill();
    std::thread::spawn(move || child.wait());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, deadline: Duration) -> Result<Vec<u8>, NftError> {
        let mut command = Command::new("/bin/sh");
        command.arg("-s");
        run_command(command, script, deadline)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn output_of_any_size_comes_whole() {
        let out = shell("head -c 300000 /dev/zero >&2; head -c 300000 /dev/zero", LONG).unwrap();
        assert_eq!(out.len(), 300_000);
    }

    #[test]
    fn a_refusal_carries_the_words() {
        let e = shell("echo why >&2; exit 1", LONG).unwrap_err();
        assert_eq!(e.to_string(), "nft refused: why");
        let e = shell("kill -9 $$", LONG).unwrap_err();
        assert_eq!(e.to_string(), "nft refused: signal: 9 (SIGKILL)");
    }

    #[test]
    fn who_does_not_end_is_killed() {
        let e = shell("exec sleep 3600", Duration::from_millis(50)).unwrap_err();
        assert!(matches!(e, NftError::Deadline), "{e}");
    }

    #[test]
    fn nft_is_found_without_path_and_only_if_executable() {
        let dir = tempfile::tempdir().unwrap();
        let nft = dir.path().join("nft");
        std::fs::write(&nft, "").unwrap();
        assert_ne!(find(Some(dir.path().as_os_str())).as_ref(), Some(&nft));
        std::fs::set_permissions(&nft, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find(Some(dir.path().as_os_str())).as_ref(), Some(&nft));
        assert_eq!(find(None), find(Some("relative:".as_ref())));
    }
}
