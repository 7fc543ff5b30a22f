//! Real-time scheduling of a media thread, as long as it keeps up.
//!
//! A packet that has come should not wait until others have used up their time. But a thread that takes up
//! its core would leave nothing of it to whoever could relieve it, so every now and then it is an ordinary one.

/// A thread that has used more of such a time than all but one part in so many takes up its core. A backlog of
/// some frames must not look like that: an ordinary thread may be kept waiting on one core while another is idle.
const LEAST_REST: i64 = 7;
const JUDGED_US: i64 = 300_000;
/// So long it is an ordinary one then. What it uses meanwhile says nothing: it is not the only one at work.
const ORDINARY_US: i64 = 300_000;

/// How one thread is scheduled. `set` makes it real-time or ordinary; false where it may not. `used_us` tells how
/// much processor time it has used.
pub struct Priority<S, U> {
    set: S,
    used_us: U,
    raised: bool,
    /// It may not be real-time.
    refused: bool,
    /// Since when it is what it is, or is judged, and what it had used until then.
    since_us: i64,
    used_then_us: i64,
}

impl<S: FnMut(bool) -> bool, U: FnMut() -> i64> Priority<S, U> {
    pub fn new(set: S, used_us: U, now_us: i64) -> Self {
        let since_us = now_us - ORDINARY_US;
        Self { set, used_us, raised: false, refused: false, since_us, used_then_us: 0 }
    }

    /// Its work goes on. To be called more often than every `JUDGED_US`, as long as there is some.
    pub fn judge(&mut self, now_us: i64) {
        let past_us = now_us - self.since_us;
        if self.refused || past_us < if self.raised { JUDGED_US } else { ORDINARY_US } {
            return;
        }
        let used_us = (self.used_us)();
        if !self.raised {
            self.raised = (self.set)(true);
            self.refused = !self.raised;
        } else if used_us - self.used_then_us > past_us - past_us / LEAST_REST {
            self.raised = !(self.set)(false);
        }
        (self.since_us, self.used_then_us) = (now_us, used_us);
    }
}

/// That of a thread of the system.
pub type ThreadPriority = Priority<fn(bool) -> bool, fn() -> i64>;

impl ThreadPriority {
    /// Of the calling thread.
    pub fn of_thread(now_us: i64) -> Self {
        Self::new(schedule, used_us, now_us)
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

/// Processor time that the calling thread has used.
fn used_us() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec * 1_000_000 + time.tv_nsec / 1000
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};

    /// What a thread is made at work, of which so much is its own processor time.
    struct Life {
        set: RefCell<Vec<bool>>,
        now_us: Cell<i64>,
        used_us: Cell<i64>,
    }

    impl Life {
        fn new() -> Self {
            Self { set: RefCell::default(), now_us: Cell::new(0), used_us: Cell::new(0) }
        }

        fn priority(&self) -> Priority<impl FnMut(bool) -> bool, impl FnMut() -> i64> {
            let set = |realtime| {
                self.set.borrow_mut().push(realtime);
                true
            };
            Priority::new(set, || self.used_us.get(), 0)
        }

        /// For so long; of each millisecond it uses so much.
        fn live(
            &self,
            priority: &mut Priority<impl FnMut(bool) -> bool, impl FnMut() -> i64>,
            us: i64,
            used_us: i64,
        ) {
            for _ in 0..us / 1_000 {
                priority.judge(self.now_us.get());
                self.now_us.update(|now_us| now_us + 1_000);
                self.used_us.update(|before_us| before_us + used_us);
            }
        }

        fn changes(&self) -> usize {
            self.set.borrow().len()
        }
    }

    #[test]
    fn a_thread_that_takes_up_its_core_is_an_ordinary_one_every_now_and_then() {
        let life = Life::new();
        let mut priority = life.priority();
        life.live(&mut priority, 2 * JUDGED_US, 800);
        assert_eq!(*life.set.borrow(), [true]);
        life.live(&mut priority, 10 * (JUDGED_US + ORDINARY_US), 950);
        assert!((20..=22).contains(&life.changes()), "{}", life.changes());
        // And a real-time one again.
        life.live(&mut priority, 20 * (JUDGED_US + ORDINARY_US), 100);
        assert!(life.changes() <= 23);
        assert_eq!(life.set.borrow().last(), Some(&true));
    }

    #[test]
    fn a_backlog_that_is_soon_worked_off_changes_nothing() {
        let life = Life::new();
        let mut priority = life.priority();
        for _ in 0..20 {
            life.live(&mut priority, 200_000, 1_000);
            life.live(&mut priority, 100_000, 300);
        }
        assert_eq!(*life.set.borrow(), [true]);
    }

    #[test]
    fn who_may_not_does_not_ask_again() {
        let mut asked = 0;
        let refuse = |_| {
            asked += 1;
            false
        };
        let mut priority = Priority::new(refuse, || 0, 0);
        (0..10).for_each(|at| priority.judge(at * ORDINARY_US));
        assert_eq!(asked, 1);
    }
}
