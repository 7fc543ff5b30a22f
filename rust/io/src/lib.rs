//! Sending what a media plane made: many datagrams with one call of the system, straight from the outbox.
#![forbid(unsafe_code)]

use std::io::IoSlice;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use pysfu_plane_core::hub::{Counters, Envelope, Outbox};
use pysfu_plane_core::parameters::TransportKey;
use rustc_hash::FxHashMap;
use rustix::io::Errno;
use rustix::net::addr::SocketAddrArg;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};

/// Datagrams given to the system at once.
const AT_ONCE: usize = 64;

/// Where a transport's datagrams go.
struct Route {
    socket: Arc<OwnedFd>,
    address: SocketAddrAny,
    sent_bytes: u64,
}

/// The UDP paths of transports. Those without one are left to whoever asks.
#[derive(Default)]
pub struct Routes {
    by_transport: FxHashMap<TransportKey, Route>,
    /// By the number that their owner knows them by.
    sockets: FxHashMap<i32, Arc<OwnedFd>>,
}

impl Routes {
    /// Send a transport's datagrams to `address` from the socket that its owner knows as `number`. `socket`
    /// gives a duplicate of it, and is asked for the first route only.
    pub fn set<E>(
        &mut self,
        transport: TransportKey,
        number: i32,
        address: SocketAddr,
        socket: impl FnOnce() -> Result<OwnedFd, E>,
    ) -> Result<(), E> {
        let socket = match self.sockets.get(&number) {
            Some(socket) => socket.clone(),
            None => {
                let socket = Arc::new(socket()?);
                self.sockets.insert(number, socket.clone());
                socket
            }
        };
        let sent_bytes = self.sent_bytes(transport);
        self.by_transport.insert(transport, Route { socket, address: address.as_any(), sent_bytes });
        self.forget_sockets();
        Ok(())
    }

    /// Send nothing more for a transport. A socket that no route needs any more is closed.
    pub fn clear(&mut self, transport: TransportKey) {
        self.by_transport.remove(&transport);
        self.forget_sockets();
    }

    /// Bytes sent for a transport since it has a route.
    pub fn sent_bytes(&self, transport: TransportKey) -> u64 {
        self.by_transport.get(&transport).map_or(0, |route| route.sent_bytes)
    }

    fn forget_sockets(&mut self) {
        self.sockets.retain(|_, socket| Arc::strong_count(socket) > 1);
    }

    /// Send everything that has a route, in order; what has none stays in the outbox.
    ///
    /// Nothing blocks: what a full socket does not take is dropped and counted.
    pub fn send(&mut self, out: &mut Outbox, counters: &mut Counters) {
        if self.by_transport.is_empty() || out.envelopes.is_empty() {
            return;
        }
        let mut rest = out.envelopes.as_slice();
        while let Some(first) = rest.first() {
            let Some(socket) = self.by_transport.get(&first.transport).map(|route| route.socket.clone())
            else {
                rest = &rest[1..];
                continue;
            };
            let same = |envelope: &&Envelope| {
                let route = self.by_transport.get(&envelope.transport);
                route.is_some_and(|route| Arc::ptr_eq(&route.socket, &socket))
            };
            let count = rest.iter().take(AT_ONCE).take_while(same).count();
            let (some, others) = rest.split_at(count);
            self.send_some(&socket, some, &out.bytes, counters);
            rest = others;
        }
        out.envelopes.retain(|envelope| !self.by_transport.contains_key(&envelope.transport));
    }

    /// Datagrams of routes over one socket, at most `AT_ONCE`.
    fn send_some(&mut self, socket: &OwnedFd, some: &[Envelope], bytes: &[u8], counters: &mut Counters) {
        let mut done = 0;
        while done < some.len() {
            let left = &some[done..];
            match self.offer(socket, left, bytes) {
                Ok(taken) => {
                    for envelope in &left[..taken] {
                        if let Some(route) = self.by_transport.get_mut(&envelope.transport) {
                            route.sent_bytes += (envelope.end - envelope.start) as u64;
                        }
                    }
                    done += taken.max(1);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN | Errno::NOBUFS) => {
                    // Nothing of this batch would fit either.
                    left.iter().for_each(|_| counters.drop("send-buffer-full"));
                    return;
                }
                Err(_) => {
                    counters.drop("send-error");
                    done += 1;
                }
            }
        }
    }

    fn offer(&self, socket: &OwnedFd, some: &[Envelope], bytes: &[u8]) -> Result<usize, Errno> {
        let mut slices: [_; AT_ONCE] = std::array::from_fn(|_| [IoSlice::new(&[])]);
        let mut controls = [const { None }; AT_ONCE];
        let mut headers = Vec::with_capacity(AT_ONCE);
        for ((envelope, slice), control) in some.iter().zip(&mut slices).zip(&mut controls) {
            let Some(route) = self.by_transport.get(&envelope.transport) else { continue };
            *slice = [IoSlice::new(&bytes[envelope.start..envelope.end])];
            let control = control.insert(SendAncillaryBuffer::default());
            headers.push(MMsgHdr::new_with_addr(&route.address, &*slice, control));
        }
        sendmmsg(socket.as_fd(), &mut headers, SendFlags::DONTWAIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::time::Duration;

    fn outbox(packets: &[(TransportKey, &[u8])]) -> Outbox {
        let mut out = Outbox::default();
        for (transport, packet) in packets {
            let start = out.bytes.len();
            out.bytes.extend_from_slice(packet);
            out.push(*transport, start);
        }
        out
    }

    fn receiver() -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket
    }

    #[test]
    fn datagrams_go_to_their_own_addresses_in_order_and_others_stay() {
        let (one, other, sender) = (receiver(), receiver(), receiver());
        let mut routes = Routes::default();
        for (transport, socket) in [(1, &one), (2, &other)] {
            let address = socket.local_addr().unwrap();
            routes.set(transport, 7, address, || sender.try_clone().map(OwnedFd::from)).unwrap();
        }
        let many: Vec<Vec<u8>> = (0..100u8).map(|number| vec![number]).collect();
        let mut packets: Vec<(TransportKey, &[u8])> = many.iter().map(|packet| (1, &packet[..])).collect();
        packets.insert(50, (2, b"to the other"));
        packets.insert(60, (3, b"over TCP"));
        let mut out = outbox(&packets);
        let mut counters = Counters::default();
        routes.send(&mut out, &mut counters);
        let mut buffer = [0; 64];
        for number in 0..100 {
            assert_eq!(one.recv(&mut buffer).unwrap(), 1);
            assert_eq!(buffer[0], number);
        }
        let size = other.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..size], b"to the other");
        let left: Vec<TransportKey> = out.envelopes.iter().map(|envelope| envelope.transport).collect();
        assert_eq!(left, [3]);
        assert_eq!((routes.sent_bytes(1), routes.sent_bytes(2)), (100, 12));
        assert!(counters.dropped.is_empty());
    }

    #[test]
    fn an_address_that_cannot_be_reached_costs_its_own_datagrams_only() {
        let (one, sender) = (receiver(), receiver());
        let mut routes = Routes::default();
        let clone = || sender.try_clone().map(OwnedFd::from);
        routes.set(1, 7, "[::1]:9".parse().unwrap(), clone).unwrap();
        routes.set(2, 7, one.local_addr().unwrap(), clone).unwrap();
        let mut out = outbox(&[(1, b"nowhere"), (2, b"here")]);
        let mut counters = Counters::default();
        routes.send(&mut out, &mut counters);
        let mut buffer = [0; 64];
        assert_eq!(one.recv(&mut buffer).unwrap(), 4);
        assert_eq!(counters.dropped.get("send-error"), Some(&1));
    }

    #[test]
    fn a_socket_that_no_route_needs_is_closed() {
        let sender = receiver();
        let mut routes = Routes::default();
        let address = sender.local_addr().unwrap();
        routes.set(1, 7, address, || sender.try_clone().map(OwnedFd::from)).unwrap();
        assert_eq!(routes.sockets.len(), 1);
        routes.clear(1);
        assert!(routes.sockets.is_empty());
        drop(sender);
        UdpSocket::bind(address).unwrap();
    }
}
