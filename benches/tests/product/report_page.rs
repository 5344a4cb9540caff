//! The HTML page of a result: it is well-formed, needs nothing from outside, has plots with axes, units
//! and the measured values, and says what is needed to repeat the measurement.

use roxmltree::{Document, Node, ParsingOptions};
use shardcast_bench::report::{
    Axis, Bar, Limit, Machine, Origin, Page, Plot, PlotKind, Series, Table, html,
};

fn origin() -> Origin {
    Origin {
        command: "shardcast-bench capacity --limit '<7> & \"8\"'".to_owned(),
        started: "2026-11-29T00:00:00Z".to_owned(),
        bench_version: "0.1.0".to_owned(),
        servers: vec![("Shardcast".to_owned(), "shardcast 0.1.0".to_owned())],
        machine: Machine {
            cpu: "A processor".to_owned(),
            cores: 2,
            governor: "performance".to_owned(),
            virtual_machine: true,
            memory_mb: 24_000,
            kernel: "6.18".to_owned(),
            system: "Debian".to_owned(),
        },
    }
}

fn page() -> Page {
    let points = vec![(8.0, 1.25), (16.0, 2.5), (32.0, 60.0)];
    let lines = Plot {
        title: "Delay of each attempt".to_owned(),
        note: String::new(),
        x: Axis::linear("broadcasts"),
        y: Axis::linear("delay, ms").up_to(15.0),
        kind: PlotKind::Lines {
            series: vec![
                Series {
                    name: "holds".to_owned(),
                    points: points.clone(),
                    line: false,
                },
                Series {
                    name: "trend".to_owned(),
                    points,
                    line: true,
                },
            ],
            limits: vec![Limit {
                name: "service level 5 ms".to_owned(),
                at: 5.0,
            }],
        },
    };
    let bars = Plot {
        title: "Cost".to_owned(),
        note: "Lower is better.".to_owned(),
        x: Axis::linear("CPU time, % of a core"),
        y: Axis::linear("server"),
        kind: PlotKind::Bars(vec![Bar {
            name: "a & b".to_owned(),
            min: 0.9,
            median: 1.0,
            max: 1.2,
        }]),
    };
    let mut table = Table::new("Runs", &["run", "p99, ms"]);
    table.row(["1".to_owned(), "2.50".to_owned()]);
    Page {
        title: "Capacity <of> Shardcast".to_owned(),
        lead: vec!["At least 16 & no more.".to_owned()],
        settings: vec![("Warm-up".to_owned(), "3 s".to_owned())],
        plots: vec![lines, bars],
        tables: vec![table],
        data: Table::default(),
    }
}

fn parsed(text: &str) -> Document<'_> {
    let options = ParsingOptions {
        allow_dtd: true,
        ..ParsingOptions::default()
    };
    Document::parse_with_options(text, options).unwrap()
}

fn with_class<'a>(node: Node<'a, 'a>, class: &'a str) -> impl Iterator<Item = Node<'a, 'a>> {
    let has = move |node: &Node<'_, '_>| {
        let classes = node.attribute("class").unwrap_or_default();
        classes.split(' ').any(|one| one == class)
    };
    node.descendants().filter(has)
}

fn text(node: Node<'_, '_>) -> String {
    let texts = node.descendants().filter(Node::is_text);
    texts.filter_map(|node| node.text()).collect()
}

#[test]
fn the_page_is_well_formed_and_loads_nothing() {
    let page = html(&page(), &origin());
    let document = parsed(&page);
    for name in ["script", "link", "img", "iframe", "object"] {
        let found = document.descendants().find(|node| node.has_tag_name(name));
        assert!(found.is_none(), "<{name}> may load something");
    }
    for node in document.descendants().filter(Node::is_element) {
        for name in ["src", "href", "data"] {
            assert_eq!(node.attribute(name), None, "{node:?}");
        }
    }
    assert!(!page.contains("url(") && !page.contains("@import"));
    assert!(page.contains("prefers-color-scheme: dark"));
}

#[test]
fn plots_have_axes_with_units_and_the_measured_values() {
    let page = html(&page(), &origin());
    let document = parsed(&page);
    let figures: Vec<_> = document
        .descendants()
        .filter(|node| node.tag_name().name() == "figure")
        .collect();
    let [lines, bars] = figures[..] else {
        panic!("{} figures", figures.len());
    };
    let labels: Vec<String> = with_class(lines, "label").map(text).collect();
    assert_eq!(labels, ["broadcasts", "delay, ms"]);
    let ticks: Vec<String> = with_class(lines, "tick").map(text).collect();
    assert!(
        ticks.contains(&"30".to_owned()) && ticks.contains(&"5".to_owned()),
        "{ticks:?}"
    );

    // Each value is there, and drawn inside of the axes, the one above the axis at its end.
    let marks: Vec<_> = with_class(lines, "m0")
        .filter(|mark| mark.has_attribute("data-x"))
        .collect();
    let values: Vec<_> = marks
        .iter()
        .map(|mark| {
            (
                mark.attribute("data-x").unwrap(),
                mark.attribute("data-y").unwrap(),
            )
        })
        .collect();
    assert_eq!(values, [("8", "1.250"), ("16", "2.500"), ("32", "60.000")]);
    let limit = with_class(lines, "limit")
        .find(|node| node.has_attribute("data-y"))
        .unwrap();
    assert_eq!(limit.attribute("data-y"), Some("5"));
    let names: Vec<String> = lines
        .descendants()
        .filter(|node| node.tag_name().name() == "li")
        .map(text)
        .collect();
    assert_eq!(names, ["holds", "trend"]);
    let polyline = lines
        .descendants()
        .find(|node| node.tag_name().name() == "polyline");
    assert_eq!(
        polyline.unwrap().attribute("data-to"),
        Some("32.000,60.000")
    );

    assert_eq!(
        with_class(bars, "label").map(text).collect::<Vec<_>>(),
        ["CPU time, % of a core"]
    );
    let bar = with_class(bars, "b0").next().unwrap();
    assert_eq!(bar.attribute("data-value"), Some("1.0000"));
    assert_eq!(
        with_class(bars, "value").map(text).next().unwrap(),
        "1.00 (0.90–1.20)"
    );
    assert_eq!(with_class(bars, "name").map(text).next().unwrap(), "a & b");
}

#[test]
fn the_page_says_how_to_repeat_the_measurement() {
    let page = html(&page(), &origin());
    let document = parsed(&page);
    let command = document
        .descendants()
        .find(|node| node.attribute("id") == Some("command"));
    assert_eq!(text(command.unwrap()), origin().command);
    let all = text(document.root());
    for said in [
        "A processor",
        "performance",
        "6.18",
        "Debian",
        "shardcast 0.1.0",
        "3 s",
        "2026-11-29",
    ] {
        assert!(all.contains(said), "{said} is not on the page");
    }
    let cells: Vec<String> = document
        .descendants()
        .filter(|node| ["th", "td"].contains(&node.tag_name().name()))
        .map(text)
        .collect();
    assert_eq!(cells, ["run", "p99, ms", "1", "2.50"]);
}
