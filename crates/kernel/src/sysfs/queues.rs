//! Which CPUs work on a link's packets (Documentation/networking/scaling.rst), as sysfs has it.

use super::{Device, Sysfs, entries};
use offramp_core::offload::CpuSteering;

impl Sysfs {
    /// Of a link by name; none if it is not the one of that number: sysfs may show another namespace's.
    pub fn cpu_steering(&self, name: &str, index: u32) -> Option<CpuSteering> {
        let link = Device::at(&self.path("class/net").join(name));
        if link.number::<u32>("ifindex") != Some(index) {
            return None;
        }
        let mut steering = CpuSteering::default();
        for queue in entries(&link.path("queues")) {
            // Of a link with one queue to send by there is no mask to read.
            let is_set = |mask: &str| link.text(format!("queues/{queue}/{mask}")).is_some_and(|m| any(&m));
            if queue.starts_with("tx-") {
                steering.tx += 1;
                steering.xps += u32::from(is_set("xps_cpus") || is_set("xps_rxqs"));
            } else if queue.starts_with("rx-") {
                steering.rx += 1;
                steering.rps += u32::from(is_set("rps_cpus"));
            }
        }
        Some(steering)
    }
}

/// Whether a mask, `00000000,0000000f`, has any bit.
fn any(mask: &str) -> bool {
    mask.chars().any(|c| !matches!(c, '0' | ','))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_with_a_mask_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let put = |file: &str, text: &str| {
            let path = dir.path().join("class/net/nic0").join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put("ifindex", "7\n");
        put("queues/tx-0/xps_cpus", "00000000,00000001\n");
        put("queues/tx-1/xps_cpus", "00000000,00000000\n");
        put("queues/tx-1/xps_rxqs", "2\n");
        put("queues/tx-2/xps_cpus", "0\n");
        put("queues/rx-0/rps_cpus", "0\n");
        put("queues/rx-1/rps_cpus", "f\n");
        let sysfs = Sysfs::at(dir.path());
        let expected = CpuSteering { xps: 2, tx: 3, rps: 1, rx: 2 };
        assert_eq!(sysfs.cpu_steering("nic0", 7), Some(expected));
        assert_eq!(sysfs.cpu_steering("nic0", 8), None, "it is another one of its name");
        assert_eq!(sysfs.cpu_steering("absent", 7), None);
    }
}
