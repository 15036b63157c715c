//! The outcomes as text.

use super::Outcome;

fn row(o: &Outcome) -> String {
    format!(
        "{:<8} {:>7} | {:>9.0} {:>9.0} {:>9.0} | {:>8.1} {:>8.1} | {:>7} {:>8} {:>6} | {:>5.1} %",
        o.kind.as_str(),
        o.senders,
        o.percentile(50),
        o.percentile(99),
        o.percentile(100),
        o.mean_depth(),
        o.most_depth(),
        o.dropped,
        o.retransmits,
        o.timeouts,
        o.load * 100.0
    )
}

/// A table of runs, one line each.
#[must_use]
pub fn table(title: &str, outcomes: &[Outcome]) -> String {
    let mut text = format!(
        "{title}\n{:<8} {:>7} | {:>9} {:>9} {:>9} | {:>8} {:>8} | {:>7} {:>8} {:>6} | {:>7}\n{:<8} {:>7} | {:>29} | {:>17} |\n",
        "",
        "senders",
        "median",
        "p99",
        "worst",
        "mean",
        "most",
        "dropped",
        "resent",
        "RTOs",
        "load",
        "",
        "",
        "µs a flow",
        "queue, kB"
    );
    for o in outcomes {
        text.push_str(&row(o));
        text.push('\n');
    }
    text
}
