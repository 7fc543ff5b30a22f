//! Publishers: packets made, protected and sent after a script.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pysfu_plane_core::srtp::{Profile, SrtpSender};

use crate::{clock, wrong};

/// The smallest encoding's SSRC; the others' follow.
const FIRST_SSRC: u32 = 1;
const RIDS: &[u8; 3] = b"qhf";
/// Pictures of the encodings by size, little-endian as VP8 has them.
const SIZES: [(u16, u16); 3] = [(320, 180), (640, 360), (1280, 720)];
const HEADER_BYTES: usize = 12 + 4 + 12;
/// VP8's descriptor and the beginning of a frame.
const START_BYTES: usize = 14;
/// When the packet was made, and which of its encoding's it is.
pub const TRAILER_BYTES: usize = 16;
const FRAMES_TO_A_KEYFRAME: u64 = 4;

/// One packet of a script. `first` and `last` of a frame.
#[derive(Clone, Copy, Default)]
pub struct Step {
    pub at_ns: u64,
    pub encoding: usize,
    pub payload_bytes: usize,
    pub first: bool,
    pub last: bool,
}

#[derive(Default)]
pub struct Script {
    pub audio: bool,
    pub period_ns: u64,
    pub steps: Vec<Step>,
}

#[derive(Clone, Copy, Default)]
struct Encoding {
    packets: u64,
    frames: u64,
    keyframe: bool,
}

pub struct Publisher {
    socket: UdpSocket,
    sender: SrtpSender,
    encodings: [Encoding; 3],
    transport_wide: u16,
    packet: Vec<u8>,
    /// How many packets of its first encoding there have been.
    pub sent: Arc<AtomicU64>,
}

impl Publisher {
    pub fn new(socket: OwnedFd, key: &[u8]) -> std::io::Result<Self> {
        let sender = SrtpSender::new(Profile::AeadAes128Gcm, key).ok_or(wrong("a key"))?;
        let socket = UdpSocket::from(socket);
        socket.set_nonblocking(true)?;
        let encodings = Default::default();
        Ok(Self { socket, sender, encodings, transport_wide: 0, packet: Vec::new(), sent: Arc::default() })
    }

    /// Make a packet and send it. False where the socket did not take it.
    fn send(&mut self, script: &Script, step: &Step, keyframes: bool) -> bool {
        let encoding = &mut self.encodings[step.encoding];
        if step.first {
            encoding.frames += 1;
            encoding.keyframe =
                encoding.frames == 1 || keyframes && encoding.frames % FRAMES_TO_A_KEYFRAME == 1;
        }
        let Encoding { packets, frames, keyframe } = *encoding;
        encoding.packets += 1;
        let ssrc = FIRST_SSRC + step.encoding as u32;
        let out = &mut self.packet;
        out.clear();
        let payload_type = if script.audio { 111 } else { 96 };
        out.extend([0x90, u8::from(step.last) << 7 | payload_type]);
        out.extend((packets as u16).to_be_bytes());
        out.extend((frames as u32).wrapping_mul(if script.audio { 960 } else { 3000 }).to_be_bytes());
        out.extend(ssrc.to_be_bytes());
        out.extend([0xBE, 0xDE, 0, 3, 3 << 4 | 1]);
        out.extend(self.transport_wide.to_be_bytes());
        self.transport_wide = self.transport_wide.wrapping_add(1);
        out.extend([4 << 4, b'0', 2 << 4 | 2, 0, 0, 0]);
        if script.audio {
            out.extend([1 << 4, 0x80 | 20, 0]);
        } else {
            out.extend([5 << 4, RIDS[step.encoding], 0]);
            out.extend([if step.first { 0x90 } else { 0x80 }, 0x80]);
            out.extend((0x8000 | frames as u16).to_be_bytes());
        }
        if !script.audio && step.first && keyframe {
            let (width, height) = SIZES[step.encoding];
            out.extend([0xD0, 0xC3, 0, 0x9D, 1, 0x2A]);
            out.extend(width.to_le_bytes());
            out.extend(height.to_le_bytes());
        } else if !script.audio {
            out.extend([0xB1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        }
        let size = step.payload_bytes.max(START_BYTES + TRAILER_BYTES);
        out.resize(HEADER_BYTES + size - TRAILER_BYTES, 0x5A);
        out.extend(clock::now_ns().to_be_bytes());
        out.extend(packets.to_be_bytes());
        if step.encoding == 0 {
            self.sent.store(packets + 1, Ordering::Relaxed);
        }
        self.sender.protect(ssrc, packets, 0, HEADER_BYTES, out).is_ok() && self.socket.send(out).is_ok()
    }
}

/// `late_us` is how much later than the script said each packet was sent.
#[derive(Default)]
pub struct Sent {
    pub packets: u64,
    pub late_us: Vec<u32>,
}

/// Two to the 64th by the golden ratio: its multiples are as evenly spread as can be, however many there are.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Repeat the script for so long, each publisher at a phase of its own.
pub fn play(publishers: &mut [Publisher], script: &Script, seconds: f64, keyframes: bool) -> Sent {
    let (start, mut sent) = (clock::now_ns(), Sent::default());
    let end = start + (seconds * 1e9) as u64;
    let count = publishers.len() as u64;
    // When the next step of each is due, whose it is, which it is, and when its period began. The phases are
    // evenly spread, in no order, and no multiple of how far apart the steps are: those of two must not coincide.
    let mut due: BinaryHeap<_> = (0..count)
        .map(|number| {
            let share = u128::from(number.wrapping_mul(GOLDEN));
            let phase = ((share * u128::from(script.period_ns)) >> 64) as u64;
            let (index, began) = match script.steps.iter().position(|step| step.at_ns >= phase) {
                Some(index) => (index, start - phase),
                None => (0, start - phase + script.period_ns),
            };
            Reverse((began + script.steps[index].at_ns, number as usize, index, began))
        })
        .collect();
    while let Some(Reverse((at, number, mut index, mut began))) = due.pop() {
        if at >= end {
            break;
        }
        let mut now = clock::now_ns();
        while now < at {
            clock::sleep_ns(at - now);
            now = clock::now_ns();
        }
        sent.late_us.push(((now - at) / 1000).min(u64::from(u32::MAX)) as u32);
        sent.packets += u64::from(publishers[number].send(script, &script.steps[index], keyframes));
        index += 1;
        if index == script.steps.len() {
            (index, began) = (0, began + script.period_ns);
        }
        due.push(Reverse((began + script.steps[index].at_ns, number, index, began)));
    }
    sent
}
