//! The report of `watch`.

use shardcast_bench::{
    BenchError,
    watch::{WatchReport, WatchStage},
};

use super::percentiles;
use crate::cli::Output;

pub(crate) fn watch(report: &WatchReport, output: &Output) -> Result<(), BenchError> {
    if !output.flat("Viewers over WebRTC", report)? {
        return Ok(());
    }
    println!("{} broadcasts, one destination each", report.broadcasts);
    for stage in &report.stages {
        self::stage(stage);
    }
    println!(
        "destinations           {} frames missing of {}",
        report.destination_frames_missing, report.frames_sent
    );
    if report.frames_sent_late > 0 {
        println!(
            "{} frames left the generator more than 5 ms late: it caused part of the delays",
            report.frames_sent_late
        );
    }
    for fault in &report.faults {
        println!("fault: {fault}");
    }
    Ok(())
}

fn stage(stage: &WatchStage) {
    println!("{} viewers", stage.viewers);
    println!(
        "  engine               {:.1} % of a core; {:.3} %, {:.2} µs a packet and {:.2} MB for each viewer",
        stage.engine_cpu_percent,
        stage.engine_cpu_percent_per_viewer,
        stage.engine_us_per_packet,
        stage.engine_mb_per_viewer
    );
    println!(
        "  generator            {:.1} % of a core, {:.0} packets a second",
        stage.generator_cpu_percent, stage.packets_per_second
    );
    println!(
        "  seen                 {:.2} % of the frames at least, {} packets lost, {} freezes of {:.0} ms at most",
        stage.frames_seen_percent_min, stage.packets_lost, stage.freezes, stage.freeze_ms_max
    );
    println!(
        "  audio                pauses of {:.0} ms at most",
        stage.audio_gap_ms_max
    );
    println!("  delay                {}", percentiles(stage.delay_ms));
    println!(
        "  at the destinations  {}",
        percentiles(stage.destination_delay_ms)
    );
    println!(
        "  first frame          {}",
        percentiles(stage.first_frame_ms)
    );
    if let Some(fall) = &stage.rate_fall {
        println!("  rung after the fall  {}", percentiles(fall.down_ms));
        println!("  back after return    {}", percentiles(fall.up_ms));
        println!(
            "                       {} changes of one viewer at most, {} viewers without both",
            fall.changes_max, fall.without
        );
    }
}
