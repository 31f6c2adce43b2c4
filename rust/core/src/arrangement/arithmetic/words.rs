//! Big integers as a fixed number of 64-bit words: two's complement, the least word first.
//!
//! A search stores the coordinates of vertices in this form.

use num_bigint::BigInt;
use num_traits::Signed;

/// Append an integer as `limbs` words, which have to be enough for it.
pub fn push_integer(value: &BigInt, limbs: usize, out: &mut Vec<u64>) {
    let end = out.len() + limbs;
    out.extend(value.iter_u64_digits());
    out.resize(end, 0);
    if value.is_negative() {
        let mut carry = true;
        for word in &mut out[end - limbs..] {
            (*word, carry) = (!*word).overflowing_add(carry.into());
        }
    }
}

/// The integer that these words represent.
pub fn integer(words: &[u64]) -> BigInt {
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    BigInt::from_signed_bytes_le(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn integers_survive_their_words(value: i128, limbs in 2usize..5) {
            let mut words = Vec::new();
            push_integer(&value.into(), limbs, &mut words);
            prop_assert_eq!(words.len(), limbs);
            prop_assert_eq!(integer(&words), value.into());
        }
    }
}
