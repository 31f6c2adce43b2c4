//! Fields in which the sign of a minor can be told.
//!
//! A residue modulo a prime p has no sign. But if p is more than twice as large as every minor
//! ([`Bound`](crate::arrangement::input::Bound)), the minor is the only integer between −p/2 and p/2 with
//! its residue, and so its sign is known.

use num_traits::Signed;

use super::field::{Field, Rational};
use super::mersenne::{Mersenne61, Mersenne127};
use super::wide::Wide;

/// A field in which the sign of a minor can be determined.
pub trait SignedField: Field {
    /// Whether a minor is negative.
    fn is_negative_minor(&self) -> bool;
}

impl SignedField for Mersenne61 {
    fn is_negative_minor(&self) -> bool {
        self.symmetric() < 0
    }
}

impl SignedField for Mersenne127 {
    fn is_negative_minor(&self) -> bool {
        self.symmetric() < 0
    }
}

impl<const WORDS: usize, const BITS: u32> SignedField for Wide<WORDS, BITS> {
    fn is_negative_minor(&self) -> bool {
        self.symmetric().is_negative()
    }
}

impl SignedField for Rational {
    fn is_negative_minor(&self) -> bool {
        self.is_negative()
    }
}
