//! Routers: what they say about frames that did not get through.

use super::flow::{Opening, SERVER};
use super::frame::{Frame, Segment};
use super::icmp::{Complaint, error};
use super::link::Loss;
use super::log::What;
use super::plan::mac;
use super::world::{Event, World};

impl World<'_> {
    /// A frame was lost at a link that takes `mtu` now.
    pub(super) fn complain(&mut self, frame: &Frame, why: Loss, mtu: u16) {
        let Some(routers) = self.plan.world.routers else { return };
        match why {
            Loss::TooLarge => {
                let mtu = if routers.say_mtu { mtu.into() } else { 0 };
                self.answer(frame, Complaint::TooBig(mtu));
            }
            // A host that is only just gone is asked for again and again before somebody says so.
            Loss::Blackhole if self.routers_rng.one_in(4) => self.answer(frame, Complaint::Unreachable),
            _ => {}
        }
    }

    /// Whether a firewall in front of a stack lets nobody in there.
    pub(super) fn forbids(&self, frame: &Frame) -> bool {
        if !self.plan.world.routers.is_some_and(|r| r.forbid) || frame.tag.forged {
            return false;
        }
        let refused =
            |seg: &Segment| self.plan.flows.iter().any(|f| f.opening == Opening::Refused && f.addrs[SERVER] == seg.dst);
        Segment::read(&frame.bytes, true).is_ok_and(|seg| seg.flags.syn() && refused(&seg))
    }

    /// Sends an error about `frame` to its sender, as errors are rationed.
    pub(super) fn answer(&mut self, frame: &Frame, complaint: Complaint) {
        let Some(routers) = self.plan.world.routers else { return };
        // Not about errors, nor about what nobody can have sent so.
        if frame.tag.forged || frame.tag.damaged || !self.routers_rng.chance(routers.answered) {
            return;
        }
        let Some(error) = error(&frame.bytes, complaint) else { return };
        let to = (0..self.stacks.len()).find(|i| error.bytes[..6] == mac(*i).0);
        let Some(link) = to.map(|i| self.stacks[i].downlink) else { return };
        self.adversity.complaints += 1;
        self.log.frame(self.events.now(), link, What::Forged, &error);
        match self.links[link].push(error) {
            Ok(Some(time)) => self.events.after(time, Event::Sent(link)),
            Ok(None) => {}
            Err(_) => self.adversity.dropped += 1,
        }
    }
}
