//! The body of a transport-wide congestion control feedback packet.
//!
//! Spec: draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1.

use crate::error::{ParseError, Parsed, u16_at, u32_at};

/// One tick of a receive delta.
pub const DELTA_US: i64 = 250;
/// One tick of the reference time.
pub const REFERENCE_US: i64 = 64_000;
/// The reference time has 24 bits: arrival times start anew after this long (12.4 days).
pub const REFERENCE_SPAN_US: i64 = REFERENCE_US << 24;
pub const MAX_DELTA_TICKS: i64 = 0x7FFF;
pub const MIN_DELTA_TICKS: i64 = -0x8000;
/// Most packets that are read from all reports of one datagram, of each report the newest: two bytes can claim 8191
/// lost ones, so a short datagram could otherwise make half a million of them. A receiver reports some hundreds,
/// after an outage more, and of those nobody remembers when they were sent.
pub const MAX_STATUSES: usize = 4096;

const LOST: u8 = 0;
const SMALL: u8 = 1;
const LARGE: u8 = 2;
const FIXED_BYTES: usize = 16;
const RUN_LIMIT: usize = 0x1FFF;

/// When the packets of a run of transport-wide sequence numbers arrived.
///
/// `arrivals` has one entry for `base_seq` and each number after it (modulo 2^16), None where the packet had
/// not arrived. Arrival times are on the receiver's own clock, in steps of 250 us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportWideFeedback {
    pub sender_ssrc: u32,
    pub media_ssrc: u32,
    pub base_seq: u16,
    pub feedback_count: u8,
    pub reference_time_us: i64,
    pub arrivals: Vec<Option<i64>>,
}

/// A report as it came, checked; the arrivals are read where they lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceivedFeedback<'a> {
    pub sender_ssrc: u32,
    pub media_ssrc: u32,
    pub base_seq: u16,
    pub feedback_count: u8,
    pub reference_time_us: i64,
    pub count: usize,
    arrivals: Arrivals<'a>,
}

impl<'a> ReceivedFeedback<'a> {
    /// As in `TransportWideFeedback`: one for `base_seq` and each number after it.
    pub fn arrivals(&self) -> Arrivals<'a> {
        self.arrivals
    }
}

/// Parse what follows the four-byte RTCP header, without padding; of more than `most` packets the newest are read.
pub fn parse_feedback(body: &[u8], most: usize) -> Parsed<ReceivedFeedback<'_>> {
    if body.len() < FIXED_BYTES {
        return Err(ParseError("rtcp-twcc-truncated"));
    }
    let count = usize::from(u16_at(body, 10));
    if count == 0 || most == 0 {
        return Err(ParseError("rtcp-twcc-count"));
    }
    let (chunks, deltas) = check_chunks(&body[FIXED_BYTES..], count)?;
    let tail = u32_at(body, 12);
    let reference_time_us = i64::from(tail >> 8) * REFERENCE_US;
    let mut arrivals =
        Arrivals { chunks, deltas, left: count, chunk: Chunk(0), in_chunk: 0, at_us: reference_time_us };
    let passed = count.saturating_sub(most);
    arrivals.pass(passed);
    Ok(ReceivedFeedback {
        sender_ssrc: u32_at(body, 0),
        media_ssrc: u32_at(body, 4),
        base_seq: u16_at(body, 8).wrapping_add(passed as u16),
        feedback_count: tail as u8,
        reference_time_us,
        count: count - passed,
        arrivals,
    })
}

/// Append the body of `feedback`, not padded to 32 bits. Arrival times are rounded down to 250 us.
///
/// The caller has seen to it that no two arrivals are further apart than a delta can say.
pub fn serialize_feedback(feedback: &TransportWideFeedback, out: &mut Vec<u8>) {
    let mut symbols = Vec::with_capacity(feedback.arrivals.len());
    let mut deltas = Vec::new();
    let mut last_ticks = 0;
    for arrival in &feedback.arrivals {
        let Some(arrival_us) = arrival else {
            symbols.push(LOST);
            continue;
        };
        let ticks = (arrival_us - feedback.reference_time_us).div_euclid(DELTA_US);
        let delta = ticks - last_ticks;
        last_ticks = ticks;
        if (0..=0xFF).contains(&delta) {
            symbols.push(SMALL);
            deltas.push(delta as u8);
        } else {
            symbols.push(LARGE);
            deltas.extend((delta.clamp(MIN_DELTA_TICKS, MAX_DELTA_TICKS) as i16).to_be_bytes());
        }
    }
    let reference = feedback.reference_time_us.div_euclid(REFERENCE_US) as u32;
    out.extend(feedback.sender_ssrc.to_be_bytes());
    out.extend(feedback.media_ssrc.to_be_bytes());
    out.extend(feedback.base_seq.to_be_bytes());
    out.extend((feedback.arrivals.len() as u16).to_be_bytes());
    out.extend((reference << 8 | u32::from(feedback.feedback_count)).to_be_bytes());
    pack_chunks(&symbols, out);
    out.extend(deltas);
}

/// Two bytes that tell the status of some packets: a run of one, or a vector of one or two bits for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Chunk(u16);

impl Chunk {
    fn is_run(self) -> bool {
        self.0 & 0x8000 == 0
    }

    fn symbols(self) -> usize {
        match self.0 & 0xC000 {
            0x8000 => 14,
            0xC000 => 7,
            _ => usize::from(self.0) & RUN_LIMIT,
        }
    }

    /// The symbol after which `following` come in this chunk.
    fn symbol(self, following: usize) -> u8 {
        match self.0 & 0xC000 {
            0x8000 => (self.0 >> following & 1) as u8,
            0xC000 => (self.0 >> (2 * following) & 3) as u8,
            _ => (self.0 >> 13 & 3) as u8,
        }
    }
}

/// The chunks of `count` packets and the deltas after them, both whole.
fn check_chunks(data: &[u8], count: usize) -> Parsed<(&[u8], &[u8])> {
    let (mut offset, mut left, mut delta_bytes, mut known) = (0, count, 0, true);
    while left > 0 {
        if offset + 2 > data.len() {
            return Err(ParseError("rtcp-twcc-chunks"));
        }
        let chunk = Chunk(u16_at(data, offset));
        offset += 2;
        let taken = chunk.symbols().min(left);
        left -= taken;
        let mut count = |symbol: u8, times: usize| {
            known = known && (symbol <= LARGE || times == 0);
            delta_bytes += usize::from(symbol) * times;
        };
        if chunk.is_run() {
            count(chunk.symbol(0), taken);
        } else {
            (0..taken).for_each(|place| count(chunk.symbol(chunk.symbols() - 1 - place), 1));
        }
    }
    if !known {
        return Err(ParseError("rtcp-twcc-symbol"));
    }
    if offset + delta_bytes > data.len() {
        return Err(ParseError("rtcp-twcc-deltas"));
    }
    Ok(data.split_at(offset))
}

/// When each packet arrived, None where it had not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrivals<'a> {
    chunks: &'a [u8],
    deltas: &'a [u8],
    left: usize,
    chunk: Chunk,
    in_chunk: usize,
    at_us: i64,
}

impl Arrivals<'_> {
    /// Leave out the first `count`; runs of lost packets cost nothing.
    fn pass(&mut self, count: usize) {
        let mut left = count;
        while left > 0 && self.open_chunk().is_some() {
            if self.chunk.is_run() && self.chunk.symbol(0) == LOST {
                let run = self.in_chunk.min(left);
                self.in_chunk -= run;
                self.left -= run;
                left -= run;
            } else {
                self.next();
                left -= 1;
            }
        }
    }

    fn open_chunk(&mut self) -> Option<()> {
        while self.in_chunk == 0 {
            let [high, low, rest @ ..] = self.chunks else { return None };
            self.chunk = Chunk(u16::from_be_bytes([*high, *low]));
            self.in_chunk = self.chunk.symbols();
            self.chunks = rest;
        }
        Some(())
    }
}

impl Iterator for Arrivals<'_> {
    type Item = Option<i64>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        self.open_chunk()?;
        self.in_chunk -= 1;
        let delta = match (self.chunk.symbol(self.in_chunk), self.deltas) {
            (LOST, _) => return Some(None),
            (SMALL, [delta, rest @ ..]) => {
                self.deltas = rest;
                i64::from(*delta)
            }
            (_, [high, low, rest @ ..]) => {
                self.deltas = rest;
                i64::from(i16::from_be_bytes([*high, *low]))
            }
            _ => return None,
        };
        self.at_us += DELTA_US * delta;
        Some(Some(self.at_us))
    }
}

/// Greedy: a run where it covers at least what a vector would, else the widest vector that can say it.
fn pack_chunks(symbols: &[u8], out: &mut Vec<u8>) {
    let mut index = 0;
    while index < symbols.len() {
        let rest = &symbols[index..];
        let symbol = rest[0];
        let run = rest.iter().take(RUN_LIMIT).take_while(|each| **each == symbol).count();
        let wide = &rest[..rest.len().min(14)];
        let capacity = if wide.contains(&LARGE) { 7 } else { 14 };
        let chunk = if run >= capacity.min(rest.len()) {
            index += run;
            u16::from(symbol) << 13 | run as u16
        } else if capacity == 14 {
            index += 14;
            0x8000 | vector(wide, 14, 1)
        } else {
            index += 7;
            0xC000 | vector(&wide[..wide.len().min(7)], 7, 2)
        };
        out.extend(chunk.to_be_bytes());
    }
}

fn vector(symbols: &[u8], capacity: usize, bits: usize) -> u16 {
    let value = symbols.iter().fold(0, |value, symbol| value << bits | u16::from(*symbol));
    value << (bits * (capacity - symbols.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutation::mutated;
    use proptest::prelude::*;

    fn written() -> impl Strategy<Value = Vec<u8>> {
        let gaps = proptest::collection::vec(proptest::option::of(-300i64..700), 1..200);
        gaps.prop_map(|gaps| {
            let mut at = 7 * REFERENCE_US;
            let step = |gap: Option<i64>| {
                gap.map(|gap| {
                    at += gap * DELTA_US;
                    at
                })
            };
            let feedback = TransportWideFeedback {
                sender_ssrc: 1,
                media_ssrc: 2,
                base_seq: 3,
                feedback_count: 4,
                reference_time_us: 7 * REFERENCE_US,
                arrivals: gaps.into_iter().map(step).collect(),
            };
            let mut body = Vec::new();
            serialize_feedback(&feedback, &mut body);
            body
        })
    }

    proptest! {
        #[test]
        fn what_is_written_parses_again(
            base: u16, count: u8, gaps in proptest::collection::vec(proptest::option::of(-900i64..2000), 1..400)
        ) {
            let mut at = 7 * REFERENCE_US;
            let mut arrivals: Vec<Option<i64>> = Vec::new();
            for gap in gaps {
                arrivals.push(gap.map(|gap| { at += gap * DELTA_US; at.max(0) }));
            }
            let feedback = TransportWideFeedback {
                sender_ssrc: 1, media_ssrc: 2, base_seq: base, feedback_count: count,
                reference_time_us: 7 * REFERENCE_US, arrivals,
            };
            let mut body = Vec::new();
            serialize_feedback(&feedback, &mut body);
            let parsed = parse_feedback(&body, MAX_STATUSES).unwrap();
            let head = (parsed.sender_ssrc, parsed.media_ssrc, parsed.base_seq, parsed.feedback_count);
            prop_assert_eq!(head, (1, 2, base, count));
            prop_assert_eq!(parsed.reference_time_us, feedback.reference_time_us);
            prop_assert_eq!(parsed.arrivals().collect::<Vec<_>>(), feedback.arrivals);
        }

        #[test]
        fn mutations_of_what_is_written_are_read_within_bounds(body in mutated(written())) {
            if let Ok(feedback) = parse_feedback(&body, MAX_STATUSES) {
                prop_assert!((1..=MAX_STATUSES).contains(&feedback.count));
                prop_assert_eq!(feedback.arrivals().count(), feedback.count);
            }
        }

        #[test]
        fn any_body_is_read_within_bounds(mut body: Vec<u8>, count in 0u16..300) {
            if body.len() > 12 {
                body[10..12].copy_from_slice(&count.to_be_bytes());
            }
            if let Ok(feedback) = parse_feedback(&body, 200) {
                prop_assert!((1..=200).contains(&feedback.count));
                prop_assert_eq!(feedback.arrivals().count(), feedback.count);
            }
        }
    }
}
