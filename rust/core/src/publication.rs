//! A publication: its encodings in the order of their quality, and what of them flows.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use slab::Slab;
use smallvec::SmallVec;

use crate::extensions::{Carried, Extensions};
use crate::ingress::{Encoding, EncodingId, EncodingStats, SubscriptionId};
use crate::parameters::{Codec, EncodingSsrcs, Layer, PublicationConfig, PublicationKey};

/// Of encodings of one size, one is better that sends this much of what the other sends.
const BETTER_PERCENT: i64 = 150;

/// Of a rid that stands twice the last place counts.
fn places_of(rids: &[Arc<str>]) -> FxHashMap<Arc<str>, usize> {
    rids.iter().cloned().enumerate().map(|(place, rid)| (rid, place)).collect()
}

fn pixels(stats: &EncodingStats) -> u64 {
    u64::from(stats.width) * u64::from(stats.height)
}

/// One publication: its encodings by rid, and who gets them.
pub struct Publication {
    pub key: PublicationKey,
    pub config: PublicationConfig,
    pub encodings: Slab<Encoding>,
    /// The encoding of each rid, in the order of their coming.
    pub by_rid: Vec<(Arc<str>, EncodingId)>,
    /// Encodings that flow, smallest picture first.
    pub flowing: Vec<EncodingId>,
    tops: SmallVec<[usize; 8]>,
    /// Of rids, worst first, where pictures have one size: as announced until rates tell more.
    places: FxHashMap<Arc<str>, usize>,
    pub muted: bool,
    pub loudest: u8,
    pub audio_packets: i64,
    pub subscriptions: Vec<SubscriptionId>,
    /// No longer open: it lives until nobody gets it.
    pub closed: bool,
    /// There are mirrors of it in other planes.
    pub mirrored: bool,
    /// It is one, of a publication in another plane.
    pub mirror: bool,
}

impl Publication {
    pub fn new(key: PublicationKey, config: PublicationConfig) -> Self {
        Self {
            key,
            places: places_of(&config.rids),
            config,
            encodings: Slab::new(),
            by_rid: Vec::new(),
            flowing: Vec::new(),
            tops: SmallVec::new(),
            muted: false,
            loudest: 127,
            audio_packets: 0,
            subscriptions: Vec::new(),
            closed: false,
            mirrored: false,
            mirror: false,
        }
    }

    /// Take over a configuration; streams that go on under it stay. Returns the one before.
    pub fn configure(&mut self, config: PublicationConfig) -> PublicationConfig {
        let places = places_of(&config.rids);
        if places.len() != self.places.len() || places.keys().any(|rid| !self.places.contains_key(rid)) {
            self.places = places;
        }
        std::mem::replace(&mut self.config, config)
    }

    /// The codec of a media payload type.
    pub fn codec(&self, payload_type: u8) -> Option<&Codec> {
        self.config.codecs.iter().rev().find(|codec| codec.payload_type == payload_type)
    }

    /// The codec whose retransmissions have this payload type.
    pub fn rtx_codec(&self, payload_type: u8) -> Option<&Codec> {
        self.config.codecs.iter().rev().find(|codec| codec.rtx_payload_type == Some(payload_type))
    }

    pub fn encoding_of(&self, rid: &str) -> Option<EncodingId> {
        self.by_rid.iter().find(|(known, _)| &**known == rid).map(|(_, id)| *id)
    }

    /// Put an encoding in the place of the one that its rid had.
    pub fn add_encoding(&mut self, encoding: Encoding) -> EncodingId {
        let rid = encoding.stats.rid.clone();
        let id = self.encodings.insert(encoding);
        match self.by_rid.iter_mut().find(|(known, _)| *known == rid) {
            Some(entry) => entry.1 = id,
            None => self.by_rid.push((rid, id)),
        }
        id
    }

    /// Drop encodings that are of no rid any more and that nobody `needs`.
    pub fn forget_encodings(&mut self, needs: impl Fn(EncodingId) -> bool) {
        let (by_rid, flowing) = (&self.by_rid, &self.flowing);
        self.encodings.retain(|id, _| {
            by_rid.iter().any(|(_, current)| *current == id) || flowing.contains(&id) || needs(id)
        });
    }

    /// Announced SSRCs by rid; the rids of simulcast without any are made up.
    ///
    /// Where there are rids, they alone tell which SSRC is which: descriptions do not.
    pub fn announced(&self) -> Vec<(Arc<str>, EncodingSsrcs)> {
        let ssrcs = &self.config.ssrcs;
        if !self.config.rids.is_empty() {
            return Vec::new();
        }
        match ssrcs.as_slice() {
            [only] => vec![("".into(), *only)],
            _ => ssrcs.iter().enumerate().map(|(index, each)| (index.to_string().into(), *each)).collect(),
        }
    }

    /// The largest encoding up to `spatial` of those that have flowed and sent nothing for a while.
    ///
    /// A still picture sends nothing either: who joins then is shown it once its encoder is asked for it.
    pub fn silent(&self, spatial: i64) -> Option<EncodingId> {
        let fitting = self.by_rid.iter().map(|(_, id)| *id);
        let of = |id: &EncodingId| self.encodings[*id].spatial;
        // Of equals the first, as Python's `max` has it.
        fitting.filter(|id| of(id) <= spatial).rev().max_by_key(of)
    }

    /// Order the encodings, each with its spatial layers, by picture size, then by what they send.
    ///
    /// Returns whether that changed.
    /// One that does not flow just now keeps its place: what subscribers are capped to stays what it was.
    pub fn rank(&mut self) -> bool {
        let mut ranked: SmallVec<[EncodingId; 8]> = self.by_rid.iter().map(|(_, id)| *id).collect();
        ranked.sort_by(|one, other| self.quality(*one).cmp(&self.quality(*other)));
        for pair in ranked.windows(2) {
            self.compare(pair[0], pair[1]);
        }
        let tops: SmallVec<[usize; 8]> = ranked.iter().map(|id| self.encodings[*id].top_spatial).collect();
        let mut changed = tops != self.tops;
        self.tops = tops;
        let mut spatial = 0;
        for id in &ranked {
            let encoding = &mut self.encodings[*id];
            changed = changed || encoding.spatial != spatial;
            encoding.spatial = spatial;
            spatial += encoding.top_spatial as i64 + 1;
        }
        ranked.retain(|id| self.encodings[*id].stats.active);
        if *ranked != *self.flowing {
            self.flowing = ranked.to_vec();
            changed = true;
        }
        changed
    }

    fn quality(&self, id: EncodingId) -> (u64, usize, &str) {
        let stats = &self.encodings[id].stats;
        (pixels(stats), self.place(&stats.rid), &stats.rid)
    }

    fn place(&self, rid: &str) -> usize {
        self.places.get(rid).copied().unwrap_or(0)
    }

    /// Exchange the places of two encodings of one size where rates say so, from the next `rank` on.
    fn compare(&mut self, lower: EncodingId, upper: EncodingId) {
        let (lower, upper) = (&self.encodings[lower], &self.encodings[upper]);
        let (ours, theirs) = (&lower.stats, &upper.stats);
        let same = pixels(ours) == pixels(theirs) && ours.active && theirs.active;
        if same && upper.worth_bps > 0 && lower.worth_bps * 100 > upper.worth_bps * BETTER_PERCENT {
            let (ours, theirs) = (ours.rid.clone(), theirs.rid.clone());
            let (our_place, their_place) = (self.place(&ours), self.place(&theirs));
            self.places.insert(ours, their_place);
            self.places.insert(theirs, our_place);
        }
    }

    /// Whether an encoding sends no more: silent while others show frames, or silent for long.
    pub fn is_stalled(&self, id: EncodingId, now_us: i64) -> bool {
        let shown =
            |since_us| self.by_rid.iter().any(|(_, other)| self.encodings[*other].has_shown(since_us));
        self.encodings[id].is_stalled(now_us, shown)
    }

    /// What flows, lowest first, with bits per second.
    pub fn layers(&self) -> Vec<(Layer, Arc<str>, i64)> {
        let mut layers = Vec::new();
        for encoding in self.flowing.iter().map(|id| &self.encodings[*id]) {
            for spatial in 0..=encoding.top_spatial {
                for temporal in 0..=encoding.top_temporal {
                    let layer =
                        Layer { spatial: encoding.spatial + spatial as i64, temporal: temporal as i64 };
                    layers.push((layer, encoding.stats.rid.clone(), encoding.rate_of(spatial, temporal)));
                }
            }
        }
        layers
    }

    /// What of a packet's extensions subscribers get.
    pub fn carried(&mut self, data: &[u8], extensions: &Extensions) -> Carried {
        let mut carried = Carried::default();
        if extensions.is_empty() {
            return carried;
        }
        let ids = &self.config.extensions;
        let wanted = [ids.audio_level, ids.playout_delay, ids.dependency_descriptor];
        for (value, id) in carried.values.iter_mut().zip(wanted) {
            if let Some(found) = extensions.get(data, id) {
                value.extend_from_slice(found);
            }
        }
        if let Some(level) = carried.values[0].first() {
            self.audio_packets += 1;
            self.loudest = self.loudest.min(level & 0x7F);
        }
        carried
    }
}
