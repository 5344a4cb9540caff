//! Whether the shard of a broadcast has the transcode capacity that a change to its destinations needs.

use std::collections::HashSet;

use shardcast_link::{BroadcastId, Reencode, RenditionSpec};

use crate::{
    limits,
    settings::EncodingSettings,
    shards::{RenditionDelta, TranscodeRefusal},
    state::Control,
    store::EndpointRecord,
    video_settings,
};

/// Asks the shard of `id` for capacity for the renditions that `after` has and `before` had not. To be
/// called before the change is made: the shards must not be locked within a transaction.
pub(super) fn admit(
    control: &Control,
    application: &EncodingSettings,
    id: &BroadcastId,
    before: &[EndpointRecord],
    after: &[EndpointRecord],
) -> Result<(), TranscodeRefusal> {
    let admitted = check(control, application, before, after).and_then(|()| {
        let delta = delta(application, before, after);
        control.shards.admit(id, &delta)
    });
    if let Err(error) = &admitted {
        tracing::warn!(broadcast = %id, %error, "a rendition was refused");
    }
    admitted
}

/// Whether this server can encode the renditions that `after` has and `before` had not, whatever capacity
/// its shards have left.
pub(super) fn check(
    control: &Control,
    application: &EncodingSettings,
    before: &[EndpointRecord],
    after: &[EndpointRecord],
) -> Result<(), TranscodeRefusal> {
    let reencodes = control.settings.engine.reencode_enabled();
    if !reencodes && changed(before, after).any(|row| may_need_one(application, row)) {
        return Err(TranscodeRefusal::Disabled);
    }
    check_count(application, before, after)
}

/// A broadcast that had too many before may still be changed otherwise.
fn check_count(
    application: &EncodingSettings,
    before: &[EndpointRecord],
    after: &[EndpointRecord],
) -> Result<(), TranscodeRefusal> {
    let all = |rows: &[EndpointRecord]| -> HashSet<RenditionSpec> {
        let specs = rows.iter().filter_map(|row| always(application, row));
        specs.collect()
    };
    let wanted = all(after);
    if wanted.len() > limits::RENDITIONS_MAX && !wanted.is_subset(&all(before)) {
        return Err(TranscodeRefusal::TooMany(wanted.len()));
    }
    Ok(())
}

/// The rows of `after` that are new, or have other video settings than in `before`.
fn changed<'a>(
    before: &'a [EndpointRecord],
    after: &'a [EndpointRecord],
) -> impl Iterator<Item = &'a EndpointRecord> {
    let is_as_before = |row: &EndpointRecord| {
        let mut before = before.iter();
        before.any(|old| old.id == row.id && old.video == row.video)
    };
    after.iter().filter(move |row| !is_as_before(row))
}

fn delta(
    application: &EncodingSettings,
    before: &[EndpointRecord],
    after: &[EndpointRecord],
) -> RenditionDelta {
    let changed = changed(before, after);
    let begin = changed.filter_map(|row| always(application, row)).collect();
    // A destination that may fall back to it keeps it too.
    let kept = |spec: &RenditionSpec| {
        let mut after = after.iter();
        after.any(|row| row.video.over(application).rendition == Some(*spec))
            || after.any(|row| always(application, row) == Some(*spec))
    };
    let had = before.iter().filter_map(|row| always(application, row));
    let mut end: Vec<RenditionSpec> = Vec::new();
    for spec in had {
        if !kept(&spec) && !end.contains(&spec) {
            end.push(spec);
        }
    }
    RenditionDelta { begin, end }
}

/// Whether `row` is sent a rendition always, or names the one that it may be sent.
fn may_need_one(application: &EncodingSettings, row: &EndpointRecord) -> bool {
    let wanted = row.video.over(application);
    match wanted.reencode {
        Reencode::Off => false,
        Reencode::Auto => wanted.rendition.is_some(),
        Reencode::Always => true,
    }
}

/// The rendition that `row` is sent from its beginning to its end.
fn always(application: &EncodingSettings, row: &EndpointRecord) -> Option<RenditionSpec> {
    let wanted = row.video.over(application);
    if wanted.reencode != Reencode::Always {
        return None;
    }
    let most = wanted.passthrough.video_bps_max.unwrap_or(u32::MAX);
    Some(wanted.rendition.unwrap_or_else(|| {
        let usual = video_settings::rendition_default(application);
        RenditionSpec {
            video_bps: usual.video_bps.min(most),
            ..usual
        }
    }))
}

#[cfg(test)]
mod tests {
    use shardcast_link::DestinationId;

    use super::*;
    use crate::video_settings::{RenditionOverrides, VideoOverrides};

    fn row(id: &str, reencode: Option<Reencode>, height: Option<u32>) -> EndpointRecord {
        EndpointRecord {
            id: DestinationId(id.into()),
            url: String::new(),
            retry: None,
            video: VideoOverrides {
                reencode,
                rendition: height.map(RenditionOverrides::of_height),
                ..VideoOverrides::default()
            },
            last: None,
        }
    }

    fn heights(before: &[EndpointRecord], after: &[EndpointRecord]) -> (Vec<u32>, Vec<u32>) {
        let delta = delta(&EncodingSettings::default(), before, after);
        let heights = |specs: Vec<RenditionSpec>| specs.iter().map(|spec| spec.height).collect();
        (heights(delta.begin), heights(delta.end))
    }

    #[test]
    fn only_what_is_new_or_changed_asks_for_room() {
        let old = [row("a", None, Some(480)), row("b", None, None)];
        let mut new = old.to_vec();
        new.push(row("c", None, Some(360)));
        assert_eq!(heights(&old, &new), (vec![360], vec![]));
        new[1] = row("b", Some(Reencode::Always), None);
        assert_eq!(heights(&old, &new), (vec![720, 360], vec![]));
    }

    #[test]
    fn a_broadcast_has_so_many_different_renditions_and_equal_ones_are_one() {
        let application = EncodingSettings::default();
        let rows = |heights: std::ops::Range<u32>| -> Vec<EndpointRecord> {
            let name = |n: u32| format!("d{n}");
            let rows = heights.map(|n| row(&name(n), None, Some(100 + 2 * n)));
            rows.collect()
        };
        let full = rows(0..16);
        assert_eq!(check_count(&application, &[], &full), Ok(()));
        let mut more = full.clone();
        more.push(row("equal", None, Some(100)));
        more.push(row("slips", Some(Reencode::Auto), Some(720)));
        assert_eq!(check_count(&application, &full, &more), Ok(()));
        more.push(row("other", None, Some(720)));
        let refused = check_count(&application, &full, &more);
        assert_eq!(refused, Err(TranscodeRefusal::TooMany(17)));
        let older = rows(0..20);
        assert_eq!(check_count(&application, &older, &older[1..]), Ok(()));
    }

    #[test]
    fn what_nobody_takes_any_more_ends() {
        let old = [row("a", None, Some(480)), row("b", None, Some(480))];
        let one = [old[0].clone(), row("b", None, Some(360))];
        assert_eq!(heights(&old, &one), (vec![360], vec![]));
        assert_eq!(heights(&old, &[]), (vec![], vec![480]));
        let may_slip = [row("a", Some(Reencode::Auto), Some(480))];
        assert_eq!(heights(&old, &may_slip), (vec![], vec![]));
    }
}
