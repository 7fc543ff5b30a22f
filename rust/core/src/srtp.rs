//! SRTP of one transport: unprotecting what its peer sends, protecting what is sent to it.
//!
//! Spec: RFC 3711 (AES-CM with HMAC-SHA1-80), RFC 7714 (AES-GCM). The reasons why a packet is not used, and
//! the order in which they are looked for, are libsrtp's: both planes count the same.

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

use crate::error::{ParseError, Parsed, u16_at, u32_at};
use crate::srtp_crypto::{Cipher, derive};
use crate::srtp_replay::{RtcpReplay, RtpReplay};

const RTP_FIXED: usize = 12;
const RTCP_FIXED: usize = 8;
const INDEX_BYTES: usize = 4;
const ENCRYPTED: u32 = 0x8000_0000;
/// SSRCs of no publication whose state is kept: of RTCP senders, and of streams not yet or no longer known.
const MOST_UNWANTED: usize = 64;
/// SSRCs whose last SRTCP index is kept.
const MOST_SENDING: usize = 1024;
/// More than any path MTU lets through.
pub const MOST_BYTES: usize = 1500;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    AeadAes256Gcm,
    AeadAes128Gcm,
    Aes128CmSha1,
}

impl Profile {
    /// By the name of the seam.
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "AEAD_AES_256_GCM" => Some(Self::AeadAes256Gcm),
            "AEAD_AES_128_GCM" => Some(Self::AeadAes128Gcm),
            "AES128_CM_SHA1_80" => Some(Self::Aes128CmSha1),
            _ => None,
        }
    }

    pub fn key_bytes(self) -> usize {
        if self == Self::AeadAes256Gcm { 32 } else { 16 }
    }

    pub fn salt_bytes(self) -> usize {
        if self == Self::Aes128CmSha1 { 14 } else { 12 }
    }

    /// What protecting adds to an RTP packet.
    pub fn tag_bytes(self) -> usize {
        if self == Self::Aes128CmSha1 { 10 } else { 16 }
    }
}

/// Session ciphers of one direction, or None where the master key is too short.
fn ciphers(profile: Profile, master: &[u8]) -> Option<(Cipher, Cipher)> {
    if master.len() < profile.key_bytes() + profile.salt_bytes() {
        return None;
    }
    let make = |first_label| {
        let key = derive(profile, master, first_label, profile.key_bytes());
        let authentication = derive(profile, master, first_label + 1, 20);
        let salt = derive(profile, master, first_label + 2, profile.salt_bytes());
        Cipher::new(profile, &key, &authentication, &salt)
    };
    Some((make(0)?, make(3)?))
}

#[derive(Debug, Default)]
struct Stream {
    rtp: Option<RtpReplay>,
    rtcp: RtcpReplay,
}

/// Packets of one peer, in the clear.
///
/// There is state for each SSRC that sent one genuine packet. A peer may use as many as it likes, so the
/// state of wanted SSRCs stays, and of others only the latest.
pub struct SrtpReceiver {
    profile: Profile,
    rtp: Cipher,
    rtcp: Cipher,
    streams: IndexMap<u32, Stream, FxBuildHasher>,
    unwanted: usize,
}

impl SrtpReceiver {
    /// None where the key is too short.
    pub fn new(profile: Profile, master: &[u8]) -> Option<Self> {
        let (rtp, rtcp) = ciphers(profile, master)?;
        Some(Self { profile, rtp, rtcp, streams: IndexMap::default(), unwanted: 0 })
    }

    /// Unprotect an RTP packet where it lies; the length of what is in the clear. Spec: RFC 3711 section 3.3.
    ///
    /// `wanted` is asked whenever there is too much state.
    pub fn unprotect(&mut self, data: &mut [u8], wanted: impl Fn(u32) -> bool) -> Parsed<usize> {
        if data.len() > MOST_BYTES {
            return Err(ParseError("srtp-too-long"));
        }
        let header = rtp_header_bytes(data).ok_or(ParseError("srtp-failed"))?;
        let seq = u16_at(data, 2);
        let ssrc = u32_at(data, 8);
        let known = self.streams.get(&ssrc).and_then(|stream| stream.rtp.as_ref());
        let index = match known {
            Some(replay) => replay.check(seq).ok_or(ParseError("srtp-replay"))?,
            None => u64::from(seq),
        };
        if header + self.profile.tag_bytes() > data.len() {
            return Err(ParseError("srtp-malformed"));
        }
        let size = self.rtp.open_rtp(ssrc, index, header, data).ok_or(ParseError("srtp-authentication"))?;
        let stream = self.stream(ssrc, wanted);
        match &mut stream.rtp {
            Some(replay) => replay.add(index),
            None => stream.rtp = Some(RtpReplay::new(index)),
        }
        Ok(size)
    }

    /// Unprotect an RTCP compound where it lies; the length of what is in the clear.
    ///
    /// Spec: RFC 3711 section 3.4, RFC 7714 section 9.
    pub fn unprotect_rtcp(&mut self, data: &mut [u8], wanted: impl Fn(u32) -> bool) -> Parsed<usize> {
        if data.len() > MOST_BYTES {
            return Err(ParseError("srtp-too-long"));
        }
        if data.len() < RTCP_FIXED + INDEX_BYTES + self.profile.tag_bytes() {
            return Err(ParseError("srtp-failed"));
        }
        let ssrc = u32_at(data, 4);
        let at = match self.profile {
            Profile::Aes128CmSha1 => data.len() - self.profile.tag_bytes() - INDEX_BYTES,
            _ => data.len() - INDEX_BYTES,
        };
        let word = u32_at(data, at);
        let encrypted = word & ENCRYPTED != 0;
        if !encrypted && self.profile == Profile::Aes128CmSha1 {
            return Err(ParseError("srtp-failed"));
        }
        let index = word & !ENCRYPTED;
        if self.streams.get(&ssrc).is_some_and(|stream| !stream.rtcp.is_new(index)) {
            return Err(ParseError("srtp-replay"));
        }
        let size = self.rtcp.open_rtcp(ssrc, word, data).ok_or(ParseError("srtp-authentication"))?;
        self.stream(ssrc, wanted).rtcp.add(index);
        Ok(size)
    }

    fn stream(&mut self, ssrc: u32, wanted: impl Fn(u32) -> bool) -> &mut Stream {
        if !self.streams.contains_key(&ssrc) {
            self.remember(ssrc, wanted);
        }
        self.streams.entry(ssrc).or_default()
    }

    /// One more SSRC has state. Of one that is forgotten, old packets would pass as new.
    fn remember(&mut self, ssrc: u32, wanted: impl Fn(u32) -> bool) {
        self.streams.insert(ssrc, Stream::default());
        self.unwanted += 1;
        if self.unwanted <= MOST_UNWANTED {
            return;
        }
        let unwanted = self.streams.keys().filter(|known| !wanted(**known)).count();
        let mut too_many = unwanted.saturating_sub(MOST_UNWANTED / 2);
        self.unwanted = unwanted - too_many;
        self.streams.retain(|known, _| {
            let forget = too_many > 0 && !wanted(*known);
            too_many -= usize::from(forget);
            !forget
        });
    }
}

/// What is sent to one peer.
pub struct SrtpSender {
    profile: Profile,
    rtp: Cipher,
    rtcp: Cipher,
    /// The last index used of each SSRC: with AES-GCM one used twice would give the key away.
    rtcp_indices: IndexMap<u32, u32, FxBuildHasher>,
    /// Of those that are forgotten the highest: who is not known goes on above it.
    forgotten_index: u32,
}

impl SrtpSender {
    /// None where the key is too short.
    pub fn new(profile: Profile, master: &[u8]) -> Option<Self> {
        let (rtp, rtcp) = ciphers(profile, master)?;
        Some(Self { profile, rtp, rtcp, rtcp_indices: IndexMap::default(), forgotten_index: 0 })
    }

    pub fn tag_bytes(&self) -> usize {
        self.profile.tag_bytes()
    }

    /// Protect the packet that begins at `start` of `out` and reaches to its end, with `header` bytes in the
    /// clear. `ext_seq` is the rollover counter followed by the header's sequence number; none may be used
    /// twice.
    pub fn protect(
        &self,
        ssrc: u32,
        ext_seq: u64,
        start: usize,
        header: usize,
        out: &mut Vec<u8>,
    ) -> Parsed<()> {
        self.rtp.seal_rtp(ssrc, ext_seq, start, header, out).ok_or(ParseError("srtp-protect"))
    }

    /// Protect the RTCP compound that begins at `start` of `out` and reaches to its end.
    pub fn protect_rtcp(&mut self, start: usize, out: &mut Vec<u8>) -> Parsed<()> {
        const FAILED: ParseError = ParseError("srtp-protect");
        if out.len() < start + RTCP_FIXED {
            return Err(FAILED);
        }
        let ssrc = u32_at(out, start + 4);
        let index = self.next_rtcp_index(ssrc).ok_or(FAILED)?;
        self.rtcp.seal_rtcp(ssrc, index | ENCRYPTED, start, out).ok_or(FAILED)
    }

    /// None where all are used up.
    fn next_rtcp_index(&mut self, ssrc: u32) -> Option<u32> {
        if let Some(index) = self.rtcp_indices.get_mut(&ssrc) {
            *index = Some(*index + 1).filter(|next| *next < ENCRYPTED)?;
            return Some(*index);
        }
        if self.rtcp_indices.len() == MOST_SENDING
            && let Some((_, index)) = self.rtcp_indices.shift_remove_index(0)
        {
            self.forgotten_index = self.forgotten_index.max(index);
        }
        let index = Some(self.forgotten_index + 1).filter(|next| *next < ENCRYPTED)?;
        self.rtcp_indices.insert(ssrc, index);
        Some(index)
    }
}

/// Of a header that fits: its length with CSRCs and extension.
fn rtp_header_bytes(data: &[u8]) -> Option<usize> {
    if data.len() < RTP_FIXED {
        return None;
    }
    let mut header = RTP_FIXED + 4 * usize::from(data[0] & 0x0F);
    if data[0] & 0x10 != 0 {
        if data.len() < header + 4 {
            return None;
        }
        header += 4 + 4 * usize::from(u16_at(data, header + 2));
    }
    (header <= data.len()).then_some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_srtcp_index_is_used_twice_and_few_are_kept() {
        let mut sender = SrtpSender::new(Profile::AeadAes128Gcm, &[7; 28]).unwrap();
        let mut last = std::collections::HashMap::new();
        let order = (0..MOST_SENDING as u32).flat_map(|ssrc| [ssrc, 0]).chain(0..3 * MOST_SENDING as u32);
        for ssrc in order.chain(0..10) {
            let index = sender.next_rtcp_index(ssrc).unwrap();
            assert!(last.insert(ssrc, index).is_none_or(|before| before < index));
            assert!(sender.rtcp_indices.len() <= MOST_SENDING);
        }
        // Whoever is not known any more begins above all that are forgotten.
        assert!(last[&9] > MOST_SENDING as u32);
        sender.rtcp_indices.insert(9, ENCRYPTED - 1);
        assert_eq!(sender.next_rtcp_index(9), None);
    }
}
