//! Reading fields of single bits, most significant first.

use crate::error::{ParseError, Parsed};

/// Reads a byte string bit by bit; reading past its end fails with the given reason.
pub struct BitReader<'a> {
    data: &'a [u8],
    position: usize,
    reason: &'static str,
}

impl<'a> BitReader<'a> {
    pub fn new(data: &'a [u8], reason: &'static str) -> Self {
        Self { data, position: 0, reason }
    }

    /// The next `bits` bits (at most 64) as an unsigned number; 0 for no bits.
    pub fn read(&mut self, bits: usize) -> Parsed<u64> {
        let end = self.position + bits;
        if end > 8 * self.data.len() {
            return Err(ParseError(self.reason));
        }
        let mut value = 0;
        for position in self.position..end {
            value = value << 1 | u64::from(self.data[position / 8] >> (7 - position % 8) & 1);
        }
        self.position = end;
        Ok(value)
    }

    pub fn flag(&mut self) -> Parsed<bool> {
        Ok(self.read(1)? == 1)
    }

    /// ue(v) of H.264 (section 9.1), uvlc() of AV1 (section 4.10.3); more than 32 bits are refused.
    pub fn read_exp_golomb(&mut self) -> Parsed<u64> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 32 {
                return Err(ParseError(self.reason));
            }
        }
        Ok((1 << zeros) - 1 + self.read(zeros)?)
    }

    /// ns(n) of AV1, section 4.10.7: a number below `values`, which is at least 1.
    pub fn read_non_symmetric(&mut self, values: u64) -> Parsed<u64> {
        let width = 64 - values.leading_zeros() as usize;
        let shorter = (1 << width) - values;
        let value = self.read(width - 1)?;
        if value < shorter {
            return Ok(value);
        }
        Ok((value << 1) - shorter + self.read(1)?)
    }

    /// se(v) of H.264, section 9.1.1.
    pub fn read_signed_exp_golomb(&mut self) -> Parsed<i64> {
        let code = self.read_exp_golomb()? as i64;
        Ok(if code & 1 == 1 { (code + 1) / 2 } else { -(code / 2) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_golomb_codes_of_the_h264_table() {
        // Codes 0, 1, 2, 3, 4: 1 010 011 00100 00101. Spec: ITU-T H.264 table 9-2.
        let data = [0b1010_0110, 0b0100_0010, 0b1000_0000];
        let mut bits = BitReader::new(&data, "x");
        let read: Vec<u64> = (0..5).map(|_| bits.read_exp_golomb().unwrap()).collect();
        assert_eq!(read, [0, 1, 2, 3, 4]);
        assert_eq!(bits.read(8), Err(ParseError("x")));
    }

    #[test]
    fn signed_codes_alternate() {
        let data = [0b1010_0110, 0b0100_0010, 0b1000_0000];
        let mut bits = BitReader::new(&data, "x");
        let read: Vec<i64> = (0..5).map(|_| bits.read_signed_exp_golomb().unwrap()).collect();
        assert_eq!(read, [0, 1, -1, 2, -2]);
    }
}
