//! Which system calls the NIC's drivers made long, by the kernel's own function trace. It costs little, unlike a
//! debugger's, and says by itself what the driver was called for.

use std::collections::BTreeSet;
use std::path::PathBuf;

/// Everything of these modules, and what the core does to a link as a whole.
const TRACED: [&str; 7] = [
    "*:mod:igb",
    "*:mod:igbvf",
    "__dev_change_net_namespace",
    "pci_reset_function",
    "device_driver_attach",
    "device_driver_detach",
    "sriov_numvfs_store",
];
/// These only read: a call that asks for no more is not the driver's.
const ONLY_READ: [&str; 4] =
    ["igb_get_stats64", "igb_ndo_get_vf_config", "igb_get_drvinfo", "igbvf_get_drvinfo"];
const CALLS: [&str; 4] = ["sendmsg", "sendto", "write", "ioctl"];

/// A system call in which a driver was at work.
#[derive(Debug, Clone, PartialEq)]
pub struct Bound {
    /// The system call, and what the kernel's core asked of the drivers, in order.
    pub what: String,
    /// Seconds of the monotonic clock.
    pub from: f64,
    pub to: f64,
}

impl Bound {
    pub fn ms(&self) -> f64 {
        (self.to - self.from) * 1000.0
    }
}

/// Milliseconds in which at least one of them ran.
pub fn covered(calls: &[Bound]) -> f64 {
    let mut spans: Vec<(f64, f64)> = calls.iter().map(|c| (c.from, c.to)).collect();
    spans.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut sum, mut until) = (0.0, f64::MIN);
    for (from, to) in spans {
        sum += (to - from.max(until)).max(0.0);
        until = until.max(to);
    }
    sum * 1000.0
}

/// The kernel's trace, on until dropped.
pub struct Trace {
    dir: PathBuf,
}

impl Trace {
    /// Sets it up, switched off.
    pub fn new() -> Result<Self, String> {
        let trace = Self { dir: "/sys/kernel/debug/tracing".into() };
        trace.write("trace_clock", "mono")?;
        trace.write("buffer_size_kb", "32768")?;
        trace.write("set_ftrace_filter", "")?;
        for function in TRACED {
            trace.append("set_ftrace_filter", function)?;
        }
        for call in CALLS {
            for end in ["enter", "exit"] {
                trace.write(&format!("events/syscalls/sys_{end}_{call}/enable"), "1")?;
            }
        }
        trace.write("tracing_on", "0")?;
        trace.write("current_tracer", "function")?;
        Ok(trace)
    }

    /// What is the drivers' of all system calls while `work` runs, and until `work` has ended.
    pub fn of<T>(&self, work: impl FnOnce() -> Result<T, String>) -> Result<(T, Vec<Bound>), String> {
        self.write("trace", "")?;
        self.write("tracing_on", "1")?;
        let outcome = work();
        self.write("tracing_on", "0")?;
        let path = self.dir.join("trace");
        let text = std::fs::read_to_string(&path).map_err(|e| format!("read {}: {e}", path.display()))?;
        Ok((outcome?, parse(&text)))
    }

    fn write(&self, file: &str, value: &str) -> Result<(), String> {
        let path = self.dir.join(file);
        std::fs::write(&path, value).map_err(|e| format!("write {value:?} to {}: {e}", path.display()))
    }

    fn append(&self, file: &str, value: &str) -> Result<(), String> {
        use std::io::Write as _;
        let path = self.dir.join(file);
        let failed = |e| format!("append {value:?} to {}: {e}", path.display());
        let mut file = std::fs::OpenOptions::new().append(true).open(&path).map_err(failed)?;
        file.write_all(value.as_bytes()).map_err(failed)
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = self.write("current_tracer", "nop");
    }
}

/// A line: `TASK-PID [CPU] FLAGS SECONDS: EVENT`.
struct Line<'a> {
    task: &'a str,
    in_interrupt: bool,
    seconds: f64,
    event: &'a str,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (head, event) = line.trim().split_once(": ")?;
        let mut words = head.split_whitespace().rev();
        let seconds = words.next()?.parse().ok()?;
        let flags = words.next()?;
        words.next()?;
        let in_interrupt = flags.contains(['h', 'H', 's', 'z', 'Z']);
        Some(Self { task: head.split(" [").next()?.trim(), in_interrupt, seconds, event })
    }

    /// The function and its caller.
    fn function(&self) -> Option<(&'a str, &'a str)> {
        self.event.split_once(" <-")
    }

    fn enters(&self) -> Option<&'a str> {
        self.event.strip_prefix("sys_")?.split_once('(').map(|(call, _)| call)
    }

    fn leaves(&self) -> bool {
        self.event.starts_with("sys_") && self.event.contains(" -> ")
    }
}

/// A system call that has not returned.
struct Open<'a> {
    task: &'a str,
    call: &'a str,
    since: f64,
    asked: Vec<&'a str>,
}

/// Those calls in which a traced function ran, but for calls that had begun before the trace, or had not ended.
fn parse(text: &str) -> Vec<Bound> {
    let lines: Vec<Line<'_>> = text.lines().filter(|l| !l.starts_with('#')).filter_map(Line::parse).collect();
    let own: BTreeSet<&str> = lines.iter().filter_map(|l| l.function()).map(|(name, _)| name).collect();
    let (mut open, mut bound) = (Vec::<Open<'_>>::new(), Vec::new());
    for line in lines.iter().filter(|l| !l.in_interrupt) {
        let at = open.iter().position(|o| o.task == line.task);
        match (line.enters(), line.function(), at) {
            (Some(call), _, None) => {
                open.push(Open { task: line.task, call, since: line.seconds, asked: Vec::new() });
            }
            (_, Some((name, caller)), Some(at)) if !own.contains(caller) && !ONLY_READ.contains(&name) => {
                open[at].asked.push(name);
            }
            (_, _, Some(at)) if line.leaves() => {
                let Open { call, since, asked, .. } = open.swap_remove(at);
                if !asked.is_empty() {
                    let what = format!("{call}: {}", distinct(&asked).join(", "));
                    bound.push(Bound { what, from: since, to: line.seconds });
                }
            }
            _ => {}
        }
    }
    bound
}

fn distinct<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let mut seen = BTreeSet::new();
    names.iter().copied().filter(|name| seen.insert(*name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_the_drivers_if_it_was_asked_meanwhile() {
        let text = "\
# tracer: function
         offramp-71      [000] .....    10.000000: sys_sendmsg(fd: 3, msg: 7ffd, flags: 0)
         offramp-71      [000] .....    10.001000: igb_ndo_set_vf_vlan <-do_setlink
         offramp-71      [000] .....    10.002000: igb_rd32 <-igb_ndo_set_vf_vlan
    daemon work-9        [000] .....    10.002500: sys_write(fd: 5, buf: 55, count: 9)
          <idle>-0       [000] d.h1.    10.002600: igbvf_intr_msix_rx <-__handle_irq_event_percpu
    daemon work-9        [000] .....    10.003000: sys_write -> 0x9
         offramp-71      [000] .....    10.004000: sys_sendmsg -> 0x20
         offramp-71      [000] .....    10.005000: sys_sendmsg(fd: 3, msg: 7ffd, flags: 0)
         offramp-71      [000] .....    10.005100: igb_get_stats64 <-dev_get_stats
         offramp-71      [000] .....    10.005200: igb_update_stats <-igb_get_stats64
         offramp-71      [000] d.h1.    10.006000: igbvf_intr_msix_rx <-__handle_irq_event_percpu
         offramp-71      [000] .....    10.007000: sys_sendmsg -> 0x20
";
        let found = parse(text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].what, "sendmsg: igb_ndo_set_vf_vlan");
        assert!((found[0].ms() - 4.0).abs() < 1e-6);
    }

    #[test]
    fn what_ran_at_the_same_time_counts_once() {
        let span = |from, to| Bound { what: String::new(), from, to };
        let sum = covered(&[span(5.0, 6.0), span(1.0, 3.0), span(2.0, 4.0), span(2.5, 2.6)]);
        assert!((sum - 4000.0).abs() < 1e-6, "{sum}");
    }
}
