//! What workers and control share: who is where, the lanes, and how a worker is woken.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use pysfu_plane_core::hub::Counters;
use pysfu_plane_core::parameters::TransportKey;
use pysfu_plane_core::stun::Consent;
use rustc_hash::{FxHashMap, FxHashSet};
use rustix::event::{EventfdFlags, eventfd};

use crate::engine::At;
use crate::lane::Lane;
use crate::mmsg::{self, Message};
use crate::routes::Socket;
use crate::upward::Upward;

/// Transports that fail together: the number is the owner's own.
pub struct Room {
    pub number: u64,
    /// Something of ours went wrong with a packet of it: nothing of it is worked on any more.
    pub faulty: AtomicBool,
}

/// No keys yet: what comes is the owner's, who may keep it until there are some.
pub const EARLY: u8 = 0;
/// What comes is the plane's.
pub const OPEN: u8 = 1;
/// What comes is nobody's.
pub const CLOSED: u8 = 2;

/// One transport as all threads know it.
pub struct Link {
    pub key: TransportKey,
    pub lane: usize,
    pub room: Arc<Room>,
    /// `EARLY`, `OPEN` or `CLOSED`.
    pub phase: AtomicU8,
    pub received_bytes: AtomicU64,
    /// Where the peer's consent is renewed without a decision, and by what.
    pub consent: Mutex<Option<(SocketAddr, Arc<Consent>)>>,
    /// When it last was.
    pub checked_us: AtomicI64,
    pub sent_bytes: Arc<AtomicU64>,
}

/// A path without a check for so long is out of use; the next one on it is for the owner to decide about. It is
/// `STALE_US` of `sfu/transport/ice.py`.
const STALE_US: i64 = 8_000_000;

impl Link {
    pub fn at(&self) -> At {
        At { lane: self.lane, of: Some(self.key) }
    }

    /// What answers checks from this address, if nothing has to be decided about them.
    pub fn consent(&self, from: SocketAddr, now_us: i64) -> Option<Arc<Consent>> {
        let fresh = now_us - self.checked_us.load(Ordering::Relaxed) <= STALE_US;
        let known = self.consent.lock();
        known.as_ref().filter(|(address, _)| fresh && *address == from).map(|(_, consent)| consent.clone())
    }
}

/// Who has proven an address.
#[derive(Default)]
pub struct Directory {
    pub links: FxHashMap<TransportKey, Arc<Link>>,
    pub by_address: FxHashMap<SocketAddr, Arc<Link>>,
    /// What checks have to name to be anybody's.
    pub ufrags: FxHashSet<Box<[u8]>>,
}

/// Wakes one worker from its wait for datagrams.
pub struct Wake {
    pub descriptor: OwnedFd,
    signalled: AtomicBool,
    /// Until when the worker waits.
    pub until_us: AtomicI64,
}

impl Wake {
    pub fn new() -> io::Result<Self> {
        let descriptor = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { descriptor, signalled: AtomicBool::new(false), until_us: AtomicI64::new(0) })
    }

    pub fn signal(&self) {
        if !self.signalled.swap(true, Ordering::SeqCst) {
            // It fails only where 2^64 signals have not been taken.
            let _ = rustix::io::write(&self.descriptor, &1u64.to_ne_bytes());
        }
    }

    /// Take the signal back, which has made the descriptor readable; what it was given for is to be looked at
    /// after this.
    pub fn take(&self) {
        // In this order: a signal between the two finds one that has not been answered yet.
        let _ = rustix::io::read(&self.descriptor, &mut [0; 8]);
        self.signalled.store(false, Ordering::SeqCst);
    }
}

/// One thread's sockets, one for each bound address, and what wakes it.
pub struct Desk {
    pub sockets: Vec<Arc<Socket>>,
    pub wake: Wake,
}

impl Desk {
    /// Answer a check. One that is lost is asked again.
    pub fn answer(&self, place: usize, to: SocketAddr, data: &[u8]) {
        let message = Message { first: 0, count: 1, to: &to.into(), segment: 0 };
        let _ = mmsg::send(self.sockets[place].descriptor.as_fd(), &[IoSlice::new(data)], &[message]);
    }
}

pub struct Shared {
    pub lanes: Vec<Lane>,
    pub directory: RwLock<Directory>,
    /// Of each worker. The lane of a number is ticked by the worker of that number.
    pub desks: Vec<Desk>,
    pub upward: Upward,
    /// Of what belongs to no lane.
    pub counters: Mutex<Counters>,
    pub faults: Mutex<Vec<u64>>,
    /// Changes with the transports of faulty rooms.
    pub halts: AtomicUsize,
    pub stopping: AtomicBool,
}

impl Shared {
    pub fn count(&self, reason: &'static str) {
        Counters::drop(&mut self.counters.lock(), reason);
    }

    /// The sockets that a worker sends from; whoever is none sends from those of the first.
    pub fn sockets(&self, desk: usize) -> &[Arc<Socket>] {
        self.desks.get(desk).map_or(&[], |desk| &desk.sockets)
    }

    pub fn link(&self, key: TransportKey) -> Option<Arc<Link>> {
        self.directory.read().links.get(&key).cloned()
    }

    /// Something went wrong with what was done for this transport: its room is over. Where it was for none, no
    /// room is to blame.
    pub fn fault(&self, key: Option<TransportKey>) {
        let Some(link) = key.and_then(|key| self.link(key)) else { return self.count("lane-fault") };
        self.count("plane-fault");
        if !link.room.faulty.swap(true, Ordering::Relaxed) {
            self.faults.lock().push(link.room.number);
            self.halts.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// The transports of faulty rooms.
    pub fn halted(&self) -> FxHashSet<TransportKey> {
        let directory = self.directory.read();
        let faulty = directory.links.values().filter(|link| link.room.faulty.load(Ordering::Relaxed));
        faulty.map(|link| link.key).collect()
    }

    /// Have the worker that ticks this lane look at it.
    pub fn wake(&self, lane: usize) {
        if let Some(desk) = self.desks.get(lane) {
            desk.wake.signal();
        }
    }
}
