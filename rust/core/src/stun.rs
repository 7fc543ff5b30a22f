//! Consent checks: binding requests on a path that a peer has proven, answered where there is nothing to decide.
//!
//! Everything else about ICE is decided in `sfu/transport/ice.py`. Spec: RFC 7675, RFC 8489, RFC 8445 section 7.

use std::net::{IpAddr, SocketAddr};

use ring::hmac;

use crate::error::{ParseError, Parsed, u16_at, u32_at};

const MAGIC_COOKIE: u32 = 0x2112_A442;
const HEADER_BYTES: usize = 20;
const MAX_BYTES: usize = 1500;
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLED: u16 = 0x8029;
const FINGERPRINT_XOR: u32 = 0x5354_554E;
const INTEGRITY_BYTES: usize = 24;
const FINGERPRINT_BYTES: usize = 8;

/// What a binding request says, as far as it counts here; offsets are those of attributes in the datagram.
struct Request<'a> {
    username: &'a [u8],
    integrity_at: usize,
    fingerprint_at: usize,
    controlled: bool,
}

/// Checks that a peer's consent is known by.
pub struct Consent {
    username: Vec<u8>,
    key: hmac::Key,
}

impl Consent {
    /// `username` is what the peer's checks carry: our ufrag, a colon, its own. `password` is ours.
    pub fn new(username: &str, password: &str) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
        Self { username: username.as_bytes().to_vec(), key }
    }

    /// Put the answer to an authentic check from `from` into `answer`. False where it is none, or one that has
    /// more in it than consent.
    pub fn answer(&self, data: &[u8], from: SocketAddr, answer: &mut Vec<u8>) -> bool {
        let Ok(request) = parse(data) else { return false };
        let Request { username, integrity_at, fingerprint_at, controlled } = request;
        // Of the fingerprint first: it costs least.
        if controlled
            || username != self.username
            || u32_at(data, fingerprint_at + 4) != fingerprint(data, fingerprint_at)
            || hmac::verify(&self.key, &signed(data, integrity_at), &data[integrity_at + 4..][..20]).is_err()
        {
            return false;
        }
        self.write(&data[8..HEADER_BYTES], from, answer);
        true
    }

    fn write(&self, transaction: &[u8], from: SocketAddr, out: &mut Vec<u8>) {
        out.clear();
        out.extend(BINDING_SUCCESS.to_be_bytes());
        out.extend([0, 0]);
        out.extend(MAGIC_COOKIE.to_be_bytes());
        out.extend_from_slice(transaction);
        let host: ([u8; 16], usize, u8) = match from.ip() {
            IpAddr::V4(host) => {
                let mut octets = [0; 16];
                octets[..4].copy_from_slice(&host.octets());
                (octets, 4, 1)
            }
            IpAddr::V6(host) => (host.octets(), 16, 2),
        };
        let (octets, size, family) = host;
        out.extend(XOR_MAPPED_ADDRESS.to_be_bytes());
        out.extend((size as u16 + 4).to_be_bytes());
        out.extend([0, family]);
        out.extend((from.port() ^ (MAGIC_COOKIE >> 16) as u16).to_be_bytes());
        // The mask is the cookie and the transaction, which stand together in the header.
        for (index, octet) in octets[..size].iter().enumerate() {
            out.push(octet ^ out[4 + index]);
        }
        let tag = hmac::sign(&self.key, &signed(out, out.len()));
        out.extend(MESSAGE_INTEGRITY.to_be_bytes());
        out.extend(20u16.to_be_bytes());
        out.extend_from_slice(tag.as_ref());
        let length = out.len() + FINGERPRINT_BYTES - HEADER_BYTES;
        out[2..4].copy_from_slice(&(length as u16).to_be_bytes());
        let crc = fingerprint(out, out.len());
        out.extend(FINGERPRINT.to_be_bytes());
        out.extend(4u16.to_be_bytes());
        out.extend(crc.to_be_bytes());
    }
}

/// Whether this is an answer to a check, as far as its type says.
pub fn is_answer(data: &[u8]) -> bool {
    data.len() >= HEADER_BYTES && u16_at(data, 0) == BINDING_SUCCESS
}

/// Whether a check, or an answer to a check of ours, names a ufrag that is `known`. Nothing else about it is looked
/// at. An answer has it in its transaction id, as `sfu/transport/validation.py` made it.
pub fn names(data: &[u8], known: impl Fn(&[u8]) -> bool) -> bool {
    if is_answer(data) {
        let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
        let ufrag: [u8; 8] = std::array::from_fn(|at| digit(data[8 + at / 2] >> (4 - at % 2 * 4) & 15));
        return u32_at(data, 4) == MAGIC_COOKIE && known(&ufrag);
    }
    named(data).is_some_and(known)
}

fn named(data: &[u8]) -> Option<&[u8]> {
    if data.len() < HEADER_BYTES || u32_at(data, 4) != MAGIC_COOKIE {
        return None;
    }
    let mut rest = &data[HEADER_BYTES..];
    while let [a, b, c, d, after @ ..] = rest {
        let size = usize::from(u16::from_be_bytes([*c, *d]));
        if u16::from_be_bytes([*a, *b]) == USERNAME {
            return after.get(..size)?.split(|byte| *byte == b':').next();
        }
        rest = after.get(size.div_ceil(4) * 4..)?;
    }
    None
}

fn parse(data: &[u8]) -> Parsed<Request<'_>> {
    const WRONG: ParseError = ParseError("stun-check");
    if !(HEADER_BYTES..=MAX_BYTES).contains(&data.len())
        || u16_at(data, 0) != BINDING_REQUEST
        || u32_at(data, 4) != MAGIC_COOKIE
        || !data.len().is_multiple_of(4)
        || usize::from(u16_at(data, 2)) + HEADER_BYTES != data.len()
    {
        return Err(WRONG);
    }
    let (mut username, mut integrity_at, mut controlled) = (None, None, false);
    let mut at = HEADER_BYTES;
    while at < data.len() {
        let (kind, size) = (u16_at(data, at), usize::from(u16_at(data, at + 2)));
        let value = data.get(at + 4..at + 4 + size).ok_or(WRONG)?;
        match kind {
            FINGERPRINT => {
                if size != 4 || at + FINGERPRINT_BYTES != data.len() {
                    return Err(WRONG);
                }
                return Ok(Request {
                    username: username.ok_or(WRONG)?,
                    integrity_at: integrity_at.ok_or(WRONG)?,
                    fingerprint_at: at,
                    controlled,
                });
            }
            // What follows the integrity attribute is not protected, so it does not count.
            _ if integrity_at.is_some() => {}
            MESSAGE_INTEGRITY if size == 20 => integrity_at = Some(at),
            MESSAGE_INTEGRITY => return Err(WRONG),
            USERNAME => username = username.or(Some(value)),
            ICE_CONTROLLED => controlled = true,
            _ => {}
        }
        at += 4 + size.div_ceil(4) * 4;
    }
    Err(WRONG)
}

/// What MESSAGE-INTEGRITY at `at` is computed of: everything before it, with a length that reaches to its end.
fn signed(data: &[u8], at: usize) -> Vec<u8> {
    let mut before = data[..at].to_vec();
    let length = at + INTEGRITY_BYTES - HEADER_BYTES;
    before[2..4].copy_from_slice(&(length as u16).to_be_bytes());
    before
}

/// FINGERPRINT at `at`, of everything before it. It is last, so the length is right as it stands.
fn fingerprint(data: &[u8], at: usize) -> u32 {
    let mut crc = !0;
    for byte in &data[..at] {
        crc = CRC[(crc as u8 ^ byte) as usize] ^ crc >> 8;
    }
    !crc ^ FINGERPRINT_XOR
}

/// CRC-32 of ITU-T V.42, byte by byte.
const CRC: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { 0xEDB8_8320 ^ crc >> 1 } else { crc >> 1 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The request of RFC 5769 section 2.1.
    const REQUEST: [u8; 108] = *b"\x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
        \x80\x22\x00\x10STUN test client\x00\x24\x00\x04\x6e\x00\x01\xff\x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\
        \x3b\x36\x00\x06\x00\x09evtj:h6vY   \x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\
        \xd3\xf2\x49\xc1\xb5\x71\xa2\x80\x28\x00\x04\xe5\x7a\x3b\xcf";

    fn consent() -> Consent {
        Consent::new("evtj:h6vY", "VOkJxbRl1RmTxUk/WvJxBt")
    }

    fn from() -> SocketAddr {
        "192.0.2.1:32853".parse().unwrap()
    }

    /// A request of somebody who knows the password.
    fn request(consent: &Consent, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut data = Vec::new();
        data.extend(BINDING_REQUEST.to_be_bytes());
        data.extend([0, 0]);
        data.extend(MAGIC_COOKIE.to_be_bytes());
        data.extend(1..=12u8);
        for (kind, value) in attributes {
            data.extend(kind.to_be_bytes());
            data.extend((value.len() as u16).to_be_bytes());
            data.extend_from_slice(value);
            data.resize(data.len().next_multiple_of(4), 0);
        }
        let tag = hmac::sign(&consent.key, &signed(&data, data.len()));
        data.extend(MESSAGE_INTEGRITY.to_be_bytes());
        data.extend(20u16.to_be_bytes());
        data.extend_from_slice(tag.as_ref());
        let length = data.len() + FINGERPRINT_BYTES - HEADER_BYTES;
        data[2..4].copy_from_slice(&(length as u16).to_be_bytes());
        let crc = fingerprint(&data, data.len());
        data.extend(FINGERPRINT.to_be_bytes());
        data.extend(4u16.to_be_bytes());
        data.extend(crc.to_be_bytes());
        data
    }

    #[test]
    fn the_rfcs_request_is_authentic() {
        let consent = consent();
        let parsed = parse(&REQUEST).unwrap();
        assert_eq!(parsed.username, b"evtj:h6vY");
        assert!(parsed.controlled);
        assert_eq!(named(&REQUEST), Some(&b"evtj"[..]));
        assert_eq!(named(&REQUEST[..60]), None);
        assert_eq!(named(&REQUEST[1..]), None);
        assert_eq!(u32_at(&REQUEST, parsed.fingerprint_at + 4), fingerprint(&REQUEST, parsed.fingerprint_at));
        let given = &REQUEST[parsed.integrity_at + 4..][..20];
        hmac::verify(&consent.key, &signed(&REQUEST, parsed.integrity_at), given).unwrap();
        // A role conflict is more than consent.
        assert!(!consent.answer(&REQUEST, from(), &mut Vec::new()));
    }

    #[test]
    fn an_answer_to_a_check_of_ours_names_us_in_its_transaction() {
        let ours = |ufrag: &[u8]| ufrag == b"0a1bf2c3";
        let mut answer = Vec::new();
        consent().write(b"\x0a\x1b\xf2\xc3________", from(), &mut answer);
        assert!(names(&answer, ours));
        consent().write(b"\x0a\x1b\xf2\xc4________", from(), &mut answer);
        assert!(!names(&answer, ours));
        assert!(!names(&answer[..19], ours));
        assert!(names(&REQUEST, |ufrag| ufrag == b"evtj"));
    }

    #[test]
    fn the_answer_is_the_rfcs() {
        // RFC 5769 section 2.2, but for its SOFTWARE attribute: the mapped address is that of the vector.
        let mut answer = Vec::new();
        consent().write(&REQUEST[8..20], from(), &mut answer);
        assert_eq!(answer[..4], [1, 1, 0, 44]);
        assert_eq!(answer[20..32], *b"\x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43");
        assert_eq!(u32_at(&answer, answer.len() - 4), fingerprint(&answer, answer.len() - 8));
        let six = "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap();
        consent().write(&REQUEST[8..20], six, &mut answer);
        let mapped = b"\x00\x20\x00\x14\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9";
        assert_eq!(answer[20..44], *mapped);
    }

    #[test]
    fn only_a_check_of_this_peer_is_answered() {
        let consent = consent();
        let mut answer = Vec::new();
        let good: (u16, &[u8]) = (USERNAME, b"evtj:h6vY");
        assert!(consent.answer(&request(&consent, &[good, (0x0025, b"")]), from(), &mut answer));
        assert_eq!(answer[8..20], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        let others: [&[(u16, &[u8])]; 3] =
            [&[], &[(USERNAME, b"evtj:other")], &[good, (ICE_CONTROLLED, &[0; 8])]];
        for attributes in others {
            assert!(!consent.answer(&request(&consent, attributes), from(), &mut answer));
        }
        let other = Consent::new("evtj:h6vY", "another password");
        assert!(!consent.answer(&request(&other, &[good]), from(), &mut answer));
    }

    proptest! {
        #[test]
        fn no_changed_byte_passes(at in 0usize..200, change in 1u8..) {
            let consent = consent();
            let mut data = request(&consent, &[(USERNAME, b"evtj:h6vY"), (0x0025, b"")]);
            let at = at % data.len();
            data[at] ^= change;
            prop_assert!(!consent.answer(&data, from(), &mut Vec::new()));
        }

        #[test]
        fn any_datagram_is_read_within_bounds(mut data: Vec<u8>) {
            consent().answer(&data, from(), &mut Vec::new());
            names(&data, |_| true);
            if data.len() >= HEADER_BYTES {
                data.truncate(data.len() / 4 * 4);
                let length = (data.len() - HEADER_BYTES) as u16;
                data[..2].copy_from_slice(&BINDING_REQUEST.to_be_bytes());
                data[2..4].copy_from_slice(&length.to_be_bytes());
                data[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
                consent().answer(&data, from(), &mut Vec::new());
                names(&data, |_| true);
                data[..2].copy_from_slice(&BINDING_SUCCESS.to_be_bytes());
                names(&data, |_| true);
            }
        }
    }
}
