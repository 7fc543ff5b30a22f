//! Reception statistics, and RTP timestamps on the publisher's clock. Spec: RFC 3550 section 6.

use crate::rtcp::ReportBlock;

const MOST_DROPOUT: i64 = 3000;
const WINDOW: usize = 2048;
const WINDOW_WORDS: usize = WINDOW / 64;
const DLSR_UNITS: i64 = 65_536;

/// Why a packet is not new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It came before, or so late that nobody can tell.
    Duplicate,
    /// Far off; dropped until a second packet shows that the source began anew.
    Restarted,
}

/// What arrived of one stream. Spec: RFC 3550 section 6.4.1 and appendix A.
#[derive(Debug)]
pub struct Reception {
    clock_rate: i64,
    base: i64,
    bad_seq: i64,
    /// Bit n modulo the window: the packet with that unwrapped number has arrived.
    window: [u64; WINDOW_WORDS],
    expected_prior: i64,
    received_prior: i64,
    last_arrival: Option<(i64, u32)>,
    /// Highest unwrapped sequence number, -1 before the first packet.
    pub highest: i64,
    pub received: i64,
    pub recovered: i64,
    pub duplicates: i64,
    /// Interarrival jitter in timestamp units.
    pub jitter: f64,
    pub sender_report: Option<SenderClock>,
}

impl Reception {
    pub fn new(clock_rate: u32) -> Self {
        Self {
            clock_rate: i64::from(clock_rate),
            base: -1,
            bad_seq: -1,
            window: [0; WINDOW_WORDS],
            expected_prior: 0,
            received_prior: 0,
            last_arrival: None,
            highest: -1,
            received: 0,
            recovered: 0,
            duplicates: 0,
            jitter: 0.0,
            sender_report: None,
        }
    }

    /// The unwrapped number of a packet that is new. Never twice.
    pub fn accept(&mut self, seq: u16) -> Result<i64, Refused> {
        let number = i64::from(seq);
        if self.highest < 0 {
            // One cycle up, so that what was reordered before the first packet does not become negative.
            self.begin(number + 0x10000);
            return Ok(self.highest);
        }
        let ahead = (number - self.highest) & 0xFFFF;
        if 0 < ahead && ahead < MOST_DROPOUT {
            self.forget(self.highest + 1, ahead);
            self.highest += ahead;
            self.mark(self.highest);
            self.received += 1;
            self.bad_seq = -1;
            return Ok(self.highest);
        }
        let behind = -ahead & 0xFFFF;
        if behind < WINDOW as i64 {
            let ext_seq = self.highest - behind;
            if self.is_marked(ext_seq) {
                self.duplicates += 1;
                return Err(Refused::Duplicate);
            }
            self.mark(ext_seq);
            self.received += 1;
            return Ok(ext_seq);
        }
        self.restart(number)
    }

    fn restart(&mut self, number: i64) -> Result<i64, Refused> {
        if number != self.bad_seq {
            self.bad_seq = (number + 1) & 0xFFFF;
            return Err(Refused::Restarted);
        }
        // A cycle up and on: numbers of before and after never meet.
        self.begin((self.highest | 0xFFFF) + 1 + 0x10000 + number);
        self.bad_seq = -1;
        self.expected_prior = 0;
        self.received_prior = 0;
        Ok(self.highest)
    }

    fn begin(&mut self, ext_seq: i64) {
        self.highest = ext_seq;
        self.base = ext_seq;
        self.window = [0; WINDOW_WORDS];
        self.mark(ext_seq);
        self.received = 1;
    }

    fn mark(&mut self, ext_seq: i64) {
        let bit = ext_seq as usize % WINDOW;
        self.window[bit / 64] |= 1 << (bit % 64);
    }

    fn is_marked(&self, ext_seq: i64) -> bool {
        let bit = ext_seq as usize % WINDOW;
        self.window[bit / 64] >> (bit % 64) & 1 == 1
    }

    /// The window moves over `count` numbers from `first` on: none of them has come.
    fn forget(&mut self, first: i64, count: i64) {
        if count >= WINDOW as i64 {
            self.window = [0; WINDOW_WORDS];
            return;
        }
        for ext_seq in first..first + count {
            let bit = ext_seq as usize % WINDOW;
            self.window[bit / 64] &= !(1 << (bit % 64));
        }
    }

    /// Whether a retransmission of this number would be new, and is not of the future.
    pub fn is_missing(&self, seq: u16) -> bool {
        let behind = (self.highest - i64::from(seq)) & 0xFFFF;
        self.highest >= 0 && behind < WINDOW as i64 && !self.is_marked(self.highest - behind)
    }

    /// Follow the jitter with a packet that came by itself. Spec: RFC 3550 appendix A.8.
    pub fn arrived(&mut self, timestamp: u32, now_us: i64) {
        let arrival = (now_us * self.clock_rate).div_euclid(1_000_000);
        if let Some((last_arrival, last_timestamp)) = self.last_arrival {
            if last_timestamp == timestamp {
                return;
            }
            let moved = i64::from(timestamp.wrapping_sub(last_timestamp) as i32);
            let apart = (arrival - last_arrival - moved).abs();
            self.jitter += (apart as f64 - self.jitter) / 16.0;
        }
        self.last_arrival = Some((arrival, timestamp));
    }

    /// Packets that never came, cumulative; retransmitted ones did come.
    pub fn lost(&self) -> i64 {
        if self.highest < 0 { 0 } else { (self.highest - self.base + 1 - self.received).max(0) }
    }

    /// A report on everything since the last one.
    pub fn report(&mut self, ssrc: u32, now_us: i64) -> ReportBlock {
        let expected = self.highest - self.base + 1;
        let expected_interval = expected - self.expected_prior;
        let lost_interval = expected_interval - (self.received - self.received_prior);
        self.expected_prior = expected;
        self.received_prior = self.received;
        let mut fraction_lost = 0;
        if expected_interval > 0 && lost_interval > 0 {
            fraction_lost = (lost_interval * 256 / expected_interval).min(255) as u8;
        }
        let (mut lsr, mut dlsr) = (0, 0);
        if let Some(clock) = &self.sender_report {
            lsr = (clock.ntp >> 16) as u32;
            dlsr = ((now_us - clock.arrival_us) * DLSR_UNITS).div_euclid(1_000_000) as u32;
        }
        ReportBlock {
            ssrc,
            fraction_lost,
            lost: self.lost(),
            // The first cycle is of our own making.
            highest_seq: (self.highest - 0x10000) as u32,
            jitter: self.jitter as u32,
            lsr,
            dlsr,
        }
    }
}

/// One sender report: that instant on the publisher's clock, in RTP time, and here.
#[derive(Clone, Copy, Debug)]
pub struct SenderClock {
    pub ntp: u64,
    pub rtp_ts: u32,
    pub arrival_us: i64,
}

impl SenderClock {
    /// NTP and RTP time carried forward to now, on the same line: lip sync sees no jitter of arrival.
    pub fn at(&self, now_us: i64, clock_rate: u32) -> (u64, u32) {
        let elapsed_us = i128::from(now_us - self.arrival_us);
        let ntp = i128::from(self.ntp) + (elapsed_us << 32).div_euclid(1_000_000);
        let ts = i128::from(self.rtp_ts) + (elapsed_us * i128::from(clock_rate)).div_euclid(1_000_000);
        (ntp as u64, ts as u32)
    }

    /// A timestamp of this stream as `other`, a stream of the same publisher, would count it.
    pub fn translate(&self, timestamp: u32, other: &Self, clock_rate: u32) -> u32 {
        let since = i128::from(timestamp.wrapping_sub(self.rtp_ts) as i32);
        let between = ((i128::from(self.ntp) - i128::from(other.ntp)) * i128::from(clock_rate)) >> 32;
        (i128::from(other.rtp_ts) + since + between) as u32
    }
}

/// Of a report block that echoes the sender report sent at `sent_us`. Spec: RFC 3550 section 6.4.1.
pub fn round_trip_us(block: &ReportBlock, sent_us: i64, now_us: i64) -> i64 {
    (now_us - sent_us - i64::from(block.dlsr) * 1_000_000 / DLSR_UNITS).max(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_source_that_begins_anew_is_believed_at_its_second_packet() {
        let mut reception = Reception::new(90_000);
        assert_eq!(reception.accept(100), Ok(0x10064));
        assert_eq!(reception.accept(30_000), Err(Refused::Restarted));
        let began = reception.accept(30_001).unwrap();
        assert_eq!(began & 0xFFFF, 30_001);
        assert!(began > 0x20000);
        assert_eq!(reception.lost(), 0);
    }

    #[test]
    fn late_packets_are_new_once() {
        let mut reception = Reception::new(90_000);
        reception.accept(0xFFFE).unwrap();
        assert_eq!(reception.accept(2), Ok(0x20002));
        assert!(reception.is_missing(0xFFFF) && !reception.is_missing(3));
        assert_eq!(reception.lost(), 3);
        assert_eq!(reception.accept(0xFFFF), Ok(0x1FFFF));
        assert_eq!(reception.accept(0xFFFF), Err(Refused::Duplicate));
        assert_eq!(reception.lost(), 2);
    }

    proptest! {
        #[test]
        fn no_number_is_accepted_twice(steps in proptest::collection::vec(-2100i64..3100, 1..400)) {
            let mut reception = Reception::new(90_000);
            let mut seen = std::collections::HashSet::new();
            let mut at = 40_000i64;
            for step in steps {
                at += step;
                if let Ok(ext_seq) = reception.accept(at as u16) {
                    prop_assert!(seen.insert(ext_seq));
                    prop_assert_eq!(ext_seq & 0xFFFF, at & 0xFFFF);
                }
            }
        }
    }
}
