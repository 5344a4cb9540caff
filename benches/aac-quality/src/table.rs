//! The tables, in Markdown.

use crate::Cell;
use crate::clip::Clip;
use crate::encoders::{Cost, Kind};
use crate::score::Score;

pub fn print(rate: u32, kinds: &[Kind], clips: &[Clip], cells: &[Vec<Cell>], costs: &[Cost]) {
    println!("\n### {rate} kbit/s\n\nViSQOL MOS-LQO / noise-to-mask ratio in dB\n");
    header("clip", kinds);
    for (clip, row) in clips.iter().zip(cells) {
        let text = |cell: &Cell| match cell {
            Ok(score) => format!("{:.2} / {:.1}", score.mos, score.nmr_db),
            Err(_) => "failed".to_owned(),
        };
        line(&clip.name, row.iter().map(text));
    }
    let column = |k: usize| cells.iter().filter_map(move |row| row[k].as_ref().ok());
    let summary = |name: &str, value: &dyn Fn(&[&Score]) -> String| {
        line(
            name,
            (0..kinds.len()).map(|k| value(&column(k).collect::<Vec<_>>())),
        );
    };
    let mean = |scores: &[&Score], of: fn(&Score) -> f64| {
        scores.iter().map(|s| of(s)).sum::<f64>() / scores.len().max(1) as f64
    };
    let least = |scores: &[&Score], of: fn(&Score) -> f64| {
        scores.iter().map(|s| of(s)).fold(f64::INFINITY, f64::min)
    };
    summary("**mean**", &|s| {
        format!(
            "**{:.2} / {:.1}**",
            mean(s, |s| s.mos),
            mean(s, |s| s.nmr_db)
        )
    });
    summary("**worst**", &|s| {
        format!(
            "**{:.2} / {:.1}**",
            least(s, |s| s.mos),
            -least(s, |s| -s.nmr_db)
        )
    });
    summary("disturbed frames, %", &|s| {
        format!("{:.1}", mean(s, |s| s.disturbed))
    });
    summary("bit rate, kbit/s (mean; most)", &|s| {
        format!(
            "{:.1}; {:.1}",
            mean(s, |s| s.bps) / 1e3,
            -least(s, |s| -s.bps) / 1e3
        )
    });
    summary("least agreement of the decoders, dB", &|s| {
        format!("{:.0}", least(s, |s| s.decoders_db))
    });
    if costs.iter().any(|cost| cost.stereo_us.is_finite()) {
        line(
            "cost, µs per stereo frame",
            costs.iter().map(|c| format!("{:.0}", c.stereo_us)),
        );
        line(
            "cost, µs per mono frame",
            costs.iter().map(|c| format!("{:.0}", c.mono_us)),
        );
    }
}

fn header(first: &str, kinds: &[Kind]) {
    line(first, kinds.iter().map(|k| k.name().to_owned()));
    println!("|---|{}", "---|".repeat(kinds.len()));
}

fn line(first: &str, cells: impl Iterator<Item = String>) {
    println!("| {first} | {} |", cells.collect::<Vec<_>>().join(" | "));
}
