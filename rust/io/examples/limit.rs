//! What the machine allows: receive a batch, unprotect each packet once, then for every subscriber copy it,
//! rewrite its header, protect it with AES-128-GCM under a key of its own, and send it, by the plane's own calls
//! of the system (batches, runs that the kernel cuts). Nothing else is done.
//!
//! `limit KEY ENCODINGS PORT...` receives what is protected by the key (28 bytes in hex) and sends to these ports
//! on loopback, in turns one of the encodings to each, which have the SSRCs from 1 on. It says its own port first,
//! and for each line on its input the time of its thread and its counts.

use std::io::{Write, stdin, stdout};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use pysfu_plane_core::hub::{Counters, Outbox};
use pysfu_plane_core::srtp::{Profile, SrtpReceiver, SrtpSender};
use pysfu_plane_io::{Gather, Inbound, Routes, Socket, schedule};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::{ClockId, clock_gettime};

const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
/// Packets made before they are sent, as in the plane.
const MADE: usize = 5120;

/// The size of an RTP header with its extension, of a packet without CSRCs.
fn header_bytes(packet: &[u8]) -> usize {
    let extension = if packet[0] & 0x10 == 0 { 0 } else { 4 + 4 * usize::from(packet[15]) };
    12 + extension
}

struct Limit {
    /// The packet in hand.
    clear: Vec<u8>,
    receiver: SrtpReceiver,
    encodings: u32,
    senders: Vec<SrtpSender>,
    routes: Routes,
    out: Outbox,
    counters: Counters,
}

impl Limit {
    fn forward(&mut self, packet: &[u8]) {
        self.clear.clear();
        self.clear.extend_from_slice(packet);
        let clear = &mut self.clear;
        let Ok(size) = self.receiver.unprotect(clear, |_| true) else { return };
        let header_bytes = header_bytes(clear);
        let number = self.counters.received;
        self.counters.received += 1;
        let encoding = clear[8..12].try_into().map_or(0, u32::from_be_bytes).wrapping_sub(1);
        for (subscriber, sender) in (0..).zip(&self.senders) {
            if subscriber as u32 % self.encodings != encoding {
                continue;
            }
            let start = self.out.bytes.len();
            self.out.bytes.extend_from_slice(&clear[..size]);
            let header = &mut self.out.bytes[start..start + header_bytes];
            header[2..4].copy_from_slice(&(number as u16).to_be_bytes());
            header[4..8].copy_from_slice(&(number as u32).to_be_bytes());
            header[8..12].copy_from_slice(&(subscriber as u32).to_be_bytes());
            header[18..20].copy_from_slice(&(number as u16).to_be_bytes());
            if sender.protect(subscriber as u32, number, start, header_bytes, &mut self.out.bytes).is_ok() {
                self.out.push(subscriber, start);
                self.counters.forwarded += 1;
            }
        }
        if self.out.envelopes.len() >= MADE {
            self.send();
        }
    }

    fn send(&mut self) {
        self.routes.send(&mut self.out, &mut self.counters, &[]);
    }

    fn report(&self) -> std::io::Result<()> {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        let cpu_us = time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3;
        let Counters { received, forwarded, dropped } = &self.counters;
        let lost: u64 = dropped.values().sum();
        let mut out = stdout();
        writeln!(
            out,
            r#"{{"cpu_us": {cpu_us}, "received": {received}, "forwarded": {forwarded}, "dropped": {{"any": {lost}}}}}"#
        )?;
        out.flush()
    }
}

fn wrong(what: &'static str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidInput, what)
}

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let hex = arguments.next().filter(|hex| hex.len() == 56 && hex.is_ascii()).ok_or(wrong("the key"))?;
    let key: Result<Vec<u8>, _> = (0..28).map(|at| u8::from_str_radix(&hex[2 * at..][..2], 16)).collect();
    let key = key.map_err(|_| wrong("the key"))?;
    let encodings = arguments.next().and_then(|count| count.parse().ok()).filter(|count| *count > 0);
    let encodings = encodings.ok_or(wrong("how many encodings"))?;
    let own = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    rustix::net::sockopt::set_socket_recv_buffer_size(&own, RECEIVE_BUFFER_BYTES)?;
    rustix::net::sockopt::set_socket_send_buffer_size(&own, RECEIVE_BUFFER_BYTES)?;
    let socket = Arc::new(Socket::from(OwnedFd::from(own.try_clone()?)));
    let (mut routes, mut senders) = (Routes::default(), Vec::new());
    for (number, port) in (0..).zip(arguments) {
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().map_err(|_| wrong("a port"))?));
        routes.set(number, socket.clone(), 0, to, Arc::default());
        let key: Vec<u8> = (0..28).map(|index| (number as u8).wrapping_mul(31).wrapping_add(index)).collect();
        senders.extend(SrtpSender::new(Profile::AeadAes128Gcm, &key));
    }
    let receiver = SrtpReceiver::new(Profile::AeadAes128Gcm, &key).ok_or(wrong("the key"))?;
    let (out, counters) = (Outbox::default(), Counters::default());
    let mut limit = Limit { clear: Vec::new(), receiver, encodings, senders, routes, out, counters };
    // As the plane's threads are, and gathering as they do: being woken for each packet of a burst costs as much.
    schedule(true);
    println!("{}", own.local_addr()?.port());
    let (mut batch, mut gather, mut line) = (Inbound::default(), Gather::default(), String::new());
    loop {
        let (own, input) = (own.as_fd(), stdin());
        let mut polled = [PollFd::from_borrowed_fd(own, PollFlags::IN), PollFd::new(&input, PollFlags::IN)];
        poll(&mut polled, None)?;
        if !polled[0].revents().is_empty() {
            gather.rest();
            let count = batch.receive(own)?;
            for index in 0..count {
                limit.forward(batch.data(index));
            }
            limit.send();
        }
        if !polled[1].revents().is_empty() {
            line.clear();
            if input.read_line(&mut line)? == 0 {
                return Ok(());
            }
            limit.report()?;
        }
    }
}
