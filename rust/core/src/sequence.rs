//! Sequence arithmetic: unwrapping counters, and carrying numbers over from one space to another.

use std::collections::VecDeque;

/// Gaps made on purpose that are remembered, for late packets and for NACKs.
const RANGES: usize = 256;
/// A longer one is a source that started its numbers anew, not loss. Spec: RFC 3550 appendix A.1.
const LONGEST_GAP: i64 = 3000;

/// Signed distance between two counters of that width: the shorter way round.
pub fn difference(later: i64, earlier: i64, bits: u32) -> i64 {
    let half = 1i64 << (bits - 1);
    ((later - earlier + half) & ((1i64 << bits) - 1)) - half
}

/// The number nearest to `reference` whose low bits are `value`. It may be negative.
pub fn unwrap(value: i64, reference: i64, bits: u32) -> i64 {
    reference + difference(value, reference, bits)
}

/// Unwraps the picture ids of one stream into numbers that grow with its sequence numbers.
///
/// Senders' ids are not monotonic: they widen from 7 to 15 bits (Pion), and start anew where an encoder is
/// replaced. A picture that does not follow the newest one gets the number after it.
#[derive(Debug, Default)]
pub struct PictureNumbers {
    newest: Option<Picture>,
    timestamp: u32,
    /// Sequence number and timestamp of the packet since which ids have been continuous.
    first_seq: i64,
    start_ts: u32,
    /// The newest picture before that.
    former: Option<Picture>,
}

#[derive(Clone, Copy, Debug)]
struct Picture {
    number: i64,
    id: i64,
    bits: u32,
}

impl Picture {
    /// The number of a picture that came late.
    fn before(self, id: i64, bits: u32) -> i64 {
        self.number - ((self.id - id) & ((1i64 << bits.min(self.bits)) - 1))
    }
}

impl PictureNumbers {
    /// The number of a packet's picture. `newest` says that no higher `ext_seq` has come.
    pub fn number(&mut self, id: i64, bits: u32, ext_seq: i64, timestamp: u32, newest: bool) -> i64 {
        let Some(last) = self.newest else {
            // Low bits stay as they are, and what is older stays positive.
            return self.begin(Picture { number: id + 0x8000, id, bits }, ext_seq, timestamp);
        };
        if !newest {
            let former = self.former.filter(|_| ext_seq < self.first_seq && timestamp != self.start_ts);
            return former.unwrap_or(last).before(id, bits);
        }
        let step = difference(id, last.id, bits.min(last.bits));
        if !(0..=LONGEST_GAP).contains(&step) || (step == 0 && timestamp != self.timestamp) {
            return self.begin(Picture { number: last.number + 1, id, bits }, ext_seq, timestamp);
        }
        self.newest = Some(Picture { number: last.number + step, id, bits });
        self.timestamp = timestamp;
        last.number + step
    }

    fn begin(&mut self, picture: Picture, ext_seq: i64, timestamp: u32) -> i64 {
        self.former = self.newest.replace(picture);
        (self.first_seq, self.start_ts, self.timestamp) = (ext_seq, timestamp, timestamp);
        picture.number
    }
}

#[derive(Clone, Copy, Debug)]
struct Span {
    start: i64,
    end: i64,
    offset: i64,
}

/// Carries unwrapped numbers of a source over to a continuous outgoing space.
///
/// Numbers lost on the way in stay gaps, so that they can be filled later; numbers dropped on purpose close
/// up. No outgoing number is given to two source numbers, and the same source number always gets the same.
#[derive(Clone, Debug)]
pub struct SequenceMap {
    first: i64,
    start: i64,
    offset: i64,
    history: VecDeque<Span>,
    highest: i64,
}

impl SequenceMap {
    /// The source number `first` becomes `first_out`; earlier ones are of no interest.
    pub fn new(first: i64, first_out: i64) -> Self {
        Self { first, start: first, offset: first_out - first, history: VecDeque::new(), highest: first - 1 }
    }

    /// The highest source number mapped or dropped so far.
    pub fn highest(&self) -> i64 {
        self.highest
    }

    /// The highest outgoing number given so far; one below the first while none was.
    pub fn highest_out(&self) -> i64 {
        self.highest + self.offset
    }

    /// The outgoing number; None for what was dropped, lies before the first, or is too old to tell.
    pub fn map(&mut self, number: i64) -> Option<i64> {
        if number > self.highest {
            if number - self.highest > LONGEST_GAP && self.highest >= self.first {
                let out = self.highest + self.offset + 1;
                self.begin(number, self.highest, out - number);
            }
            self.highest = number;
            return Some(number + self.offset);
        }
        self.lookup(number)
    }

    fn lookup(&self, number: i64) -> Option<i64> {
        if number >= self.start {
            return Some(number + self.offset);
        }
        for span in self.history.iter().rev() {
            if number > span.end {
                return None;
            }
            if number >= span.start {
                return Some(number + span.offset);
            }
        }
        None
    }

    /// Leave a source number out. False where it is too late, because higher ones have been given.
    pub fn drop(&mut self, number: i64) -> bool {
        if number <= self.highest {
            return false;
        }
        if number - self.highest > LONGEST_GAP && self.highest >= self.first {
            self.begin(number + 1, self.highest, self.highest + self.offset - number);
        } else {
            self.begin(number + 1, number - 1, self.offset - 1);
        }
        self.highest = number;
        true
    }

    /// The source number that was carried over to `out`, None where there was none or it is too old.
    pub fn source_of(&self, out: i64) -> Option<i64> {
        let number = out - self.offset;
        if number >= self.start {
            return (number <= self.highest).then_some(number);
        }
        // A list of NACKs asks for many, and old ones: none may cost a look at every range.
        let place = self.history.partition_point(|span| span.start + span.offset <= out);
        let span = self.history.get(place.checked_sub(1)?)?;
        Some(out - span.offset).filter(|number| *number <= span.end)
    }

    fn begin(&mut self, start: i64, end: i64, offset: i64) {
        if end >= self.start {
            if self.history.len() == RANGES {
                self.history.pop_front();
            }
            self.history.push_back(Span { start: self.start, end, offset: self.offset });
        }
        self.start = start;
        self.offset = offset;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn counters_take_the_shorter_way_round() {
        assert_eq!(unwrap(1, 0xFFFF, 16), 0x10001);
        assert_eq!(unwrap(0xFFFF, 0x10000, 16), 0xFFFF);
        assert_eq!(unwrap(0xFFFF, 0, 16), -1);
    }

    #[test]
    fn dropped_numbers_close_up_and_lost_ones_stay_open() {
        let mut map = SequenceMap::new(10, 100);
        assert_eq!(map.map(10), Some(100));
        assert!(map.drop(11));
        assert_eq!(map.map(13), Some(102));
        assert_eq!(map.map(12), Some(101));
        assert_eq!(map.map(11), None);
        assert_eq!(map.source_of(101), Some(12));
        assert_eq!(map.map(9), None);
        assert!(!map.drop(12));
    }

    proptest! {
        #[test]
        fn no_number_is_given_twice(steps in proptest::collection::vec((-40i64..4000, any::<bool>()), 1..300)) {
            let mut map = SequenceMap::new(1000, 5);
            let mut given: HashMap<i64, i64> = HashMap::new();
            let mut at = 1000;
            for (step, drops) in steps {
                at = (at + step).max(0);
                if drops {
                    map.drop(at);
                } else if let Some(out) = map.map(at) {
                    let source = *given.entry(out).or_insert(at);
                    prop_assert_eq!(source, at);
                    prop_assert_eq!(map.source_of(out), Some(at));
                    prop_assert_eq!(map.map(at), Some(out));
                }
            }
            for (out, source) in given {
                prop_assert!(map.source_of(out).is_none_or(|known| known == source));
                prop_assert_eq!(map.source_of(out), map.map(source).map(|_| source));
            }
        }
    }
}
