//! What negotiation found, as the plane uses it: the values of `sfu/rtp/parameters.py` and `sfu/media/plane.py`.

use std::sync::Arc;

use crate::srtp::Profile;

pub type TransportKey = u64;
pub type PublicationKey = u64;
pub type SubscriptionKey = u64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Audio,
    Video,
}

/// What is looked into, by the name in the description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodecName {
    Vp8,
    Vp9,
    H264,
    Av1,
    Red,
    Other,
}

impl CodecName {
    /// `name` is lower case.
    pub fn of(name: &str) -> Self {
        match name {
            "vp8" => Self::Vp8,
            "vp9" => Self::Vp9,
            "h264" => Self::H264,
            "av1" => Self::Av1,
            "red" => Self::Red,
            _ => Self::Other,
        }
    }
}

/// One negotiated media payload type with its retransmission payload type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codec {
    pub name: CodecName,
    pub payload_type: u8,
    pub clock_rate: u32,
    pub rtx_payload_type: Option<u8>,
}

/// RTP header-extension ids of one leg; 0 means not negotiated. Spec: RFC 8285.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtensionIds {
    pub mid: u8,
    pub rid: u8,
    pub repaired_rid: u8,
    pub transport_cc: u8,
    pub abs_send_time: u8,
    pub audio_level: u8,
    pub dependency_descriptor: u8,
    pub playout_delay: u8,
}

/// Keying material of one DTLS-SRTP association, master key then master salt. Spec: RFC 5764 4.2.
#[derive(Clone, PartialEq, Eq)]
pub struct SrtpKeys {
    pub profile: Profile,
    pub receive: Vec<u8>,
    pub send: Vec<u8>,
}

/// SSRCs announced in the publisher's description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodingSsrcs {
    pub ssrc: u32,
    pub rtx_ssrc: Option<u32>,
}

/// What the plane must know to receive one publication. `codecs` has one entry at least.
#[derive(Clone, Debug)]
pub struct PublicationConfig {
    pub transport: TransportKey,
    pub kind: Kind,
    pub mid: String,
    pub codecs: Vec<Codec>,
    pub extensions: ExtensionIds,
    pub rids: Vec<Arc<str>>,
    pub ssrcs: Vec<EncodingSsrcs>,
    pub nack: bool,
    pub transport_cc: bool,
    /// The peer is told by REMB what may be sent: it takes that and no transport-wide feedback.
    pub remb: bool,
    /// Keyframes are asked for by FIR, where the peer takes that and no PLI.
    pub fir: bool,
}

/// What the plane must know to send one publication to one subscriber. Of payload types the first pair is
/// the main one.
#[derive(Clone, Debug)]
pub struct SubscriptionConfig {
    pub transport: TransportKey,
    pub publication: PublicationKey,
    pub mid: String,
    pub ssrc: u32,
    pub rtx_ssrc: Option<u32>,
    pub payload_types: Vec<(u8, u8)>,
    pub rtx_payload_types: Vec<(u8, u8)>,
    pub extensions: ExtensionIds,
    pub cname: String,
}

/// A step of quality: `spatial` 0 is the smallest picture, `temporal` 0 the lowest frame rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Layer {
    pub spatial: i64,
    pub temporal: i64,
}

/// A cluster to send now at `target_bps`: at least `min_packets` and `min_bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    pub cluster_id: i32,
    pub target_bps: i64,
    pub min_packets: i64,
    pub min_bytes: i64,
}
