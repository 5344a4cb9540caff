//! A table: as aligned text, as CSV, and as a part of a page.

use std::fmt::Write;

/// Columns with their units in the names, and rows of texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// What the rows are.
    pub title: String,
    /// Names of the columns, with units.
    pub columns: Vec<String>,
    /// The rows; each has as many cells as there are columns.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub fn new(title: &str, columns: &[&str]) -> Self {
        Self {
            title: title.to_owned(),
            columns: columns.iter().map(|name| (*name).to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Columns of equal width; those that hold numbers only are aligned to the right.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if !self.title.is_empty() {
            text.push_str(&self.title);
            text.push('\n');
        }
        let mut lines = vec![&self.columns];
        lines.extend(&self.rows);
        text.push_str(&aligned(&lines, |column| self.is_numeric(column)));
        text
    }

    /// The table as CSV (RFC 4180), with the names of the columns in the first line.
    pub fn csv(&self) -> String {
        let mut text = String::new();
        for line in std::iter::once(&self.columns).chain(&self.rows) {
            let cells: Vec<String> = line.iter().map(|cell| quoted(cell)).collect();
            text.push_str(&cells.join(","));
            text.push_str("\r\n");
        }
        text
    }

    /// Whether all cells of a column are numbers or empty.
    pub fn is_numeric(&self, column: usize) -> bool {
        let mut cells = self.rows.iter().filter_map(|row| row.get(column));
        cells.all(|cell| {
            let first = cell.trim_start_matches(['-', '−', '≥', '+']).chars().next();
            first.is_none_or(|c| c.is_ascii_digit())
        })
    }
}

/// Lines of cells with columns of equal width. `to_right` says which columns are aligned to the right.
pub fn aligned(lines: &[&Vec<String>], to_right: impl Fn(usize) -> bool) -> String {
    let columns = lines.iter().map(|line| line.len()).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let mut out = String::new();
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let gap = if column > 0 { "  " } else { "" };
            // Writing to a string cannot fail.
            let _ = if to_right(column) {
                write!(out, "{gap}{cell:>width$}")
            } else {
                write!(out, "{gap}{cell:<width$}")
            };
        }
        text.push_str(out.trim_end());
        text.push('\n');
    }
    text
}

fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_aligned_and_csv_is_quoted_where_it_has_to_be() {
        let mut table = Table::new("Runs", &["server", "CPU, %"]);
        table.row(["nginx".to_owned(), "1.25".to_owned()]);
        table.row(["a \"b\", c".to_owned(), "10.00".to_owned()]);
        assert_eq!(
            table.text(),
            "Runs\nserver    CPU, %\nnginx       1.25\na \"b\", c   10.00\n"
        );
        assert_eq!(
            table.csv(),
            "server,\"CPU, %\"\r\nnginx,1.25\r\n\"a \"\"b\"\", c\",10.00\r\n"
        );
    }
}
