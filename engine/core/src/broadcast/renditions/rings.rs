//! The source's ring and those of the renditions, as a consumer reads them.

use super::rendition::Rendition;
use crate::{
    broadcast::ring::{MediaFacts, Ring, RingId},
    ids::RenditionId,
};

/// All rings of a broadcast, to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rings<'a> {
    pub(crate) source: &'a Ring,
    pub(crate) source_facts: MediaFacts,
    pub(crate) renditions: &'a [Rendition],
}

impl<'a> Rings<'a> {
    pub(crate) fn get(&self, id: RingId) -> Option<(&'a Ring, MediaFacts)> {
        match id {
            RingId::Source => Some((self.source, self.source_facts)),
            RingId::Rendition(id) => self.rendition(id).map(|it| {
                let facts = MediaFacts {
                    aac: self.source_facts.aac,
                    ..it.facts()
                };
                (&it.ring, facts)
            }),
        }
    }

    pub(crate) fn rendition(&self, id: RenditionId) -> Option<&'a Rendition> {
        self.renditions.iter().find(|it| it.id == id)
    }
}
