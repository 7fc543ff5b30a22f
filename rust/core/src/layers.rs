//! What of a scalable stream a packet belongs to, and so who can do without it.
//!
//! VP8 has temporal layers; VP9 (RFC 9628) and AV1 (by its dependency descriptor) have spatial ones too, all in
//! one stream: a picture is a run of layer frames, smallest first. Every layer frame depends on lower layers
//! only, so that leaving out everything above some spatial and some temporal layer is always right.
//!
//! Spatial layers that do not depend on each other at all (S modes) are simulcast within one stream: each viewer
//! gets one of them, and all of them in keyframes, which tell how the stream is made. A decoder that got the smaller
//! ones too would lose what they refer to to the larger ones' keyframes.

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::dependency_descriptor::{self, NOT_PRESENT, SWITCH, Structure, Template};
use crate::payload::PayloadInfo;

pub const MOST_SPATIAL: usize = 8;
pub const MOST_TEMPORAL: usize = 8;

/// Width and height of each spatial layer, lowest first.
pub type Sizes = SmallVec<[(u32, u32); MOST_SPATIAL]>;

/// The place of one packet. A packet that nobody can do without may have none.
///
/// `first`: a picture begins here. `last`: a layer frame ends here, and the picture for those who get no higher
/// layer. `sync`: this frame's temporal layer may begin with it. `switch_up`: every higher temporal layer may
/// begin after it. `gapless`: pictures left out must not leave a gap in the picture ids. `alone`: no larger layer of
/// this picture refers to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketLayer {
    pub spatial: u8,
    pub temporal: u8,
    pub first: bool,
    pub last: bool,
    pub sync: bool,
    pub switch_up: bool,
    pub gapless: bool,
    pub alone: bool,
}

/// None for the base layer. Spec: RFC 7741 section 4.2.
pub fn of_vp8(info: &PayloadInfo) -> Option<PacketLayer> {
    (info.temporal != 0).then_some(PacketLayer {
        spatial: 0,
        temporal: info.temporal,
        first: info.start_of_frame,
        last: false,
        sync: info.layer_sync,
        switch_up: false,
        gapless: true,
        alone: false,
    })
}

/// None where the descriptor names no layers.
///
/// References are told by differences of picture ids, so these must keep their distances, and a picture switches
/// up what follows it. Spec: RFC 9628 section 4.2.
pub fn of_vp9(info: &PayloadInfo) -> Option<PacketLayer> {
    info.layered.then_some(PacketLayer {
        spatial: info.spatial,
        temporal: info.temporal,
        first: info.start_of_frame && info.spatial == 0,
        last: info.end_of_frame,
        sync: false,
        switch_up: info.layer_sync,
        gapless: false,
        alone: info.unreferenced,
    })
}

/// Layers by the dependency descriptor of one stream, whose structure comes with its keyframes.
#[derive(Default)]
pub struct DescribedLayers {
    structure: Option<Structure>,
    known: FxHashMap<u8, PacketLayer>,
}

impl DescribedLayers {
    /// The sizes that the last structure told; empty where it told none.
    pub fn sizes(&self) -> Sizes {
        self.structure.as_ref().map_or_else(Sizes::new, |structure| structure.resolutions.clone())
    }

    /// None where the stream has a single layer, or a packet tells none: then it can not be left out.
    pub fn of(&mut self, descriptor: &[u8]) -> Option<PacketLayer> {
        // All but a frame's first packet are so short, as a rule, and what the first byte says is the same for many.
        let short = descriptor.len() == 3;
        if short {
            let known = self.known.get(&descriptor[0]).copied();
            if known.is_some() || self.structure.is_none() {
                return known;
            }
        }
        let parsed = dependency_descriptor::parse(descriptor, self.structure.as_ref()).ok()?;
        if let Some(structure) = parsed.structure {
            self.structure = Some(structure);
            self.known.clear();
        }
        let (structure, frame) = (self.structure.as_ref()?, parsed.frame?);
        if !structure.templates.iter().any(|each| each.spatial != 0 || each.temporal != 0) {
            return None;
        }
        let layer = PacketLayer {
            spatial: frame.spatial,
            temporal: frame.temporal,
            first: parsed.start_of_frame && frame.spatial == 0,
            last: parsed.end_of_frame,
            sync: false,
            switch_up: switches_up(structure, &frame),
            gapless: false,
            alone: is_alone(structure, &frame),
        };
        if short {
            self.known.insert(descriptor[0], layer);
        }
        Some(layer)
    }
}

/// Whether no decode target of a larger picture has use for this frame.
fn is_alone(structure: &Structure, frame: &Template) -> bool {
    let larger = |target: &usize| structure.spatial_of_target(*target) > frame.spatial;
    (0..structure.decode_targets).filter(larger).all(|target| frame.indications[target] == NOT_PRESENT)
}

/// Whether everything of the smallest picture can be decoded from this frame on.
fn switches_up(structure: &Structure, frame: &Template) -> bool {
    let of_smallest = |target: &usize| structure.spatial_of_target(*target) == 0;
    let mut targets = (0..structure.decode_targets).filter(of_smallest).peekable();
    targets.peek().is_some() && targets.all(|target| frame.indications[target] == SWITCH)
}
