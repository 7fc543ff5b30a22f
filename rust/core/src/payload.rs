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
    /// No larger layer of the same picture refers to this one.
    pub unreferenced: bool,
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
    unreferenced: false,
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
    use crate::mutation::{mutated, one_of};
    use proptest::prelude::*;

    /// Of each codec payloads from encoders: keyframes with all that a descriptor may hold, and others.
    const PAYLOADS: [(CodecName, &[&str]); 4] = [
        (CodecName::Vp8, &["90f0812c0722d0c3009d012a0005d0020047", "90e0832b0520b10100", "10d1"]),
        (
            CodecName::Vp9,
            &[
                "ac812c200582498342004ff02cf60038241c184a18",
                "8a0558014000b402800168050002d00204054082498342004ff02c",
                "ae81232009300100009002800168",
                "fa81232205030201",
            ],
        ),
        (
            CodecName::H264,
            &[
                "6764001facb200a00b7420000003002000000791e30649",
                "6742c01f8c8d405017fcb00f08846a",
                "7800056764001fac000368ebc3",
                "7c85888404",
            ],
        ),
        (CodecName::Av1, &["280c080000002d4cffb3c6af98043010008e808208", "1030a1b2", "900a"]),
    ];

    fn survives(name: CodecName, payload: &[u8], picture: i64, tl0: i64) -> Result<(), TestCaseError> {
        let Ok(info) = inspect(name, payload) else { return Ok(()) };
        if name == CodecName::Vp9 {
            prop_assert!(vp9::sizes(payload).len() <= 8);
        }
        let mut changed = payload.to_vec();
        rewrite(&mut changed, &info, picture, tl0);
        let again = inspect(name, &changed).unwrap();
        prop_assert_eq!(again.picture_id >= 0, info.picture_id >= 0);
        if info.picture_id >= 0 {
            prop_assert_eq!(again.picture_id, picture & ((1 << info.picture_id_bits) - 1));
        }
        if info.tl0_pic_idx >= 0 {
            prop_assert_eq!(again.tl0_pic_idx, tl0 & 0xFF);
        }
        let kept = |info: &PayloadInfo| (info.keyframe, info.width, info.height, info.spatial, info.temporal);
        prop_assert_eq!(kept(&again), kept(&info));
        Ok(())
    }

    #[test]
    fn what_is_mutated_is_read_as_it_is() {
        for (name, payloads) in PAYLOADS {
            for payload in payloads {
                let digits = payload.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
                let bytes: Vec<u8> = digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
                assert!(inspect(name, &bytes).is_ok(), "{name:?} {payload}");
            }
        }
    }

    proptest! {
        #[test]
        fn mutations_of_real_payloads_are_read_and_rewritten_within_bounds(
            vp8 in mutated(one_of(PAYLOADS[0].1)), vp9 in mutated(one_of(PAYLOADS[1].1)),
            h264 in mutated(one_of(PAYLOADS[2].1)), av1 in mutated(one_of(PAYLOADS[3].1)),
            picture: i64, tl0: i64,
        ) {
            for ((name, _), payload) in PAYLOADS.iter().zip([vp8, vp9, h264, av1]) {
                survives(*name, &payload, picture, tl0)?;
            }
        }

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
