//! Looks at the machine from time to time, and when somebody asks: `/api/v1/doctor`, the page "Machine"
//! and `shardcast_doctor_findings`. Nothing leaves the machine: platforms are called by the command only.

use std::{sync::Arc, time::Instant};

use tokio::task::spawn_blocking;

use crate::{
    doctor::{self, Question, Report, Root},
    limits,
    state::{Control, Look},
};

/// Looks until the process ends.
pub(crate) async fn keep(control: Arc<Control>) {
    tokio::time::sleep(limits::MACHINE_FIRST_LOOK).await;
    loop {
        recent(&control).await;
        tokio::time::sleep(limits::MACHINE_LOOK).await;
    }
}

/// What a look found that is not older than [`limits::MACHINE_FRESH`]; none only if it failed.
pub(crate) async fn recent(control: &Arc<Control>) -> Option<Arc<Report>> {
    let _turn = control.machine.looking.lock().await;
    let last = control.machine.last();
    if let Some(last) = &last
        && last.at.elapsed() < limits::MACHINE_FRESH
    {
        return Some(Arc::clone(&last.report));
    }
    let cpu_before = last.and_then(|last| last.cpu_times);
    let this = Arc::clone(control);
    let looked = spawn_blocking(move || {
        let root = Root::live();
        doctor::look(&Question {
            root: &root,
            settings: &this.settings,
            settings_problem: None,
            online: false,
            cpu_before,
        })
    });
    let (report, cpu_times) = match looked.await {
        Ok(looked) => looked,
        Err(error) => {
            tracing::error!(%error, "the look at the machine failed");
            return None;
        }
    };
    let report = Arc::new(report);
    control.machine.set(Look {
        at: Instant::now(),
        report: Arc::clone(&report),
        cpu_times,
    });
    Some(report)
}
