//! Counters as people and programs read them. One shape for both stacks: what a stack cannot tell is `null`, never 0.

use core::fmt;

use serde::{Serialize, Serializer};

/// Named numbers in a fixed order; a JSON object.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counters(Vec<(&'static str, u64)>);

impl Counters {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one to the list.
    pub fn push(&mut self, name: &'static str, value: u64) {
        self.0.push((name, value));
    }

    /// The value of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<u64> {
        self.0.iter().find(|(n, _)| *n == name).map(|(_, v)| *v)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.0.iter().copied()
    }

    /// Adds another list's values to those of the same name.
    pub fn add(&mut self, other: &Self) {
        for (name, value) in other.iter() {
            match self.0.iter_mut().find(|(n, _)| *n == name) {
                Some((_, v)) => *v += value,
                None => self.push(name, value),
            }
        }
    }
}

impl FromIterator<(&'static str, u64)> for Counters {
    fn from_iter<I: IntoIterator<Item = (&'static str, u64)>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}

impl Serialize for Counters {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(self.iter())
    }
}

/// Those that are not 0, on one line.
impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (name, value) in self.iter().filter(|(_, v)| *v != 0) {
            let comma = if first { "" } else { ", " };
            write!(f, "{comma}{} {value}", name.replace('_', " "))?;
            first = false;
        }
        if first { f.write_str("none") } else { Ok(()) }
    }
}

/// TCP's counters. The first two are the ones that a lossless run has at 0.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct TcpReport {
    /// Segments sent again.
    pub retransmits: Option<u64>,
    /// Retransmission timeouts.
    pub rtos: Option<u64>,
    /// Everything else that the stack counts.
    #[serde(flatten)]
    pub others: Counters,
}

/// Copies that Luna made of payload.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct CopyReport {
    /// Bytes copied per payload byte sent; `null` where the kernel does the copying.
    pub tx_per_byte: Option<f64>,
    /// Bytes copied per payload byte received.
    pub rx_per_byte: Option<f64>,
    /// Bytes copied while sending.
    pub tx_bytes: Option<u64>,
    /// Bytes copied while receiving.
    pub rx_bytes: Option<u64>,
}

impl CopyReport {
    /// From bytes copied and payload carried.
    #[must_use]
    pub fn new(tx_copied: u64, tx_payload: u64, rx_copied: u64, rx_payload: u64) -> Self {
        let per_byte = |copied: u64, payload: u64| (payload > 0).then(|| copied as f64 / payload as f64);
        Self {
            tx_per_byte: per_byte(tx_copied, tx_payload),
            rx_per_byte: per_byte(rx_copied, rx_payload),
            tx_bytes: Some(tx_copied),
            rx_bytes: Some(rx_copied),
        }
    }
}

impl fmt::Display for CopyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |v: Option<f64>| v.map_or_else(|| "n/a".to_owned(), |v| format!("{v:.2}"));
        write!(f, "{} sending, {} receiving", show(self.tx_per_byte), show(self.rx_per_byte))
    }
}

/// What one side of a connection counted.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct StackReport {
    /// "luna" or "kernel".
    pub stack: &'static str,
    /// The port, as `--nic` names it; `null` for the kernel's stack.
    pub nic: Option<String>,
    /// TCP.
    pub tcp: TcpReport,
    /// Drops by reason.
    pub drops: Counters,
    /// The port's queue.
    pub queue: Counters,
    /// Copies of payload.
    pub copies: CopyReport,
}

impl fmt::Display for StackReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stack, nic, tcp, drops, queue, copies } = self;
        let show = |v: Option<u64>| v.map_or_else(|| "n/a".to_owned(), |v| v.to_string());
        writeln!(f, "  stack            {stack}{}", nic.as_ref().map_or(String::new(), |n| format!(" on {n}")))?;
        writeln!(f, "  retransmissions  {} (timeouts {})", show(tcp.retransmits), show(tcp.rtos))?;
        writeln!(f, "  copies per byte  {copies}")?;
        writeln!(f, "  tcp              {}", tcp.others)?;
        writeln!(f, "  drops            {drops}")?;
        write!(f, "  queue            {queue}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_the_documented_keys_and_null_for_what_is_not_known() {
        let tcp = TcpReport { retransmits: Some(0), rtos: None, others: [("segments_sent", 7)].into_iter().collect() };
        let json = serde_json::to_value(&tcp).unwrap();
        assert_eq!(json, serde_json::json!({"retransmits": 0, "rtos": null, "segments_sent": 7}));
        let copies = serde_json::to_value(CopyReport::default()).unwrap();
        assert!(copies["tx_per_byte"].is_null());
        assert_eq!(CopyReport::new(5, 10, 0, 0).tx_per_byte, Some(0.5));
        assert_eq!(CopyReport::new(5, 10, 0, 0).rx_per_byte, None);
    }

    #[test]
    fn counters_add_up_by_name_and_show_what_is_not_zero() {
        let mut a: Counters = [("bad_checksum", 1), ("stale", 0)].into_iter().collect();
        a.add(&[("bad_checksum", 2), ("late", 3)].into_iter().collect());
        assert_eq!((a.get("bad_checksum"), a.get("late"), a.get("absent")), (Some(3), Some(3), None));
        assert_eq!(a.to_string(), "bad checksum 3, late 3");
        assert_eq!(Counters::new().to_string(), "none");
    }
}
