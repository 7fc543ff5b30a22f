//! Subscribers: what they read is checked and timed; they ask for packets again, and report what arrived.

use std::net::UdpSocket;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use pysfu_plane_core::packet::{is_rtcp, parse_packet};
use pysfu_plane_core::rtcp;
use pysfu_plane_core::srtp::{Profile, SrtpReceiver, SrtpSender};
use pysfu_plane_core::twcc::TwccRecorder;
use pysfu_plane_io::Inbound;
use rustix::event::epoll;
use rustix::time::Timespec;

use crate::publisher::{Publisher, TRAILER_BYTES};
use crate::{clock, wrong};

/// Of the subscribers' own RTCP.
const OWN_SSRC: u32 = 7;
const TRANSPORT_CC: u8 = 3;
/// How often missing packets are asked for, and what arrived is reported.
const BEAT_NS: u64 = 50_000_000;
/// Packets younger than this are not asked for: they may still be on their way.
const YOUNG: u64 = 16;
/// Nor any that nobody keeps any more.
const KEPT: u64 = 512;

pub struct Subscriber {
    socket: UdpSocket,
    receiver: SrtpReceiver,
    sender: SrtpSender,
    /// Which publisher it is of.
    source: usize,
    ssrc: u32,
    read: bool,
    /// What is added to a source's number to get the subscriber's; known once a packet was read.
    offset: Option<i64>,
    highest: Option<u16>,
    /// Packets of the source up to here have been considered for asking again.
    asked: u64,
    recorder: TwccRecorder,
}

/// What those who are read have seen together. `missing` is what was skipped and never came.
#[derive(Default)]
pub struct Seen {
    pub packets: u64,
    pub missing: i64,
    pub disordered: u64,
    pub nacked: u64,
    /// Datagrams with RTCP.
    pub feedback: u64,
    pub latencies_us: Vec<u32>,
}

impl Subscriber {
    pub fn new(
        socket: OwnedFd,
        receive: &[u8],
        send: &[u8],
        source: usize,
        ssrc: u32,
        read: bool,
    ) -> std::io::Result<Self> {
        let socket = UdpSocket::from(socket);
        socket.set_nonblocking(true)?;
        let profile = Profile::AeadAes128Gcm;
        Ok(Self {
            socket,
            receiver: SrtpReceiver::new(profile, receive).ok_or(wrong("a key"))?,
            sender: SrtpSender::new(profile, send).ok_or(wrong("a key"))?,
            source,
            ssrc,
            read,
            offset: None,
            highest: None,
            asked: 0,
            recorder: TwccRecorder::default(),
        })
    }

    /// Look at everything that waits in the socket.
    fn drain(&mut self, batch: &mut Inbound, feedback: bool, seen: &mut Seen) {
        while let Ok(count) = batch.receive(self.socket.as_fd()) {
            let (now_ns, now_us) = (clock::now_ns(), clock::now_us());
            for index in 0..count {
                let age_us = batch.age_us(index);
                let arrived_ns = now_ns - 1000 * age_us as u64;
                let mut data = batch.data(index).to_vec();
                if data.len() > 12 && !is_rtcp(&data) && data[0] > 127 {
                    self.take(&mut data, arrived_ns, feedback.then_some(now_us - age_us), seen);
                }
            }
        }
    }

    fn take(&mut self, data: &mut [u8], arrived_ns: u64, reported_us: Option<i64>, seen: &mut Seen) {
        let Ok(rtp) = parse_packet(data) else { return };
        if let Some(arrival_us) = reported_us
            && let Some([high, low]) = rtp.extensions.get(data, TRANSPORT_CC)
        {
            self.recorder.record(u16::from_be_bytes([*high, *low]), arrival_us);
        }
        if rtp.ssrc != self.ssrc {
            return;
        }
        let seq = u16::from_be_bytes([data[2], data[3]]);
        let Ok(size) = self.receiver.unprotect(data, |_| true) else { return };
        let trailer = &data[size - TRAILER_BYTES..size];
        let word = |at: usize| u64::from_be_bytes(std::array::from_fn(|index| trailer[at + index]));
        self.offset = Some(i64::from(seq) - word(8) as i64);
        let step = self.highest.map_or(1, |highest| seq.wrapping_sub(highest) as i16);
        if step > 0 {
            seen.missing += i64::from(step) - 1;
            self.highest = Some(seq);
        } else {
            seen.disordered += 1;
            seen.missing -= 1;
        }
        seen.packets += 1;
        seen.latencies_us.push((arrived_ns.saturating_sub(word(0)) / 1000).min(u64::from(u32::MAX)) as u32);
    }

    /// Ask again for a share of the packets since the last time.
    fn ask(&mut self, sent: u64, nacks: u32, dice: &mut Dice, seen: &mut Seen) {
        let Some(offset) = self.offset else { return };
        let until = sent.saturating_sub(YOUNG);
        let from = self.asked.max(until.saturating_sub(KEPT));
        let lost: Vec<u16> = (from..until)
            .filter(|_| dice.next() % 1_000_000 < nacks)
            .map(|number| (number as i64 + offset) as u16)
            .collect();
        self.asked = until;
        if !lost.is_empty() {
            let ssrc = self.ssrc;
            seen.feedback += u64::from(self.send_rtcp(|out| rtcp::nack(OWN_SSRC, ssrc, &lost, out)));
            seen.nacked += lost.len() as u64;
        }
    }

    fn report(&mut self, seen: &mut Seen) {
        let mut out = Vec::new();
        while self.recorder.build(OWN_SSRC, self.ssrc, clock::now_us(), &mut out) {
            let report = std::mem::take(&mut out);
            seen.feedback += u64::from(self.send_rtcp(|out| out.extend(report)));
        }
    }

    /// False where the socket did not take it.
    fn send_rtcp(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut out = Vec::new();
        write(&mut out);
        self.sender.protect_rtcp(0, &mut out).is_ok() && self.socket.send(&out).is_ok()
    }
}

/// Xorshift: what is asked for again is the same in every run.
struct Dice(u32);

impl Dice {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }
}

/// Take away what is left of the last run, from which whoever is not read learns one packet's number.
pub fn prepare(subscribers: &mut [Subscriber], publishers: &[Publisher]) {
    let mut batch = Inbound::default();
    for subscriber in subscribers {
        subscriber.drain(&mut batch, false, &mut Seen::default());
        subscriber.highest = None;
        subscriber.asked = publishers[subscriber.source].sent.load(Ordering::Relaxed);
    }
}

/// See to the subscribers until told to stop, and then to what has come until then.
pub fn attend(
    subscribers: &mut [Subscriber],
    sources: &[Arc<AtomicU64>],
    nacks: u32,
    feedback: bool,
    stopping: &AtomicBool,
) -> Seen {
    clock::wake_in_time();
    let (mut seen, mut batch, mut dice) = (Seen::default(), Inbound::default(), Dice(1));
    let Ok(poll) = epoll::create(epoll::CreateFlags::CLOEXEC) else { return seen };
    for (number, subscriber) in subscribers.iter().enumerate().filter(|(_, subscriber)| subscriber.read) {
        let data = epoll::EventData::new_u64(number as u64);
        let _ = epoll::add(&poll, &subscriber.socket, data, epoll::EventFlags::IN);
    }
    let mut events = Vec::with_capacity(256);
    let mut beat_ns = clock::now_ns() + BEAT_NS;
    while !stopping.load(Ordering::SeqCst) {
        events.clear();
        let timeout = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
        let _ = epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), Some(&timeout));
        for event in &events {
            let number = event.data.u64() as usize;
            subscribers[number].drain(&mut batch, feedback, &mut seen);
        }
        if clock::now_ns() >= beat_ns {
            beat_ns += BEAT_NS;
            for subscriber in subscribers.iter_mut() {
                if nacks != 0 {
                    let sent = sources[subscriber.source].load(Ordering::Relaxed);
                    subscriber.ask(sent, nacks, &mut dice, &mut seen);
                }
                if feedback && subscriber.read {
                    subscriber.report(&mut seen);
                }
            }
        }
    }
    clock::sleep_ns(BEAT_NS);
    for subscriber in subscribers.iter_mut().filter(|subscriber| subscriber.read) {
        subscriber.drain(&mut batch, feedback, &mut seen);
    }
    seen
}
