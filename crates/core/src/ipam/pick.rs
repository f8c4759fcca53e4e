//! The choice of the next free address: round robin, so that an address rests before it is used again.

use super::Range;
use crate::net::{Family, from_bits, to_bits};
use std::net::IpAddr;

/// The first free address of `set` behind `last`, wrapping around once; none if all are taken.
/// The range that it is of comes with it.
pub fn pick(set: &[Range], last: Option<IpAddr>, taken: impl Fn(IpAddr) -> bool) -> Option<(IpAddr, Range)> {
    let free = |range: &Range, from: u128, to: u128| {
        let family = Family::of(range.start);
        (from..=to)
            .map(|bits| from_bits(family, bits))
            .find(|ip| range.offers(*ip) && !taken(*ip))
            .map(|ip| (ip, *range))
    };
    let bounds = |r: &Range| (to_bits(r.start), to_bits(r.end));
    let at = last.and_then(|ip| set.iter().position(|r| r.offers(ip)).map(|i| (i, to_bits(ip))));
    let Some((start, last)) = at else {
        return set.iter().find_map(|r| free(r, bounds(r).0, bounds(r).1));
    };
    let (first_range, rest) = (&set[start], set[start + 1..].iter().chain(&set[..start]));
    let behind =
        if last < bounds(first_range).1 { free(first_range, last + 1, bounds(first_range).1) } else { None };
    behind
        .or_else(|| rest.into_iter().find_map(|r| free(r, bounds(r).0, bounds(r).1)))
        .or_else(|| free(first_range, bounds(first_range).0, last))
}

/// One address of each set, honouring `wanted` addresses: each must be offered by some set and be free.
/// The error says which address or set could not be served.
pub fn pick_all(
    sets: &[Vec<Range>],
    wanted: &[IpAddr],
    last: impl Fn(usize) -> Option<IpAddr>,
    taken: impl Fn(IpAddr) -> bool,
) -> Result<Vec<(IpAddr, Range)>, PickError> {
    let mut wanted = wanted.to_vec();
    let mut picked = Vec::with_capacity(sets.len());
    for (i, set) in sets.iter().enumerate() {
        let asked = wanted.iter().position(|ip| set.iter().any(|r| r.offers(*ip)));
        let choice = match asked.map(|at| wanted.remove(at)) {
            Some(ip) if taken(ip) => return Err(PickError::Taken(ip)),
            Some(ip) => set.iter().find(|r| r.offers(ip)).map(|r| (ip, *r)),
            None => pick(set, last(i), &taken),
        };
        picked.push(choice.ok_or_else(|| PickError::Exhausted(set.clone()))?);
    }
    match wanted.first() {
        Some(ip) => Err(PickError::NotOffered(*ip)),
        None => Ok(picked),
    }
}

/// Why no address could be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PickError {
    /// Somebody else holds the address that was asked for.
    #[error("address {0} is taken")]
    Taken(IpAddr),
    /// The address that was asked for is in no range, or is a gateway.
    #[error("address {0} is in none of the ranges")]
    NotOffered(IpAddr),
    /// Every address of the set is taken.
    #[error("no free address in {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Exhausted(Vec<Range>),
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
