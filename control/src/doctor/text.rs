//! A report for a terminal: one line for each finding, with what it costs and what mends it below.

use std::fmt::Write as _;

use super::report::{Level, Report};

/// Width of the column of levels, and of that of titles.
const COLUMNS: (usize, usize) = (8, 20);

/// The report as text.
pub(super) fn of(report: &Report) -> String {
    let mut text = format!("{}\n\n", report.machine());
    let (level, title) = COLUMNS;
    let indent = " ".repeat(level + title + 2);
    for finding in report.findings() {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{:level$} {:title$} {}",
            finding.level.word(),
            finding.title,
            finding.what
        );
        if let Some(cost) = &finding.cost {
            let _ = writeln!(text, "{indent}costs: {cost}");
        }
        if let Some(command) = &finding.command {
            let _ = writeln!(text, "{indent}mend:  {command}");
        }
    }
    let counts: Vec<String> = Level::ALL
        .iter()
        .rev()
        .map(|level| counted(report.count(*level), *level))
        .collect();
    let _ = writeln!(text, "\n{}", counts.join(", "));
    text
}

/// Such as `2 faults`.
fn counted(count: usize, level: Level) -> String {
    let end = match level {
        Level::Fault | Level::Warning if count != 1 => "s",
        _ => "",
    };
    format!("{count} {}{end}", level.word())
}
