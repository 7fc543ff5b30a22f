//! What a subscriber asks for and reports, and the timers of a subscription.

use crate::egress::Subscription;
use crate::egress_transport::{EgressTransport, Header};
use crate::extensions::Carried;
use crate::hub::{Event, Hub};
use crate::ingress::{EncodingId, MediaPacket};
use crate::pacer::Priority;
use crate::parameters::{Kind, Layer};
use crate::payload::rewrite;
use crate::publication::Publication;
use crate::reception::round_trip_us;
use crate::rtcp::{ReportBlock, sender_report};
use crate::run::{Picture, Run};
use crate::sequence::unwrap;

const REPORT_US: i64 = 1_000_000;
const REMIND_US: i64 = 1_000_000;
const RATE_US: i64 = 500_000;
/// A packet is not sent again within this, and not before the last one can have arrived: neither a hostile
/// list of NACKs nor an impatient receiver behind a long queue must multiply it.
const RESEND_US: i64 = 10_000;
const LONGEST_RESEND_US: i64 = 500_000;
/// In answer to one NACK: a short packet must not make a burst of a megabyte.
const MOST_RESENT: usize = 256;
const REPORTS_KEPT: usize = 4;
/// A FIR of the same number within this is a repeated one. Later it is of a peer that never counts them on.
const SAME_FIR_US: i64 = 2_000_000;

impl Subscription {
    /// Answer a NACK by RTX. Spec: RFC 4588 section 4.
    pub fn retransmit(
        &mut self,
        lost: impl Iterator<Item = u16>,
        publication: &Publication,
        transport: &mut EgressTransport,
        now_us: i64,
        hub: &mut Hub,
    ) {
        let newest = self.run().map_or(self.next_out - 1, |run| run.sequence.highest_out());
        transport.earn(self.stats.bytes - self.earned_bytes, now_us);
        self.earned_bytes = self.stats.bytes;
        let rtt_us = (self.stats.rtt_ms.unwrap_or(0.0) * 1000.0) as i64;
        let resend_us = rtt_us.clamp(RESEND_US, LONGEST_RESEND_US);
        for seq in lost.take(MOST_RESENT) {
            self.stats.nacks_received += 1;
            let Some(rtx_ssrc) = self.config.rtx_ssrc.filter(|_| self.connected) else { continue };
            let out = unwrap(i64::from(seq), newest, 16);
            if self.resent.at(out).is_some_and(|at_us| now_us - at_us < resend_us) {
                continue;
            }
            let Some((index, packet)) = self.find(out, publication) else {
                self.stats.retransmit_missed += 1;
                continue;
            };
            if let Some(payload_type) = self.rtx_payload_type(packet.payload_type) {
                if !self.resend(seq, index, packet, (rtx_ssrc, payload_type), transport, now_us, hub) {
                    return;
                }
                self.resent.note(out, now_us);
                self.rtx_next += 1;
                self.stats.retransmitted += 1;
            }
        }
    }

    /// Send one packet again; false where that is more than the transport may spend.
    #[allow(clippy::too_many_arguments)]
    fn resend(
        &mut self,
        seq: u16,
        index: usize,
        packet: &MediaPacket,
        (rtx_ssrc, payload_type): (u32, u8),
        transport: &mut EgressTransport,
        now_us: i64,
        hub: &mut Hub,
    ) -> bool {
        let run = &mut self.runs[index];
        let picture = run.picture(packet);
        // Of a layer that was left out too late the number alone went out; only that is missed.
        let nothing = packet.payload.is_empty() || picture == Picture::Unknown;
        let header = Header {
            ssrc: rtx_ssrc,
            second: if run.marks(packet) && !nothing { payload_type | 0x80 } else { payload_type },
            ext_seq: self.rtx_next,
            timestamp: run.timestamp(packet.timestamp),
            csrcs: &packet.csrcs,
            layout: &self.layout,
            carried: &packet.carried,
            frame_number: run.frame_number(packet),
        };
        let draft = header.begin(now_us, hub);
        let size = if nothing { 0 } else { packet.payload.len() } + draft.block_bytes(&packet.csrcs);
        if !transport.may_resend(size, now_us, hub) {
            transport.discard(draft, hub);
            return false;
        }
        let out = &mut hub.out.bytes;
        out.extend(seq.to_be_bytes());
        if !nothing {
            let start = out.len();
            out.extend_from_slice(&packet.payload);
            if let Picture::Other { picture_id, tl0_pic_idx } = picture {
                rewrite(&mut out[start..], &packet.info, picture_id, tl0_pic_idx);
            }
        }
        transport.transmit(draft, Priority::Retransmission, now_us, hub);
        true
    }

    fn rtx_payload_type(&self, payload_type: u8) -> Option<u8> {
        let media_type = self.payload_type(payload_type)?;
        let found = self.config.rtx_payload_types.iter().find(|(media, _)| *media == media_type)?;
        Some(found.1)
    }

    fn find<'a>(&self, out: i64, publication: &'a Publication) -> Option<(usize, &'a MediaPacket)> {
        let known = |(index, run): (usize, &Run)| {
            let source = run.sequence.source_of(out)?;
            (!run.abandoned).then_some((index, run.encoding, source))
        };
        let (index, encoding, ext_seq) = self.runs.iter().enumerate().rev().find_map(known)?;
        Some((index, publication.encodings[encoding].cache.get(ext_seq)?))
    }

    /// Whether `pad` would send.
    pub fn can_pad(&self) -> bool {
        let rtx =
            self.connected && self.config.rtx_ssrc.is_some() && !self.config.rtx_payload_types.is_empty();
        rtx && self.layout.numbers()
    }

    /// Send padding of `size` bytes (1 to 255) on the RTX stream; false where there is none to send on.
    pub fn pad(
        &mut self,
        size: u8,
        publication: &Publication,
        transport: &mut EgressTransport,
        now_us: i64,
        hub: &mut Hub,
    ) -> bool {
        let (Some(rtx_ssrc), Some((_, payload_type)), true) =
            (self.config.rtx_ssrc, self.config.rtx_payload_types.first(), self.connected)
        else {
            return false;
        };
        let last = self.runs.back();
        let header = Header {
            ssrc: rtx_ssrc,
            second: *payload_type,
            ext_seq: self.rtx_next,
            timestamp: last.map_or(0, |run| run.timestamp(publication.encodings[run.encoding].last_ts)),
            csrcs: &[],
            layout: &self.layout,
            carried: &Carried::default(),
            frame_number: None,
        };
        let draft = header.begin(now_us, hub);
        transport.pad(draft, size, now_us, hub);
        self.rtx_next += 1;
        true
    }

    /// The subscriber asked for a keyframe. A repeated FIR is the same one. Spec: RFC 5104 section 4.3.1.2.
    pub fn wants_keyframe(
        &mut self,
        fir_seq: Option<u8>,
        publication: &Publication,
        now_us: i64,
        hub: &mut Hub,
    ) {
        if let Some(seq) = fir_seq {
            let same = |(last, at_us): (u8, i64)| seq == last && now_us - at_us < SAME_FIR_US;
            if self.fir.is_some_and(same) {
                return;
            }
            self.fir = Some((seq, now_us));
        }
        self.stats.plis_received += 1;
        if let Some(broken) = self.broken(publication).map(|id| &publication.encodings[id])
            && self.pli_throttle.request(broken.keyframe_us, now_us)
        {
            hub.tell(Event::KeyframeWanted {
                publication: publication.key,
                rid: broken.stats.rid.clone(),
                reason: if fir_seq.is_some() { "fir" } else { "pli" },
            });
        }
    }

    /// The encoding that a request is about: what flows, or what is about to take its place as less.
    fn broken(&self, publication: &Publication) -> Option<EncodingId> {
        let spatial = |id: EncodingId| publication.encodings[id].spatial;
        match (self.run(), self.wanted) {
            (Some(run), Some(wanted)) if spatial(wanted) > spatial(run.encoding) => Some(run.encoding),
            (_, wanted) => wanted,
        }
    }

    /// A reception report of this SSRC arrived. Spec: RFC 3550 section 6.4.1.
    pub fn reported(&mut self, block: &ReportBlock, publication: &Publication, now_us: i64) {
        let clock_rate = publication.config.codecs.first().map_or(90_000, |codec| codec.clock_rate);
        let stats = &mut self.stats;
        stats.fraction_lost = f64::from(block.fraction_lost) / 256.0;
        stats.lost = block.lost;
        stats.jitter_ms = f64::from(block.jitter) * 1000.0 / f64::from(clock_rate);
        if let Some((_, sent_us)) = self.reports.iter().find(|(lsr, _)| *lsr == block.lsr) {
            stats.rtt_ms = Some(round_trip_us(block, *sent_us, now_us) as f64 / 1000.0);
        }
    }

    /// Get a waiting switch on its way, and tell what flows now.
    pub fn settle(
        &mut self,
        publication: &Publication,
        transport: &mut EgressTransport,
        now_us: i64,
        hub: &mut Hub,
    ) {
        self.ask(publication, transport, now_us, hub);
        let current = self.current(publication);
        // Encodings may change places, and then another one has the same layer.
        let run = self.run().filter(|_| current.is_some());
        let rid = run.map_or("", |run| &publication.encodings[run.encoding].stats.rid);
        if rid != self.stats.current_rid {
            rid.clone_into(&mut self.stats.current_rid);
        }
        if current != self.stats.current {
            self.stats.current = current;
            hub.tell(Event::CurrentLayerChanged { subscription: self.key, layer: current });
        }
    }

    /// Reminders of a waiting switch, rates and sender reports; call several times a second.
    pub fn tick(
        &mut self,
        publication: &Publication,
        transport: &mut EgressTransport,
        now_us: i64,
        hub: &mut Hub,
    ) {
        self.settle(publication, transport, now_us, hub);
        if let Some(broken) = self.broken(publication).map(|id| &publication.encodings[id])
            && self.pli_throttle.due(broken.keyframe_us, now_us)
        {
            let rid = broken.stats.rid.clone();
            hub.tell(Event::KeyframeWanted { publication: publication.key, rid, reason: "pli" });
        }
        if self.rate_us < 0 {
            self.rate_us = now_us;
        }
        let elapsed_us = now_us - self.rate_us;
        if elapsed_us >= RATE_US {
            self.stats.bitrate_bps =
                ((self.stats.bytes - self.rate_bytes) * 8_000_000).div_euclid(elapsed_us);
            self.rate_bytes = self.stats.bytes;
            self.rate_us = now_us;
        }
        if self.report_us < 0 || now_us - self.report_us >= REPORT_US {
            self.report(publication, transport, now_us, hub);
        }
    }

    /// A newcomer begins with a recent keyframe; a switch that waits for one says so, again and again.
    fn ask(
        &mut self,
        publication: &Publication,
        transport: &mut EgressTransport,
        now_us: i64,
        hub: &mut Hub,
    ) {
        let Some(wanted) = self.wanted else { return };
        if !self.connected || publication.config.kind != Kind::Video {
            return;
        }
        let top = publication.encodings[wanted].top_spatial as i64;
        let best = self.spatial_cap.min(top);
        let alone = publication.encodings[wanted].alone;
        let has_best = if alone { self.watched == best } else { self.spatial >= best };
        if self.gets(wanted) && has_best {
            return;
        }
        if self.runs.is_empty()
            && let Some(keyframe) = publication.encodings[wanted].recent_keyframe(now_us)
        {
            self.begin(keyframe, publication, transport, now_us, hub);
            return;
        }
        if self.asked_us < 0 || now_us - self.asked_us >= REMIND_US {
            self.asked_us = now_us;
            hub.tell(Event::KeyframeWanted {
                publication: publication.key,
                rid: publication.encodings[wanted].stats.rid.clone(),
                reason: if self.runs.is_empty() { "join" } else { "switch" },
            });
        }
    }

    fn current(&self, publication: &Publication) -> Option<Layer> {
        let encoding = &publication.encodings[self.run()?.encoding];
        let temporal = self.temporal.min(encoding.top_temporal as i64);
        let spatial = encoding.spatial + self.spatial.min(encoding.top_spatial as i64);
        encoding.stats.active.then_some(Layer { spatial, temporal })
    }

    /// The publisher's own clock carried over: its audio and video stay in step. Spec: RFC 3550 6.4.1.
    pub(crate) fn report(
        &mut self,
        publication: &Publication,
        transport: &mut EgressTransport,
        now_us: i64,
        hub: &mut Hub,
    ) {
        let Some(run) = self.run() else { return };
        let encoding = &publication.encodings[run.encoding];
        let Some(clock) = &encoding.reception.sender_report else { return };
        let (ntp, rtp_ts) = clock.at(now_us, encoding.clock_rate);
        let rtp_ts = run.timestamp(rtp_ts);
        self.report_us = now_us;
        let lsr = (ntp >> 16) as u32;
        match self.reports.iter_mut().find(|(known, _)| *known == lsr) {
            Some(entry) => entry.1 = now_us,
            None => self.reports.push_back((lsr, now_us)),
        }
        if self.reports.len() > REPORTS_KEPT {
            self.reports.pop_front();
        }
        let (ssrc, cname) = (self.config.ssrc, &self.config.cname);
        let (packets, octets) = (self.stats.packets as u32, self.stats.bytes as u32);
        transport.send_rtcp(hub, |out| sender_report(ssrc, ntp, rtp_ts, packets, octets, cname, out));
    }
}
