//! ADD and DEL of a VF, in a VM with an emulated NIC and its real driver: how long, by which steps, and how much of
//! it is the driver's. Run it by `hack/bench sriov`.

mod measure;
mod options;
mod report;
mod subject;
mod table;
mod trace;

use options::Options;

/// Measures as the command line says, prints the table and writes the JSON.
pub fn main(args: &[String]) -> Result<(), String> {
    let Some(options) = Options::parse(args)? else { return Ok(()) };
    if options.native {
        println!("{}", measure::any_call(&options.plugin)?);
        return Ok(());
    }
    let report = measure::run(&options)?;
    print!("{}", table::render(&report));
    if let Some(path) = &options.json {
        let json = serde_json::to_string_pretty(&report).map_err(|e| format!("encode the report: {e}"))?;
        std::fs::write(path, json + "\n").map_err(|e| format!("write {}: {e}", path.display()))?;
    }
    Ok(())
}
