//! Checked reading of untrusted bytes, and of numbers of variable length in them.

use crate::{Error, ErrorKind, Result};

/// An error about stored bytes.
pub(in crate::codec) fn malformed(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Format, message)
}

/// The unread part of a byte string, and its index.
pub(in crate::codec) struct Input<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, at: 0 }
    }

    /// The bytes that are not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Index of the next byte.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Drop all but the first `length` unread bytes.
    pub fn truncate(&mut self, length: usize) {
        self.rest = &self.rest[..length];
    }

    /// An error unless all bytes have been read.
    pub fn finish(&self) -> Result<()> {
        match self.rest.len() {
            0 => Ok(()),
            more => Err(malformed(format!(
                "{more} bytes too many at byte {}",
                self.at
            ))),
        }
    }

    pub fn take(&mut self, length: usize, what: &str) -> Result<&'a [u8]> {
        let Some((taken, rest)) = self.rest.split_at_checked(length) else {
            return Err(malformed(format!(
                "truncated: {what} needs {length} bytes at byte {}, {} are left",
                self.at,
                self.rest.len()
            )));
        };
        self.rest = rest;
        self.at += length;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, what)?);
        Ok(array)
    }

    pub fn byte(&mut self, what: &str) -> Result<u8> {
        Ok(self.array::<1>(what)?[0])
    }

    /// A number in groups of seven bits, the least significant group first (LEB128). The highest bit
    /// marks all groups but the last.
    pub fn number(&mut self, what: &str) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(what)?;
            let group = u64::from(byte & 0x7F);
            if group << shift >> shift != group {
                break;
            }
            value |= group << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(malformed(format!("{what}: a number beyond 64 bits")))
    }

    /// Such a number as a length or an index.
    pub fn length(&mut self, what: &str) -> Result<usize> {
        let number = self.number(what)?;
        usize::try_from(number).map_err(|_| malformed(format!("{what}: {number} is too large")))
    }
}

/// Append a number in groups of seven bits.
pub(in crate::codec) fn push_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Bytes that [`push_number`] takes.
pub(in crate::codec) fn number_len(number: u64) -> usize {
    (u64::BITS - number.leading_zeros()).div_ceil(7).max(1) as usize
}
