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
/// Most packets one report may speak of: a short datagram could otherwise claim 65535 of them.
pub const MAX_STATUSES: usize = 8192;

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

/// Parse what follows the four-byte RTCP header, without padding.
pub fn parse_feedback(body: &[u8]) -> Parsed<TransportWideFeedback> {
    if body.len() < FIXED_BYTES {
        return Err(ParseError("rtcp-twcc-truncated"));
    }
    let count = usize::from(u16_at(body, 10));
    if count == 0 || count > MAX_STATUSES {
        return Err(ParseError("rtcp-twcc-count"));
    }
    let (symbols, mut offset) = parse_chunks(body, count)?;
    let tail = u32_at(body, 12);
    let reference_us = i64::from(tail >> 8) * REFERENCE_US;
    let mut arrival_us = reference_us;
    let mut arrivals = Vec::with_capacity(count);
    for symbol in symbols {
        if symbol == LOST {
            arrivals.push(None);
            continue;
        }
        if offset + usize::from(symbol) > body.len() {
            return Err(ParseError("rtcp-twcc-deltas"));
        }
        arrival_us += DELTA_US
            * if symbol == SMALL { i64::from(body[offset]) } else { i64::from(u16_at(body, offset) as i16) };
        offset += usize::from(symbol);
        arrivals.push(Some(arrival_us));
    }
    Ok(TransportWideFeedback {
        sender_ssrc: u32_at(body, 0),
        media_ssrc: u32_at(body, 4),
        base_seq: u16_at(body, 8),
        feedback_count: tail as u8,
        reference_time_us: reference_us,
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

/// The status of `count` packets, and the offset of the first delta.
fn parse_chunks(body: &[u8], count: usize) -> Parsed<(Vec<u8>, usize)> {
    let mut symbols = Vec::with_capacity(count + 13);
    let mut offset = FIXED_BYTES;
    while symbols.len() < count {
        if offset + 2 > body.len() {
            return Err(ParseError("rtcp-twcc-chunks"));
        }
        let chunk = u16_at(body, offset);
        offset += 2;
        if chunk & 0x8000 == 0 {
            let run = (usize::from(chunk) & RUN_LIMIT).min(count - symbols.len());
            symbols.resize(symbols.len() + run, (chunk >> 13 & 3) as u8);
        } else if chunk & 0x4000 != 0 {
            symbols.extend((0..7).rev().map(|place| (chunk >> (2 * place) & 3) as u8));
        } else {
            symbols.extend((0..14).rev().map(|place| (chunk >> place & 1) as u8));
        }
    }
    symbols.truncate(count);
    if symbols.iter().any(|symbol| *symbol > LARGE) {
        return Err(ParseError("rtcp-twcc-symbol"));
    }
    Ok((symbols, offset))
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
    use proptest::prelude::*;

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
            prop_assert_eq!(parse_feedback(&body).unwrap(), feedback);
        }

        #[test]
        fn any_body_is_read_within_bounds(mut body: Vec<u8>, count in 0u16..300) {
            if body.len() > 12 {
                body[10..12].copy_from_slice(&count.to_be_bytes());
            }
            if let Ok(feedback) = parse_feedback(&body) {
                prop_assert!(feedback.arrivals.len() <= MAX_STATUSES);
            }
        }
    }
}
