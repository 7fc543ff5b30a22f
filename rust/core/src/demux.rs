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

/// The m-line and encoding of an SSRC. It outlives publications: see `Demux`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    mid: String,
    rid: Arc<str>,
    rtx: bool,
}

/// SSRCs without a publication whose identity is kept: some forty simulcast cameras with retransmissions.
const MOST_STRAYS: usize = 256;

/// Maps the SSRCs of one transport to encodings.
///
/// Senders stop writing MID and RID once a receiver report has acknowledged them, so the identity of an SSRC is
/// kept for as long as the transport lives: a publication that is opened again finds its streams.
#[derive(Default)]
pub struct Demux {
    pub publications: IndexMap<PublicationKey, PublicationId>,
    pub routes: FxHashMap<u32, Route>,
    /// Of every SSRC in `routes`, and of those that had a route.
    identities: IndexMap<u32, Identity>,
}

impl Demux {
    /// Take in a publication, or its new configuration.
    pub fn add(&mut self, id: PublicationId, publication: &Publication) {
        self.publications.insert(publication.key, id);
        for (rid, announced) in publication.announced() {
            let route = Route { publication: id, rid: rid.clone(), rtx: false };
            self.bind(announced.ssrc, route, publication);
            if let Some(rtx_ssrc) = announced.rtx_ssrc {
                self.bind(rtx_ssrc, Route { publication: id, rid, rtx: true }, publication);
            }
        }
    }

    /// Forget a publication. Its streams become unknown, until a publication of the same m-line comes.
    pub fn remove(&mut self, key: PublicationKey) {
        if let Some(id) = self.publications.shift_remove(&key) {
            self.routes.retain(|_, route| route.publication != id);
        }
    }

    /// Whether the SSRC has, or had, a publication.
    pub fn is_known(&self, ssrc: u32) -> bool {
        self.identities.contains_key(&ssrc)
    }

    /// Find out by extensions, identity or payload type what a new SSRC is, and remember it.
    pub fn resolve(
        &mut self,
        data: &[u8],
        rtp: &RtpPacket,
        publications: &Slab<Publication>,
    ) -> Option<Route> {
        let route = self.recognise(data, rtp, publications)?;
        self.bind(rtp.ssrc, route.clone(), &publications[route.publication]);
        Some(route)
    }

    /// Route an SSRC. It takes the place of the one that was the same encoding before.
    fn bind(&mut self, ssrc: u32, route: Route, publication: &Publication) {
        let identity =
            Identity { mid: publication.config.mid.clone(), rid: route.rid.clone(), rtx: route.rtx };
        self.routes.retain(|other, known| *known != route || *other == ssrc);
        self.routes.insert(ssrc, route);
        self.identities.retain(|other, known| *known != identity && *other != ssrc);
        self.identities.insert(ssrc, identity);
        if self.identities.len() > self.routes.len() + MOST_STRAYS {
            let stray = self.identities.keys().position(|stray| !self.routes.contains_key(stray));
            stray.and_then(|stray| self.identities.shift_remove_index(stray));
        }
    }

    fn recognise(&self, data: &[u8], rtp: &RtpPacket, publications: &Slab<Publication>) -> Option<Route> {
        let known = self.identities.get(&rtp.ssrc);
        let takes = |id: &PublicationId| {
            let publication = &publications[*id];
            publication.codec(rtp.payload_type).is_some() || publication.rtx_codec(rtp.payload_type).is_some()
        };
        let mid = |id: &PublicationId| {
            let tag = rtp.extensions.get(data, publications[*id].config.extensions.mid);
            tag.or_else(|| known.map(|known| known.mid.as_bytes()))
        };
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
        let tag = rtp.extensions.get(data, if rtx { ids.repaired_rid } else { ids.rid });
        let value = tag.or_else(|| known.map(|known| known.rid.as_bytes()))?;
        let rid = config.rids.iter().find(|rid| rid.as_bytes() == value)?;
        Some(Route { publication: id, rid: rid.clone(), rtx })
    }
}
