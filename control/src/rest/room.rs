//! Whether a change to a broadcast's destinations may cost what it costs.

use shardcast_link::{BroadcastId, Reencode, RenditionSpec};

use crate::{
    codec_room::{RoomError, Turnover},
    control::Control,
    picture,
    settings::EncodingSettings,
    store::EndpointRecord,
};

/// Asks the shard of `id` for room for what `after` has and `before` had not. To be called before
/// the change is made: the shards must not be locked within a transaction.
pub(super) fn admit(
    control: &Control,
    application: &EncodingSettings,
    id: &BroadcastId,
    before: &[EndpointRecord],
    after: &[EndpointRecord],
) -> Result<(), RoomError> {
    let admitted = control
        .shards
        .admit(id, &turnover(application, before, after));
    if let Err(error) = &admitted {
        tracing::warn!(broadcast = %id, %error, "a rendition was refused");
    }
    admitted
}

fn turnover(
    application: &EncodingSettings,
    before: &[EndpointRecord],
    after: &[EndpointRecord],
) -> Turnover {
    let is_as_before = |row: &&EndpointRecord| {
        let mut before = before.iter();
        before.any(|old| old.id == row.id && old.picture == row.picture)
    };
    let changed = after.iter().filter(|row| !is_as_before(row));
    let begin = changed.filter_map(|row| always(application, row)).collect();
    // Whoever may slip to it keeps it too.
    let kept = |spec: &RenditionSpec| {
        let mut after = after.iter();
        after.any(|row| row.picture.over(application).rendition == Some(*spec))
            || after.any(|row| always(application, row) == Some(*spec))
    };
    let had = before.iter().filter_map(|row| always(application, row));
    let mut end: Vec<RenditionSpec> = Vec::new();
    for spec in had {
        if !kept(&spec) && !end.contains(&spec) {
            end.push(spec);
        }
    }
    Turnover { begin, end }
}

/// The rendition that `row` is sent from its beginning to its end.
fn always(application: &EncodingSettings, row: &EndpointRecord) -> Option<RenditionSpec> {
    let wanted = row.picture.over(application);
    let spec = wanted
        .rendition
        .unwrap_or_else(|| picture::rendition_default(application));
    (wanted.reencode == Reencode::Always).then_some(spec)
}

#[cfg(test)]
mod tests {
    use shardcast_link::DestinationId;

    use super::*;
    use crate::picture::{PictureOverrides, RenditionOverrides};

    fn row(id: &str, reencode: Option<Reencode>, height: Option<u32>) -> EndpointRecord {
        EndpointRecord {
            id: DestinationId(id.into()),
            url: String::new(),
            retry: None,
            picture: PictureOverrides {
                reencode,
                rendition: height.map(RenditionOverrides::of_height),
                ..PictureOverrides::default()
            },
            last: None,
        }
    }

    fn heights(before: &[EndpointRecord], after: &[EndpointRecord]) -> (Vec<u32>, Vec<u32>) {
        let turnover = turnover(&EncodingSettings::default(), before, after);
        let heights = |specs: Vec<RenditionSpec>| specs.iter().map(|spec| spec.height).collect();
        (heights(turnover.begin), heights(turnover.end))
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
    fn what_nobody_takes_any_more_ends() {
        let old = [row("a", None, Some(480)), row("b", None, Some(480))];
        let one = [old[0].clone(), row("b", None, Some(360))];
        assert_eq!(heights(&old, &one), (vec![360], vec![]));
        assert_eq!(heights(&old, &[]), (vec![], vec![480]));
        let may_slip = [row("a", Some(Reencode::Auto), Some(480))];
        assert_eq!(heights(&old, &may_slip), (vec![], vec![]));
    }
}
