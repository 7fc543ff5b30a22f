//! An encoding flowing to a subscriber: its numbers carried over, and back.
//!
//! A run begins at a switch point and continues the subscriber's sequence numbers, picture ids and timestamps
//! where the run before it ended. It maps the source's numbers to the subscriber's and back, so that late
//! packets find their place and NACKs their packet.

use std::collections::VecDeque;

use crate::ingress::{EncodingId, MediaPacket};
use crate::publication::Publication;
use crate::sequence::{SequenceMap, difference};

/// Pictures: those of some seconds, longer than anything is sent again.
const MARKED_KEPT: usize = 256;

/// One encoding flowing to one subscriber without interruption. Offsets add to the source's numbers.
#[derive(Debug)]
pub struct Run {
    pub encoding: EncodingId,
    /// Given up on an overrun path: what is lost of it is not sent again, to delay nothing else.
    pub abandoned: bool,
    pub sequence: SequenceMap,
    pub pictures: Option<SequenceMap>,
    pub tl0_offset: i64,
    pub frame_offset: i64,
    pub ts_offset: i64,
    /// How far sender reports have moved the timestamps from what the time elapsed tells.
    drift: i64,
    /// Packets of the source that end a picture as the subscriber gets it.
    marked: VecDeque<i64>,
    ended_tl0: i64,
    ended_frame: i64,
    ended_ts: i64,
    ended_us: i64,
}

/// A subscriber's picture ids for a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Picture {
    AsItIs,
    Other {
        picture_id: i64,
        tl0_pic_idx: i64,
    },
    /// Too old to have one.
    Unknown,
}

impl Run {
    /// Begin with `packet`, which becomes `first_out`, where the run `before` (it has ended) left off.
    pub fn new(
        publication: &Publication,
        packet: &MediaPacket,
        first_out: i64,
        before: Option<&Run>,
        now_us: i64,
    ) -> Self {
        let mut run = Self {
            encoding: packet.encoding,
            abandoned: false,
            sequence: SequenceMap::new(packet.ext_seq, first_out),
            pictures: None,
            tl0_offset: 0,
            frame_offset: 0,
            ts_offset: 0,
            drift: 0,
            marked: VecDeque::new(),
            ended_tl0: 0,
            ended_frame: 0,
            ended_ts: 0,
            ended_us: 0,
        };
        let mut picture = packet.ext_picture_id;
        if let Some(before) = before {
            (run.ts_offset, run.drift) = before.continue_timestamp(publication, packet, now_us);
            if packet.info.tl0_pic_idx >= 0 {
                run.tl0_offset = (before.ended_tl0 + 1 - packet.info.tl0_pic_idx) & 0xFF;
            }
            if packet.frame_number >= 0 {
                run.frame_offset = (before.ended_frame + 1 - packet.frame_number) & 0xFFFF;
            }
            if let Some(pictures) = &before.pictures {
                picture = pictures.highest_out() + 1;
            }
        }
        if packet.ext_picture_id >= 0 {
            run.pictures = Some(SequenceMap::new(packet.ext_picture_id, picture));
        }
        run
    }

    /// Nothing newer follows. The next outgoing sequence number.
    pub fn end(&mut self, publication: &Publication) -> i64 {
        let encoding = &publication.encodings[self.encoding];
        self.ended_tl0 = encoding.last_tl0 + self.tl0_offset;
        self.ended_frame = encoding.last_frame_number + self.frame_offset;
        self.ended_ts = i64::from(encoding.last_ts) + self.ts_offset;
        self.ended_us = encoding.last_us;
        self.sequence.highest_out() + 1
    }

    /// The timestamp offset of a run that begins with `packet` after this one, and its drift.
    ///
    /// Between encodings the publisher's sender reports tell it, and until there are some the time elapsed.
    /// Reports of encodings may disagree, and timestamps never go back: switching to and fro must not add up
    /// what they are apart, so all that reports have told stays within a second.
    fn continue_timestamp(&self, publication: &Publication, packet: &MediaPacket, now_us: i64) -> (i64, i64) {
        if packet.encoding == self.encoding {
            return (self.ts_offset, self.drift);
        }
        let encoding = &publication.encodings[packet.encoding];
        let rate = i64::from(encoding.clock_rate);
        let elapsed = self.ended_ts + ((now_us - self.ended_us) * rate).div_euclid(1_000_000);
        let mut out = elapsed - self.drift;
        let own = &publication.encodings[self.encoding].reception.sender_report;
        if let (Some(clock), Some(own)) = (&encoding.reception.sender_report, own) {
            let told =
                i64::from(clock.translate(packet.timestamp, own, encoding.clock_rate)) + self.ts_offset;
            let ahead = difference(told, elapsed, 32);
            if (self.drift + ahead).abs() < rate {
                out = elapsed + ahead;
            }
        }
        let out = out.max(self.ended_ts + 1);
        ((out - i64::from(packet.timestamp)) & 0xFFFF_FFFF, self.drift + out - elapsed)
    }

    /// A packet's timestamp as this subscriber sees it.
    pub fn timestamp(&self, timestamp: u32) -> u32 {
        (i64::from(timestamp) + self.ts_offset) as u32
    }

    /// This packet of the source ends a picture as the subscriber gets it.
    pub fn mark(&mut self, ext_seq: i64) {
        if self.marked.contains(&ext_seq) {
            return;
        }
        self.marked.push_back(ext_seq);
        if self.marked.len() > MARKED_KEPT {
            self.marked.pop_front();
        }
    }

    /// Whether the packet went out with the marker bit.
    pub fn marks(&self, packet: &MediaPacket) -> bool {
        packet.marker || self.marked.contains(&packet.ext_seq)
    }

    /// This subscriber's picture ids.
    pub fn picture(&mut self, packet: &MediaPacket) -> Picture {
        let Some(pictures) = &mut self.pictures else { return Picture::AsItIs };
        if packet.ext_picture_id < 0 {
            return Picture::AsItIs;
        }
        let info = &packet.info;
        let mask = (1i64 << info.picture_id_bits) - 1;
        match pictures.map(packet.ext_picture_id) {
            None => Picture::Unknown,
            Some(picture) if self.tl0_offset == 0 && (picture - info.picture_id) & mask == 0 => {
                Picture::AsItIs
            }
            Some(picture_id) => {
                Picture::Other { picture_id, tl0_pic_idx: packet.info.tl0_pic_idx + self.tl0_offset }
            }
        }
    }

    /// This subscriber's frame number in the dependency descriptor, None where it is the source's.
    pub fn frame_number(&self, packet: &MediaPacket) -> Option<u16> {
        let other = self.frame_offset != 0 && packet.frame_number >= 0;
        other.then(|| (packet.frame_number + self.frame_offset) as u16)
    }
}
