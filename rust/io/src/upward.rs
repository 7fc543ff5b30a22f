//! What goes up to the owner of the ports: datagrams that are not media, and packets for peers without a UDP path.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use parking_lot::Mutex;
use pysfu_plane_core::parameters::TransportKey;
use rustix::event::{EventfdFlags, eventfd};

/// Datagrams that wait at most. Any stranger can send checks: they may take half of it.
const DATAGRAMS: usize = 4096;
const CHECKS: usize = DATAGRAMS / 2;
/// Packets for peers without a UDP path that wait at most.
const PACKETS: usize = 4096;

/// A datagram that came in on the bound address `place`, `age_us` before `read_us`.
#[derive(Debug, PartialEq, Eq)]
pub struct Datagram {
    pub place: usize,
    pub from: SocketAddr,
    pub data: Vec<u8>,
    pub read_us: i64,
    pub age_us: i64,
}

impl Datagram {
    fn is_check(&self) -> bool {
        self.data.first().is_some_and(|first| *first < 4)
    }
}

#[derive(Default)]
struct Waiting {
    datagrams: VecDeque<Datagram>,
    checks: usize,
    packets: VecDeque<(TransportKey, Vec<u8>)>,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.datagrams.is_empty() && self.packets.is_empty()
    }
}

/// A bounded queue whose descriptor is readable while anything waits in it.
pub struct Upward {
    waiting: Mutex<Waiting>,
    readable: OwnedFd,
}

impl Upward {
    pub fn new() -> io::Result<Self> {
        let readable = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { waiting: Mutex::default(), readable })
    }

    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.readable.as_fd()
    }

    /// False where there is no room for it.
    pub fn datagram(&self, datagram: Datagram) -> bool {
        let mut waiting = self.waiting.lock();
        let check = datagram.is_check();
        if waiting.datagrams.len() >= DATAGRAMS || (check && waiting.checks >= CHECKS) {
            return false;
        }
        self.signal(&waiting);
        waiting.checks += usize::from(check);
        waiting.datagrams.push_back(datagram);
        true
    }

    /// False where there is no room for it.
    pub fn packet(&self, transport: TransportKey, packet: &[u8]) -> bool {
        let mut waiting = self.waiting.lock();
        if waiting.packets.len() >= PACKETS {
            return false;
        }
        self.signal(&waiting);
        waiting.packets.push_back((transport, packet.to_vec()));
        true
    }

    /// Take out `most` datagrams at most, and every packet.
    pub fn take(&self, most: usize) -> (Vec<Datagram>, Vec<(TransportKey, Vec<u8>)>) {
        let mut waiting = self.waiting.lock();
        let count = waiting.datagrams.len().min(most);
        let datagrams: Vec<_> = waiting.datagrams.drain(..count).collect();
        waiting.checks -= datagrams.iter().filter(|datagram| datagram.is_check()).count();
        let packets = waiting.packets.drain(..).collect();
        if waiting.is_empty() {
            // It fails where nothing was signalled since: then there is nothing to take back.
            let _ = rustix::io::read(&self.readable, &mut [0; 8]);
        }
        (datagrams, packets)
    }

    fn signal(&self, waiting: &Waiting) {
        if waiting.is_empty() {
            // It fails only where 2^64 signals have not been taken.
            let _ = rustix::io::write(&self.readable, &1u64.to_ne_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(first: u8) -> Datagram {
        let from = "127.0.0.1:9".parse().unwrap();
        Datagram { place: 0, from, data: vec![first], read_us: 0, age_us: 0 }
    }

    #[test]
    fn checks_of_strangers_leave_room_for_handshakes() {
        let upward = Upward::new().unwrap();
        assert_eq!((0..DATAGRAMS).filter(|_| upward.datagram(datagram(0))).count(), CHECKS);
        assert_eq!((0..DATAGRAMS).filter(|_| upward.datagram(datagram(22))).count(), DATAGRAMS - CHECKS);
        assert_eq!((0..2 * PACKETS).filter(|_| upward.packet(1, b"media")).count(), PACKETS);
        let (datagrams, packets) = upward.take(CHECKS);
        assert_eq!((datagrams.len(), packets.len()), (CHECKS, PACKETS));
        assert!(upward.datagram(datagram(0)));
    }

    #[test]
    fn its_descriptor_is_readable_while_something_waits() {
        let upward = Upward::new().unwrap();
        let readable = || {
            let mut polled = [rustix::event::PollFd::new(&upward.readable, rustix::event::PollFlags::IN)];
            let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
            rustix::event::poll(&mut polled, Some(&now)).unwrap() == 1
        };
        assert!(!readable());
        upward.datagram(datagram(0));
        upward.datagram(datagram(22));
        upward.take(1);
        assert!(readable());
        upward.take(1);
        assert!(!readable());
        upward.packet(1, b"media");
        assert!(readable());
    }
}
