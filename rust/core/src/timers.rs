//! RTCP that comes in, and everything that a plane does by the clock.

use crate::demux::PublicationId;
use crate::error::{ParseError, Parsed};
use crate::hub::Event;
use crate::mirror::Copied;
use crate::parameters::Kind;
use crate::plane::Plane;
use crate::reception::SenderClock;
use crate::rtcp::{self, Rtcp, parse_compound};

const REPORT_US: i64 = 1_000_000;
const MOST_BLOCKS: usize = 31;
/// A subscription has its turn every so many ticks, ten times a second: there may be thousands of them.
const TURNS: usize = 5;

impl Plane {
    pub(crate) fn receive_rtcp_datagram(&mut self, id: usize, data: &mut [u8], now_us: i64) -> Parsed<()> {
        let transport = &mut self.transports[id];
        let Some(receiver) = &mut transport.receiver else { return Ok(()) };
        let demux = &transport.demux;
        let size = receiver.unprotect_rtcp(data, |ssrc| demux.is_known(ssrc))?;
        for packet in parse_compound(&data[..size])? {
            match packet {
                Ok(packet) => self.receive_rtcp(id, packet, now_us),
                Err(ParseError(reason)) => self.hub.counters.drop(reason),
            }
        }
        Ok(())
    }

    fn receive_rtcp(&mut self, id: usize, packet: Rtcp<'_>, now_us: i64) {
        match packet {
            Rtcp::Nack { media_ssrc, lost, .. } => self.retransmit(id, media_ssrc, lost, now_us),
            Rtcp::TransportWide(feedback) => {
                let transport = &mut self.transports[id];
                let results = transport.out.history.matched(&feedback);
                if !results.is_empty() {
                    self.hub.tell(Event::TransportFeedback { transport: transport.out.key, results });
                }
            }
            Rtcp::ReceiverReport { reports, .. } => self.receive_blocks(id, reports, now_us),
            Rtcp::SenderReport { ssrc, ntp, rtp_ts, reports } => {
                if let Some((publication, encoding)) = self.encoding_of(id, ssrc).filter(|_| ntp != 0) {
                    let reception = &mut self.publications[publication].encodings[encoding].reception;
                    let clock = SenderClock { ntp, rtp_ts, arrival_us: now_us };
                    reception.sender_report = Some(clock);
                    let publication = &self.publications[publication];
                    if publication.mirrored {
                        let rid = publication.encodings[encoding].stats.rid.clone();
                        self.hub.copies.word(publication, Copied::Clock { rid, clock });
                    }
                }
                self.receive_blocks(id, reports, now_us);
            }
            Rtcp::PictureLoss { media_ssrc, .. } => self.wants_keyframe(id, media_ssrc, None, now_us),
            Rtcp::FullIntraRequest { entries, .. } => {
                for (ssrc, seq) in rtcp::entries(entries) {
                    self.wants_keyframe(id, ssrc, Some(seq), now_us);
                }
            }
            Rtcp::Remb { bitrate_bps, ssrcs, .. } => {
                let transport = &self.transports[id];
                let known = rtcp::words(ssrcs).filter_map(|ssrc| transport.subscriptions.get(&ssrc));
                let mut subscriptions: Vec<_> = known.map(|each| self.subscriptions[*each].key).collect();
                subscriptions.sort_unstable();
                subscriptions.dedup();
                let transport = transport.out.key;
                self.hub.tell(Event::RembReceived { transport, bitrate_bps, subscriptions });
            }
            Rtcp::Goodbye { ssrcs } => {
                for ssrc in rtcp::words(ssrcs) {
                    self.receive_goodbye(id, ssrc);
                }
            }
        }
    }

    fn retransmit(&mut self, id: usize, media_ssrc: u32, lost: &[u8], now_us: i64) {
        let transport = &mut self.transports[id];
        if let Some(subscription) = transport.subscriptions.get(&media_ssrc) {
            let subscription = &mut self.subscriptions[*subscription];
            let publication = &self.publications[subscription.publication];
            let lost = rtcp::lost(lost);
            subscription.retransmit(lost, publication, &mut transport.out, now_us, &mut self.hub);
        }
    }

    fn wants_keyframe(&mut self, id: usize, ssrc: u32, fir_seq: Option<u8>, now_us: i64) {
        if let Some(subscription) = self.transports[id].subscriptions.get(&ssrc) {
            let subscription = &mut self.subscriptions[*subscription];
            let publication = &self.publications[subscription.publication];
            subscription.wants_keyframe(fir_seq, publication, now_us, &mut self.hub);
        }
    }

    fn receive_blocks(&mut self, id: usize, blocks: &[u8], now_us: i64) {
        for block in rtcp::blocks(blocks) {
            if let Some(subscription) = self.transports[id].subscriptions.get(&block.ssrc) {
                let subscription = &mut self.subscriptions[*subscription];
                subscription.reported(&block, &self.publications[subscription.publication], now_us);
            }
        }
    }

    fn encoding_of(&self, id: usize, ssrc: u32) -> Option<(PublicationId, usize)> {
        let route = self.transports[id].demux.routes.get(&ssrc).filter(|route| !route.rtx)?;
        let publication = &self.publications[route.publication];
        let encoding = publication.encoding_of(&route.rid)?;
        (publication.encodings[encoding].stats.ssrc == ssrc).then_some((route.publication, encoding))
    }

    /// An encoding that is switched off says so. It may come back. Spec: RFC 3550 section 6.6.
    fn receive_goodbye(&mut self, id: usize, ssrc: u32) {
        if let Some((publication, encoding)) = self.encoding_of(id, ssrc)
            && self.publications[publication].encodings[encoding].stats.active
        {
            self.ended(publication, encoding);
            self.reconsider(publication);
        }
    }

    pub(crate) fn ended(&mut self, id: PublicationId, encoding: usize) {
        let publication = &mut self.publications[id];
        let encoding = &mut publication.encodings[encoding];
        encoding.stats.active = false;
        encoding.nack.clear();
        let rid = encoding.stats.rid.clone();
        if publication.mirrored {
            self.hub.copies.word(publication, Copied::Ended { rid: rid.clone() });
        }
        if !publication.mirror {
            self.hub.tell(Event::EncodingStopped { publication: publication.key, rid });
        }
    }

    // --- timers --------------------------------------------------------------------------------

    /// Reports, NACKs, feedback, stopped encodings. Call every 20 ms while a transport is open.
    pub fn tick(&mut self, now_us: i64) {
        for index in 0..self.publication_ids.len() {
            let id = self.publication_ids[index];
            let transport = self.publications[id].config.transport;
            if self.halted.contains(&transport) {
                continue;
            }
            self.at_work = Some(transport);
            for place in 0..self.publications[id].by_rid.len() {
                let encoding = self.publications[id].by_rid[place].1;
                let publication = &mut self.publications[id];
                publication.encodings[encoding].measure(now_us);
                let stalled = || publication.is_stalled(encoding, now_us);
                if !publication.mirror && publication.encodings[encoding].stats.active && stalled() {
                    self.ended(id, encoding);
                }
            }
            if self.publications[id].mirror {
                self.watch_mirror(id, now_us);
            }
            self.reconsider(id);
        }
        for index in 0..self.transport_ids.len() {
            let id = self.transport_ids[index];
            let key = self.transports[id].out.key;
            if self.halted.contains(&key) {
                continue;
            }
            self.at_work = Some(key);
            #[cfg(feature = "faults")]
            assert_ne!(self.fails_by_clock, Some(key), "a fault was asked for");
            if !self.transports[id].demux.publications.is_empty() {
                self.report(id, now_us);
            }
        }
        // One by one: those after a fault of ours have to stay.
        for _ in 0..self.hub.unsettled.len() {
            let Some(id) = self.hub.unsettled.pop_front() else { break };
            let subscription = &mut self.subscriptions[id];
            subscription.unsettled = false;
            let publication = &self.publications[subscription.publication];
            let transport = &mut self.transports[subscription.transport].out;
            if self.halted.contains(&transport.key) {
                continue;
            }
            self.at_work = Some(transport.key);
            subscription.settle(publication, transport, now_us, &mut self.hub);
        }
        self.turn = (self.turn + 1) % TURNS;
        for id in self.subscription_ids.values().skip(self.turn).step_by(TURNS) {
            let subscription = &mut self.subscriptions[*id];
            let publication = &self.publications[subscription.publication];
            let transport = &mut self.transports[subscription.transport].out;
            if self.halted.contains(&transport.key) {
                continue;
            }
            self.at_work = Some(transport.key);
            subscription.tick(publication, transport, now_us, &mut self.hub);
        }
    }

    /// To a publisher: NACKs, transport-wide feedback and receiver reports, where due.
    fn report(&mut self, id: usize, now_us: i64) {
        let ssrc = self.ssrc;
        let transport = &mut self.transports[id];
        let mut media_ssrc = 0;
        for publication in transport.demux.publications.values() {
            let publication = &mut self.publications[*publication];
            for place in 0..publication.by_rid.len() {
                let index = publication.by_rid[place].1;
                let encoding = &mut publication.encodings[index];
                media_ssrc = encoding.stats.ssrc;
                if publication.config.nack {
                    let lost: Vec<u16> = encoding.nack.due(now_us).iter().map(|each| *each as u16).collect();
                    if !lost.is_empty() {
                        encoding.stats.nacks_sent += lost.len() as i64;
                        transport
                            .out
                            .send_rtcp(&mut self.hub, |out| rtcp::nack(ssrc, media_ssrc, &lost, out));
                    }
                }
                if encoding.nack.take_given_up() > encoding.keyframe_seq {
                    // Nobody can decode on. One request now is sooner than what each viewer would ask for.
                    let rid = encoding.stats.rid.clone();
                    let gets = |each: &usize| self.subscriptions[*each].gets(index);
                    if publication.config.kind == Kind::Video && publication.subscriptions.iter().any(gets) {
                        let publication = publication.key;
                        self.hub.tell(Event::KeyframeWanted { publication, rid, reason: "loss" });
                    }
                }
            }
        }
        let mut feedback = Vec::new();
        while transport.recorder.build(ssrc, media_ssrc, now_us, &mut feedback) {
            transport.out.send_rtcp(&mut self.hub, |out| out.append(&mut feedback));
        }
        if let Some((results, lost)) = transport.arrivals.take(now_us) {
            self.hub.tell(Event::Arrivals { transport: transport.out.key, results, lost });
        }
        if now_us - transport.report_us >= REPORT_US {
            transport.report_us = now_us;
            let mut blocks = Vec::new();
            for publication in transport.demux.publications.values() {
                let publication = &mut self.publications[*publication];
                for (_, encoding) in &publication.by_rid {
                    let encoding = &mut publication.encodings[*encoding];
                    if encoding.reception.highest >= 0 {
                        blocks.push(encoding.reception.report(encoding.stats.ssrc, now_us));
                    }
                }
            }
            for some in blocks.chunks(MOST_BLOCKS) {
                transport.out.send_rtcp(&mut self.hub, |out| rtcp::receiver_report(ssrc, some, out));
            }
        }
    }
}
