//! When packets were last sent again, for the last thousand of them.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

const KEPT: usize = 1024;

#[derive(Debug, Default)]
pub struct Resent {
    sent_us: FxHashMap<i64, i64>,
    order: VecDeque<i64>,
}

impl Resent {
    /// When a number was last sent again.
    pub fn at(&self, number: i64) -> Option<i64> {
        self.sent_us.get(&number).copied()
    }

    pub fn note(&mut self, number: i64, now_us: i64) {
        if self.sent_us.insert(number, now_us).is_none() {
            self.order.push_back(number);
        }
        if self.order.len() > KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.sent_us.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten() {
        let mut resent = Resent::default();
        for number in 0..=KEPT as i64 {
            resent.note(number, number);
        }
        assert_eq!((resent.at(0), resent.at(1)), (None, Some(1)));
    }
}
