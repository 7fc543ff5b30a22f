//! What the machine allows: unprotect each packet once, then for every subscriber copy it, rewrite its header,
//! protect it with AES-128-GCM under a key of its own, and send it. Nothing else is done.
//!
//! `limit SUBSCRIBERS PAYLOAD_BYTES PACKETS ROUNDS` prints the microseconds of CPU time for each packet sent,
//! one line for each round.

use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use pysfu_plane_core::hub::{Counters, Outbox};
use pysfu_plane_core::srtp::{Profile, SrtpReceiver, SrtpSender};
use pysfu_plane_io::{Routes, Socket};
use rustix::time::{ClockId, clock_gettime};

/// With the extensions that a subscriber gets: transport-wide number, send time, MID.
const HEADER_BYTES: usize = 28;

fn cpu_us() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

fn key(number: u8) -> Vec<u8> {
    (0..28).map(|index| number.wrapping_mul(31).wrapping_add(index)).collect()
}

/// A publisher's protected packets.
fn packets(first: u64, count: u64, payload_bytes: usize) -> Vec<Vec<u8>> {
    let Some(sender) = SrtpSender::new(Profile::AeadAes128Gcm, &key(0)) else { return Vec::new() };
    let packet = |number: u64| {
        let mut packet = vec![0; HEADER_BYTES + payload_bytes];
        packet[..4].copy_from_slice(&[0x90, 96, (number >> 8) as u8, number as u8]);
        packet[8..16].copy_from_slice(&[0, 0, 0, 1, 0xBE, 0xDE, 0, 3]);
        sender.protect(1, number, 0, HEADER_BYTES, &mut packet).ok()?;
        Some(packet)
    };
    (first..first + count).filter_map(packet).collect()
}

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse().unwrap_or(1));
    let mut next = || arguments.next().unwrap_or(1u64);
    let (subscribers, payload_bytes, count, rounds) = (next(), next() as usize, next(), next());
    let sink = UdpSocket::bind("127.0.0.1:0")?;
    let socket = Arc::new(Socket::from(OwnedFd::from(UdpSocket::bind("127.0.0.1:0")?)));
    let mut routes = Routes::default();
    let mut senders = Vec::new();
    for number in 0..subscribers {
        routes.set(number, socket.clone(), 0, sink.local_addr()?, Arc::default());
        senders.extend(SrtpSender::new(Profile::AeadAes128Gcm, &key(number as u8 + 1)));
    }
    let Some(mut receiver) = SrtpReceiver::new(Profile::AeadAes128Gcm, &key(0)) else { return Ok(()) };
    let (mut out, mut counters, mut inbound) = (Outbox::default(), Counters::default(), Vec::new());
    for round in 0..rounds {
        let first = round * count;
        let batch = packets(first, count, payload_bytes);
        let started_us = cpu_us();
        for (number, packet) in (first..).zip(&batch) {
            inbound.clear();
            inbound.extend_from_slice(packet);
            let Ok(size) = receiver.unprotect(&mut inbound, |_| true) else { continue };
            for (subscriber, sender) in (0..).zip(&senders) {
                let start = out.bytes.len();
                out.bytes.extend_from_slice(&inbound[..size]);
                let header = &mut out.bytes[start..start + HEADER_BYTES];
                header[2..4].copy_from_slice(&(number as u16).to_be_bytes());
                header[4..8].copy_from_slice(&(number as u32).to_be_bytes());
                header[8..12].copy_from_slice(&(subscriber as u32).to_be_bytes());
                header[18..20].copy_from_slice(&(number as u16).to_be_bytes());
                if sender.protect(subscriber as u32, number, start, HEADER_BYTES, &mut out.bytes).is_ok() {
                    out.push(subscriber, start);
                }
            }
            routes.send(&mut out, &mut counters, &[]);
            out.clear();
        }
        println!("{:.4}", (cpu_us() - started_us) / (batch.len() as f64 * subscribers as f64));
    }
    Ok(())
}
