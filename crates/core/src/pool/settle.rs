//! From a pool's defaults and a pod's wish to the settings of a VF, or all that the policy has against it.

use super::Pool;
use crate::ids::Mtu;
use crate::vf::{VfMode, VfSettings};
use std::fmt;

/// A wish that a pool's policy does not allow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Forbidden {
    /// What was asked for, such as `vlan 300`.
    pub asked: String,
    /// What is allowed.
    pub allowed: String,
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its policy does not allow {} (allowed: {})", self.asked, self.allowed)
    }
}

/// Collects what is forbidden.
#[derive(Default)]
struct Judge(Vec<Forbidden>);

impl Judge {
    /// The wish, else the default. A wish that equals the default asks for nothing.
    fn one<T: PartialEq + Copy>(
        &mut self,
        wish: Option<T>,
        default: Option<T>,
        allowed: impl FnOnce(T) -> bool,
        words: impl FnOnce(T) -> (String, String),
    ) -> Option<T> {
        let Some(asked) = wish.filter(|_| wish != default) else { return default };
        if !allowed(asked) {
            let (asked, allowed) = words(asked);
            self.0.push(Forbidden { asked, allowed });
        }
        wish
    }
}

/// The settings: what is wished for, and the pool's defaults for the rest. The error has at least one entry.
pub fn settle(pool: &Pool, wish: &VfSettings) -> Result<VfSettings, Vec<Forbidden>> {
    let (policy, default) = (&pool.policy, &pool.defaults);
    let (mtu_ceiling, rate_ceiling) =
        (policy.mtu_ceiling(default.mtu.map(Mtu::get)), policy.rate_ceiling(default.max_tx_rate));
    let mut judge = Judge::default();
    let only = |key: &str, of: Option<bool>| match of {
        Some(set) => format!("{key} {}", on_off(set)),
        None => format!("no {key}"),
    };
    let settings = VfSettings {
        mac: judge.one(wish.mac, default.mac, |_| policy.mac, |m| (format!("mac {m}"), "no mac".into())),
        vlan: judge.one(
            wish.vlan,
            default.vlan,
            |tag| policy.allows_vlan(tag),
            |tag| (tag.to_string(), format!("vlans {}", policy.vlans_text())),
        ),
        trust: judge.one(
            wish.trust,
            default.trust,
            |on| !on || policy.trust,
            |on| (format!("trust {}", on_off(on)), only("trust", default.trust.or(Some(false)))),
        ),
        spoofchk: judge.one(
            wish.spoofchk,
            default.spoofchk,
            |on| on || policy.spoofchk_off,
            |on| (format!("spoofchk {}", on_off(on)), only("spoofchk", Some(true))),
        ),
        link_state: judge.one(
            wish.link_state,
            default.link_state,
            |_| policy.link_state,
            |s| (format!("linkState {s}"), or_none("linkState", default.link_state)),
        ),
        min_tx_rate: judge.one(
            wish.min_tx_rate,
            default.min_tx_rate,
            |rate| rate <= policy.min_tx_rate.max(default.min_tx_rate.unwrap_or(0)),
            |rate| (format!("minTxRate {rate}"), format!("up to {} Mbit/s", policy.min_tx_rate)),
        ),
        max_tx_rate: judge
            .one(
                wish.max_tx_rate,
                default.max_tx_rate,
                |rate| rate_ceiling.is_none_or(|max| (1..=max).contains(&rate)),
                |rate| {
                    let max = rate_ceiling.unwrap_or(u32::MAX);
                    (format!("maxTxRate {rate}"), format!("1 to {max} Mbit/s"))
                },
            )
            .or(policy.max_tx_rate),
        mtu: judge.one(
            wish.mtu,
            default.mtu,
            |mtu| mtu.get() <= mtu_ceiling,
            |mtu| (format!("mtu {mtu}"), format!("up to {mtu_ceiling}")),
        ),
        allmulticast: judge.one(
            wish.allmulticast,
            default.allmulticast,
            |on| !on || policy.allmulticast,
            |on| (format!("allmulticast {on}"), "false".into()),
        ),
        queues: judge.one(
            wish.queues,
            default.queues,
            |n| n <= policy.max_queues.max(default.queues.unwrap_or(0)),
            |n| (format!("queues {n}"), format!("up to {}", policy.max_queues)),
        ),
    };
    if let (Some(min), Some(max @ 1..)) = (settings.min_tx_rate, settings.max_tx_rate)
        && min > max
    {
        judge.0.push(Forbidden {
            asked: format!("minTxRate {min}"),
            allowed: format!("no more than maxTxRate, {max} Mbit/s"),
        });
    }
    let of_netdev = wish.mtu.is_some() || wish.allmulticast.is_some() || wish.queues.is_some();
    if pool.mode == VfMode::Vfio && of_netdev {
        judge.0.push(Forbidden {
            asked: "mtu, allmulticast or queues".into(),
            allowed: "none in mode vfio, which has no netdev".into(),
        });
    }
    if judge.0.is_empty() { Ok(settings) } else { Err(judge.0) }
}

fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

fn or_none(key: &str, value: Option<impl fmt::Display>) -> String {
    value.map_or_else(|| format!("no {key}"), |v| format!("{key} {v}"))
}
