//! One clock for both ends of a path, and waiting that ends in time.

use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

fn read_ns(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The wall clock, by which the kernel stamps datagrams, in nanoseconds.
pub fn now_ns() -> u64 {
    read_ns(ClockId::Realtime)
}

/// The monotonic clock in microseconds.
pub fn now_us() -> i64 {
    (read_ns(ClockId::Monotonic) / 1000) as i64
}

pub fn sleep_ns(nanoseconds: u64) {
    thread::sleep(Duration::from_nanos(nanoseconds));
}

/// Without this the kernel lets a thread sleep 50 us longer than it asked for.
pub fn wake_in_time() {
    // SAFETY: it changes nothing but when this thread, and those it starts, are woken.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
}
