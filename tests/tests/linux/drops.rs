//! Packets that the kernel admits to have dropped. Where nothing is lost on purpose, only these excuse a retransmission.

use std::fs;

use crate::netns::INTERFACE;

/// Counts since the machine or the interface came up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drops {
    /// Of this namespace's interface, both ways. What veth could not hand to the other side, its backlog being full,
    /// counts as dropped on transmission.
    pub(crate) interface: u64,
    /// Of all backlogs of the machine, other tests' traffic included: told, never an excuse.
    pub(crate) backlogs: u64,
}

impl Drops {
    pub(crate) fn now() -> Self {
        let interface = ["tx_dropped", "rx_dropped"].map(|name| {
            let path = format!("/sys/class/net/{INTERFACE}/statistics/{name}");
            let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
            text.trim().parse::<u64>().unwrap_or_else(|e| panic!("{path}: {text}: {e}"))
        });
        // A line for each CPU; its second column counts, in hexadecimal, what found the backlog full.
        let softnet = fs::read_to_string("/proc/net/softnet_stat").unwrap_or_else(|e| panic!("softnet_stat: {e}"));
        let column = |line: &str| u64::from_str_radix(line.split_whitespace().nth(1)?, 16).ok();
        Self { interface: interface.iter().sum(), backlogs: softnet.lines().filter_map(column).sum() }
    }

    /// How many there were since `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self { interface: self.interface - before.interface, backlogs: self.backlogs - before.backlogs }
    }
}
