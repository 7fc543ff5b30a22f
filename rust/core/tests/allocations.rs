//! A packet costs no memory: what forwarding needs it has, once the first packets have passed.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use pysfu_plane_core::parameters::{
    Codec, CodecName, ExtensionIds, Kind, PublicationConfig, SrtpKeys, SubscriptionConfig, TransportKey,
};
use pysfu_plane_core::plane::Plane;
use pysfu_plane_core::srtp::{Profile, SrtpSender};

/// Counts what the thread that asks for it allocates.
struct Counting;

thread_local!(static ALLOCATED: Cell<Option<usize>> = const { Cell::new(None) });

fn count() {
    let _ = ALLOCATED.try_with(|count| count.set(count.get().map(|number| number + 1)));
}

// SAFETY: the system's allocator does it all.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const PUBLISHER: TransportKey = 1;
const VIEWERS: u64 = 10;
const SSRC: u32 = 5;
const BURST: u64 = 8;
const BURST_US: i64 = 64_000;
const BEAT_US: i64 = 5_000;

fn secret(profile: Profile, number: u64) -> Vec<u8> {
    vec![number as u8; profile.key_bytes() + profile.salt_bytes()]
}

fn keys(profile: Profile, peer: u64) -> SrtpKeys {
    SrtpKeys { profile, receive: secret(profile, peer), send: secret(profile, 100 + peer) }
}

fn viewer_ssrc(viewer: u64) -> u32 {
    0x3000 + viewer as u32
}

/// A camera of 1 Mbit/s in bursts, and viewers who ask for some of it again.
struct Call {
    plane: Plane,
    publisher: SrtpSender,
    viewers: Vec<SrtpSender>,
    name: CodecName,
    numbered: bool,
    datagram: Vec<u8>,
    size: usize,
    sent: u64,
    left: usize,
}

impl Call {
    fn new(profile: Profile, name: CodecName, numbered: bool, estimate_bps: Option<i64>) -> Self {
        let mut plane = Plane::new(7, 256);
        let extensions = ExtensionIds {
            mid: 1,
            transport_cc: if numbered { 2 } else { 0 },
            abs_send_time: 3,
            ..ExtensionIds::default()
        };
        let codec = Codec { name, payload_type: 96, clock_rate: 90_000, rtx_payload_type: Some(97) };
        plane.open_transport(PUBLISHER, keys(profile, PUBLISHER));
        let publication = PublicationConfig {
            transport: PUBLISHER,
            kind: Kind::Video,
            mid: "0".into(),
            codecs: vec![codec],
            extensions,
            rids: Vec::new(),
            ssrcs: Vec::new(),
            nack: true,
            transport_cc: true,
            remb: false,
            fir: false,
        };
        plane.open_publication(1, publication);
        for viewer in 2..2 + VIEWERS {
            plane.open_transport(viewer, keys(profile, viewer));
            if let Some(estimate_bps) = estimate_bps {
                plane.set_estimate(viewer, estimate_bps);
            }
            let subscription = SubscriptionConfig {
                transport: viewer,
                publication: 1,
                mid: "0".into(),
                ssrc: viewer_ssrc(viewer),
                rtx_ssrc: Some(0x9000 + viewer as u32),
                payload_types: vec![(96, 96)],
                rtx_payload_types: vec![(96, 97)],
                extensions,
                cname: "x".into(),
            };
            plane.open_subscription(viewer, subscription, || 1);
        }
        let sender = |peer| SrtpSender::new(profile, &secret(profile, peer)).unwrap();
        Self {
            plane,
            publisher: sender(PUBLISHER),
            viewers: (2..2 + VIEWERS).map(sender).collect(),
            name,
            numbered,
            datagram: Vec::with_capacity(2000),
            size: 1000,
            sent: 0,
            left: 0,
        }
    }

    fn now_us(&self) -> i64 {
        10_000_000 + (self.sent / BURST) as i64 * BURST_US
    }

    fn packet(&mut self) {
        let packet = &mut self.datagram;
        packet.clear();
        let first = self.sent == 0;
        packet.extend([if self.numbered { 0x90 } else { 0x80 }, 96]);
        packet.extend((self.sent as u16).to_be_bytes());
        packet.extend((self.sent as u32 * 3000).to_be_bytes());
        packet.extend(SSRC.to_be_bytes());
        if self.numbered {
            packet.extend([0xBE, 0xDE, 0, 1, 0x21]);
            packet.extend((self.sent as u16).to_be_bytes());
            packet.push(0);
        }
        let header = packet.len();
        match self.name {
            // With a picture id that is rewritten, and the next temporal layer's every other time.
            CodecName::Vp8 => {
                let number = self.sent as u16 | 0x8000;
                let temporal = if first { 0 } else { (self.sent & 1) as u8 };
                packet.extend([0x90, 0xE0, (number >> 8) as u8, number as u8, 0, temporal << 6]);
                packet.extend([if first { 0xD0 } else { 0xB1 }, 0, 0, 0x9D, 1, 0x2A, 0x80, 2, 0x68, 1]);
            }
            // A keyframe begins with a sequence parameter set.
            _ if first => {
                packet.extend([0x67, 0x42, 0xC0, 0x1F, 0x8C, 0x8D, 0x40, 0x50, 0x17, 0xFC, 0xB0, 0x0F, 0x08]);
                packet.extend([0x84, 0x6A]);
            }
            _ => packet.extend([0x41, 0x9A]),
        }
        packet.resize(header + self.size, 7);
        self.publisher.protect(SSRC, self.sent, 0, header, packet).unwrap();
        let now_us = self.now_us();
        self.plane.receive(PUBLISHER, &self.datagram, now_us, now_us);
        self.sent += 1;
        self.flush();
    }

    fn flush(&mut self) {
        let (out, _) = self.plane.out();
        self.left += out.envelopes.len();
        out.clear();
    }

    /// Each viewer asks for what it was sent some time ago.
    fn nacks(&mut self) {
        for viewer in 0..VIEWERS {
            let key = viewer + 2;
            let nack = &mut self.datagram;
            nack.clear();
            nack.extend([0x81, 205, 0, 3]);
            nack.extend(9u32.to_be_bytes());
            nack.extend(viewer_ssrc(key).to_be_bytes());
            nack.extend((self.sent as u16).wrapping_sub(40).to_be_bytes());
            nack.extend([0, 1]);
            self.viewers[viewer as usize].protect_rtcp(0, nack).unwrap();
            let now_us = self.now_us();
            self.plane.receive(key, &self.datagram, now_us, now_us);
            self.flush();
        }
    }

    fn run(&mut self, packets: u64) {
        for _ in 0..packets / BURST {
            (0..BURST).for_each(|_| self.packet());
            self.nacks();
            let mut now_us = self.now_us() - BURST_US;
            while now_us < self.now_us() {
                self.plane.pump(now_us);
                self.flush();
                now_us += BEAT_US;
            }
        }
    }

    /// How many allocations that took, and how many packets left meanwhile.
    fn counted(&mut self, packets: u64) -> (usize, usize) {
        self.left = 0;
        ALLOCATED.set(Some(0));
        self.run(packets);
        (ALLOCATED.take().unwrap(), self.left)
    }
}

/// What NACKs asked for has left too, all but what was over the share.
fn check(mut call: Call, before: u64, packets: u64) {
    call.run(before);
    let (allocated, left) = call.counted(packets);
    assert!(left > packets as usize * VIEWERS as usize * 11 / 10, "{left}");
    assert_eq!(allocated, 0);
}

#[test]
fn forwarding_at_once_and_sending_again_allocate_nothing() {
    for (name, numbered) in [(CodecName::Vp8, false), (CodecName::Vp8, true), (CodecName::H264, true)] {
        check(Call::new(Profile::AeadAes128Gcm, name, numbered, None), 6000, 1000);
    }
}

#[test]
fn pacing_allocates_nothing() {
    for estimate_bps in [600_000, 20_000_000] {
        check(Call::new(Profile::AeadAes128Gcm, CodecName::Vp8, true, Some(estimate_bps)), 6000, 1000);
    }
}

/// Few and small packets: in a debug build this cipher is slow.
#[test]
fn nor_does_the_other_profile() {
    let mut call = Call::new(Profile::Aes128CmSha1, CodecName::Vp8, true, None);
    call.size = 40;
    check(call, 2400, 400);
}
