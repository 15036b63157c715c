//! Packets in the script's own syntax, for messages.

use core::fmt;

use super::ast::{Body, FLAG_LETTERS, Packet, Segment, TcpOption};

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.flow != 1 {
            write!(f, "#{} ", self.flow)?;
        }
        match &self.body {
            Body::Tcp(segment) => segment.fmt(f),
            Body::Icmp(m) => {
                write!(f, "[{}:{}({})] icmp type {} code {}", m.seq, m.seq.wrapping_add(m.len), m.len, m.kind, m.code)?;
                m.mtu.map_or(Ok(()), |mtu| write!(f, " mtu {mtu}"))
            }
        }
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.flags == 0 {
            f.write_str("-")?;
        }
        for (bit, letter) in FLAG_LETTERS.iter().enumerate() {
            // ACK is written last, as everybody does: `S.`, `FP.`.
            if self.flags >> bit & 1 != 0 && *letter != '.' {
                write!(f, "{letter}")?;
            }
        }
        if self.flags & super::ast::ACK != 0 {
            f.write_str(".")?;
        }
        write!(f, " {}:{}({})", self.seq, self.seq.wrapping_add(self.len), self.len)?;
        for (name, value) in [("ack", self.ack), ("win", self.win.map(u32::from)), ("urg", self.urg.map(u32::from))] {
            if let Some(value) = value {
                write!(f, " {name} {value}")?;
            }
        }
        match &self.options {
            None => f.write_str(" <...>"),
            Some(options) if options.is_empty() => Ok(()),
            Some(options) => {
                let options: Vec<String> = options.iter().map(ToString::to_string).collect();
                write!(f, " <{}>", options.join(","))
            }
        }
    }
}

impl fmt::Display for TcpOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Eol => f.write_str("eol"),
            Self::Nop => f.write_str("nop"),
            Self::Mss(mss) => write!(f, "mss {mss}"),
            Self::WindowScale(shift) => write!(f, "wscale {shift}"),
            Self::SackOk => f.write_str("sackOK"),
            Self::Sack(blocks) => {
                f.write_str("sack")?;
                blocks.iter().try_for_each(|(left, right)| write!(f, " {left}:{right}"))
            }
            Self::Timestamps(value, echo) => {
                let field = |n: &Option<u32>| n.map_or_else(|| "*".to_owned(), |n| n.to_string());
                write!(f, "TS val {} ecr {}", field(value), field(echo))
            }
            Self::Raw(bytes) => {
                f.write_str("raw \"")?;
                bytes.iter().try_for_each(|b| write!(f, "{b:02x}"))?;
                f.write_str("\"")
            }
        }
    }
}
