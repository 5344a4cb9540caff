//! Embeds the pages (`web/public`) and the browser SDK (`web/node_modules`) into the binary, so
//! that one file is the whole product.

use std::{
    env,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

const SDK: &str = "web/node_modules/@antmedia/webrtc_adaptor/dist/es";

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
    if !sdk.join("index.js").is_file() {
        return Err(format!(
            "the browser SDK is missing: {} does not exist. Run `npm ci` in control/web, or use \
             `make`, which does it.",
            sdk.join("index.js").display()
        ));
    }
    let mut table = String::from("&[\n");
    embed(&mut table, &root.join("web/public"), "/")?;
    embed(&mut table, &sdk, "/sdk/")?;
    table.push(']');
    let out = env::var("OUT_DIR").map_err(|e| e.to_string())?;
    fs::write(Path::new(&out).join("pages.rs"), table).map_err(|e| e.to_string())
}

/// Adds every file below `folder` to the table as `(path, content)`, sorted by path.
fn embed(table: &mut String, folder: &Path, prefix: &str) -> Result<(), String> {
    let mut files = Vec::new();
    walk(folder, &mut files).map_err(|e| format!("cannot read {}: {e}", folder.display()))?;
    files.sort();
    for file in files {
        let relative = file.strip_prefix(folder).map_err(|e| e.to_string())?;
        let url = format!("{prefix}{}", relative.to_string_lossy());
        writeln!(
            table,
            "    ({url:?}, include_bytes!({:?}) as &[u8]),",
            file.display().to_string()
        )
        .map_err(|e| e.to_string())?;
    }
    Ok(())
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
