//! `muxerFinishScript`: the operator's program for each finished file. No shell reads its line, so nothing in the
//! name of a file is a command.

use std::{path::PathBuf, process::Stdio, sync::Arc};

use tokio::{process::Command, time::timeout};

use crate::{limits, state::Control};

/// Runs the program of `application`, if it has one, with the path of `file` behind its arguments.
pub(super) fn run(control: &Arc<Control>, application: &str, file: PathBuf) {
    let Some(settings) = control.application(application) else {
        return;
    };
    let line = &settings.recording.finish_script;
    let mut words = line.split_whitespace().map(str::to_owned);
    let Some(program) = words.next() else {
        return;
    };
    let arguments: Vec<String> = words.collect();
    let turn = Arc::clone(&control.recordings.scripts);
    tokio::spawn(async move {
        // A semaphore that is never closed never fails.
        let _turn = turn.acquire_owned().await;
        let mut command = Command::new(&program);
        command
            .args(arguments)
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true);
        let ran = timeout(limits::FINISH_SCRIPT_TIME, command.status()).await;
        let problem = match ran {
            Ok(Ok(status)) if status.success() => return,
            Ok(Ok(status)) => status.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it took too long and was killed".to_owned(),
        };
        tracing::warn!(program, file = %file.display(), problem, "muxerFinishScript failed");
    });
}
