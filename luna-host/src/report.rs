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

impl Counters {
    /// Takes another list's values from those of the same name.
    pub fn subtract(&mut self, other: &Self) {
        for (name, value) in &mut self.0 {
            *value = value.saturating_sub(other.get(name).unwrap_or(0));
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

/// What the port does instead of the stack, and what frames it takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct PortReport {
    /// Largest IP packet, in bytes.
    pub mtu: u16,
    /// Whether the port computes the checksums of what is sent; otherwise the stack does.
    pub tx_checksum: bool,
    /// Segments of one frame to send; 1 means that frames are copied together.
    pub max_tx_segments: u8,
}

impl From<&luna_core::nic::Caps> for PortReport {
    fn from(caps: &luna_core::nic::Caps) -> Self {
        Self { mtu: caps.mtu, tx_checksum: caps.tx_checksum, max_tx_segments: caps.max_tx_segments }
    }
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
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct StackReport {
    /// "luna" or "kernel".
    pub stack: &'static str,
    /// The port, as `--nic` names it; `null` for the kernel's stack.
    pub nic: Option<String>,
    /// What that port can do; `null` for the kernel's stack, whose offloads are its interface's (`ethtool -k`).
    pub port: Option<PortReport>,
    /// TCP.
    pub tcp: TcpReport,
    /// Drops by reason.
    pub drops: Counters,
    /// The port's queue.
    pub queue: Counters,
    /// Copies of payload.
    pub copies: CopyReport,
    /// Cycles by stage, when they were counted.
    #[cfg(feature = "cycles")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cycles: Option<crate::cycles::CycleTable>,
}

impl StackReport {
    /// Adds what another thread's stack counted.
    pub fn add(&mut self, other: &Self) {
        let sum = |a: Option<u64>, b: Option<u64>| a.zip(b).map(|(a, b)| a + b);
        self.tcp.retransmits = sum(self.tcp.retransmits, other.tcp.retransmits);
        self.tcp.rtos = sum(self.tcp.rtos, other.tcp.rtos);
        self.tcp.others.add(&other.tcp.others);
        self.drops.add(&other.drops);
        self.queue.add(&other.queue);
        #[cfg(feature = "cycles")]
        if let Some((sum, more)) = self.cycles.as_mut().zip(other.cycles.as_ref()) {
            sum.add(more);
        }
        self.recount_copies(
            sum(self.copies.tx_bytes, other.copies.tx_bytes),
            sum(self.copies.rx_bytes, other.copies.rx_bytes),
        );
    }

    /// What was counted since `before`.
    #[must_use]
    pub fn since(mut self, before: &Self) -> Self {
        let less = |a: Option<u64>, b: Option<u64>| a.zip(b).map(|(a, b)| a - b);
        self.tcp.retransmits = less(self.tcp.retransmits, before.tcp.retransmits);
        self.tcp.rtos = less(self.tcp.rtos, before.tcp.rtos);
        self.tcp.others.subtract(&before.tcp.others);
        self.drops.subtract(&before.drops);
        self.queue.subtract(&before.queue);
        #[cfg(feature = "cycles")]
        if let Some((now, before)) = self.cycles.as_mut().zip(before.cycles.as_ref()) {
            *now = now.since(before);
        }
        self.recount_copies(
            less(self.copies.tx_bytes, before.copies.tx_bytes),
            less(self.copies.rx_bytes, before.copies.rx_bytes),
        );
        self
    }

    /// Copies per byte of what TCP carried.
    fn recount_copies(&mut self, tx: Option<u64>, rx: Option<u64>) {
        let carried = |name| self.tcp.others.get(name).unwrap_or(0);
        if let Some((tx, rx)) = tx.zip(rx) {
            self.copies = CopyReport::new(tx, carried("bytes_out"), rx, carried("bytes_in"));
        }
    }
}

impl fmt::Display for StackReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stack, nic, port: _, tcp, drops, queue, copies, .. } = self;
        let show = |v: Option<u64>| v.map_or_else(|| "n/a".to_owned(), |v| v.to_string());
        writeln!(f, "  stack            {stack}{}", nic.as_ref().map_or(String::new(), |n| format!(" on {n}")))?;
        writeln!(f, "  retransmissions  {} (timeouts {})", show(tcp.retransmits), show(tcp.rtos))?;
        writeln!(f, "  copies per byte  {copies}")?;
        writeln!(f, "  tcp              {}", tcp.others)?;
        writeln!(f, "  drops            {drops}")?;
        write!(f, "  queue            {queue}")?;
        #[cfg(feature = "cycles")]
        if let Some(cycles) = &self.cycles {
            write!(f, "\n{cycles}")?;
        }
        Ok(())
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

    #[test]
    fn stacks_add_up_and_a_run_is_what_came_since() {
        let stack = |sent: u64, copied: u64| StackReport {
            tcp: TcpReport {
                retransmits: Some(1),
                rtos: None,
                others: [("bytes_out", sent), ("bytes_in", 0)].into_iter().collect(),
            },
            copies: CopyReport::new(copied, sent, 0, 0),
            ..StackReport::default()
        };
        let mut sum = stack(100, 100);
        sum.add(&stack(300, 0));
        assert_eq!((sum.copies.tx_per_byte, sum.tcp.retransmits, sum.tcp.rtos), (Some(0.25), Some(2), None));
        let since = sum.since(&stack(100, 100));
        assert_eq!((since.copies.tx_per_byte, since.copies.tx_bytes), (Some(0.0), Some(0)));
        assert_eq!((since.tcp.retransmits, since.tcp.others.get("bytes_out")), (Some(1), Some(300)));
    }
}
