//! TCP options between bytes and script, written apart from luna-core's: what it sends is judged here.

use super::ast::TcpOption;

impl TcpOption {
    /// Bytes on the wire.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        match self {
            Self::Eol | Self::Nop => 1,
            Self::Mss(_) => 4,
            Self::WindowScale(_) => 3,
            Self::SackOk => 2,
            Self::Sack(blocks) => 2 + 8 * blocks.len(),
            Self::Timestamps(..) => 10,
            Self::Raw(bytes) => bytes.len(),
        }
    }

    /// Appends the bytes; an unsaid timestamp is 0.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Eol => out.push(0),
            Self::Nop => out.push(1),
            Self::Mss(mss) => {
                out.extend([2, 4]);
                out.extend(mss.to_be_bytes());
            }
            Self::WindowScale(shift) => out.extend([3, 3, *shift]),
            Self::SackOk => out.extend([4, 2]),
            Self::Sack(blocks) => {
                out.extend([5, self.encoded_len() as u8]);
                for (left, right) in blocks {
                    out.extend(left.to_be_bytes());
                    out.extend(right.to_be_bytes());
                }
            }
            Self::Timestamps(value, echo) => {
                out.extend([8, 10]);
                out.extend(value.unwrap_or(0).to_be_bytes());
                out.extend(echo.unwrap_or(0).to_be_bytes());
            }
            Self::Raw(bytes) => out.extend(bytes),
        }
    }
}

/// Options as they stand; what is unknown or has a length that it cannot have comes as bytes.
#[must_use]
pub fn decode(mut bytes: &[u8]) -> Vec<TcpOption> {
    let mut all = Vec::new();
    while let Some(&kind) = bytes.first() {
        let len = match (kind, bytes.get(1)) {
            (0 | 1, _) => 1,
            (_, Some(&len)) if (2..=bytes.len()).contains(&usize::from(len)) => usize::from(len),
            _ => bytes.len(),
        };
        let (option, rest) = bytes.split_at(len);
        let words = |from: usize| -> Vec<u32> {
            option[from..].as_chunks::<4>().0.iter().map(|w| u32::from_be_bytes(*w)).collect()
        };
        all.push(match (kind, len) {
            (0, _) => TcpOption::Eol,
            (1, _) => TcpOption::Nop,
            (2, 4) => TcpOption::Mss(u16::from_be_bytes([option[2], option[3]])),
            (3, 3) => TcpOption::WindowScale(option[2]),
            (4, 2) => TcpOption::SackOk,
            (5, n) if n >= 2 && (n - 2).is_multiple_of(8) => {
                TcpOption::Sack(words(2).chunks_exact(2).map(|w| (w[0], w[1])).collect())
            }
            (8, 10) => TcpOption::Timestamps(Some(words(2)[0]), Some(words(2)[1])),
            _ => TcpOption::Raw(option.to_vec()),
        });
        bytes = rest;
    }
    all
}
