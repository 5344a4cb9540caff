//! Reports of the measurements of re-encoding.

use shardcast_bench::{
    BenchError,
    bitrate::BitrateReport,
    hostile::HostileReport,
    interference::{InterferenceReport, InterferenceStage},
    overload::OverloadReport,
    passthrough_probe::PassthroughReport,
    reencode::{FrameCost, ReencodeReport},
    stats::{Percentiles, Spread},
};

use crate::cli::Output;

pub(crate) fn reencode(report: &ReencodeReport, output: &Output) -> Result<(), BenchError> {
    if !output.flat("Cost of a re-encode", report)? {
        return Ok(());
    }
    println!("{}", report.source);
    for spec in &report.renditions {
        println!(
            "to {} lines at {} frames a second, {} kbit/s, {:?}",
            spec.height,
            spec.frames_per_second,
            spec.video_bps / 1_000,
            spec.preset
        );
    }
    println!("CPU time per frame     decode    scale   encode    total");
    for run in &report.runs {
        cost("Shardcast's codecs", run.shardcast);
        println!(
            "  whole codec threads {:>25} {:>8.0} µs",
            "", run.shardcast_threads_us
        );
        cost("the codecs alone", run.baseline);
        println!("  ffmpeg -threads 1 {:>27} {:>8.0} µs", "", run.ffmpeg_us);
        println!(
            "  {} sent, {} decoded ({} late), {:?} encoded{}",
            run.frames_sent,
            run.frames_decoded,
            run.frames_late,
            run.frames_encoded,
            if run.throttled { ", throttled" } else { "" }
        );
    }
    println!(
        "against codecs alone   {} (wanted 1.10)",
        ratios(report.to_baseline)
    );
    println!(
        "  whole codec threads  {}",
        ratios(report.threads_to_baseline)
    );
    println!("against ffmpeg         {}", ratios(report.to_ffmpeg));
    for video in &report.received {
        println!("received               {}", super::video(video));
    }
    Ok(())
}

fn cost(name: &str, cost: FrameCost) {
    println!(
        "  {name:<19} {:>7.0} {:>8.0} {:>8.0} {:>8.0} µs",
        cost.decode_us,
        cost.scale_us,
        cost.encode_us,
        cost.total_us()
    );
}

fn ratios(spread: Option<Spread>) -> String {
    spread.map_or("-".to_owned(), |s| {
        format!(
            "{:.2}/{:.2}/{:.2} (min/median/max of {})",
            s.min, s.median, s.max, s.count
        )
    })
}

pub(crate) fn interference(report: &InterferenceReport, output: &Output) -> Result<(), BenchError> {
    if !output.flat("A passthrough broadcast beside a re-encode", report)? {
        return Ok(());
    }
    match &report.generator_cores {
        Some(cores) => println!("engine on core 0, generator and sinks on cores {cores}"),
        None => println!("generator and sinks share the core of the engine"),
    }
    println!("delay in ms                        p50     p90     p99   p99.9     max    lost");
    for stage in &report.stages {
        delays(stage.name, &stage.passthrough);
        if stage.renditions > 0 {
            load(stage);
        }
        faults(&stage.passthrough);
    }
    if let Some(added) = report.added_p99_ms {
        println!("added at p99 by codecs on their own thread: {added:.1} ms (wanted 5)");
    }
    if let Some(why) = &report.not_inline {
        println!("codecs on the executor were not measured: {why}");
    }
    Ok(())
}

fn delays(name: &str, passthrough: &PassthroughReport) {
    match passthrough.delay_ms {
        Some(Percentiles {
            p50,
            p90,
            p99,
            p999,
            max,
            ..
        }) => println!(
            "{name:<30} {p50:>7.1} {p90:>7.1} {p99:>7.1} {p999:>7.1} {max:>7.1} {:>7}",
            passthrough.frames_lost
        ),
        None => println!(
            "{name:<30} no delays, {} frames lost",
            passthrough.frames_lost
        ),
    }
}

fn load(stage: &InterferenceStage) {
    println!(
        "  {} renditions, {} frames encoded, {} late; codecs {:.0} % of a core, shard {:.0} %{}",
        stage.renditions,
        stage.frames_encoded,
        stage.frames_late,
        stage.codec_cpu_percent,
        stage.shard_cpu_percent,
        if stage.throttled { ", throttled" } else { "" }
    );
    if let Some(reason) = &stage.refusal {
        println!("  further ones refused: {reason}");
    }
}

fn faults(passthrough: &PassthroughReport) {
    if passthrough.frames_sent_late > 0 {
        println!(
            "  {} frames left the generator late: it caused part of the delays",
            passthrough.frames_sent_late
        );
    }
    for fault in &passthrough.faults {
        println!("  fault: {fault}");
    }
}

pub(crate) fn overload(report: &OverloadReport, output: &Output) -> Result<(), BenchError> {
    if !output.flat("More renditions than can be made", report)? {
        return Ok(());
    }
    println!(
        "{} renditions requested, {} admitted; codecs use {} of {} thousandths of a core",
        report.asked,
        report.admitted.len(),
        report.codec.used_permille,
        report.codec.capacity_permille
    );
    for (reason, count) in &report.refusals {
        println!("refused {count} times: {reason}");
    }
    for one in &report.admitted {
        println!(
            "{} kbit/s: {:.2} of {} frames a second received, {:?} and {} frames a second in force, \
             {} dropped{}",
            one.video_bps / 1_000,
            one.received_fps.unwrap_or_default(),
            one.wanted_fps,
            one.preset,
            one.frames_per_second,
            one.dropped,
            one.problem
                .as_ref()
                .map_or(String::new(), |problem| format!(", {problem}"))
        );
    }
    println!(
        "throttled at {} of {} samples",
        report.throttled_samples, report.samples
    );
    for step in &report.governor_steps {
        println!("governor: {step}");
    }
    println!("delay in ms                        p50     p90     p99   p99.9     max    lost");
    for passthrough in &report.passthrough {
        delays("passthrough", passthrough);
        faults(passthrough);
    }
    Ok(())
}

pub(crate) fn bitrate(report: &BitrateReport, output: &Output) -> Result<(), BenchError> {
    if !output.flat("Bit rate of a rendition", report)? {
        return Ok(());
    }
    println!(
        "{} lines at {} frames a second, {} kbit/s, {:?}",
        report.spec.height,
        report.spec.frames_per_second,
        report.spec.video_bps / 1_000,
        report.spec.preset
    );
    for source in &report.sources {
        let windows = source.window_percent.map_or("-".to_owned(), |w| {
            format!(
                "{:+.1} to {:+.1} % in 10 s ({} windows)",
                w.min, w.max, w.count
            )
        });
        println!(
            "from {}: {windows}, buffer empty {} times (at least {:.0} % left)",
            source.source, source.vbv.violations, source.vbv.lowest_percent
        );
        println!("  {}", super::video(&source.video));
        for fault in &source.faults {
            println!("  fault: {fault}");
        }
    }
    Ok(())
}

pub(crate) fn hostile(report: &HostileReport, output: &Output) -> Result<(), BenchError> {
    if !output.flat("Corrupted video", report)? {
        return Ok(());
    }
    println!("{:.0} s of corrupted video", report.seconds);
    for publisher in &report.publishers {
        println!(
            "{}: {} frames sent in {} sessions, {} decoded, {} errors, {} received, sizes {:?}",
            publisher.codec.name(),
            publisher.frames_sent,
            publisher.sessions,
            publisher.frames_decoded,
            publisher.decoder_errors,
            publisher.frames_received,
            publisher.sizes
        );
        for error in &publisher.errors {
            println!("  {error}");
        }
    }
    println!(
        "engine {:.1} MB before, {:.1} at most, {:.1} afterwards{}{}",
        report.engine_mb_before,
        report.engine_mb_max,
        report.engine_mb_after,
        if report.engine_restarted {
            ", RESTARTED"
        } else {
            ""
        },
        if report.ready { "" } else { ", NOT READY" }
    );
    println!(
        "intact broadcast: {} frames sent, {} lost",
        report.passthrough.frames_sent, report.passthrough.frames_lost
    );
    faults(&report.passthrough);
    for line in &report.panics {
        println!("panic: {line}");
    }
    Ok(())
}
