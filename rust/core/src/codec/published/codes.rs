//! Codes of up to 32 bits, packed without gaps, first code first and most significant bit first:
//! the bit order of [`bitstream`](crate::codec::numbers::bitstream), for wider fields, with access to any
//! one of them.

use rayon::prelude::*;

use super::params::CHUNK;
use crate::codec::numbers::bitstream::packed_len;

/// The codes of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedCodes {
    len: usize,
    bits: u32,
    bytes: Vec<u8>,
}

/// Bits that hold every code up to `largest`. At least one, so that a stored length is always
/// backed by bytes, and a few altered bytes cannot claim a tensor that no memory holds.
pub fn width(largest: u32) -> u32 {
    (u32::BITS - largest.leading_zeros()).max(1)
}

impl PackedCodes {
    /// Pack `codes` in as many bits as the largest needs.
    pub fn pack(codes: &[u32]) -> Self {
        let bits = width(codes.par_iter().copied().max().unwrap_or(0));
        let mut bytes = vec![0; packed_len(codes.len(), bits)];
        // A chunk is a multiple of eight codes, so it ends on a whole byte.
        bytes
            .par_chunks_mut(packed_len(CHUNK, bits))
            .zip(codes.par_chunks(CHUNK))
            .for_each(|(bytes, codes)| pack_chunk(codes, bits, bytes));
        Self {
            len: codes.len(),
            bits,
            bytes,
        }
    }

    /// `len` codes that were packed in `bits` bits each; `None` unless `bits` is 1 to 32, `bytes`
    /// has exactly their size, and the bits after the last code are zero.
    pub fn from_packed(len: usize, bits: u32, bytes: &[u8]) -> Option<Self> {
        let total = len.checked_mul(bits as usize)?;
        let spare = 7 & total.wrapping_neg();
        let last = bytes.last().copied().unwrap_or(0);
        let fits = (1..=u32::BITS).contains(&bits)
            && total.div_ceil(8) == bytes.len()
            && last & ((1 << spare) - 1) == 0;
        fits.then(|| Self {
            len,
            bits,
            bytes: bytes.to_vec(),
        })
    }

    /// Bits a code.
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// The packed bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Code number `index`, which must be below their number. O(1).
    #[inline]
    pub fn get(&self, index: usize) -> u32 {
        let bit = index as u64 * u64::from(self.bits);
        let rest = &self.bytes[(bit / 8) as usize..];
        let word = match rest.first_chunk() {
            Some(eight) => u64::from_be_bytes(*eight),
            None => last_word(rest),
        };
        ((word << (bit % 8)) >> (64 - self.bits)) as u32
    }

    /// The codes from number `first` on, in order.
    pub fn from(&self, first: usize) -> impl Iterator<Item = u32> {
        (first..self.len).map(|index| self.get(index))
    }

    /// Every code in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.from(0)
    }
}

/// Fewer than eight bytes as the top of a word.
#[cold]
fn last_word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_be_bytes(word)
}

fn pack_chunk(codes: &[u32], bits: u32, bytes: &mut [u8]) {
    let mut buffer = 0u64;
    let mut held = 0;
    let mut bytes = bytes.iter_mut();
    for code in codes {
        buffer = buffer << bits | u64::from(*code);
        held += bits;
        while held >= 8 {
            held -= 8;
            if let Some(byte) = bytes.next() {
                *byte = (buffer >> held) as u8;
            }
        }
    }
    if let Some(byte) = bytes.next() {
        *byte = (buffer << (8 - held)) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_packed_is_got(codes in prop::collection::vec(any::<u32>(), 0..300), shift in 0u32..32) {
            let codes: Vec<u32> = codes.iter().map(|c| c >> shift).collect();
            let packed = PackedCodes::pack(&codes);
            prop_assert_eq!(packed.iter().collect::<Vec<_>>(), codes.clone());
            let again = PackedCodes::from_packed(codes.len(), packed.bits(), packed.bytes());
            prop_assert_eq!(again, Some(packed));
        }

        #[test]
        fn narrow_codes_are_a_bitstream(codes in prop::collection::vec(any::<u8>(), 1..300)) {
            let packed = PackedCodes::pack(&codes.iter().map(|c| u32::from(*c)).collect::<Vec<_>>());
            let mut bytes = vec![0; packed_len(codes.len(), packed.bits())];
            crate::codec::numbers::bitstream::pack(&codes, packed.bits(), &mut bytes);
            prop_assert_eq!(packed.bytes(), bytes);
        }
    }

    #[test]
    fn chunks_join_without_a_gap() {
        let codes: Vec<u32> = (0..2 * CHUNK as u32 + 77).map(|i| i * 7 % 1601).collect();
        assert!(PackedCodes::pack(&codes).iter().eq(codes));
    }

    #[test]
    fn a_wrong_size_or_a_set_spare_bit_is_refused() {
        assert!(PackedCodes::from_packed(3, 3, &[0xFF, 0x80]).is_some());
        assert!(PackedCodes::from_packed(3, 3, &[0xFF, 0xC0]).is_none());
        assert!(PackedCodes::from_packed(3, 3, &[0xFF]).is_none());
        assert!(PackedCodes::from_packed(3, 3, &[0xFF, 0x80, 0]).is_none());
        assert!(PackedCodes::from_packed(3, 0, &[]).is_none());
        assert!(PackedCodes::from_packed(8, 33, &[0; 33]).is_none());
        assert!(PackedCodes::from_packed(usize::MAX, 3, &[0xFF]).is_none());
    }
}
