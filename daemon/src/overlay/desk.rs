//! Where the reconcile loop leaves orders for the thread that keeps the ways. There is room for one: a newer one takes its
//! place, so that nothing grows however fast nodes change.

use nix::sys::eventfd::{EfdFlags, EventFd};
use offramp_core::overlay::Node;
use offramp_core::peer::Peers;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};

/// What the kernel should have the ways of.
#[derive(Debug, Clone)]
pub struct Order {
    /// This node.
    pub node: Node,
    /// The others.
    pub peers: Peers,
    /// Whether to look at what the kernel has, not only at how the peers have changed.
    pub look: bool,
}

/// Room for one order.
#[derive(Debug)]
pub struct Desk {
    order: Mutex<Option<Order>>,
    bell: EventFd,
}

impl Desk {
    /// An empty one.
    pub fn new() -> std::io::Result<Self> {
        let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self { order: Mutex::default(), bell })
    }

    /// Leaves an order in the place of an older one, whose look is still due.
    pub fn leave(&self, mut order: Order) {
        let mut slot = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        order.look |= slot.as_ref().is_some_and(|older| older.look);
        *slot = Some(order);
        drop(slot);
        let _ = self.bell.write(1); // full has rung
    }

    /// The order, if there is one.
    pub fn take(&self) -> Option<Order> {
        // First: who leaves one afterwards rings again.
        let _ = self.bell.read();
        self.order.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl AsFd for Desk {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_order_is_found_and_no_look_is_forgotten() {
        let order = |pods: &str, look| Order {
            node: Node {
                name: "n1".parse().unwrap(),
                mac: None,
                gateways: vec![pods.parse().unwrap()],
                pod_mtu: None,
            },
            peers: Peers::default(),
            look,
        };
        let desk = Desk::new().unwrap();
        assert!(desk.take().is_none());
        desk.leave(order("10.0.0.1", true));
        desk.leave(order("10.0.0.2", false));
        let taken = desk.take().unwrap();
        assert_eq!((taken.node.gateways, taken.look), (vec!["10.0.0.2".parse().unwrap()], true));
        assert!(desk.take().is_none());
        desk.leave(order("10.0.0.3", false));
        assert!(!desk.take().unwrap().look);
    }
}
