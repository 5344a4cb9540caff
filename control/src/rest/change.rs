//! Changes to the row of a broadcast that its shard must bring about.

use shardcast_link::BroadcastId;

use super::{
    rendition_admission,
    responses::{Outcome, unknown},
};
use crate::{
    settings::EncodingSettings,
    state::Control,
    store::{BroadcastRecord, Durable},
    wants,
};

/// Makes `id` what `changed` makes of it and sends its shard what is wanted now. What `changed` refuses
/// is refused before the shard is asked for capacity.
///
/// # Errors
/// When there is no such broadcast, when `changed` refuses, or when its shard has no capacity for the
/// renditions that it would have to begin.
pub(super) fn change<E: From<Outcome>>(
    control: &Control,
    encoding: &EncodingSettings,
    id: &BroadcastId,
    changed: impl Fn(&BroadcastRecord) -> Result<BroadcastRecord, E>,
) -> Result<Durable, E> {
    let before = control.catalog.broadcast(id).ok_or_else(unknown)?;
    let after = changed(&before)?;
    let (before, after) = (before.endpoints(), after.endpoints());
    let admitted = rendition_admission::admit(control, encoding, id, before, after);
    admitted.map_err(|problem| Outcome::failed(problem.to_string()))?;
    // Others may have changed it meanwhile.
    let (stored, durable) = control.catalog.change_now(|t| {
        let record = changed(t.broadcast(id).ok_or_else(unknown)?.as_ref())?;
        t.put_broadcast(record);
        Ok::<_, E>(())
    });
    stored?;
    wants::again(control, id);
    Ok(durable)
}
