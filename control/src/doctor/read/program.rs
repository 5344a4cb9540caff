//! Runs programs that read the machine, and reads what they print.

use std::{
    ffi::OsStr,
    io::Read,
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// How long a program may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes that are read of its output: a large set of rules of nftables.
const OUTPUT_BYTES_MAX: u64 = 16 << 20;
/// Bytes that are shown of its errors.
const ERROR_BYTES_MAX: u64 = 300;

/// What `program` prints.
///
/// # Errors
/// What it prints as its error, or why it did not run, for people.
pub(super) fn output<A: AsRef<OsStr>>(
    program: &Path,
    arguments: impl IntoIterator<Item = A>,
) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(arguments);
    output_of(command, PATIENCE)
}

/// The same for a command that is made already, within `patience`.
pub(super) fn output_of(mut command: Command, patience: Duration) -> Result<String, String> {
    let shown = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(|error| format!("{shown} does not start: {error}"))?;
    let printed = read_aside(child.stdout.take(), OUTPUT_BYTES_MAX);
    let complaint = read_aside(child.stderr.take(), ERROR_BYTES_MAX);
    let Ok(printed) = printed.recv_timeout(patience) else {
        // It may have ended meanwhile.
        let _ = child.kill();
        let _ = child.wait();
        return Err(format!("{shown} does not end"));
    };
    let status = child.wait().map_err(|error| error.to_string())?;
    if status.success() {
        return Ok(printed);
    }
    let complaint = complaint.recv_timeout(patience).unwrap_or_default();
    match complaint.lines().next() {
        Some(line) if !line.trim().is_empty() => Err(line.trim().to_owned()),
        _ => Err(format!("{shown} ends with {status}")),
    }
}

/// Reads a pipe to its end on a thread, so that neither pipe fills while the other is read.
fn read_aside(pipe: Option<impl Read + Send + 'static>, bytes_max: u64) -> mpsc::Receiver<String> {
    let (done, waiting) = mpsc::channel();
    // Without a thread nothing comes, which is what a program that does not end looks like.
    let _ = thread::Builder::new().spawn(move || {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            let _ = pipe.take(bytes_max).read_to_end(&mut bytes);
        }
        let _ = done.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    waiting
}
