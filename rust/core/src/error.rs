//! What can be wrong with bytes from a peer.

/// Bytes that do not parse, or that nobody should get. The reason is a constant, fit for a counter's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseError(pub &'static str);

pub type Parsed<T> = Result<T, ParseError>;

/// The number at `offset`, big-endian; the caller has looked at the length.
pub fn u16_at(data: &[u8], offset: usize) -> u16 {
    u16::from_be_bytes([data[offset], data[offset + 1]])
}

/// The number at `offset`, big-endian; the caller has looked at the length.
pub fn u32_at(data: &[u8], offset: usize) -> u32 {
    u32::from_be_bytes([data[offset], data[offset + 1], data[offset + 2], data[offset + 3]])
}
