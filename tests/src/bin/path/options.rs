//! The command line.

use std::path::PathBuf;
use std::time::Duration;

const HELP: &str = "\
Usage: hack/bench path [options]
Measures, on this machine's kernel, what connects two pods of one node: veth pairs on a bridge, netkit pairs on a bridge,
netkit routed without a bridge, and a veth pair from pod to pod. In namespaces of its own. Nothing else should run meanwhile.
  --rounds N       of each, in turn (default 10)
  --pings N        round trips of 64 bytes a round, by UDP (default 5000)
  --millis N       of one TCP connection that sends as fast as it can, a round (default 1000)
  --json FILE      where to write the JSON report (default target/bench/bench-path.json)
  --help           this text
";

/// How much is measured, and where it is written.
pub struct Options {
    pub rounds: usize,
    pub pings: usize,
    pub stream: Duration,
    pub json: Option<PathBuf>,
}

impl Options {
    /// `None` after `--help`.
    pub fn parse(args: &[String]) -> Result<Option<Self>, String> {
        let mut options = Self { rounds: 10, pings: 5000, stream: Duration::from_secs(1), json: None };
        let mut args = args.iter();
        while let Some(option) = args.next() {
            if option == "--help" || option == "-h" {
                print!("{HELP}");
                return Ok(None);
            }
            let value = args.next().ok_or_else(|| format!("{option}: unknown, or without a value"))?;
            match option.as_str() {
                "--rounds" => options.rounds = number(option, value)?,
                "--pings" => options.pings = number(option, value)?,
                "--millis" => options.stream = Duration::from_millis(number(option, value)? as u64),
                "--json" => options.json = Some(value.into()),
                _ => return Err(format!("{option}: unknown option (see --help)")),
            }
        }
        Ok(Some(options))
    }
}

fn number(option: &str, value: &str) -> Result<usize, String> {
    value
        .parse()
        .ok()
        .filter(|n| *n > 0)
        .ok_or_else(|| format!("{option} {value}: not a whole number above 0"))
}
