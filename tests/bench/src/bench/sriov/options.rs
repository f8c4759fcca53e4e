//! The command line.

use std::path::PathBuf;

const HELP: &str = "\
Usage: hack/bench sriov [options]
Boots a VM with an emulated igb and measures ADD and DEL of a VF in it: VLAN 100, IPv4.
  --rounds N       timed ADDs and DELs of each subject, and half as many that are traced (default 20)
  --sriov-cni FILE the peer: measured side by side, with host-local; default: a given scale
  --kernel LINE    the VM's kernel, 7.3 (default) or 6.12
  --json FILE      where to write the JSON report (default target/bench/bench-sriov.json)
  --help           this text
";

/// What to measure, and by which programs.
pub struct Options {
    pub rounds: usize,
    pub plugin: PathBuf,
    pub daemon: PathBuf,
    pub peer: Option<PathBuf>,
    pub json: Option<PathBuf>,
    /// What any call costs on the machine itself, ms.
    pub any_call: f64,
    /// To measure that, and nothing else.
    pub native: bool,
}

impl Options {
    /// `None` after `--help`.
    pub fn parse(args: &[String]) -> Result<Option<Self>, String> {
        let mut options = Self {
            rounds: 20,
            plugin: PathBuf::new(),
            daemon: PathBuf::new(),
            peer: None,
            json: None,
            any_call: 0.0,
            native: false,
        };
        let mut args = args.iter();
        while let Some(option) = args.next() {
            if option == "--help" || option == "-h" {
                print!("{HELP}");
                return Ok(None);
            }
            if option == "--native" {
                options.native = true;
                continue;
            }
            let value = args.next().ok_or_else(|| format!("{option}: unknown, or without a value"))?;
            match option.as_str() {
                "--rounds" => options.rounds = value.parse().map_err(|e| format!("{option} {value}: {e}"))?,
                "--plugin" => options.plugin = value.into(),
                "--daemon" => options.daemon = value.into(),
                "--sriov-cni" => options.peer = Some(value.into()),
                "--json" => options.json = Some(value.into()),
                "--any-call" => {
                    options.any_call = value.parse().map_err(|e| format!("{option} {value}: {e}"))?;
                }
                _ => return Err(format!("{option}: unknown option (see --help)")),
            }
        }
        if options.rounds == 0 {
            return Err("--rounds: at least 1".into());
        }
        if !options.native && (!options.any_call.is_finite() || options.any_call <= 0.0) {
            return Err(
                "--any-call: hack/bench sriov measures it, by --native, before it boots the VM".into()
            );
        }
        Ok(Some(options))
    }
}
