//! What a sweep reached: every counter of luna-core and every transition between TCP states.

use luna_core::Counters;
use luna_core::tcp::State;

use State::{CloseWait, Closed, Closing, Established, FinWait1, FinWait2, LastAck, SynReceived, SynSent, TimeWait};

/// Transitions that TCP has (RFC 9293 figure 5, with resets and time limits: any state may end). CLOSED as origin is also
/// LISTEN. Two of the figure go by another state here: a connection that is closed in SYN-RECEIVED is established before its
/// FIN leaves, and FIN that acknowledges ours passes FIN-WAIT-2.
pub const TRANSITIONS: &[(State, State)] = &[
    (Closed, SynSent),
    (Closed, SynReceived),
    (SynSent, SynReceived),
    (SynSent, Established),
    (SynSent, Closed),
    (SynReceived, Established),
    (SynReceived, Closed),
    (Established, FinWait1),
    (Established, CloseWait),
    (Established, Closed),
    (FinWait1, FinWait2),
    (FinWait1, Closing),
    (FinWait1, Closed),
    (FinWait2, TimeWait),
    (FinWait2, Closed),
    (CloseWait, LastAck),
    (CloseWait, Closed),
    (Closing, TimeWait),
    (Closing, Closed),
    (LastAck, Closed),
    (TimeWait, Closed),
];

/// Sums over runs.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    counters: Vec<(&'static str, u64)>,
    transitions: Vec<(State, State, u64)>,
    /// Whatever else runs count, by name.
    events: Vec<(&'static str, u64)>,
}

fn add<K: PartialEq + Copy>(list: &mut Vec<(K, u64)>, key: K, n: u64) {
    match list.iter_mut().find(|e| e.0 == key) {
        Some(e) => e.1 += n,
        None => list.push((key, n)),
    }
}

impl Coverage {
    /// Adds a stack's counters.
    pub fn add_stack(&mut self, counters: &Counters) {
        for (name, n) in counters.iter() {
            add(&mut self.counters, name, n);
        }
        for (from, to, n) in counters.transitions.iter() {
            match self.transitions.iter_mut().find(|t| (t.0, t.1) == (from, to)) {
                Some(t) => t.2 += u64::from(n),
                None => self.transitions.push((from, to, n.into())),
            }
        }
    }

    /// Adds something that the simulator counts.
    pub fn add_event(&mut self, name: &'static str, n: u64) {
        add(&mut self.events, name, n);
    }

    /// Adds another sweep's sums.
    pub fn merge(&mut self, other: &Self) {
        for (name, n) in &other.counters {
            add(&mut self.counters, *name, *n);
        }
        for (name, n) in &other.events {
            add(&mut self.events, *name, *n);
        }
        for &(from, to, n) in &other.transitions {
            match self.transitions.iter_mut().find(|t| (t.0, t.1) == (from, to)) {
                Some(t) => t.2 += n,
                None => self.transitions.push((from, to, n)),
            }
        }
    }

    fn transition(&self, from: State, to: State) -> u64 {
        self.transitions.iter().find(|t| (t.0, t.1) == (from, to)).map_or(0, |t| t.2)
    }

    /// Everything that was never reached, by name; and transitions that TCP does not have, which were.
    #[must_use]
    pub fn gaps(&self) -> Vec<String> {
        let counters = self.counters.iter().filter(|c| c.1 == 0).map(|c| format!("counter {}", c.0));
        let missing = TRANSITIONS.iter().filter(|t| self.transition(t.0, t.1) == 0);
        let missing = missing.map(|t| format!("transition {:?} -> {:?}", t.0, t.1));
        let strange = self.transitions.iter().filter(|t| t.2 > 0 && !TRANSITIONS.contains(&(t.0, t.1)));
        let strange = strange.map(|t| format!("a transition that TCP does not have: {:?} -> {:?}", t.0, t.1));
        counters.chain(missing).chain(strange).collect()
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> String {
        let mut out = String::new();
        let mut line = |name: &str, n: u64| {
            let mark = if n == 0 { "  <-- never" } else { "" };
            out.push_str(&format!("  {name:<44} {n:>14}{mark}\n"));
        };
        for (name, n) in &self.counters {
            line(name, *n);
        }
        for (from, to) in TRANSITIONS {
            line(&format!("{from:?} -> {to:?}"), self.transition(*from, *to));
        }
        for (name, n) in &self.events {
            line(&format!("({name})"), *n);
        }
        out
    }
}
