//! Real-time scheduling of a media thread, for as long as it keeps up.
//!
//! A packet that has come should not wait until others have used up their time. But a thread that has no rest any
//! more would leave nothing of its core to whoever could relieve it, so it is an ordinary one again until it has.

/// Without a rest for so long a thread does not keep up.
const BUSY_US: i64 = 100_000;
/// It stays an ordinary one for so long at least.
const ORDINARY_US: i64 = 1_000_000;
/// A wait shorter than this is none.
const REST_US: i64 = 20;

/// How one thread is scheduled. `set` makes it real-time or ordinary; false where it may not.
pub struct Priority<S> {
    set: S,
    raised: bool,
    rested_us: i64,
    /// Not before this it is raised, None where it may not be.
    next_us: Option<i64>,
}

impl<S: FnMut(bool) -> bool> Priority<S> {
    pub fn new(set: S, now_us: i64) -> Self {
        Self { set, raised: false, rested_us: now_us, next_us: Some(now_us) }
    }

    /// The thread has waited for something to do from one time to the other.
    pub fn waited(&mut self, from_us: i64, until_us: i64) {
        if until_us - from_us >= REST_US {
            self.rested_us = until_us;
            if !self.raised && self.next_us.is_some_and(|next_us| until_us >= next_us) {
                self.raised = (self.set)(true);
                self.next_us = self.next_us.filter(|_| self.raised);
            }
        } else if self.raised && until_us - self.rested_us > BUSY_US {
            self.raised = !(self.set)(false);
            self.next_us = Some(until_us + ORDINARY_US);
        }
    }
}

/// Make the calling thread real-time, with the least such priority, or ordinary. False where it may not: that takes
/// CAP_SYS_NICE or a limit (RLIMIT_RTPRIO) of 1 at least.
pub fn schedule(realtime: bool) -> bool {
    let policy = if realtime { libc::SCHED_RR } else { libc::SCHED_OTHER };
    // SAFETY: all zeros is a value of this plain C struct.
    let mut parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    parameters.sched_priority = i32::from(realtime);
    // SAFETY: the parameters outlive the call, which only reads them; 0 is the calling thread.
    unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_without_rest_is_an_ordinary_one_until_it_has() {
        let mut set = Vec::new();
        let mut priority = Priority::new(
            |realtime| {
                set.push(realtime);
                true
            },
            0,
        );
        priority.waited(0, REST_US);
        priority.waited(1_000, 1_000);
        priority.waited(BUSY_US, BUSY_US + REST_US - 1);
        // Now it has had no rest for too long.
        let lowered_us = 2 * BUSY_US;
        priority.waited(lowered_us, lowered_us);
        priority.waited(lowered_us + 1, lowered_us + 1);
        priority.waited(lowered_us + 2, lowered_us + ORDINARY_US - 1);
        priority.waited(lowered_us + ORDINARY_US, lowered_us + ORDINARY_US + REST_US);
        assert_eq!(set, [true, false, true]);
    }

    #[test]
    fn who_may_not_does_not_ask_again() {
        let mut asked = 0;
        let mut priority = Priority::new(
            |_| {
                asked += 1;
                false
            },
            0,
        );
        (1..10).for_each(|at| priority.waited(at * ORDINARY_US, at * ORDINARY_US + BUSY_US));
        priority.waited(11 * ORDINARY_US, 11 * ORDINARY_US);
        assert_eq!(asked, 1);
    }
}
