//! Links that come and go: looked up, and deleted.

use crate::lab::{self, BRIDGE, Pod, apply, attempt, has_link, plan_of, run, spec, undo};
use offramp_kernel::delete::Patience;
use offramp_kernel::link::index_of;

#[test]
fn a_link_is_known_by_its_name_and_alternative_name_while_it_is_there() {
    lab::enter();
    let index = |name: &str| index_of(&name.parse().unwrap()).unwrap();
    assert_eq!(index("lo"), Some(1));
    run("ip link add name here0 index 4711 type bridge");
    run("ip link property add dev here0 altname also0");
    assert_eq!((index("here0"), index("also0")), (Some(4711), Some(4711)));
    run("ip link delete here0");
    assert_eq!((index("here0"), index("also0")), (None, None));
}

#[test]
fn a_link_is_gone_at_the_notification_and_its_name_is_free() {
    lab::enter();
    let (pod, wanted) = (Pod::new(), spec(2));
    let plan = plan_of(2, &wanted);
    let mut executor = pod.executor().with_patience(Patience::Notification);
    for round in 0..30 {
        apply(&mut executor, &plan.steps).unwrap_or_else(|e| panic!("round {round}: {e}"));
        undo(&mut executor, &plan.steps);
        assert!(!has_link(wanted.host_ifname.as_str()), "round {round}: the host end is still there");
        let inside = attempt(&format!("ip -n {} link show dev eth0", pod.name)).0;
        assert!(!inside, "round {round}: the pod's end is still there");
    }
    assert!(has_link(BRIDGE));
}

#[test]
fn many_links_can_be_deleted_at_once() {
    lab::enter();
    let pods: Vec<(u8, Pod)> = (2..22).map(|n| (n, Pod::new())).collect();
    for (n, pod) in &pods {
        apply(&mut pod.executor(), &plan_of(*n, &spec(*n)).steps).unwrap();
    }
    std::thread::scope(|scope| {
        for (n, pod) in &pods {
            scope.spawn(move || {
                let mut executor = pod.executor().with_patience(Patience::Notification);
                undo(&mut executor, &plan_of(*n, &spec(*n)).steps);
                assert!(!has_link(spec(*n).host_ifname.as_str()), "pod {n}");
            });
        }
    });
}
