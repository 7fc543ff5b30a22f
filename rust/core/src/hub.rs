//! What all parts of a plane write to: packets that are to be sent, events, counters.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::ingress::SubscriptionId;
use crate::mirror::Copies;
use crate::parameters::{Layer, PublicationKey, SubscriptionKey, TransportKey};
use crate::twcc::PacketResult;

/// Plane to policy; `sfu/media/plane.py` says what each means.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    EncodingStarted { publication: PublicationKey, rid: Arc<str>, ssrc: u32 },
    EncodingStopped { publication: PublicationKey, rid: Arc<str> },
    KeyframeWanted { publication: PublicationKey, rid: Arc<str>, reason: &'static str },
    CurrentLayerChanged { subscription: SubscriptionKey, layer: Option<Layer> },
    AudioLevel { publication: PublicationKey, level: u8, packets: i64 },
    TransportFeedback { transport: TransportKey, results: Vec<PacketResult> },
    RembReceived { transport: TransportKey, bitrate_bps: u128, subscriptions: Vec<SubscriptionKey> },
}

/// Of the whole plane. `dropped` counts by reason.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    pub received: u64,
    pub forwarded: u64,
    pub dropped: BTreeMap<&'static str, u64>,
}

impl Counters {
    pub fn drop(&mut self, reason: &'static str) {
        *self.dropped.entry(reason).or_default() += 1;
    }
}

/// Where in the outbox a packet lies, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub transport: TransportKey,
    pub start: usize,
    pub end: usize,
}

/// Protected packets in the order of sending, one after the other in one buffer.
#[derive(Debug, Default)]
pub struct Outbox {
    pub bytes: Vec<u8>,
    pub envelopes: Vec<Envelope>,
}

impl Outbox {
    /// The packet that begins at `start` and reaches to the end is ready.
    pub fn push(&mut self, transport: TransportKey, start: usize) {
        self.envelopes.push(Envelope { transport, start, end: self.bytes.len() });
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.envelopes.clear();
    }

    /// Keep the first `packets` only: what came after them may be half made.
    pub fn keep(&mut self, packets: usize) {
        self.envelopes.truncate(packets);
        self.bytes.truncate(self.envelopes.last().map_or(0, |last| last.end));
    }
}

/// Events that wait for their poll at most, of those that peers cause as they like.
const EVENTS: usize = 8192;

#[derive(Default)]
pub struct Hub {
    pub out: Outbox,
    pub copies: Copies,
    pub counters: Counters,
    pub events: Vec<Event>,
    /// Transports whose pacers have something to do later.
    pub waiting: BTreeSet<TransportKey>,
    /// Subscriptions that have something to settle before their next turn.
    pub unsettled: VecDeque<SubscriptionId>,
}

impl Hub {
    /// Tell of something that a peer may cause as often as it likes; where nobody listens it is left out.
    pub fn ask(&mut self, event: Event) {
        if self.events.len() < EVENTS {
            self.events.push(event);
        } else {
            self.counters.drop("event-queue-full");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_peers_cause_waits_within_bounds_and_what_is_so_is_always_told() {
        let mut hub = Hub::default();
        let wanted = || Event::KeyframeWanted { publication: 1, rid: "".into(), reason: "pli" };
        (0..EVENTS + 5).for_each(|_| hub.ask(wanted()));
        hub.events.push(Event::EncodingStopped { publication: 1, rid: "".into() });
        assert_eq!(hub.events.len(), EVENTS + 1);
        assert_eq!(hub.counters.dropped.get("event-queue-full"), Some(&5));
    }
}
