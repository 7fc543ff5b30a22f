//! RTCP packets: parse and serialize. Spec: RFC 3550 section 6, RFC 4585, RFC 5104, RFC 5506.
//!
//! Reduced-size RTCP is accepted. Packets of an unknown type or feedback format are skipped. A packet that is
//! malformed inside costs itself alone; lengths that cannot be believed cost the datagram.

use crate::error::{ParseError, Parsed, u16_at, u32_at};
use crate::transport_cc::{
    MAX_STATUSES, ReceivedFeedback, TransportWideFeedback, parse_feedback, serialize_feedback,
};

const SR: u8 = 200;
const RR: u8 = 201;
const SDES: u8 = 202;
const BYE: u8 = 203;
const RTPFB: u8 = 205;
const PSFB: u8 = 206;
const FMT_NACK: u8 = 1;
const FMT_PLI: u8 = 1;
const FMT_FIR: u8 = 4;
const FMT_TWCC: u8 = 15;
const FMT_ALFB: u8 = 15;
const SDES_CNAME: u8 = 1;
const REPORT_BYTES: usize = 24;
const SENDER_BYTES: usize = 24;

/// Reception quality of one source, as `sfu/rtp/rtcp.py` describes it. Spec: RFC 3550 section 6.4.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    pub ssrc: u32,
    pub fraction_lost: u8,
    pub lost: i64,
    pub highest_seq: u32,
    pub jitter: u32,
    pub lsr: u32,
    pub dlsr: u32,
}

/// What a plane acts on. Descriptions of sources are checked and left out. Lists are read where they lie: by
/// `blocks`, `words`, `lost` and `entries`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rtcp<'a> {
    SenderReport { ssrc: u32, ntp: u64, rtp_ts: u32, reports: &'a [u8] },
    ReceiverReport { ssrc: u32, reports: &'a [u8] },
    Goodbye { ssrcs: &'a [u8] },
    Nack { sender_ssrc: u32, media_ssrc: u32, lost: &'a [u8] },
    PictureLoss { sender_ssrc: u32, media_ssrc: u32 },
    FullIntraRequest { sender_ssrc: u32, entries: &'a [u8] },
    Remb { sender_ssrc: u32, bitrate_bps: u128, ssrcs: &'a [u8] },
    TransportWide(ReceivedFeedback<'a>),
}

/// The known packets of one RTCP datagram, in order, and the faults of those that are malformed inside. Nothing is
/// collected: a datagram costs what it says, and no memory.
#[derive(Clone, Debug)]
pub struct Compound<'a> {
    rest: &'a [u8],
    /// How many packets transport-wide feedback may still speak of.
    statuses: usize,
}

/// Check the lengths that part the packets; nothing comes of a datagram that holds only unknown types.
pub fn parse_compound(data: &[u8]) -> Parsed<Compound<'_>> {
    if data.is_empty() {
        return Err(ParseError("rtcp-empty"));
    }
    let compound = Compound { rest: data, statuses: MAX_STATUSES };
    let mut checked = compound.clone();
    while !checked.rest.is_empty() {
        checked.frame()?;
    }
    Ok(compound)
}

impl<'a> Compound<'a> {
    /// Type, first octet and body of the next packet.
    fn frame(&mut self) -> Parsed<(u8, u8, &'a [u8])> {
        let data = self.rest;
        if data.len() < 4 {
            return Err(ParseError("rtcp-truncated"));
        }
        let first = data[0];
        if first >> 6 != 2 {
            return Err(ParseError("rtcp-version"));
        }
        let end = 4 + 4 * usize::from(u16_at(data, 2));
        if end > data.len() {
            return Err(ParseError("rtcp-truncated"));
        }
        self.rest = &data[end..];
        Ok((data[1], first, &data[4..end]))
    }
}

impl<'a> Iterator for Compound<'a> {
    type Item = Parsed<Rtcp<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let (packet_type, first, body) = self.frame().ok()?;
            let body = if first & 0x20 != 0 { without_padding(body) } else { Ok(body) };
            let parsed = body.and_then(|body| parse_one(packet_type, first & 0x1F, body, self.statuses));
            let packet = parsed.transpose();
            if let Some(Ok(Rtcp::TransportWide(feedback))) = &packet {
                self.statuses -= feedback.count;
            }
            if packet.is_some() {
                return packet;
            }
        }
        None
    }
}

fn without_padding(body: &[u8]) -> Parsed<&[u8]> {
    match body.last() {
        Some(&padding) if padding > 0 && usize::from(padding) <= body.len() => {
            Ok(&body[..body.len() - usize::from(padding)])
        }
        _ => Err(ParseError("rtcp-padding")),
    }
}

fn parse_one(packet_type: u8, count: u8, body: &[u8], statuses: usize) -> Parsed<Option<Rtcp<'_>>> {
    let many = usize::from(count);
    Ok(match (packet_type, count) {
        (SR, _) => {
            need(body, SENDER_BYTES)?;
            Some(Rtcp::SenderReport {
                ssrc: u32_at(body, 0),
                ntp: u64::from(u32_at(body, 4)) << 32 | u64::from(u32_at(body, 8)),
                rtp_ts: u32_at(body, 12),
                reports: reports(many, body, SENDER_BYTES)?,
            })
        }
        (RR, _) => {
            need(body, 4)?;
            Some(Rtcp::ReceiverReport { ssrc: u32_at(body, 0), reports: reports(many, body, 4)? })
        }
        (RTPFB, FMT_NACK) => Some(parse_nack(feedback(body)?)?),
        (RTPFB, FMT_TWCC) => Some(Rtcp::TransportWide(parse_feedback(feedback(body)?, statuses)?)),
        (PSFB, FMT_PLI) => {
            let body = feedback(body)?;
            Some(Rtcp::PictureLoss { sender_ssrc: u32_at(body, 0), media_ssrc: u32_at(body, 4) })
        }
        (PSFB, FMT_FIR) => Some(parse_full_intra_request(feedback(body)?)?),
        (PSFB, FMT_ALFB) => parse_application_feedback(feedback(body)?)?,
        (SDES, _) => {
            check_source_description(many, body)?;
            None
        }
        (BYE, _) => {
            need(body, 4 * many)?;
            Some(Rtcp::Goodbye { ssrcs: &body[..4 * many] })
        }
        _ => None,
    })
}

fn need(body: &[u8], size: usize) -> Parsed<()> {
    if body.len() < size { Err(ParseError("rtcp-short")) } else { Ok(()) }
}

fn feedback(body: &[u8]) -> Parsed<&[u8]> {
    need(body, 8)?;
    Ok(body)
}

/// Whatever follows the report blocks is a profile-specific extension: skipped.
fn reports(count: usize, body: &[u8], offset: usize) -> Parsed<&[u8]> {
    let end = offset + count * REPORT_BYTES;
    need(body, end)?;
    Ok(&body[offset..end])
}

/// SSRCs.
pub fn words(data: &[u8]) -> impl Iterator<Item = u32> {
    data.chunks_exact(4).map(|word| u32_at(word, 0))
}

/// Reception reports.
pub fn blocks(data: &[u8]) -> impl Iterator<Item = ReportBlock> {
    data.chunks_exact(REPORT_BYTES).map(|block| {
        let loss = u32_at(block, 4);
        ReportBlock {
            ssrc: u32_at(block, 0),
            fraction_lost: (loss >> 24) as u8,
            lost: i64::from((loss << 8) as i32 >> 8),
            highest_seq: u32_at(block, 8),
            jitter: u32_at(block, 12),
            lsr: u32_at(block, 16),
            dlsr: u32_at(block, 20),
        }
    })
}

/// Sequence numbers of a NACK: each with those that its mask names.
pub fn lost(data: &[u8]) -> impl Iterator<Item = u16> {
    data.chunks_exact(4).flat_map(|pair| {
        let (pid, mask) = (u16_at(pair, 0), u32::from(u16_at(pair, 2)) << 1 | 1);
        (0..17u16).filter(move |bit| mask >> bit & 1 == 1).map(move |bit| pid.wrapping_add(bit))
    })
}

/// SSRC and number of each keyframe request.
pub fn entries(data: &[u8]) -> impl Iterator<Item = (u32, u8)> {
    data.chunks_exact(8).map(|entry| (u32_at(entry, 0), entry[4]))
}

fn check_source_description(count: usize, body: &[u8]) -> Parsed<()> {
    let mut offset = 0;
    for _ in 0..count {
        need(body, offset + 4)?;
        offset += 4;
        // Some leave the null octet out where the list fills its last word.
        while offset < body.len() {
            if body[offset] == 0 {
                // The list ends with a null octet and is filled up to the next 32-bit boundary.
                offset += 4 - offset % 4;
                break;
            }
            need(body, offset + 2)?;
            offset += 2 + usize::from(body[offset + 1]);
            need(body, offset)?;
        }
    }
    Ok(())
}

fn parse_nack(body: &[u8]) -> Parsed<Rtcp<'_>> {
    if body.len() < 12 || !body.len().is_multiple_of(4) {
        return Err(ParseError("rtcp-nack"));
    }
    Ok(Rtcp::Nack { sender_ssrc: u32_at(body, 0), media_ssrc: u32_at(body, 4), lost: &body[8..] })
}

fn parse_full_intra_request(body: &[u8]) -> Parsed<Rtcp<'_>> {
    if body.len() < 16 || !body.len().is_multiple_of(8) {
        return Err(ParseError("rtcp-fir"));
    }
    Ok(Rtcp::FullIntraRequest { sender_ssrc: u32_at(body, 0), entries: &body[8..] })
}

fn parse_application_feedback(body: &[u8]) -> Parsed<Option<Rtcp<'_>>> {
    if !body[8..].starts_with(b"REMB") {
        return Ok(None);
    }
    need(body, 16)?;
    if body.len() != 16 + 4 * usize::from(body[12]) {
        return Err(ParseError("rtcp-remb"));
    }
    let exponent = body[13] >> 2;
    let mantissa = u128::from(body[13] & 3) << 16 | u128::from(u16_at(body, 14));
    Ok(Some(Rtcp::Remb {
        sender_ssrc: u32_at(body, 0),
        bitrate_bps: mantissa << exponent,
        ssrcs: &body[16..],
    }))
}

// --- serializing -------------------------------------------------------------------------------

/// A sender report without report blocks, and the source's CNAME (of 255 bytes at most).
pub fn sender_report(
    ssrc: u32,
    ntp: u64,
    rtp_ts: u32,
    packets: u32,
    octets: u32,
    cname: &str,
    out: &mut Vec<u8>,
) {
    frame(SR, 0, out, |out| {
        out.extend(ssrc.to_be_bytes());
        out.extend(ntp.to_be_bytes());
        for word in [rtp_ts, packets, octets] {
            out.extend(word.to_be_bytes());
        }
    });
    frame(SDES, 1, out, |out| {
        out.extend(ssrc.to_be_bytes());
        let text = &cname.as_bytes()[..cname.len().min(255)];
        let mut item = 0;
        if !text.is_empty() {
            out.extend([SDES_CNAME, text.len() as u8]);
            out.extend(text);
            item = 2 + text.len();
        }
        out.extend(&[0; 4][..4 - item % 4]);
    });
}

/// A receiver report of at most 31 blocks.
pub fn receiver_report(ssrc: u32, blocks: &[ReportBlock], out: &mut Vec<u8>) {
    frame(RR, blocks.len().min(31) as u8, out, |out| {
        out.extend(ssrc.to_be_bytes());
        for block in blocks.iter().take(31) {
            let lost = block.lost.clamp(-0x80_0000, 0x7F_FFFF) as u32 & 0xFF_FFFF;
            let loss = u32::from(block.fraction_lost) << 24 | lost;
            for word in [block.ssrc, loss, block.highest_seq, block.jitter, block.lsr, block.dlsr] {
                out.extend(word.to_be_bytes());
            }
        }
    });
}

/// A NACK of one packet at least. Ascending numbers share a pair when 16 or less apart.
pub fn nack(sender_ssrc: u32, media_ssrc: u32, lost: &[u16], out: &mut Vec<u8>) {
    let Some((first, others)) = lost.split_first() else { return };
    frame(RTPFB, FMT_NACK, out, |out| {
        pair(sender_ssrc, media_ssrc, out);
        let (mut pid, mut mask) = (*first, 0u16);
        for seq in others {
            match seq.wrapping_sub(pid) {
                0 => {}
                ahead @ 1..=16 => mask |= 1 << (ahead - 1),
                _ => {
                    out.extend(pid.to_be_bytes());
                    out.extend(mask.to_be_bytes());
                    (pid, mask) = (*seq, 0);
                }
            }
        }
        out.extend(pid.to_be_bytes());
        out.extend(mask.to_be_bytes());
    });
}

pub fn picture_loss(sender_ssrc: u32, media_ssrc: u32, out: &mut Vec<u8>) {
    frame(PSFB, FMT_PLI, out, |out| pair(sender_ssrc, media_ssrc, out));
}

/// A request to one source. Spec: RFC 5104 section 4.3.1.
pub fn full_intra_request(sender_ssrc: u32, media_ssrc: u32, seq: u8, out: &mut Vec<u8>) {
    frame(PSFB, FMT_FIR, out, |out| {
        pair(sender_ssrc, 0, out);
        out.extend(media_ssrc.to_be_bytes());
        out.extend([seq, 0, 0, 0]);
    });
}

/// How many sources a REMB names at most.
pub const MOST_REMB: usize = 255;

/// What the named sources may take together. Spec: draft-alvestrand-rmcat-remb-03.
pub fn remb(sender_ssrc: u32, bitrate_bps: u64, ssrcs: &[u32], out: &mut Vec<u8>) {
    let exponent = (u64::BITS - bitrate_bps.leading_zeros()).saturating_sub(18);
    let rate = exponent << 18 | (bitrate_bps >> exponent) as u32;
    frame(PSFB, FMT_ALFB, out, |out| {
        pair(sender_ssrc, 0, out);
        out.extend(b"REMB");
        out.extend(((ssrcs.len().min(MOST_REMB) as u32) << 24 | rate).to_be_bytes());
        for ssrc in ssrcs.iter().take(MOST_REMB) {
            out.extend(ssrc.to_be_bytes());
        }
    });
}

pub fn transport_wide(feedback: &TransportWideFeedback, out: &mut Vec<u8>) {
    frame(RTPFB, FMT_TWCC, out, |out| serialize_feedback(feedback, out));
}

fn pair(sender_ssrc: u32, media_ssrc: u32, out: &mut Vec<u8>) {
    out.extend(sender_ssrc.to_be_bytes());
    out.extend(media_ssrc.to_be_bytes());
}

fn frame(packet_type: u8, count: u8, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend([0x80 | count, packet_type, 0, 0]);
    body(out);
    let padding = (4 - (out.len() - start) % 4) % 4;
    if padding != 0 {
        out[start] |= 0x20;
        out.resize(out.len() + padding, 0);
        if let Some(last) = out.last_mut() {
            *last = padding as u8;
        }
    }
    let words = ((out.len() - start) / 4 - 1) as u16;
    out[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutation::mutated;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Packets of every kind that is read, one after the other.
    fn written() -> impl Strategy<Value = Vec<u8>> {
        let block = ReportBlock { ssrc: 3, fraction_lost: 9, lost: -2, ..ReportBlock::default() };
        let write = move |kind: u8, out: &mut Vec<u8>| match kind {
            0 => sender_report(7, 1 << 40, 9, 10, 11, "PA_x", out),
            1 => receiver_report(1, &[block; 3], out),
            2 => nack(1, 2, &[5, 6, 9, 70, 71], out),
            3 => picture_loss(1, 2, out),
            4 => frame(PSFB, FMT_FIR, out, |out| {
                out.extend([[0, 0, 0, 1, 0, 0, 0, 2, 9, 0, 0, 0]; 2].concat())
            }),
            5 => out.extend(*b"\x8f\xce\0\x06\0\0\0\x01\0\0\0\0REMB\x02\x06\0\x01\0\0\0\x09\0\0\0\x0a"),
            6 => frame(BYE, 2, out, |out| pair(1, 2, out)),
            _ => {
                let arrivals = (0..30).map(|each| (each % 7 != 0).then_some(each * each * 1000)).collect();
                let feedback = TransportWideFeedback {
                    sender_ssrc: 1,
                    media_ssrc: 2,
                    base_seq: 0xFFF0,
                    feedback_count: 3,
                    reference_time_us: 0,
                    arrivals,
                };
                transport_wide(&feedback, out);
            }
        };
        vec(0..8u8, 1..5).prop_map(move |kinds| {
            let mut out = Vec::new();
            kinds.into_iter().for_each(|kind| write(kind, &mut out));
            assert!(parse_compound(&out).unwrap().count() > 0);
            out
        })
    }

    /// Read everything that a datagram says; how much that is.
    fn read(compound: Compound) -> usize {
        let of = |packet| match packet {
            Rtcp::SenderReport { reports, .. } | Rtcp::ReceiverReport { reports, .. } => {
                blocks(reports).count()
            }
            Rtcp::Goodbye { ssrcs } | Rtcp::Remb { ssrcs, .. } => words(ssrcs).count(),
            Rtcp::Nack { lost: numbers, .. } => lost(numbers).count(),
            Rtcp::FullIntraRequest { entries: all, .. } => entries(all).count(),
            Rtcp::PictureLoss { .. } => 1,
            Rtcp::TransportWide(feedback) => {
                assert_eq!(feedback.arrivals().count(), feedback.count);
                feedback.count
            }
        };
        compound.flatten().map(of).sum()
    }

    fn only(data: &[u8]) -> Rtcp<'_> {
        let mut packets = parse_compound(data).unwrap();
        let first = packets.next().unwrap();
        assert_eq!(packets.next(), None);
        first.unwrap()
    }

    fn claims(statuses: &[u16]) -> Vec<u8> {
        let mut data = Vec::new();
        for count in statuses {
            frame(RTPFB, FMT_TWCC, &mut data, |out| {
                pair(1, 2, out);
                out.extend([0, 0]);
                out.extend(count.to_be_bytes());
                out.extend([0, 0, 1, 0, 0x1F, 0xFF]);
            });
        }
        data
    }

    #[test]
    fn a_datagram_may_speak_of_so_many_packets_and_no_more() {
        let most = MAX_STATUSES as u16;
        assert_eq!(parse_compound(&claims(&[most - 9, 9])).unwrap().count(), 2);
        for statuses in [&[most - 9, 9, 1][..], &[most, 1]] {
            let data = claims(statuses);
            let last = parse_compound(&data).unwrap().last().unwrap();
            assert_eq!(last.unwrap_err(), ParseError("rtcp-twcc-count"));
        }
        // Of what is too much the newest is read.
        for (statuses, base) in [(&[most + 7][..], 7), (&[4000, 100], 4)] {
            let data = claims(statuses);
            let last = parse_compound(&data).unwrap().last().unwrap();
            let Ok(Rtcp::TransportWide(feedback)) = last else { panic!() };
            assert_eq!(feedback.base_seq, base);
            assert_eq!(read(parse_compound(&data).unwrap()), MAX_STATUSES);
        }
    }

    #[test]
    fn a_sender_report_comes_back() {
        let mut out = Vec::new();
        sender_report(7, 0x0102_0304_0506_0708, 9, 10, 11, "PA_x", &mut out);
        let expected = Rtcp::SenderReport { ssrc: 7, ntp: 0x0102_0304_0506_0708, rtp_ts: 9, reports: &[] };
        assert_eq!(only(&out), expected);
    }

    #[test]
    fn negative_losses_keep_their_sign() {
        let block = ReportBlock { ssrc: 3, fraction_lost: 9, lost: -2, ..ReportBlock::default() };
        let mut out = Vec::new();
        receiver_report(1, &[block], &mut out);
        let Rtcp::ReceiverReport { ssrc: 1, reports } = only(&out) else { panic!() };
        assert_eq!(blocks(reports).collect::<Vec<_>>(), [block]);
    }

    #[test]
    fn remb_has_an_exponent() {
        let data =
            [0x8F, 206, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0, b'R', b'E', b'M', b'B', 1, 0x06, 0, 1, 0, 0, 0, 9];
        let Rtcp::Remb { sender_ssrc: 1, bitrate_bps, ssrcs } = only(&data) else { panic!() };
        assert_eq!((bitrate_bps, words(ssrcs).collect::<Vec<_>>()), (0x20001 << 1, vec![9]));
    }

    proptest! {
        #[test]
        fn nacks_come_back(numbers in proptest::collection::btree_set(any::<u16>(), 1..200)) {
            let numbers: Vec<u16> = numbers.into_iter().collect();
            let mut out = Vec::new();
            nack(1, 2, &numbers, &mut out);
            let Rtcp::Nack { sender_ssrc: 1, media_ssrc: 2, lost: named } = only(&out) else { panic!() };
            prop_assert_eq!(lost(named).collect::<Vec<_>>(), numbers);
        }

        #[test]
        fn any_datagram_is_read_within_bounds(mut data: Vec<u8>, kind in 198u8..208) {
            if data.len() >= 4 {
                data[0] = data[0] & 0x3F | 0x80;
                data[1] = kind;
                let words = (data.len() / 4 - 1) as u16;
                data[2..4].copy_from_slice(&words.to_be_bytes());
            }
            if let Ok(compound) = parse_compound(&data) {
                prop_assert!(read(compound) <= MAX_STATUSES + 17 * data.len() / 4);
            }
        }

        #[test]
        fn mutations_of_what_is_written_are_read_within_bounds(data in mutated(written())) {
            if let Ok(compound) = parse_compound(&data) {
                prop_assert!(read(compound) <= MAX_STATUSES + 17 * data.len() / 4);
            }
        }
    }
}
