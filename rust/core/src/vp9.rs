//! The VP9 payload descriptor. Spec: RFC 9628 section 4.2.

use crate::bits::BitReader;
use crate::error::{ParseError, Parsed};
use crate::layers::Sizes;
use crate::payload::{OPAQUE, PayloadInfo, picture_id};

const TRUNCATED: ParseError = ParseError("vp9-truncated");
const FRAME_HEADER: &str = "vp9-frame-header";

/// Fails where the payload ends inside the descriptor, or names too many references.
pub fn inspect(payload: &[u8]) -> Parsed<PayloadInfo> {
    Ok(read(payload)?.0)
}

/// The sizes that a payload's scalability structure names, empty where it has none.
pub fn sizes(payload: &[u8]) -> Sizes {
    read(payload).map_or_else(|_| Sizes::new(), |(_, sizes)| sizes)
}

fn read(payload: &[u8]) -> Parsed<(PayloadInfo, Sizes)> {
    let byte = |at: usize| payload.get(at).copied().ok_or(TRUNCATED);
    let first = byte(0)?;
    let mut offset = 1;
    let mut info = PayloadInfo {
        start_of_frame: first & 0x08 != 0,
        end_of_frame: first & 0x04 != 0,
        inter_predicted: first & 0x40 != 0,
        ..OPAQUE
    };
    if first & 0x80 != 0 {
        info.picture_id_offset = offset;
        (info.picture_id, info.picture_id_bits, offset) = picture_id(payload, offset).ok_or(TRUNCATED)?;
    }
    if first & 0x20 != 0 {
        info.layered = true;
        info.unreferenced = first & 0x01 != 0;
        let layer = byte(offset)?;
        offset += 1;
        info.temporal = layer >> 5;
        info.spatial = layer >> 1 & 7;
        info.layer_sync = layer & 0x10 != 0;
        if first & 0x10 == 0 {
            info.tl0_offset = offset;
            info.tl0_pic_idx = i64::from(byte(offset)?);
            offset += 1;
        }
    }
    if first & 0x50 == 0x50 {
        offset = skip_references(payload, offset)?;
    }
    let mut sizes = Sizes::new();
    if first & 0x02 != 0 {
        (sizes, offset) = parse_structure(payload, offset)?;
    }
    // The base layer, without reference to earlier pictures.
    info.keyframe = info.start_of_frame && !info.inter_predicted && info.spatial == 0;
    if info.keyframe {
        // The scalability structure is believed first, else the frame's own header is read.
        (info.width, info.height) = sizes.iter().max().copied().unwrap_or_else(|| {
            let frame = payload.get(offset..).unwrap_or_default();
            parse_frame_header(&frame[..frame.len().min(16)]).unwrap_or((0, 0))
        });
    }
    Ok((info, sizes))
}

fn skip_references(payload: &[u8], mut offset: usize) -> Parsed<usize> {
    for _ in 0..3 {
        let more = payload.get(offset).ok_or(TRUNCATED)? & 1;
        offset += 1;
        if more == 0 {
            return Ok(offset);
        }
    }
    Err(ParseError("vp9-references"))
}

/// The sizes that a scalability structure names, and where it ends.
fn parse_structure(payload: &[u8], mut offset: usize) -> Parsed<(Sizes, usize)> {
    let byte = |at: usize| payload.get(at).copied().ok_or(TRUNCATED);
    let head = byte(offset)?;
    offset += 1;
    let mut sizes = Sizes::new();
    if head & 0x10 != 0 {
        for _ in 0..=head >> 5 {
            let width = u32::from(byte(offset)?) << 8 | u32::from(byte(offset + 1)?);
            let height = u32::from(byte(offset + 2)?) << 8 | u32::from(byte(offset + 3)?);
            sizes.push((width, height));
            offset += 4;
        }
    }
    if head & 0x08 != 0 {
        let pictures = byte(offset)?;
        offset += 1;
        for _ in 0..pictures {
            offset += 1 + usize::from(byte(offset)? >> 2 & 3);
        }
        if offset > payload.len() {
            return Err(TRUNCATED);
        }
    }
    Ok((sizes, offset))
}

/// Spec: VP9 bitstream specification section 6.2.
fn parse_frame_header(data: &[u8]) -> Parsed<(u32, u32)> {
    const FAULT: ParseError = ParseError(FRAME_HEADER);
    let mut bits = BitReader::new(data, FRAME_HEADER);
    if bits.read(2)? != 2 {
        return Err(FAULT);
    }
    let profile = bits.read(1)? | bits.read(1)? << 1;
    if profile == 3 && bits.flag()? {
        return Err(FAULT);
    }
    let shows_existing = bits.flag()?;
    let inter_frame = bits.flag()?;
    bits.read(2)?; // show_frame, error_resilient_mode
    if shows_existing || inter_frame || bits.read(24)? != 0x49_8342 {
        return Err(FAULT);
    }
    if profile >= 2 {
        bits.read(1)?; // ten_or_twelve_bit
    }
    // color_space; 7 is sRGB
    if bits.read(3)? != 7 {
        bits.read(1)?; // color_range
        if profile & 1 == 1 {
            bits.read(3)?; // subsampling and a reserved bit
        }
    } else if profile & 1 == 1 {
        bits.read(1)?;
    }
    Ok((bits.read(16)? as u32 + 1, bits.read(16)? as u32 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyframe_with_a_structure() {
        // I, L, B, E and V; picture 0x123, temporal 1, spatial 0, tl0 9; two sizes, no pictures.
        let payload = [0xAE, 0x81, 0x23, 0x20, 9, 0x30, 1, 0, 0, 0x90, 2, 0x80, 1, 0x68];
        let info = inspect(&payload).unwrap();
        assert!(info.keyframe && info.start_of_frame && info.end_of_frame);
        assert_eq!((info.picture_id, info.tl0_pic_idx, info.temporal), (0x123, 9, 1));
        assert_eq!((info.width, info.height), (640, 360));
        for cut in 1..payload.len() {
            assert_eq!(inspect(&payload[..cut]), Err(TRUNCATED));
        }
    }

    #[test]
    fn a_frame_header_tells_the_size_where_there_is_no_structure() {
        let payload = [0x08, 0x82, 0x49, 0x83, 0x42, 0x20, 0x27, 0xF0, 0x16, 0x70];
        let info = inspect(&payload).unwrap();
        assert_eq!((info.width, info.height), (640, 360));
    }
}
