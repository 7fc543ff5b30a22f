//! Which packets of a received stream to ask for again, and when. Spec: RFC 4585 section 6.2.1.

use std::collections::BTreeMap;

/// Between requests of one packet, until answers have shown how long the round trip is.
const RETRY_US: i64 = 80_000;
const MOST_TRIES: u32 = 10;
const LEAST_RETRY_US: i64 = 40_000;
const MOST_RETRY_US: i64 = 400_000;
/// Later than this a picture has long been given up by whoever watches.
const MOST_AGE_US: i64 = 1_500_000;
/// A gap this young may be a reordering on the path.
const REORDER_US: i64 = 5_000;
/// More is an outage: only a keyframe helps, and asking for everything would prolong it.
const MOST_MISSING: usize = 512;
const MOST_PER_REQUEST: usize = 128;

#[derive(Clone, Copy, Debug)]
struct Missing {
    due_us: i64,
    tries: u32,
    /// For the first time.
    asked_us: i64,
}

/// Missing packets of one stream, by unwrapped sequence number: in the order they went missing.
#[derive(Debug)]
pub struct NackTracker {
    missing: BTreeMap<i64, Missing>,
    /// Smoothed, 0 until known.
    round_trip_us: i64,
    given_up: i64,
}

impl Default for NackTracker {
    fn default() -> Self {
        Self { missing: BTreeMap::new(), round_trip_us: 0, given_up: -1 }
    }
}

impl NackTracker {
    /// Between two requests of one packet: a quarter more than a round trip.
    fn retry_us(&self) -> i64 {
        if self.round_trip_us == 0 {
            return RETRY_US;
        }
        (self.round_trip_us * 5).div_euclid(4).clamp(LEAST_RETRY_US, MOST_RETRY_US)
    }

    /// The packets from `first` up to but not including `end` were overtaken.
    pub fn gap(&mut self, first: i64, end: i64, now_us: i64) {
        if end - first > MOST_MISSING as i64 {
            self.clear();
            self.given_up = end - 1;
            return;
        }
        let missing = Missing { due_us: now_us + REORDER_US, tries: 0, asked_us: now_us };
        self.missing.extend((first..end).map(|number| (number, missing)));
        while self.missing.len() > MOST_MISSING {
            if let Some((number, _)) = self.missing.pop_first() {
                self.given_up = self.given_up.max(number);
            }
        }
    }

    /// A packet came late or was retransmitted.
    pub fn arrived(&mut self, number: i64, now_us: i64) {
        let Some(missing) = self.missing.remove(&number) else { return };
        if missing.tries == 0 {
            return;
        }
        // From the first request on: of several it is not known which was answered, and too long is safe.
        let sample_us = now_us - missing.asked_us;
        let before_us = if self.round_trip_us == 0 { sample_us } else { self.round_trip_us };
        self.round_trip_us = (before_us * 7 + sample_us).div_euclid(8);
    }

    /// The numbers to ask for now, ascending; each counts as asked for.
    pub fn due(&mut self, now_us: i64) -> Vec<i64> {
        let mut due = Vec::new();
        if self.missing.is_empty() {
            return due;
        }
        let mut hopeless = Vec::new();
        for (number, missing) in &self.missing {
            if missing.due_us > now_us {
                continue;
            }
            let old = missing.tries > 0 && now_us - missing.asked_us > MOST_AGE_US;
            if missing.tries >= MOST_TRIES || old {
                hopeless.push(*number);
            } else if due.len() < MOST_PER_REQUEST {
                due.push(*number);
            }
        }
        for number in hopeless {
            self.missing.remove(&number);
            self.given_up = self.given_up.max(number);
        }
        let again_us = now_us + self.retry_us();
        for number in &due {
            if let Some(missing) = self.missing.get_mut(number) {
                let asked_us = if missing.tries > 0 { missing.asked_us } else { now_us };
                *missing = Missing { due_us: again_us, tries: missing.tries + 1, asked_us };
            }
        }
        due
    }

    /// The highest number given up since this was asked last, -1 where none was.
    pub fn take_given_up(&mut self) -> i64 {
        std::mem::replace(&mut self.given_up, -1)
    }

    /// Nothing is wanted any more.
    pub fn clear(&mut self) {
        self.missing.clear();
        self.given_up = -1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_asked_for_after_a_moment_and_again_until_it_is_given_up() {
        let mut nack = NackTracker::default();
        nack.gap(10, 12, 0);
        assert!(nack.due(4_999).is_empty());
        assert_eq!(nack.due(5_000), [10, 11]);
        nack.arrived(10, 55_000);
        assert!(nack.due(60_000).is_empty());
        let mut now_us = 5_000;
        for _ in 0..MOST_TRIES {
            now_us += 100_000;
            nack.due(now_us);
        }
        assert_eq!(nack.take_given_up(), 11);
        assert_eq!(nack.take_given_up(), -1);
    }

    #[test]
    fn an_outage_is_given_up_at_once() {
        let mut nack = NackTracker::default();
        nack.gap(0, 600, 0);
        assert!(nack.due(1_000_000).is_empty());
        assert_eq!(nack.take_given_up(), 599);
    }
}
