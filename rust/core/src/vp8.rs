//! The VP8 payload descriptor. Spec: RFC 7741 section 4.2.

use crate::error::{ParseError, Parsed};
use crate::payload::{OPAQUE, PayloadInfo, picture_id};

/// Fails where the payload ends inside the descriptor.
pub fn inspect(payload: &[u8]) -> Parsed<PayloadInfo> {
    let (mut info, header) = descriptor(payload).ok_or(ParseError("vp8-truncated"))?;
    // P of the frame tag is 0. Spec: RFC 6386 section 9.1.
    info.keyframe = info.start_of_frame && payload.get(header).is_some_and(|byte| byte & 1 == 0);
    info.inter_predicted = !info.keyframe;
    if info.keyframe {
        (info.width, info.height) = frame_size(&payload[header..]);
    }
    Ok(info)
}

fn descriptor(payload: &[u8]) -> Option<(PayloadInfo, usize)> {
    let first = *payload.first()?;
    // Partition 0 starts a frame; the start of any other partition is inside one.
    let mut info = PayloadInfo { start_of_frame: first & 0x17 == 0x10, ..OPAQUE };
    if first & 0x80 == 0 {
        return Some((info, 1));
    }
    let present = *payload.get(1)?;
    let mut offset = 2;
    if present & 0x80 != 0 {
        info.picture_id_offset = offset;
        (info.picture_id, info.picture_id_bits, offset) = picture_id(payload, offset)?;
    }
    if present & 0x40 != 0 {
        info.tl0_offset = offset;
        info.tl0_pic_idx = i64::from(*payload.get(offset)?);
        offset += 1;
    }
    if present & 0x30 != 0 {
        let layers = *payload.get(offset)?;
        offset += 1;
        if present & 0x20 != 0 {
            info.temporal = layers >> 6;
            info.layer_sync = layers & 0x20 != 0;
        }
    }
    Some((info, offset))
}

/// Width and height in pixels told by the first packet of a keyframe, (0, 0) where it is too short.
///
/// Spec: RFC 6386 section 9.1.
fn frame_size(frame: &[u8]) -> (u32, u32) {
    if frame.len() < 10 || frame[3..6] != [0x9D, 0x01, 0x2A] {
        return (0, 0);
    }
    let side = |at: usize| u32::from(frame[at]) | u32::from(frame[at + 1] & 0x3F) << 8;
    (side(6), side(8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyframe_with_every_field() {
        let payload =
            [0x90, 0xF0, 0x81, 0x02, 33, 0x65, 0xD0, 0xC3, 0, 0x9D, 0x01, 0x2A, 0x80, 0x02, 0x68, 0x01];
        let info = inspect(&payload).unwrap();
        assert!(info.keyframe && info.start_of_frame && info.layer_sync && !info.inter_predicted);
        assert_eq!((info.picture_id, info.picture_id_bits, info.picture_id_offset), (0x102, 15, 2));
        assert_eq!((info.tl0_pic_idx, info.tl0_offset, info.temporal), (33, 4, 1));
        assert_eq!((info.width, info.height), (640, 360));
        assert_eq!(inspect(&payload[..5]), Err(ParseError("vp8-truncated")));
    }
}
