//! What a forwarder must know of AV1 payloads.
//!
//! Spec: RTP Payload Format For AV1 (v1.0.0) section 4; AV1 bitstream specification sections 5.3 and 5.5.

use crate::bits::BitReader;
use crate::error::{ParseError, Parsed};
use crate::payload::{OPAQUE, PayloadInfo};

const SEQUENCE_HEADER: u8 = 1;
/// Sequence header, frame header, metadata, frame.
const STARTS: [u8; 4] = [SEQUENCE_HEADER, 3, 5, 6];

struct Unit {
    kind: u8,
    temporal: u8,
    spatial: u8,
    body: usize,
}

/// Read the aggregation header and the first units. Fails where lengths do not fit.
pub fn inspect(payload: &[u8]) -> Parsed<PayloadInfo> {
    if payload.len() < 2 {
        return Err(ParseError("av1-truncated"));
    }
    let head = payload[0];
    let continued = head & 0x80 != 0;
    let elements = head >> 4 & 3;
    let keyframe = head & 0x08 != 0;
    if keyframe && continued {
        return Err(ParseError("av1-aggregation"));
    }
    if continued {
        // A fragment has no unit header of its own, and what follows it is seldom a new frame.
        return Ok(PayloadInfo { inter_predicted: true, ..OPAQUE });
    }
    let (start, length) = if elements == 1 { (1, payload.len() - 1) } else { leb128(payload, 1)? };
    let first = parse_unit(payload, start, length)?;
    let (mut temporal, mut spatial) = (first.temporal, first.spatial);
    let mut size = (0, 0);
    if first.kind == SEQUENCE_HEADER {
        let end = start + length;
        // A header the decoder may still understand is no reason to drop a packet: its size stays unknown.
        size = frame_size(payload.get(first.body..end).unwrap_or_default()).unwrap_or((0, 0));
        if end < payload.len() {
            // The unit of the frame itself follows, and it is the one that tells the layer.
            let (start, length) =
                if elements == 2 { (end, payload.len() - end) } else { leb128(payload, end)? };
            let unit = parse_unit(payload, start, length)?;
            (temporal, spatial) = (unit.temporal, unit.spatial);
        }
    }
    Ok(PayloadInfo {
        keyframe,
        start_of_frame: STARTS.contains(&first.kind),
        temporal,
        spatial,
        inter_predicted: !keyframe,
        width: size.0,
        height: size.1,
        ..OPAQUE
    })
}

/// Where an element begins and its length, from its leb128 length at `offset`.
fn leb128(payload: &[u8], mut offset: usize) -> Parsed<(usize, usize)> {
    let mut value = 0usize;
    for shift in (0..56).step_by(7) {
        let Some(byte) = payload.get(offset) else { break };
        value |= usize::from(byte & 0x7F) << shift;
        offset += 1;
        if byte & 0x80 == 0 {
            return Ok((offset, value));
        }
    }
    Err(ParseError("av1-length"))
}

fn parse_unit(payload: &[u8], start: usize, length: usize) -> Parsed<Unit> {
    const FAULT: ParseError = ParseError("av1-unit");
    let end = start + length;
    if length == 0 || end > payload.len() {
        return Err(FAULT);
    }
    let head = payload[start];
    if head & 0x80 != 0 {
        return Err(FAULT);
    }
    let mut body = start + 1;
    let (mut temporal, mut spatial) = (0, 0);
    if head & 0x04 != 0 {
        if body >= end {
            return Err(FAULT);
        }
        temporal = payload[body] >> 5;
        spatial = payload[body] >> 3 & 3;
        body += 1;
    }
    if head & 0x02 != 0 {
        // Senders should leave the unit's own size out; where it is there, it is read over.
        (body, _) = leb128(payload, body)?;
    }
    Ok(Unit { kind: head >> 3 & 0x0F, temporal, spatial, body })
}

/// Largest width and height in pixels that a sequence header allows.
///
/// Spec: AV1 bitstream specification section 5.5.1.
fn frame_size(sequence_header: &[u8]) -> Parsed<(u32, u32)> {
    let mut bits = BitReader::new(sequence_header, "av1-sequence-header");
    bits.read(4)?; // seq_profile, still_picture
    // reduced_still_picture_header
    if bits.flag()? {
        bits.read(5)?;
    } else {
        skip_operating_points(&mut bits)?;
    }
    let width_bits = bits.read(4)? as usize + 1;
    let height_bits = bits.read(4)? as usize + 1;
    Ok((bits.read(width_bits)? as u32 + 1, bits.read(height_bits)? as u32 + 1))
}

fn skip_operating_points(bits: &mut BitReader) -> Parsed<()> {
    let mut decoder_model = false;
    let mut delay_bits = 0;
    // timing_info_present_flag
    if bits.flag()? {
        bits.read(64)?;
        // equal_picture_interval
        if bits.flag()? {
            bits.read_exp_golomb()?;
        }
        decoder_model = bits.flag()?;
        if decoder_model {
            delay_bits = bits.read(5)? as usize + 1;
            bits.read(42)?;
        }
    }
    let display_delay = bits.flag()?;
    for _ in 0..=bits.read(5)? {
        bits.read(12)?; // operating_point_idc
        if bits.read(5)? > 7 {
            bits.read(1)?; // seq_tier
        }
        if decoder_model && bits.flag()? {
            bits.read(2 * delay_bits)?;
            bits.read(1)?;
        }
        if display_delay && bits.flag()? {
            bits.read(4)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_header_before_a_frame() {
        // W 2 and N; a header of 11 bytes that allows 640 x 360, then a frame with temporal id 1.
        let header = [0x08, 0, 0, 0, 0x42, 0xA7, 0xBF, 0xE6, 0x2E, 0xD8, 0xD0];
        let mut payload = vec![0x28, header.len() as u8];
        payload.extend(header);
        payload.extend([0x34, 0x20, 1, 2]);
        let info = inspect(&payload).unwrap();
        assert!(info.keyframe && info.start_of_frame);
        assert_eq!(info.temporal, 1);
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        assert_eq!(inspect(&[0x20, 9, 0x30]).map(|_| ()), Err(ParseError("av1-unit")));
        assert_eq!(inspect(&[0x20, 0x80]).map(|_| ()), Err(ParseError("av1-length")));
        assert_eq!(inspect(&[0x88, 1]).map(|_| ()), Err(ParseError("av1-aggregation")));
    }
}
