//! Values of the seam, taken by their attributes and given back as tuples and dictionaries.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use pysfu_plane_core::hub::Event;
use pysfu_plane_core::parameters::{
    Codec, CodecName, EncodingSsrcs, ExtensionIds, Kind, Probe, PublicationConfig, SrtpKeys,
    SubscriptionConfig,
};
use pysfu_plane_core::srtp::Profile;
use pysfu_plane_core::twcc::BurstResult;
use pysfu_plane_core::{EncodingStats, SubscriptionStats};

pub use pysfu_plane_core::hub::Envelope as Sent;

#[derive(FromPyObject)]
pub struct PyKeys {
    profile: String,
    receive: Vec<u8>,
    send: Vec<u8>,
}

impl TryFrom<PyKeys> for SrtpKeys {
    type Error = PyErr;

    fn try_from(keys: PyKeys) -> PyResult<Self> {
        let profile =
            Profile::of(&keys.profile).ok_or_else(|| PyValueError::new_err("unknown SRTP profile"))?;
        let needed = profile.key_bytes() + profile.salt_bytes();
        if keys.receive.len() < needed || keys.send.len() < needed {
            return Err(PyValueError::new_err("an SRTP key is too short"));
        }
        Ok(Self { profile, receive: keys.receive, send: keys.send })
    }
}

#[derive(FromPyObject)]
pub struct PyCodec {
    name: String,
    payload_type: u8,
    clock_rate: u32,
    rtx_payload_type: Option<u8>,
}

#[derive(FromPyObject)]
pub struct PyExtensionIds {
    mid: u8,
    rid: u8,
    repaired_rid: u8,
    transport_cc: u8,
    abs_send_time: u8,
    audio_level: u8,
    dependency_descriptor: u8,
    playout_delay: u8,
}

impl From<PyExtensionIds> for ExtensionIds {
    fn from(ids: PyExtensionIds) -> Self {
        Self {
            mid: ids.mid,
            rid: ids.rid,
            repaired_rid: ids.repaired_rid,
            transport_cc: ids.transport_cc,
            abs_send_time: ids.abs_send_time,
            audio_level: ids.audio_level,
            dependency_descriptor: ids.dependency_descriptor,
            playout_delay: ids.playout_delay,
        }
    }
}

#[derive(FromPyObject)]
pub struct PySsrcs {
    ssrc: u32,
    rtx_ssrc: Option<u32>,
}

#[derive(FromPyObject)]
pub struct PyPublication {
    transport: u64,
    kind: String,
    mid: String,
    codecs: Vec<PyCodec>,
    extensions: PyExtensionIds,
    rids: Vec<String>,
    ssrcs: Vec<PySsrcs>,
    nack: bool,
    transport_cc: bool,
    remb: bool,
    fir: bool,
}

impl TryFrom<PyPublication> for PublicationConfig {
    type Error = PyErr;

    fn try_from(config: PyPublication) -> PyResult<Self> {
        let codec = |codec: PyCodec| Codec {
            name: CodecName::of(&codec.name),
            payload_type: codec.payload_type,
            clock_rate: codec.clock_rate,
            rtx_payload_type: codec.rtx_payload_type,
        };
        let kind = match config.kind.as_str() {
            "audio" => Kind::Audio,
            "video" => Kind::Video,
            _ => return Err(PyValueError::new_err("a publication is audio or video")),
        };
        let ssrcs = |each: PySsrcs| EncodingSsrcs { ssrc: each.ssrc, rtx_ssrc: each.rtx_ssrc };
        Ok(Self {
            transport: config.transport,
            kind,
            mid: config.mid,
            codecs: config.codecs.into_iter().map(codec).collect(),
            extensions: config.extensions.into(),
            rids: config.rids.into_iter().map(Into::into).collect(),
            ssrcs: config.ssrcs.into_iter().map(ssrcs).collect(),
            nack: config.nack,
            transport_cc: config.transport_cc,
            remb: config.remb,
            fir: config.fir,
        })
    }
}

#[derive(FromPyObject)]
pub struct PySubscription {
    transport: u64,
    publication: u64,
    mid: String,
    ssrc: u32,
    rtx_ssrc: Option<u32>,
    #[pyo3(from_py_with = pairs)]
    payload_types: Vec<(u8, u8)>,
    #[pyo3(from_py_with = pairs)]
    rtx_payload_types: Vec<(u8, u8)>,
    extensions: PyExtensionIds,
    cname: String,
}

/// A mapping's items in its own order.
fn pairs(mapping: &Bound<'_, PyAny>) -> PyResult<Vec<(u8, u8)>> {
    mapping.call_method0("items")?.try_iter()?.map(|item| item?.extract()).collect()
}

impl From<PySubscription> for SubscriptionConfig {
    fn from(config: PySubscription) -> Self {
        Self {
            transport: config.transport,
            publication: config.publication,
            mid: config.mid,
            ssrc: config.ssrc,
            rtx_ssrc: config.rtx_ssrc,
            payload_types: config.payload_types,
            rtx_payload_types: config.rtx_payload_types,
            extensions: config.extensions.into(),
            cname: config.cname,
        }
    }
}

#[derive(FromPyObject)]
pub struct PyLayer {
    pub spatial: i64,
    pub temporal: i64,
}

#[derive(FromPyObject)]
pub struct PyProbe {
    cluster_id: i32,
    target_bps: i64,
    min_packets: i64,
    min_bytes: i64,
}

impl From<PyProbe> for Probe {
    fn from(probe: PyProbe) -> Self {
        Self {
            cluster_id: probe.cluster_id,
            target_bps: probe.target_bps,
            min_packets: probe.min_packets,
            min_bytes: probe.min_bytes,
        }
    }
}

/// The fields of a `BurstResult`.
type Burst = (i64, Option<i64>, i32, i32, i32, i64, i64);

/// An event: the name of its class, and its fields. A fault is of a room.
#[derive(IntoPyObject)]
pub enum PyEvent {
    Started(&'static str, (u64, String, u32)),
    Stopped(&'static str, (u64, String)),
    Keyframe(&'static str, (u64, String, &'static str)),
    Layer(&'static str, (u64, Option<(i64, i64)>)),
    Level(&'static str, (u64, u8, i64)),
    Feedback(&'static str, (u64, Vec<Burst>)),
    Remb(&'static str, (u64, u128, Vec<u64>)),
    Arrivals(&'static str, (u64, Vec<Burst>, i64)),
    Fault(&'static str, (u64,)),
}

fn burst(of: &BurstResult) -> Burst {
    let BurstResult {
        sent_us,
        arrival_us,
        size_bytes,
        probe_cluster,
        packets,
        sent_span_us,
        arrival_span_us,
    } = *of;
    (sent_us, arrival_us, size_bytes, probe_cluster, packets, sent_span_us, arrival_span_us)
}

pub fn event(event: Event) -> PyEvent {
    match event {
        Event::EncodingStarted { publication, rid, ssrc } => {
            PyEvent::Started("EncodingStarted", (publication, rid.to_string(), ssrc))
        }
        Event::EncodingStopped { publication, rid } => {
            PyEvent::Stopped("EncodingStopped", (publication, rid.to_string()))
        }
        Event::KeyframeWanted { publication, rid, reason } => {
            PyEvent::Keyframe("KeyframeWanted", (publication, rid.to_string(), reason))
        }
        Event::CurrentLayerChanged { subscription, layer } => {
            let layer = layer.map(|layer| (layer.spatial, layer.temporal));
            PyEvent::Layer("CurrentLayerChanged", (subscription, layer))
        }
        Event::AudioLevel { publication, level, packets } => {
            PyEvent::Level("AudioLevel", (publication, level, packets))
        }
        Event::TransportFeedback { transport, results } => {
            let results = results.iter().map(burst).collect();
            PyEvent::Feedback("TransportFeedback", (transport, results))
        }
        Event::Arrivals { transport, results, lost } => {
            let results = results.iter().map(burst).collect();
            PyEvent::Arrivals("Arrivals", (transport, results, lost))
        }
        Event::RembReceived { transport, bitrate_bps, subscriptions } => {
            PyEvent::Remb("RembReceived", (transport, bitrate_bps, subscriptions))
        }
    }
}

/// The fields of `EncodingStats` by name.
pub fn encoding_stats<'py>(py: Python<'py>, stats: &EncodingStats) -> PyResult<Bound<'py, PyDict>> {
    let fields = PyDict::new(py);
    fields.set_item("rid", &*stats.rid)?;
    fields.set_item("ssrc", stats.ssrc)?;
    fields.set_item("active", stats.active)?;
    fields.set_item("packets", stats.packets)?;
    fields.set_item("bytes", stats.bytes)?;
    fields.set_item("lost", stats.lost)?;
    fields.set_item("recovered", stats.recovered)?;
    fields.set_item("duplicates", stats.duplicates)?;
    fields.set_item("nacks_sent", stats.nacks_sent)?;
    fields.set_item("plis_sent", stats.plis_sent)?;
    fields.set_item("keyframes", stats.keyframes)?;
    fields.set_item("frames", stats.frames)?;
    fields.set_item("jitter_ms", stats.jitter_ms)?;
    fields.set_item("bitrate_bps", stats.bitrate_bps)?;
    fields.set_item("width", stats.width)?;
    fields.set_item("height", stats.height)?;
    fields.set_item("sizes", PyTuple::new(py, stats.sizes.iter().copied())?)?;
    Ok(fields)
}

/// The fields of `SubscriptionStats` by name, the current layer as a pair.
pub fn subscription_stats<'py>(py: Python<'py>, stats: &SubscriptionStats) -> PyResult<Bound<'py, PyDict>> {
    let fields = PyDict::new(py);
    fields.set_item("packets", stats.packets)?;
    fields.set_item("bytes", stats.bytes)?;
    fields.set_item("nacks_received", stats.nacks_received)?;
    fields.set_item("retransmitted", stats.retransmitted)?;
    fields.set_item("retransmit_missed", stats.retransmit_missed)?;
    fields.set_item("plis_received", stats.plis_received)?;
    fields.set_item("fraction_lost", stats.fraction_lost)?;
    fields.set_item("lost", stats.lost)?;
    fields.set_item("jitter_ms", stats.jitter_ms)?;
    fields.set_item("rtt_ms", stats.rtt_ms)?;
    fields.set_item("bitrate_bps", stats.bitrate_bps)?;
    fields.set_item("current", stats.current.map(|layer| (layer.spatial, layer.temporal)))?;
    fields.set_item("current_rid", &stats.current_rid)?;
    Ok(fields)
}
