//! Bytes that `tc` of iproute2 6.1 sends, captured by strace. Ours differ in one thing: no rate table, which the
//! kernel reads only where no link layer is named.

use super::*;
use proptest::prelude::*;

const MBIT: u64 = 1_000_000 / 8;

fn bytes(request: &Request) -> Vec<u8> {
    request.message.body.clone()
}

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap()).collect()
}

#[test]
fn a_token_bucket_is_what_tc_sends() {
    // tc qdisc add dev v0 root tbf rate 20mbit burst 64k latency 25ms
    let tc = hex("00000000 03000000 00000000 ffffffff 00000000 0800010074626600 34000200
                  2800010003010000ffff0000a025260000000000000000000000000024f40100f93f060000000000
                  0800060000000100");
    let rate = Rate { bytes_per_second: 20 * MBIT, burst_bytes: 64 << 10 };
    assert_eq!(bytes(&limit("v0", 3, rate, 1500)), tc);
}

#[test]
fn more_than_34_gbit_a_second_takes_64_bits() {
    // tc qdisc add dev ifb0 root tbf rate 100gbit burst 32m latency 25ms; the buffer, which `tc` computes of the
    // 32-bit rate, is right here: 2684 us in ticks of 64 ns.
    let tc = hex("00000000 04000000 00000000 ffffffff 00000000 0800010074626600 40000200
                  2800010003010000ffff0000ffffffff000000000000000000000000205fa014d1a3000000000000
                  0800060000000002 0c00040000dd0ee902000000");
    let rate = Rate { bytes_per_second: 100_000 * MBIT, burst_bytes: 32 << 20 };
    assert_eq!(bytes(&limit("ifb0", 4, rate, 1500)), tc);
}

#[test]
fn the_detour_is_what_tc_sends() {
    // tc qdisc add dev v0 clsact
    let clsact = hex("00000000 03000000 0000ffff f1ffffff 00000000 0b000100636c736163740000");
    assert_eq!(bytes(&hook("v0", 3)), clsact);
    // tc filter add dev v0 ingress protocol all prio 1 u32 match u32 0 0 action mirred egress redirect dev ifb0
    let filter = hex("00000000 03000000 00000000 f2ffffff 00030100 0800010075333200 60000200
                      38000700 34000100 0b0001006d69727265640000
                      24000280 2000020000000000000000000400000000000000000000000100000004000000
                      24000500 0100010000000000000000000000000000000000000000000000000000000000");
    assert_eq!(bytes(&redirect("v0", 3, "ifb0", 4)), filter);
}

proptest! {
    #[test]
    fn every_frame_of_the_link_fits(bytes_per_second: u64, burst_bytes: u32, mtu in 68..=65535u32) {
        let bucket = TokenBucket::new(Rate { bytes_per_second, burst_bytes }, mtu);
        prop_assert!(bucket.rate >= 1 && bucket.burst >= mtu + 14 && bucket.queue >= bucket.burst);
        prop_assert_eq!(bucket.options().len(), if bytes_per_second > u64::from(u32::MAX) - 1 { 3 } else { 2 });
    }
}
