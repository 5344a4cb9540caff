//! Embeds the pages (`web/public`), the browser SDK and hls.js (`web/node_modules`) into the binary, so
//! that one file is the whole product.

use std::{
    env,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

const SDK: &str = "web/node_modules/@antmedia/webrtc_adaptor/dist/es";
/// The script whose global `adapter` the SDK looks for, and the player of HLS; each with its licence, which goes
/// wherever it does.
const SCRIPTS: [(&str, &str); 4] = [
    (
        "web/node_modules/webrtc-adapter/out/adapter.js",
        "/sdk/adapter.js",
    ),
    (
        "web/node_modules/webrtc-adapter/LICENSE.md",
        "/sdk/adapter.license.txt",
    ),
    (
        "web/node_modules/hls.js/dist/hls.light.min.mjs",
        "/hls/hls.mjs",
    ),
    ("web/node_modules/hls.js/LICENSE", "/hls/hls.license.txt"),
];

fn main() -> ExitCode {
    match generate() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn generate() -> Result<(), String> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").map_err(|e| e.to_string())?);
    let sdk = root.join(SDK);
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=web/public");
    println!("cargo::rerun-if-changed={SDK}");
    let scripts = SCRIPTS.map(|(file, url)| (root.join(file), url));
    let index = sdk.join("index.js");
    for file in scripts.iter().map(|(file, _)| file).chain([&index]) {
        println!("cargo::rerun-if-changed={}", file.display());
        if !file.is_file() {
            return Err(format!(
                "a part of the pages is missing: {} does not exist. Run `npm ci` in \
                 control/web, or use `make`, which does it.",
                file.display()
            ));
        }
    }
    let mut table = String::from("&[\n");
    embed(&mut table, &root.join("web/public"), "/")?;
    embed(&mut table, &sdk, "/sdk/")?;
    for (file, url) in &scripts {
        entry(&mut table, url, file)?;
    }
    table.push(']');
    println!(
        "cargo::rustc-env=SHARDCAST_BUILD_NUMBER={}",
        build_number()?
    );
    let out = env::var("OUT_DIR").map_err(|e| e.to_string())?;
    fs::write(Path::new(&out).join("pages.rs"), table).map_err(|e| e.to_string())
}

/// `yyyyMMdd_HHmm` in UTC: when this runs, or `SOURCE_DATE_EPOCH` for builds that can be repeated
/// (<https://reproducible-builds.org/specs/source-date-epoch/>).
fn build_number() -> Result<String, String> {
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    let unix_s = match env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text
            .parse()
            .map_err(|e| format!("SOURCE_DATE_EPOCH {text}: {e}"))?,
        Err(_) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            now.map_err(|e| e.to_string())?.as_secs()
        }
    };
    let (year, month, day) = civil(unix_s / 86_400);
    let minutes = unix_s / 60 % 1_440;
    let (hour, minute) = (minutes / 60, minutes % 60);
    Ok(format!("{year:04}{month:02}{day:02}_{hour:02}{minute:02}"))
}

/// Year, month and day in the Gregorian calendar, so many days after 1970-01-01.
fn civil(days: u64) -> (u64, u64, u64) {
    // Counted in eras of 400 years from a 1 March, so that leap days come last.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

/// Adds every file below `folder` to the table as `(path, content)`, sorted by path.
fn embed(table: &mut String, folder: &Path, prefix: &str) -> Result<(), String> {
    let mut files = Vec::new();
    walk(folder, &mut files).map_err(|e| format!("cannot read {}: {e}", folder.display()))?;
    files.sort();
    for file in files {
        let relative = file.strip_prefix(folder).map_err(|e| e.to_string())?;
        let url = format!("{prefix}{}", relative.to_string_lossy());
        entry(table, &url, &file)?;
    }
    Ok(())
}

fn entry(table: &mut String, url: &str, file: &Path) -> Result<(), String> {
    let file = file.display().to_string();
    writeln!(table, "    ({url:?}, include_bytes!({file:?}) as &[u8]),").map_err(|e| e.to_string())
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with('.') || name.to_string_lossy().ends_with(".d.ts") {
            continue;
        }
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}
