//! Where results go: text on standard output, and files for programs and for people.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use clap::Args;
use serde::Serialize;
use shardcast_bench::{
    BenchError,
    report::{Origin, Page, flat, html},
};
use tokio::time::sleep;

/// Standard output in place of a file.
const STDOUT: &str = "-";

/// Files of the result.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct OutputArgs {
    /// Write the result with machine, versions and command as JSON; - prints it in place of the text
    #[arg(long, global = true, value_name = "FILE|-")]
    json: Option<PathBuf>,
    /// Write the measured values as CSV; - prints it in place of the text
    #[arg(long, global = true, value_name = "FILE|-")]
    csv: Option<PathBuf>,
    /// Write one HTML page with tables and plots, and with all that is needed to repeat the measurement
    #[arg(long, global = true, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// The result of one command on its way out.
#[derive(Debug)]
pub(crate) struct Output {
    args: OutputArgs,
    origin: Origin,
}

#[derive(Serialize)]
struct Document<'a, R> {
    #[serde(flatten)]
    origin: &'a Origin,
    settings: serde_json::Map<String, serde_json::Value>,
    report: &'a R,
}

impl Output {
    /// Looks at machine and time: made before the measurement.
    pub(crate) fn new(args: OutputArgs) -> Self {
        Self {
            args,
            origin: Origin::here(),
        }
    }

    /// Adds a server that is measured, with its version.
    pub(crate) fn server(&mut self, name: &str, version: String) {
        self.origin.servers.push((name.to_owned(), version));
    }

    /// Adds the Shardcast at this path, or the one next to this executable.
    pub(crate) fn shardcast(&mut self, path: Option<&Path>) {
        let own = std::env::current_exe().unwrap_or_default();
        let path = path.unwrap_or_else(|| own.parent().unwrap_or(Path::new(".")));
        let program = if path.is_dir() {
            path.join("shardcast")
        } else {
            path.to_owned()
        };
        self.server("Shardcast", version(&program, "--version"));
    }

    /// Whether the text is to be printed, and nothing else.
    pub(crate) fn is_text(&self) -> bool {
        let is_stdout = |path: &Option<PathBuf>| path.as_deref() == Some(Path::new(STDOUT));
        !is_stdout(&self.args.json) && !is_stdout(&self.args.csv)
    }

    /// Writes a result that has a page.
    pub(crate) fn page(&self, page: &Page, report: &impl Serialize) -> Result<(), BenchError> {
        self.files(page, report)?;
        if self.is_text() {
            print!("{}", page.text());
        }
        Ok(())
    }

    /// Writes a result that has none: files, of which the tables are made from the report. Returns
    /// whether the text is to be printed.
    pub(crate) fn flat(&self, title: &str, report: &impl Serialize) -> Result<bool, BenchError> {
        if self.args.csv.is_some() || self.args.html.is_some() {
            self.files(&flat(title, report), report)?;
        } else {
            self.files(&Page::default(), report)?;
        }
        Ok(self.is_text())
    }

    fn files(&self, page: &Page, report: &impl Serialize) -> Result<(), BenchError> {
        let OutputArgs {
            json,
            csv,
            html: file,
        } = &self.args;
        if let Some(path) = json {
            let settings = page.settings.iter();
            let document = Document {
                origin: &self.origin,
                settings: settings
                    .map(|(name, value)| (name.clone(), value.as_str().into()))
                    .collect(),
                report,
            };
            let text = serde_json::to_string_pretty(&document).map_err(|error| {
                BenchError::Argument(format!("the report cannot be JSON: {error}"))
            })?;
            write(path, &(text + "\n"))?;
        }
        if let Some(path) = csv {
            write(path, &page.data.csv())?;
        }
        if let Some(path) = file {
            write(path, &html(page, &self.origin))?;
        }
        Ok(())
    }
}

fn write(path: &Path, text: &str) -> Result<(), BenchError> {
    if path == Path::new(STDOUT) {
        print!("{text}");
        return Ok(());
    }
    fs::write(path, text).map_err(|error| BenchError::File {
        path: path.to_owned(),
        error,
    })
}

/// What a program says of its version, on either output; of several lines, the first.
pub(super) fn version(program: &Path, flag: &str) -> String {
    let said = Command::new(program).arg(flag).output();
    let said = said.map(|output| {
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        text.lines().next().unwrap_or_default().trim().to_owned()
    });
    match said {
        Ok(text) if !text.is_empty() => text,
        _ => "unknown".to_owned(),
    }
}

/// Longer measurements say what they do meanwhile; the result goes to standard output.
pub(super) fn progress(line: &str) {
    eprintln!("{line}");
}

/// Waits for this time, or until Ctrl-C without one.
pub(super) async fn wait(seconds: Option<u64>) {
    let time = async {
        match seconds {
            Some(seconds) => sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = time => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
