//! Any report as tables: for commands that have no page of their own.

use serde::Serialize;
use serde_json::Value;

use super::{Page, Table};

/// Longest list that becomes a table of its own; longer ones are left to JSON.
const ROWS_MAX: usize = 500;

/// A page of a report: its single values in one table, and each list of records in another. The CSV
/// has a line for each value: its path and the value.
pub fn flat(title: &str, report: &impl Serialize) -> Page {
    let value = serde_json::to_value(report).unwrap_or_default();
    let mut page = Page {
        title: title.to_owned(),
        data: Table::new("", &["value", "measured"]),
        ..Page::default()
    };
    let mut single = Table::new("Results", &["value", "measured"]);
    walk("", &value, &mut |path, leaf| {
        page.data.row([path.to_owned(), leaf.clone()]);
        if !path.contains('[') {
            single.row([path.to_owned(), leaf]);
        }
    });
    if !single.rows.is_empty() {
        page.tables.push(single);
    }
    lists("", &value, &mut page.tables);
    page
}

fn walk(path: &str, value: &Value, leaf: &mut impl FnMut(&str, String)) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                walk(&format!("{path}{dot}{name}"), value, leaf);
            }
        }
        Value::Array(values) => {
            for (n, value) in values.iter().enumerate() {
                walk(&format!("{path}[{n}]"), value, leaf);
            }
        }
        Value::Null => {}
        other => leaf(path, plain(other)),
    }
}

/// One table for each list of records, with a column for each value of a record.
fn lists(path: &str, value: &Value, tables: &mut Vec<Table>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                lists(&format!("{path}{dot}{name}"), value, tables);
            }
        }
        Value::Array(records) if !records.is_empty() && records.len() <= ROWS_MAX => {
            tables.push(table(path, records));
        }
        _ => {}
    }
}

fn table(path: &str, records: &[Value]) -> Table {
    let mut table = Table::new(if path.is_empty() { "Results" } else { path }, &[]);
    let mut rows = Vec::new();
    for record in records {
        let mut row = Vec::new();
        walk("", record, &mut |name, leaf| {
            let name = if name.is_empty() { "value" } else { name };
            // Lists inside of a record are in JSON and CSV.
            if name.contains('[') {
                return;
            }
            if !table.columns.iter().any(|column| column == name) {
                table.columns.push(name.to_owned());
            }
            row.push((name.to_owned(), leaf));
        });
        rows.push(row);
    }
    for row in rows {
        let cell = |column: &String| {
            let found = row.iter().find(|(name, _)| name == column);
            found.map_or_else(String::new, |(_, leaf)| leaf.clone())
        };
        let cells: Vec<String> = table.columns.iter().map(cell).collect();
        table.rows.push(cells);
    }
    table
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => {
            let number = number.as_f64().unwrap_or_default();
            format!("{number:.3}")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn single_values_and_lists_of_records_become_tables() {
        let report = json!({
            "lost": 0, "delay_ms": {"p50": 1.25, "p99": 3.0}, "none": null,
            "stages": [{"n": 1, "cpu": 2.5}, {"n": 50, "cpu": 3.5, "why": "a"}],
        });
        let page = flat("Title", &report);
        assert_eq!(page.tables.len(), 2);
        assert_eq!(page.tables[0].rows[0], ["delay_ms.p50", "1.250"]);
        assert_eq!(page.tables[1].columns, ["cpu", "n", "why"]);
        assert_eq!(page.tables[1].rows[0], ["2.500", "1", ""]);
        assert_eq!(page.data.rows.len(), 8);
    }
}
