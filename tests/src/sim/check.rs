//! What must be true when a run is over.

use luna_core::Counters;
use luna_core::stack::{CloseReason, Limit};

use super::flow::{CLIENT, Ending, Flow, FlowPlan, Opening, SERVER};
use super::world::World;

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

impl World<'_> {
    /// The end: memory is home, tables are empty, flows ended as planned, nothing was sent again without cause.
    pub(super) fn finish(&mut self) -> Result<(), String> {
        for i in 0..self.stacks.len() {
            let local = self.local(i);
            let s = &mut self.stacks[i];
            // What devices have sent comes home.
            s.wire.borrow_mut().rx.clear();
            s.stack.turn(local, 256, &mut s.app);
            s.withheld.clear();
            s.app.conns.clear();
            s.stack.check_invariants().map_err(|b| format!("stack {i} at the end: {b}"))?;
            s.stack.check_free_lists().map_err(|b| format!("stack {i} at the end: {b}"))?;
        }
        for flow in &mut self.shared.borrow_mut().flows {
            for (side, s) in flow.sides.iter_mut().enumerate() {
                self.adversity.revoked += u64::from(s.revoked);
                let idle = s.guest.take().is_none_or(|g| g.is_idle());
                ensure(idle, || format!("flow {} side {side}: foreign memory is still held", flow.index))?;
            }
        }
        for flow in &self.shared.borrow().flows {
            self.check_flow(flow).map_err(|what| format!("flow {}: {what}", flow.index))?;
        }
        for (i, s) in self.stacks.iter().enumerate() {
            let p = s.pools;
            let out = [p.rx.outstanding(), p.headers.outstanding(), p.data.outstanding()];
            ensure(out == [0; 3], || format!("stack {i}: objs that are not home (receive, header, data): {out:?}"))?;
            self.check_counts(i, s.stack.counters())?;
        }
        Ok(())
    }

    fn check_flow(&self, f: &Flow) -> Result<(), String> {
        let reasons = [CLIENT, SERVER].map(|s| f.sides[s].closed.map(|c| c.reason));
        for s in &f.sides {
            ensure(s.pending.is_empty(), || format!("{} tokens were never released", s.pending.len()))?;
            // The peer may have everything, and have forgotten it before its acknowledgment got through.
            let lost =
                s.aborted > 0 && f.plan.ending.complete() && s.closed.map(|c| c.reason) == Some(CloseReason::Finished);
            ensure(!lost, || format!("{} sends were aborted", s.aborted))?;
        }
        if f.plan.opening == Opening::Refused {
            let forbidden = self.plan.world.routers.is_some_and(|r| r.forbid);
            let refused = match reasons[CLIENT] {
                Some(CloseReason::Refused) => true,
                Some(CloseReason::Unreachable(..)) => forbidden,
                Some(CloseReason::TimedOut(Limit::Connect)) => forbidden,
                _ => false,
            };
            return ensure(refused, || format!("not refused: {reasons:?}"));
        }
        // Without timestamps what comes behind a cookie out of order is reset (`tcp::cookie`), though the first segment may
        // still open it. Such a reset is of the first byte, and believed by who has received none (RFC 5961 §3).
        let timestamps = f.plan.stacks.iter().all(|s| self.plan.stacks[*s].tcp.timestamps);
        if f.cookies && !timestamps && f.sides[CLIENT].received == 0 && reasons[CLIENT] == Some(CloseReason::Reset) {
            return Ok(());
        }
        match f.plan.ending {
            Ending::PathDies => {
                let dead = |r: Option<CloseReason>| match r {
                    None => true,
                    Some(CloseReason::Unreachable(..)) => self.plan.world.routers.is_some(),
                    Some(r) => matches!(r, CloseReason::TimedOut(Limit::User | Limit::Connect | Limit::Keepalive)),
                };
                // It waits for that in silence, for hours where others are slow; who loses every probe of his gives up before,
                // and the peer that asks is told.
                let gave_up = reasons.contains(&Some(CloseReason::TimedOut(Limit::Keepalive)));
                let fine = reasons.into_iter().all(|r| dead(r) || gave_up && r == Some(CloseReason::Reset));
                return ensure(fine, || format!("the network died, the end was {reasons:?}"));
            }
            Ending::Aborts(who, _) | Ending::ClosesEarly(who, _) | Ending::Revokes(who, _) => {
                // Whoever closes while nothing more comes waits in vain for the peer to close.
                let early = matches!(f.plan.ending, Ending::ClosesEarly(..));
                let waited = early && reasons[who] == Some(CloseReason::TimedOut(Limit::FinWait2));
                let revoked =
                    matches!(f.plan.ending, Ending::Revokes(..)) && reasons[who] == Some(CloseReason::Revoked);
                let aborted =
                    waited || revoked || matches!(reasons[who], Some(CloseReason::Aborted | CloseReason::Finished));
                let peer = reasons[1 - who];
                let known = matches!(
                    peer,
                    None | Some(
                        CloseReason::Reset | CloseReason::TimedOut(_) | CloseReason::Finished | CloseReason::Refused
                    )
                );
                return ensure(aborted && known, || format!("side {who} aborted, the end was {reasons:?}"));
            }
            _ => {}
        }
        for side in [CLIENT, SERVER] {
            let (sent, got) = (f.plan.halves[1 - side].total, f.sides[side].received);
            ensure(sent == got, || format!("side {side} received {got} of {sent} bytes"))?;
            // Who only waits for the last acknowledgment may find that the peer has forgotten it all.
            let late = f.complete(side) && !self.plan.calm;
            let gave_up = |side| {
                matches!(f.plan.ending, Ending::Impatient(who, _) if who == side)
                    && reasons[side] == Some(CloseReason::Aborted)
            };
            let fine = match reasons[side] {
                Some(CloseReason::Finished) => true,
                Some(CloseReason::Aborted) => gave_up(side),
                Some(CloseReason::Reset | CloseReason::TimedOut(_)) => {
                    late && (reasons[1 - side] == Some(CloseReason::Finished) || gave_up(1 - side))
                }
                _ => false,
            };
            ensure(fine, || format!("everything passed, yet the end was {reasons:?}"))?;
        }
        Ok(())
    }

    /// Retransmissions and timeouts have a cause, and not more of them than causes allow.
    fn check_counts(&self, i: usize, c: &Counters) -> Result<(), String> {
        if self.plan.calm && self.dead_since.is_none() {
            let never = [
                // A probe (RFC 8985 §7) may come before the answer when the queues have just filled.
                ("retransmits beside probes", c.retransmits.saturating_sub(c.tlp_probes)),
                ("rtos", c.rtos),
                ("fast_recoveries", c.fast_recoveries),
            ];
            for (name, n) in never {
                ensure(n == 0, || format!("stack {i}: nothing was lost, yet {name} is {n}"))?;
            }
        }
        let usual = |f: &FlowPlan| f.opening == Opening::Usual && f.ending.complete();
        let probes: u64 = self.stacks.iter().map(|s| s.stack.counters().tlp_probes).sum();
        if self.plan.calm && probes == 0 && self.plan.flows.iter().all(usual) {
            let never = [
                ("out_of_order", c.out_of_order),
                ("duplicates", c.duplicates),
                ("outside_window", c.outside_window),
                ("paws", c.paws),
                ("bad_ack", c.bad_ack),
                ("over_budget", c.over_budget),
            ];
            for (name, n) in never {
                ensure(n == 0, || format!("stack {i}: nothing was lost, yet {name} is {n}"))?;
            }
        }
        Ok(())
    }
}
