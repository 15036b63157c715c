//! TCP options: MSS (RFC 9293), window scale and timestamps (RFC 7323), SACK (RFC 2018). Unknown kinds are skipped.
//!
//! Telemetry for HPCC is an experimental option of ours (RFC 6994, kind 254, ExID "Lu").
//!
//! What is sent has a fixed order in groups of 4 bytes: MSS, SACK-permitted and timestamps together, window scale, SACK
//! blocks. With timestamps alone that is the layout of RFC 7323 appendix A, which [`fixed_timestamps`] recognises.

use super::bytes::{be32, put};
use super::{ParseError, SeqNum};

/// The most that a header has room for.
pub const MAX_LEN: usize = 40;
/// Length of the layout `NOP NOP timestamps`.
pub const TIMESTAMPS_LEN: usize = 12;
/// The largest window scale (RFC 7323 section 2.3).
pub const MAX_WINDOW_SCALE: u8 = 14;

const END: u8 = 0;
const NOP: u8 = 1;
const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;
const TIMESTAMPS: u8 = 8;
/// For experiments, told apart by what follows (RFC 6994).
const EXPERIMENT: u8 = 254;
/// Telemetry shims.
const EXID_TELEMETRY: [u8; 2] = *b"Lu";

/// `NOP NOP timestamps(10)` as one big-endian word.
const FIXED_TIMESTAMPS: u32 = u32::from_be_bytes([NOP, NOP, TIMESTAMPS, 10]);

/// Up to four SACK blocks: first sequence number, and the one behind the last. What they say is not checked here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SackBlocks {
    blocks: [(SeqNum, SeqNum); Self::MAX],
    len: u8,
}

impl SackBlocks {
    /// As many as the option space holds.
    pub const MAX: usize = 4;
    /// No block.
    pub const EMPTY: Self = Self { blocks: [(SeqNum(0), SeqNum(0)); Self::MAX], len: 0 };

    /// Appends a block; false if there are four already.
    #[inline]
    pub fn push(&mut self, left: SeqNum, right: SeqNum) -> bool {
        let Some(slot) = self.blocks.get_mut(usize::from(self.len)) else {
            return false;
        };
        *slot = (left, right);
        self.len += 1;
        true
    }

    /// The blocks, in the order of the wire.
    #[inline]
    #[must_use]
    pub fn as_slice(&self) -> &[(SeqNum, SeqNum)] {
        self.blocks.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The blocks, in the order of the wire.
    pub fn iter(&self) -> impl Iterator<Item = (SeqNum, SeqNum)> + '_ {
        self.as_slice().iter().copied()
    }

    /// How many there are.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is none.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// The options of one segment. Of an option that stands twice, the last one counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TcpOptions {
    /// Maximum segment size.
    pub mss: Option<u16>,
    /// Window scale, at most 14.
    pub window_scale: Option<u8>,
    /// SACK permitted.
    pub sack_permitted: bool,
    /// TSval and TSecr.
    pub timestamps: Option<(u32, u32)>,
    /// SACK blocks.
    pub sack: SackBlocks,
    /// The sender understands telemetry shims ([`super::int`]).
    pub telemetry: bool,
}

impl TcpOptions {
    /// Reads the bytes between the fixed header and the payload.
    ///
    /// # Errors
    /// [`ParseError::BadOption`]: a length below 2 or past the end, or one that a known kind cannot have.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let mut options = Self::default();
        let mut rest = bytes;
        loop {
            rest = match *rest {
                [] | [END, ..] => return Ok(options),
                [NOP, ref after @ ..] => after,
                [kind, len, ..] => {
                    let (option, after) = rest.split_at_checked(usize::from(len)).ok_or(ParseError::BadOption)?;
                    let body = option.get(2..).ok_or(ParseError::BadOption)?;
                    options.take_in(kind, body)?;
                    after
                }
                [_] => return Err(ParseError::BadOption),
            };
        }
    }

    /// Takes in one option; `body` is what follows its length.
    fn take_in(&mut self, kind: u8, body: &[u8]) -> Result<(), ParseError> {
        match (kind, body) {
            (MSS, &[high, low]) => self.mss = Some(u16::from_be_bytes([high, low])),
            // RFC 7323 section 2.3: a larger scale is taken for 14.
            (WINDOW_SCALE, &[shift]) => self.window_scale = Some(shift.min(MAX_WINDOW_SCALE)),
            (SACK_PERMITTED, []) => self.sack_permitted = true,
            (TIMESTAMPS, body) => {
                let body: &[u8; 8] = body.try_into().map_err(|_| ParseError::BadOption)?;
                self.timestamps = Some((be32::<0, _>(body), be32::<4, _>(body)));
            }
            (SACK, body) => self.sack = parse_sack(body)?,
            (EXPERIMENT, body) if body == EXID_TELEMETRY => self.telemetry = true,
            (MSS | WINDOW_SCALE | SACK_PERMITTED, _) => return Err(ParseError::BadOption),
            _ => {}
        }
        Ok(())
    }

    /// Length of what [`TcpOptions::emit`] writes: a multiple of 4, at most 40.
    #[inline]
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let len = self.len_without_sack();
        match self.sack_that_fits() {
            0 => len,
            blocks => len + 4 + 8 * blocks,
        }
    }

    fn len_without_sack(&self) -> usize {
        let mss = if self.mss.is_some() { 4 } else { 0 };
        let scale = if self.window_scale.is_some() { 4 } else { 0 };
        let middle = match (self.timestamps, self.sack_permitted) {
            (Some(_), _) => TIMESTAMPS_LEN,
            (None, true) => 4,
            (None, false) => 0,
        };
        let telemetry = if self.telemetry { 4 } else { 0 };
        mss + scale + middle + telemetry
    }

    /// The first blocks are the most recent ones (RFC 2018 section 4): those that do not fit are left out at the end.
    fn sack_that_fits(&self) -> usize {
        self.sack.len().min((MAX_LEN - 4 - self.len_without_sack()) / 8)
    }

    /// Writes the options and returns their length, [`TcpOptions::encoded_len`]; 0 if `out` is too short. Beside
    /// timestamps there is room for three SACK blocks: later ones are left out.
    pub fn emit(&self, out: &mut [u8]) -> usize {
        let mut bytes = [NOP; MAX_LEN];
        let mut cursor = Cursor { bytes: &mut bytes, len: 0 };
        if let Some(mss) = self.mss {
            let [high, low] = mss.to_be_bytes();
            cursor.put([MSS, 4, high, low]);
        }
        if let Some((value, echo)) = self.timestamps {
            let lead = if self.sack_permitted { [SACK_PERMITTED, 2] } else { [NOP, NOP] };
            cursor.put([lead[0], lead[1], TIMESTAMPS, 10]);
            cursor.put(value.to_be_bytes());
            cursor.put(echo.to_be_bytes());
        } else if self.sack_permitted {
            cursor.put([NOP, NOP, SACK_PERMITTED, 2]);
        }
        if let Some(shift) = self.window_scale {
            cursor.put([NOP, WINDOW_SCALE, 3, shift]);
        }
        if self.telemetry {
            let [high, low] = EXID_TELEMETRY;
            cursor.put([EXPERIMENT, 4, high, low]);
        }
        let blocks = self.sack_that_fits();
        if blocks != 0 {
            cursor.put([NOP, NOP, SACK, 2 + 8 * blocks as u8]);
            for (left, right) in self.sack.iter().take(blocks) {
                cursor.put(left.0.to_be_bytes());
                cursor.put(right.0.to_be_bytes());
            }
        }
        let len = cursor.len;
        debug_assert!(len == self.encoded_len() && out.len() >= len, "no room for TCP options");
        let (Some(out), Some(bytes)) = (out.get_mut(..len), bytes.get(..len)) else {
            return 0;
        };
        out.copy_from_slice(bytes);
        len
    }
}

fn parse_sack(body: &[u8]) -> Result<SackBlocks, ParseError> {
    let (blocks, rest) = body.as_chunks::<8>();
    if blocks.is_empty() || blocks.len() > SackBlocks::MAX || !rest.is_empty() {
        return Err(ParseError::BadOption);
    }
    let mut sack = SackBlocks::EMPTY;
    for block in blocks {
        sack.push(SeqNum(be32::<0, _>(block)), SeqNum(be32::<4, _>(block)));
    }
    Ok(sack)
}

/// Words of options, one behind the other.
struct Cursor<'a> {
    bytes: &'a mut [u8; MAX_LEN],
    len: usize,
}

impl Cursor<'_> {
    fn put(&mut self, word: [u8; 4]) {
        // `sack_that_fits` keeps the sum of all words at 40 bytes.
        if let Some(slot) = self.bytes.get_mut(self.len..).and_then(|free| free.first_chunk_mut()) {
            *slot = word;
            self.len += 4;
        }
    }
}

/// TSval and TSecr, if `options` is exactly `NOP NOP timestamps`: what every segment after the handshake carries. One
/// comparison; anything else is for [`TcpOptions::parse`].
#[inline]
#[must_use]
pub fn fixed_timestamps(options: &[u8]) -> Option<(u32, u32)> {
    let options: &[u8; TIMESTAMPS_LEN] = options.try_into().ok()?;
    (be32::<0, _>(options) == FIXED_TIMESTAMPS).then(|| (be32::<4, _>(options), be32::<8, _>(options)))
}

/// Writes the layout that [`fixed_timestamps`] reads.
#[inline(always)]
pub(super) fn emit_fixed_timestamps(out: &mut [u8; TIMESTAMPS_LEN], (value, echo): (u32, u32)) {
    put::<0, 4, _>(out, FIXED_TIMESTAMPS.to_be_bytes());
    put::<4, 4, _>(out, value.to_be_bytes());
    put::<8, 4, _>(out, echo.to_be_bytes());
}

#[cfg(test)]
mod tests;
