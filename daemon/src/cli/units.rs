//! Numbers as people read them.

use offramp_core::spec::Rate;
use std::fmt::Display;
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// A time span in its two largest units: `45s`, `3m 20s`, `5h 1m`, `12d 3h`.
pub fn span(seconds: u64) -> String {
    let (large, l, small, s) = match seconds {
        0..60 => return format!("{seconds}s"),
        60..3600 => (60, "m", 1, "s"),
        3600..86400 => (3600, "h", 60, "m"),
        _ => (86400, "d", 3600, "h"),
    };
    match seconds % large / small {
        0 => format!("{}{l}", seconds / large),
        rest => format!("{}{l} {rest}{s}", seconds / large),
    }
}

/// A count; from 2^40 on as a power of two, rounded.
pub fn count(n: u64) -> String {
    if n < 1 << 40 { n.to_string() } else { format!("2^{}", (n as f64).log2().round()) }
}

/// `1 peer`, `2 peers`.
pub fn plural(n: usize, thing: &str) -> String {
    format!("{n} {thing}{}", if n == 1 { "" } else { "s" })
}

/// Bits a second by thousands, as networks count: `100 Mbit/s`; and the burst by 1024.
pub fn rate(rate: Rate) -> String {
    let bits = rate.bytes_per_second.saturating_mul(8);
    let burst = u64::from(rate.burst_bytes);
    format!("{}bit/s, burst {}", scaled(bits, 1000, ["", "k", "M", "G", "T"]), size(burst))
}

/// Bytes by 1024, rounded down: `1.5 GiB`.
pub fn size(bytes: u64) -> String {
    format!("{}B", scaled(bytes, 1024, ["", "Ki", "Mi", "Gi", "Ti"]))
}

/// At most one digit behind the point: `1.5 G`.
fn scaled(n: u64, base: u64, prefixes: [&str; 5]) -> String {
    let mut unit = 1;
    let mut at = 0;
    while n / unit >= base && at < prefixes.len() - 1 {
        unit *= base;
        at += 1;
    }
    let tenths = u128::from(n) * 10 / u128::from(unit);
    match tenths % 10 {
        0 => format!("{} {}", tenths / 10, prefixes[at]),
        rest => format!("{}.{rest} {}", tenths / 10, prefixes[at]),
    }
}

/// All, separated by commas.
pub fn join(items: impl IntoIterator<Item = impl Display>) -> String {
    items.into_iter().map(|i| i.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        let shown = [0, 59, 60, 200, 3600, 18_060, 86_400, 1_047_600].map(span);
        assert_eq!(shown, ["0s", "59s", "1m", "3m 20s", "1h", "5h 1m", "1d", "12d 3h"]);
    }

    #[test]
    fn counts_and_rates() {
        assert_eq!(
            [253, (1 << 40) - 1, (1 << 48) - 2, u64::MAX].map(count),
            ["253", "1099511627775", "2^48", "2^64"]
        );
        let shown =
            [(100_000_000, 0), (1_500_000_000, 8 << 20), (999, 0)].map(|(r, b)| rate(Rate::new(r, b)));
        assert_eq!(
            shown,
            ["100 Mbit/s, burst 610.3 KiB", "1.5 Gbit/s, burst 1 MiB", "992 bit/s, burst 64 KiB"]
        );
    }
}
