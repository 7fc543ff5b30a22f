//! What a peer with keys may send: packets that are authentic and make no sense.
//!
//! Nothing of it may end in a panic, and what leaves is hardly larger than what came, and readable to its subscriber.

use proptest::collection::vec;
use proptest::prelude::*;
use pysfu_plane_core::packet::{is_rtcp, parse_packet};
use pysfu_plane_core::parameters::{
    Codec, CodecName, EncodingSsrcs, ExtensionIds, Kind, Layer, PublicationConfig, SrtpKeys,
    SubscriptionConfig,
};
use pysfu_plane_core::plane::Plane;
use pysfu_plane_core::srtp::{MOST_BYTES, Profile, SrtpReceiver, SrtpSender};

const PUBLISHER: u64 = 1;
const SUBSCRIBER: u64 = 2;
const SSRC: u32 = 0x1000;
const RTX_SSRC: u32 = 0x2000;
const OWN_SSRC: u32 = 0x3000;
const IDS: ExtensionIds = ExtensionIds {
    mid: 1,
    rid: 2,
    repaired_rid: 3,
    transport_cc: 4,
    abs_send_time: 5,
    audio_level: 6,
    dependency_descriptor: 7,
    playout_delay: 9,
};
/// An extension, header and tag may take this much more than what came.
const LARGER_BYTES: usize = 96;

fn secret(profile: Profile, number: u8) -> Vec<u8> {
    vec![number; profile.key_bytes() + profile.salt_bytes()]
}

fn keys(profile: Profile, peer: u64) -> SrtpKeys {
    SrtpKeys { profile, receive: secret(profile, peer as u8), send: secret(profile, 100 + peer as u8) }
}

fn codec(name: CodecName, payload_type: u8) -> Codec {
    Codec { name, payload_type, clock_rate: 90_000, rtx_payload_type: Some(payload_type + 1) }
}

/// A publication of every codec that is looked into, and somebody who subscribes to it.
fn call(profile: Profile) -> Plane {
    let mut plane = Plane::new(7, 64);
    for peer in [PUBLISHER, SUBSCRIBER] {
        plane.open_transport(peer, keys(profile, peer));
    }
    let names = [CodecName::Vp8, CodecName::Vp9, CodecName::H264, CodecName::Av1, CodecName::Red];
    let codecs: Vec<Codec> = (96..).step_by(2).zip(names).map(|(number, name)| codec(name, number)).collect();
    let numbers = codecs.iter().map(|codec| (codec.payload_type, codec.payload_type)).collect();
    let again = codecs.iter().map(|codec| (codec.payload_type, codec.payload_type + 1)).collect();
    plane.open_publication(
        1,
        PublicationConfig {
            transport: PUBLISHER,
            kind: Kind::Video,
            mid: "0".into(),
            codecs,
            extensions: IDS,
            rids: Vec::new(),
            ssrcs: vec![EncodingSsrcs { ssrc: SSRC, rtx_ssrc: Some(RTX_SSRC) }],
            nack: true,
            transport_cc: true,
            remb: false,
            fir: false,
        },
    );
    let subscription = SubscriptionConfig {
        transport: SUBSCRIBER,
        publication: 1,
        mid: "0".into(),
        ssrc: OWN_SSRC,
        rtx_ssrc: Some(OWN_SSRC + 1),
        payload_types: numbers,
        rtx_payload_types: again,
        extensions: IDS,
        cname: "somebody".into(),
    };
    plane.open_subscription(1, subscription, || 1);
    plane.set_target(1, Some(Layer { spatial: 7, temporal: 7 }), false);
    plane
}

#[derive(Clone, Debug)]
enum Sent {
    /// RTP with what comes after its fixed header as it likes.
    Media {
        rtx: bool,
        /// The profile of the header extensions.
        extension: Option<u16>,
        payload_type: u8,
        seq: u16,
        rest: Vec<u8>,
    },
    /// RTCP of a known type about a known source, with any body, that of an estimate with its magic word.
    Control {
        by_subscriber: bool,
        kind: u8,
        count: u8,
        body: Vec<u8>,
    },
    Later {
        us: i64,
    },
}

fn sent() -> impl Strategy<Value = Sent> {
    let profile = prop_oneof![Just(None), Just(Some(0xBEDE)), (0x1000..0x1010u16).prop_map(Some)];
    let media = (any::<bool>(), profile, 95..108u8, 0..400u16, vec(any::<u8>(), 0..200)).prop_map(
        |(rtx, extension, payload_type, seq, rest)| Sent::Media { rtx, extension, payload_type, seq, rest },
    );
    let control = (any::<bool>(), 200..208u8, 0..32u8, vec(any::<u8>(), 0..120))
        .prop_map(|(by_subscriber, kind, count, body)| Sent::Control { by_subscriber, kind, count, body });
    let remb = (any::<bool>(), 0..4u8, vec(any::<u8>(), 3..30)).prop_map(|(by_subscriber, count, rest)| {
        let mut body = b"REMB".to_vec();
        body.push(count);
        body.extend_from_slice(&rest[..3]);
        (0..count).for_each(|_| body.extend(OWN_SSRC.to_be_bytes()));
        body.extend_from_slice(&rest[3..]);
        Sent::Control { by_subscriber, kind: 206, count: 15, body }
    });
    let later = (1..2_000_000i64).prop_map(|us| Sent::Later { us });
    prop_oneof![12 => media, 5 => control, 1 => remb, 2 => later]
}

fn media(rtx: bool, extension: Option<u16>, payload_type: u8, seq: u16, rest: &[u8]) -> Vec<u8> {
    let mut packet = vec![if extension.is_some() { 0x90 } else { 0x80 }, payload_type];
    packet.extend(seq.to_be_bytes());
    packet.extend(u32::from(seq / 3).to_be_bytes());
    packet.extend(if rtx { RTX_SSRC } else { SSRC }.to_be_bytes());
    if let Some(profile) = extension {
        // A block whose length is true, so that what is in it is looked at.
        let words = rest.len() / 8;
        packet.extend(profile.to_be_bytes());
        packet.extend([0, words as u8]);
    }
    packet.extend_from_slice(rest);
    packet
}

fn control(kind: u8, count: u8, body: &[u8]) -> Vec<u8> {
    let words = 2 + body.len() / 4;
    let mut packet = vec![0x80 | count, kind, 0, words as u8];
    packet.extend(9u32.to_be_bytes());
    packet.extend(OWN_SSRC.to_be_bytes());
    packet.extend_from_slice(&body[..body.len() / 4 * 4]);
    packet
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn authentic_nonsense_neither_panics_nor_grows(all in vec(sent(), 0..60), gcm: bool) {
        let profile = if gcm { Profile::AeadAes128Gcm } else { Profile::Aes128CmSha1 };
        let mut plane = call(profile);
        let mut publisher = SrtpSender::new(profile, &secret(profile, PUBLISHER as u8)).unwrap();
        let mut subscriber = SrtpSender::new(profile, &secret(profile, SUBSCRIBER as u8)).unwrap();
        let mut receiver = SrtpReceiver::new(profile, &secret(profile, 100 + SUBSCRIBER as u8)).unwrap();
        let (mut now_us, mut largest) = (0, 0);
        for each in &all {
            now_us += 5_000;
            let (packet, from) = match each {
                Sent::Media { rtx, extension, payload_type, seq, rest } => {
                    let mut packet = media(*rtx, *extension, *payload_type, *seq, rest);
                    let words = if extension.is_some() { 4 + rest.len() / 8 * 4 } else { 0 };
                    let ssrc = if *rtx { RTX_SSRC } else { SSRC };
                    publisher.protect(ssrc, u64::from(*seq), 0, 12 + words, &mut packet).unwrap();
                    (packet, PUBLISHER)
                }
                Sent::Control { by_subscriber, kind, count, body } => {
                    let mut packet = control(*kind, *count, body);
                    let sender = if *by_subscriber { &mut subscriber } else { &mut publisher };
                    sender.protect_rtcp(0, &mut packet).unwrap();
                    (packet, if *by_subscriber { SUBSCRIBER } else { PUBLISHER })
                }
                Sent::Later { us } => {
                    now_us += us;
                    plane.tick(now_us);
                    plane.pump(now_us);
                    plane.out().0.clear();
                    continue;
                }
            };
            largest = largest.max(packet.len());
            plane.receive(from, &packet, now_us, now_us);
            let (out, _) = plane.out();
            for envelope in &out.envelopes {
                let mut data = out.bytes[envelope.start..envelope.end].to_vec();
                if envelope.transport != SUBSCRIBER || is_rtcp(&data) {
                    continue;
                }
                prop_assert!(data.len() <= largest + LARGER_BYTES);
                let size = receiver.unprotect(&mut data, |_| true);
                prop_assert!(size.is_ok(), "{size:?}");
                let rtp = parse_packet(&data[..size.unwrap()]).unwrap();
                prop_assert!([OWN_SSRC, OWN_SSRC + 1].contains(&rtp.ssrc));
            }
            out.clear();
            plane.poll_events();
        }
    }

    #[test]
    fn strangers_bytes_are_no_packets(mut data in vec(any::<u8>(), 0..MOST_BYTES + 20), gcm: bool) {
        let profile = if gcm { Profile::AeadAes128Gcm } else { Profile::Aes128CmSha1 };
        let mut receiver = SrtpReceiver::new(profile, &secret(profile, 1)).unwrap();
        prop_assert!(receiver.unprotect(&mut data.clone(), |_| true).is_err());
        prop_assert!(receiver.unprotect_rtcp(&mut data, |_| true).is_err());
    }

    #[test]
    fn no_byte_of_a_packet_may_change(place: prop::sample::Index, flip in 1..=255u8, gcm: bool, rtcp: bool) {
        let profile = if gcm { Profile::AeadAes128Gcm } else { Profile::Aes128CmSha1 };
        let mut sender = SrtpSender::new(profile, &secret(profile, 1)).unwrap();
        let mut receiver = SrtpReceiver::new(profile, &secret(profile, 1)).unwrap();
        let mut data = if rtcp { control(201, 0, &[7; 20]) } else { media(false, None, 96, 5, &[7; 40]) };
        if rtcp {
            sender.protect_rtcp(0, &mut data).unwrap();
        } else {
            sender.protect(SSRC, 5, 0, 12, &mut data).unwrap();
        }
        let mut changed = data.clone();
        *place.get_mut(&mut changed) ^= flip;
        let mut open = |data: &mut [u8]| match rtcp {
            true => receiver.unprotect_rtcp(data, |_| true),
            false => receiver.unprotect(data, |_| true),
        };
        prop_assert!(open(&mut changed).is_err());
        prop_assert!(open(&mut data).is_ok());
        // Nor may it come twice.
        prop_assert!(open(&mut data).is_err());
    }
}
