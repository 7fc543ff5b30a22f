//! A limit to the keyframes that one subscriber can make everybody pay for.

/// Time for one request. A decoder that needs keyframes more often for long will not get well by them.
const INTERVAL_US: i64 = 4_000_000;
/// Requests at once: of a bad moment on the network.
const BURST: i64 = 4;
/// Requests within this are one, as long as no keyframe has come: decoders repeat theirs.
const ANSWER_US: i64 = 1_000_000;

/// Keyframe requests (PLI, FIR) of one subscription: some at once, then one in a while.
///
/// One that comes too soon waits its turn, unless a keyframe comes first.
#[derive(Debug, Default)]
pub struct PliThrottle {
    free_us: i64,
    asked_us: Option<i64>,
    waits_us: Option<i64>,
}

impl PliThrottle {
    /// Whether to serve a request now. `keyframe_us` is when the newest keyframe began to arrive.
    pub fn request(&mut self, keyframe_us: i64, now_us: i64) -> bool {
        let same = |asked_us| keyframe_us <= asked_us && now_us - asked_us < ANSWER_US;
        if self.asked_us.is_some_and(same) || self.spend(now_us) {
            return true;
        }
        self.waits_us.get_or_insert(now_us);
        false
    }

    /// Whether a request that had to wait is to be served now.
    pub fn due(&mut self, keyframe_us: i64, now_us: i64) -> bool {
        let Some(waits_us) = self.waits_us else { return false };
        if keyframe_us > waits_us {
            self.waits_us = None;
            return false;
        }
        self.spend(now_us)
    }

    fn spend(&mut self, now_us: i64) -> bool {
        let free_us = self.free_us.max(now_us);
        if free_us - now_us > (BURST - 1) * INTERVAL_US {
            return false;
        }
        self.free_us = free_us + INTERVAL_US;
        self.asked_us = Some(now_us);
        self.waits_us = None;
        true
    }
}
