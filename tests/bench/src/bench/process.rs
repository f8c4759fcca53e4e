//! Runs a process as a runtime runs a plugin, and says what it cost.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::libc;
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

/// One call: what a runtime passes to a plugin.
pub struct Call {
    pub program: PathBuf,
    pub args: Vec<String>,
    pub env: Vec<(&'static str, String)>,
    pub stdin: Vec<u8>,
}

/// What a call cost and gave.
pub struct Done {
    /// From before the fork until after the exit.
    pub wall: Duration,
    /// User and system time of the process and of the children it waited for.
    pub cpu: Duration,
    pub stdout: Vec<u8>,
}

/// Starts the process on this thread's node and waits for its end. An exit status other than 0 is an error.
pub fn run(call: &Call) -> Result<Done, String> {
    let name = || format!("{} {}", call.program.display(), call.args.join(" "));
    let mut command = Command::new(&call.program);
    command.args(&call.args).env_clear().envs(call.env.iter().map(|(key, value)| (key, value)));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());

    let start = Instant::now();
    let mut child = command.spawn().map_err(|e| format!("start {}: {e}", name()))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(&call.stdin).map_err(|e| format!("write to {}: {e}", name()))?;
    }
    let mut stdout = Vec::with_capacity(4096);
    if let Some(mut pipe) = child.stdout.take() {
        pipe.read_to_end(&mut stdout).map_err(|e| format!("read from {}: {e}", name()))?;
    }
    let (status, usage) = wait4(&child).map_err(|e| format!("wait for {}: {e}", name()))?;
    let wall = start.elapsed();

    if status != 0 {
        let said = String::from_utf8_lossy(&stdout);
        return Err(format!("{} ended with status {status}: {said}", name()));
    }
    let cpu = duration(usage.ru_utime) + duration(usage.ru_stime);
    Ok(Done { wall, cpu, stdout })
}

fn wait4(child: &Child) -> std::io::Result<(i32, libc::rusage)> {
    let mut status = 0;
    // SAFETY: an all-zero rusage is a valid one; it is plain data.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to locals of the right type; the child was not waited for before.
    let waited = unsafe { libc::wait4(child.id() as libc::pid_t, &mut status, 0, &mut usage) };
    if waited < 0 { Err(std::io::Error::last_os_error()) } else { Ok((status, usage)) }
}

fn duration(time: libc::timeval) -> Duration {
    Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64)
}

/// The call, started by a small helper process. A process inherits its starter's peak memory across exec
/// (`setmax_mm_hiwater_rss` in fs/exec.c), so one started by the grown harness would show the harness's.
pub fn measure_peak_rss(call: &Call) -> Result<(u64, Done), String> {
    let program = call.program.display().to_string();
    let mut args = vec!["peak-rss".to_owned(), program];
    args.extend(call.args.iter().cloned());
    let helper =
        Call { program: "/proc/self/exe".into(), args, env: call.env.clone(), stdin: call.stdin.clone() };
    let mut done = run(&helper)?;
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let (printed, last) = text.trim_end().rsplit_once('\n').unwrap_or(("", text.trim_end()));
    let peak = last.parse().map_err(|e| format!("read peak memory from {last:?}: {e}"))?;
    done.stdout = printed.as_bytes().to_vec();
    Ok((peak, done))
}

/// The helper's part: runs the command with its own stdin and environment, prints what the command
/// printed, and its peak memory in bytes as a last line.
pub fn report_peak_rss(command: &[String]) -> ExitCode {
    let Some((program, args)) = command.split_first() else { return ExitCode::FAILURE };
    let mut child = match Command::new(program).args(args).stdout(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(why) => {
            eprintln!("start {program}: {why}");
            return ExitCode::FAILURE;
        }
    };
    let mut stdout = String::new();
    let read = child.stdout.take().map(|mut pipe| pipe.read_to_string(&mut stdout));
    match (read, wait4(&child)) {
        (Some(Ok(_)), Ok((0, usage))) => {
            println!("{stdout}\n{}", usage.ru_maxrss * 1024);
            ExitCode::SUCCESS
        }
        _ => {
            println!("{stdout}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a setup command to its end.
pub fn command(program: &str, args: &[&str]) -> Result<(), String> {
    let status = Command::new(program).args(args).status().map_err(|e| format!("start {program}: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{program} {}: {status}", args.join(" "))) }
}

/// The CPU time a running process has used so far, all its threads.
pub fn cpu_so_far(pid: u32) -> Result<Duration, String> {
    let time = clock_getcpuclockid(Pid::from_raw(pid as i32))
        .and_then(|clock| clock.now())
        .map_err(|e| format!("read the CPU clock of process {pid}: {e}"))?;
    Ok(Duration::from(time))
}

/// The resident set of a running process, bytes.
pub fn resident(pid: u32) -> Result<u64, String> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("read {path}: {e}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| format!("{path} has no VmRSS"))
}
