//! Waiting for full sockets, within limits.

use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;

use crate::mmsg::now_us;

/// A full socket is waited for so long at most, and for this part of the time in all: the end of a burst is worth
/// that, and a link that is too narrow for what is sent must not keep back what comes in.
const PATIENCE_US: i64 = 2_000;
const PATIENCE_PART: i64 = 8;

/// How long full sockets may still be waited for.
#[derive(Default)]
pub struct Patience {
    left_us: i64,
    at_us: i64,
}

impl Patience {
    /// How long a socket may be waited for now.
    fn most_us(&mut self, now_us: i64) -> i64 {
        self.left_us = PATIENCE_US.min(self.left_us + (now_us - self.at_us) / PATIENCE_PART);
        self.at_us = now_us;
        self.left_us
    }

    fn waited(&mut self, now_us: i64) {
        self.left_us -= now_us - self.at_us;
        self.at_us = now_us;
    }

    /// Wait until a socket takes more. False where the time for that is used up.
    pub fn wait(&mut self, socket: BorrowedFd) -> bool {
        let most_us = self.most_us(now_us());
        if most_us <= 0 {
            return false;
        }
        let most = Timespec { tv_sec: 0, tv_nsec: most_us * 1000 };
        // Whatever comes of it, the socket is asked once more: it may take some though it is not half empty yet.
        let _ = poll(&mut [PollFd::from_borrowed_fd(socket, PollFlags::OUT)], Some(&most));
        self.waited(now_us());
        true
    }

    /// When something was last waited for.
    #[cfg(test)]
    pub fn at_us(&self) -> i64 {
        self.at_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_stays_full_is_waited_for_a_part_of_the_time() {
        let mut patience = Patience::default();
        let (mut now_us, mut waited_us) = (1_000_000, 0);
        for _ in 0..1000 {
            let most_us = patience.most_us(now_us);
            assert!(most_us <= PATIENCE_US);
            waited_us += most_us.max(0);
            now_us += most_us.max(0);
            patience.waited(now_us);
            now_us += 500;
        }
        assert!(waited_us <= PATIENCE_US + 1000 * 500 / PATIENCE_PART);
        // And after a while as long as ever.
        assert_eq!(patience.most_us(now_us + PATIENCE_US * PATIENCE_PART), PATIENCE_US);
    }
}
