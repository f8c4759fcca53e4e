//! What is to be reached, and whether it is.

use std::fmt;

#[derive(Default)]
pub struct Goals(Vec<String>);

impl Goals {
    pub fn at_most(&mut self, what: &str, measured: f64, limit: f64, unit: &str) {
        let verdict = if measured <= limit { "reached" } else { "MISSED" };
        self.0.push(format!("{what:<36} {measured:>7.2} {unit:<4} at most {limit:>5} {unit:<4} {verdict}"));
    }
}

impl fmt::Display for Goals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Goals")?;
        self.0.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}
