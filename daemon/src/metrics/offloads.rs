//! What NICs and kernel can take off the CPU. Netdevs of pods are not among them: there are a few devices a node.

use super::gauge;
use super::labels::{AbilityLabel, OffloadLabel, QueueLabel, QueueState};
use offramp_core::offload::{Answer, Offloads};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Default)]
pub(super) struct OffloadMetrics {
    offloads: Family<OffloadLabel, Gauge>,
    queues: Family<QueueLabel, Gauge>,
    abilities: Family<AbilityLabel, Gauge>,
}

impl OffloadMetrics {
    pub(super) fn register(&self, r: &mut Registry) {
        let Self { offloads, queues, abilities } = self;
        let help = "Offloads that a netdev has: 1 at work, 0 off";
        r.register("offload", help, offloads.clone());
        let help = "Queues by which a netdev receives, and the most it can have";
        r.register("nic_queues", help, queues.clone());
        let help = "What the kernel can do: 1 it can, 0 it cannot";
        r.register("kernel_ability", help, abilities.clone());
    }

    /// Devices, and answers that are not known, have no line.
    pub(super) fn set(&self, now: &Offloads) {
        let Self { offloads, queues, abilities } = self;
        offloads.clear();
        queues.clear();
        abilities.clear();
        for (name, device) in &now.devices {
            for (offload, on) in device.summary() {
                let label = OffloadLabel {
                    device: name.to_string(),
                    kind: device.kind.clone(),
                    offload: offload.as_str(),
                };
                offloads.get_or_create(&label).set(i64::from(on));
            }
            let Some((used, most)) = device.channels.map(|channels| channels.receiving()) else { continue };
            for (state, count) in [(QueueState::Used, used), (QueueState::Most, most)] {
                let label = QueueLabel { device: name.to_string(), state };
                queues.get_or_create(&label).set(gauge(u64::from(count)));
            }
        }
        for (ability, answer) in &now.kernel {
            let known = match answer {
                Answer::There => 1,
                Answer::Missing { .. } => 0,
                Answer::Unknown { .. } => continue,
            };
            abilities.get_or_create(&AbilityLabel { ability: ability.as_str() }).set(known);
        }
    }
}
