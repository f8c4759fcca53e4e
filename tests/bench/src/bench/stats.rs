//! Order statistics.

use serde::Serialize;

/// A measured series, in the order of measuring.
#[derive(Clone, Default)]
pub struct Series(Vec<f64>);

/// What a report says about a series.
#[derive(Clone, Copy, Serialize)]
pub struct Summary {
    pub p50: f64,
    pub p95: f64,
    pub min: f64,
    pub samples: usize,
}

impl Series {
    /// Adds one sample.
    pub fn push(&mut self, sample: f64) {
        self.0.push(sample);
    }

    /// The summary, by nearest rank; `None` of an empty series.
    pub fn summary(&self) -> Option<Summary> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = |share: f64| {
            let rank = (share * sorted.len() as f64).ceil() as usize;
            round(sorted[rank.clamp(1, sorted.len()) - 1])
        };
        (!sorted.is_empty()).then(|| Summary {
            p50: rank(0.5),
            p95: rank(0.95),
            min: rank(0.0),
            samples: sorted.len(),
        })
    }
}

/// To microseconds, when the unit is milliseconds.
fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_nearest() {
        let mut series = Series::default();
        (1..=20).rev().for_each(|sample| series.push(f64::from(sample)));
        let summary = series.summary().unwrap();
        assert_eq!((summary.min, summary.p50, summary.p95), (1.0, 10.0, 19.0));
        assert!(Series::default().summary().is_none());
    }
}
