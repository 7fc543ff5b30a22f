//! What all parts of a plane write to: packets that are to be sent, events, counters.

use std::collections::{BTreeMap, VecDeque};

pub use crate::events::Event;
use crate::events::Events;
use crate::ingress::SubscriptionId;
use crate::mirror::Copies;
use crate::parameters::TransportKey;
use crate::srtp::MOST_BYTES;

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

/// Packets' memory that is kept at most for those that pacers will hold back: 6 MB.
const SPARES: usize = 4096;

#[derive(Default)]
pub struct Hub {
    pub out: Outbox,
    pub copies: Copies,
    pub counters: Counters,
    pub events: Events,
    /// Transports whose pacers have something to do later, each once.
    pub waiting: Vec<TransportKey>,
    spares: Vec<Vec<u8>>,
    /// Subscriptions that have something to settle before their next turn.
    pub unsettled: VecDeque<SubscriptionId>,
}

impl Hub {
    /// Take what lies at the end of the outbox from `start` on out of it.
    pub fn take_back(&mut self, start: usize) -> Vec<u8> {
        let mut bytes = self.spares.pop().unwrap_or_else(|| Vec::with_capacity(MOST_BYTES));
        bytes.clear();
        bytes.extend_from_slice(&self.out.bytes[start..]);
        self.out.bytes.truncate(start);
        bytes
    }

    /// Put it to the end of the outbox again.
    pub fn put_back(&mut self, bytes: Vec<u8>) {
        self.out.bytes.extend_from_slice(&bytes);
        if self.spares.len() < SPARES {
            self.spares.push(bytes);
        }
    }

    pub fn tell(&mut self, event: Event) {
        if !self.events.tell(event) {
            self.counters.drop("event-queue-full");
        }
    }
}
