//! A publication in more planes than one: its own plane receives it and passes each packet on in the clear, and a
//! *mirror* of it in every other plane forwards to the subscribers there.
//!
//! A mirror does what its publication does but for what is said to the publisher (feedback, reports) and about it
//! (encodings, audio levels): that remains the publication's own.

use std::sync::Arc;

use crate::demux::Route;
use crate::hub::Event;
use crate::ingress::Encoding;
use crate::packet::parse_packet;
use crate::parameters::{Kind, PublicationConfig, PublicationKey};
use crate::plane::Plane;
use crate::publication::Publication;
use crate::receive::cached;
use crate::reception::SenderClock;

/// What a mirror is to know.
#[derive(Clone, Debug)]
pub enum Copied {
    /// A packet in the clear, and which encoding it is of.
    Packet { rid: Arc<str>, rtx: bool },
    /// A sender report's clock.
    Clock { rid: Arc<str>, clock: SenderClock },
    /// An encoding that flowed has ended.
    Ended { rid: Arc<str> },
}

/// One thing for the mirrors of a publication; a packet lies in the copies' bytes.
#[derive(Clone, Debug)]
pub struct Copy {
    pub publication: PublicationKey,
    pub what: Copied,
    pub start: usize,
    pub end: usize,
    pub arrival_us: i64,
}

/// What the mirrors of all publications are to know, in order.
#[derive(Debug, Default)]
pub struct Copies {
    pub bytes: Vec<u8>,
    pub list: Vec<Copy>,
}

impl Copies {
    pub(crate) fn packet(&mut self, of: &Publication, route: &Route, data: &[u8], arrival_us: i64) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(data);
        let what = Copied::Packet { rid: route.rid.clone(), rtx: route.rtx };
        let end = self.bytes.len();
        self.list.push(Copy { publication: of.key, what, start, end, arrival_us });
    }

    pub(crate) fn word(&mut self, of: &Publication, what: Copied) {
        self.list.push(Copy { publication: of.key, what, start: 0, end: 0, arrival_us: 0 });
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.list.clear();
    }
}

/// An encoding as a new mirror finds it.
#[derive(Clone, Debug)]
pub struct Known {
    rid: Arc<str>,
    ssrc: u32,
    clock_rate: u32,
    active: bool,
    size: (u32, u32),
    clock: Option<SenderClock>,
}

impl Plane {
    /// Whether what mirrors are to know is to be noted. Returns what a new one has to know already.
    pub fn set_mirrored(&mut self, key: PublicationKey, mirrored: bool) -> Vec<Known> {
        let Some(id) = self.publication_ids.get(&key) else { return Vec::new() };
        let publication = &mut self.publications[*id];
        publication.mirrored = mirrored;
        let known = publication.by_rid.iter().map(|(rid, id)| {
            let encoding = &publication.encodings[*id];
            Known {
                rid: rid.clone(),
                ssrc: encoding.stats.ssrc,
                clock_rate: encoding.clock_rate,
                active: encoding.stats.active,
                size: (encoding.stats.width, encoding.stats.height),
                clock: encoding.reception.sender_report,
            }
        });
        known.collect()
    }

    /// What the mirrors of this plane's publications are to know. Clear it when they do.
    pub fn copies(&mut self) -> &mut Copies {
        &mut self.hub.copies
    }

    /// Begin a mirror, or give it another configuration.
    pub fn open_mirror(
        &mut self,
        key: PublicationKey,
        config: PublicationConfig,
        known: &[Known],
        muted: bool,
    ) {
        if let Some(id) = self.publication_ids.get(&key) {
            self.publications[*id].configure(config);
            return;
        }
        let cached = cached(config.kind, self.cache_packets);
        let mut publication = Publication::new(key, config);
        publication.mirror = true;
        publication.muted = muted;
        for each in known {
            let mut encoding = Encoding::new(each.rid.clone(), each.ssrc, each.clock_rate, cached);
            encoding.stats.active = each.active;
            (encoding.stats.width, encoding.stats.height) = each.size;
            encoding.reception.sender_report = each.clock;
            publication.add_encoding(encoding);
        }
        publication.rank();
        let id = self.publications.insert(publication);
        self.publication_ids.insert(key, id);
    }

    /// What a mirror is to know, as its publication noted it; `data` is a packet's.
    pub fn accept(
        &mut self,
        key: PublicationKey,
        what: &Copied,
        data: &[u8],
        (now_us, arrival_us): (i64, i64),
    ) {
        let Some(id) = self.publication_ids.get(&key).copied() else { return };
        let publication = &mut self.publications[id];
        if !publication.mirror || self.halted.contains(&publication.config.transport) {
            return;
        }
        self.at_work = Some(publication.config.transport);
        match what {
            Copied::Packet { rid, rtx } => {
                let route = Route { publication: id, rid: rid.clone(), rtx: *rtx };
                if let Ok(rtp) = parse_packet(data) {
                    // What nobody should get has been counted where it came in.
                    let _ = self.receive_media(&route, &rtp, data, (now_us, arrival_us));
                }
            }
            Copied::Clock { rid, clock } => {
                if let Some(encoding) = publication.encoding_of(rid) {
                    publication.encodings[encoding].reception.sender_report = Some(*clock);
                }
            }
            Copied::Ended { rid } => {
                if let Some(encoding) = publication.encoding_of(rid) {
                    self.ended(id, encoding);
                    self.reconsider(id);
                }
            }
        }
    }

    /// Who gets a mirror's packets may need a keyframe where the publication's own plane does not see it.
    pub(crate) fn watch_mirror(&mut self, id: usize, now_us: i64) {
        let publication = &mut self.publications[id];
        for (rid, index) in &publication.by_rid {
            let encoding = &mut publication.encodings[*index];
            // They are asked for there; here it counts what is given up.
            encoding.nack.due(now_us);
            let given_up = encoding.nack.take_given_up() > encoding.keyframe_seq;
            let gets = |each: &usize| self.subscriptions[*each].gets(*index);
            if given_up
                && publication.config.kind == Kind::Video
                && publication.subscriptions.iter().any(gets)
            {
                let (publication, rid) = (publication.key, rid.clone());
                self.hub.tell(Event::KeyframeWanted { publication, rid, reason: "loss" });
            }
        }
    }
}
