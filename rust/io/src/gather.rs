//! Letting datagrams gather before they are taken in.

use std::thread::sleep;
use std::time::Duration;

use crate::mmsg::now_us;

/// Datagrams are taken in no more often than this. To be woken for one costs as much as to forward it to nine: a
/// thread that gets up for each starves whoever shares its core, and is late itself when many come.
const ROUND_US: i64 = 200;
/// A rest shorter than this is not worth the call.
const REST_US: i64 = 10;

/// When one thread last took datagrams in.
#[derive(Default)]
pub struct Gather {
    taken_us: i64,
}

impl Gather {
    /// There are datagrams. Rest until it is time to take them in, which is at once where none came for a while.
    pub fn rest(&mut self) {
        let rest_us = rest_us(self.taken_us, now_us());
        if rest_us > 0 {
            sleep(Duration::from_micros(rest_us.unsigned_abs()));
        }
        self.taken_us = now_us();
    }
}

/// How long to rest at `now_us`.
fn rest_us(taken_us: i64, now_us: i64) -> i64 {
    let rest_us = taken_us + ROUND_US - now_us;
    if rest_us >= REST_US { rest_us } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_seldom_is_taken_in_at_once_and_what_comes_often_together() {
        assert_eq!(rest_us(0, ROUND_US), 0);
        assert_eq!(rest_us(1_000, 1_000 + ROUND_US - REST_US + 1), 0);
        // Packets every 30 us: seven at a time.
        let (mut taken_us, mut takes) = (0, 0);
        let mut arrival_us = 10_000;
        while arrival_us < 20_000 {
            taken_us = arrival_us + rest_us(taken_us, arrival_us);
            takes += 1;
            arrival_us = (taken_us / 30 + 1) * 30;
        }
        assert!((10_000 / 30) / takes >= 6, "{takes}");
    }
}
