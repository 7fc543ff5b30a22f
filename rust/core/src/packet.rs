//! RTP packets: parsing what arrives, and telling RTP from RTCP. Spec: RFC 3550 section 5.1.

use std::ops::Range;

use crate::error::{ParseError, Parsed, u16_at, u32_at};
use crate::extensions::{Extensions, parse_extensions};

pub const FIXED_BYTES: usize = 12;

/// One packet in the clear: numbers of its header, and where the rest of it is.
///
/// `csrcs` is the list of contributing sources as on the wire. `payload` is without padding; it is empty in
/// packets that carry nothing but padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtpPacket {
    pub payload_type: u8,
    pub marker: bool,
    pub seq: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    pub csrcs: Range<usize>,
    pub extensions: Extensions,
    pub payload: Range<usize>,
}

/// Whether a datagram of a multiplexed transport is RTCP. Spec: RFC 5761 section 4.
///
/// Any datagram of less than two bytes is not.
pub fn is_rtcp(datagram: &[u8]) -> bool {
    datagram.len() > 1 && (192..=223).contains(&datagram[1])
}

/// Fails for a wrong version and for every length that does not fit.
pub fn parse_packet(data: &[u8]) -> Parsed<RtpPacket> {
    const TRUNCATED: ParseError = ParseError("rtp-truncated");
    let size = data.len();
    if size < FIXED_BYTES {
        return Err(TRUNCATED);
    }
    let first = data[0];
    if first >> 6 != 2 {
        return Err(ParseError("rtp-version"));
    }
    let mut offset = FIXED_BYTES + 4 * usize::from(first & 0x0F);
    let csrcs = FIXED_BYTES..offset;
    let mut extensions = Extensions::default();
    if first & 0x10 != 0 {
        let start = offset + 4;
        if start > size {
            return Err(TRUNCATED);
        }
        offset = start + 4 * usize::from(u16_at(data, start - 2));
        if offset <= size {
            extensions = parse_extensions(u16_at(data, start - 4), data, start..offset)?;
        }
    }
    let mut end = size as isize;
    if first & 0x20 != 0 {
        let padding = data[size - 1];
        if padding == 0 {
            return Err(ParseError("rtp-padding"));
        }
        end -= isize::from(padding);
    }
    if offset as isize > end {
        return Err(TRUNCATED);
    }
    Ok(RtpPacket {
        payload_type: data[1] & 0x7F,
        marker: data[1] >= 0x80,
        seq: u16_at(data, 2),
        timestamp: u32_at(data, 4),
        ssrc: u32_at(data, 8),
        csrcs,
        extensions,
        payload: offset..end as usize,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn csrcs_extensions_and_padding_are_told_apart() {
        let mut data = vec![0xB1, 0xE0, 0x12, 0x34, 0, 0, 0, 5, 0, 0, 0, 7, 9, 9, 9, 9];
        data.extend([0xBE, 0xDE, 0, 1, 0x10, 0xAA, 0x21, 0xBB]);
        assert_eq!(parse_packet(&data), Err(ParseError("rtp-extension")));
        let at = data.len() - 2;
        data[at] = 0x20;
        data.extend([1, 2, 3, 0, 2]);
        let packet = parse_packet(&data).unwrap();
        assert_eq!((packet.payload_type, packet.marker, packet.seq), (0x60, true, 0x1234));
        assert_eq!((packet.timestamp, packet.ssrc), (5, 7));
        assert_eq!(&data[packet.csrcs], [9; 4]);
        assert_eq!(packet.extensions.get(&data, 1), Some(&[0xAA][..]));
        assert_eq!(packet.extensions.get(&data, 2), Some(&[0xBB][..]));
        assert_eq!(&data[packet.payload], [1, 2, 3]);
    }

    #[test]
    fn padding_longer_than_the_packet_is_refused() {
        let mut data = [0u8; 13];
        data[0] = 0xA0;
        data[12] = 2;
        assert_eq!(parse_packet(&data), Err(ParseError("rtp-truncated")));
        data[12] = 0;
        assert_eq!(parse_packet(&data), Err(ParseError("rtp-padding")));
    }

    proptest! {
        #[test]
        fn any_bytes_parse_within_bounds(mut data: Vec<u8>) {
            if let Some(first) = data.first_mut() {
                *first = *first & 0x3F | 0x80;
            }
            if let Ok(packet) = parse_packet(&data) {
                prop_assert!(packet.csrcs.end <= packet.payload.start);
                prop_assert!(packet.payload.end <= data.len());
                for id in 0..=255 {
                    packet.extensions.get(&data, id);
                }
            }
        }
    }
}
