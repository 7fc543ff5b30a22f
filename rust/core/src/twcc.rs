//! Transport-wide congestion control: recording what arrived, and matching what was sent.
//!
//! Spec: draft-holmer-rmcat-transport-wide-cc-extensions-01.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::rtcp;
use crate::transport_cc::{
    DELTA_US, MAX_DELTA_TICKS, MIN_DELTA_TICKS, REFERENCE_SPAN_US, REFERENCE_US, ReceivedFeedback,
    TransportWideFeedback,
};

/// Senders' estimators expect 50 to 250 ms; the lower end lets a publisher's top layer start sooner.
pub(crate) const FEEDBACK_INTERVAL_US: i64 = 50_000;
/// This many packets are reported without waiting: on a fast link a report must not outgrow a datagram.
const EARLY_PACKETS: usize = 100;
const REORDER_WINDOW: i64 = 1024;
const KEEP_US: i64 = 500_000;
const KEEP_PACKETS: usize = 2048;
/// At one time. An honest sender needs one or two; numbers that jump about would take one for each packet.
const MAX_REPORTS: usize = 8;
/// 1024 statuses (at worst 294 bytes of chunks) with 440 arrivals (at worst 880 bytes) stay under 1200 bytes.
const MAX_STATUSES: i64 = 1024;
const MAX_ARRIVALS: usize = 440;

/// Arrival times of one transport's packets, reported back to their sender.
///
/// Memory is bounded whatever numbers a sender uses. A packet later than the report that called it lost is
/// reported again, with everything after it, as long as that is remembered (500 ms).
#[derive(Debug)]
pub struct TwccRecorder {
    /// By unwrapped number, and the numbers in order of arrival.
    arrivals: FxHashMap<i64, i64>,
    order: VecDeque<i64>,
    highest: i64,
    /// First number not yet reported.
    start: i64,
    /// Below it arrivals have been forgotten.
    floor: i64,
    pending: usize,
    /// Built since nothing was pending.
    reports: usize,
    feedback_count: u8,
    last_build_us: i64,
}

impl Default for TwccRecorder {
    fn default() -> Self {
        Self {
            arrivals: FxHashMap::default(),
            order: VecDeque::new(),
            highest: -1,
            start: 0,
            floor: 0,
            pending: 0,
            reports: 0,
            feedback_count: 0,
            last_build_us: 0,
        }
    }
}

impl TwccRecorder {
    /// One packet with this transport-wide sequence number arrived. Duplicates change nothing.
    pub fn record(&mut self, seq: u16, now_us: i64) {
        let number = i64::from(seq);
        let highest = self.highest;
        let ahead = (number - highest) & 0xFFFF;
        let ext_seq;
        if highest < 0 {
            ext_seq = number;
            (self.highest, self.start, self.floor) = (number, number, number);
            self.last_build_us = now_us;
        } else if ahead <= 0xFFFF - REORDER_WINDOW {
            // Anything further back than a reordering is taken for a jump ahead: a sender that starts its
            // numbers anew is followed, not ignored.
            if ahead == 0 {
                return;
            }
            ext_seq = highest + ahead;
            self.highest = ext_seq;
        } else {
            ext_seq = highest + ahead - 0x10000;
            if ext_seq < self.floor || self.arrivals.contains_key(&ext_seq) {
                return;
            }
            self.start = self.start.min(ext_seq);
        }
        self.arrivals.insert(ext_seq, now_us);
        self.order.push_back(ext_seq);
        self.pending += 1;
        if self.order.len() > KEEP_PACKETS {
            self.forget_oldest();
        }
    }

    /// Append the next report, an RTCP packet under 1200 bytes, where one is due; whether one was.
    ///
    /// Due is what waited for `FEEDBACK_INTERVAL_US` or has reached `EARLY_PACKETS`. Call again until false:
    /// what does not fit one report follows in the next.
    pub fn build(&mut self, sender_ssrc: u32, media_ssrc: u32, now_us: i64, out: &mut Vec<u8>) -> bool {
        let waited_us = now_us - self.last_build_us;
        if self.pending == 0 || (self.pending < EARLY_PACKETS && waited_us < FEEDBACK_INTERVAL_US) {
            return false;
        }
        let mut arrived: Vec<i64> =
            self.order.iter().copied().filter(|number| *number >= self.start).collect();
        arrived.sort_unstable();
        let first = match arrived.first() {
            Some(first) if self.reports < MAX_REPORTS => *first,
            _ => {
                self.start = self.highest + 1;
                self.rest(now_us);
                return false;
            }
        };
        if first - self.start >= MAX_STATUSES {
            self.start = first;
        }
        let base = self.start;
        let (arrivals, taken) = self.collect(&arrived);
        let reported = arrivals.len();
        let feedback = TransportWideFeedback {
            sender_ssrc,
            media_ssrc,
            base_seq: base as u16,
            feedback_count: self.feedback_count,
            reference_time_us: self.arrival(first).div_euclid(REFERENCE_US) * REFERENCE_US,
            arrivals,
        };
        self.feedback_count = self.feedback_count.wrapping_add(1);
        self.start = base + reported as i64;
        self.pending = arrived.len() - taken;
        self.reports += 1;
        if self.pending == 0 {
            self.rest(now_us);
        }
        self.forget_before(now_us - KEEP_US);
        rtcp::transport_wide(&feedback, out);
        true
    }

    fn rest(&mut self, now_us: i64) {
        self.pending = 0;
        self.reports = 0;
        self.last_build_us = now_us;
    }

    fn arrival(&self, number: i64) -> i64 {
        self.arrivals.get(&number).copied().unwrap_or(0)
    }

    /// Statuses from the first unreported number on, and how many of `arrived` they hold.
    fn collect(&self, arrived: &[i64]) -> (Vec<Option<i64>>, usize) {
        let mut packets = Vec::new();
        let base = self.start;
        let first_us = arrived.first().map_or(0, |first| self.arrival(*first));
        let mut last_ticks = first_us.div_euclid(REFERENCE_US) * (REFERENCE_US / DELTA_US);
        let mut taken = 0;
        for ext_seq in arrived.iter().take(MAX_ARRIVALS) {
            let arrival_us = self.arrival(*ext_seq);
            let ticks = arrival_us.div_euclid(DELTA_US);
            let fits = (MIN_DELTA_TICKS..=MAX_DELTA_TICKS).contains(&(ticks - last_ticks));
            if ext_seq - base >= MAX_STATUSES || !fits {
                break;
            }
            packets.resize((ext_seq - base) as usize, None);
            packets.push(Some(arrival_us));
            last_ticks = ticks;
            taken += 1;
        }
        (packets, taken)
    }

    fn forget_before(&mut self, oldest_us: i64) {
        while let Some(ext_seq) = self.order.front() {
            if *ext_seq >= self.start || self.arrival(*ext_seq) >= oldest_us {
                return;
            }
            self.forget_oldest();
        }
    }

    /// Nothing at or below a forgotten number may be reported any more: it would be called lost.
    fn forget_oldest(&mut self) {
        if let Some(ext_seq) = self.order.pop_front() {
            self.arrivals.remove(&ext_seq);
            self.floor = self.floor.max(ext_seq + 1);
            self.start = self.start.max(self.floor);
        }
    }
}

/// What is sent, or arrives, within this long is a burst. Spec: draft-ietf-rmcat-gcc-02 section 5.2.
const BURST_US: i64 = 5_000;

/// What a report says of one packet, or of some that were sent and arrived as a burst; see `sfu/media/plane.py`.
///
/// Times are those of the first packet, spans from there to those of the last; `arrival_us` is None where it was
/// lost. `probe_cluster` names the probe it was sent in, 0 outside of probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BurstResult {
    pub sent_us: i64,
    pub arrival_us: Option<i64>,
    pub size_bytes: i32,
    pub probe_cluster: i32,
    pub packets: i32,
    pub sent_span_us: i64,
    pub arrival_span_us: i64,
}

impl BurstResult {
    /// Take in the packet that follows; false where that is not of the burst.
    pub(crate) fn grow(&mut self, packet: &Self) -> bool {
        let (Some(first_us), Some(arrival_us)) = (self.arrival_us, packet.arrival_us) else { return false };
        let sent_span_us = packet.sent_us - self.sent_us;
        let arrival_span_us = arrival_us - first_us;
        let sent = (self.sent_span_us..=BURST_US).contains(&sent_span_us);
        if !sent || !(self.arrival_span_us..=BURST_US).contains(&arrival_span_us) {
            return false;
        }
        self.size_bytes += packet.size_bytes;
        self.packets += 1;
        (self.sent_span_us, self.arrival_span_us) = (sent_span_us, arrival_span_us);
        true
    }
}

/// 4 s at 10 Mbit/s.
const HISTORY: usize = 4096;

#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    sent_us: i64,
    /// 0: nothing to tell any more; negative: already told to be lost.
    size: i32,
    cluster: i32,
}

/// Transport-wide numbers given to the packets of one transport, and what became of them.
#[derive(Debug, Default)]
pub struct SentHistory {
    next: u16,
    reference_us: Option<i64>,
    /// Empty until something is sent: most publishers' transports never do.
    sent: Vec<Sent>,
}

impl SentHistory {
    /// The number of the packet of `size` bytes that goes out now; `cluster` is its probe's.
    pub fn sent(&mut self, now_us: i64, size: usize, cluster: i32) -> u16 {
        if self.sent.is_empty() {
            self.sent.resize(HISTORY, Sent::default());
        }
        let seq = self.next;
        self.next = seq.wrapping_add(1);
        self.sent[usize::from(seq) % HISTORY] = Sent { sent_us: now_us, size: size as i32, cluster };
        seq
    }

    /// What the report says that was not known before, in order of sending, bursts as one.
    ///
    /// Each packet is told at most twice: lost, and later received after all. Numbers never sent or too old
    /// are left out. Arrival times do not wrap.
    pub fn matched(&mut self, feedback: &ReceivedFeedback) -> Vec<BurstResult> {
        let offset_us = self.unwrap(feedback.reference_time_us) - feedback.reference_time_us;
        let mut results: Vec<BurstResult> = Vec::new();
        let mut may_grow = false;
        let newest = self.next.wrapping_sub(1);
        let mut seq = feedback.base_seq;
        for arrival in feedback.arrivals() {
            let number = seq;
            seq = seq.wrapping_add(1);
            let Some(sent) = self.sent.get_mut(usize::from(number) % HISTORY) else { break };
            let told_lost = sent.size < 0;
            let told = sent.size == 0 || (told_lost && arrival.is_none());
            if usize::from(newest.wrapping_sub(number)) >= HISTORY || told {
                continue;
            }
            let result = BurstResult {
                sent_us: sent.sent_us,
                arrival_us: arrival.map(|arrival_us| arrival_us + offset_us),
                size_bytes: sent.size.abs(),
                probe_cluster: sent.cluster,
                packets: 1,
                sent_span_us: 0,
                arrival_span_us: 0,
            };
            sent.size = if arrival.is_none() { -sent.size } else { 0 };
            let alone = arrival.is_none() || told_lost || sent.cluster != 0;
            let burst = results.last_mut().filter(|_| may_grow && !alone);
            if !burst.is_some_and(|burst| burst.grow(&result)) {
                results.push(result);
            }
            may_grow = !alone;
        }
        results
    }

    fn unwrap(&mut self, mut reference_us: i64) -> i64 {
        if let Some(last_us) = self.reference_us {
            let half = REFERENCE_SPAN_US / 2;
            reference_us = last_us + (reference_us - last_us + half).rem_euclid(REFERENCE_SPAN_US) - half;
        }
        self.reference_us = Some(reference_us);
        reference_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::{Rtcp, parse_compound};
    use crate::transport_cc::{MAX_STATUSES as MOST, parse_feedback, serialize_feedback};
    use proptest::prelude::*;

    /// First number and arrivals of each.
    fn reports(recorder: &mut TwccRecorder, now_us: i64) -> Vec<(u16, Vec<Option<i64>>)> {
        let mut feedbacks = Vec::new();
        loop {
            let mut out = Vec::new();
            if !recorder.build(1, 2, now_us, &mut out) {
                return feedbacks;
            }
            assert!(out.len() <= 1200);
            let Some(Ok(Rtcp::TransportWide(feedback))) = parse_compound(&out).unwrap().next() else {
                panic!()
            };
            feedbacks.push((feedback.base_seq, feedback.arrivals().collect()));
        }
    }

    #[test]
    fn losses_are_reported_between_arrivals_and_late_packets_again() {
        let mut recorder = TwccRecorder::default();
        recorder.record(0xFFFF, 1_000_000);
        recorder.record(1, 1_010_000);
        let report = &reports(&mut recorder, 1_060_000)[0];
        assert_eq!(*report, (0xFFFF, vec![Some(1_000_000), None, Some(1_010_000)]));
        recorder.record(0, 1_070_000);
        let report = &reports(&mut recorder, 1_120_000)[0];
        assert_eq!((report.0, report.1[0]), (0, Some(1_070_000)));
    }

    #[test]
    fn what_was_lost_may_have_come_after_all_and_is_told_once_each() {
        let mut history = SentHistory::default();
        for (sent_us, size) in [(5, 100), (6, 200)] {
            history.sent(sent_us, size, 0);
        }
        let mut feedback = TransportWideFeedback {
            sender_ssrc: 0,
            media_ssrc: 0,
            base_seq: 0,
            feedback_count: 0,
            reference_time_us: 0,
            arrivals: vec![Some(250), None, None],
        };
        let mut matched = |feedback: &TransportWideFeedback| {
            let mut body = Vec::new();
            serialize_feedback(feedback, &mut body);
            history.matched(&parse_feedback(&body, MOST).unwrap())
        };
        let told: Vec<i32> = matched(&feedback).iter().map(|result| result.size_bytes).collect();
        assert_eq!(told, [100, 200]);
        assert!(matched(&feedback).is_empty());
        feedback.arrivals[1] = Some(500);
        assert_eq!(matched(&feedback)[0].arrival_us, Some(500));
    }

    proptest! {
        #[test]
        fn memory_and_reports_are_bounded(numbers: Vec<(u16, u16)>) {
            let mut recorder = TwccRecorder::default();
            let mut now_us = 0;
            for (seq, passed) in numbers {
                now_us += i64::from(passed);
                recorder.record(seq, now_us);
                prop_assert!(reports(&mut recorder, now_us).len() <= MAX_REPORTS);
                prop_assert!(recorder.order.len() <= KEEP_PACKETS);
                prop_assert_eq!(recorder.order.len(), recorder.arrivals.len());
            }
        }
    }
}
