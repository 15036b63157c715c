//! SYN cookies (RFC 4987 §3.6): what a SYN said, packed into the initial sequence number and the timestamp of its answer,
//! so that the half-open connection needs no memory. Nothing here knows keys: [`crate::stack`] supplies the hash.
//!
//! The sequence number is 28 bits of keyed hash, to which the peer's own initial sequence number is added, 3 bits of MSS,
//! and the lowest bit of the period in which it was made: a cookie holds for that period and the next, 69 to 137 s, and
//! each period has a key of its own. The bits of the MSS are not hashed: whoever changes them harms only the own
//! connection. The sum tells how far a segment is behind the peer's SYN: only what comes right behind it opens the
//! connection, or a keepalive probe, from the byte before (so of the 2^28 values of the hash two open one), and what
//! comes later in the first window overtook that. It is dropped, not answered with a reset, which would end a connection
//! that the peer believes to have; the peer sends both again. So it is for a few seconds, by the echoed timestamp: who
//! still sends so later talks of a connection that is gone, and has to be told. What only makes sense with timestamps
//! travels in the 6 lowest bits of the TSval that we send, which the peer echoes: its window scale, and whether it does
//! SACK. Without timestamps a cookie's connection has neither.
//!
//! Lost with cookies: without timestamps, the peer whose first segment is overtaken, which is reset; the retransmission
//! of our SYN-ACK, MSS values between those of the table, and the clock of RFC 6528 in the initial sequence number. And
//! nothing remembers that a cookie was used: while it holds, a first segment that comes again after its connection is
//! gone opens another one (as it does with Linux); the peer, which knows of no such connection or is about to be reset,
//! ends it.

use crate::time::Instant;
use crate::wire::SeqNum;

/// What an MSS is rounded down to: the minimum, IPv4's and IPv6's defaults, tunnels, Ethernet with and without options of
/// IP, and jumbo frames.
const MSS: [u16; 8] = [216, 536, 1220, 1360, 1440, 1460, 4312, 8940];

/// Nanoseconds of a period, as a shift: 68.7 s.
const PERIOD_SHIFT: u32 = 36;
/// Bits of the timestamp that carry options.
const TS_BITS: u32 = 6;
const TS_MASK: u32 = (1 << TS_BITS) - 1;
/// No window scale.
const NO_SCALE: u32 = 15;
/// An echo older than any cookie that holds, in ms.
const MAX_AGE_MS: u32 = 3 * ((1u64 << PERIOD_SHIFT) / 1_000_000) as u32;

/// One less than nothing, of 28 bits.
const BEFORE: u32 = (1 << 28) - 1;

/// For so long a segment may wait for the one that it overtook: a SYN-ACK's way and three timeouts of 1 s, each twice the last.
const LATER_MS: u32 = 8_000;

/// The period of a moment.
pub(crate) fn period(now: Instant) -> u32 {
    (now.as_nanos() >> PERIOD_SHIFT) as u32
}

/// No cookie made before this moment holds then any more.
pub(crate) fn expires(now: Instant) -> Instant {
    now + crate::time::Duration::from_nanos(2 << PERIOD_SHIFT)
}

/// The place in the table of the largest MSS that is not above `mss`.
pub(crate) fn mss_index(mss: u16) -> u32 {
    MSS.iter().rposition(|m| *m <= mss).unwrap_or(0) as u32
}

/// The initial sequence number that answers a SYN at `irs` whose MSS is at `index` of the table. `hash` is a keyed hash of the
/// flow in the period that it is given.
#[inline(always)]
pub(crate) fn make(now: Instant, index: u32, irs: SeqNum, hash: impl FnOnce(u32) -> u32) -> SeqNum {
    let period = period(now);
    SeqNum(hash(period).wrapping_add(irs.0) << 4 | index << 1 | period & 1)
}

/// What the acknowledgment of a cookie is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// The first segment behind the SYN. The MSS of the cookie.
    First(u16),
    /// The byte before it, as keepalive of a peer that has sent nothing yet asks (RFC 9293 §3.8.4): the acknowledgment that
    /// should have come first is lost, and this one says the same. The MSS of the cookie.
    Probe(u16),
    /// A later one, inside the window that the cookie's SYN-ACK granted.
    Later,
    /// The cookie is none that holds.
    Wrong,
}

/// What a segment is whose acknowledgment says that `cookie` was our initial sequence number, and which would be the first
/// behind a SYN at `irs`; `window` is what our SYN-ACK granted.
pub(crate) fn check(now: Instant, cookie: SeqNum, irs: SeqNum, window: u16, hash: impl FnOnce(u32) -> u32) -> Answer {
    let index = cookie.0 >> 1 & 7;
    let current = period(now);
    let made = if current & 1 == cookie.0 & 1 { current } else { current.wrapping_sub(1) };
    // Of 28 bits.
    let behind = (hash(made).wrapping_add(irs.0) << 4).wrapping_sub(cookie.0 & !15) >> 4;
    let mss = MSS[index as usize & 7];
    match behind {
        0 => Answer::First(mss),
        BEFORE => Answer::Probe(mss),
        // FIN may stand behind the window.
        1.. if behind <= u32::from(window) + 1 => Answer::Later,
        _ => Answer::Wrong,
    }
}

/// `tsval` with the options of a SYN in its lowest bits; not after it, or later ones would look old.
#[inline]
pub(crate) fn mark(tsval: u32, scale: Option<u8>, sack: bool) -> u32 {
    let scale = scale.map_or(NO_SCALE, |s| u32::from(s.min(14)));
    (tsval & !TS_MASK).wrapping_sub(1 << TS_BITS) | scale | u32::from(sack) << 4
}

/// The options in an echoed TSval; `None` when it is not recent. `tsval` is what would be sent now.
pub(crate) fn unmark(tsval: u32, echo: u32) -> Option<(Option<u8>, bool)> {
    if tsval.wrapping_sub(echo) > MAX_AGE_MS {
        return None;
    }
    let scale = echo & 15;
    Some(((scale != NO_SCALE).then_some(scale as u8), echo >> 4 & 1 != 0))
}

/// Whether a segment behind the first one may only have overtaken it, by the TSval that it echoes: if the peer was at
/// its first window for long, it was not.
pub(crate) fn may_be_overtaken(tsval: u32, echo: u32) -> bool {
    tsval.wrapping_sub(echo) <= LATER_MS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    fn hash(secret: u32) -> impl Fn(u32) -> u32 {
        move |period| (period ^ secret).wrapping_mul(0x9e37_79b9) ^ secret
    }

    #[test]
    fn a_cookie_holds_for_its_period_and_the_next() {
        use proptest::prelude::*;
        proptest!(|(at in 0u64..1 << 60, mss: u16, secret: u32, irs: u32)| {
            let (at, irs) = (Instant::from_nanos(at), SeqNum(irs));
            let cookie = make(at, mss_index(mss), irs, hash(secret));
            let check = |now, cookie, hash| match check(now, cookie, irs, 100, hash) {
                Answer::First(mss) => Some(mss),
                _ => None,
            };
            let end = Instant::from_nanos((u64::from(period(at)) + 2) << PERIOD_SHIFT);
            let rounded = MSS.into_iter().filter(|m| *m <= mss).max().unwrap_or(MSS[0]);
            for now in [at, at + Duration::from_secs(68), Instant::from_nanos(end.as_nanos() - 1)] {
                prop_assert_eq!(check(now, cookie, hash(secret)), Some(rounded));
            }
            prop_assert!(expires(at) >= end || expires(at).as_nanos() - at.as_nanos() == 2 << PERIOD_SHIFT);
            for now in [end, end + Duration::from_secs(68), end + Duration::from_secs(3600)] {
                prop_assert_eq!(check(now, cookie, hash(secret)), None);
            }
            prop_assert_eq!(check(at, SeqNum(cookie.0 ^ 16), hash(secret)), None);
            prop_assert_eq!(check(at, cookie, hash(secret ^ 1 << 7)), None);
        });
    }

    #[test]
    fn a_cookie_tells_the_first_segment_from_those_behind_it() {
        for irs in [SeqNum(0), SeqNum(77), SeqNum(u32::MAX), SeqNum(0x0fff_ffff), SeqNum(0xf000_0000)] {
            let cookie = make(Instant::ZERO, 5, irs, hash(3));
            let is = |offset: u32| check(Instant::ZERO, cookie, irs + offset, 1000, hash(3));
            assert_eq!(is(0), Answer::First(1460));
            for ahead in [1, 2, 500, 1000, 1001] {
                assert_eq!(is(ahead), Answer::Later, "{ahead}");
            }
            assert_eq!(is(u32::MAX), Answer::Probe(1460));
            for far in [1002, 1 << 16, 1 << 27, (1 << 28) - 2, u32::MAX - 1] {
                assert_eq!(is(far), Answer::Wrong, "{far}");
            }
        }
    }

    #[test]
    fn options_survive_in_a_timestamp_that_is_not_of_the_future() {
        for tsval in [0u32, 1, 63, 64, 1000, u32::MAX] {
            for scale in [None, Some(0), Some(7), Some(14)] {
                for sack in [false, true] {
                    let marked = mark(tsval, scale, sack);
                    assert!(tsval.wrapping_sub(marked) < 128, "{tsval} {marked}");
                    assert_eq!(unmark(tsval, marked), Some((scale, sack)));
                    assert_eq!(unmark(tsval.wrapping_add(100_000), marked), Some((scale, sack)));
                    assert_eq!(unmark(tsval.wrapping_add(MAX_AGE_MS + 200), marked), None, "too old");
                    assert_eq!(unmark(tsval.wrapping_sub(1000), marked), None, "of the future");
                }
            }
        }
    }
}
