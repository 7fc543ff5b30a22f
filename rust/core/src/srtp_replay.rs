//! Which packet indices have been received. Spec: RFC 3711 sections 3.3.1 and 3.3.2.

/// Packets. Retransmissions without RTX and reordered bursts may come that late.
const WINDOW: i64 = 1024;
const MEDIAN: i64 = 0x8000;
const RTCP_WINDOW: u32 = 128;

/// Of one RTP stream: rollover counter and sequence number as one index of 48 bits.
#[derive(Debug)]
pub struct RtpReplay {
    index: i64,
    seen: [u64; WINDOW as usize / 64],
}

impl RtpReplay {
    /// The first genuine packet had this index.
    pub fn new(index: u64) -> Self {
        let mut replay = Self { index: index as i64, seen: [0; WINDOW as usize / 64] };
        replay.mark(replay.index);
        replay
    }

    /// The index that a sequence number most likely stands for; None where it came before or is too old.
    pub fn check(&self, seq: u16) -> Option<u64> {
        let index = self.estimate(seq);
        if index > self.index {
            return Some(index as u64);
        }
        (index > self.index - WINDOW && index >= 0 && !self.is_marked(index)).then_some(index as u64)
    }

    /// A genuine packet of an index that `check` allowed.
    pub fn add(&mut self, index: u64) {
        let index = index as i64;
        if index > self.index {
            if index - self.index >= WINDOW {
                self.seen = [0; WINDOW as usize / 64];
            } else {
                for passed in self.index + 1..index {
                    self.unmark(passed);
                }
            }
            self.index = index;
        }
        self.mark(index);
    }

    fn estimate(&self, seq: u16) -> i64 {
        let seq = i64::from(seq);
        // In the first half of the first cycle there is no cycle before that could be meant.
        if self.index <= MEDIAN {
            return seq;
        }
        let (roc, last) = (self.index >> 16, self.index & 0xFFFF);
        let guess = if last < MEDIAN {
            roc - i64::from(seq - last > MEDIAN)
        } else {
            roc + i64::from(last - MEDIAN > seq)
        };
        guess << 16 | seq
    }

    fn mark(&mut self, index: i64) {
        let bit = (index % WINDOW) as usize;
        self.seen[bit / 64] |= 1 << (bit % 64);
    }

    fn unmark(&mut self, index: i64) {
        let bit = (index % WINDOW) as usize;
        self.seen[bit / 64] &= !(1 << (bit % 64));
    }

    fn is_marked(&self, index: i64) -> bool {
        let bit = (index % WINDOW) as usize;
        self.seen[bit / 64] >> (bit % 64) & 1 == 1
    }
}

/// Of one source's SRTCP indices, which are sent with every packet.
#[derive(Debug, Default)]
pub struct RtcpReplay {
    /// The lowest index of the window.
    start: u32,
    /// Bit n: the index n above the start has been received.
    seen: u128,
}

impl RtcpReplay {
    pub fn is_new(&self, index: u32) -> bool {
        match index.checked_sub(self.start) {
            None => false,
            Some(ahead) => ahead >= RTCP_WINDOW || self.seen >> ahead & 1 == 0,
        }
    }

    /// A genuine packet of an index that `is_new` allowed.
    pub fn add(&mut self, index: u32) {
        let ahead = index.saturating_sub(self.start);
        if ahead < RTCP_WINDOW {
            self.seen |= 1 << ahead;
            return;
        }
        let moves = ahead - (RTCP_WINDOW - 1);
        self.seen = self.seen.checked_shr(moves).unwrap_or(0) | 1 << (RTCP_WINDOW - 1);
        self.start += moves;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_rollover_counter_follows_and_looks_back() {
        let mut replay = RtpReplay::new(0xFFF0);
        let index = replay.check(5).unwrap();
        assert_eq!(index, 0x10005);
        replay.add(index);
        assert_eq!(replay.check(0xFFFF), Some(0xFFFF));
        assert_eq!(replay.check(0xFFF0), None);
        assert_eq!(replay.check(5), None);
    }

    #[test]
    fn what_is_older_than_the_window_is_refused() {
        let mut replay = RtpReplay::new(5000);
        assert_eq!(replay.check(5000 - 1023), Some(5000 - 1023));
        assert_eq!(replay.check(5000 - 1024), None);
        replay.add(9000);
        assert_eq!(replay.check(8999), Some(8999));
    }

    #[test]
    fn rtcp_indices_are_new_once() {
        let mut replay = RtcpReplay::default();
        for index in [1, 2, 200, 100, 199] {
            assert!(replay.is_new(index));
            replay.add(index);
            assert!(!replay.is_new(index));
        }
        assert!(!replay.is_new(3));
    }

    proptest! {
        #[test]
        fn no_index_passes_twice(steps in proptest::collection::vec(-1100i64..1500, 1..300)) {
            let mut replay = RtpReplay::new(60_000);
            let mut seen = std::collections::HashSet::from([60_000u64]);
            let mut at = 60_000i64;
            for step in steps {
                at = (at + step).max(60_000);
                if let Some(index) = replay.check(at as u16) {
                    replay.add(index);
                    prop_assert!(seen.insert(index));
                }
            }
        }
    }
}
