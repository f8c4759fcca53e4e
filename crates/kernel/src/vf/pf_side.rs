//! What a PF has set for a VF, legacy mode: by attributes of the PF's netdev.

use super::attribute::{self, Setting};
use super::sysfs::Pf;
use crate::message::RTM_NEWLINK;
use crate::netlink::{Request, Socket};
use crate::{Error, Result};
use offramp_core::vf::{PfSide, VfRef, VfSettings};

/// Reads it.
pub(super) fn read(socket: &mut Socket, pf: &Pf, vf: &VfRef) -> Result<PfSide> {
    let what = format!("read {vf}");
    let link = socket.get_raw(&what, attribute::get(pf.index))?;
    let side = Some(&link).filter(|l| l.kind == RTM_NEWLINK).and_then(|l| attribute::read(l, vf.index));
    side.ok_or_else(|| Error::Unfit { what, why: format!("{} does not tell of it", pf.name) })
}

/// Sets one thing; the error is the driver's refusal of that thing.
pub(super) fn set(socket: &mut Socket, pf: &Pf, vf: &VfRef, setting: Setting) -> Result<()> {
    let what = format!("set VF {} of {} {setting}", vf.index, pf.name);
    socket.batch(vec![Request::new(what, attribute::set(pf.index, vf.index, setting))])
}

/// What of the wanted settings is to be set, in order. What is so already is not set again, since a driver may refuse
/// even that; but the MAC is, since what the PF tells may be the VF's own choice. Trust comes last: a VF that is
/// trusted may override the MAC.
pub(super) fn wanted(settings: &VfSettings, now: &PfSide) -> Vec<Setting> {
    let mut all = Vec::new();
    all.extend(settings.mac.map(|mac| Setting::Mac(Some(mac))));
    all.extend(changed(settings.vlan, now.vlan).map(Setting::Vlan));
    all.extend(changed(settings.spoofchk, now.spoofchk).map(Setting::Spoofchk));
    all.extend(changed(settings.link_state, now.link_state).map(Setting::Link));
    all.extend(rates(settings.min_tx_rate, settings.max_tx_rate, now));
    all.extend(changed(settings.trust, now.trust).map(Setting::Trust));
    all
}

/// What is to be set so that the PF's side is as it was, in order.
pub(super) fn back(before: &PfSide, now: &PfSide) -> Vec<Setting> {
    let mut all = Vec::new();
    all.extend((before.mac != now.mac).then_some(Setting::Mac(before.mac)));
    all.extend(changed(before.vlan, now.vlan).map(Setting::Vlan));
    all.extend(changed(before.spoofchk, now.spoofchk).map(Setting::Spoofchk));
    all.extend(changed(before.link_state, now.link_state).map(Setting::Link));
    all.extend(rates(before.min_tx_rate, before.max_tx_rate, now));
    all.extend(changed(before.trust, now.trust).map(Setting::Trust));
    all
}

fn changed<T: PartialEq>(want: Option<T>, now: Option<T>) -> Option<T> {
    want.filter(|w| now.as_ref() != Some(w))
}

/// The kernel takes both rates at once: one that is not wanted stays.
fn rates(min: Option<u32>, max: Option<u32>, now: &PfSide) -> Option<Setting> {
    changed(min, now.min_tx_rate).or(changed(max, now.max_tx_rate))?;
    let (min, max) = (min.or(now.min_tx_rate), max.or(now.max_tx_rate));
    Some(Setting::Rate { min: min.unwrap_or_default(), max: max.unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use offramp_core::vf::{LinkState, VlanTag};

    fn told() -> PfSide {
        PfSide {
            mac: "02:00:00:00:00:01".parse().ok(),
            vlan: Some(VlanTag::default()),
            trust: Some(false),
            spoofchk: Some(true),
            link_state: Some(LinkState::Auto),
            min_tx_rate: Some(0),
            max_tx_rate: Some(0),
        }
    }

    #[test]
    fn only_what_differs_is_set_and_trust_comes_last() {
        let settings = VfSettings {
            mac: told().mac,
            vlan: told().vlan,
            trust: Some(true),
            spoofchk: Some(true),
            link_state: Some(LinkState::Auto),
            max_tx_rate: Some(100),
            ..VfSettings::default()
        };
        let expected = [Setting::Mac(told().mac), Setting::Rate { min: 0, max: 100 }, Setting::Trust(true)];
        assert_eq!(wanted(&settings, &told()), expected);
        assert_eq!(wanted(&VfSettings::default(), &told()), []);
    }

    #[test]
    fn a_driver_that_tells_nothing_is_asked_for_all_that_is_wanted() {
        let settings = VfSettings { spoofchk: Some(true), min_tx_rate: Some(0), ..VfSettings::default() };
        let expected = [Setting::Spoofchk(true), Setting::Rate { min: 0, max: 0 }];
        assert_eq!(wanted(&settings, &PfSide::default()), expected);
    }

    #[test]
    fn back_is_the_way_back() {
        assert_eq!(back(&told(), &told()), []);
        let none = PfSide { mac: None, ..told() };
        assert_eq!(back(&none, &told()), [Setting::Mac(None)]);
        let now = PfSide { trust: Some(true), max_tx_rate: Some(9), vlan: None, ..told() };
        let expected =
            [Setting::Vlan(VlanTag::default()), Setting::Rate { min: 0, max: 0 }, Setting::Trust(false)];
        assert_eq!(back(&told(), &now), expected);
    }
}
