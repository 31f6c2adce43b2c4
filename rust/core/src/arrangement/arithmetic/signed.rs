//! Fields in which the sign of a minor can be told.
//!
//! A residue modulo a prime has no sign of its own. Where the prime is more than twice as large as
//! every minor ([`Bound`](crate::arrangement::input::Bound)), the integer in ±p/2 with that residue is
//! the minor itself, and has its sign.

use num_traits::Signed;

use super::field::{Field, Rational};
use super::mersenne::{Mersenne61, Mersenne127};
use super::wide::Wide;

/// A field that can tell the sign of a ratio of minors.
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
