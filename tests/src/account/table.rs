//! The account in print.

use super::budget::Budgets;
use super::{AIMS, Row};
use crate::callgrind::Cost;
use crate::callgrind::attribute::STAGES;

fn number(n: Option<f64>) -> String {
    n.map_or("-".to_owned(), |n| format!("{n:.0}"))
}

/// Instructions beside budget, others and goal; then what else was counted.
pub fn print_totals(rows: &[Row], budgets: &Budgets) {
    println!("\ninstructions per echo RPC, both ends, both directions; the link's gather is not in them");
    println!(
        "stream: Luna without its RPC layer, which is what the C stacks were measured with\n\
         smoltcp 0.14: poll, application, egress; split: ingress, application, egress, so that it sends as few frames"
    );
    println!(
        "{:<43} {:>7} {:>7} | {:>7} {:>7} {:>7} | {:>7} {:>7} | {:>12} {:>7}",
        "", "Luna", "budget", "stream", "touch", "digest", "smoltcp", "split", "leanest C", "goal"
    );
    for row in rows {
        let aim = AIMS.iter().find(|aim| aim.scenario == row.scenario);
        let instructions = |cost: &Option<Cost>| number(cost.as_ref().map(|c| c.instructions));
        let leanest = aim.and_then(|a| a.leanest).map_or("-".to_owned(), |(who, n)| format!("{who} {n}"));
        println!(
            "{:<43} {:>7.0} {:>7} | {:>7} {:>7} {:>7} | {:>7} {:>7} | {:>12} {:>7}",
            row.name,
            row.luna.instructions,
            number(budgets.get(&row.name).map(|b| b.total)),
            number(row.stream),
            number(row.touch),
            number(row.digest),
            instructions(&row.smoltcp),
            instructions(&row.smoltcp_split),
            leanest,
            aim.map_or("-".to_owned(), |a| a.goal.to_string()),
        );
    }
    println!(
        "\nper RPC: frames; copies of each payload byte; misses of the last level of cache; the gather's instructions"
    );
    println!("{:<43} {:>21} | {:>21} | {:>7} | {:>21}", "", "frames", "copies", "misses", "gather");
    println!(
        "{:<43} {:>6} {:>7} {:>6} | {:>6} {:>7} {:>6} | {:>7} | {:>6} {:>7} {:>6}",
        "", "Luna", "smoltcp", "split", "Luna", "smoltcp", "split", "Luna", "Luna", "smoltcp", "split"
    );
    for row in rows {
        let each = |digits: usize, get: &dyn Fn(&Cost) -> f64| {
            let show = |c: Option<&Cost>| c.map_or("-".to_owned(), |c| format!("{:.digits$}", get(c)));
            let [luna, smoltcp, split] = [Some(&row.luna), row.smoltcp.as_ref(), row.smoltcp_split.as_ref()].map(show);
            format!("{luna:>6} {smoltcp:>7} {split:>6}")
        };
        println!(
            "{:<43} {} | {} | {:>7.2} | {}",
            row.name,
            each(2, &|c| c.frames),
            each(3, &|c| c.copies),
            row.luna.misses,
            each(0, &|c| c.gather)
        );
    }
}

/// Luna's instructions by stage.
pub fn print_stages(rows: &[Row]) {
    println!("\nLuna's instructions per RPC by stage");
    print!("{:<43}", "");
    STAGES.iter().for_each(|name| print!(" {name:>11}"));
    println!();
    for row in rows {
        print!("{:<43}", row.name);
        row.stages.iter().for_each(|(_, cost)| print!(" {cost:>11.0}"));
        println!();
    }
}
