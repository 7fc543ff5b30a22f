//! A packet's way through the plane: unprotected once, put where it belongs, forwarded to all who get it.

use crate::demux::{PublicationId, Route};
use crate::error::{ParseError, Parsed};
use crate::hub::Event;
use crate::ingress::{Encoding, MediaPacket, Received, arrival};
use crate::packet::{RtpPacket, is_rtcp, parse_packet};
use crate::parameters::{Kind, TransportKey};
use crate::plane::Plane;

/// Audio is not sent again: its cache only tells what has overtaken a first packet.
const AUDIO_CACHED: usize = 64;

impl Plane {
    /// One SRTP or SRTCP datagram from the transport's proven peer, that came to this machine at `arrival_us`.
    pub fn receive(&mut self, key: TransportKey, datagram: &[u8], now_us: i64, arrival_us: i64) {
        let id = self.transport_ids.get(&key).copied();
        let Some(id) = id.filter(|id| self.transports[*id].receiver.is_some()) else {
            return self.hub.counters.drop("no-transport");
        };
        if self.halted.contains(&key) {
            return;
        }
        self.hub.counters.received += 1;
        self.at_work = Some(key);
        #[cfg(feature = "faults")]
        assert_ne!(self.fails.take_if(|fails| *fails == key), Some(key), "a fault was asked for");
        let mut data = std::mem::take(&mut self.inbound);
        data.clear();
        data.extend_from_slice(datagram);
        let result = if is_rtcp(&data) {
            self.receive_rtcp_datagram(id, &mut data, now_us)
        } else {
            self.receive_rtp(id, &mut data, now_us, arrival_us)
        };
        self.inbound = data;
        if let Err(ParseError(reason)) = result {
            self.hub.counters.drop(reason);
        }
    }

    fn receive_rtp(&mut self, id: usize, data: &mut [u8], now_us: i64, arrival_us: i64) -> Parsed<()> {
        let transport = &mut self.transports[id];
        let Some(receiver) = &mut transport.receiver else { return Ok(()) };
        let demux = &transport.demux;
        let size = receiver.unprotect(data, |ssrc| demux.is_known(ssrc))?;
        let data = &data[..size];
        let rtp = parse_packet(data)?;
        if let Some([high, low]) = rtp.extensions.get(data, transport.transport_cc) {
            transport.recorder.record(u16::from_be_bytes([*high, *low]), arrival_us);
        }
        let route = match transport.demux.routes.get(&rtp.ssrc) {
            Some(route) => route.clone(),
            None => {
                let resolved = transport.demux.resolve(data, &rtp, &self.publications);
                resolved.ok_or(ParseError("unknown-ssrc"))?
            }
        };
        let publication = &self.publications[route.publication];
        if publication.mirrored {
            self.hub.copies.packet(publication, &route, data, arrival_us);
        }
        self.receive_media(&route, &rtp, data, (now_us, arrival_us))
    }

    pub(crate) fn receive_media(
        &mut self,
        route: &Route,
        rtp: &RtpPacket,
        data: &[u8],
        (now_us, arrival_us): (i64, i64),
    ) -> Parsed<()> {
        const PAYLOAD_TYPE: ParseError = ParseError("payload-type");
        let publication = &mut self.publications[route.publication];
        let known = publication.encoding_of(&route.rid);
        let (codec, encoding, arrived);
        if route.rtx {
            encoding = known.ok_or(ParseError("rtx-before-media"))?;
            codec = *publication.rtx_codec(rtp.payload_type).ok_or(PAYLOAD_TYPE)?;
            arrived = arrival(data, rtp, true)?;
        } else {
            codec = *publication.codec(rtp.payload_type).ok_or(PAYLOAD_TYPE)?;
            arrived = arrival(data, rtp, false)?;
            encoding = match known {
                Some(id) if publication.encodings[id].stats.ssrc == rtp.ssrc => id,
                _ => self.new_encoding(route, rtp.ssrc, codec.clock_rate),
            };
        }
        let publication = &mut self.publications[route.publication];
        let carried = publication.carried(data, &rtp.extensions);
        let told_by_remb = publication.config.remb && !publication.mirror && !route.rtx;
        let receiving = &mut publication.encodings[encoding];
        let highest = receiving.reception.highest;
        let received = receiving.receive(encoding, &arrived, &codec, carried, arrival_us, &mut self.spare)?;
        if told_by_remb && let Some(id) = self.transport_ids.get(&publication.config.transport) {
            let send_time = rtp.extensions.get(data, publication.config.extensions.abs_send_time);
            let ahead = if highest < 0 { 0 } else { received.ext_seq() - highest };
            self.transports[*id].arrivals.record(send_time, data.len(), ahead, arrival_us);
        }
        if !receiving.stats.active {
            // A retransmission is of the past: what stopped has not come back with it.
            if !route.rtx {
                receiving.stats.active = true;
                let (rid, ssrc) = (receiving.stats.rid.clone(), receiving.stats.ssrc);
                if !publication.mirror {
                    self.hub.tell(Event::EncodingStarted { publication: publication.key, rid, ssrc });
                }
                self.reconsider(route.publication);
            }
        } else if packet_of(&received, receiving).is_some_and(|packet| packet.info.width != 0) {
            self.reconsider(route.publication);
        }
        let result = self.forward(route.publication, encoding, &received, now_us);
        if let Received::Loose(packet) = received {
            self.spare = Some(packet);
        }
        result
    }

    fn forward(
        &mut self,
        id: PublicationId,
        encoding: usize,
        received: &Received,
        now_us: i64,
    ) -> Parsed<()> {
        let publication = &self.publications[id];
        if publication.muted {
            return Err(ParseError("muted"));
        }
        let Some(packet) = packet_of(received, &publication.encodings[encoding]) else { return Ok(()) };
        for subscription in &publication.subscriptions {
            let subscription = &mut self.subscriptions[*subscription];
            let transport = &mut self.transports[subscription.transport].out;
            subscription.forward(packet, publication, transport, now_us, &mut self.hub);
        }
        Ok(())
    }

    fn new_encoding(&mut self, route: &Route, ssrc: u32, clock_rate: u32) -> usize {
        let publication = &mut self.publications[route.publication];
        if let Some(before) = publication.encoding_of(&route.rid) {
            publication.encodings[before].stats.active = false;
        }
        let cached = cached(publication.config.kind, self.cache_packets);
        let id = publication.add_encoding(Encoding::new(route.rid.clone(), ssrc, clock_rate, cached));
        let (of_it, all) = (publication.subscriptions.clone(), &self.subscriptions);
        publication.forget_encodings(|encoding| of_it.iter().any(|each| all[*each].needs(encoding)));
        id
    }

    /// What flows, or its size, may have changed.
    pub(crate) fn reconsider(&mut self, id: PublicationId) {
        let publication = &mut self.publications[id];
        if publication.rank() {
            for subscription in &publication.subscriptions {
                self.subscriptions[*subscription].choose(publication, &mut self.hub);
            }
        }
    }
}

fn packet_of<'a>(received: &'a Received, encoding: &'a Encoding) -> Option<&'a MediaPacket> {
    match received {
        Received::Cached(ext_seq) => encoding.cache.get(*ext_seq),
        Received::Loose(packet) => Some(packet),
    }
}

/// How many packets of each encoding are kept.
pub(crate) fn cached(kind: Kind, of_video: usize) -> usize {
    if kind == Kind::Video { of_video } else { AUDIO_CACHED }
}
