//! The dependency descriptor header extension, as far as a forwarder needs it.
//!
//! Spec: RTP Payload Format For AV1 (v1.0.0) appendix A.

use smallvec::SmallVec;

use crate::bits::BitReader;
use crate::error::{ParseError, Parsed};

const MAX_TEMPLATES: usize = 64;
const MANDATORY_BYTES: usize = 3;
const REASON: &str = "dd-truncated";
/// Of a decode target that the frame is not part of. Spec: section A.5.
pub const NOT_PRESENT: u8 = 0;
/// Everything of a decode target can be decoded from the frame on.
pub const SWITCH: u8 = 2;

/// What a frame is to each decode target.
pub type Indications = SmallVec<[u8; 32]>;

/// What the frames of one template have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pub spatial: u8,
    pub temporal: u8,
    pub indications: Indications,
    chains: usize,
}

/// Attached to the first packet of a keyframe; descriptors after it refer to its templates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Structure {
    template_id_offset: u8,
    pub decode_targets: usize,
    pub templates: Vec<Template>,
    /// Width and height of each spatial layer, lowest first, empty where not told.
    pub resolutions: SmallVec<[(u32, u32); 8]>,
}

impl Structure {
    /// The highest spatial layer among the frames of a decode target. Spec: section A.8.3.
    pub fn spatial_of_target(&self, target: usize) -> u8 {
        let held = self.templates.iter().filter(|each| each.indications[target] != NOT_PRESENT);
        held.map(|each| each.spatial).max().unwrap_or(0)
    }
}

/// Of one packet. `frame` is None where the structure it needs is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    pub start_of_frame: bool,
    pub end_of_frame: bool,
    pub structure: Option<Structure>,
    pub frame: Option<Template>,
}

/// Parse an extension's value; `known` is the last structure that this stream attached.
pub fn parse(data: &[u8], known: Option<&Structure>) -> Parsed<Descriptor> {
    let [first, _, _, rest @ ..] = data else { return Err(ParseError(REASON)) };
    debug_assert_eq!(data.len() - rest.len(), MANDATORY_BYTES);
    let mut bits = BitReader::new(rest, REASON);
    let (mut attached, mut custom) = (None, 0);
    if !rest.is_empty() {
        let structure_present = bits.flag()?;
        let active_present = bits.flag()?;
        custom = bits.read(3)?;
        if structure_present {
            attached = Some(parse_structure(&mut bits)?);
        }
        if active_present {
            let structure = attached.as_ref().or(known).ok_or(ParseError("dd-no-structure"))?;
            bits.read(structure.decode_targets)?;
        }
    }
    let frame = match attached.as_ref().or(known) {
        Some(structure) => Some(frame_of(structure, first & 0x3F, custom, &mut bits)?),
        None => None,
    };
    Ok(Descriptor {
        start_of_frame: first & 0x80 != 0,
        end_of_frame: first & 0x40 != 0,
        structure: attached,
        frame,
    })
}

/// The frame's template with its own values in place.
fn frame_of(structure: &Structure, template_id: u8, custom: u64, bits: &mut BitReader) -> Parsed<Template> {
    let index = usize::from(template_id.wrapping_sub(structure.template_id_offset)) % MAX_TEMPLATES;
    let mut frame = structure.templates.get(index).ok_or(ParseError("dd-template"))?.clone();
    if custom & 4 != 0 {
        for each in &mut frame.indications {
            *each = bits.read(2)? as u8;
        }
    }
    if custom & 2 != 0 {
        loop {
            let size = bits.read(2)? as usize;
            if size == 0 {
                break;
            }
            bits.read(4 * size)?;
        }
    }
    if custom & 1 != 0 {
        for _ in 0..frame.chains {
            bits.read(8)?;
        }
    }
    Ok(frame)
}

fn parse_structure(bits: &mut BitReader) -> Parsed<Structure> {
    let template_id_offset = bits.read(6)? as u8;
    let decode_targets = bits.read(5)? as usize + 1;
    let mut templates = parse_layers(bits)?;
    for template in &mut templates {
        for _ in 0..decode_targets {
            template.indications.push(bits.read(2)? as u8);
        }
    }
    for _ in 0..templates.len() {
        while bits.flag()? {
            bits.read(4)?;
        }
    }
    let chains = bits.read_non_symmetric(decode_targets as u64 + 1)?;
    if chains != 0 {
        for _ in 0..decode_targets {
            bits.read_non_symmetric(chains)?;
        }
        for template in &mut templates {
            template.chains = chains as usize;
            bits.read(4 * template.chains.min(16))?;
            bits.read(4 * template.chains.saturating_sub(16))?;
        }
    }
    let mut resolutions = SmallVec::new();
    if bits.flag()? {
        // The last template is of the highest spatial layer: they are listed in ascending order.
        for _ in 0..=templates.last().map_or(0, |last| last.spatial) {
            resolutions.push((bits.read(16)? as u32 + 1, bits.read(16)? as u32 + 1));
        }
    }
    Ok(Structure { template_id_offset, decode_targets, templates, resolutions })
}

fn parse_layers(bits: &mut BitReader) -> Parsed<Vec<Template>> {
    let (mut spatial, mut temporal) = (0, 0);
    let mut templates = Vec::new();
    loop {
        templates.push(Template { spatial, temporal, indications: Indications::new(), chains: 0 });
        let following = bits.read(2)?;
        if following == 3 {
            return Ok(templates);
        }
        if templates.len() == MAX_TEMPLATES {
            return Err(ParseError("dd-templates"));
        }
        match following {
            1 => temporal += 1,
            2 => (spatial, temporal) = (spatial + 1, 0),
            _ => {}
        }
        if spatial > 3 || temporal > 7 {
            return Err(ParseError("dd-layers"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::DescribedLayers;
    use crate::mutation::{mutated, one_of};
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Structures of three spatial and temporal layers, of one and three, of two and one; frames of them.
    const DESCRIPTORS: &[&str] = &[
        "80000580085965ea00018000100002a00018000100002a000180001000809f8059813f80b3827f816780",
        "80000580025ea1810404fc02cc",
        "c000058001b820",
        "c30009",
        "40000a",
        "8100084005",
        "c2000b380a8a2005",
    ];

    fn check(descriptor: &Descriptor, known: Option<&Structure>) -> Result<(), TestCaseError> {
        let Some(structure) = descriptor.structure.as_ref().or(known) else { return Ok(()) };
        prop_assert!(structure.templates.len() <= MAX_TEMPLATES);
        for target in 0..structure.decode_targets {
            prop_assert!(structure.spatial_of_target(target) <= 3);
        }
        let frame = descriptor.frame.as_ref().unwrap();
        prop_assert_eq!(frame.indications.len(), structure.decode_targets);
        Ok(())
    }

    #[test]
    fn the_structures_that_are_mutated_are_read_as_they_are() {
        let shapes = DESCRIPTORS[..3].iter().map(|text| {
            let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
            let data: Vec<u8> = (0..text.len()).step_by(2).map(byte).collect();
            let structure = parse(&data, None).unwrap().structure.unwrap();
            (structure.templates.len(), structure.decode_targets, structure.resolutions.len())
        });
        assert_eq!(shapes.collect::<Vec<_>>(), [(9, 9, 3), (3, 3, 1), (2, 2, 0)]);
    }

    proptest! {
        #[test]
        fn mutations_of_descriptors_keep_within_bounds(stream in vec(mutated(one_of(DESCRIPTORS)), 1..8)) {
            let mut known: Option<Structure> = None;
            let mut layers = DescribedLayers::default();
            for data in stream {
                if let Some(layer) = layers.of(&data) {
                    prop_assert!(layer.spatial <= 3 && layer.temporal <= 7);
                }
                prop_assert!(layers.sizes().len() <= 4);
                if let Ok(descriptor) = parse(&data, known.as_ref()) {
                    check(&descriptor, known.as_ref())?;
                    known = descriptor.structure.or(known);
                }
            }
        }

        #[test]
        fn any_bytes_parse_or_fail(first: Vec<u8>, then: Vec<u8>) {
            let known = parse(&first, None).ok().and_then(|each| each.structure);
            if let Ok(descriptor) = parse(&then, known.as_ref()) {
                check(&descriptor, known.as_ref())?;
            }
        }
    }
}
