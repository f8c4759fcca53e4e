//! Kubelet restarts, the daemon restarts, the node reboots: in every order, while a pod has a VF.

use crate::node::{FAST, Holder, Wired};
use offramp_core::nic::PciAddr;
use offramp_ledger::Store;
use offramp_tests::kubelet::{Kubelet, PodSpec};
use offramp_tests::{Daemon, Sysfs, until};

#[derive(Debug, Clone, Copy)]
enum Event {
    Kubelet,
    Daemon,
    /// Nothing that runs is left, nor what is in memory. The daemon is back before kubelet, or after it.
    Reboot {
        daemon_first: bool,
    },
}

struct Scene<'a> {
    w: &'a Wired,
    kubelet: Kubelet,
    daemon: Option<Daemon<'a>>,
    /// The pod, and its sandbox with VF 0 of nic0.
    pod: PodSpec,
    sandbox: Option<Holder>,
}

impl Scene<'_> {
    fn happens(&mut self, event: Event) {
        match event {
            Event::Kubelet => self.kubelet.start(),
            Event::Daemon => {
                let before = self.kubelet.registrations(FAST);
                self.daemon.take().unwrap().kill();
                self.daemon = Some(self.w.daemon());
                until("the new one to register", || self.kubelet.registrations(FAST) > before);
            }
            Event::Reboot { daemon_first } => {
                self.kubelet.stop();
                self.daemon.take().unwrap().kill();
                self.sandbox = None;
                std::fs::remove_dir_all(self.w.node.state()).unwrap();
                if daemon_first {
                    self.daemon = Some(self.w.daemon());
                    self.kubelet.start();
                } else {
                    self.kubelet.start();
                    // What becomes of a pod without a controller that kubelet looks at now.
                    let error = self.kubelet.readmit(&self.pod).unwrap_err();
                    assert!(error.contains("unregistered"), "{error}");
                    self.daemon = Some(self.w.daemon());
                }
                self.kubelet.wait_for_healthy(FAST, 5);
                self.kubelet.readmit(&self.pod).unwrap();
                self.sandbox = Some(self.w.hold(&self.pod, 1, 0));
            }
        }
    }

    fn check(&self, after: &str) {
        self.kubelet.wait_for_healthy(FAST, 5);
        let claims = Store::at(self.w.node.state()).claims();
        let vf: PciAddr = Sysfs::vf(1, 0).parse().unwrap();
        let claim = claims.read(vf).unwrap().expect("its sandbox has it");
        assert!(!claim.in_quarantine() && claim.pod.unwrap().name == "web", "{after}");
        // All that is left is somebody else's to have, and no more.
        let others = PodSpec::new("default/others").requests(FAST, 4);
        let ids = self.kubelet.admit(&others).unwrap().remove(0).ids;
        assert!(!ids.contains(&Sysfs::vf(1, 0)), "{after}: {ids:?}");
        let late = PodSpec::new("default/late").requests(FAST, 1);
        assert!(self.kubelet.admit(&late).unwrap_err().contains("available 0"), "{after}");
        self.kubelet.forget(&others);
    }
}

/// Of the three, with this reboot.
fn orders(daemon_first: bool) -> [[Event; 3]; 6] {
    let (k, d, r) = (Event::Kubelet, Event::Daemon, Event::Reboot { daemon_first });
    [[k, d, r], [k, r, d], [d, k, r], [d, r, k], [r, k, d], [r, d, k]]
}

fn a_vf_has_its_holder_after(order: [Event; 3]) {
    let w = Wired::new();
    let (kubelet, daemon) = w.registered();
    let pod = PodSpec::new("default/web").requests(FAST, 1);
    assert_eq!(kubelet.admit(&pod).unwrap()[0].ids, [Sysfs::vf(1, 0)]);
    let sandbox = Some(w.hold(&pod, 1, 0));
    let mut scene = Scene { w: &w, kubelet, daemon: Some(daemon), pod, sandbox };
    for (i, event) in order.into_iter().enumerate() {
        scene.happens(event);
        scene.check(&format!("{:?}", &order[..=i]));
    }
    // The pod ends: its VF is the next one's.
    scene.sandbox = None;
    scene.kubelet.forget(&scene.pod);
    scene.kubelet.wait_for_healthy(FAST, 5);
    let next = PodSpec::new("default/next").requests(FAST, 1);
    assert_eq!(scene.kubelet.admit(&next).unwrap()[0].ids, [Sysfs::vf(1, 0)], "{order:?}");
}

#[test]
fn with_a_reboot_after_which_the_daemon_comes_first() {
    orders(true).into_iter().for_each(a_vf_has_its_holder_after);
}

#[test]
fn with_a_reboot_after_which_kubelet_comes_first() {
    orders(false).into_iter().for_each(a_vf_has_its_holder_after);
}
