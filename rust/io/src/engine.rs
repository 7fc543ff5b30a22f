//! The plane with its sockets and threads, as control sees it.

use std::collections::hash_map::Entry;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::thread::{Builder, JoinHandle};

use parking_lot::{Mutex, RwLock};
use pysfu_plane_core::hub::{Counters, Event, Outbox};
use pysfu_plane_core::parameters::TransportKey;
use pysfu_plane_core::plane::Plane;
use pysfu_plane_core::stun::Consent;
use rustc_hash::FxHashMap;

use crate::control::Objects;
use crate::lane::{Lane, Turn};
use crate::placement::Placement;
use crate::routes::Socket;
use crate::shared::{Desk, Directory, EARLY, Link, Shared, Wake};
use crate::upward::{Datagram, Upward};
use crate::worker::Worker;

/// More do not help, and the lanes of a set are bits of a number.
pub const THREADS: usize = 64;

/// Before `start` everything happens within the calls, and what has no route is left to the caller; after it
/// worker threads receive, forward and keep the time, and what has no route goes up.
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
    pub(crate) objects: Mutex<Objects>,
    placement: Mutex<Placement>,
    threads: Vec<JoinHandle<()>>,
    ssrc: u32,
    cache_packets: usize,
    /// Sockets of routes by the number that their owner knows them by, with the place of their address.
    sockets: Mutex<FxHashMap<RawFd, (Arc<Socket>, usize)>>,
}

/// Where something is done: in which lane, and for which transport if it is for one.
#[derive(Clone, Copy, Debug, Default)]
pub struct At {
    pub lane: usize,
    pub of: Option<TransportKey>,
}

/// A fault of ours while something was done.
#[derive(Debug)]
pub struct Fault;

impl Engine {
    /// `ssrc` is the server's own, of its reports.
    pub fn new(ssrc: u32, cache_packets: usize) -> io::Result<Self> {
        Ok(Self {
            shared: Arc::new(shared(vec![Plane::new(ssrc, cache_packets)], Vec::new())?),
            objects: Mutex::default(),
            placement: Mutex::new(Placement::new(1)),
            threads: Vec::new(),
            ssrc,
            cache_packets,
            sockets: Mutex::default(),
        })
    }

    /// Begin to receive and send with one thread for each group of sockets, and leave what is not media to
    /// `take_upward`, whose descriptor comes back. A group has one socket for each bound address.
    ///
    /// `numbers` are those by which routes name the first group's sockets. Fails where threads run or anything
    /// is open already.
    pub fn start(&mut self, groups: Vec<Vec<OwnedFd>>, numbers: &[RawFd]) -> io::Result<RawFd> {
        if self.is_running()
            || !(1..=THREADS).contains(&groups.len())
            || !self.shared.directory.read().links.is_empty()
        {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut desks = Vec::new();
        for group in groups {
            let sockets = group.into_iter().map(|descriptor| Arc::new(Socket::from(descriptor))).collect();
            desks.push(Desk { sockets, wake: Wake::new()? });
        }
        let first = numbers.iter().zip(&desks[0].sockets).enumerate();
        *self.sockets.get_mut() =
            first.map(|(place, (number, socket))| (*number, (socket.clone(), place))).collect();
        let count = desks.len();
        let planes = (0..count).map(|_| Plane::new(self.ssrc, self.cache_packets)).collect();
        self.shared = Arc::new(shared(planes, desks)?);
        *self.placement.get_mut() = Placement::new(count);
        for number in 0..count {
            let worker = Worker::new(self.shared.clone(), number);
            self.threads.push(Builder::new().name(format!("media-{number}")).spawn(|| worker.run())?);
        }
        Ok(self.shared.upward.descriptor().as_raw_fd())
    }

    /// End the threads; sockets are closed when nobody sends any more.
    pub fn stop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        for desk in &self.shared.desks {
            desk.wake.signal();
        }
        for thread in self.threads.drain(..) {
            // A worker that ended by a fault of ours has ended all the same.
            let _ = thread.join();
        }
    }

    pub fn is_running(&self) -> bool {
        !self.threads.is_empty()
    }

    // --- where transports are ------------------------------------------------------------------

    /// Tell the room of a transport, before anything else about it.
    pub fn place(&self, transport: TransportKey, room: u64) {
        self.link_in(transport, room);
    }

    /// The transport's link, in a lane of its own where nothing was told of its room.
    pub(crate) fn link(&self, transport: TransportKey) -> Arc<Link> {
        self.shared.link(transport).unwrap_or_else(|| self.link_in(transport, 0))
    }

    fn link_in(&self, key: TransportKey, room: u64) -> Arc<Link> {
        let mut directory = self.shared.directory.write();
        let made = || {
            let (room, lane) = self.placement.lock().place(room);
            Arc::new(Link {
                key,
                lane,
                room,
                phase: AtomicU8::new(EARLY),
                received_bytes: AtomicU64::default(),
                consent: Mutex::default(),
                checked_us: AtomicI64::default(),
                sent_bytes: Arc::default(),
            })
        };
        let link = directory.links.entry(key).or_insert_with(made).clone();
        drop(directory);
        self.heed(&link);
        link
    }

    /// Have lanes see that this link has come or gone, if that matters to them.
    fn heed(&self, link: &Link) {
        if link.room.faulty.load(Ordering::Relaxed) {
            self.shared.halts.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Forget a transport, its addresses and its route: nothing more is told of it.
    pub fn forget(&self, key: TransportKey) {
        let mut directory = self.shared.directory.write();
        let Some(link) = directory.links.remove(&key) else { return };
        directory.by_address.retain(|_, other| other.key != key);
        drop(directory);
        self.heed(&link);
        self.placement.lock().leave(link.room.number, link.lane);
        self.on_lane(link.lane, |turn| turn.state.routes.clear(key));
        self.forget_sockets(&mut self.sockets.lock());
    }

    /// Datagrams from `from` are of this transport's peer.
    pub fn learn(&self, transport: TransportKey, from: SocketAddr) {
        let link = self.link(transport);
        self.shared.directory.write().by_address.insert(from, link);
    }

    /// Datagrams from `from` are nobody's.
    pub fn unlearn(&self, from: SocketAddr) {
        self.shared.directory.write().by_address.remove(&from);
    }

    /// Checks that name this ufrag are for the owner to decide about, as far as they are not answered here. Those
    /// that name none such are nobody's: a stranger's are dropped before they take room of somebody's.
    pub fn expect_checks(&self, ufrag: &str) {
        self.shared.directory.write().ufrags.insert(ufrag.as_bytes().into());
    }

    pub fn refuse_checks(&self, ufrag: &str) {
        self.shared.directory.write().ufrags.remove(ufrag.as_bytes());
    }

    /// The peer was checked at `from`. Answer further checks from there by `consent`.
    pub fn set_consent(&self, key: TransportKey, from: SocketAddr, consent: Consent, checked_us: i64) {
        let link = self.link(key);
        link.checked_us.store(checked_us, Ordering::Relaxed);
        *link.consent.lock() = Some((from, Arc::new(consent)));
    }

    /// Leave all checks to the owner.
    pub fn withdraw_consent(&self, key: TransportKey) {
        if let Some(link) = self.shared.link(key) {
            *link.consent.lock() = None;
        }
    }

    /// When the last check was that `set_consent` told of, or that was answered here; 0 where none was.
    pub fn checked_us(&self, transport: TransportKey) -> i64 {
        self.shared.link(transport).map_or(0, |link| link.checked_us.load(Ordering::Relaxed))
    }

    /// Send a transport's datagrams to `to` from the socket that its owner knows as `number`. `socket` gives a
    /// duplicate of it, and is asked where the socket is not known yet.
    pub fn set_route<E>(
        &self,
        transport: TransportKey,
        number: RawFd,
        to: SocketAddr,
        socket: impl FnOnce() -> Result<OwnedFd, E>,
    ) -> Result<(), E> {
        let mut sockets = self.sockets.lock();
        let (socket, place) = match sockets.entry(number) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => free.insert((Arc::new(Socket::from(socket()?)), usize::MAX)),
        };
        let link = self.link(transport);
        self.on_lane(link.lane, |turn| {
            turn.state.routes.set(transport, socket.clone(), *place, to, link.sent_bytes.clone());
        });
        self.forget_sockets(&mut sockets);
        Ok(())
    }

    /// Send nothing more for a transport. A socket that no route needs any more is closed.
    pub fn clear_route(&self, transport: TransportKey) {
        if let Some(link) = self.shared.link(transport) {
            self.on_lane(link.lane, |turn| turn.state.routes.clear(transport));
            link.sent_bytes.store(0, Ordering::Relaxed);
        }
        self.forget_sockets(&mut self.sockets.lock());
    }

    fn forget_sockets(&self, sockets: &mut FxHashMap<RawFd, (Arc<Socket>, usize)>) {
        if !self.is_running() {
            sockets.retain(|_, (socket, _)| Arc::strong_count(socket) > 1);
        }
    }

    /// Bytes sent for a transport along its routes, and bytes of media received from its addresses.
    pub fn bytes(&self, transport: TransportKey) -> (u64, u64) {
        let count = |link: Arc<Link>| {
            (link.sent_bytes.load(Ordering::Relaxed), link.received_bytes.load(Ordering::Relaxed))
        };
        self.shared.link(transport).map_or((0, 0), count)
    }

    // --- what goes up --------------------------------------------------------------------------

    /// `most` datagrams at most that are not media of a known peer, and packets that have no route.
    pub fn take_upward(&self, most: usize) -> (Vec<Datagram>, Vec<(TransportKey, Vec<u8>)>) {
        self.shared.upward.take(most)
    }

    /// Events of all lanes, those of each in order.
    pub fn poll_events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for number in 0..self.shared.lanes.len() {
            events.append(&mut self.on_lane(number, |turn| turn.state.plane.poll_events()));
        }
        events
    }

    /// Rooms that a fault of ours ended since the last time.
    pub fn take_faults(&self) -> Vec<u64> {
        std::mem::take(&mut *self.shared.faults.lock())
    }

    pub fn counters(&self) -> Counters {
        let mut sum = self.shared.counters.lock().clone();
        for number in 0..self.shared.lanes.len() {
            let counters = self.on_lane(number, |turn| turn.state.plane.counters().clone());
            sum.received += counters.received;
            sum.forwarded += counters.forwarded;
            for (reason, count) in &counters.dropped {
                *sum.dropped.entry(reason).or_default() += count;
            }
        }
        sum
    }

    // --- control -------------------------------------------------------------------------------

    /// Where a transport is; the first lane where it is unknown.
    pub fn at_transport(&self, transport: TransportKey) -> At {
        let at = |link: Arc<Link>| At { lane: link.lane, of: Some(transport) };
        self.shared.link(transport).map_or_else(At::default, at)
    }

    /// Do something with a lane's plane if that lane is free now; else `act` comes back.
    pub fn try_control<T, F: FnOnce(&mut Plane) -> T>(&self, at: At, act: F) -> Result<Result<T, Fault>, F> {
        match self.shared.lanes[at.lane].try_turn(&self.shared, 0) {
            Some(turn) => Ok(self.finish(turn, |turn| turn.guarded(at.of, act)).ok_or(Fault)),
            None => Err(act),
        }
    }

    /// Do something with a lane's plane as soon as that lane is free.
    pub fn control<T>(&self, at: At, act: impl FnOnce(&mut Plane) -> T) -> Result<T, Fault> {
        self.on_lane(at.lane, |turn| turn.guarded(at.of, act)).ok_or(Fault)
    }

    /// Have a turn as soon as the lane is free.
    pub(crate) fn on_lane<T>(&self, number: usize, act: impl FnOnce(&mut Turn) -> T) -> T {
        self.finish(self.shared.lanes[number].turn(&self.shared, 0), act)
    }

    fn finish<T>(&self, mut turn: Turn, act: impl FnOnce(&mut Turn) -> T) -> T {
        let lane = turn.number();
        let done = act(&mut turn);
        if self.is_running() {
            turn.end();
            if self.shared.lanes[lane].has_waiting() {
                self.shared.wake(lane);
            }
        } else {
            turn.flush();
        }
        done
    }

    /// What has been made and has no route, where no threads run. `take` reads it; it is gone afterwards.
    pub fn left<T>(&self, take: impl FnOnce(&Outbox) -> T) -> T {
        let mut turn = self.shared.lanes[0].turn(&self.shared, 0);
        let out = turn.state.plane.out().0;
        let taken = take(out);
        out.clear();
        taken
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(crate) fn shared(planes: Vec<Plane>, desks: Vec<Desk>) -> io::Result<Shared> {
    Ok(Shared {
        lanes: planes.into_iter().enumerate().map(|(number, plane)| Lane::new(number, plane)).collect(),
        directory: RwLock::new(Directory::default()),
        desks,
        upward: Upward::new()?,
        counters: Mutex::default(),
        faults: Mutex::default(),
        halts: AtomicUsize::new(0),
        stopping: AtomicBool::new(false),
    })
}
