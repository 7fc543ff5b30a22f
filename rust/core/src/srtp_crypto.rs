//! The ciphers of SRTP and SRTCP with their session keys. Spec: RFC 3711 section 4, RFC 7714.

use aes::cipher::{KeyIvInit, StreamCipher};
use ring::{aead, hmac};

use crate::srtp::Profile;

type Aes128Ctr = ctr::Ctr128BE<aes::Aes128>;
type Aes256Ctr = ctr::Ctr128BE<aes::Aes256>;

const GCM_TAG: usize = 16;
const SHA1_TAG: usize = 10;
const RTCP_FIXED: usize = 8;
const INDEX_BYTES: usize = 4;
const ENCRYPTED: u32 = 0x8000_0000;

/// One direction's RTP or RTCP under one session key. The usual variant is the large one, and not boxed.
#[allow(clippy::large_enum_variant)]
pub enum Cipher {
    Gcm { key: aead::LessSafeKey, salt: [u8; 12] },
    CounterMode { key: [u8; 16], salt: [u8; 14], authentication: hmac::Key },
}

impl Cipher {
    /// From session keys and salt of the profile's lengths, None for others.
    pub fn new(profile: Profile, key: &[u8], authentication: &[u8], salt: &[u8]) -> Option<Self> {
        let gcm = |algorithm| {
            let key = aead::LessSafeKey::new(aead::UnboundKey::new(algorithm, key).ok()?);
            Some(Self::Gcm { key, salt: salt.try_into().ok()? })
        };
        match profile {
            Profile::AeadAes256Gcm => gcm(&aead::AES_256_GCM),
            Profile::AeadAes128Gcm => gcm(&aead::AES_128_GCM),
            Profile::Aes128CmSha1 => Some(Self::CounterMode {
                key: key.try_into().ok()?,
                salt: salt.try_into().ok()?,
                authentication: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, authentication),
            }),
        }
    }

    /// Open an RTP packet in place; the length of what is in the clear, None where it is not genuine.
    pub fn open_rtp(&self, ssrc: u32, index: u64, header: usize, data: &mut [u8]) -> Option<usize> {
        match self {
            Self::Gcm { key, salt } => {
                let (head, body) = data.split_at_mut_checked(header)?;
                let nonce = rtp_nonce(salt, ssrc, index);
                key.open_in_place(nonce, aead::Aad::from(&*head), body).ok()?;
                Some(data.len() - GCM_TAG)
            }
            Self::CounterMode { key, salt, authentication } => {
                let end = data.len().checked_sub(SHA1_TAG)?;
                let (packet, tag) = data.split_at_mut(end);
                verify(authentication, packet, &((index >> 16) as u32).to_be_bytes(), tag)?;
                counter_mode(key, salt, ssrc, index, packet.get_mut(header..)?);
                Some(end)
            }
        }
    }

    /// Seal the RTP packet at `start` of `out`, which grows by the tag.
    pub fn seal_rtp(
        &self,
        ssrc: u32,
        index: u64,
        start: usize,
        header: usize,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let (head, body) = out.get_mut(start..)?.split_at_mut_checked(header)?;
        match self {
            Self::Gcm { key, salt } => {
                let nonce = rtp_nonce(salt, ssrc, index);
                let tag = key.seal_in_place_separate_tag(nonce, aead::Aad::from(&*head), body).ok()?;
                out.extend_from_slice(tag.as_ref());
            }
            Self::CounterMode { key, salt, authentication } => {
                counter_mode(key, salt, ssrc, index, body);
                let tag = sign(authentication, &out[start..], &((index >> 16) as u32).to_be_bytes());
                out.extend_from_slice(&tag.as_ref()[..SHA1_TAG]);
            }
        }
        Some(())
    }

    /// Open an RTCP compound in place; `word` is its flag and index. The length of what is in the clear.
    pub fn open_rtcp(&self, ssrc: u32, word: u32, data: &mut [u8]) -> Option<usize> {
        match self {
            Self::Gcm { key, salt } => {
                let end = data.len().checked_sub(GCM_TAG + INDEX_BYTES)?;
                let nonce = rtcp_nonce(salt, ssrc, word & !ENCRYPTED);
                if word & ENCRYPTED != 0 {
                    let (head, body) = data[..end + GCM_TAG].split_at_mut_checked(RTCP_FIXED)?;
                    key.open_in_place(nonce, aead::Aad::from(rtcp_aad(head, word)), body).ok()?;
                } else {
                    // Everything but the tag is only authenticated, with the word after it: that takes the tag's
                    // place. Spec: RFC 7714 section 9.3.
                    let (head, tail) = data.split_at_mut_checked(end)?;
                    let mut tag = [0; GCM_TAG];
                    tag.copy_from_slice(tail.get(..GCM_TAG)?);
                    tail[..INDEX_BYTES].copy_from_slice(&word.to_be_bytes());
                    let all = head.len() + INDEX_BYTES;
                    key.open_in_place(nonce, aead::Aad::from(&data[..all]), &mut tag).ok()?;
                }
                Some(end)
            }
            Self::CounterMode { key, salt, authentication } => {
                let (packet, tag) = data.split_at_mut_checked(data.len().checked_sub(SHA1_TAG)?)?;
                verify(authentication, packet, &[], tag)?;
                let end = packet.len().checked_sub(INDEX_BYTES)?;
                counter_mode(key, salt, ssrc, u64::from(word & !ENCRYPTED), packet.get_mut(RTCP_FIXED..end)?);
                Some(end)
            }
        }
    }

    /// Seal the RTCP compound at `start` of `out`, which grows by tag and index; `word` is flag and index.
    pub fn seal_rtcp(&self, ssrc: u32, word: u32, start: usize, out: &mut Vec<u8>) -> Option<()> {
        match self {
            Self::Gcm { key, salt } => {
                let (head, body) = out.get_mut(start..)?.split_at_mut_checked(RTCP_FIXED)?;
                let aad = rtcp_aad(head, word);
                let nonce = rtcp_nonce(salt, ssrc, word & !ENCRYPTED);
                let tag = key.seal_in_place_separate_tag(nonce, aead::Aad::from(aad), body).ok()?;
                out.extend_from_slice(tag.as_ref());
                out.extend(word.to_be_bytes());
            }
            Self::CounterMode { key, salt, authentication } => {
                let body = out.get_mut(start + RTCP_FIXED..)?;
                counter_mode(key, salt, ssrc, u64::from(word & !ENCRYPTED), body);
                out.extend(word.to_be_bytes());
                let tag = sign(authentication, &out[start..], &[]);
                out.extend_from_slice(&tag.as_ref()[..SHA1_TAG]);
            }
        }
        Some(())
    }
}

/// A session key or salt from master key and salt, with key derivation rate 0.
///
/// Spec: RFC 3711 section 4.3, RFC 7714 section 11 (a shorter salt is filled up with zeros on the right).
pub fn derive(profile: Profile, master: &[u8], label: u8, size: usize) -> Vec<u8> {
    let (key, salt) = master.split_at(profile.key_bytes());
    let mut iv = [0; 16];
    iv[..profile.salt_bytes()].copy_from_slice(&salt[..profile.salt_bytes()]);
    iv[7] ^= label;
    let mut out = vec![0; size];
    if let Ok(mut cipher) = Aes128Ctr::new_from_slices(key, &iv) {
        cipher.apply_keystream(&mut out);
    } else if let Ok(mut cipher) = Aes256Ctr::new_from_slices(key, &iv) {
        cipher.apply_keystream(&mut out);
    }
    out
}

/// SSRC, rollover counter and sequence number, salted. Spec: RFC 7714 section 8.1.
fn rtp_nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> aead::Nonce {
    let mut iv = *salt;
    xor(&mut iv[2..6], &ssrc.to_be_bytes());
    xor(&mut iv[6..12], &index.to_be_bytes()[2..]);
    aead::Nonce::assume_unique_for_key(iv)
}

/// SSRC and SRTCP index, salted. Spec: RFC 7714 section 9.1.
fn rtcp_nonce(salt: &[u8; 12], ssrc: u32, index: u32) -> aead::Nonce {
    let mut iv = *salt;
    xor(&mut iv[2..6], &ssrc.to_be_bytes());
    xor(&mut iv[8..12], &index.to_be_bytes());
    aead::Nonce::assume_unique_for_key(iv)
}

/// What is authenticated beside what is encrypted. Spec: RFC 7714 section 9.2.
fn rtcp_aad(head: &[u8], word: u32) -> [u8; RTCP_FIXED + INDEX_BYTES] {
    let mut aad = [0; RTCP_FIXED + INDEX_BYTES];
    aad[..RTCP_FIXED].copy_from_slice(head);
    aad[RTCP_FIXED..].copy_from_slice(&word.to_be_bytes());
    aad
}

/// Spec: RFC 3711 section 4.1.1.
fn counter_mode(key: &[u8; 16], salt: &[u8; 14], ssrc: u32, index: u64, body: &mut [u8]) {
    let mut iv = [0; 16];
    iv[..14].copy_from_slice(salt);
    xor(&mut iv[4..8], &ssrc.to_be_bytes());
    xor(&mut iv[8..14], &index.to_be_bytes()[2..]);
    Aes128Ctr::new(key.into(), &iv.into()).apply_keystream(body);
}

fn xor(target: &mut [u8], other: &[u8]) {
    for (byte, with) in target.iter_mut().zip(other) {
        *byte ^= with;
    }
}

fn sign(key: &hmac::Key, packet: &[u8], more: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    context.update(packet);
    context.update(more);
    context.sign()
}

/// In time that does not depend on where the tags differ.
fn verify(key: &hmac::Key, packet: &[u8], more: &[u8], tag: &[u8]) -> Option<()> {
    let expected = sign(key, packet, more);
    let apart =
        expected.as_ref()[..SHA1_TAG].iter().zip(tag).fold(0, |apart, (one, other)| apart | (one ^ other));
    (std::hint::black_box(apart) == 0 && tag.len() == SHA1_TAG).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<char> = text.chars().filter(|digit| !digit.is_whitespace()).collect();
        let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    /// RFC 3711 appendix B.3.
    #[test]
    fn key_derivation() {
        let master = hex("E1F97A0D3E018BE0D64FA32C06DE4139 0EC675AD498AFEEBB6960B3AABE6");
        let derived = |label, size| derive(Profile::Aes128CmSha1, &master, label, size);
        assert_eq!(derived(0, 16), hex("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(derived(2, 14), hex("30CBBC08863D8C85D49DB34A9AE1"));
        assert_eq!(derived(1, 20), hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"));
    }

    /// RFC 3711 appendix B.2.
    #[test]
    fn counter_mode_key_stream() {
        let key = hex("2B7E151628AED2A6ABF7158809CF4F3C");
        let salt = hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD");
        let mut body = [0; 48];
        let (key, salt) = (key.as_slice().try_into().unwrap(), salt.as_slice().try_into().unwrap());
        counter_mode(key, salt, 0, 0, &mut body);
        let expected = "E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB 41E95B3BB0A2E8DD477901E4FCA894C0";
        assert_eq!(body.to_vec(), hex(expected));
    }

    const TEXT: &str = "47616c6c696120657374206f6d6e697320646976697361 20696e207061727465732074726573";
    const HEADER: &str = "8040f17b 8041f8d3 5501a0b2";

    fn gcm(profile: Profile) -> Cipher {
        let key: Vec<u8> = (0..profile.key_bytes() as u8).collect();
        Cipher::new(profile, &key, &[], &hex("517569642070726f2071756f")).unwrap()
    }

    /// RFC 7714 section 16.1.1 and 16.2.1.
    #[test]
    fn gcm_packets() {
        let cases = [
            (
                Profile::AeadAes128Gcm,
                "f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833899d7f27beb16a9152cf765ee4390cce",
            ),
            (
                Profile::AeadAes256Gcm,
                "32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b7aa3db36dfffd6b0f9bb7878d7a76c13",
            ),
        ];
        for (profile, expected) in cases {
            let mut out = hex(HEADER);
            out.extend(hex(TEXT));
            let plain = out.clone();
            let cipher = gcm(profile);
            cipher.seal_rtp(0x5501_A0B2, 0xF17B, 0, 12, &mut out).unwrap();
            assert_eq!(out[12..], hex(expected));
            let size = cipher.open_rtp(0x5501_A0B2, 0xF17B, 12, &mut out).unwrap();
            assert_eq!(out[..size], plain);
        }
    }

    const RTCP: &str = "81c8000d 4d617273 4e5450314e545032 52545020 0000042a 0000e930 4c756e61 deadbeef deadbeef deadbeef deadbeef deadbeef";

    /// RFC 7714 section 17.1.1 and 17.2.1.
    #[test]
    fn gcm_rtcp() {
        let cases = [
            (
                Profile::AeadAes128Gcm,
                "63e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded0bb9275bc84aa45896cf4d2fc5abf87245d9eade",
            ),
            (
                Profile::AeadAes256Gcm,
                "d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be8415f658c61de0476f1b6fad1d1eb30c4446839f57ff6f6cb26ac3be",
            ),
        ];
        for (profile, expected) in cases {
            let mut out = hex(RTCP);
            let cipher = gcm(profile);
            cipher.seal_rtcp(0x4D61_7273, 0x8000_05D4, 0, &mut out).unwrap();
            assert_eq!(out[..8], hex(RTCP)[..8]);
            assert_eq!(out[8..], hex(&format!("{expected} 800005d4")));
            let size = cipher.open_rtcp(0x4D61_7273, 0x8000_05D4, &mut out).unwrap();
            assert_eq!(out[..size], hex(RTCP));
        }
    }

    /// RFC 7714 section 17.3 and 17.4: nothing is encrypted, everything authenticated.
    #[test]
    fn gcm_rtcp_in_the_clear() {
        let cases = [
            (Profile::AeadAes128Gcm, "841dd9683dd78ec92ae58790125f62b3"),
            (Profile::AeadAes256Gcm, "91db4afbfeee5a978fab4393ed2615fe"),
        ];
        for (profile, tag) in cases {
            let cipher = gcm(profile);
            let whole = hex(&format!("{RTCP} {tag} 000005d4"));
            let mut data = whole.clone();
            let size = cipher.open_rtcp(0x4D61_7273, 0x5D4, &mut data).unwrap();
            assert_eq!(data[..size], hex(RTCP));
            for at in 0..size + GCM_TAG {
                let mut changed = whole.clone();
                changed[at] ^= 1;
                assert_eq!(cipher.open_rtcp(0x4D61_7273, 0x5D4, &mut changed), None);
            }
            assert_eq!(cipher.open_rtcp(0x4D61_7273, 0x5D5, &mut whole.clone()), None);
        }
    }
}
