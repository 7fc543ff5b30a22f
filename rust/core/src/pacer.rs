//! The egress pacer of one subscribe transport: bursts are spread so that a shallow queue on the path holds.
//!
//! As `sfu/media/pacer.py`: the plane decides what is queued, and gives a packet its transport-wide number and
//! protects it when it really leaves. Probes are paced here too.

use std::collections::VecDeque;

use crate::parameters::Probe;

/// Of the estimate. An encoder's frames vary by about this, and so must what passes undelayed.
const RATE_FACTOR: f64 = 2.5;
/// A 1200-byte packet then takes 19 ms at most, whatever the estimate.
const RATE_FLOOR_BPS: f64 = 500_000.0;
/// What may leave at once, in time at the pacing rate.
const BURST_US: i64 = 15_000;
/// A backlog is sent within this, at a higher rate if need be.
const LONGEST_WAIT_US: f64 = 250_000.0;
/// Above this the newest packet is dropped: memory is bounded even when time stands still.
const MOST_PACKETS: usize = 1024;
const SMALLEST_PADDING: i64 = 64;
/// Padding of one RTP packet is counted in one byte. Spec: RFC 3550 section 5.1.
const LARGEST_PADDING: i64 = 255;

/// Who goes first. Audio never waits, though what it takes is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    Audio,
    Retransmission,
    Video,
}

#[derive(Debug)]
struct Cluster {
    probe: Probe,
    started_us: i64,
    bytes: i64,
    packets: i64,
}

impl Cluster {
    fn due_us(&self) -> i64 {
        self.started_us + (self.bytes * 8_000_000).div_euclid(self.probe.target_bps.max(1))
    }

    fn is_done(&self) -> bool {
        self.packets >= self.probe.min_packets && self.bytes >= self.probe.min_bytes
    }

    fn count(&mut self, size: usize) {
        self.bytes += size as i64;
        self.packets += 1;
    }
}

/// Call `next_due` when `next_us` has come, and `padding_bytes` after it. Being up to `BURST_US` late costs no
/// throughput: a timer need not be finer than 10 ms.
#[derive(Debug)]
pub struct Pacer<P> {
    /// Retransmissions, then video.
    queues: [VecDeque<(P, usize)>; 2],
    queued_bytes: usize,
    free_us: f64,
    us_per_byte: f64,
    drain_us_per_byte: f64,
    cluster: Option<Cluster>,
}

impl<P> Pacer<P> {
    pub fn new(estimate_bps: i64) -> Self {
        let mut pacer = Self {
            queues: [VecDeque::new(), VecDeque::new()],
            queued_bytes: 0,
            free_us: 0.0,
            us_per_byte: 0.0,
            drain_us_per_byte: f64::INFINITY,
            cluster: None,
        };
        pacer.set_estimate(estimate_bps);
        pacer
    }

    /// Follow the estimator.
    pub fn set_estimate(&mut self, estimate_bps: i64) {
        self.us_per_byte = 8e6 / (RATE_FACTOR * estimate_bps as f64).max(RATE_FLOOR_BPS);
    }

    /// The probe that packets leaving now belong to, 0 while none is under way.
    pub fn cluster_id(&self) -> i32 {
        self.cluster.as_ref().map_or(0, |cluster| cluster.probe.cluster_id)
    }

    /// Whether a packet of that size passes at once, which it then does; else `queue` it.
    pub fn passes(&mut self, now_us: i64, size: usize, priority: Priority) -> bool {
        self.end_done_probe();
        let free = self.is_free(now_us)
            && self.queues[0].is_empty()
            && (priority == Priority::Retransmission || self.queues[1].is_empty());
        if priority == Priority::Audio || free {
            self.spend(now_us, size);
            return true;
        }
        false
    }

    /// Whether so many wait that one more has to be dropped.
    pub fn is_full(&self) -> bool {
        self.queues[0].len() + self.queues[1].len() >= MOST_PACKETS
    }

    /// Keep a packet for `next_due`.
    pub fn queue(&mut self, packet: P, size: usize, priority: Priority) {
        self.queues[usize::from(priority == Priority::Video)].push_back((packet, size));
        self.queued_bytes += size;
        self.drain_us_per_byte = self.drain_us_per_byte.min(LONGEST_WAIT_US / self.queued_bytes as f64);
    }

    /// Begin to send what waits: a probe that has its packets ends.
    pub fn begin_due(&mut self) {
        self.end_done_probe();
    }

    /// The next queued packet whose time has come, retransmissions first.
    pub fn next_due(&mut self, now_us: i64) -> Option<P> {
        if !self.is_free(now_us) {
            return None;
        }
        let queue = usize::from(self.queues[0].is_empty());
        let (packet, size) = self.queues[queue].pop_front()?;
        self.spend(now_us, size);
        self.queued_bytes -= size;
        Some(packet)
    }

    /// All that was due has been taken.
    pub fn end_due(&mut self) {
        if self.queued_bytes == 0 {
            self.drain_us_per_byte = f64::INFINITY;
        }
    }

    /// When to send again; None while nothing waits. It may lie in the past.
    pub fn next_us(&self) -> Option<i64> {
        let queued = (self.queued_bytes > 0).then(|| self.free_us as i64 - BURST_US + 1);
        let probe = self.cluster.as_ref().map(Cluster::due_us);
        queued.into_iter().chain(probe).min()
    }

    /// Drop what is queued and end the probe, as when the transport is gone.
    pub fn clear(&mut self) {
        for queue in &mut self.queues {
            queue.clear();
        }
        self.queued_bytes = 0;
        self.drain_us_per_byte = f64::INFINITY;
        self.cluster = None;
    }

    /// Begin a cluster; one still under way is cut short.
    pub fn start_probe(&mut self, now_us: i64, probe: Probe) {
        self.cluster = Some(Cluster { probe, started_us: now_us, bytes: 0, packets: 0 });
    }

    /// Give up a cluster: there is nothing to send it on.
    pub fn end_probe(&mut self) {
        self.cluster = None;
    }

    /// Size of the padding to send now to keep a probe's rate, None for none.
    ///
    /// Send one RTP packet with about this much padding, report its full size with `padded`, and ask again.
    /// At low rates padding is made small: five large packets would be a burst of their own.
    pub fn padding_bytes(&mut self, now_us: i64) -> Option<u8> {
        self.end_done_probe();
        let cluster = self.cluster.as_ref().filter(|cluster| now_us >= cluster.due_us())?;
        let packets = cluster.probe.min_packets.max(1);
        let size =
            cluster.probe.min_bytes.div_euclid(packets) + i64::from(cluster.probe.min_bytes % packets != 0);
        Some(size.clamp(SMALLEST_PADDING, LARGEST_PADDING) as u8)
    }

    /// Account a padding packet, just sent. It delays no media: a probe has its pace.
    pub fn padded(&mut self, size: usize) {
        if let Some(cluster) = &mut self.cluster {
            cluster.count(size);
        }
    }

    fn is_free(&self, now_us: i64) -> bool {
        self.free_us - now_us as f64 <= BURST_US as f64
    }

    fn spend(&mut self, now_us: i64, size: usize) {
        let pace = self.us_per_byte.min(self.drain_us_per_byte);
        self.free_us = self.free_us.max(now_us as f64) + size as f64 * pace;
        self.padded(size);
    }

    /// Done at the next call only: whoever sends what this one released must still see its cluster.
    fn end_done_probe(&mut self) {
        if self.cluster.as_ref().is_some_and(Cluster::is_done) {
            self.cluster = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(pacer: &mut Pacer<u32>, now_us: i64) -> Vec<u32> {
        pacer.begin_due();
        let due = std::iter::from_fn(|| pacer.next_due(now_us)).collect();
        pacer.end_due();
        due
    }

    #[test]
    fn a_burst_is_spread_and_retransmissions_go_first() {
        let mut pacer = Pacer::new(200_000);
        let mut sent = 0;
        while pacer.passes(0, 1000, Priority::Video) {
            sent += 1;
        }
        assert_eq!(sent, 1);
        pacer.queue(1, 1000, Priority::Video);
        assert!(!pacer.passes(0, 1000, Priority::Retransmission));
        pacer.queue(2, 1000, Priority::Retransmission);
        assert!(pacer.passes(0, 100, Priority::Audio));
        assert!(drain(&mut pacer, 0).is_empty());
        let next_us = pacer.next_us().unwrap();
        assert_eq!(drain(&mut pacer, next_us), [2]);
        assert_eq!(drain(&mut pacer, next_us + 20_000), [1]);
        assert_eq!(pacer.next_us(), None);
    }

    #[test]
    fn a_probe_is_filled_up_with_padding() {
        let mut pacer: Pacer<u32> = Pacer::new(1_000_000);
        pacer.start_probe(0, Probe { cluster_id: 7, target_bps: 800_000, min_packets: 2, min_bytes: 300 });
        assert_eq!(pacer.padding_bytes(0), Some(150));
        pacer.padded(200);
        assert_eq!(pacer.padding_bytes(1_999), None);
        assert_eq!(pacer.padding_bytes(2_000), Some(150));
        pacer.padded(200);
        assert_eq!((pacer.cluster_id(), pacer.padding_bytes(10_000), pacer.cluster_id()), (7, None, 0));
    }
}
