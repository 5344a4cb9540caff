//! The command line.

use std::path::PathBuf;

use crate::encoders::Kind;

const USAGE: &str = "aac-quality CLIPS [OPTIONS]
  CLIPS              folder that ./clips fills
  --rates 64,96,128  bit rates in kbit/s
  --encoders A,B     of ours, fast, twoloop, fdk, syom, oxideav (slow, so not among the defaults)
  --clips A,B        names of clips, all by default
  --runs N           how often the cost is measured, 5 by default, 0 for not at all
  --threads N        clips that are scored at once, 1 by default
  --dump FOLDER      writes what was decoded";

pub struct Options {
    pub folder: PathBuf,
    pub rates: Vec<u32>,
    pub encoders: Vec<Kind>,
    /// Empty for all.
    pub clips: Vec<String>,
    pub runs: usize,
    pub threads: usize,
    pub dump: Option<PathBuf>,
}

impl Options {
    pub fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            folder: PathBuf::new(),
            rates: vec![64, 96, 128],
            encoders: Kind::QUICK.to_vec(),
            clips: Vec::new(),
            runs: 5,
            threads: 1,
            dump: None,
        };
        while let Some(argument) = arguments.next() {
            if argument.starts_with("--") {
                options.set(&argument, &arguments.next().ok_or(USAGE)?)?;
            } else {
                options.folder = argument.into();
            }
        }
        if options.folder.as_os_str().is_empty() {
            Err(USAGE.to_owned())
        } else {
            Ok(options)
        }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let number = |text: &str| {
            text.parse()
                .map_err(|_| format!("{text}: no number\n{USAGE}"))
        };
        let encoder = |name: &str| {
            let found = Kind::ALL.into_iter().find(|kind| kind.name() == name);
            found.ok_or_else(|| format!("{name}: no encoder\n{USAGE}"))
        };
        match name {
            "--rates" => {
                let rates = value
                    .split(',')
                    .map(number)
                    .collect::<Result<Vec<usize>, _>>()?;
                self.rates = rates.into_iter().map(|rate| rate as u32).collect();
            }
            "--encoders" => {
                self.encoders = value.split(',').map(encoder).collect::<Result<_, _>>()?
            }
            "--clips" => self.clips = value.split(',').map(str::to_owned).collect(),
            "--runs" => self.runs = number(value)?,
            "--threads" => self.threads = number(value)?,
            "--dump" => self.dump = Some(value.into()),
            _ => return Err(USAGE.to_owned()),
        }
        Ok(())
    }
}
