//! RTP header extensions: both forms read, and a leg's own set written. Spec: RFC 8285.

use std::ops::Range;

use smallvec::SmallVec;

use crate::error::{ParseError, Parsed};
use crate::parameters::ExtensionIds;

pub const ONE_BYTE_PROFILE: u16 = 0xBEDE;
pub const TWO_BYTE_PROFILE: u16 = 0x1000;
const TRANSPORT_CC_BYTES: usize = 2;

/// Where the values of a packet's extensions are. Of an id that stands twice the last counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions(SmallVec<[(u8, u16, u8); 8]>);

impl Extensions {
    /// The value within the packet `data` that was parsed; None where there is none of that id.
    pub fn get<'a>(&self, data: &'a [u8], id: u8) -> Option<&'a [u8]> {
        let (_, start, size) = self.0.iter().rev().find(|(known, _, _)| *known == id)?;
        data.get(usize::from(*start)..usize::from(*start) + usize::from(*size))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The values of the block `range` of `data`, after its length word.
///
/// A profile that is neither form gives none. Fails where an element is longer than the block.
pub fn parse_extensions(profile: u16, data: &[u8], range: Range<usize>) -> Parsed<Extensions> {
    let mut found = Extensions::default();
    if range.end > usize::from(u16::MAX) {
        return Err(ParseError("rtp-extension"));
    }
    if profile == ONE_BYTE_PROFILE {
        parse_one_byte(data, range, &mut found)?;
    } else if profile & 0xFFF0 == TWO_BYTE_PROFILE {
        parse_two_byte(data, range, &mut found)?;
    }
    Ok(found)
}

fn parse_one_byte(data: &[u8], range: Range<usize>, found: &mut Extensions) -> Parsed<()> {
    let mut offset = range.start;
    while offset < range.end {
        let head = data[offset];
        if head == 0 {
            offset += 1;
            continue;
        }
        if head >= 0xF0 {
            // Id 15 ends the block, whatever follows. Spec: RFC 8285 section 4.2.
            break;
        }
        let size = (head & 0x0F) + 1;
        let start = offset + 1;
        offset = start + usize::from(size);
        if offset > range.end {
            return Err(ParseError("rtp-extension"));
        }
        if head >> 4 != 0 {
            found.0.push((head >> 4, start as u16, size));
        }
    }
    Ok(())
}

fn parse_two_byte(data: &[u8], range: Range<usize>, found: &mut Extensions) -> Parsed<()> {
    let mut offset = range.start;
    while offset < range.end {
        let id = data[offset];
        if id == 0 {
            offset += 1;
            continue;
        }
        if offset + 1 == range.end {
            return Err(ParseError("rtp-extension"));
        }
        let start = offset + 2;
        let size = data[offset + 1];
        offset = start + usize::from(size);
        if offset > range.end {
            return Err(ParseError("rtp-extension"));
        }
        found.0.push((id, start as u16, size));
    }
    Ok(())
}

/// Values of one packet that go through from publisher to subscriber, empty where absent: audio level,
/// playout delay, dependency descriptor.
#[derive(Clone, Debug, Default)]
pub struct Carried {
    pub values: [SmallVec<[u8; 8]>; 3],
}

pub const DEPENDENCY_DESCRIPTOR: usize = 2;

/// How one leg writes its extensions: ids, and its MID's element in both forms (empty where a form cannot
/// hold it).
#[derive(Clone, Debug)]
pub struct ExtensionLayout {
    ids: [u8; 3],
    transport_cc: u8,
    abs_send_time: u8,
    always_two_byte: bool,
    mid: [Vec<u8>; 2],
}

impl ExtensionLayout {
    /// A layout of these ids; a MID is written where there is one and it has an id.
    pub fn new(ids: &ExtensionIds, mid: &str) -> Self {
        let value = mid.as_bytes();
        let written = ids.mid != 0 && !value.is_empty();
        let mut one = Vec::new();
        let mut two = Vec::new();
        if written {
            if ids.mid <= 14 && value.len() <= 16 {
                push(&mut one, ids.mid, value, false);
            }
            push(&mut two, ids.mid, &value[..value.len().min(255)], true);
        }
        // What goes through may be absent, so its ids are looked at only when it is there.
        let highest = ids.mid.max(ids.transport_cc).max(ids.abs_send_time);
        Self {
            ids: [ids.audio_level, ids.playout_delay, ids.dependency_descriptor],
            transport_cc: ids.transport_cc,
            abs_send_time: ids.abs_send_time,
            always_two_byte: (written && value.len() > 16) || highest > 14,
            mid: [one, two],
        }
    }

    /// Whether packets get a transport-wide number.
    pub fn numbers(&self) -> bool {
        self.transport_cc != 0
    }

    /// Append the block of a packet sent now, with zeros for the transport-wide number, and tell where in
    /// `out` that is. Nothing is appended where there is nothing to say: returns None, and false.
    ///
    /// The order is that of the readable plane: number, MID, what goes through, send time. The two-byte form
    /// is taken only where a value needs it.
    pub fn write(
        &self,
        carried: &Carried,
        frame_number: Option<u16>,
        now_us: i64,
        out: &mut Vec<u8>,
    ) -> Written {
        let mut two_byte = self.always_two_byte;
        for (id, value) in self.ids.iter().zip(&carried.values) {
            if *id != 0 && !value.is_empty() {
                two_byte = two_byte || *id > 14 || value.len() > 16;
            }
        }
        let start = out.len();
        out.extend([0; 4]);
        let mut number_at = None;
        if self.transport_cc != 0 {
            push(out, self.transport_cc, &[0; TRANSPORT_CC_BYTES], two_byte);
            number_at = Some(out.len() - TRANSPORT_CC_BYTES);
        }
        out.extend_from_slice(&self.mid[usize::from(two_byte)]);
        for (index, (id, value)) in self.ids.iter().zip(&carried.values).enumerate() {
            if *id == 0 || value.is_empty() {
                continue;
            }
            push(out, *id, value, two_byte);
            if let (DEPENDENCY_DESCRIPTOR, Some(number)) = (index, frame_number) {
                let at = out.len() - value.len() + 1;
                out[at..at + 2].copy_from_slice(&number.to_be_bytes());
            }
        }
        if self.abs_send_time != 0 {
            push(out, self.abs_send_time, &abs_send_time(now_us), two_byte);
        }
        let size = out.len() - start - 4;
        if size == 0 {
            out.truncate(start);
            return Written { present: false, number_at: None };
        }
        out.resize(start + 4 + size.next_multiple_of(4), 0);
        let profile = if two_byte { TWO_BYTE_PROFILE } else { ONE_BYTE_PROFILE };
        out[start..start + 2].copy_from_slice(&profile.to_be_bytes());
        out[start + 2..start + 4].copy_from_slice(&((size.div_ceil(4)) as u16).to_be_bytes());
        Written { present: true, number_at }
    }
}

/// What `ExtensionLayout::write` has written: whether there is a block, and where its number goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    pub present: bool,
    pub number_at: Option<usize>,
}

/// Seconds modulo 64 as a 6.18 fixed point. Spec: draft-alvestrand-rmcat-remb-03 appendix.
pub fn abs_send_time(now_us: i64) -> [u8; 3] {
    let fixed = ((i128::from(now_us) << 18) / 1_000_000) as u32;
    let [_, high, middle, low] = fixed.to_be_bytes();
    [high, middle, low]
}

fn push(out: &mut Vec<u8>, id: u8, value: &[u8], two_byte: bool) {
    if two_byte {
        out.extend([id, value.len() as u8]);
    } else {
        out.push(id << 4 | (value.len() as u8).wrapping_sub(1) & 0x0F);
    }
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutation::mutated;
    use proptest::prelude::*;

    fn carried(level: &[u8], descriptor: &[u8]) -> Carried {
        let mut carried = Carried::default();
        carried.values[0] = SmallVec::from_slice(level);
        carried.values[DEPENDENCY_DESCRIPTOR] = SmallVec::from_slice(descriptor);
        carried
    }

    #[test]
    fn what_is_written_parses_again() {
        let ids = ExtensionIds {
            mid: 1,
            transport_cc: 2,
            abs_send_time: 3,
            audio_level: 4,
            dependency_descriptor: 7,
            ..ExtensionIds::default()
        };
        for (mid, two_byte) in [("7", false), ("a mid of more than sixteen", true)] {
            let layout = ExtensionLayout::new(&ids, mid);
            let mut out = vec![0xFF; 12];
            let written =
                layout.write(&carried(&[0x85], &[0xC0, 1, 2, 9]), Some(0x1234), 1_000_000, &mut out);
            assert_eq!(written.number_at, Some(if two_byte { 18 } else { 17 }));
            assert_eq!(out.len() % 4, 0);
            let profile = u16::from_be_bytes([out[12], out[13]]);
            let values = parse_extensions(profile, &out, 16..out.len()).unwrap();
            assert_eq!(values.get(&out, 1), Some(mid.as_bytes()));
            assert_eq!(values.get(&out, 4), Some(&[0x85][..]));
            assert_eq!(values.get(&out, 7), Some(&[0xC0, 0x12, 0x34, 9][..]));
            assert_eq!(values.get(&out, 3), Some(&[4, 0, 0][..]));
        }
    }

    #[test]
    fn nothing_to_say_is_no_block() {
        let layout = ExtensionLayout::new(&ExtensionIds::default(), "7");
        let mut out = Vec::new();
        let written = layout.write(&carried(&[1], &[]), None, 0, &mut out);
        assert_eq!((written.present, out.len()), (false, 0));
    }

    #[test]
    fn id_fifteen_ends_a_one_byte_block() {
        let data = [0x10, 7, 0xF0, 0x20, 8];
        let values = parse_extensions(ONE_BYTE_PROFILE, &data, 0..5).unwrap();
        assert_eq!((values.get(&data, 1), values.get(&data, 2)), (Some(&[7][..]), None));
    }

    /// A block with its profile and length, as a leg writes it, in either form.
    fn written() -> impl Strategy<Value = Vec<u8>> {
        let ids = (1..16u8, 1..16u8, 16..40u8, any::<bool>());
        (ids, 0..20usize, 1..24usize).prop_map(|((mid, number, high, is_high), named, described)| {
            let ids = ExtensionIds {
                mid,
                transport_cc: number,
                abs_send_time: 3,
                audio_level: 4,
                dependency_descriptor: if is_high { high } else { 7 },
                ..ExtensionIds::default()
            };
            let layout = ExtensionLayout::new(&ids, &"middle of a description"[..named]);
            let mut out = Vec::new();
            layout.write(&carried(&[0x85], &[7; 24][..described]), None, 1_000_000, &mut out);
            let profile = u16::from_be_bytes([out[0], out[1]]);
            assert!(!parse_extensions(profile, &out, 4..out.len()).unwrap().is_empty());
            out
        })
    }

    fn values_are_within(profile: u16, data: &[u8]) -> Result<(), TestCaseError> {
        if data.len() >= 4
            && let Ok(values) = parse_extensions(profile, data, 4..data.len())
        {
            prop_assert!(values.0.len() <= data.len() / 2);
            for (id, start, size) in &values.0 {
                prop_assert!(*start >= 5 && usize::from(start + u16::from(*size)) <= data.len());
                prop_assert!(values.get(data, *id).is_some());
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn mutations_of_what_is_written_are_read_within_bounds(data in mutated(written())) {
            if let [high, low, ..] = data[..] {
                values_are_within(u16::from_be_bytes([high, low]), &data)?;
            }
        }

        #[test]
        fn any_block_of_either_form_is_read_within_bounds(data: Vec<u8>, profile in 0x0FFF..0x1012u16) {
            values_are_within(profile, &data)?;
            values_are_within(ONE_BYTE_PROFILE, &data)?;
        }
    }
}
