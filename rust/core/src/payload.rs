//! One view of every codec's payload, for a forwarder that does not decode.

use crate::error::Parsed;
use crate::parameters::CodecName;
use crate::{av1, h264, vp8, vp9};

/// What one packet tells of its frame: the fields of `sfu/rtp/payload.py` that a plane uses.
///
/// `keyframe`: a decoder can begin with this packet. `layer_sync`: temporal layers up to this one may begin
/// here. `width`, `height`: of the largest layer, in pixels, 0 unless told. `layered`: the payload names its layers. `picture_id` and `tl0_pic_idx` are
/// -1, and their offsets in the payload 0, where absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadInfo {
    pub keyframe: bool,
    pub start_of_frame: bool,
    pub end_of_frame: bool,
    pub temporal: u8,
    pub spatial: u8,
    pub layer_sync: bool,
    pub inter_predicted: bool,
    pub width: u32,
    pub height: u32,
    pub picture_id: i64,
    pub picture_id_bits: u32,
    pub tl0_pic_idx: i64,
    pub picture_id_offset: usize,
    pub tl0_offset: usize,
    pub layered: bool,
}

/// Of audio, of empty payloads and of codecs that are not looked into: every field tells nothing.
pub const OPAQUE: PayloadInfo = PayloadInfo {
    keyframe: false,
    start_of_frame: false,
    end_of_frame: false,
    temporal: 0,
    spatial: 0,
    layer_sync: false,
    inter_predicted: true,
    width: 0,
    height: 0,
    picture_id: -1,
    picture_id_bits: 0,
    tl0_pic_idx: -1,
    picture_id_offset: 0,
    tl0_offset: 0,
    layered: false,
};

/// Look into a payload. Retransmissions must be unwrapped first. An empty payload is `OPAQUE`.
pub fn inspect(codec: CodecName, payload: &[u8]) -> Parsed<PayloadInfo> {
    if payload.is_empty() {
        return Ok(OPAQUE);
    }
    match codec {
        CodecName::Vp8 => vp8::inspect(payload),
        CodecName::Vp9 => vp9::inspect(payload),
        CodecName::H264 => h264::inspect(payload),
        CodecName::Av1 => av1::inspect(payload),
        CodecName::Red | CodecName::Other => Ok(OPAQUE),
    }
}

/// Put other picture ids (VP8, VP9) into a payload that `info` is of; each is cut to its field's width.
/// Fields that are absent stay absent.
pub fn rewrite(payload: &mut [u8], info: &PayloadInfo, picture_id: i64, tl0_pic_idx: i64) {
    let offset = info.picture_id_offset;
    if offset != 0 {
        if info.picture_id_bits == 15 {
            payload[offset] = 0x80 | (picture_id >> 8 & 0x7F) as u8;
            payload[offset + 1] = (picture_id & 0xFF) as u8;
        } else {
            payload[offset] = (picture_id & 0x7F) as u8;
        }
    }
    if info.tl0_offset != 0 {
        payload[info.tl0_offset] = (tl0_pic_idx & 0xFF) as u8;
    }
}

/// A picture id of 7 or 15 bits at `offset`: the number, its width, and what follows it.
pub(crate) fn picture_id(payload: &[u8], offset: usize) -> Option<(i64, u32, usize)> {
    let first = i64::from(*payload.get(offset)?);
    if first & 0x80 == 0 {
        return Some((first, 7, offset + 1));
    }
    let second = i64::from(*payload.get(offset + 1)?);
    Some(((first & 0x7F) << 8 | second, 15, offset + 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_payload_is_read_and_rewritten_within_bounds(payload: Vec<u8>, picture: i64, tl0: i64) {
            let names = [CodecName::Vp8, CodecName::Vp9, CodecName::H264, CodecName::Av1];
            for name in names {
                if let Ok(info) = inspect(name, &payload) {
                    let mut changed = payload.clone();
                    rewrite(&mut changed, &info, picture, tl0);
                    let again = inspect(name, &changed).unwrap();
                    if info.picture_id >= 0 {
                        let mask = (1 << info.picture_id_bits) - 1;
                        prop_assert_eq!(again.picture_id, picture & mask);
                    }
                }
            }
        }
    }
}
