use super::*;
use proptest::prelude::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn takes(pairs: &[(Family, Packets)]) -> Takes {
    Takes(pairs.iter().copied().collect())
}

fn steer(queues: &[u32], leads: Vec<Lead>) -> SteerQueues {
    let port = PortKey { device: "0000:01:00.0".into(), port: 0 };
    SteerQueues { port, nic: "ens1f0".parse().unwrap(), queues: queues.to_vec(), leads }
}

fn to(id: u32) -> FlowTo {
    FlowTo::Context { id, plus: 0 }
}

#[test]
fn a_pod_needs_rules_for_tcp_and_udp_of_its_families_and_gets_what_else_there_is() {
    use Packets::{Rest, Tcp, Udp};
    let v4 = takes(&[(Family::V4, Tcp), (Family::V4, Udp), (Family::V6, Tcp), (Family::V6, Rest)]);
    assert_eq!(v4.lacks([Family::V4]), None);
    assert_eq!(v4.lacks(Family::ALL), Some((Family::V6, Udp)));
    let told = |takes: &Takes| -> Vec<String> {
        takes.leads([ip("10.0.0.5"), ip("fd00::5")]).iter().map(ToString::to_string).collect()
    };
    let rest = "IP other than TCP and UDP to fd00::5";
    assert_eq!(told(&v4), ["TCP to 10.0.0.5", "UDP to 10.0.0.5", "TCP to fd00::5", rest]);
    assert!(told(&Takes::default()).is_empty());
}

#[test]
fn its_own_are_what_leads_its_addresses_to_a_context_of_its_queues_alone() {
    let lead = Lead { ip: ip("10.0.0.5"), packets: Packets::Tcp };
    let other = Lead { ip: ip("10.0.0.6"), ..lead };
    let step = steer(&[4, 5], vec![lead]);
    let rule = |id, to, lead| SteerRule { id, to, lead };
    let table = |queues: &[u32]| queues.iter().copied().collect();
    let on = Steering {
        tables: [(0, table(&[4, 5])), (1, table(&[4])), (2, table(&[4, 5])), (3, table(&[4, 5, 6]))].into(),
        rules: vec![
            rule(10, to(2), Some(lead)),
            rule(11, to(9), Some(lead)),
            rule(12, to(1), Some(lead)),
            rule(13, to(0), Some(lead)),
            rule(14, to(2), Some(other)),
            rule(15, FlowTo::Queue(4), Some(lead)),
            rule(16, FlowTo::Context { id: 2, plus: 1 }, Some(lead)),
            rule(17, FlowTo::Elsewhere, None),
        ],
    };
    let own = step.own(&on);
    assert_eq!(own.contexts, [2], "neither the main one, nor one with a queue less or more");
    assert_eq!(own.rules, [(lead, 2, 10), (lead, 9, 11)], "the second leads to a context that is gone");
    assert_eq!(own.shared, [0, 1, 2].into());
    assert_eq!(own.surplus(2), [11]);
    assert!(own.missing(&step.leads, 2).is_empty() && own.missing(&step.leads, 3) == step.leads);
}

fn lead() -> impl Strategy<Value = Lead> {
    (1..4u8, 0..3usize).prop_map(|(n, p)| Lead { ip: IpAddr::from([10, 0, 0, n]), packets: Packets::ALL[p] })
}

fn on_nic() -> impl Strategy<Value = Steering> {
    let flow = prop_oneof![
        4 => (0..5u32).prop_map(to),
        1 => (0..5u32, 0..2u32).prop_map(|(id, plus)| FlowTo::Context { id, plus }),
        1 => (0..8u32).prop_map(FlowTo::Queue),
        1 => Just(FlowTo::Elsewhere),
    ];
    let rule = (flow, prop::option::weighted(0.8, lead()));
    let tables = prop::collection::btree_map(0..5u32, prop::collection::btree_set(0..4u32, 1..4), 0..5);
    (prop::collection::vec(rule, 0..12), tables).prop_map(|(rules, tables)| Steering {
        rules: (0..).zip(rules).map(|(id, (to, lead))| SteerRule { id, to, lead }).collect(),
        tables,
    })
}

proptest! {
    /// Two pods share neither queues nor addresses, and so no rule and no context that is there.
    #[test]
    fn what_is_of_one_pod_is_of_no_other(on in on_nic(), split in 1..3u8) {
        let of = |range: std::ops::RangeInclusive<u8>, queues: &[u32]| {
            let ips = range.map(|n| IpAddr::from([10, 0, 0, n]));
            let all = Packets::ALL.map(|packets| (Family::V4, packets));
            steer(queues, takes(&all).leads(ips)).own(&on)
        };
        let (one, two) = (of(1..=split, &[0, 1]), of(split + 1..=3, &[2, 3]));
        prop_assert!(one.contexts.iter().all(|id| !two.contexts.contains(id)));
        let ids = |own: &Own| own.rules.iter().map(|(_, _, id)| *id).collect::<BTreeSet<_>>();
        prop_assert!(ids(&one).is_disjoint(&ids(&two)));
    }

    /// Without what is surplus, each packet is led to the context once, or is missing.
    #[test]
    fn each_is_led_once_or_missing(on in on_nic(), context in 0..5u32) {
        let ips = [1, 2].map(|n| IpAddr::from([10, 0, 0, n]));
        let step = steer(&[0, 1], takes(&Packets::ALL.map(|p| (Family::V4, p))).leads(ips));
        let own = step.own(&on);
        let surplus = own.surplus(context);
        let kept: Vec<Lead> =
            own.rules.iter().filter(|(_, _, id)| !surplus.contains(id)).map(|(lead, ..)| *lead).collect();
        let mut all = [kept, own.missing(&step.leads, context)].concat();
        all.sort();
        let mut wanted = step.leads;
        wanted.sort();
        prop_assert_eq!(all, wanted);
    }
}
