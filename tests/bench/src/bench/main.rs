//! Measures whole processes as a container runtime runs them: the kernel's floor, the reference plugins and
//! Offramp, interleaved in one run, each on a node of its own. Run it by `hack/bench`, which gives it
//! namespaces to work in.

mod chart;
mod limits;
mod measure;
mod node;
mod options;
mod process;
mod report;
mod sriov;
mod stats;
mod subject;
mod table;

use std::process::ExitCode;

use options::Options;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("peak-rss", command)) = args.split_first().map(|(verb, rest)| (verb.as_str(), rest)) {
        return process::report_peak_rss(command);
    }
    let outcome = match args.split_first() {
        Some((verb, rest)) if verb == "sriov" => sriov::main(rest),
        _ => Options::parse(&args).and_then(|options| options.map_or(Ok(()), |options| run(&options))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let report = measure::run(options)?;
    print!("{}", table::render(&report));
    if let Some(path) = &options.json {
        let json = serde_json::to_string_pretty(&report).map_err(|e| format!("encode the report: {e}"))?;
        std::fs::write(path, json + "\n").map_err(|e| format!("write {}: {e}", path.display()))?;
        println!("JSON: {}", path.display());
    }
    if let Some(path) = &options.svg {
        std::fs::write(path, chart::render(&report)).map_err(|e| format!("write {}: {e}", path.display()))?;
        println!("chart: {}", path.display());
    }
    Ok(())
}
