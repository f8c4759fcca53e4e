//! What is set on a VF from outside of it. One interface, two makers.

use super::attribute::Setting;
use super::sysfs::Pf;
use super::{Host, Representor, pf_side};
use crate::netlink::Socket;
use crate::{Error, Result, link};
use offramp_core::ids::MacAddr;
use offramp_core::step::PlugRepresentor;
use offramp_core::vf::{PfSide, RepresentorState, VfRef, VfSettings, VfState};

/// A VF, seen from outside.
#[derive(Debug)]
pub enum VfPort {
    /// Its PF sets it.
    Legacy(Pf),
    /// Its representor and its devlink port are set.
    Switchdev(Representor),
}

impl VfPort {
    /// The port of a VF, as its embedded switch is run. Only one that tells its number may have representors.
    pub fn of(host: &Host<'_>, vf: &VfRef) -> Result<Self> {
        let pf = host.pf(vf)?;
        let number = host.sysfs.path("class/net").join(pf.name.as_str()).join("phys_switch_id");
        if std::fs::read(number).is_ok_and(|id| !id.is_empty())
            && let Some(representor) = representor(&pf, vf)?
        {
            return Ok(Self::Switchdev(representor));
        }
        Ok(Self::Legacy(pf))
    }

    /// What is set.
    pub fn read(&self, socket: &mut Socket, vf: &VfRef) -> Result<PfSide> {
        match self {
            Self::Legacy(pf) => pf_side::read(socket, pf, vf),
            Self::Switchdev(representor) => representor.read(socket),
        }
    }

    /// What its representor is; none in legacy mode.
    pub(super) fn representor(&self, socket: &mut Socket) -> Result<Option<RepresentorState>> {
        match self {
            Self::Legacy(_) => Ok(None),
            Self::Switchdev(representor) => representor.state(socket).map(Some),
        }
    }

    /// Puts its representor back.
    pub(super) fn restore_representor(&self, socket: &mut Socket, before: &VfState) -> Result<()> {
        match (self, &before.representor) {
            (Self::Switchdev(representor), Some(before)) => representor.restore(socket, before),
            _ => Ok(()),
        }
    }

    /// Sets what of these is the port's, up to the first refusal.
    pub fn configure(&self, socket: &mut Socket, vf: &VfRef, settings: &VfSettings) -> Result<()> {
        let now = self.read(socket, vf)?;
        pf_side::wanted(settings, &now).into_iter().try_for_each(|s| self.set(socket, vf, s))
    }

    /// Sets back what differs from `before`, but for trust: see [`VfPort::trust`]. A driver that does not take back an
    /// administrative MAC gets `own` for one, the address that the VF had.
    pub(super) fn set_back(
        &self,
        socket: &mut Socket,
        vf: &VfRef,
        before: &PfSide,
        own: Option<MacAddr>,
    ) -> Result<()> {
        let now = self.read(socket, vf)?;
        for setting in pf_side::back(before, &now) {
            match (setting, own) {
                (Setting::Trust(_), _) => {}
                (Setting::Mac(None), Some(own)) => {
                    self.set(socket, vf, setting)
                        .or_else(|_| self.set(socket, vf, Setting::Mac(Some(own))))?;
                }
                _ => self.set(socket, vf, setting)?,
            }
        }
        Ok(())
    }

    /// Sets trust, if it is not so.
    pub(super) fn trust(&self, socket: &mut Socket, vf: &VfRef, want: Option<bool>) -> Result<()> {
        match want {
            Some(trust) if self.read(socket, vf)?.trust != want => {
                self.set(socket, vf, Setting::Trust(trust))
            }
            _ => Ok(()),
        }
    }

    /// Takes back the administrative MAC; whether the driver did.
    pub(super) fn forget_mac(&self, socket: &mut Socket, vf: &VfRef) -> bool {
        self.set(socket, vf, Setting::Mac(None)).is_ok()
    }

    fn set(&self, socket: &mut Socket, vf: &VfRef, setting: Setting) -> Result<()> {
        match self {
            Self::Legacy(pf) => pf_side::set(socket, pf, vf, setting),
            Self::Switchdev(representor) => representor.set(socket, vf, setting),
        }
    }
}

/// Whether a VF's representor is as it was plugged in: a port of the bridge with this number, up or not, in its VLAN.
pub fn is_plugged(host: &Host<'_>, bridge: u32, want: &PlugRepresentor) -> Result<bool> {
    match VfPort::of(host, &want.vf)? {
        VfPort::Switchdev(representor) => representor.is_plugged(&mut Socket::open()?, bridge, want),
        VfPort::Legacy(_) => Ok(false),
    }
}

fn representor(pf: &Pf, vf: &VfRef) -> Result<Option<Representor>> {
    let socket = &mut Socket::open()?;
    let missing = || Error::Missing { what: format!("link {}", pf.name) };
    let link = link::find_index(socket, pf.index)?.ok_or_else(missing)?;
    Representor::find(socket, &link, vf.index)
}
