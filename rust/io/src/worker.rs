//! A worker: one thread that receives on its own sockets, forwards, and keeps its lane's time.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use pysfu_plane_core::stun::{is_answer, names};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;

use crate::gather::Gather;
use crate::lane::{Lane, NEVER_US, What};
use crate::mmsg::{BATCH, Inbound, now_us};
use crate::priority::ThreadPriority;
use crate::shared::{Desk, EARLY, Link, OPEN, Shared};
use crate::upward::Datagram;

/// Batches taken from one socket in a row; then the clock and the other sockets get their turn.
const ROUNDS: usize = 4;

/// Addresses remembered that have answered a check of ours of late.
const ANSWERING: usize = 32;

/// Addresses that the owner is about to learn: their handshakes come before it has told whose they are.
#[derive(Default)]
struct Answering {
    addresses: [Option<SocketAddr>; ANSWERING],
    next: usize,
}

impl Answering {
    fn note(&mut self, from: SocketAddr) {
        if !self.has(from) {
            self.addresses[self.next] = Some(from);
            self.next = (self.next + 1) % ANSWERING;
        }
    }

    fn has(&self, from: SocketAddr) -> bool {
        self.addresses.contains(&Some(from))
    }
}

pub struct Worker {
    shared: Arc<Shared>,
    number: usize,
    batch: Inbound,
    /// To a check.
    answer: Vec<u8>,
    answering: Answering,
    priority: ThreadPriority,
    gather: Gather,
    /// Of each lane the datagrams of this batch: place in the batch and whose it is.
    sorted: Vec<Vec<(usize, Arc<Link>)>>,
}

impl Worker {
    pub fn new(shared: Arc<Shared>, number: usize) -> Self {
        let sorted = shared.lanes.iter().map(|_| Vec::new()).collect();
        let priority = ThreadPriority::of_thread(now_us());
        Self {
            shared,
            number,
            batch: Inbound::default(),
            answer: Vec::new(),
            answering: Answering::default(),
            priority,
            gather: Gather::default(),
            sorted,
        }
    }

    /// Until the engine stops.
    pub fn run(mut self) {
        let shared = self.shared.clone();
        let desk = &shared.desks[self.number];
        let lane = &shared.lanes[self.number];
        let descriptors = desk.sockets.iter().map(|socket| &socket.descriptor).chain([&desk.wake.descriptor]);
        let mut polled: Vec<PollFd> =
            descriptors.map(|descriptor| PollFd::new(descriptor, PollFlags::IN)).collect();
        while !shared.stopping.load(Ordering::SeqCst) {
            // What can be laid at a room's door is caught where it happens. Whatever else goes wrong must not end
            // the thread, which others depend on.
            if catch_unwind(AssertUnwindSafe(|| self.round(desk, lane, &mut polled))).is_err() {
                shared.count("worker-fault");
                self.sorted.iter_mut().for_each(Vec::clear);
            }
        }
    }

    /// Wait for something to do, and do it.
    fn round(&mut self, desk: &Desk, lane: &Lane, polled: &mut [PollFd]) {
        let shared = self.shared.clone();
        let until_us = lane.due_us.load(Ordering::SeqCst);
        desk.wake.until_us.store(until_us, Ordering::SeqCst);
        // What became due between the two has to be seen: who set it may not have seen until when we wait.
        let until_us = until_us.min(lane.due_us.load(Ordering::SeqCst));
        if poll(polled, timeout(until_us).as_ref()).is_err() {
            // Any error is an interruption: what is ready is asked for again.
            polled.iter_mut().for_each(PollFd::clear_revents);
        }
        let (sockets, wake) = polled.split_at(desk.sockets.len());
        if sockets.iter().any(is_ready) {
            self.gather.rest();
        }
        self.priority.judge(now_us());
        desk.wake.until_us.store(0, Ordering::SeqCst);
        if wake.iter().any(is_ready) {
            desk.wake.take();
        }
        for (place, polled) in sockets.iter().enumerate() {
            if is_ready(polled) {
                self.drain(place);
            }
        }
        // Its own first; others' where their threads have not come to it yet.
        let (before, from) = shared.lanes.split_at(self.number);
        from.iter().chain(before).for_each(|lane| lane.serve(&shared, self.number));
        let now_us = now_us();
        if now_us >= lane.due_us.load(Ordering::SeqCst) {
            let mut turn = lane.turn(&shared, self.number);
            turn.keep_time(now_us);
            turn.end();
            lane.serve(&shared, self.number);
        }
    }

    fn drain(&mut self, place: usize) {
        let shared = self.shared.clone();
        let socket = &shared.desks[self.number].sockets[place];
        for _ in 0..ROUNDS {
            match self.batch.receive(socket.descriptor.as_fd()) {
                Ok(count) => {
                    self.take(place, count);
                    self.priority.judge(now_us());
                    if count < BATCH {
                        return;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                // An ICMP error of an earlier send surfaces here; the socket itself is fine.
                Err(_) => self.shared.count("receive-error"),
            }
        }
    }

    /// A batch is in: media to the lanes, everything else up.
    fn take(&mut self, place: usize, count: usize) {
        let read_us = now_us();
        self.sort(place, count, read_us);
        let shared = self.shared.clone();
        for (number, some) in self.sorted.iter_mut().enumerate().filter(|(_, some)| !some.is_empty()) {
            let lane = &shared.lanes[number];
            if let Some(mut turn) = lane.try_turn(&shared, self.number) {
                turn.take_waiting();
                // That may have taken a while.
                let now_us = now_us();
                for (index, link) in some.iter() {
                    let arrival_us = read_us - self.batch.age_us(*index);
                    turn.receive(link.key, self.batch.data(*index), now_us, arrival_us);
                }
                turn.end();
            } else {
                for (index, link) in some.iter() {
                    let arrival_us = read_us - self.batch.age_us(*index);
                    if !lane.put(What::Datagram(link.key), self.batch.data(*index), arrival_us) {
                        shared.count("lane-queue-full");
                    }
                }
            }
            some.clear();
            lane.serve(&shared, self.number);
        }
    }

    /// Tell what each datagram is, by its first byte and who has proven its address. Spec: RFC 7983 section 7.
    fn sort(&mut self, place: usize, count: usize, now_us: i64) {
        let directory = self.shared.directory.read();
        for index in 0..count {
            let data = self.batch.data(index);
            // Nothing could be sent back to port 0.
            let Some(from) = self.batch.address(index).filter(|from| from.port() != 0) else {
                self.shared.count("no-source-port");
                continue;
            };
            let link = directory.by_address.get(&from);
            let upward = match data.first().copied().unwrap_or(255) {
                128..192 => match link {
                    Some(link) => match link.phase.load(Ordering::Acquire) {
                        OPEN => {
                            link.received_bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
                            if !link.room.faulty.load(Ordering::Relaxed) {
                                self.sorted[link.lane].push((index, link.clone()));
                            }
                            continue;
                        }
                        phase => phase == EARLY,
                    },
                    None => false,
                },
                0..4 => {
                    let consent = link.and_then(|link| Some((link, link.consent(from, now_us)?)));
                    if let Some((link, consent)) = consent
                        && consent.answer(data, from, &mut self.answer)
                    {
                        link.checked_us.store(now_us, Ordering::Relaxed);
                        self.shared.desks[self.number].answer(place, from, &self.answer);
                        continue;
                    }
                    if !names(data, |ufrag| directory.ufrags.contains(ufrag)) {
                        self.shared.count("stun-unknown-ufrag");
                        continue;
                    }
                    if is_answer(data) {
                        self.answering.note(from);
                    }
                    true
                }
                20..64 => link.is_some() || self.answering.has(from),
                _ => {
                    self.shared.count("unknown-datagram");
                    continue;
                }
            };
            if !upward {
                self.shared.count("unknown-address");
                continue;
            }
            let (data, age_us) = (data.to_vec(), self.batch.age_us(index));
            if !self.shared.upward.datagram(Datagram { place, from, data, read_us: now_us, age_us }) {
                self.shared.count("upward-queue-full");
            }
        }
    }
}

fn is_ready(polled: &PollFd) -> bool {
    !polled.revents().is_empty()
}

/// How long to wait, None where nothing is due.
fn timeout(until_us: i64) -> Option<Timespec> {
    if until_us == NEVER_US {
        return None;
    }
    let left_us = (until_us - now_us()).max(0);
    Some(Timespec { tv_sec: left_us / 1_000_000, tv_nsec: (left_us % 1_000_000 * 1000) as _ })
}
