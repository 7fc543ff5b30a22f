//! A lane: one plane, which one thread at a time works on, and what waits for it meanwhile.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::{Mutex, MutexGuard};
use pysfu_plane_core::mirror::{Copied, Copies};
use pysfu_plane_core::parameters::{PublicationKey, TransportKey};
use pysfu_plane_core::plane::Plane;
use rustc_hash::FxHashMap;

use crate::mmsg::now_us;
use crate::routes::Routes;
use crate::shared::Shared;

/// Datagrams that wait for a lane at most, and their bytes.
const WAITING: usize = 4096;
const WAITING_BYTES: usize = 8 << 20;
/// Packets made before they are sent: a run of one destination may span datagrams, and nobody waits for long. It is
/// a frame of ten to 500 subscribers: shorter runs cost them half as much again.
const MADE: usize = 5120;
/// So many are sent before what came of somebody else is worked on.
const MADE_FOR_ONE: usize = 128;
/// So many datagrams of an inbox are worked on at one reading of the clock: a full one takes longer than timers may
/// be wrong by.
const SAME_TIME: usize = 64;
/// The plane's timers: RTCP, NACKs and feedback are due within this.
pub const TICK_US: i64 = 20_000;
/// Beat of the pacers while something waits in them.
const PUMP_US: i64 = 5_000;
/// Nothing is due.
pub const NEVER_US: i64 = i64::MAX;

/// What waits for a lane.
pub enum What {
    /// A datagram of this transport's peer.
    Datagram(TransportKey),
    /// Something of a publication that is received in another lane.
    Copied(PublicationKey, Copied),
}

/// Something that waits, whose bytes lie in the inbox.
struct Item {
    what: What,
    start: usize,
    end: usize,
    arrival_us: i64,
}

#[derive(Default)]
struct Inbox {
    items: Vec<Item>,
    bytes: Vec<u8>,
}

impl Inbox {
    fn clear(&mut self) {
        self.items.clear();
        self.bytes.clear();
    }
}

pub struct State {
    pub plane: Plane,
    pub routes: Routes,
    /// The lanes that have a mirror of a publication of this one.
    pub mirrors: FxHashMap<PublicationKey, Vec<usize>>,
    /// Memory for the inbox that the next one is swapped with.
    emptied: Inbox,
    next_tick_us: i64,
    next_pump_us: i64,
    /// As the plane knows of them.
    halts: usize,
    /// Whose datagram was worked on last.
    last: Option<TransportKey>,
    /// A turn that has packets in hand has let somebody else have the lock: newer ones have to wait.
    interrupted: bool,
}

pub struct Lane {
    pub number: usize,
    state: Mutex<State>,
    inbox: Mutex<Inbox>,
    /// When its worker has something to do for it by the clock.
    pub due_us: AtomicI64,
}

impl Lane {
    pub fn new(number: usize, plane: Plane) -> Self {
        let state = State {
            plane,
            routes: Routes::default(),
            mirrors: FxHashMap::default(),
            emptied: Inbox::default(),
            next_tick_us: 0,
            next_pump_us: NEVER_US,
            halts: 0,
            last: None,
            interrupted: false,
        };
        Self { number, state: Mutex::new(state), inbox: Mutex::default(), due_us: AtomicI64::new(NEVER_US) }
    }

    /// Leave something to whoever works on the lane. False where there is no room.
    pub fn put(&self, what: What, data: &[u8], arrival_us: i64) -> bool {
        let mut inbox = self.inbox.lock();
        if inbox.items.len() >= WAITING || inbox.bytes.len() + data.len() > WAITING_BYTES {
            return false;
        }
        let start = inbox.bytes.len();
        inbox.bytes.extend_from_slice(data);
        let end = inbox.bytes.len();
        inbox.items.push(Item { what, start, end, arrival_us });
        true
    }

    pub fn has_waiting(&self) -> bool {
        !self.inbox.lock().items.is_empty()
    }

    /// Work on its packets now, or not at all, and send from the sockets of the desk `by`.
    pub fn try_turn<'a>(&'a self, shared: &'a Shared, by: usize) -> Option<Turn<'a>> {
        let state = self.state.try_lock().filter(|state| !state.interrupted)?;
        Some(Turn { shared, lane: self, by, state })
    }

    /// Do something else with it as soon as it is free: packets may be in somebody's hand.
    pub fn turn<'a>(&'a self, shared: &'a Shared, by: usize) -> Turn<'a> {
        Turn { shared, lane: self, by, state: self.state.lock() }
    }

    /// Do what waits now, unless somebody else is about it.
    ///
    /// Whoever fails to get the lane has put something into its inbox before; whoever leaves it looks there
    /// afterwards. So nothing is left behind. What has come meanwhile is left to the lane's own thread: who would
    /// go on while others put would never come to its own sockets, timers and end.
    pub fn serve(&self, shared: &Shared, by: usize) {
        if !self.has_waiting() {
            return;
        }
        let Some(mut turn) = self.try_turn(shared, by) else { return };
        turn.take_waiting();
        turn.end();
        if self.has_waiting() {
            shared.wake(self.number);
        }
    }
}

/// One thread's work on a lane.
pub struct Turn<'a> {
    shared: &'a Shared,
    lane: &'a Lane,
    by: usize,
    pub state: MutexGuard<'a, State>,
}

impl Turn<'_> {
    /// The lane's number.
    pub fn number(&self) -> usize {
        self.lane.number
    }

    /// Do something with the plane, for a transport where it is for one; what it made is sent at the end of the
    /// turn at the latest. None where a fault of ours (a panic) came between: the room of whom the plane was at
    /// work for is marked.
    pub fn guarded<T>(&mut self, of: Option<TransportKey>, act: impl FnOnce(&mut Plane) -> T) -> Option<T> {
        let plane = &mut self.state.plane;
        plane.begin(of);
        let made = plane.out().0.envelopes.len();
        match catch_unwind(AssertUnwindSafe(|| act(plane))) {
            Ok(done) => Some(done),
            Err(_) => {
                plane.out().0.keep(made);
                self.shared.fault(plane.at_work());
                self.heed_faults();
                None
            }
        }
    }

    /// Leave rooms alone that have failed, whichever lane that was in.
    fn heed_faults(&mut self) {
        let halts = self.shared.halts.load(Ordering::SeqCst);
        if halts != self.state.halts {
            self.state.halts = halts;
            self.state.plane.halt(self.shared.halted());
        }
    }

    /// One datagram of a transport's peer.
    pub fn receive(&mut self, transport: TransportKey, data: &[u8], now_us: i64, arrival_us: i64) {
        if self.state.last != Some(transport) && self.state.plane.out().0.envelopes.len() >= MADE_FOR_ONE {
            self.flush();
        }
        self.state.last = Some(transport);
        self.guarded(Some(transport), |plane| plane.receive(transport, data, now_us, arrival_us));
        self.breathe();
    }

    /// Send what has been made where that is much, and let whoever waits for the lane have it between: control
    /// must not wait for a whole batch. That costs next to nothing where nobody waits.
    fn breathe(&mut self) {
        if self.state.plane.out().0.envelopes.len() >= MADE {
            self.flush();
        }
        self.state.interrupted = true;
        MutexGuard::bump(&mut self.state);
        self.state.interrupted = false;
    }

    /// Do what waits in the inbox now.
    pub fn take_waiting(&mut self) {
        let mut taken = std::mem::take(&mut self.state.emptied);
        std::mem::swap(&mut *self.lane.inbox.lock(), &mut taken);
        let mut at_us = now_us();
        for (index, item) in taken.items.iter().enumerate() {
            if index % SAME_TIME == SAME_TIME - 1 {
                at_us = now_us();
            }
            let data = &taken.bytes[item.start..item.end];
            match &item.what {
                What::Datagram(transport) => self.receive(*transport, data, at_us, item.arrival_us),
                What::Copied(publication, what) => {
                    let times = (at_us, item.arrival_us);
                    self.guarded(None, |plane| plane.accept(*publication, what, data, times));
                    self.breathe();
                }
            }
        }
        taken.clear();
        self.state.emptied = taken;
    }

    /// Tick and pump, as far as they are due.
    pub fn keep_time(&mut self, now_us: i64) {
        self.heed_faults();
        if now_us >= self.state.next_tick_us {
            self.guarded(None, |plane| plane.tick(now_us));
            self.state.next_tick_us = now_us + TICK_US;
            self.state.next_pump_us = now_us;
        }
        self.pump(now_us);
    }

    fn pump(&mut self, now_us: i64) {
        let beating = self.state.next_pump_us != NEVER_US;
        if (beating && now_us < self.state.next_pump_us) || (!beating && !self.state.plane.is_waiting()) {
            return;
        }
        let waits = self.guarded(None, |plane| plane.pump(now_us)).flatten().is_some();
        self.state.next_pump_us = if waits { now_us + PUMP_US } else { NEVER_US };
    }

    /// Send what has been made, and tell the mirrors what came. What has no path goes up to the owner of the ports;
    /// without threads it stays for the caller.
    pub fn flush(&mut self) {
        let State { plane, routes, mirrors, .. } = &mut *self.state;
        let copies = plane.copies();
        if !copies.list.is_empty() {
            tell_mirrors(self.shared, copies, mirrors, self.lane.number, self.by);
        }
        let (out, counters) = plane.out();
        routes.send(out, counters, self.shared.sockets(self.by));
        if self.shared.desks.is_empty() {
            return;
        }
        for envelope in &out.envelopes {
            if !self.shared.upward.packet(envelope.transport, &out.bytes[envelope.start..envelope.end]) {
                counters.drop("upward-queue-full");
            }
        }
        // Here at the latest: what stayed would count as made, and stand between what goes to one destination.
        out.clear();
    }

    /// Send what has been made, and leave the lane.
    pub fn end(mut self) {
        // What an interrupted turn has made so far it sends itself, in longer runs.
        if !self.state.interrupted {
            self.pump(now_us());
            self.flush();
        }
        let idle = self.state.plane.is_idle();
        let due_us = if idle { NEVER_US } else { self.state.next_tick_us.min(self.state.next_pump_us) };
        self.lane.due_us.store(due_us, Ordering::SeqCst);
        drop(self.state);
        if let Some(desk) = self.shared.desks.get(self.lane.number)
            && due_us < desk.wake.until_us.load(Ordering::SeqCst)
        {
            desk.wake.signal();
        }
    }
}

/// Leave to the lanes with mirrors what those are to know, and wake the threads that see to them. A thread that is at
/// work on a lane which is not its own leaves its own to that one's thread, or it would do the work of both.
fn tell_mirrors(
    shared: &Shared,
    copies: &mut Copies,
    mirrors: &FxHashMap<PublicationKey, Vec<usize>>,
    of: usize,
    by: usize,
) {
    let mut told = 0u64;
    for copy in &copies.list {
        for lane in mirrors.get(&copy.publication).into_iter().flatten() {
            let what = What::Copied(copy.publication, copy.what.clone());
            if !shared.lanes[*lane].put(what, &copies.bytes[copy.start..copy.end], copy.arrival_us) {
                shared.count("lane-queue-full");
            }
            told |= 1 << lane;
        }
    }
    copies.clear();
    for lane in (0..shared.lanes.len()).filter(|lane| told & 1 << lane != 0) {
        shared.wake(if lane == by { of } else { lane });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::shared;
    use crate::shared::{Desk, Wake};
    use pysfu_plane_core::mirror::Copy;
    use pysfu_plane_core::parameters::SrtpKeys;
    use pysfu_plane_core::srtp::Profile;
    use std::sync::atomic::AtomicBool;
    use std::time::{Duration, Instant};

    #[test]
    fn what_comes_while_a_lane_is_served_is_left_to_its_own_thread() {
        let desk = Desk { sockets: Vec::new(), wake: Wake::new().unwrap() };
        let shared = shared(vec![Plane::new(1, 16)], vec![desk]).unwrap();
        let lane = &shared.lanes[0];
        let keys = SrtpKeys { profile: Profile::Aes128CmSha1, receive: vec![1; 30], send: vec![2; 30] };
        lane.turn(&shared, 0).state.plane.open_transport(1, keys);
        let served = AtomicBool::new(false);
        let put = || lane.put(What::Datagram(1), &[0x80; 100], 0);
        while put() {}
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let started = Instant::now();
                while !served.load(Ordering::SeqCst) {
                    assert!(started.elapsed() < Duration::from_secs(10), "it goes on");
                    put();
                }
            });
            lane.serve(&shared, 0);
            served.store(true, Ordering::SeqCst);
        });
        assert!(lane.has_waiting());
        let wake = &shared.desks[0].wake.descriptor;
        assert_eq!(rustix::io::read(wake, &mut [0; 8]).unwrap(), 8);
    }

    #[test]
    fn two_threads_share_a_room_whichever_of_them_its_packets_come_to() {
        let desk = || Desk { sockets: Vec::new(), wake: Wake::new().unwrap() };
        let shared = shared(vec![Plane::new(1, 16), Plane::new(1, 16)], vec![desk(), desk()]).unwrap();
        let mirrors = FxHashMap::from_iter([(5, vec![1])]);
        for (by, woken) in [(0, 1), (1, 0)] {
            let ended = Copied::Ended { rid: "f".into() };
            let copy = Copy { publication: 5, what: ended, start: 0, end: 0, arrival_us: 0 };
            tell_mirrors(&shared, &mut Copies { bytes: Vec::new(), list: vec![copy] }, &mirrors, 0, by);
            assert!(shared.lanes[1].has_waiting());
            let wakes = [0, 1].map(|desk| {
                let wake = &shared.desks[desk].wake;
                let woken = rustix::io::read(&wake.descriptor, &mut [0; 8]).is_ok();
                wake.take();
                woken
            });
            assert_eq!(wakes, [woken == 0, woken == 1]);
            // Whichever it is takes it.
            shared.lanes[1].serve(&shared, woken);
            assert!(!shared.lanes[1].has_waiting());
        }
    }

    #[test]
    fn what_has_no_route_goes_up_with_every_flush() {
        let desk = Desk { sockets: Vec::new(), wake: Wake::new().unwrap() };
        let shared = shared(vec![Plane::new(1, 16)], vec![desk]).unwrap();
        let mut turn = shared.lanes[0].turn(&shared, 0);
        for _ in 0..3 {
            let out = turn.state.plane.out().0;
            out.bytes.extend_from_slice(&[0; 100]);
            out.push(9, 0);
            turn.flush();
            let out = turn.state.plane.out().0;
            assert_eq!((out.envelopes.len(), out.bytes.len()), (0, 0));
            assert_eq!(shared.upward.take(0).1.len(), 1);
        }
    }

    #[test]
    fn what_waits_is_bounded_and_done_by_whoever_leaves_the_lane() {
        let shared = shared(vec![Plane::new(1, 16)], Vec::new()).unwrap();
        let lane = &shared.lanes[0];
        let turn = lane.turn(&shared, 0);
        let put = || lane.put(What::Datagram(1), &[0x80; 20], 0);
        assert_eq!((0..WAITING + 5).filter(|_| put()).count(), WAITING);
        // It is at work: nobody else gets it, and nothing is lost.
        lane.serve(&shared, 0);
        assert!(lane.has_waiting());
        turn.end();
        lane.serve(&shared, 0);
        assert!(!lane.has_waiting());
        // Whoever has let others have the lock meanwhile is still at work.
        lane.turn(&shared, 0).state.interrupted = true;
        assert!(put() && lane.try_turn(&shared, 0).is_none());
        lane.serve(&shared, 0);
        assert!(lane.has_waiting());
        lane.turn(&shared, 0).state.interrupted = false;
        lane.serve(&shared, 0);
        assert!(!lane.has_waiting());
        let dropped = &lane.turn(&shared, 0).state.plane.counters().dropped.clone();
        assert_eq!(dropped.get("no-transport"), Some(&(WAITING as u64 + 1)));
        assert!(!lane.put(What::Datagram(1), &vec![0; WAITING_BYTES + 1], 0));
    }
}
