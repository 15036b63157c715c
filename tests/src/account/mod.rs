//! The account of an echo RPC's instructions: every scenario that there is a goal for, by stage, beside its budget, smoltcp
//! and the leanest C stack.
//!
//! Budgets are in a file ([`budget`]); whoever exceeds one fails. They are recorded anew (`--record`) by the one who made
//! something cheaper, or who can say why it must cost more.

pub mod budget;
pub mod table;

use serde::Serialize;

use crate::callgrind::attribute::{STAGES, attribute};
use crate::callgrind::{Callgrind, Cost, MeasureError};
use crate::scenario::{Answer, Scenario, StackKind};

/// A scenario with what others need and what is aimed at, in instructions per RPC.
#[derive(Clone, Copy, Debug)]
pub struct Aim {
    /// The scenario.
    pub scenario: Scenario,
    /// The leanest C stack measured in a harness of the same shape (iip without timestamps, or lwIP with fixed pools: neither
    /// has timestamps, SACK or an RPC layer's session), if it was measured.
    pub leanest: Option<(&'static str, u32)>,
    /// The goal.
    pub goal: u32,
}

const fn aim(scenario: Scenario, leanest: Option<(&'static str, u32)>, goal: u32) -> Aim {
    Aim { scenario, leanest, goal }
}

/// All of them.
pub const AIMS: [Aim; 8] = [
    aim(Scenario::new(4096, 1500, 1, false), Some(("iip", 7_371)), 3_200),
    aim(Scenario::new(4096, 1500, 16, false), Some(("iip", 6_956)), 2_600),
    aim(Scenario::new(4096, 1500, 1, true), Some(("iip", 17_700)), 6_000),
    aim(Scenario::new(4096, 9000, 1, false), Some(("lwIP", 2_764)), 1_100),
    aim(Scenario::new(4096, 9000, 16, false), Some(("lwIP", 1_756)), 900),
    aim(Scenario::new(64, 1500, 1, false), Some(("lwIP", 2_767)), 800),
    aim(Scenario::new(64, 1500, 16, false), Some(("lwIP", 711)), 500),
    aim(Scenario::new(64 << 10, 1500, 1, false), None, 36_000),
];

/// How much is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extent {
    /// What budgets are compared with, and smoltcp in the scenario that gates: for every test run.
    Budgets,
    /// All columns.
    All,
}

/// What one scenario came to.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Which.
    pub scenario: Scenario,
    /// Luna, plain echo, no payload digest.
    pub luna: Cost,
    /// Its instructions by stage.
    pub stages: [(&'static str, f64); STAGES.len()],
    /// Messages of the same length on a byte stream, without the RPC layer.
    pub stream: Option<f64>,
    /// The server answers with another, filled buffer.
    pub touch: Option<f64>,
    /// Payloads carry a digest, made and verified.
    pub digest: Option<f64>,
    /// smoltcp as its documentation has it.
    pub smoltcp: Option<Cost>,
    /// smoltcp driven so that it sends as few frames as Luna.
    pub smoltcp_split: Option<Cost>,
}

/// A row with what it is compared with, as the report has it.
#[derive(Debug, Serialize)]
pub struct Told<'a> {
    #[serde(flatten)]
    row: &'a Row,
    budget: Option<&'a budget::Budget>,
    goal: Option<u32>,
    leanest: Option<(&'static str, u32)>,
}

impl<'a> Told<'a> {
    /// With the scenario's budget and goal.
    #[must_use]
    pub fn new(row: &'a Row, budgets: &'a budget::Budgets) -> Self {
        let aim = AIMS.iter().find(|aim| aim.scenario == row.scenario);
        let (goal, leanest) = (aim.map(|a| a.goal), aim.and_then(|a| a.leanest));
        Self { row, budget: budgets.get(&row.name), goal, leanest }
    }
}

/// Enough for a mean that does not depend on where a run ends, in few seconds.
fn rpcs(s: &Scenario) -> u64 {
    if s.size > 16 << 10 { 32 } else { 160 }
}

/// Measures one scenario.
///
/// # Errors
/// [`MeasureError`].
pub fn measure(callgrind: &Callgrind, scenario: Scenario, extent: Extent) -> Result<Row, MeasureError> {
    let all = extent == Extent::All;
    let rpcs = rpcs(&scenario);
    let pair = match extent {
        Extent::Budgets => callgrind.pair(StackKind::Luna, &scenario, rpcs)?,
        Extent::All => callgrind.pair_with_caches(StackKind::Luna, &scenario, rpcs)?,
    };
    let of = |stack, s: Scenario| callgrind.pair(stack, &s, rpcs)?.cost();
    let variant = |s: Scenario| all.then(|| of(StackKind::Luna, s).map(|c| c.instructions)).transpose();
    let peer = |kind, wanted: bool| wanted.then(|| of(kind, scenario)).transpose();
    Ok(Row {
        name: scenario.name(),
        scenario,
        luna: pair.cost()?,
        stages: attribute(&pair, callgrind.program())?.stages,
        stream: peer(StackKind::LunaStream, all)?.map(|c| c.instructions),
        touch: variant(Scenario { answer: Answer::Touch, ..scenario })?,
        digest: variant(Scenario { digest: true, ..scenario })?,
        smoltcp: peer(StackKind::Smoltcp, all || scenario == Scenario::GATE)?,
        smoltcp_split: peer(StackKind::SmoltcpSplit, all)?,
    })
}
