//! Which lane a transport gets: that of its room, until the room is larger than one lane should carry.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustc_hash::FxHashMap;

use crate::shared::Room;

/// Transports of a room in its own lane; what comes after them goes where least is. Packets between lanes are
/// copied once, which many subscribers outweigh and few do not.
const TOGETHER: usize = 32;

struct Placed {
    room: Arc<Room>,
    lane: usize,
    transports: usize,
}

/// Rooms and how many transports each lane has.
pub struct Placement {
    rooms: FxHashMap<u64, Placed>,
    loads: Vec<usize>,
}

impl Placement {
    pub fn new(lanes: usize) -> Self {
        Self { rooms: FxHashMap::default(), loads: vec![0; lanes] }
    }

    /// Where a new transport of a room goes; room 0 is a room of its own each time.
    pub fn place(&mut self, room: u64) -> (Arc<Room>, usize) {
        let idlest = (0..self.loads.len()).min_by_key(|lane| self.loads[*lane]).unwrap_or(0);
        let made = || Placed {
            room: Arc::new(Room { number: room, faulty: AtomicBool::new(false) }),
            lane: idlest,
            transports: 0,
        };
        let (of, lane) = if room == 0 {
            (made().room, idlest)
        } else {
            let placed = self.rooms.entry(room).or_insert_with(made);
            placed.transports += 1;
            (placed.room.clone(), if placed.transports > TOGETHER { idlest } else { placed.lane })
        };
        self.loads[lane] += 1;
        (of, lane)
    }

    /// A transport of a room has gone from a lane.
    pub fn leave(&mut self, room: u64, lane: usize) {
        self.loads[lane] -= 1;
        if let Some(placed) = self.rooms.get_mut(&room) {
            placed.transports -= 1;
            if placed.transports == 0 {
                self.rooms.remove(&room);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_stays_together_until_it_is_large() {
        let mut placement = Placement::new(3);
        let small: Vec<usize> = (0..TOGETHER).map(|_| placement.place(7).1).collect();
        assert!(small.iter().all(|lane| *lane == small[0]));
        let large: Vec<usize> = (0..2 * TOGETHER).map(|_| placement.place(7).1).collect();
        assert_eq!(placement.loads, [TOGETHER; 3]);
        for lane in small.into_iter().chain(large) {
            placement.leave(7, lane);
        }
        assert!(placement.rooms.is_empty());
        assert_eq!(placement.loads, [0; 3]);
    }

    #[test]
    fn rooms_and_transports_without_one_spread() {
        let mut placement = Placement::new(2);
        let lanes = [placement.place(1).1, placement.place(2).1, placement.place(0).1, placement.place(0).1];
        assert_eq!(lanes, [0, 1, 0, 1]);
    }
}
