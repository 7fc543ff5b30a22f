//! What a forwarder must know of H.264 payloads. Spec: RFC 6184 section 5; ITU-T H.264 section 7.3.2.1.1.

use crate::bits::BitReader;
use crate::error::{ParseError, Parsed, u16_at};
use crate::payload::{OPAQUE, PayloadInfo};

const SLICE: u8 = 1;
const IDR: u8 = 5;
const SPS: u8 = 7;
const DELIMITER: u8 = 9;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;
const HIGH_PROFILES: [u64; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];
const MAX_REFERENCE_CYCLE: u64 = 255;
const SPS_FAULT: &str = "h264-sps";

/// Look into a packet's NAL units. Fails where an aggregate or fragment is cut short.
///
/// `keyframe` means that a sequence parameter set begins here: a decoder can begin with this packet. An IDR
/// slice alone does not count, because a subscriber that begins there has no parameter sets.
pub fn inspect(payload: &[u8]) -> Parsed<PayloadInfo> {
    const TRUNCATED: ParseError = ParseError("h264-truncated");
    let (keyframe, start, sps) = match payload.first().ok_or(TRUNCATED)? & 0x1F {
        FU_A => {
            let head = *payload.get(1).ok_or(TRUNCATED)?;
            let kind = head & 0x1F;
            let first = head & 0x80 != 0;
            (first && kind == SPS, first && starts_frame(kind, payload, 2), None)
        }
        STAP_A => {
            let (start, sps) = parse_aggregate(payload)?;
            (sps.is_some(), start, sps)
        }
        kind => (kind == SPS, starts_frame(kind, payload, 1), (kind == SPS).then_some(payload)),
    };
    // A header the decoder may still understand is no reason to drop a packet: its size stays unknown.
    let (width, height) = sps.map_or((0, 0), |sps| frame_size(sps).unwrap_or((0, 0)));
    Ok(PayloadInfo { keyframe, start_of_frame: start, inter_predicted: !keyframe, width, height, ..OPAQUE })
}

fn starts_frame(kind: u8, payload: &[u8], offset: usize) -> bool {
    match kind {
        // first_mb_in_slice is ue(v): a leading one bit says 0, the first macroblock of the picture.
        SLICE | IDR => payload.get(offset).is_some_and(|byte| byte & 0x80 != 0),
        _ => kind == SPS || kind == DELIMITER,
    }
}

fn parse_aggregate(payload: &[u8]) -> Parsed<(bool, Option<&[u8]>)> {
    const FAULT: ParseError = ParseError("h264-aggregate");
    let mut offset = 1;
    let mut start = false;
    let mut sps = None;
    while offset < payload.len() {
        if offset + 2 >= payload.len() {
            return Err(FAULT);
        }
        let end = offset + 2 + usize::from(u16_at(payload, offset));
        if end > payload.len() || end == offset + 2 {
            return Err(FAULT);
        }
        let kind = payload[offset + 2] & 0x1F;
        if kind == SPS && sps.is_none() {
            sps = Some(&payload[offset + 2..end]);
        }
        start = start || starts_frame(kind, payload, offset + 3);
        offset = end;
    }
    Ok((start, sps))
}

/// Width and height in pixels, after cropping, of a sequence parameter set with its NAL header.
fn frame_size(sps: &[u8]) -> Parsed<(u32, u32)> {
    let plain = without_emulation_prevention(&sps[1..]);
    let mut bits = BitReader::new(&plain, SPS_FAULT);
    let profile = bits.read(8)?;
    bits.read(16)?; // constraint flags, level
    bits.read_exp_golomb()?; // seq_parameter_set_id
    let chroma = if HIGH_PROFILES.contains(&profile) { skip_high_profile(&mut bits)? } else { 1 };
    bits.read_exp_golomb()?; // log2_max_frame_num_minus4
    skip_picture_order(&mut bits)?;
    bits.read_exp_golomb()?; // max_num_ref_frames
    bits.read(1)?; // gaps_in_frame_num_value_allowed_flag
    let mut width = (bits.read_exp_golomb()? as i64 + 1) * 16;
    let map_units = bits.read_exp_golomb()? as i64 + 1;
    let frames_only = bits.read(1)? as i64;
    if frames_only == 0 {
        bits.read(1)?; // mb_adaptive_frame_field_flag
    }
    let mut height = map_units * 16 * (2 - frames_only);
    bits.read(1)?; // direct_8x8_inference_flag
    if bits.flag()? {
        let mut crop = [0i64; 4];
        for side in &mut crop {
            *side = bits.read_exp_golomb()? as i64;
        }
        width -= (crop[0] + crop[1]) * if chroma == 1 || chroma == 2 { 2 } else { 1 };
        height -= (crop[2] + crop[3]) * if chroma == 1 { 2 } else { 1 } * (2 - frames_only);
    }
    if !(1..=0xFFFF).contains(&width) || !(1..=0xFFFF).contains(&height) {
        return Err(ParseError(SPS_FAULT));
    }
    Ok((width as u32, height as u32))
}

/// 00 00 03 stands for 00 00. Spec: ITU-T H.264 section 7.4.1.
fn without_emulation_prevention(data: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(data.len());
    let mut offset = 0;
    while offset < data.len() {
        if data[offset..].starts_with(&[0, 0, 3]) {
            plain.extend([0, 0]);
            offset += 3;
        } else {
            plain.push(data[offset]);
            offset += 1;
        }
    }
    plain
}

/// Read up to the scaling lists; the chroma format as the cropping unit sees it.
fn skip_high_profile(bits: &mut BitReader) -> Parsed<u64> {
    let chroma = bits.read_exp_golomb()?;
    let separate_planes = chroma == 3 && bits.flag()?;
    bits.read_exp_golomb()?; // bit_depth_luma_minus8
    bits.read_exp_golomb()?; // bit_depth_chroma_minus8
    bits.read(1)?; // qpprime_y_zero_transform_bypass_flag
    if bits.flag()? {
        for index in 0..if chroma == 3 { 12 } else { 8 } {
            if bits.flag()? {
                skip_scaling_list(bits, if index < 6 { 16 } else { 64 })?;
            }
        }
    }
    Ok(if separate_planes { 0 } else { chroma })
}

fn skip_scaling_list(bits: &mut BitReader, size: usize) -> Parsed<()> {
    let mut last = 8;
    let mut following = 8;
    for _ in 0..size {
        if following != 0 {
            following = (last + bits.read_signed_exp_golomb()?).rem_euclid(256);
        }
        if following != 0 {
            last = following;
        }
    }
    Ok(())
}

fn skip_picture_order(bits: &mut BitReader) -> Parsed<()> {
    match bits.read_exp_golomb()? {
        0 => {
            bits.read_exp_golomb()?; // log2_max_pic_order_cnt_lsb_minus4
        }
        1 => {
            bits.read(1)?; // delta_pic_order_always_zero_flag
            bits.read_signed_exp_golomb()?; // offset_for_non_ref_pic
            bits.read_signed_exp_golomb()?; // offset_for_top_to_bottom_field
            let cycle = bits.read_exp_golomb()?;
            if cycle > MAX_REFERENCE_CYCLE {
                return Err(ParseError(SPS_FAULT));
            }
            for _ in 0..cycle {
                bits.read_signed_exp_golomb()?;
            }
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_sequence_parameter_set() {
        // Constrained baseline 3.1, 640 x 360 after cropping.
        let sps = [0x67, 0x42, 0xC0, 0x1F, 0x8C, 0x8D, 0x40, 0x50, 0x17, 0xFC, 0xB0, 0x0F, 0x08, 0x84, 0x6A];
        let info = inspect(&sps).unwrap();
        assert!(info.keyframe && info.start_of_frame);
        assert_eq!((info.width, info.height), (640, 360));
    }

    #[test]
    fn an_aggregate_that_is_cut_short_is_refused() {
        let fault = Err(ParseError("h264-aggregate"));
        assert_eq!(inspect(&[24, 0, 0]).map(|_| ()), fault);
        assert_eq!(inspect(&[24, 0, 2, 7]).map(|_| ()), fault);
        let info = inspect(&[24, 0, 1, 7, 0, 2, 5, 0x80]).unwrap();
        assert!(info.keyframe && info.start_of_frame);
    }
}
