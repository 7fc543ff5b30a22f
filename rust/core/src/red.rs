//! Redundant audio: packets that repeat earlier ones beside what is new. Spec: RFC 2198.

use crate::error::{ParseError, Parsed};

const HEADER_BYTES: usize = 4;

/// The payload type of the block that is new, and where its data begins (it reaches to the end, and may be
/// empty). Spec: RFC 2198 section 3.
pub fn primary(payload: &[u8]) -> Parsed<(u8, usize)> {
    let (headers, redundant) = headers(payload)?;
    Ok((payload[headers - 1], headers + redundant))
}

/// Replace each block's payload type by what `payload_type` says; the payload is one that `primary` took.
pub fn renumber(payload: &mut [u8], payload_type: impl Fn(u8) -> u8) {
    let Ok((headers, _)) = headers(payload) else { return };
    for offset in (0..headers - 1).step_by(HEADER_BYTES).chain([headers - 1]) {
        payload[offset] = payload[offset] & 0x80 | payload_type(payload[offset] & 0x7F);
    }
}

/// The length of all headers, and that of all redundant blocks after them.
fn headers(payload: &[u8]) -> Parsed<(usize, usize)> {
    const TRUNCATED: ParseError = ParseError("red-truncated");
    let mut offset = 0;
    let mut redundant = 0;
    while offset < payload.len() && payload[offset] & 0x80 != 0 {
        if offset + HEADER_BYTES > payload.len() {
            return Err(TRUNCATED);
        }
        redundant += usize::from(payload[offset + 2] & 0x03) << 8 | usize::from(payload[offset + 3]);
        offset += HEADER_BYTES;
    }
    let headers = offset + 1;
    if headers + redundant > payload.len() {
        return Err(TRUNCATED);
    }
    Ok((headers, redundant))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutation::mutated;
    use proptest::prelude::*;

    /// Redundant blocks of a payload type and size each, and what is new.
    fn packed() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec((0..128u8, 0..40u16), 0..4).prop_map(|blocks| {
            let mut payload = Vec::new();
            for (payload_type, size) in &blocks {
                payload.push(0x80 | payload_type);
                payload.push(0);
                payload.extend(size.to_be_bytes());
            }
            payload.push(111);
            let size: u16 = blocks.iter().map(|(_, size)| size).sum();
            payload.resize(payload.len() + usize::from(size) + 3, 7);
            payload
        })
    }

    #[test]
    fn one_redundant_block() {
        let mut payload = [0xEF, 0, 0, 2, 0x6F, 1, 2, 3];
        assert_eq!(primary(&payload), Ok((0x6F, 7)));
        renumber(&mut payload, |number| number - 1);
        assert_eq!(payload, [0xEE, 0, 0, 2, 0x6E, 1, 2, 3]);
        assert_eq!(primary(&payload[..6]), Err(ParseError("red-truncated")));
    }

    proptest! {
        #[test]
        fn any_payload_is_read_within_bounds(
            mut payload in prop_oneof![any::<Vec<u8>>(), mutated(packed())]
        ) {
            if let Ok((_, start)) = primary(&payload) {
                prop_assert!(start <= payload.len());
                renumber(&mut payload, |number| number ^ 1);
                prop_assert_eq!(primary(&payload).unwrap().1, start);
            }
        }
    }
}
