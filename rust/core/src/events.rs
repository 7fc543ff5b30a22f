//! Events that wait for policy's next poll, bounded whatever peers do meanwhile.
//!
//! A viewer may ask for a keyframe, and a publisher begin anew, as often as it likes, and every event costs policy
//! time that others need. Policy acts on what is so, not on how often it was said: of what can happen again, only
//! the last time waits. A transport's reports differ, so there may be some of them: nobody's take the place of
//! another's.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::parameters::{Layer, PublicationKey, SubscriptionKey, TransportKey};
use crate::twcc::BurstResult;

/// Of one transport at one poll: those of 0.4 s, should policy be held up for so long.
const MOST_REPORTS: usize = 8;

/// Plane to policy; `sfu/media/plane.py` says what each means.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    EncodingStarted { publication: PublicationKey, rid: Arc<str>, ssrc: u32 },
    EncodingStopped { publication: PublicationKey, rid: Arc<str> },
    KeyframeWanted { publication: PublicationKey, rid: Arc<str>, reason: &'static str },
    CurrentLayerChanged { subscription: SubscriptionKey, layer: Option<Layer> },
    AudioLevel { publication: PublicationKey, level: u8, packets: i64 },
    TransportFeedback { transport: TransportKey, results: Vec<BurstResult> },
    RembReceived { transport: TransportKey, bitrate_bps: u128, subscriptions: Vec<SubscriptionKey> },
    Arrivals { transport: TransportKey, results: Vec<BurstResult>, lost: i64 },
}

/// Events with the same one say the same: the later takes the place of the earlier.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Same {
    Started(PublicationKey, Arc<str>),
    Stopped(PublicationKey, Arc<str>),
    Keyframe(PublicationKey, Arc<str>, &'static str),
    Layer(SubscriptionKey),
    Level(PublicationKey),
    /// Of those of a transport the number.
    Feedback(TransportKey, usize),
    Remb(TransportKey, Vec<SubscriptionKey>),
}

#[derive(Debug, Default)]
pub struct Events {
    waiting: FxHashMap<Same, (u64, Event)>,
    reports: FxHashMap<TransportKey, usize>,
    told: u64,
}

impl Events {
    /// Put it last, in place of one that says the same. False for a report that is one too many.
    #[must_use]
    pub fn tell(&mut self, event: Event) -> bool {
        let mut of = None;
        let same = match &event {
            Event::EncodingStarted { publication, rid, .. } => Same::Started(*publication, rid.clone()),
            Event::EncodingStopped { publication, rid } => Same::Stopped(*publication, rid.clone()),
            Event::KeyframeWanted { publication, rid, reason } => {
                Same::Keyframe(*publication, rid.clone(), reason)
            }
            Event::CurrentLayerChanged { subscription, .. } => Same::Layer(*subscription),
            Event::AudioLevel { publication, .. } => Same::Level(*publication),
            Event::TransportFeedback { transport, .. } | Event::Arrivals { transport, .. } => {
                of = Some(*transport);
                Same::Feedback(*transport, self.reports.get(transport).copied().unwrap_or(0))
            }
            Event::RembReceived { transport, subscriptions, .. } => {
                of = Some(*transport);
                Same::Remb(*transport, subscriptions.clone())
            }
        };
        if let Some(transport) = of
            && !self.waiting.contains_key(&same)
        {
            let reports = self.reports.entry(transport).or_default();
            if *reports == MOST_REPORTS {
                return false;
            }
            *reports += 1;
        }
        self.told += 1;
        self.waiting.insert(same, (self.told, event));
        true
    }

    /// All of them, in the order in which each was last told.
    pub fn take(&mut self) -> Vec<Event> {
        self.reports.clear();
        let mut waiting: Vec<(u64, Event)> = self.waiting.drain().map(|(_, event)| event).collect();
        waiting.sort_unstable_by_key(|(told, _)| *told);
        waiting.into_iter().map(|(_, event)| event).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remb(transport: TransportKey, bitrate_bps: u128, subscription: SubscriptionKey) -> Event {
        Event::RembReceived { transport, bitrate_bps, subscriptions: vec![subscription] }
    }

    #[test]
    fn what_is_said_again_waits_once_and_last() {
        let mut events = Events::default();
        let wanted = |rid: &str| Event::KeyframeWanted { publication: 1, rid: rid.into(), reason: "pli" };
        let stopped = Event::EncodingStopped { publication: 1, rid: "a".into() };
        let started = |ssrc| Event::EncodingStarted { publication: 1, rid: "a".into(), ssrc };
        for _ in 0..10_000 {
            assert!(events.tell(wanted("a")) && events.tell(wanted("b")) && events.tell(started(1)));
        }
        let all = [remb(1, 1, 1), stopped.clone(), started(2), remb(1, 2, 1), remb(1, 3, 2), wanted("a")];
        for event in all {
            assert!(events.tell(event));
        }
        let expected = [wanted("b"), stopped, started(2), remb(1, 2, 1), remb(1, 3, 2), wanted("a")];
        assert_eq!(events.take(), expected);
        assert!(events.take().is_empty());
    }

    #[test]
    fn one_transport_takes_no_place_of_another() {
        let mut events = Events::default();
        let feedback = |transport| Event::TransportFeedback { transport, results: Vec::new() };
        let taken = (0..100).filter(|each| events.tell(feedback(1)) | events.tell(remb(1, 5, *each))).count();
        assert_eq!(taken, MOST_REPORTS / 2);
        assert!(events.tell(feedback(2)));
        assert_eq!(events.take().len(), MOST_REPORTS + 1);
        assert!(events.tell(feedback(1)));
    }
}
