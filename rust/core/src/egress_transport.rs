//! What all that is sent to one subscriber has in common: numbering, protecting, sending.

use std::collections::VecDeque;

use indexmap::IndexMap;
use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::error::ParseError;
use crate::extensions::{Carried, ExtensionLayout};
use crate::hub::Hub;
use crate::pacer::{Pacer, Priority};
use crate::packet::FIXED_BYTES;
use crate::parameters::{Probe, SrtpKeys, TransportKey};
use crate::srtp::SrtpSender;
use crate::twcc::SentHistory;

const SSRCS_KEPT: usize = 1024;
const MIDS_KEPT: usize = 1024;
/// What pacing and feedback count for protection, whatever the profile.
const TAG_BYTES: usize = 16;
/// Sequence numbers: a jitter buffer's length and more.
const NEAR: i64 = 1024;
/// Of the estimate, for retransmissions: enough for every fifth packet lost. Where more is lost the path is
/// overrun, and sending what it dropped again and again would keep it so.
const RESEND_SHARE: f64 = 0.3;
const RESEND_BURST_US: f64 = 500_000.0;
/// Without an estimate the same share of what was sent, and 100 kbit/s in any case. At once this much: the first
/// keyframe, before which nothing was sent, may have lost all its packets.
const RESEND_BURST_BYTES: f64 = 64_000.0;
const RESEND_BYTES_PER_US: f64 = 0.0125;
/// The pace until policy sets one: nothing waits.
const UNLIMITED_BPS: i64 = 1_000_000_000;
const PADDING: u8 = 0x20;

/// A packet being made at the end of the outbox: header and payload are there, number and protection not.
#[derive(Clone, Copy, Debug)]
pub struct Draft {
    ssrc: u32,
    ext_seq: i64,
    start: usize,
    header: usize,
    number_at: Option<usize>,
}

/// What stands in the header of a packet for one subscriber; `second` is its marker and payload type.
pub struct Header<'a> {
    pub ssrc: u32,
    pub second: u8,
    pub ext_seq: i64,
    pub timestamp: u32,
    pub csrcs: &'a [u8],
    pub layout: &'a ExtensionLayout,
    pub carried: &'a Carried,
    pub frame_number: Option<u16>,
}

impl Header<'_> {
    /// Write it to the end of the outbox. The payload follows.
    pub fn begin(&self, now_us: i64, hub: &mut Hub) -> Draft {
        let out = &mut hub.out.bytes;
        let start = out.len();
        out.extend([0x80 | (self.csrcs.len() / 4) as u8, self.second]);
        out.extend((self.ext_seq as u16).to_be_bytes());
        out.extend(self.timestamp.to_be_bytes());
        out.extend(self.ssrc.to_be_bytes());
        out.extend_from_slice(self.csrcs);
        let written = self.layout.write(self.carried, self.frame_number, now_us, out);
        if written.present {
            out[start] |= 0x10;
        }
        Draft {
            ssrc: self.ssrc,
            ext_seq: self.ext_seq,
            start,
            header: out.len() - start,
            number_at: written.number_at.map(|at| at - start),
        }
    }
}

impl Draft {
    /// Bytes of the extension block.
    pub fn block_bytes(&self, csrcs: &[u8]) -> usize {
        self.header - FIXED_BYTES - csrcs.len()
    }
}

/// A packet that waits for its time.
#[derive(Debug)]
struct Queued {
    draft: Draft,
    bytes: Vec<u8>,
}

/// One subscriber's transport, without keys until `open`.
///
/// Packets with transport-wide numbers are paced: they get the number, and are protected, when they leave.
pub struct EgressTransport {
    pub key: TransportKey,
    pub sender: Option<SrtpSender>,
    pub history: SentHistory,
    /// Next unwrapped number of SSRCs that ended: under the same key none may be used twice.
    continuations: FxHashMap<u32, i64>,
    ended_order: VecDeque<u32>,
    /// Next sequence number of the last SSRC of each MID.
    ended: IndexMap<String, i64, FxBuildHasher>,
    pacer: Pacer<Queued>,
    /// Whether it is among those that wait.
    pub waits: bool,
    /// Of packets with transport-wide numbers.
    pub sent_bytes: i64,
    /// 0 until there is an estimate.
    resend_us_per_byte: f64,
    resend_free_us: f64,
    resend_bytes: f64,
    earned_us: i64,
}

impl EgressTransport {
    pub fn new(key: TransportKey) -> Self {
        Self {
            key,
            sender: None,
            history: SentHistory::default(),
            continuations: FxHashMap::default(),
            ended_order: VecDeque::new(),
            ended: IndexMap::default(),
            pacer: Pacer::new(UNLIMITED_BPS),
            waits: false,
            sent_bytes: 0,
            resend_us_per_byte: 0.0,
            resend_free_us: 0.0,
            resend_bytes: RESEND_BURST_BYTES,
            earned_us: 0,
        }
    }

    /// Begin to protect.
    pub fn open(&mut self, keys: &SrtpKeys) {
        self.sender = SrtpSender::new(keys.profile, &keys.send);
        self.continuations.clear();
        self.ended_order.clear();
        self.pacer.clear();
    }

    /// The first sequence number of a new SSRC, from one drawn below 2^15.
    ///
    /// Below 2^15 a receiver that misses the first packets still guesses the rollover counter right. Far from
    /// where the MID's last SSRC ended, a receiver with one jitter buffer for each m-line takes it for a
    /// restart: close to there it would wait for the packets between.
    pub fn first_seq(&self, mid: &str, drawn: i64) -> i64 {
        match self.ended.get(mid) {
            Some(ended) if (drawn - ended + NEAR) & 0xFFFF < 2 * NEAR => drawn ^ 0x4000,
            _ => drawn,
        }
    }

    /// The SSRC of an m-line ended; remember where it would go on.
    pub fn end(&mut self, ssrc: u32, mid: &str, next_seq: i64) {
        self.ended.insert(mid.to_owned(), next_seq);
        if self.ended.len() > MIDS_KEPT {
            self.ended.shift_remove_index(0);
        }
        self.continue_at(ssrc, next_seq);
    }

    /// Where an SSRC goes on if it comes back.
    pub fn continue_at(&mut self, ssrc: u32, next_seq: i64) {
        if self.continuations.insert(ssrc, next_seq).is_none() {
            self.ended_order.push_back(ssrc);
        }
        if self.continuations.len() > SSRCS_KEPT
            && let Some(oldest) = self.ended_order.pop_front()
        {
            self.continuations.remove(&oldest);
        }
    }

    /// Where an SSRC goes on that comes back now.
    pub fn take_continuation(&mut self, ssrc: u32) -> Option<i64> {
        let next_seq = self.continuations.remove(&ssrc)?;
        self.ended_order.retain(|other| *other != ssrc);
        Some(next_seq)
    }

    /// Number, protect and send a packet that is complete, now or when the pacer lets it.
    pub fn transmit(&mut self, draft: Draft, priority: Priority, now_us: i64, hub: &mut Hub) {
        if draft.number_at.is_some() {
            let size = hub.out.bytes.len() - draft.start + TAG_BYTES;
            if !self.pacer.passes(now_us, size, priority) {
                if self.pacer.is_full() {
                    return self.discard(draft, hub);
                }
                let bytes = hub.take_back(draft.start);
                self.pacer.queue(Queued { draft, bytes }, size, priority);
                return self.wait(hub);
            }
        }
        self.emit(draft, now_us, hub);
    }

    /// Add padding of `size` bytes (1 to 255) to a packet without payload, and send it for a probe.
    pub fn pad(&mut self, draft: Draft, size: u8, now_us: i64, hub: &mut Hub) {
        let out = &mut hub.out.bytes;
        out[draft.start] |= PADDING;
        out.resize(out.len() + usize::from(size) - 1, 0);
        out.push(size);
        let total = out.len() - draft.start + TAG_BYTES;
        self.pacer.padded(total);
        self.emit(draft, now_us, hub);
    }

    /// Follow the estimator: the pace, and what may be spent on retransmissions.
    pub fn set_estimate(&mut self, estimate_bps: i64) {
        self.pacer.set_estimate(estimate_bps);
        self.resend_us_per_byte = 8_000_000.0 / (RESEND_SHARE * estimate_bps as f64);
    }

    /// So much media was sent since this was called last: a share of it may be sent again.
    pub fn earn(&mut self, sent_bytes: i64, now_us: i64) {
        let earned =
            RESEND_SHARE * sent_bytes as f64 + RESEND_BYTES_PER_US * (now_us - self.earned_us) as f64;
        self.resend_bytes = (self.resend_bytes + earned).min(RESEND_BURST_BYTES);
        self.earned_us = now_us;
    }

    /// Whether a retransmission is within its share: then it is spent, else counted.
    pub fn may_resend(&mut self, size: usize, now_us: i64, hub: &mut Hub) -> bool {
        if self.resend_us_per_byte == 0.0 {
            if self.resend_bytes < size as f64 {
                hub.counters.drop("rtx-share");
                return false;
            }
            self.resend_bytes -= size as f64;
            return true;
        }
        let free_us = self.resend_free_us.max(now_us as f64);
        if free_us - now_us as f64 > RESEND_BURST_US {
            hub.counters.drop("rtx-share");
            return false;
        }
        self.resend_free_us = free_us + size as f64 * self.resend_us_per_byte;
        true
    }

    /// Unmake a packet that is not to be sent.
    pub fn discard(&mut self, draft: Draft, hub: &mut Hub) {
        hub.out.bytes.truncate(draft.start);
    }

    /// Begin a cluster; `pump` and `pad` send it.
    pub fn start_probe(&mut self, now_us: i64, probe: Probe, hub: &mut Hub) {
        self.pacer.start_probe(now_us, probe);
        self.wait(hub);
    }

    /// The pacer has something to do later.
    fn wait(&mut self, hub: &mut Hub) {
        if !self.waits {
            self.waits = true;
            hub.waiting.push(self.key);
        }
    }

    pub fn end_probe(&mut self) {
        self.pacer.end_probe();
    }

    /// Size of the padding that a probe wants now.
    pub fn padding_bytes(&mut self, now_us: i64) -> Option<u8> {
        self.pacer.padding_bytes(now_us)
    }

    /// When to pump again, None while nothing waits.
    pub fn next_us(&self) -> Option<i64> {
        self.pacer.next_us()
    }

    /// Send what the pacer held back and whose time has come.
    pub fn pump(&mut self, now_us: i64, hub: &mut Hub) {
        self.pacer.begin_due();
        while let Some(Queued { mut draft, bytes }) = self.pacer.next_due(now_us) {
            draft.start = hub.out.bytes.len();
            hub.put_back(bytes);
            self.emit(draft, now_us, hub);
        }
        self.pacer.end_due();
    }

    fn emit(&mut self, draft: Draft, now_us: i64, hub: &mut Hub) {
        let out = &mut hub.out;
        if let Some(at) = draft.number_at {
            let size = out.bytes.len() - draft.start + TAG_BYTES;
            let number = self.history.sent(now_us, size, self.pacer.cluster_id());
            self.sent_bytes += size as i64;
            let at = draft.start + at;
            out.bytes[at..at + 2].copy_from_slice(&number.to_be_bytes());
        }
        let protected = match &self.sender {
            Some(sender) => {
                sender.protect(draft.ssrc, draft.ext_seq as u64, draft.start, draft.header, &mut out.bytes)
            }
            None => Err(ParseError("srtp-protect")),
        };
        match protected {
            Ok(()) => {
                out.push(self.key, draft.start);
                hub.counters.forwarded += 1;
            }
            Err(ParseError(reason)) => {
                out.bytes.truncate(draft.start);
                hub.counters.drop(reason);
            }
        }
    }

    /// Protect and send one RTCP compound that `write` appends.
    pub fn send_rtcp(&mut self, hub: &mut Hub, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(sender) = &mut self.sender else { return };
        let start = hub.out.bytes.len();
        write(&mut hub.out.bytes);
        match sender.protect_rtcp(start, &mut hub.out.bytes) {
            Ok(()) => hub.out.push(self.key, start),
            Err(ParseError(reason)) => {
                hub.out.bytes.truncate(start);
                hub.counters.drop(reason);
            }
        }
    }
}
