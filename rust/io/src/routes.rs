//! The UDP paths of transports, and sending along them: destination by destination, and what one destination gets
//! in datagrams of equal size as one message that the kernel cuts (UDP_SEGMENT).

use std::cell::Cell;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use pysfu_plane_core::hub::{Counters, Envelope, Outbox};
use pysfu_plane_core::parameters::TransportKey;
use rustc_hash::FxHashMap;
use rustix::io::Errno;

use crate::mmsg::{self, BATCH, Message, RawAddress};
use crate::patience::Patience;

/// Of one message: the kernel takes 128, older ones 64.
const SEGMENTS: usize = 64;
/// Of one message together, the most that a UDP datagram could have.
const MESSAGE_BYTES: usize = 65_507;
/// Larger segments may not fit the path's MTU, which would be an error instead of fragments.
const SEGMENT_BYTES: usize = 1440;
/// So many fit a path with the least MTU that IPv6 allows, which is the MTU of many tunnels.
const SMALL_SEGMENT_BYTES: usize = 1232;
/// Datagrams of one batch of messages.
const SLICES: usize = 256;

/// A socket that datagrams are sent from.
pub struct Socket {
    pub descriptor: OwnedFd,
}

impl From<OwnedFd> for Socket {
    fn from(descriptor: OwnedFd) -> Self {
        Self { descriptor }
    }
}

/// Where a transport's datagrams go.
struct Route {
    socket: Arc<Socket>,
    /// Which of the addresses the server is bound to.
    place: usize,
    address: RawAddress,
    sent_bytes: Arc<AtomicU64>,
    /// The system has refused larger segments on this path: 0 where it cuts nothing. It is the path's matter (its
    /// MTU, its interface, an address that cannot be), and another path is another route.
    largest: Cell<usize>,
}

impl Route {
    /// The system has refused segments of so many bytes; they are sent again at once in another way.
    fn refused(&self, segment: u16) {
        let small = usize::from(segment) <= SMALL_SEGMENT_BYTES;
        self.largest.set(if small { 0 } else { SMALL_SEGMENT_BYTES });
    }
}

/// The UDP paths of transports. Those without one are left to whoever asks.
#[derive(Default)]
pub struct Routes {
    by_transport: FxHashMap<TransportKey, Route>,
    /// Transport, start and size of what is being sent, and its place in the outbox.
    sorted: Vec<(TransportKey, u32, Envelope)>,
    /// Who comes first the next time.
    begin: TransportKey,
    patience: Patience,
}

impl Routes {
    /// Send a transport's datagrams to `address`: from `socket`, or from the sender's own socket at `place`.
    pub fn set(
        &mut self,
        transport: TransportKey,
        socket: Arc<Socket>,
        place: usize,
        address: SocketAddr,
        sent_bytes: Arc<AtomicU64>,
    ) {
        let largest = Cell::new(SEGMENT_BYTES);
        let route = Route { socket, place, address: address.into(), sent_bytes, largest };
        self.by_transport.insert(transport, route);
    }

    /// Send nothing more for a transport.
    pub fn clear(&mut self, transport: TransportKey) {
        self.by_transport.remove(&transport);
    }

    /// Send everything that has a route; what has none stays in the outbox. What one transport gets keeps its
    /// order. `own` are the sender's sockets, one for each bound address, empty where it has none.
    ///
    /// What a full socket does not take while there is patience is dropped and counted. Who loses by that comes first
    /// the next time, so that it does not hit the same ones again.
    pub fn send(&mut self, out: &mut Outbox, counters: &mut Counters, own: &[Arc<Socket>]) {
        if self.by_transport.is_empty() || out.envelopes.is_empty() {
            return;
        }
        let Self { by_transport, sorted, begin, patience } = self;
        let mut left = 0;
        for (index, envelope) in out.envelopes.iter().enumerate() {
            if by_transport.contains_key(&envelope.transport) {
                sorted.push((envelope.transport, index as u32, *envelope));
            } else {
                left += 1;
            }
        }
        sorted.sort_unstable_by_key(|(transport, index, _)| (*transport, *index));
        let (last, first) = sorted.split_at(sorted.partition_point(|(transport, ..)| transport < begin));
        let bytes = &out.bytes;
        let mut sending = Sending { by_transport, bytes, counters, own, patience, lost: None };
        for mut rest in [first, last] {
            while !rest.is_empty() {
                rest = &rest[sending.send_some(rest)..];
            }
        }
        if let Some(lost) = sending.lost {
            // Who was the first already has had its turn.
            let was_first = first.first().or(last.first()).is_some_and(|(transport, ..)| *transport == lost);
            *begin = lost.wrapping_add(u64::from(was_first));
        }
        sorted.clear();
        if left == 0 {
            out.clear();
        } else {
            out.envelopes.retain(|envelope| !by_transport.contains_key(&envelope.transport));
        }
    }
}

/// What is at hand while an outbox is sent.
struct Sending<'a> {
    by_transport: &'a FxHashMap<TransportKey, Route>,
    bytes: &'a [u8],
    counters: &'a mut Counters,
    own: &'a [Arc<Socket>],
    patience: &'a mut Patience,
    /// The first that a full socket took nothing of.
    lost: Option<TransportKey>,
}

impl Sending<'_> {
    /// One batch of messages over one socket. Returns how many datagrams that settles.
    fn send_some(&mut self, rest: &[(TransportKey, u32, Envelope)]) -> usize {
        let Self { by_transport, bytes, own, .. } = *self;
        let Some(first) = by_transport.get(&rest[0].0) else { return 1 };
        let socket = own.get(first.place).unwrap_or(&first.socket);
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut messages = [Message { first: 0, count: 0, to: &first.address, segment: 0 }; BATCH];
        let mut routes = [first; BATCH];
        let (mut datagrams, mut count) = (0, 0);
        let mut route = first;
        let mut of = rest[0].0;
        while count < BATCH && datagrams < rest.len().min(SLICES) {
            let (transport, _, _) = rest[datagrams];
            if transport != of {
                let Some(next) = by_transport.get(&transport) else { break };
                if !Arc::ptr_eq(own.get(next.place).unwrap_or(&next.socket), socket) {
                    break;
                }
                (route, of) = (next, transport);
            }
            let (run, size) = run_of(&rest[datagrams..], SLICES - datagrams, route.largest.get());
            for (slice, (_, _, envelope)) in slices[datagrams..].iter_mut().zip(&rest[datagrams..][..run]) {
                *slice = IoSlice::new(&bytes[envelope.start..envelope.end]);
            }
            let segment = if run > 1 { size as u16 } else { 0 };
            messages[count] = Message { first: datagrams, count: run, to: &route.address, segment };
            routes[count] = route;
            datagrams += run;
            count += 1;
        }
        let (messages, slices) = (&messages[..count], &slices[..datagrams]);
        match mmsg::send(socket.descriptor.as_fd(), slices, messages) {
            Ok(taken) => {
                for (message, route) in messages[..taken].iter().zip(routes) {
                    let sizes = slices[message.first..message.first + message.count].iter();
                    route.sent_bytes.fetch_add(sizes.map(|slice| slice.len() as u64).sum(), Relaxed);
                }
                messages[..taken].iter().map(|message| message.count).sum()
            }
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::INTR) => 0,
                Some(Errno::AGAIN) if self.patience.wait(socket.descriptor.as_fd()) => 0,
                Some(Errno::AGAIN | Errno::NOBUFS) => {
                    // Nothing of this batch would fit either.
                    (0..datagrams).for_each(|_| self.counters.drop("send-buffer-full"));
                    self.lost = self.lost.or(Some(rest[0].0));
                    datagrams
                }
                Some(Errno::MSGSIZE | Errno::INVAL | Errno::IO) if messages[0].segment != 0 => {
                    first.refused(messages[0].segment);
                    0
                }
                _ => {
                    (0..messages[0].count).for_each(|_| self.counters.drop("send-error"));
                    messages[0].count
                }
            },
        }
    }
}

/// How many of the first datagrams may be one message, `most` at most and none larger than `largest`, and the size
/// of each but the last.
fn run_of(rest: &[(TransportKey, u32, Envelope)], most: usize, largest: usize) -> (usize, usize) {
    let size = |envelope: &Envelope| envelope.end - envelope.start;
    let (transport, _, first) = &rest[0];
    let segment = size(first);
    if segment > largest {
        return (1, segment);
    }
    let most = most.min(SEGMENTS).min(MESSAGE_BYTES / segment.max(1));
    let mut run = 1;
    for (of, _, next) in rest.iter().take(most).skip(1) {
        if of != transport || size(next) > segment {
            break;
        }
        run += 1;
        if size(next) < segment {
            break;
        }
    }
    (run, segment)
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

    fn socket_of(sender: &UdpSocket) -> Arc<Socket> {
        Arc::new(Socket::from(OwnedFd::from(sender.try_clone().unwrap())))
    }

    fn add(routes: &mut Routes, key: TransportKey, socket: &Arc<Socket>, to: SocketAddr) -> Arc<AtomicU64> {
        let sent = Arc::new(AtomicU64::default());
        routes.set(key, socket.clone(), 0, to, sent.clone());
        sent
    }

    #[test]
    fn datagrams_go_to_their_own_addresses_in_order_and_others_stay() {
        let (one, other, sender) = (receiver(), receiver(), receiver());
        let mut routes = Routes::default();
        let socket = socket_of(&sender);
        let to_one = add(&mut routes, 1, &socket, one.local_addr().unwrap());
        let to_other = add(&mut routes, 2, &socket, other.local_addr().unwrap());
        let many: Vec<Vec<u8>> = (0..200u8).map(|number| vec![number]).collect();
        let mut packets: Vec<(TransportKey, &[u8])> = many.iter().map(|packet| (1, &packet[..])).collect();
        packets.insert(50, (2, b"to the other"));
        packets.insert(60, (3, b"over TCP"));
        let mut out = outbox(&packets);
        let mut counters = Counters::default();
        routes.send(&mut out, &mut counters, &[]);
        let mut buffer = [0; 64];
        for number in 0..200 {
            assert_eq!(one.recv(&mut buffer).unwrap(), 1);
            assert_eq!(buffer[0], number);
        }
        let size = other.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..size], b"to the other");
        let left: Vec<TransportKey> = out.envelopes.iter().map(|envelope| envelope.transport).collect();
        assert_eq!(left, [3]);
        assert_eq!((to_one.load(Relaxed), to_other.load(Relaxed)), (200, 12));
        assert!(counters.dropped.is_empty());
    }

    #[test]
    fn sizes_come_as_they_were_sent_whether_or_not_the_kernel_cuts() {
        for largest in [SEGMENT_BYTES, SMALL_SEGMENT_BYTES, 0] {
            let (one, sender) = (receiver(), receiver());
            let mut routes = Routes::default();
            let socket = socket_of(&sender);
            add(&mut routes, 1, &socket, one.local_addr().unwrap());
            routes.by_transport[&1].largest.set(largest);
            let sizes = [1000, 1000, 1000, 300, 1000, 1200, 40, 41, 41, 1500, 1500, 7];
            let many: Vec<Vec<u8>> = sizes.iter().enumerate().map(|(n, size)| vec![n as u8; *size]).collect();
            let packets: Vec<(TransportKey, &[u8])> = many.iter().map(|packet| (1, &packet[..])).collect();
            let mut out = outbox(&packets);
            let mut counters = Counters::default();
            routes.send(&mut out, &mut counters, &[]);
            let mut buffer = [0; 2048];
            for packet in &many {
                let size = one.recv(&mut buffer).unwrap();
                assert_eq!(&buffer[..size], &packet[..]);
            }
            assert!(counters.dropped.is_empty());
            assert!(out.envelopes.is_empty());
        }
    }

    #[test]
    fn a_path_that_refuses_segments_goes_on_without() {
        let (one, sender) = (receiver(), receiver());
        let mut routes = Routes::default();
        let socket = socket_of(&sender);
        mmsg::refuse_segments(socket.descriptor.as_fd());
        add(&mut routes, 1, &socket, one.local_addr().unwrap());
        let mut out = outbox(&[(1, &[1; 100]), (1, &[2; 100]), (1, &[3; 100])]);
        let mut counters = Counters::default();
        routes.send(&mut out, &mut counters, &[]);
        let mut buffer = [0; 2048];
        for first in 1..4 {
            assert_eq!((one.recv(&mut buffer).unwrap(), buffer[0]), (100, first));
        }
        assert_eq!(routes.by_transport[&1].largest.get(), 0);
        assert!(counters.dropped.is_empty());
    }

    #[test]
    fn an_address_that_cannot_be_does_not_cost_others_their_runs() {
        let (one, sender) = (receiver(), receiver());
        let mut routes = Routes::default();
        let socket = socket_of(&sender);
        add(&mut routes, 1, &socket, "127.0.0.1:0".parse().unwrap());
        add(&mut routes, 2, &socket, one.local_addr().unwrap());
        let mut out = outbox(&[(1, &[1; 100]), (1, &[2; 100]), (2, &[3; 100]), (2, &[4; 100])]);
        let mut counters = Counters::default();
        routes.send(&mut out, &mut counters, &[]);
        let mut buffer = [0; 2048];
        for first in 3..5 {
            assert_eq!((one.recv(&mut buffer).unwrap(), buffer[0]), (100, first));
        }
        assert_eq!(routes.by_transport[&2].largest.get(), SEGMENT_BYTES);
        assert_eq!(counters.dropped.get("send-error"), Some(&2));
    }

    /// Run this test once more in a network namespace of its own, whose loopback `setup` has prepared. False in
    /// there. Where a namespace cannot be had the test is left out.
    fn elsewhere(test: &str, setup: &str) -> bool {
        if std::env::var_os("ELSEWHERE").is_some() {
            return false;
        }
        let script =
            format!("ip link set lo up && {setup} || exit 77; exec \"$0\" --exact {test} --nocapture");
        let this = std::env::current_exe().unwrap();
        let mut there = std::process::Command::new("unshare");
        match there.args(["-rn", "sh", "-c", &script]).arg(this).env("ELSEWHERE", "1").output() {
            Ok(output) if matches!(output.status.code(), Some(0)) => {}
            Ok(output) if matches!(output.status.code(), Some(1 | 77 | 127)) => {
                eprintln!("{test} is left out")
            }
            Ok(output) => panic!("{}", String::from_utf8_lossy(&[output.stdout, output.stderr].concat())),
            Err(_) => eprintln!("{test} is left out"),
        }
        true
    }

    #[test]
    fn a_path_with_a_small_mtu_gets_everything_and_runs_of_what_fits() {
        if elsewhere(
            "routes::tests::a_path_with_a_small_mtu_gets_everything_and_runs_of_what_fits",
            "ip link set lo mtu 1280",
        ) {
            return;
        }
        let (one, sender) = (receiver(), receiver());
        let mut routes = Routes::default();
        let socket = socket_of(&sender);
        add(&mut routes, 1, &socket, one.local_addr().unwrap());
        for size in [1200, 1340, 1200] {
            let packets = [vec![1; size], vec![2; size], vec![3; size]];
            let mut out = outbox(&packets.each_ref().map(|packet| (1, &packet[..])));
            let mut counters = Counters::default();
            routes.send(&mut out, &mut counters, &[]);
            let mut buffer = [0; 2048];
            for first in 1..4 {
                assert_eq!((one.recv(&mut buffer).unwrap(), buffer[0]), (size, first));
            }
            assert!(counters.dropped.is_empty());
        }
        assert_eq!(routes.by_transport[&1].largest.get(), SMALL_SEGMENT_BYTES);
    }

    /// Ten packets of 1200 bytes for each destination.
    fn burst(destinations: u64) -> Outbox {
        let packet = [0; 1200];
        let packets: Vec<(TransportKey, &[u8])> =
            (0..10 * destinations).map(|number| (number % destinations, &packet[..])).collect();
        outbox(&packets)
    }

    fn full(sender: &UdpSocket) -> (Routes, Vec<Arc<AtomicU64>>) {
        rustix::net::sockopt::set_socket_send_buffer_size(sender, 30_000).unwrap();
        let (mut routes, socket) = (Routes::default(), socket_of(sender));
        let to = sender.local_addr().unwrap();
        let sent = (0..20).map(|key| add(&mut routes, key, &socket, to)).collect();
        (routes, sent)
    }

    #[test]
    fn a_full_socket_hits_each_in_turn() {
        if elsewhere(
            "routes::tests::a_full_socket_hits_each_in_turn",
            "tc qdisc add dev lo root tbf rate 50mbit burst 3kb latency 10s",
        ) {
            return;
        }
        let sender = receiver();
        let (mut routes, sent) = full(&sender);
        let mut counters = Counters::default();
        for _ in 0..40 {
            routes.send(&mut burst(20), &mut counters, &[]);
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(counters.dropped["send-buffer-full"] > 0);
        let sent: Vec<u64> = sent.iter().map(|sent| sent.load(Relaxed)).collect();
        assert!(sent.iter().all(|sent| *sent > 0), "{sent:?}");
    }

    #[test]
    fn a_full_socket_is_waited_for() {
        if elsewhere(
            "routes::tests::a_full_socket_is_waited_for",
            "tc qdisc add dev lo root tbf rate 200mbit burst 64kb latency 10s",
        ) {
            return;
        }
        let sender = receiver();
        let (mut routes, _) = full(&sender);
        // It is a little more than fits, so that one wait is enough, however long this thread then waits for its own
        // time. What else the machine does may still come between, but not each time.
        let waited_and_all_went = (0..50).any(|_| {
            std::thread::sleep(Duration::from_millis(20));
            let (mut counters, before_us) = (Counters::default(), routes.patience.at_us());
            routes.send(&mut burst(12), &mut counters, &[]);
            routes.patience.at_us() > before_us && counters.dropped.is_empty()
        });
        assert!(waited_and_all_went);
    }

    #[test]
    fn a_message_has_no_more_segments_and_bytes_than_the_system_takes() {
        let envelopes = |size: usize, count: usize| -> Vec<(TransportKey, u32, Envelope)> {
            let envelope = |n: usize| Envelope { transport: 1, start: n * size, end: (n + 1) * size };
            (0..count).map(|n| (1, n as u32, envelope(n))).collect()
        };
        assert_eq!(run_of(&envelopes(100, 200), 1000, SEGMENT_BYTES).0, SEGMENTS);
        assert_eq!(run_of(&envelopes(1400, 200), 1000, SEGMENT_BYTES).0, 65_507 / 1400);
        assert_eq!(run_of(&envelopes(SEGMENT_BYTES + 1, 3), 1000, SEGMENT_BYTES).0, 1);
        assert_eq!(run_of(&envelopes(100, 200), 1, SEGMENT_BYTES).0, 1);
        assert_eq!(run_of(&envelopes(100, 200), 1000, 0).0, 1);
    }

    #[test]
    fn an_address_that_cannot_be_reached_costs_its_own_datagrams_only() {
        let (one, sender) = (receiver(), receiver());
        let mut routes = Routes::default();
        let socket = socket_of(&sender);
        add(&mut routes, 1, &socket, "[::1]:9".parse().unwrap());
        add(&mut routes, 2, &socket, one.local_addr().unwrap());
        let mut out = outbox(&[(1, b"nowhere"), (2, b"here")]);
        let mut counters = Counters::default();
        routes.send(&mut out, &mut counters, &[]);
        let mut buffer = [0; 64];
        assert_eq!(one.recv(&mut buffer).unwrap(), 4);
        assert_eq!(counters.dropped.get("send-error"), Some(&1));
    }
}
