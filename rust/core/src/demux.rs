//! Which SSRC of one transport is what. Spec: RFC 8843 section 9.2, RFC 8852.

use std::sync::Arc;

use indexmap::IndexMap;
use rustc_hash::FxHashMap;
use slab::Slab;

use crate::packet::RtpPacket;
use crate::parameters::PublicationKey;
use crate::publication::Publication;

/// A publication within the plane.
pub type PublicationId = usize;

/// What an SSRC is: an encoding of a publication, or its retransmissions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub publication: PublicationId,
    pub rid: Arc<str>,
    pub rtx: bool,
}

#[derive(Default)]
pub struct Demux {
    pub publications: IndexMap<PublicationKey, PublicationId>,
    pub routes: FxHashMap<u32, Route>,
}

impl Demux {
    /// Take in a publication, or its new configuration.
    pub fn add(&mut self, id: PublicationId, publication: &Publication) {
        self.publications.insert(publication.key, id);
        for (rid, announced) in publication.announced() {
            self.bind(announced.ssrc, Route { publication: id, rid: rid.clone(), rtx: false });
            if let Some(rtx_ssrc) = announced.rtx_ssrc {
                self.bind(rtx_ssrc, Route { publication: id, rid, rtx: true });
            }
        }
    }

    /// Forget a publication. Its streams become unknown.
    pub fn remove(&mut self, key: PublicationKey) {
        if let Some(id) = self.publications.shift_remove(&key) {
            self.routes.retain(|_, route| route.publication != id);
        }
    }

    /// Find out by extensions or payload type what a new SSRC is, and remember it.
    pub fn resolve(
        &mut self,
        data: &[u8],
        rtp: &RtpPacket,
        publications: &Slab<Publication>,
    ) -> Option<Route> {
        let route = self.recognise(data, rtp, publications)?;
        self.bind(rtp.ssrc, route.clone());
        Some(route)
    }

    fn bind(&mut self, ssrc: u32, route: Route) {
        self.routes.retain(|other, known| *known != route || *other == ssrc);
        self.routes.insert(ssrc, route);
    }

    fn recognise(&self, data: &[u8], rtp: &RtpPacket, publications: &Slab<Publication>) -> Option<Route> {
        let takes = |id: &PublicationId| {
            let publication = &publications[*id];
            publication.codec(rtp.payload_type).is_some() || publication.rtx_codec(rtp.payload_type).is_some()
        };
        let mid = |id: &PublicationId| rtp.extensions.get(data, publications[*id].config.extensions.mid);
        let mut candidates: Vec<PublicationId> = self.publications.values().copied().filter(takes).collect();
        if candidates.iter().any(|id| mid(id).is_some()) {
            candidates
                .retain(|id| mid(id).is_some_and(|value| value == publications[*id].config.mid.as_bytes()));
        }
        let [id] = candidates[..] else { return None };
        let publication = &publications[id];
        let config = &publication.config;
        let rtx = publication.rtx_codec(rtp.payload_type).is_some();
        if config.rids.is_empty() {
            let route = Route { publication: id, rid: "".into(), rtx };
            return (config.ssrcs.len() <= 1).then_some(route);
        }
        let ids = &config.extensions;
        let value = rtp.extensions.get(data, if rtx { ids.repaired_rid } else { ids.rid })?;
        let rid = config.rids.iter().find(|rid| rid.as_bytes() == value)?;
        Some(Route { publication: id, rid: rid.clone(), rtx })
    }
}
