//! Arrivals from a publisher without transport-wide numbers: what its uplink is estimated by.

use crate::twcc::{BurstResult, FEEDBACK_INTERVAL_US};

const SEND_TIME_BITS: u32 = 24;
/// Spec: draft-alvestrand-rmcat-remb-03 appendix (`abs-send-time`).
const SECOND_TICKS: i64 = 1 << 18;
/// After this long nobody knows any more how often the send time has wrapped: it does in 64 s.
const FORGOTTEN_US: i64 = 16_000_000;
/// In one report: those of 50 ms at 60 Mbit/s, each packet alone.
const MOST_BURSTS: usize = 256;
/// A larger jump of the sequence numbers is a source that begins anew.
const MOST_AHEAD: i64 = 3000;

/// When packets of one transport were sent and came, bursts as one, and how many did not come.
///
/// Times of sending are the publisher's, moved so that the first packet was sent when it came. Packets without one
/// count as sent when they came: they tell how much arrives, not how late.
#[derive(Debug)]
pub struct ArrivalRecorder {
    bursts: Vec<BurstResult>,
    lost: i64,
    ticks: i64,
    base_us: i64,
    last_us: i64,
    reported_us: i64,
}

impl Default for ArrivalRecorder {
    fn default() -> Self {
        Self { bursts: Vec::new(), lost: 0, ticks: 0, base_us: 0, last_us: -1, reported_us: 0 }
    }
}

impl ArrivalRecorder {
    /// One packet, `ahead` of the highest sequence number of its source until then, 0 for its first one.
    pub fn record(&mut self, send_time: Option<&[u8]>, size: usize, ahead: i64, arrival_us: i64) {
        if ahead > 1 && ahead <= MOST_AHEAD {
            self.lost += ahead - 1;
        } else if ahead < 0 {
            self.lost -= 1;
        }
        let packet = BurstResult {
            sent_us: self.sent_us(send_time, arrival_us),
            arrival_us: Some(arrival_us),
            size_bytes: size as i32,
            probe_cluster: 0,
            packets: 1,
            sent_span_us: 0,
            arrival_span_us: 0,
        };
        let grown = self.bursts.last_mut().is_some_and(|burst| burst.grow(&packet));
        if !grown && self.bursts.len() < MOST_BURSTS {
            self.bursts.push(packet);
        }
    }

    /// What came since the last time, and how many were lost; None where nothing is due.
    pub fn take(&mut self, now_us: i64) -> Option<(Vec<BurstResult>, i64)> {
        if self.bursts.is_empty() || now_us - self.reported_us < FEEDBACK_INTERVAL_US {
            return None;
        }
        let lost = self.lost.max(0);
        // What comes late makes good what it was called lost for, in this report or the next.
        self.lost = self.lost.min(0);
        self.reported_us = now_us;
        Some((std::mem::take(&mut self.bursts), lost))
    }

    fn sent_us(&mut self, send_time: Option<&[u8]>, arrival_us: i64) -> i64 {
        let Some([high, middle, low]) = send_time else { return arrival_us };
        let ticks = i64::from(u32::from_be_bytes([0, *high, *middle, *low]));
        let us = |ticks: i64| (ticks * 1_000_000).div_euclid(SECOND_TICKS);
        if self.last_us < 0 || arrival_us - self.last_us > FORGOTTEN_US {
            (self.ticks, self.base_us) = (ticks, arrival_us - us(ticks));
        } else {
            let half = 1i64 << (SEND_TIME_BITS - 1);
            self.ticks += ((ticks - self.ticks + half) & (2 * half - 1)) - half;
        }
        self.last_us = arrival_us;
        self.base_us + us(self.ticks)
    }
}
