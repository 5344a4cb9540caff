//! Results for people and for programs: tables as text and CSV, JSON, and one HTML page with plots that
//! holds everything that is needed to measure the same again.
//!
//! A command fills a [`Page`]; [`Origin`] says where, when and with what it was measured.

mod flat;
mod html;
mod machine;
mod origin;
mod plot;
mod scale;
mod svg;
mod table;

pub use flat::flat;
pub use html::html;
pub use machine::Machine;
pub use origin::{Origin, utc};
pub use plot::{Axis, AxisScale, Bar, Limit, Plot, PlotKind, Series};
pub use table::{Table, aligned};

/// A result as people read it.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// What was measured.
    pub title: String,
    /// The result in sentences, the most important one first.
    pub lead: Vec<String>,
    /// The settings of the measurement: name and value with its unit.
    pub settings: Vec<(String, String)>,
    /// Plots, in this order.
    pub plots: Vec<Plot>,
    /// Tables, in this order.
    pub tables: Vec<Table>,
    /// The measured values one by one; this is what the CSV file holds.
    pub data: Table,
}

impl Page {
    /// The sentences and tables as text for a terminal.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in &self.lead {
            text.push_str(line);
            text.push('\n');
        }
        for table in &self.tables {
            text.push('\n');
            text.push_str(&table.text());
        }
        text
    }
}
