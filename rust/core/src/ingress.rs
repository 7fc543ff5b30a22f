//! Receiving an encoding: what became of a packet on the way in.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::cache::PacketCache;
use crate::error::{ParseError, Parsed};
use crate::extensions::{Carried, DEPENDENCY_DESCRIPTOR};
use crate::layers::{DescribedLayers, MOST_SPATIAL, MOST_TEMPORAL, PacketLayer, Sizes, of_vp8, of_vp9};
use crate::nack::NackTracker;
use crate::packet::RtpPacket;
use crate::parameters::{Codec, CodecName};
use crate::payload::{OPAQUE, PayloadInfo, inspect};
use crate::reception::{Reception, Refused};
use crate::red;
use crate::sequence::PictureNumbers;
use crate::vp9;

/// Silence after which an encoding is given up, once others have sent `FRAMES_SHOWN` frames meanwhile. One that
/// sends few frames a second, as small encodings of screens do, is given twice its own longest recent interval.
const STALLED_US: i64 = 300_000;
/// Silence after which an encoding has stopped whatever others do: a still screen sends seldom.
const SILENT_US: i64 = 5_000_000;
/// After a keyframe an encoder leaves frames out until its rate is kept again: this is no end.
const RECOVERY_US: i64 = 1_500_000;
const FRAMES_SHOWN: usize = 3;
/// A newcomer begins with a keyframe this young: with an older one browsers would play the past for a while.
const REPLAY_US: i64 = 500_000;
/// And with no more than this: a burst that a slow path still takes at once.
const REPLAY_PACKETS: i64 = 100;
const RATE_US: i64 = 500_000;
/// Packets that come closer together are of one picture.
const SHORTEST_FRAME_US: i64 = 5_000;
/// A part of `worth_bps` that goes every `RATE_US`: half of it in some 45 s, for keyframes of a still picture
/// must not count for more than what an encoding sends when the picture moves.
const WORTH_FADES: i64 = 128;
const LAYERS: usize = MOST_SPATIAL * MOST_TEMPORAL;

/// An encoding within its publication; a number is used again once nobody refers to it.
pub type EncodingId = usize;
/// A subscription within the plane.
pub type SubscriptionId = usize;

/// One packet of an encoding, shared by all who get it.
///
/// `layer` is None where nobody can do without the packet; `ext_picture_id` and `frame_number` are -1 where absent.
/// `primary` is of redundant audio the payload type of what is new and where its data begins.
#[derive(Debug)]
pub struct MediaPacket {
    pub encoding: EncodingId,
    pub ext_seq: i64,
    pub payload_type: u8,
    pub timestamp: u32,
    pub marker: bool,
    pub csrcs: SmallVec<[u8; 8]>,
    pub payload: Vec<u8>,
    pub info: PayloadInfo,
    pub layer: Option<PacketLayer>,
    pub ext_picture_id: i64,
    pub frame_number: i64,
    pub carried: Carried,
    pub primary: Option<(u8, usize)>,
}

impl Default for MediaPacket {
    fn default() -> Self {
        Self {
            encoding: 0,
            ext_seq: 0,
            payload_type: 0,
            timestamp: 0,
            marker: false,
            csrcs: SmallVec::new(),
            payload: Vec::new(),
            info: OPAQUE,
            layer: None,
            ext_picture_id: -1,
            frame_number: -1,
            carried: Carried::default(),
            primary: None,
        }
    }
}

/// Counters of an encoding, cumulative since it started; bytes and rates are of the media, retransmissions
/// included.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodingStats {
    pub rid: Arc<str>,
    pub ssrc: u32,
    pub active: bool,
    pub packets: i64,
    pub bytes: i64,
    pub lost: i64,
    pub recovered: i64,
    pub duplicates: i64,
    pub nacks_sent: i64,
    pub plis_sent: i64,
    pub keyframes: i64,
    pub frames: i64,
    pub jitter_ms: f64,
    pub bitrate_bps: i64,
    pub width: u32,
    pub height: u32,
    /// Of each spatial layer in this one stream, lowest first, empty where the codec tells none.
    pub sizes: Sizes,
}

/// One packet as it came, retransmissions unwrapped.
pub struct Arrival<'a> {
    pub seq: u16,
    pub timestamp: u32,
    pub marker: bool,
    pub csrcs: &'a [u8],
    pub payload: &'a [u8],
    pub recovered: bool,
}

/// What has been received: in the cache, or in hand where a newer packet has its place.
pub enum Received {
    Cached(i64),
    Loose(Box<MediaPacket>),
}

impl Received {
    pub fn ext_seq(&self) -> i64 {
        match self {
            Self::Cached(ext_seq) => *ext_seq,
            Self::Loose(packet) => packet.ext_seq,
        }
    }
}

/// One received stream.
pub struct Encoding {
    pub stats: EncodingStats,
    pub clock_rate: u32,
    pub reception: Reception,
    pub nack: NackTracker,
    pub cache: PacketCache<MediaPacket>,
    pub spatial: i64,
    pub last_us: i64,
    /// Bits per second of each layer alone, the temporal layers of each spatial one together.
    pub rates: [i64; LAYERS],
    pub top_temporal: usize,
    /// The highest layer that flows, of those in this one stream.
    pub top_spatial: usize,
    /// The most it has lately sent: its quality beside encodings of the same picture size.
    pub worth_bps: i64,
    pub last_ts: u32,
    pub last_tl0: i64,
    pub last_frame_number: i64,
    /// Where the newest keyframe begins, -1 before the first.
    pub keyframe_seq: i64,
    pictures: PictureNumbers,
    /// The timestamp of the newest keyframe's picture.
    pub keyframe_ts: i64,
    /// Its spatial layers do not depend on each other, in keyframes either.
    pub alone: bool,
    /// When the newest keyframe began to arrive.
    pub keyframe_us: i64,
    frame_us: [i64; FRAMES_SHOWN],
    frame_gap_us: i64,
    rate_bytes: [i64; LAYERS],
    seen_us: [i64; MOST_SPATIAL],
    layer_gap_us: [i64; MOST_SPATIAL],
    described: DescribedLayers,
    rate_since_us: i64,
}

impl Encoding {
    pub fn new(rid: Arc<str>, ssrc: u32, clock_rate: u32, cache_packets: usize) -> Self {
        Self {
            stats: EncodingStats {
                rid,
                ssrc,
                active: false,
                packets: 0,
                bytes: 0,
                lost: 0,
                recovered: 0,
                duplicates: 0,
                nacks_sent: 0,
                plis_sent: 0,
                keyframes: 0,
                frames: 0,
                jitter_ms: 0.0,
                bitrate_bps: 0,
                width: 0,
                height: 0,
                sizes: Sizes::new(),
            },
            clock_rate,
            reception: Reception::new(clock_rate),
            nack: NackTracker::default(),
            cache: PacketCache::new(cache_packets),
            spatial: 0,
            last_us: 0,
            rates: [0; LAYERS],
            top_temporal: 0,
            top_spatial: 0,
            worth_bps: 0,
            last_ts: 0,
            last_tl0: 0,
            last_frame_number: 0,
            keyframe_seq: -1,
            pictures: PictureNumbers::default(),
            keyframe_ts: -1,
            alone: false,
            keyframe_us: 0,
            frame_us: [0; FRAMES_SHOWN],
            frame_gap_us: 0,
            rate_bytes: [0; LAYERS],
            seen_us: [0; MOST_SPATIAL],
            layer_gap_us: [0; MOST_SPATIAL],
            described: DescribedLayers::default(),
            rate_since_us: -1,
        }
    }

    /// Count the packet in. Fails for what nobody should get: its reason is counted.
    ///
    /// `spare` is memory for the packet, and gets that of one that is no longer needed.
    pub fn receive(
        &mut self,
        id: EncodingId,
        arrival: &Arrival,
        codec: &Codec,
        carried: Carried,
        now_us: i64,
        spare: &mut Option<Box<MediaPacket>>,
    ) -> Parsed<Received> {
        let highest = self.reception.highest;
        let ext_seq = self.accept(arrival, now_us)?;
        if ext_seq > highest + 1 && highest >= 0 {
            self.nack.gap(highest + 1, ext_seq, now_us);
        } else if ext_seq <= highest {
            self.nack.arrived(ext_seq, now_us);
        }
        let info = inspect(codec.name, arrival.payload)?;
        let primary = match codec.name {
            CodecName::Red if !arrival.payload.is_empty() => Some(red::primary(arrival.payload)?),
            _ => None,
        };
        let mut packet = spare.take().unwrap_or_default();
        packet.encoding = id;
        packet.ext_seq = ext_seq;
        packet.payload_type = codec.payload_type;
        packet.timestamp = arrival.timestamp;
        packet.marker = arrival.marker;
        packet.csrcs.clear();
        packet.csrcs.extend_from_slice(arrival.csrcs);
        packet.payload.clear();
        packet.payload.extend_from_slice(arrival.payload);
        packet.info = info;
        packet.layer = match codec.name {
            CodecName::Vp8 => of_vp8(&info),
            CodecName::Vp9 => of_vp9(&info),
            CodecName::Av1 if !carried.values[DEPENDENCY_DESCRIPTOR].is_empty() => {
                self.described.of(&carried.values[DEPENDENCY_DESCRIPTOR])
            }
            _ => None,
        };
        packet.ext_picture_id = -1;
        packet.frame_number = match carried.values[DEPENDENCY_DESCRIPTOR].as_slice() {
            [_, high, low, ..] => i64::from(u16::from_be_bytes([*high, *low])),
            _ => -1,
        };
        packet.carried = carried;
        packet.primary = primary;
        self.look_into(&mut packet, codec.name, ext_seq > highest, now_us);
        match self.cache.put(ext_seq, packet) {
            Ok(before) => {
                *spare = before;
                Ok(Received::Cached(ext_seq))
            }
            Err(packet) => Ok(Received::Loose(packet)),
        }
    }

    fn accept(&mut self, arrival: &Arrival, now_us: i64) -> Parsed<i64> {
        let reception = &mut self.reception;
        if arrival.recovered && !reception.is_missing(arrival.seq) {
            reception.duplicates += 1;
            return Err(ParseError("duplicate"));
        }
        let ext_seq = reception.accept(arrival.seq).map_err(|refused| match refused {
            Refused::Duplicate => ParseError("duplicate"),
            Refused::Restarted => ParseError("out-of-range"),
        })?;
        self.stats.packets += 1;
        self.stats.bytes += arrival.payload.len() as i64;
        if arrival.recovered {
            reception.recovered += 1;
        } else {
            self.last_us = now_us;
            reception.arrived(arrival.timestamp, now_us);
        }
        Ok(ext_seq)
    }

    fn look_into(&mut self, packet: &mut MediaPacket, codec: CodecName, newest: bool, now_us: i64) {
        let info = packet.info;
        match packet.layer {
            None => self.rate_bytes[0] += packet.payload.len() as i64,
            Some(layer) => self.count(layer, packet.payload.len() as i64, newest.then_some(now_us)),
        }
        if newest {
            if packet.timestamp != self.last_ts || self.stats.frames == 0 {
                self.last_ts = packet.timestamp;
                let gap_us = now_us - self.frame_us[FRAMES_SHOWN - 1];
                self.frame_gap_us = longest_gap(self.frame_gap_us, gap_us);
                self.frame_us.rotate_left(1);
                self.frame_us[FRAMES_SHOWN - 1] = now_us;
                self.stats.frames += 1;
            }
            if info.tl0_pic_idx >= 0 {
                self.last_tl0 = info.tl0_pic_idx;
            }
            if packet.frame_number >= 0 {
                self.last_frame_number = packet.frame_number;
            }
        }
        if info.keyframe {
            self.alone = packet.layer.is_some_and(|layer| layer.alone);
            if i64::from(packet.timestamp) != self.keyframe_ts {
                self.keyframe_ts = i64::from(packet.timestamp);
                self.keyframe_us = now_us;
                self.stats.keyframes += 1;
                self.keyframe_seq = self.keyframe_seq.max(packet.ext_seq);
            } else if packet.ext_seq < self.keyframe_seq {
                self.keyframe_seq = packet.ext_seq;
            }
        }
        if info.width != 0 && info.height != 0 {
            (self.stats.width, self.stats.height) = (info.width, info.height);
            let own = if codec == CodecName::Vp9 { vp9::sizes(&packet.payload) } else { Sizes::new() };
            self.stats.sizes = if own.is_empty() { self.described.sizes() } else { own };
        }
        if info.picture_id >= 0 {
            let (id, bits) = (info.picture_id, info.picture_id_bits);
            packet.ext_picture_id = self.pictures.number(id, bits, packet.ext_seq, packet.timestamp, newest);
        }
    }

    /// A packet of a scalable stream; without a time it is of the past.
    fn count(&mut self, layer: PacketLayer, size: i64, now_us: Option<i64>) {
        let (spatial, temporal) = (usize::from(layer.spatial), usize::from(layer.temporal));
        self.rate_bytes[spatial * MOST_TEMPORAL + temporal] += size;
        self.top_temporal = self.top_temporal.max(temporal);
        if let Some(now_us) = now_us.filter(|now_us| *now_us != 0) {
            let gap_us = now_us - self.seen_us[spatial];
            if gap_us >= SHORTEST_FRAME_US {
                self.layer_gap_us[spatial] = longest_gap(self.layer_gap_us[spatial], gap_us);
            }
            self.seen_us[spatial] = now_us;
            self.top_spatial = self.top_spatial.max(spatial);
        }
    }

    /// Find out which spatial layers of this stream come no more.
    fn shed(&mut self, now_us: i64) {
        while self.top_spatial != 0 {
            let seen_us = self.seen_us[self.top_spatial];
            let patience_us = patience_us(self.layer_gap_us[self.top_spatial]);
            if now_us - seen_us < patience_us || self.frame_us[0] <= seen_us {
                return;
            }
            self.top_spatial -= 1;
        }
    }

    /// Whether some frames have been shown since then.
    pub fn has_shown(&self, since_us: i64) -> bool {
        self.frame_us[0] > since_us
    }

    /// Whether nothing comes any more, where `shown` tells whether any encoding has shown frames since a time.
    pub fn is_stalled(&self, now_us: i64, shown: impl FnOnce(i64) -> bool) -> bool {
        let silent_us = now_us - self.last_us;
        let recovering = self.last_us - self.keyframe_us < RECOVERY_US;
        let patience_us = patience_us(self.frame_gap_us);
        let least_us = if recovering { RECOVERY_US.max(patience_us) } else { patience_us };
        silent_us >= least_us && (silent_us >= SILENT_US || shown(self.last_us))
    }

    /// Bits per second of a layer of this stream with all that it depends on.
    pub fn rate_of(&self, spatial: usize, temporal: usize) -> i64 {
        let first = if self.alone { spatial } else { 0 };
        let below = self.rates.chunks(MOST_TEMPORAL).take(spatial + 1).skip(first);
        below.map(|rates| rates[..=temporal].iter().sum::<i64>()).sum()
    }

    /// Its newest keyframe's first packet, where it and everything since are at hand and little enough to be
    /// sent again.
    pub fn recent_keyframe(&self, now_us: i64) -> Option<&MediaPacket> {
        let first = self.keyframe_seq;
        let end = self.reception.highest + 1;
        if first < 0 || end - first > REPLAY_PACKETS || now_us - self.keyframe_us > REPLAY_US {
            return None;
        }
        (first..end).all(|number| self.cache.get(number).is_some()).then(|| self.cache.get(first))?
    }

    /// Nobody may begin with what has come until now.
    pub fn forget_keyframe(&mut self) {
        self.keyframe_seq = -1;
    }

    /// Keep the layers and their rates up to date; call every tick.
    pub fn measure(&mut self, now_us: i64) {
        self.shed(now_us);
        if self.rate_since_us < 0 {
            self.rate_since_us = now_us;
        }
        let elapsed_us = now_us - self.rate_since_us;
        if elapsed_us < RATE_US {
            return;
        }
        self.rate_since_us = now_us;
        for (rate, bytes) in self.rates.iter_mut().zip(&mut self.rate_bytes) {
            let now = (*bytes * 8_000_000).div_euclid(elapsed_us);
            *rate = if now != 0 && *rate != 0 { (now + 3 * *rate) / 4 } else { now };
            *bytes = 0;
        }
        self.stats.bitrate_bps = self.rates.iter().sum();
        if self.stats.active {
            let faded_bps = self.worth_bps - self.worth_bps / WORTH_FADES;
            self.worth_bps = self.stats.bitrate_bps.max(faded_bps);
        }
    }

    /// Its counters, brought up to date.
    pub fn snapshot(&self) -> EncodingStats {
        let mut stats = self.stats.clone();
        stats.lost = self.reception.lost();
        stats.recovered = self.reception.recovered;
        stats.duplicates = self.reception.duplicates;
        stats.jitter_ms = self.reception.jitter * 1000.0 / f64::from(self.clock_rate);
        stats
    }
}

/// The longest recent interval of frames. One longer than `SILENT_US` was a pause.
fn longest_gap(before_us: i64, gap_us: i64) -> i64 {
    let gap_us = if gap_us < SILENT_US { gap_us } else { 0 };
    gap_us.max(before_us * 3 / 4)
}

/// The silence to bear from what sends at such intervals.
fn patience_us(gap_us: i64) -> i64 {
    (2 * gap_us).clamp(STALLED_US, SILENT_US)
}

/// What a packet is, seen from the wire; a retransmission is unwrapped. Fails for padding on the RTX stream.
///
/// Spec: RFC 4588 section 4.
pub fn arrival<'a>(data: &'a [u8], rtp: &RtpPacket, rtx: bool) -> Parsed<Arrival<'a>> {
    let mut payload = &data[rtp.payload.clone()];
    let mut seq = rtp.seq;
    if rtx {
        let [high, low, rest @ ..] = payload else { return Err(ParseError("padding")) };
        seq = u16::from_be_bytes([*high, *low]);
        payload = rest;
    }
    Ok(Arrival {
        seq,
        timestamp: rtp.timestamp,
        marker: rtp.marker,
        csrcs: &data[rtp.csrcs.clone()],
        payload,
        recovered: rtx,
    })
}
