//! One HTML page that needs nothing else: style and plots are inside, and it is well-formed XML.

use std::fmt::Write;

use super::origin::Origin;
use super::plot::{Plot, PlotKind};
use super::svg::{COLOURS, mark, svg};
use super::{Page, Table};

const STYLE: &str = include_str!("page.css");

/// The page of a result.
pub fn html(page: &Page, origin: &Origin) -> String {
    let mut out = String::new();
    let title = escaped(&page.title);
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n\
         <meta charset=\"utf-8\"/>\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta name=\"color-scheme\" content=\"light dark\"/>\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
    );
    for (n, line) in page.lead.iter().enumerate() {
        let class = if n == 0 { " class=\"lead\"" } else { "" };
        let _ = writeln!(out, "<p{class}>{}</p>", escaped(line));
    }
    for plot in &page.plots {
        figure(&mut out, plot);
    }
    for shown in &page.tables {
        table(&mut out, shown);
    }
    repeat(&mut out, page, origin);
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn figure(out: &mut String, plot: &Plot) {
    let _ = writeln!(out, "<figure>\n<h2>{}</h2>", escaped(&plot.title));
    if !plot.note.is_empty() {
        let _ = writeln!(out, "<p class=\"note\">{}</p>", escaped(&plot.note));
    }
    if let PlotKind::Lines { series, .. } = &plot.kind {
        out.push_str("<ul class=\"legend\">\n");
        for (n, series) in series.iter().enumerate() {
            let colour = n % COLOURS;
            let swatch = if series.line {
                format!("<line class=\"s{colour}\" x1=\"0\" y1=\"8\" x2=\"26\" y2=\"8\"/>")
            } else {
                mark(colour, 13.0, 8.0, &format!("class=\"m{colour}\"")) + "</path>"
            };
            let _ = writeln!(
                out,
                "<li><svg viewBox=\"0 0 26 16\" width=\"26\" height=\"16\" aria-hidden=\"true\">{swatch}</svg>{}</li>",
                escaped(&series.name)
            );
        }
        out.push_str("</ul>\n");
    }
    out.push_str(&svg(plot));
    out.push_str("\n</figure>\n");
}

fn table(out: &mut String, table: &Table) {
    let _ = writeln!(
        out,
        "<section>\n<h2>{}</h2>\n<div class=\"scroll\"><table>\n<thead><tr>",
        escaped(&table.title)
    );
    let class = |column: usize| {
        if table.is_numeric(column) {
            " class=\"number\""
        } else {
            ""
        }
    };
    for (n, name) in table.columns.iter().enumerate() {
        let _ = write!(out, "<th{}>{}</th>", class(n), escaped(name));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        out.push_str("<tr>");
        for (n, cell) in row.iter().enumerate() {
            let _ = write!(out, "<td{}>{}</td>", class(n), escaped(cell));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n</section>\n");
}

/// Everything that is needed to measure the same again.
fn repeat(out: &mut String, page: &Page, origin: &Origin) {
    out.push_str("<section>\n<h2>To measure this again</h2>\n");
    let _ = writeln!(
        out,
        "<pre id=\"command\">{}</pre>",
        escaped(&origin.command)
    );
    out.push_str("<dl>\n");
    let version = ("shardcast-bench".to_owned(), origin.bench_version.clone());
    let started = ("Started".to_owned(), origin.started.clone());
    let machine = origin.machine.rows();
    let all = [started, version]
        .into_iter()
        .chain(origin.servers.iter().cloned())
        .chain(machine)
        .chain(page.settings.iter().cloned());
    for (name, value) in all {
        let _ = writeln!(
            out,
            "<div><dt>{}</dt><dd>{}</dd></div>",
            escaped(&name),
            escaped(&value)
        );
    }
    out.push_str("</dl>\n</section>\n");
}

/// Text of an element or of an attribute in double quotes. What XML does not allow is left out.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || c == '\u{fffe}' || c == '\u{ffff}' => {}
            c => out.push(c),
        }
    }
    out
}
