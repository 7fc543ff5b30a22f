//! Real-time scheduling of a media thread, for as long as it keeps up.
//!
//! A packet that has come should not wait until others have used up their time. But a thread that has hardly
//! any rest would leave nothing of its core to whoever could relieve it, so it is an ordinary one until it has.

/// A thread that has rested for less than one part in so many of such a time does not keep up. A short rest now and
/// then changes nothing about that.
const LEAST_REST: i64 = 7;
const JUDGED_US: i64 = 100_000;
/// It stays an ordinary one for so long at least.
const ORDINARY_US: i64 = 1_000_000;
/// A wait shorter than this is none.
const REST_US: i64 = 20;

/// How one thread is scheduled. `set` makes it real-time or ordinary; false where it may not.
pub struct Priority<S> {
    set: S,
    raised: bool,
    /// Since when it is judged, and its rest since then.
    since_us: i64,
    rested_us: i64,
    /// Not before this it is raised, None where it may not be.
    next_us: Option<i64>,
}

impl<S: FnMut(bool) -> bool> Priority<S> {
    pub fn new(set: S, now_us: i64) -> Self {
        Self { set, raised: false, since_us: now_us, rested_us: 0, next_us: Some(now_us) }
    }

    /// The thread has waited for something to do from one time to the other.
    pub fn waited(&mut self, from_us: i64, until_us: i64) {
        if until_us - from_us >= REST_US {
            self.rested_us += until_us - from_us;
        }
        self.judge(until_us);
    }

    /// Its work goes on, or it has just waited. To be called more often than every `JUDGED_US`.
    pub fn judge(&mut self, now_us: i64) {
        let judged_us = now_us - self.since_us;
        if judged_us < JUDGED_US {
            return;
        }
        let keeps_up = self.rested_us >= judged_us / LEAST_REST;
        (self.since_us, self.rested_us) = (now_us, 0);
        if self.raised && !keeps_up {
            self.raised = !(self.set)(false);
            self.next_us = Some(now_us + ORDINARY_US);
        } else if !self.raised && keeps_up && self.next_us.is_some_and(|next_us| now_us >= next_us) {
            self.raised = (self.set)(true);
            self.next_us = self.next_us.filter(|_| self.raised);
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

    /// What a thread is made while its days of 1 ms go on until a time, each with so much rest.
    fn live(
        priority: &mut Priority<impl FnMut(bool) -> bool>,
        now_us: &mut i64,
        until_us: i64,
        rest_us: i64,
    ) {
        while *now_us < until_us {
            *now_us += 1_000;
            priority.judge(*now_us - rest_us);
            priority.waited(*now_us - rest_us, *now_us);
        }
    }

    #[test]
    fn a_thread_with_too_little_rest_is_an_ordinary_one_until_it_has() {
        let set = std::cell::RefCell::new(Vec::new());
        let realtime = |realtime| {
            set.borrow_mut().push(realtime);
            true
        };
        let (mut priority, mut now_us) = (Priority::new(realtime, 0), 0);
        live(&mut priority, &mut now_us, 3 * JUDGED_US, 200);
        assert_eq!(*set.borrow(), [true]);
        // A rest in every millisecond, but hardly any.
        live(&mut priority, &mut now_us, 5 * JUDGED_US, REST_US);
        assert_eq!(*set.borrow(), [true, false]);
        live(&mut priority, &mut now_us, ORDINARY_US, 900);
        assert_eq!(*set.borrow(), [true, false]);
        live(&mut priority, &mut now_us, 2 * ORDINARY_US, 900);
        assert_eq!(*set.borrow(), [true, false, true]);
    }

    #[test]
    fn a_thread_that_never_waits_is_judged_too() {
        let mut set = Vec::new();
        let mut priority = Priority::new(
            |realtime| {
                set.push(realtime);
                true
            },
            0,
        );
        priority.waited(0, JUDGED_US);
        (1..20).for_each(|at| priority.judge(JUDGED_US + at * 10_000));
        assert_eq!(set, [true, false]);
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
        (1..10).for_each(|at| priority.waited(at * ORDINARY_US, (at + 1) * ORDINARY_US));
        priority.judge(11 * ORDINARY_US);
        assert_eq!(asked, 1);
    }
}
