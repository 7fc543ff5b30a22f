//! Sending one publication to one subscriber: which encoding, and every number of its packets rewritten.

use std::collections::VecDeque;

use crate::demux::PublicationId;
use crate::egress_transport::{EgressTransport, Header};
use crate::extensions::ExtensionLayout;
use crate::hub::Hub;
use crate::ingress::{Encoding, EncodingId, MediaPacket, SubscriptionId};
use crate::layers::PacketLayer;
use crate::pacer::Priority;
use crate::parameters::{Kind, Layer, SubscriptionConfig, SubscriptionKey};
use crate::payload::rewrite;
use crate::pli_throttle::PliThrottle;
use crate::publication::Publication;
use crate::red;
use crate::resent::Resent;
use crate::run::{Picture, Run};

pub(crate) const HIGHEST: Layer = Layer { spatial: 7, temporal: 7 };
const RUNS: usize = 4;

/// What was sent to one subscriber of one publication, and what it reports back.
#[derive(Clone, Debug, Default)]
pub struct SubscriptionStats {
    pub packets: i64,
    pub bytes: i64,
    pub nacks_received: i64,
    pub retransmitted: i64,
    pub retransmit_missed: i64,
    pub plis_received: i64,
    pub fraction_lost: f64,
    pub lost: i64,
    pub jitter_ms: f64,
    pub rtt_ms: Option<f64>,
    pub bitrate_bps: i64,
    pub current: Option<Layer>,
    pub current_rid: String,
}

/// The layers before the present ones, and where in the encoding they ended.
#[derive(Clone, Copy, Debug)]
struct Former {
    until: i64,
    spatial: i64,
    temporal: i64,
    watched: i64,
}

/// What a packet's payload becomes.
#[derive(Clone, Copy)]
enum Content {
    Nothing,
    Whole,
    Pictures {
        picture_id: i64,
        tl0_pic_idx: i64,
    },
    /// Of redundant audio the block that is new, from there on.
    From(usize),
    /// Redundant audio with this leg's payload types.
    Renumbered,
}

/// One subscriber's receipt of one publication. Its methods take the parts of the plane that they touch.
pub struct Subscription {
    pub id: SubscriptionId,
    pub key: SubscriptionKey,
    pub config: SubscriptionConfig,
    pub transport: usize,
    pub publication: PublicationId,
    pub stats: SubscriptionStats,
    pub target: Option<Layer>,
    pub unsettled: bool,
    pub(crate) layout: ExtensionLayout,
    priority: Priority,
    pub(crate) running: bool,
    /// The current one, while running, is the last.
    pub(crate) runs: VecDeque<Run>,
    pub(crate) wanted: Option<EncodingId>,
    pub(crate) asked_us: i64,
    pub(crate) temporal: i64,
    temporal_cap: i64,
    /// Of the layers within the encoding that flows.
    pub(crate) spatial: i64,
    pub(crate) spatial_cap: i64,
    /// The largest spatial layer of the last keyframe's picture that was sent.
    pub(crate) watched: i64,
    former: Former,
    pub(crate) next_out: i64,
    pub(crate) rtx_next: i64,
    pub(crate) connected: bool,
    pub(crate) resent: Resent,
    /// Of what was sent, what has counted for sending again.
    pub(crate) earned_bytes: i64,
    pub(crate) report_us: i64,
    pub(crate) reports: VecDeque<(u32, i64)>,
    /// Number and time of the last FIR.
    pub(crate) fir: Option<(u8, i64)>,
    pub(crate) pli_throttle: PliThrottle,
    pub(crate) rate_bytes: i64,
    pub(crate) rate_us: i64,
}

impl Subscription {
    /// `first_out` and `rtx_first` are the first sequence numbers of its SSRCs.
    pub fn new(
        id: SubscriptionId,
        key: SubscriptionKey,
        config: SubscriptionConfig,
        transport: usize,
        publication: PublicationId,
        kind: Kind,
        (first_out, rtx_first): (i64, i64),
    ) -> Self {
        Self {
            id,
            key,
            layout: ExtensionLayout::new(&config.extensions, &config.mid),
            config,
            transport,
            publication,
            stats: SubscriptionStats::default(),
            target: Some(HIGHEST),
            unsettled: false,
            priority: if kind == Kind::Audio { Priority::Audio } else { Priority::Video },
            running: false,
            runs: VecDeque::new(),
            wanted: None,
            asked_us: -1,
            temporal: HIGHEST.temporal,
            temporal_cap: HIGHEST.temporal,
            spatial: HIGHEST.spatial,
            spatial_cap: HIGHEST.spatial,
            watched: 0,
            former: Former { until: -1, spatial: HIGHEST.spatial, temporal: HIGHEST.temporal, watched: 0 },
            next_out: first_out,
            rtx_next: rtx_first,
            connected: false,
            resent: Resent::default(),
            earned_bytes: 0,
            report_us: -1,
            reports: VecDeque::new(),
            fir: None,
            pli_throttle: PliThrottle::default(),
            rate_bytes: 0,
            rate_us: -1,
        }
    }

    /// Take over a configuration of the same SSRCs.
    pub fn configure(&mut self, config: SubscriptionConfig) {
        self.layout = ExtensionLayout::new(&config.extensions, &config.mid);
        self.config = config;
    }

    /// The transport has keys, or new ones. Under new keys the rollover counter begins anew.
    pub fn connect(&mut self, transport: &EgressTransport, publication: &Publication, hub: &mut Hub) {
        if transport.sender.is_none() {
            return;
        }
        if self.connected {
            self.stop(publication);
            self.runs.clear();
            self.next_out &= 0x7FFF;
            self.rtx_next &= 0x7FFF;
        }
        self.connected = true;
        self.wanted = None;
        self.choose(publication, hub);
    }

    /// Remember on the transport where the SSRCs ended.
    pub fn close(&mut self, transport: &mut EgressTransport, publication: &Publication) {
        self.stop(publication);
        transport.end(self.config.ssrc, &self.config.mid, self.next_out);
        if let Some(rtx_ssrc) = self.config.rtx_ssrc {
            transport.continue_at(rtx_ssrc, self.rtx_next);
        }
    }

    // --- what is to flow -----------------------------------------------------------------------

    /// Decide anew which encoding should flow, after its inputs changed.
    pub fn choose(&mut self, publication: &Publication, hub: &mut Hub) {
        self.settle_soon(hub);
        let target = match self.target {
            Some(target) if !publication.muted => target,
            _ => {
                self.stop(publication);
                self.wanted = None;
                return;
            }
        };
        let spatial = |id: &EncodingId| publication.encodings[*id].spatial;
        let fitting = publication.flowing.iter().rev().find(|id| spatial(id) <= target.spatial);
        let Some(&wanted) = fitting else {
            // What stopped may go on where it stopped; a larger one than policy allows would overrun the path.
            let running = self.run().map(|run| run.encoding);
            self.wanted = running.or_else(|| publication.silent(target.spatial));
            return;
        };
        let encoding = &publication.encodings[wanted];
        let top = encoding.top_spatial as i64;
        let limited = encoding.spatial + top >= target.spatial;
        self.temporal_cap = if limited { target.temporal } else { HIGHEST.temporal };
        let spatial_cap = target.spatial - encoding.spatial;
        let moves = spatial_cap > self.spatial_cap || (encoding.alone && spatial_cap != self.spatial_cap);
        self.spatial_cap = spatial_cap;
        if (top > 0 && moves) || self.wanted != Some(wanted) {
            self.wanted = Some(wanted);
            self.asked_us = -1;
        }
    }

    /// Leave an encoding larger than what is wanted now, whatever there is to go on with.
    pub fn leave_larger(&mut self, publication: &Publication) {
        let spatial = |id: EncodingId| publication.encodings[id].spatial;
        if let (Some(run), Some(wanted)) = (self.run(), self.wanted)
            && spatial(run.encoding) > spatial(wanted)
        {
            if let Some(run) = self.runs.back_mut() {
                run.abandoned = true;
            }
            self.stop(publication);
        }
    }

    /// Whether it is this encoding that flows.
    pub fn gets(&self, encoding: EncodingId) -> bool {
        self.run().is_some_and(|run| run.encoding == encoding)
    }

    /// Whether it refers to this encoding in any way.
    pub fn needs(&self, encoding: EncodingId) -> bool {
        self.wanted == Some(encoding) || self.runs.iter().any(|run| run.encoding == encoding)
    }

    pub(crate) fn run(&self) -> Option<&Run> {
        if self.running { self.runs.back() } else { None }
    }

    fn settle_soon(&mut self, hub: &mut Hub) {
        if !self.unsettled {
            self.unsettled = true;
            hub.unsettled.push_back(self.id);
        }
    }

    fn stop(&mut self, publication: &Publication) {
        if self.running {
            if let Some(run) = self.runs.back_mut() {
                self.next_out = run.end(publication);
            }
            self.running = false;
        }
    }

    // --- packets -------------------------------------------------------------------------------

    /// Send the packet if it is of what flows, or if what should flow can begin with it.
    pub fn forward(
        &mut self,
        packet: &MediaPacket,
        publication: &Publication,
        transport: &mut EgressTransport,
        now_us: i64,
        hub: &mut Hub,
    ) {
        if !self.connected {
            return;
        }
        let current = self.runs.len().wrapping_sub(1);
        let index = match self.run() {
            Some(run) if run.encoding == packet.encoding => current,
            _ => match self.other_run(packet, publication, transport, now_us, hub) {
                Some(index) => index,
                None => return,
            },
        };
        let (payload_type, content) = self.content(packet, publication, index);
        let Some(content) = content else { return hub.counters.drop("picture-too-old") };
        let marker = self.marks(packet, &content, index);
        let run = &mut self.runs[index];
        let nothing = matches!(content, Content::Nothing);
        if nothing && run.sequence.drop(packet.ext_seq) {
            return;
        }
        let Some(out) = run.sequence.map(packet.ext_seq) else { return hub.counters.drop("too-late") };
        let main = self.config.payload_types.first().map_or(0, |(_, number)| *number);
        let payload_type = payload_type.unwrap_or(main);
        let header = Header {
            ssrc: self.config.ssrc,
            second: if marker && !nothing { payload_type | 0x80 } else { payload_type },
            ext_seq: out,
            timestamp: run.timestamp(packet.timestamp),
            csrcs: &packet.csrcs,
            layout: &self.layout,
            carried: &packet.carried,
            frame_number: run.frame_number(packet),
        };
        let draft = header.begin(now_us, hub);
        let size = self.write(content, packet, &mut hub.out.bytes);
        transport.transmit(draft, self.priority, now_us, hub);
        self.stats.packets += 1;
        self.stats.bytes += size as i64;
    }

    /// This leg's payload type, and what of the payload is sent; None where the packet is too old for any.
    fn content(
        &mut self,
        packet: &MediaPacket,
        publication: &Publication,
        index: usize,
    ) -> (Option<u8>, Option<Content>) {
        let payload_type = self.payload_type(packet.payload_type);
        if let Some(primary) = packet.primary {
            let (payload_type, content) = self.redundant(packet, payload_type, primary);
            return (payload_type, Some(content));
        }
        if payload_type.is_none() || packet.payload.is_empty() {
            return (payload_type, Some(Content::Nothing));
        }
        let newest = packet.ext_seq > self.runs[index].sequence.highest();
        if let Some(layer) = packet.layer
            && self.leaves_out(packet, layer, &publication.encodings[packet.encoding], newest)
        {
            let told = layer.gapless && packet.ext_picture_id >= 0;
            if let (Some(pictures), true) = (&mut self.runs[index].pictures, told) {
                pictures.drop(packet.ext_picture_id);
            }
            return (payload_type, Some(Content::Nothing));
        }
        let content = match self.runs[index].picture(packet) {
            Picture::AsItIs => Some(Content::Whole),
            Picture::Other { picture_id, tl0_pic_idx } => Some(Content::Pictures { picture_id, tl0_pic_idx }),
            Picture::Unknown => None,
        };
        (payload_type, content)
    }

    /// Whether the packet goes out with the marker bit. Of the higher layers, whose last packet bears it, nothing
    /// may be sent.
    fn marks(&mut self, packet: &MediaPacket, content: &Content, index: usize) -> bool {
        let sent = matches!(content, Content::Whole | Content::Pictures { .. }) && packet.primary.is_none();
        if let Some(layer) = packet.layer
            && sent
            && layer.last
            && !packet.marker
            && i64::from(layer.spatial) == self.top_at(packet.ext_seq)
        {
            self.runs[index].mark(packet.ext_seq);
            return true;
        }
        packet.marker
    }

    /// The highest spatial layer sent of the picture that the packet belongs to.
    fn top_at(&self, ext_seq: i64) -> i64 {
        if ext_seq < self.former.until { self.former.spatial } else { self.spatial }
    }

    /// RED for those who take it, naming payload types as they know them; for others what is new.
    fn redundant(
        &self,
        packet: &MediaPacket,
        payload_type: Option<u8>,
        (primary, start): (u8, usize),
    ) -> (Option<u8>, Content) {
        let number = self.payload_type(primary);
        if payload_type.is_none() {
            let some = number.is_some() && start < packet.payload.len();
            return (number, if some { Content::From(start) } else { Content::Nothing });
        }
        let same = number.is_none() || number == Some(primary);
        (payload_type, if same { Content::Whole } else { Content::Renumbered })
    }

    fn write(&self, content: Content, packet: &MediaPacket, out: &mut Vec<u8>) -> usize {
        let start = out.len();
        match content {
            Content::Nothing => {}
            Content::From(offset) => out.extend_from_slice(&packet.payload[offset..]),
            _ => out.extend_from_slice(&packet.payload),
        }
        match content {
            Content::Pictures { picture_id, tl0_pic_idx } => {
                rewrite(&mut out[start..], &packet.info, picture_id, tl0_pic_idx);
            }
            Content::Renumbered => {
                red::renumber(&mut out[start..], |number| self.payload_type(number).unwrap_or(number));
            }
            _ => {}
        }
        out.len() - start
    }

    /// This leg's number for a payload type of the publication.
    pub(crate) fn payload_type(&self, number: u8) -> Option<u8> {
        self.config.payload_types.iter().find(|(from, _)| *from == number).map(|(_, to)| *to)
    }

    /// Layers change where a picture begins: downwards at once, upwards where the codec allows.
    ///
    /// Larger pictures begin with a keyframe, more frames after a layer sync too. Where smaller ones are not sent
    /// beside larger ones, they begin with a keyframe as well. A late packet belongs to what flowed when it was due:
    /// its picture lacks it.
    fn leaves_out(
        &mut self,
        packet: &MediaPacket,
        layer: PacketLayer,
        encoding: &Encoding,
        newest: bool,
    ) -> bool {
        let (spatial, temporal) = (i64::from(layer.spatial), i64::from(layer.temporal));
        if packet.ext_seq < self.former.until {
            let beside = encoding.alone && spatial < self.former.watched;
            return temporal > self.former.temporal || spatial > self.former.spatial || beside;
        }
        if newest && layer.first {
            let (before, watched) = ((self.spatial, self.temporal), self.watched);
            let keyframe = packet.info.keyframe;
            if keyframe {
                self.watched = 0;
            }
            if keyframe || (self.spatial_cap < self.spatial && !encoding.alone) {
                self.spatial = self.spatial_cap;
            }
            let cap = self.temporal_cap;
            if keyframe || cap < self.temporal {
                self.temporal = cap;
            } else if layer.sync && self.temporal < temporal && temporal <= cap {
                self.temporal = temporal;
            } else if layer.switch_up && temporal <= self.temporal {
                self.temporal = cap;
            }
            if before != (self.spatial, self.temporal) {
                let (spatial, temporal) = before;
                self.former = Former { until: packet.ext_seq, spatial, temporal, watched };
            }
        }
        if temporal > self.temporal || spatial > self.spatial {
            return true;
        }
        if i64::from(packet.timestamp) != encoding.keyframe_ts {
            return encoding.alone && spatial < self.watched;
        }
        self.watched = self.watched.max(spatial);
        false
    }

    /// Which run a packet belongs to that is not of the current one, None where nobody waits for it.
    ///
    /// Either a new run begins with it (and it has been sent), or it is a late packet of a run that ended
    /// before it came.
    fn other_run(
        &mut self,
        packet: &MediaPacket,
        publication: &Publication,
        transport: &mut EgressTransport,
        now_us: i64,
        hub: &mut Hub,
    ) -> Option<usize> {
        let wanted = self.wanted?;
        if packet.encoding == wanted {
            let begins = match publication.config.kind {
                Kind::Video => packet.info.keyframe,
                Kind::Audio => !packet.payload.is_empty(),
            };
            if begins {
                self.begin(packet, publication, transport, now_us, hub);
            }
            return None;
        }
        let late = |run: &Run| run.encoding == packet.encoding && packet.ext_seq <= run.sequence.highest();
        self.runs.iter().position(late)
    }

    /// Begin a run, send its first packet, and what has already followed it.
    ///
    /// A sender report goes ahead: an encoding that is behind the one before has its timestamps moved, and
    /// by the old report its pictures would be shown as much too late.
    pub(crate) fn begin(
        &mut self,
        packet: &MediaPacket,
        publication: &Publication,
        transport: &mut EgressTransport,
        now_us: i64,
        hub: &mut Hub,
    ) {
        self.stop(publication);
        self.settle_soon(hub);
        let run = Run::new(publication, packet, self.next_out, self.runs.back(), now_us);
        if self.runs.len() == RUNS {
            self.runs.pop_front();
        }
        self.runs.push_back(run);
        self.running = true;
        self.temporal = self.temporal_cap;
        self.spatial = self.spatial_cap;
        self.former = Former { until: -1, spatial: self.spatial, temporal: self.temporal, watched: 0 };
        self.report_us = -1;
        self.report(publication, transport, now_us, hub);
        self.forward(packet, publication, transport, now_us, hub);
        let encoding = &publication.encodings[packet.encoding];
        for ext_seq in packet.ext_seq + 1..=encoding.reception.highest {
            if let Some(following) = encoding.cache.get(ext_seq) {
                self.forward(following, publication, transport, now_us, hub);
            }
        }
    }
}
