//! The plane: transports, publications, subscriptions, and the packets between them.
//!
//! `sfu/media/plane.py` says what each method promises. No method fails for what a peer sent; unknown keys are
//! ignored. What is to be sent is in `take_out`, in the order of sending.

use indexmap::IndexMap;
use rustc_hash::{FxBuildHasher, FxHashSet};
use slab::Slab;
use smallvec::SmallVec;

use crate::arrivals::ArrivalRecorder;
use crate::demux::{Demux, PublicationId};
use crate::egress::{Subscription, SubscriptionStats};
use crate::egress_transport::EgressTransport;
use crate::hub::{Counters, Event, Hub, Outbox};
use crate::ingress::{EncodingStats, MediaPacket, SubscriptionId};
use crate::parameters::{
    Layer, Probe, PublicationConfig, PublicationKey, SrtpKeys, SubscriptionConfig, SubscriptionKey,
    TransportKey,
};
use crate::publication::Publication;
use crate::rtcp;
use crate::srtp::SrtpReceiver;
use crate::twcc::TwccRecorder;

/// Random numbers that `open_subscription` draws at most.
pub const DRAWS: usize = 2;

type Ids<K> = IndexMap<K, usize, FxBuildHasher>;

/// One association: what it receives by, what it sends by, and whose RTCP it carries.
pub(crate) struct Transport {
    pub keys: Option<SrtpKeys>,
    pub receiver: Option<SrtpReceiver>,
    pub demux: Demux,
    pub recorder: TwccRecorder,
    pub arrivals: ArrivalRecorder,
    pub transport_cc: u8,
    pub out: EgressTransport,
    pub subscriptions: Ids<u32>,
    pub report_us: i64,
}

pub struct Plane {
    pub(crate) hub: Hub,
    pub(crate) ssrc: u32,
    pub(crate) cache_packets: usize,
    pub(crate) transports: Slab<Transport>,
    pub(crate) transport_ids: Ids<TransportKey>,
    pub(crate) publications: Slab<Publication>,
    pub(crate) publication_ids: Ids<PublicationKey>,
    pub(crate) subscriptions: Slab<Subscription>,
    pub(crate) subscription_ids: Ids<SubscriptionKey>,
    pub(crate) turn: usize,
    /// Whose packet or timer it is that something is done for.
    pub(crate) at_work: Option<TransportKey>,
    /// Transports that nothing is done for any more.
    pub(crate) halted: FxHashSet<TransportKey>,
    /// Where a datagram is unprotected.
    pub(crate) inbound: Vec<u8>,
    pub(crate) spare: Option<Box<MediaPacket>>,
    /// The transport whose next datagram fails.
    #[cfg(feature = "faults")]
    pub fails: Option<TransportKey>,
    /// The transport whose timers fail.
    #[cfg(feature = "faults")]
    pub fails_by_clock: Option<TransportKey>,
}

impl Plane {
    /// `ssrc` is the server's own, of its reports.
    pub fn new(ssrc: u32, cache_packets: usize) -> Self {
        Self {
            hub: Hub::default(),
            ssrc,
            cache_packets,
            transports: Slab::new(),
            transport_ids: IndexMap::default(),
            publications: Slab::new(),
            publication_ids: IndexMap::default(),
            subscriptions: Slab::new(),
            subscription_ids: IndexMap::default(),
            turn: 0,
            at_work: None,
            halted: FxHashSet::default(),
            inbound: Vec::new(),
            spare: None,
            #[cfg(feature = "faults")]
            fails: None,
            #[cfg(feature = "faults")]
            fails_by_clock: None,
        }
    }

    /// Packets that are to be sent, in order, and the counters for those that cannot be. Clear it when they are.
    pub fn out(&mut self) -> (&mut Outbox, &mut Counters) {
        (&mut self.hub.out, &mut self.hub.counters)
    }

    /// Whether nothing is open: then there is nothing to do by the clock.
    pub fn is_idle(&self) -> bool {
        self.transport_ids.is_empty() && self.publication_ids.is_empty()
    }

    /// Whether pacers hold something back.
    pub fn is_waiting(&self) -> bool {
        !self.hub.waiting.is_empty()
    }

    /// Whose packet or timer was last worked on: where that failed by a fault of ours, whose it was.
    pub fn at_work(&self) -> Option<TransportKey> {
        self.at_work
    }

    /// What is done next is done for this transport, or for nobody in particular.
    pub fn begin(&mut self, at_work: Option<TransportKey>) {
        self.at_work = at_work;
    }

    /// Nothing is done for these transports any more, whose rooms have failed by a fault of ours.
    pub fn halt(&mut self, transports: FxHashSet<TransportKey>) {
        self.halted = transports;
    }

    // --- transports ----------------------------------------------------------------------------

    pub fn open_transport(&mut self, key: TransportKey, keys: SrtpKeys) {
        let id = self.transport(key);
        let known = &mut self.transports[id];
        if known.keys.as_ref() == Some(&keys) {
            return;
        }
        known.receiver = SrtpReceiver::new(keys.profile, &keys.receive);
        known.out.open(&keys);
        known.keys = Some(keys);
        for subscription in known.subscriptions.values() {
            let subscription = &mut self.subscriptions[*subscription];
            subscription.connect(&known.out, &self.publications[subscription.publication], &mut self.hub);
        }
    }

    pub fn close_transport(&mut self, key: TransportKey) {
        let Some(id) = self.transport_ids.shift_remove(&key) else { return };
        let publications: Vec<_> = self.transports[id].demux.publications.keys().copied().collect();
        for publication in publications {
            self.close_publication(publication);
        }
        let of_it = |(_, subscription): (usize, &Subscription)| {
            (subscription.transport == id).then_some(subscription.key)
        };
        let subscriptions: Vec<_> = self.subscriptions.iter().filter_map(of_it).collect();
        for subscription in subscriptions {
            self.close_subscription(subscription);
        }
        self.hub.waiting.retain(|other| *other != key);
        self.transports.remove(id);
    }

    fn transport(&mut self, key: TransportKey) -> usize {
        if let Some(id) = self.transport_ids.get(&key) {
            return *id;
        }
        let id = self.transports.insert(Transport {
            keys: None,
            receiver: None,
            demux: Demux::default(),
            recorder: TwccRecorder::default(),
            arrivals: ArrivalRecorder::default(),
            transport_cc: 0,
            out: EgressTransport::new(key),
            subscriptions: IndexMap::default(),
            report_us: 0,
        });
        self.transport_ids.insert(key, id);
        id
    }

    // --- publications --------------------------------------------------------------------------

    pub fn open_publication(&mut self, key: PublicationKey, config: PublicationConfig) {
        let transport = self.transport(config.transport);
        if config.transport_cc {
            self.transports[transport].transport_cc = config.extensions.transport_cc;
        }
        let id = match self.publication_ids.get(&key) {
            Some(id) => {
                let known = &mut self.publications[*id];
                let before = known.configure(config);
                if before.transport != known.config.transport
                    && let Some(other) = self.transport_ids.get(&before.transport)
                {
                    self.transports[*other].demux.remove(key);
                }
                *id
            }
            None => {
                let id = self.publications.insert(Publication::new(key, config));
                self.publication_ids.insert(key, id);
                id
            }
        };
        self.transports[transport].demux.add(id, &self.publications[id]);
    }

    pub fn close_publication(&mut self, key: PublicationKey) {
        let Some(id) = self.publication_ids.shift_remove(&key) else { return };
        let known = &mut self.publications[id];
        known.closed = true;
        if let Some(transport) = self.transport_ids.get(&known.config.transport) {
            self.transports[*transport].demux.remove(key);
        }
        for index in 0..known.by_rid.len() {
            let encoding = known.by_rid[index].1;
            known.encodings[encoding].stats.active = false;
        }
        self.reconsider(id);
        self.forget_publication(id);
    }

    /// A publication that is closed lives on while somebody may ask for its packets again.
    fn forget_publication(&mut self, id: PublicationId) {
        let known = &self.publications[id];
        if known.closed && known.subscriptions.is_empty() {
            self.publications.remove(id);
        }
    }

    pub fn set_muted(&mut self, key: PublicationKey, muted: bool) {
        let Some(id) = self.publication_ids.get(&key) else { return };
        let known = &mut self.publications[*id];
        if known.muted == muted {
            return;
        }
        known.muted = muted;
        for index in 0..known.by_rid.len() {
            let encoding = known.by_rid[index].1;
            known.encodings[encoding].forget_keyframe();
        }
        for subscription in &known.subscriptions {
            self.subscriptions[*subscription].choose(known, &mut self.hub);
        }
    }

    pub fn request_keyframe(&mut self, key: PublicationKey, rid: &str) {
        let Some(id) = self.publication_ids.get(&key) else { return };
        let known = &mut self.publications[*id];
        let Some(encoding) = known.encoding_of(rid) else { return };
        let stats = &mut known.encodings[encoding].stats;
        stats.plis_sent += 1;
        let (media_ssrc, transport, ssrc) = (stats.ssrc, known.config.transport, self.ssrc);
        let fir_seq = known.config.fir.then_some(stats.plis_sent as u8);
        let transport = self.transport(transport);
        let out = &mut self.transports[transport].out;
        out.send_rtcp(&mut self.hub, |out| match fir_seq {
            Some(seq) => rtcp::full_intra_request(ssrc, media_ssrc, seq, out),
            None => rtcp::picture_loss(ssrc, media_ssrc, out),
        });
    }

    pub fn layers(&self, key: PublicationKey) -> Vec<(Layer, std::sync::Arc<str>, i64)> {
        self.publication_ids.get(&key).map_or_else(Vec::new, |id| self.publications[*id].layers())
    }

    // --- subscriptions -------------------------------------------------------------------------

    /// `draw` gives the first sequence numbers: random ones below 2^15, `DRAWS` at most.
    pub fn open_subscription(
        &mut self,
        key: SubscriptionKey,
        config: SubscriptionConfig,
        mut draw: impl FnMut() -> u16,
    ) {
        let Some(publication) = self.publication_ids.get(&config.publication).copied() else { return };
        if let Some(id) = self.subscription_ids.get(&key) {
            let known = &mut self.subscriptions[*id];
            let of = |config: &SubscriptionConfig| {
                (config.transport, config.publication, config.ssrc, config.rtx_ssrc)
            };
            if of(&known.config) == of(&config) {
                known.configure(config);
                return;
            }
            self.close_subscription(key);
        }
        let transport_id = self.transport(config.transport);
        let transport = &mut self.transports[transport_id];
        let first = transport.out.first_seq(&config.mid, i64::from(draw()));
        let first = transport.out.take_continuation(config.ssrc).unwrap_or(first);
        let rtx_first = i64::from(draw());
        let rtx_first = transport.out.take_continuation(config.rtx_ssrc.unwrap_or(0)).unwrap_or(rtx_first);
        let entry = self.subscriptions.vacant_entry();
        let id: SubscriptionId = entry.key();
        let ssrc = config.ssrc;
        let known = &mut self.publications[publication];
        let kind = known.config.kind;
        let opened = Subscription::new(id, key, config, transport_id, publication, kind, (first, rtx_first));
        entry.insert(opened).connect(&transport.out, known, &mut self.hub);
        self.subscription_ids.insert(key, id);
        transport.subscriptions.insert(ssrc, id);
        known.subscriptions.push(id);
    }

    pub fn close_subscription(&mut self, key: SubscriptionKey) {
        let Some(id) = self.subscription_ids.shift_remove(&key) else { return };
        let mut known = self.subscriptions.remove(id);
        let transport = &mut self.transports[known.transport];
        let publication = &mut self.publications[known.publication];
        known.close(&mut transport.out, publication);
        if known.unsettled {
            self.hub.unsettled.retain(|other| *other != id);
        }
        if transport.subscriptions.get(&known.config.ssrc) == Some(&id) {
            transport.subscriptions.shift_remove(&known.config.ssrc);
        }
        publication.subscriptions.retain(|other| *other != id);
        self.forget_publication(known.publication);
    }

    pub fn set_target(&mut self, key: SubscriptionKey, target: Option<Layer>, at_once: bool) {
        let Some(id) = self.subscription_ids.get(&key) else { return };
        let known = &mut self.subscriptions[*id];
        let publication = &self.publications[known.publication];
        known.target = target;
        known.choose(publication, &mut self.hub);
        if at_once {
            known.leave_larger(publication);
        }
    }

    // --- sending rate --------------------------------------------------------------------------

    pub fn set_estimate(&mut self, key: TransportKey, estimate_bps: i64) {
        if let Some(id) = self.transport_ids.get(&key) {
            self.transports[*id].out.set_estimate(estimate_bps);
        }
    }

    pub fn sent_bytes(&self, key: TransportKey) -> i64 {
        self.transport_ids.get(&key).map_or(0, |id| self.transports[*id].out.sent_bytes)
    }

    pub fn send_probe(&mut self, key: TransportKey, probe: Probe, now_us: i64) {
        let Some(id) = self.transport_ids.get(&key).copied() else { return };
        let known = &mut self.transports[id];
        if known.subscriptions.values().any(|each| self.subscriptions[*each].can_pad()) {
            known.out.start_probe(now_us, probe, &mut self.hub);
            self.pump_one(id, now_us);
        }
    }

    /// Tell a publisher what it may send in all; nothing happens where none of its encodings flows.
    pub fn send_remb(&mut self, key: TransportKey, bitrate_bps: u64) {
        let Some(id) = self.transport_ids.get(&key).copied() else { return };
        let transport = &mut self.transports[id];
        let mut ssrcs: SmallVec<[u32; 8]> = SmallVec::new();
        for publication in transport.demux.publications.values() {
            let publication = &self.publications[*publication];
            let flowing =
                publication.by_rid.iter().map(|(_, encoding)| &publication.encodings[*encoding].stats);
            let told = flowing.filter(|stats| publication.config.remb && stats.active);
            ssrcs.extend(told.map(|stats| stats.ssrc));
        }
        ssrcs.truncate(rtcp::MOST_REMB);
        if !ssrcs.is_empty() {
            let ssrc = self.ssrc;
            transport.out.send_rtcp(&mut self.hub, |out| rtcp::remb(ssrc, bitrate_bps, &ssrcs, out));
        }
    }

    /// Send what the pacers held back; when to call again, None while nothing waits.
    pub fn pump(&mut self, now_us: i64) -> Option<i64> {
        let mut soonest_us: Option<i64> = None;
        let mut place = 0;
        while let Some(key) = self.hub.waiting.get(place) {
            let id = self.transport_ids.get(key).copied().filter(|_| !self.halted.contains(key));
            let next = |plane: &Self| id.and_then(|id| plane.transports[id].out.next_us());
            if let Some(id) = id.filter(|_| next(self).is_some_and(|next_us| next_us <= now_us)) {
                self.pump_one(id, now_us);
            }
            if let Some(next_us) = next(self) {
                soonest_us = Some(soonest_us.map_or(next_us, |soonest| soonest.min(next_us)));
                place += 1;
                continue;
            }
            self.hub.waiting.swap_remove(place);
            if let Some(id) = id {
                self.transports[id].out.waits = false;
            }
        }
        soonest_us
    }

    fn pump_one(&mut self, id: usize, now_us: i64) {
        let known = &mut self.transports[id];
        self.at_work = Some(known.out.key);
        known.out.pump(now_us, &mut self.hub);
        while let Some(size) = known.out.padding_bytes(now_us) {
            let padded = known.subscriptions.values().any(|each| {
                let subscription = &mut self.subscriptions[*each];
                let publication = &self.publications[subscription.publication];
                subscription.pad(size, publication, &mut known.out, now_us, &mut self.hub)
            });
            if !padded {
                known.out.end_probe();
                return;
            }
        }
    }

    // --- what is known -------------------------------------------------------------------------

    pub fn poll_events(&mut self) -> Vec<Event> {
        let mut events = self.hub.events.take();
        for id in self.publication_ids.values() {
            let publication = &mut self.publications[*id];
            if publication.audio_packets == 0 {
                continue;
            }
            if !publication.muted && !publication.mirror {
                let (level, packets) = (publication.loudest, publication.audio_packets);
                events.push(Event::AudioLevel { publication: publication.key, level, packets });
            }
            publication.loudest = 127;
            publication.audio_packets = 0;
        }
        events
    }

    pub fn publication_stats(&self, key: PublicationKey) -> Vec<EncodingStats> {
        let Some(id) = self.publication_ids.get(&key) else { return Vec::new() };
        let known = &self.publications[*id];
        known.by_rid.iter().map(|(_, encoding)| known.encodings[*encoding].snapshot()).collect()
    }

    pub fn subscription_stats(&self, key: SubscriptionKey) -> Option<&SubscriptionStats> {
        self.subscription_ids.get(&key).map(|id| &self.subscriptions[*id].stats)
    }

    pub fn counters(&self) -> &Counters {
        &self.hub.counters
    }
}
