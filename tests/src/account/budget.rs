//! Budgets: instructions per RPC by scenario, as a whole and by stage, in a file that is part of the source.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Row;

/// A whole may exceed its budget by this part: compilers differ.
const WHOLE: f64 = 1.01;
/// A stage by this part and so many instructions: inlining moves some of them from one stage to its neighbour.
const STAGE: (f64, f64) = (1.1, 20.0);

/// What a scenario may cost.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Budget {
    /// In all.
    pub total: f64,
    /// By stage.
    pub stages: BTreeMap<String, f64>,
}

/// By the scenario's name.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Budgets(BTreeMap<String, Budget>);

/// Why there are no budgets.
#[derive(Debug, thiserror::Error)]
pub enum BudgetError {
    /// The file cannot be read or written.
    #[error("the budgets in {0}: {1}")]
    Io(String, std::io::Error),
    /// The file is not understood.
    #[error("the budgets in {0}: {1}")]
    Format(String, serde_json::Error),
}

fn round(n: f64) -> f64 {
    (n * 10.0).round() / 10.0
}

impl Budgets {
    /// What was measured, as budgets from now on.
    #[must_use]
    pub fn of(rows: &[Row]) -> Self {
        let budget = |row: &Row| Budget {
            total: round(row.luna.instructions),
            stages: row.stages.iter().map(|(name, n)| ((*name).to_owned(), round(*n))).collect(),
        };
        Self(rows.iter().map(|row| (row.name.clone(), budget(row))).collect())
    }

    /// From the file.
    ///
    /// # Errors
    /// [`BudgetError`].
    pub fn read(file: &Path) -> Result<Self, BudgetError> {
        let name = || file.display().to_string();
        let text = std::fs::read_to_string(file).map_err(|e| BudgetError::Io(name(), e))?;
        serde_json::from_str(&text).map_err(|e| BudgetError::Format(name(), e))
    }

    /// To the file.
    ///
    /// # Errors
    /// [`BudgetError`].
    pub fn write(&self, file: &Path) -> Result<(), BudgetError> {
        let name = || file.display().to_string();
        let text = serde_json::to_string_pretty(self).map_err(|e| BudgetError::Format(name(), e))?;
        std::fs::write(file, text + "\n").map_err(|e| BudgetError::Io(name(), e))
    }

    /// The budget of a scenario.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Budget> {
        self.0.get(name)
    }

    /// What a row exceeds, in words.
    #[must_use]
    pub fn exceeded(&self, row: &Row) -> Vec<String> {
        let Some(budget) = self.get(&row.name) else {
            return vec![format!("{}: there is no budget", row.name)];
        };
        let mut found = Vec::new();
        let total = row.luna.instructions;
        if total > budget.total * WHOLE {
            found.push(format!("{}: {total:.0} instructions, the budget is {:.0}", row.name, budget.total));
        }
        for (stage, cost) in row.stages {
            let allowed = budget.stages.get(stage).copied().unwrap_or(0.0);
            if cost > allowed * STAGE.0 + STAGE.1 {
                found.push(format!("{}, {stage}: {cost:.0} instructions, the budget is {allowed:.0}", row.name));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::callgrind::Cost;
    use crate::callgrind::attribute::STAGES;
    use crate::scenario::Scenario;

    fn row(total: f64, rpc: f64) -> Row {
        let luna = Cost { instructions: total, gather: 1.0, frames: 2.0, copies: 0.0, misses: 0.0 };
        let stages = STAGES.map(|name| (name, if name == "RPC" { rpc } else { 0.0 }));
        let scenario = Scenario::GATE;
        let name = scenario.name();
        Row {
            name,
            scenario,
            luna,
            stages,
            stream: None,
            touch: None,
            digest: None,
            smoltcp: None,
            smoltcp_split: None,
        }
    }

    #[test]
    fn what_exceeds_its_budget_is_named_and_nothing_else() {
        let budgets = Budgets::of(&[row(1000.0, 300.0)]);
        assert!(budgets.exceeded(&row(1009.0, 349.0)).is_empty());
        assert!(budgets.exceeded(&row(900.0, 0.0)).is_empty());
        assert_eq!(budgets.exceeded(&row(1011.0, 351.0)).len(), 2, "the whole and a stage");
        assert!(budgets.exceeded(&row(1000.0, 351.0))[0].contains("RPC"));
        assert_eq!(Budgets::default().exceeded(&row(1.0, 1.0)).len(), 1, "no budget is no pass");
    }
}
