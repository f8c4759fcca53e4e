//! The command line.

use std::path::PathBuf;

use crate::subject::Kind;

const HELP: &str = "\
Usage: hack/bench [options]
  --rounds N          ADD and DEL of each subject at each size (default 50)
  --bursts N          bursts of 100 pods of each subject at each size (default 5)
  --pods N,N,...      pods present while measuring (default 10,250,1000; at most 1000)
  --subjects A,B,...  of floor, floor-notify, peer, inline, node (default: all that are built)
  --quick             10 rounds, 1 burst, 10 pods
  --json FILE         where to write the JSON report (hack/bench: target/bench/bench.json)
  --svg FILE          also write a chart
  --help              this text
Where the programs are (hack/bench sets these):
  --floor FILE  --peer DIR  --plugin FILE  --daemon FILE
";

/// What to measure and where to write it.
pub struct Options {
    /// ADD and DEL pairs per subject and size.
    pub rounds: usize,
    /// Bursts per subject and size.
    pub bursts: usize,
    /// How many pods are present, ascending.
    pub pods: Vec<usize>,
    /// Whom to measure.
    pub subjects: Vec<Kind>,
    /// Where the JSON report goes.
    pub json: Option<PathBuf>,
    /// Where the chart goes.
    pub svg: Option<PathBuf>,
    /// Where the programs are.
    pub programs: Programs,
}

/// The programs under test.
#[derive(Default)]
pub struct Programs {
    /// The kernel floor.
    pub floor: PathBuf,
    /// The directory of the reference plugins.
    pub peer: PathBuf,
    /// `offramp`, if built.
    pub plugin: Option<PathBuf>,
    /// `offrampd`, if built.
    pub daemon: Option<PathBuf>,
}

impl Programs {
    /// Whether the programs that this subject needs are there.
    pub fn have(&self, kind: Kind) -> bool {
        let exists = |path: &Option<PathBuf>| path.as_ref().is_some_and(|path| path.exists());
        match kind {
            Kind::Floor | Kind::FloorNotify => self.floor.exists(),
            Kind::Peer => self.peer.join("bridge").exists(),
            Kind::Inline => exists(&self.plugin),
            Kind::Node => exists(&self.plugin) && exists(&self.daemon),
        }
    }
}

impl Options {
    /// `None` after `--help`.
    pub fn parse(args: &[String]) -> Result<Option<Self>, String> {
        let mut options = Self {
            rounds: 50,
            bursts: 5,
            pods: vec![10, 250, 1000],
            subjects: Vec::new(),
            json: None,
            svg: None,
            programs: Programs::default(),
        };
        let mut args = args.iter();
        while let Some(option) = args.next() {
            match option.as_str() {
                "--help" | "-h" => {
                    print!("{HELP}");
                    return Ok(None);
                }
                "--quick" => (options.rounds, options.bursts, options.pods) = (10, 1, vec![10]),
                _ => {
                    let value =
                        args.next().ok_or_else(|| format!("{option}: unknown, or without a value"))?;
                    options.set(option, value)?;
                }
            }
        }
        options.check()?;
        Ok(Some(options))
    }

    fn set(&mut self, option: &str, value: &str) -> Result<(), String> {
        match option {
            "--rounds" => self.rounds = number(option, value)?,
            "--bursts" => self.bursts = number(option, value)?,
            "--pods" => {
                self.pods = value.split(',').map(|part| number(option, part)).collect::<Result<_, _>>()?;
                self.pods.sort_unstable();
            }
            "--subjects" => self.subjects = value.split(',').map(str::parse).collect::<Result<_, _>>()?,
            "--json" => self.json = Some(value.into()),
            "--svg" => self.svg = Some(value.into()),
            "--floor" => self.programs.floor = value.into(),
            "--peer" => self.programs.peer = value.into(),
            "--plugin" => self.programs.plugin = Some(value.into()),
            "--daemon" => self.programs.daemon = Some(value.into()),
            _ => return Err(format!("{option}: unknown option (see --help)")),
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), String> {
        if self.rounds == 0 || self.bursts == 0 {
            return Err("--rounds and --bursts: at least 1".into());
        }
        if self.pods.is_empty() || self.pods.iter().any(|pods| *pods > 1000) {
            return Err("--pods: at most 1000, a bridge holds 1023 ports".into());
        }
        if self.subjects.is_empty() {
            self.subjects = Kind::ALL.into_iter().filter(|kind| self.programs.have(*kind)).collect();
        }
        match self.subjects.iter().find(|kind| !self.programs.have(**kind)) {
            Some(missing) => Err(format!("--subjects: the program of {} is not there", missing.key())),
            None => Ok(()),
        }
    }
}

fn number(option: &str, value: &str) -> Result<usize, String> {
    value.parse().map_err(|e| format!("{option} {value}: {e}"))
}
