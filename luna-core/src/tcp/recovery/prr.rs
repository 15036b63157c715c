//! Proportional Rate Reduction (RFC 9937): how much leaves for each acknowledgment in fast recovery.
//!
//! While more than the target is in flight, sending is proportional to what the receiver reports delivered; below it, PRR
//! conserves packets (CRB) or, while acknowledgments show progress without new loss, grows back by a segment each (SSRB).

/// State of one recovery.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Prr {
    /// What the congestion controller wants in flight when recovery is over.
    target: u32,
    /// In flight when recovery began.
    recover_fs: u32,
    delivered: u32,
    out: u32,
    /// What may be in flight now.
    window: u32,
}

/// What an acknowledgment in recovery says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PrrAck {
    /// Bytes newly reported delivered.
    pub(crate) delivered: u32,
    /// Bytes now in flight.
    pub(crate) in_flight: u32,
    /// The cumulative acknowledgment advanced and nothing more was found lost.
    pub(crate) safe: bool,
    pub(crate) mss: u32,
}

impl Prr {
    /// Recovery begins with `recover_fs` bytes in flight.
    pub(crate) fn start(target: u32, recover_fs: u32) -> Self {
        Self { target, recover_fs: recover_fs.max(1), ..Self::default() }
    }

    /// What may be in flight.
    pub(crate) fn window(&self) -> u32 {
        self.window
    }

    /// Bytes that may still be counted as delivered where reports are only duplicate acknowledgments (RFC 9937 §6.2: a
    /// receiver must not mint them).
    pub(crate) fn undelivered(&self) -> u32 {
        self.recover_fs.saturating_sub(self.delivered)
    }

    /// `bytes` left, for the first time or again.
    pub(crate) fn on_sent(&mut self, bytes: u32) {
        self.out = self.out.saturating_add(bytes);
    }

    /// RFC 9937 §6.2.
    pub(crate) fn on_ack(&mut self, ack: &PrrAck) {
        self.delivered = self.delivered.saturating_add(ack.delivered);
        let mut count = if ack.in_flight > self.target {
            let share = (u64::from(self.delivered) * u64::from(self.target)).div_ceil(u64::from(self.recover_fs));
            u32::try_from(share).unwrap_or(u32::MAX).saturating_sub(self.out)
        } else {
            let mut count = self.delivered.saturating_sub(self.out).max(ack.delivered);
            if ack.safe {
                count += ack.mss;
            }
            count.min(self.target - ack.in_flight)
        };
        if self.out == 0 && count == 0 {
            // The fast retransmission itself.
            count = ack.mss;
        }
        self.window = ack.in_flight.saturating_add(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1000;

    /// A window of `flight` segments of which the first `lost` are gone; one acknowledgment for each other. Returns what
    /// was sent for each.
    fn pattern(flight: u32, lost: u32, target: u32) -> Vec<u32> {
        let mut prr = Prr::start(target * MSS, flight * MSS);
        let mut in_flight = (flight - lost) * MSS;
        (0..flight - lost)
            .map(|_| {
                in_flight -= MSS;
                prr.on_ack(&PrrAck { delivered: MSS, in_flight, safe: false, mss: MSS });
                let sent = (prr.window() - in_flight) / MSS * MSS;
                prr.on_sent(sent);
                in_flight += sent;
                sent / MSS
            })
            .collect()
    }

    #[test]
    fn one_loss_of_twenty_sends_on_every_other_acknowledgment() {
        let sent = pattern(20, 1, 10);
        assert_eq!(sent.iter().sum::<u32>(), 10, "{sent:?}: ends at the target");
        assert!(sent.iter().all(|n| *n <= 1), "{sent:?}: never a burst");
        assert_eq!(&sent[..14], [0, 1].repeat(7), "every other one while more than the target is in flight");
    }

    #[test]
    fn heavy_loss_conserves_packets_and_never_bursts() {
        let sent = pattern(20, 15, 10);
        assert_eq!(sent, [1; 5], "as much as was delivered, no more");
    }

    #[test]
    fn safe_acknowledgments_grow_back_by_a_segment_each() {
        let mut prr = Prr::start(10 * MSS, 20 * MSS);
        prr.on_ack(&PrrAck { delivered: MSS, in_flight: 4 * MSS, safe: true, mss: MSS });
        assert_eq!(prr.window(), 6 * MSS);
        prr.on_sent(2 * MSS);
        prr.on_ack(&PrrAck { delivered: MSS, in_flight: 5 * MSS, safe: true, mss: MSS });
        assert_eq!(prr.window(), 7 * MSS);
        prr.on_ack(&PrrAck { delivered: 9 * MSS, in_flight: 9 * MSS, safe: true, mss: MSS });
        assert_eq!(prr.window(), 10 * MSS, "never beyond the target");
    }

    #[test]
    fn duplicates_count_for_no_more_than_was_in_flight() {
        let mut prr = Prr::start(2 * MSS, 4 * MSS);
        assert_eq!(prr.undelivered(), 4 * MSS);
        prr.on_ack(&PrrAck { delivered: 3 * MSS, in_flight: MSS, safe: false, mss: MSS });
        assert_eq!(prr.undelivered(), MSS);
    }
}
