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
    let mut judge = Judge::default();
    let settings = on_the_pf(&mut judge, pool, wish);
    let settings = on_the_netdev(&mut judge, pool, wish, settings);
    if let (Some(min), Some(max @ 1..)) = (settings.min_tx_rate, settings.max_tx_rate)
        && min > max
    {
        judge.0.push(Forbidden {
            asked: format!("minTxRate {min}"),
            allowed: format!("no more than maxTxRate, {max} Mbit/s"),
        });
    }
    if judge.0.is_empty() { Ok(settings) } else { Err(judge.0) }
}

/// What the PF sets.
fn on_the_pf(judge: &mut Judge, pool: &Pool, wish: &VfSettings) -> VfSettings {
    let (policy, default) = (&pool.policy, &pool.defaults);
    VfSettings {
        mac: judge.one(
            wish.mac,
            default.mac,
            |_| policy.mac,
            |mac| (format!("mac {mac}"), "the one it has".into()),
        ),
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
            |_| ("trust on".into(), "off".into()),
        ),
        spoofchk: judge.one(
            wish.spoofchk,
            default.spoofchk,
            |on| on || policy.spoofchk_off,
            |_| ("spoofchk off".into(), "on".into()),
        ),
        link_state: judge.one(
            wish.link_state,
            default.link_state,
            |_| policy.link_state,
            |state| (format!("linkState {state}"), "the one it has".into()),
        ),
        ..rates(judge, pool, wish)
    }
}

/// Guaranteed rate, and limit.
fn rates(judge: &mut Judge, pool: &Pool, wish: &VfSettings) -> VfSettings {
    let (policy, default) = (&pool.policy, &pool.defaults);
    let most = policy.min_tx_rate.max(default.min_tx_rate.unwrap_or(0));
    let ceiling = policy.rate_ceiling(default.max_tx_rate);
    let limit = judge.one(
        wish.max_tx_rate,
        default.max_tx_rate,
        |rate| ceiling.is_none_or(|max| (1..=max).contains(&rate)),
        |rate| (format!("maxTxRate {rate}"), format!("1 to {} Mbit/s", ceiling.unwrap_or(u32::MAX))),
    );
    VfSettings {
        min_tx_rate: judge.one(
            wish.min_tx_rate,
            default.min_tx_rate,
            |rate| rate <= most,
            |rate| (format!("minTxRate {rate}"), format!("up to {most} Mbit/s")),
        ),
        max_tx_rate: limit.or(policy.max_tx_rate),
        ..VfSettings::default()
    }
}

/// `settings`, and what the VF's netdev has.
fn on_the_netdev(judge: &mut Judge, pool: &Pool, wish: &VfSettings, settings: VfSettings) -> VfSettings {
    let (policy, default) = (&pool.policy, &pool.defaults);
    if pool.mode == VfMode::Vfio
        && (wish.mtu.is_some() || wish.allmulticast.is_some() || wish.queues.is_some())
    {
        judge.0.push(Forbidden {
            asked: "mtu, allmulticast or queues".into(),
            allowed: "none in mode vfio, which has no netdev".into(),
        });
        return settings;
    }
    let largest = policy.mtu_ceiling(default.mtu.map(Mtu::get));
    let most = policy.max_queues.max(default.queues.unwrap_or(0));
    VfSettings {
        mtu: judge.one(
            wish.mtu,
            default.mtu,
            |mtu| mtu.get() <= largest,
            |mtu| (format!("mtu {mtu}"), format!("up to {largest}")),
        ),
        allmulticast: judge.one(
            wish.allmulticast,
            default.allmulticast,
            |on| !on || policy.allmulticast,
            |_| ("allmulticast on".into(), "off".into()),
        ),
        queues: judge.one(
            wish.queues,
            default.queues,
            |n| n <= most,
            |n| (format!("queues {n}"), format!("up to {most}")),
        ),
        ..settings
    }
}
