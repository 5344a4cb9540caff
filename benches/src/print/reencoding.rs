//! Reports of what re-encoding costs and does.

use shardcast_bench::{
    beside::{BesideReport, BesideStage},
    bitrate::BitrateReport,
    hostile::HostileReport,
    overload::OverloadReport,
    reencode::{PictureCost, ReencodeReport},
    stats::{Percentiles, Spread},
    witness::WitnessReport,
};

use super::as_json;

pub(crate) fn reencode(report: &ReencodeReport, json: bool) {
    if json {
        return as_json(report);
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
    println!("CPU time per picture   decode    scale   encode    total");
    for run in &report.runs {
        cost("Shardcast's codecs", run.shardcast);
        println!(
            "  and all around {:>30} {:>8.0} µs",
            "", run.shardcast_threads_us
        );
        cost("the codecs alone", run.alone);
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
        ratios(report.to_alone)
    );
    println!("  with all around      {}", ratios(report.threads_to_alone));
    println!("against ffmpeg         {}", ratios(report.to_ffmpeg));
    for picture in &report.received {
        println!("received               {}", super::picture(picture));
    }
}

fn cost(name: &str, cost: PictureCost) {
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

pub(crate) fn beside(report: &BesideReport, json: bool) {
    if json {
        return as_json(report);
    }
    match &report.generator_cores {
        Some(cores) => println!("engine on core 0, generator and sinks on {cores}"),
        None => println!("generator and sinks share the core of the engine"),
    }
    println!("delay in ms                        p50     p90     p99   p99.9     max    lost");
    for stage in &report.stages {
        delays(stage.name, &stage.witness);
        if stage.renditions > 0 {
            load(stage);
        }
        faults(&stage.witness);
    }
    if let Some(added) = report.added_p99_ms {
        println!("added at p99 beside codecs on their thread: {added:.1} ms (wanted 5)");
    }
    if let Some(why) = &report.not_inline {
        println!("codecs on the executor were not measured: {why}");
    }
}

fn delays(name: &str, witness: &WitnessReport) {
    match witness.delay_ms {
        Some(Percentiles {
            p50,
            p90,
            p99,
            p999,
            max,
            ..
        }) => println!(
            "{name:<30} {p50:>7.1} {p90:>7.1} {p99:>7.1} {p999:>7.1} {max:>7.1} {:>7}",
            witness.frames_lost
        ),
        None => println!("{name:<30} no delays, {} frames lost", witness.frames_lost),
    }
}

fn load(stage: &BesideStage) {
    println!(
        "  {} renditions, {} frames encoded, {} late; codecs {:.0} % of a core, shard {:.0} %{}",
        stage.renditions,
        stage.frames_encoded,
        stage.frames_late,
        stage.codec_cpu_percent,
        stage.shard_cpu_percent,
        if stage.throttled { ", throttled" } else { "" }
    );
    if let Some(words) = &stage.refusal {
        println!("  no more: {words}");
    }
}

fn faults(witness: &WitnessReport) {
    if witness.frames_sent_late > 0 {
        println!(
            "  {} frames left the generator late: delays are partly its own",
            witness.frames_sent_late
        );
    }
    for fault in &witness.faults {
        println!("  fault: {fault}");
    }
}

pub(crate) fn overload(report: &OverloadReport, json: bool) {
    if json {
        return as_json(report);
    }
    println!(
        "{} renditions asked for, {} let in; codecs use {} of {} thousandths of a core",
        report.asked,
        report.admitted.len(),
        report.codec.used_permille,
        report.codec.capacity_permille
    );
    for (words, count) in &report.refusals {
        println!("refused {count} times: {words}");
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
                .map_or(String::new(), |words| format!(", {words}"))
        );
    }
    println!(
        "throttled at {} of {} looks",
        report.throttled_looks, report.looks
    );
    for step in &report.governor_steps {
        println!("governor: {step}");
    }
    println!("delay in ms                        p50     p90     p99   p99.9     max    lost");
    for witness in &report.witnesses {
        delays("passed on", witness);
        faults(witness);
    }
}

pub(crate) fn bitrate(report: &BitrateReport, json: bool) {
    if json {
        return as_json(report);
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
        println!("  {}", super::picture(&source.picture));
        for fault in &source.faults {
            println!("  fault: {fault}");
        }
    }
}

pub(crate) fn hostile(report: &HostileReport, json: bool) {
    if json {
        return as_json(report);
    }
    println!("{:.0} s of damaged and absurd pictures", report.seconds);
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
        "good broadcast: {} frames sent, {} lost",
        report.witness.frames_sent, report.witness.frames_lost
    );
    faults(&report.witness);
    for line in &report.panics {
        println!("panic: {line}");
    }
}
