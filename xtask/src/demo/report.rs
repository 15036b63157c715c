//! What the demo prints at the end: files and benchmark rows of all links side by side.

use core::fmt;

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};

use super::link::Link;
use super::luna::{Health, Row, Transfer};
use super::transfer::{Sample, Transferred};

#[cfg(test)]
mod tests;

/// Everything that was seen.
pub(crate) struct Report {
    sample: Sample,
    pub(crate) files: Vec<Transferred>,
    pub(crate) rows: Vec<Row>,
    /// Runs that were made once more.
    pub(crate) repeated: u32,
}

impl Report {
    pub(crate) fn new(sample: &Sample) -> Self {
        Self { sample: sample.clone(), files: Vec::new(), rows: Vec::new(), repeated: 0 }
    }

    /// Whether every file arrived as it was sent.
    pub(crate) fn intact(&self) -> bool {
        self.files.iter().all(|file| file.intact)
    }

    /// Whether Luna sent nothing again: the kernel's own retransmissions are not ours to judge.
    pub(crate) fn clean(&self) -> bool {
        self.luna().all(Health::is_clean)
    }

    fn luna(&self) -> impl Iterator<Item = Health> + '_ {
        let files = self.files.iter().map(|file| (file.link, file.health));
        let all = files.chain(self.rows.iter().map(|row| (row.link, row.health)));
        all.filter(|(link, _)| link.is_luna()).map(|(_, health)| health)
    }

    /// Requests per second relative to kernel TCP with the same packets; `None` without that row.
    fn ratio(&self, row: &Row) -> Option<f64> {
        let baseline = self.rows.iter().find(|other| other.link == Link::Kernel && other.depth == row.depth)?;
        Some(row.rps / baseline.rps)
    }

    fn files_table(&self) -> Table {
        let mut table = new_table(&[
            "file over",
            "put MiB/s",
            "get MiB/s",
            "SHA-256",
            "copies/byte tx",
            "rx",
            "retransmitted",
            "RTOs",
        ]);
        for file in &self.files {
            let verdict = if file.intact { "equal" } else { "DIFFERS" };
            table.add_row([
                file.link.title().to_owned(),
                format!("{:.0}", mib_per_second(&file.put)),
                format!("{:.0}", mib_per_second(&file.get)),
                verdict.to_owned(),
                copies(file.health, |(tx, _)| tx),
                copies(file.health, |(_, rx)| rx),
                or_dash(file.health.retransmits),
                or_dash(file.health.rtos),
            ]);
        }
        table
    }

    fn rows_table(&self) -> Table {
        let head = [
            "4 KiB RPC over",
            "depth",
            "RPC/s",
            "x kernel",
            "p50 us",
            "p99 us",
            "copies/byte tx",
            "rx",
            "retransmitted",
            "RTOs",
        ];
        let mut table = new_table(&head);
        for row in &self.rows {
            table.add_row([
                row.link.title().to_owned(),
                row.depth.to_string(),
                format!("{:.0}", row.rps),
                self.ratio(row).map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
                format!("{:.1}", row.p50_us),
                format!("{:.1}", row.p99_us),
                copies(row.health, |(tx, _)| tx),
                copies(row.health, |(_, rx)| rx),
                or_dash(row.health.retransmits),
                or_dash(row.health.rtos),
            ]);
        }
        table
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sample { path, bytes, sha256 } = &self.sample;
        writeln!(f, "\n{} ({bytes} bytes)\nSHA-256 {sha256}", path.display())?;
        writeln!(f, "{}\n\n{}", self.files_table(), self.rows_table())?;
        if let Some((sent, answered)) = self.files.iter().find_map(|file| file.pings) {
            writeln!(f, "ping of the same address while Luna traffic ran: the kernel answered {answered} of {sent}")?;
        }
        let luna: Vec<Health> = self.luna().collect();
        let sum = |field: fn(&Health) -> Option<u64>| luna.iter().map(field).sum::<Option<u64>>();
        write!(
            f,
            "Luna, all runs, both sides: {} retransmissions, {} retransmission timeouts",
            or_dash(sum(|health| health.retransmits)),
            or_dash(sum(|health| health.rtos))
        )?;
        if self.repeated > 0 {
            write!(f, "; {} runs with some were repeated", self.repeated)?;
        }
        Ok(())
    }
}

/// The rate of a transfer.
pub(crate) fn mib_per_second(transfer: &Transfer) -> f64 {
    transfer.bytes as f64 / f64::from(1 << 20) / transfer.seconds
}

fn new_table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(head);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn copies(health: Health, direction: fn((f64, f64)) -> f64) -> String {
    health.copies.map(direction).map_or("-".to_owned(), |copies| format!("{copies:.2}"))
}

fn or_dash(number: Option<u64>) -> String {
    number.map_or("-".to_owned(), |number| number.to_string())
}
