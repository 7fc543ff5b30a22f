//! The engine on real sockets: peers with SRTP of their own, lanes, mirrors, order, faults.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pysfu_plane_core::hub::Event;
use pysfu_plane_core::parameters::{
    Codec, CodecName, ExtensionIds, Kind, PublicationConfig, SrtpKeys, SubscriptionConfig, TransportKey,
};
use pysfu_plane_core::srtp::{Profile, SrtpReceiver, SrtpSender};
use pysfu_plane_core::stun::Consent;
use pysfu_plane_io::{At, Engine};
use rustix::net::sockopt::set_socket_reuseport;
use rustix::net::{AddressFamily, SocketType};

const CAMERA: u64 = 1;
const SSRC: u32 = 0x1000;
const HEADER_BYTES: usize = 12;
const PATIENCE: Duration = Duration::from_secs(10);

fn secret(number: u64) -> Vec<u8> {
    (0..28u8).map(|index| index.wrapping_mul(31).wrapping_add(number as u8)).collect()
}

/// A socket, and keys.
struct Peer {
    key: TransportKey,
    socket: UdpSocket,
    sender: SrtpSender,
    receiver: SrtpReceiver,
    sent: u64,
}

impl Peer {
    fn new(key: TransportKey, server: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(server).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let sender = SrtpSender::new(Profile::AeadAes128Gcm, &secret(key)).unwrap();
        let receiver = SrtpReceiver::new(Profile::AeadAes128Gcm, &secret(key + 100)).unwrap();
        Self { key, socket, sender, receiver, sent: 0 }
    }

    fn keys(&self) -> SrtpKeys {
        SrtpKeys { profile: Profile::AeadAes128Gcm, receive: secret(self.key), send: secret(self.key + 100) }
    }

    /// The next packet of a VP8 stream, the first one a keyframe.
    fn send(&mut self) {
        let mut packet = vec![0x80, 0x80 | 96];
        packet.extend((self.sent as u16).to_be_bytes());
        packet.extend((self.sent as u32 * 3000).to_be_bytes());
        packet.extend(SSRC.to_be_bytes());
        let key = self.sent == 0;
        packet.extend([0x10, if key { 0xD0 } else { 0xB1 }, 0, 0, 0x9D, 1, 0x2A, 0x80, 2, 0x68, 1]);
        packet.extend((self.sent as u32).to_be_bytes());
        self.sender.protect(SSRC, self.sent, 0, HEADER_BYTES, &mut packet).unwrap();
        self.socket.send(&packet).unwrap();
        self.sent += 1;
    }

    /// Sequence number and the publisher's count of the next media packet.
    fn media(&mut self) -> (u16, u32) {
        let mut buffer = vec![0; 2048];
        loop {
            let size = self.socket.recv(&mut buffer).unwrap();
            if !(192..224).contains(&buffer[1]) {
                buffer.truncate(size);
                break;
            }
        }
        let size = self.receiver.unprotect(&mut buffer, |_| true).unwrap();
        let count = u32::from_be_bytes(buffer[size - 4..size].try_into().unwrap());
        (u16::from_be_bytes([buffer[2], buffer[3]]), count)
    }
}

/// A socket that shares its port.
fn beside(address: SocketAddr) -> UdpSocket {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None).unwrap();
    set_socket_reuseport(&socket, true).unwrap();
    rustix::net::bind(&socket, &address).unwrap();
    UdpSocket::from(socket)
}

/// An engine on loopback with so many threads.
struct Call {
    engine: Engine,
    server: SocketAddr,
    number: i32,
}

impl Call {
    fn new(threads: usize) -> Self {
        let first = beside("127.0.0.1:0".parse().unwrap());
        let server = first.local_addr().unwrap();
        let number = first.as_raw_fd();
        let mut groups = vec![vec![OwnedFd::from(first)]];
        groups.extend((1..threads).map(|_| vec![OwnedFd::from(beside(server))]));
        let mut engine = Engine::new(7, 256).unwrap();
        engine.start(groups, &[number]).unwrap();
        Self { engine, server, number }
    }

    fn peer(&self, key: TransportKey, room: u64) -> Peer {
        let peer = Peer::new(key, self.server);
        let address = peer.socket.local_addr().unwrap();
        self.engine.place(key, room);
        self.engine.learn(key, address);
        self.engine.set_route(key, self.number, address, || Err(())).unwrap();
        self.engine.open_transport(key, peer.keys()).unwrap();
        peer
    }

    fn publish(&self, peer: &Peer) {
        let codec =
            Codec { name: CodecName::Vp8, payload_type: 96, clock_rate: 90_000, rtx_payload_type: None };
        let config = PublicationConfig {
            transport: peer.key,
            kind: Kind::Video,
            mid: "0".into(),
            codecs: vec![codec],
            extensions: ExtensionIds::default(),
            rids: Vec::new(),
            ssrcs: Vec::new(),
            nack: true,
            transport_cc: false,
            remb: false,
            fir: false,
        };
        self.engine.open_publication(CAMERA, config).unwrap();
    }

    fn subscribe(&self, peer: &Peer) {
        let config = SubscriptionConfig {
            transport: peer.key,
            publication: CAMERA,
            mid: "0".into(),
            ssrc: 0x2000 + peer.key as u32,
            rtx_ssrc: None,
            payload_types: vec![(96, 96)],
            rtx_payload_types: Vec::new(),
            extensions: ExtensionIds::default(),
            cname: "x".into(),
        };
        self.engine.open_subscription(peer.key, config, || 1000).unwrap();
    }

    fn until(&self, what: impl Fn() -> bool) {
        let started = Instant::now();
        while !what() {
            assert!(started.elapsed() < PATIENCE, "dropped: {:?}", self.engine.counters().dropped);
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn every_lane_gets_everything_in_order() {
    let call = Call::new(3);
    let mut publisher = call.peer(1, 0);
    call.publish(&publisher);
    let mut viewers: Vec<Peer> = (2..9).map(|key| call.peer(key, 0)).collect();
    viewers.iter().for_each(|viewer| call.subscribe(viewer));
    // As many at once as sockets surely hold.
    for round in 0..10u32 {
        (0..40).for_each(|_| publisher.send());
        for viewer in &mut viewers {
            for count in round * 40..(round + 1) * 40 {
                assert_eq!(viewer.media(), (1000 + count as u16, count));
            }
        }
    }
    let counters = call.engine.counters();
    assert_eq!((counters.received, counters.forwarded), (400, 7 * 400));
    assert!(counters.dropped.is_empty());
    // What is known of the publication is told once.
    let started = |event: &Event| matches!(event, Event::EncodingStarted { .. });
    assert_eq!(call.engine.poll_events().iter().filter(|event| started(event)).count(), 1);
}

#[test]
fn a_mirror_that_begins_later_asks_for_a_keyframe_and_ends_with_its_last_subscription() {
    let call = Call::new(2);
    let mut publisher = call.peer(1, 0);
    call.publish(&publisher);
    publisher.send();
    call.until(|| call.engine.counters().received == 1);
    call.engine.poll_events();
    let viewers = [call.peer(2, 0), call.peer(4, 0)];
    viewers.iter().for_each(|viewer| call.subscribe(viewer));
    let wanted = |event: &Event| matches!(event, Event::KeyframeWanted { publication: CAMERA, .. });
    call.until(|| call.engine.poll_events().iter().any(wanted));
    for viewer in &viewers {
        call.engine.close_subscription(viewer.key).unwrap();
    }
    publisher.send();
    call.until(|| call.engine.counters().received == 2);
    assert!(call.engine.counters().dropped.is_empty());
    // And begins anew for the next.
    call.subscribe(&viewers[0]);
    call.until(|| call.engine.poll_events().iter().any(wanted));
}

#[test]
fn muting_reaches_mirrors() {
    let call = Call::new(2);
    let (mut publisher, mut viewer) = (call.peer(1, 0), call.peer(2, 0));
    call.publish(&publisher);
    call.subscribe(&viewer);
    publisher.send();
    viewer.media();
    call.engine.set_muted(CAMERA, true).unwrap();
    publisher.send();
    call.until(|| call.engine.counters().dropped.get("muted") == Some(&1));
    assert_eq!(call.engine.counters().forwarded, 1);
}

#[test]
fn a_fault_ends_one_room_and_nothing_else() {
    let call = Call::new(2);
    let (mut faulty, mut sound) = (call.peer(1, 5), call.peer(2, 6));
    call.engine.control(call.engine.at_transport(1), |plane| plane.fails = Some(1)).unwrap();
    call.publish(&sound);
    let mut viewer = call.peer(3, 6);
    call.subscribe(&viewer);
    faulty.send();
    let faults = std::cell::RefCell::new(Vec::new());
    call.until(|| {
        faults.borrow_mut().append(&mut call.engine.take_faults());
        !faults.borrow().is_empty()
    });
    assert_eq!(*faults.borrow(), [5]);
    assert_eq!(call.engine.counters().dropped.get("plane-fault"), Some(&1));
    let received = call.engine.counters().received;
    // Nothing of that room is worked on any more, everything of others is.
    faulty.send();
    for count in 0..50 {
        sound.send();
        assert_eq!(viewer.media().1, count);
    }
    assert_eq!(call.engine.counters().received, received + 50);
    // And it can be opened anew.
    call.engine.close_transport(1).unwrap();
    call.engine.forget(1);
    let mut fresh = call.peer(11, 7);
    fresh.send();
    call.until(|| call.engine.counters().received == received + 51);
    assert!(call.engine.take_faults().is_empty());
}

#[test]
fn a_fault_by_the_clock_ends_one_room_and_others_keep_their_time() {
    let call = Call::new(1);
    let (_failing, mut sound) = (call.peer(1, 5), call.peer(2, 6));
    call.publish(&sound);
    call.engine.control(At::default(), |plane| plane.fails_by_clock = Some(1)).unwrap();
    let faults = std::cell::RefCell::new(Vec::new());
    call.until(|| {
        faults.borrow_mut().append(&mut call.engine.take_faults());
        !faults.borrow().is_empty()
    });
    assert_eq!(*faults.borrow(), [5]);
    // What is missing is asked for: that is done by the clock, after what fails.
    sound.send();
    sound.sent += 1;
    sound.send();
    let mut buffer = [0; 2048];
    while !(sound.socket.recv(&mut buffer).unwrap() > 1 && buffer[1] == 205) {}
    assert_eq!(call.engine.counters().dropped.get("plane-fault"), Some(&1));
    // Who joins the room that has failed is left alone as well, until it is gone.
    call.peer(3, 5);
    call.engine.control(At::default(), |plane| plane.fails_by_clock = Some(3)).unwrap();
    sound.sent += 1;
    sound.send();
    while !(sound.socket.recv(&mut buffer).unwrap() > 1 && buffer[1] == 205) {}
    assert_eq!(call.engine.counters().dropped.get("plane-fault"), Some(&1));
}

#[test]
fn a_fault_of_control_is_laid_at_whose_it_was() {
    let call = Call::new(1);
    let (mut innocent, _guilty) = (call.peer(1, 5), call.peer(2, 6));
    innocent.send();
    call.until(|| call.engine.counters().received == 1);
    call.engine.control(At::default(), |_| panic!("of nobody")).unwrap_err();
    assert!(call.engine.take_faults().is_empty());
    assert_eq!(call.engine.counters().dropped.get("lane-fault"), Some(&1));
    call.engine.control(call.engine.at_transport(2), |_| panic!("of room 6")).unwrap_err();
    assert_eq!(call.engine.take_faults(), [6]);
    // A packet of nobody that is known is not whoever's was before it.
    innocent.send();
    call.until(|| call.engine.counters().received == 2);
}

#[test]
fn what_is_not_media_goes_up_and_what_has_no_route_too() {
    let call = Call::new(1);
    let (mut publisher, viewer) = (call.peer(1, 0), call.peer(2, 0));
    call.publish(&publisher);
    call.subscribe(&viewer);
    call.engine.clear_route(2);
    publisher.socket.send(&[22, 1, 2, 3]).unwrap();
    publisher.send();
    let taken = std::cell::RefCell::new((Vec::new(), Vec::new()));
    call.until(|| {
        let (datagrams, packets) = call.engine.take_upward(100);
        let mut taken = taken.borrow_mut();
        taken.0.extend(datagrams);
        taken.1.extend(packets);
        !taken.0.is_empty() && !taken.1.is_empty()
    });
    let (datagrams, packets) = taken.into_inner();
    assert_eq!(datagrams[0].data, [22, 1, 2, 3]);
    assert_eq!(datagrams[0].from, publisher.socket.local_addr().unwrap());
    assert_eq!(packets[0].0, 2);
    // A stranger's handshake does not.
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.send_to(&[22, 1, 2, 3], call.server).unwrap();
    call.until(|| call.engine.counters().dropped.get("unknown-address") == Some(&1));
}

#[test]
fn checks_go_up_that_somebody_expects_and_consent_has_run_out_for() {
    let call = Call::new(1);
    let peer = call.peer(1, 0);
    let from = peer.socket.local_addr().unwrap();
    call.engine.set_consent(1, from, Consent::new("ours:theirs", "password"), 5);
    // Nobody has renewed it for so long that the next one is to be decided about.
    let check = |ufrag: &[u8; 4]| {
        let header = [0, 1, 0, 12, 0x21, 0x12, 0xA4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        peer.socket.send(&[&header[..], &[0, 6, 0, 7], ufrag, b":oe\0"].concat()).unwrap();
    };
    check(b"ours");
    call.until(|| call.engine.counters().dropped.get("stun-unknown-ufrag") == Some(&1));
    call.engine.expect_checks("ours");
    check(b"ours");
    call.until(|| call.engine.take_upward(1).0.len() == 1);
    check(b"sour");
    call.until(|| call.engine.counters().dropped.get("stun-unknown-ufrag") == Some(&2));
    call.engine.refuse_checks("ours");
    check(b"ours");
    call.until(|| call.engine.counters().dropped.get("stun-unknown-ufrag") == Some(&3));
    assert!(call.engine.take_upward(1).0.is_empty());
    assert_eq!(call.engine.checked_us(1), 5);
    call.engine.withdraw_consent(1);
    call.engine.forget(1);
    assert_eq!(call.engine.checked_us(1), 0);
}

/// Control and packets at once, from many threads, for a second: nothing hangs, nothing is left behind.
#[test]
fn control_and_packets_do_not_disturb_each_other() {
    let call = Call::new(3);
    let mut publishers: Vec<Peer> = (1..4).map(|key| call.peer(key, 0)).collect();
    call.publish(&publishers[0]);
    let viewers: Vec<Peer> = (10..30).map(|key| call.peer(key, 0)).collect();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for some in viewers.chunks(7) {
            let (call, stop) = (&call, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    for viewer in some {
                        call.subscribe(viewer);
                        call.engine.poll_events();
                        call.engine.set_muted(CAMERA, viewer.key % 5 == 0).unwrap();
                        call.engine.counters();
                        call.engine.take_upward(10);
                        call.engine.close_subscription(viewer.key).unwrap();
                    }
                }
            });
        }
        let (call, stop) = (&call, &stop);
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let address = "127.0.0.1:9".parse().unwrap();
                call.engine.place(99, 9);
                call.engine.learn(99, address);
                call.engine.set_route(99, call.number, address, || Err(())).unwrap();
                call.engine.close_transport(99).unwrap();
                call.engine.forget(99);
            }
        });
        let until = Instant::now() + Duration::from_secs(1);
        while Instant::now() < until {
            for publisher in &mut publishers {
                publisher.send();
            }
            std::thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
    });
    // It still works, and nothing is left in the lanes' queues.
    call.engine.set_muted(CAMERA, false).unwrap();
    call.engine.close_publication(CAMERA).unwrap();
    let (mut publisher, mut viewer) = (call.peer(40, 0), call.peer(41, 0));
    assert_ne!(call.engine.at_transport(40).lane, call.engine.at_transport(41).lane);
    call.publish(&publisher);
    call.subscribe(&viewer);
    for count in 0..50 {
        publisher.send();
        assert_eq!(viewer.media().1, count);
    }
    assert!(call.engine.take_faults().is_empty());
}

#[test]
fn a_datagram_from_port_zero_is_nobodys() {
    let protocol = Some(rustix::net::ipproto::UDP);
    let Ok(raw) = rustix::net::socket(AddressFamily::INET, SocketType::RAW, protocol) else {
        return eprintln!("only root can send such a one");
    };
    let call = Call::new(1);
    // A UDP header: no source port, no checksum.
    let data = [0; 20];
    let port = call.server.port().to_be_bytes();
    let datagram = [&[0, 0], &port[..], &[0, 8 + data.len() as u8, 0, 0], &data].concat();
    rustix::net::sendto(&raw, &datagram, rustix::net::SendFlags::empty(), &call.server).unwrap();
    call.until(|| call.engine.counters().dropped.get("no-source-port") == Some(&1));
    assert!(call.engine.take_upward(1).0.is_empty());
}
