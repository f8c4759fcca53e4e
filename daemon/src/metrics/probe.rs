//! Of what NICs promise.

use crate::status::ProbeStatus;
use offramp_core::probe::Verdict;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Set just before they are read.
#[derive(Default)]
pub(super) struct ProbeMetrics {
    probes: Family<StageLabel, Gauge>,
    turned_off: Family<FeatureLabel, Gauge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabel {
    path: String,
    family: String,
    stage: String,
    verdict: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FeatureLabel {
    device: String,
    feature: String,
}

impl ProbeMetrics {
    pub(super) fn register(&self, r: &mut Registry) {
        let help = "What came of testing a kind of path: 1 at the verdict that holds";
        r.register("probe_verdict", help, self.probes.clone());
        let help = "Features that are turned off since packets did not arrive with them";
        r.register("offload_turned_off", help, self.turned_off.clone());
    }
}

impl super::Metrics {
    /// What was found, and what is turned off.
    pub fn set_probes(&self, probes: &ProbeStatus) {
        let ProbeMetrics { probes: verdicts, turned_off } = &self.probes;
        verdicts.clear();
        for (kind, stage) in probes.kinds.iter().flat_map(|k| k.stages.iter().map(move |s| (k.kind, s))) {
            for verdict in [Verdict::Works, Verdict::Faulty, Verdict::unknown("")].map(|v| v.as_str()) {
                let label = StageLabel {
                    path: kind.way.to_string(),
                    family: kind.family.to_string().to_lowercase(),
                    stage: stage.stage.to_string(),
                    verdict,
                };
                verdicts.get_or_create(&label).set(i64::from(verdict == stage.verdict.as_str()));
            }
        }
        turned_off.clear();
        for (cure, feature) in probes.cures.iter().flat_map(|c| c.features.iter().map(move |f| (c, f))) {
            let label = FeatureLabel { device: cure.device.to_string(), feature: feature.clone() };
            turned_off.get_or_create(&label).set(1);
        }
    }
}
