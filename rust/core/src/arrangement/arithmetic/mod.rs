//! Numbers: fields in which a search can run, machine integers, and integers of several words.
//!
//! * [`Field`] has the operations that a search needs. [`Rational`] is always exact. Residues modulo the
//!   primes of [`Mersenne61`], [`Mersenne127`], the wide Mersenne primes and [`Residue50`] are exact if
//!   the prime is larger than a bound on all minors. [`SignedField`] also gives the sign of a minor.
//! * [`Word`] is a machine integer, `i64` or `i128`, in which the rows of a flat are kept.
//! * [`exact`] has integers that report overflow.
//! * [`Limbs`] has products of several words; [`push_integer`] and [`integer`] convert big integers
//!   to words and back.
//! * [`SignedWords`] has integers of many words, for products modulo a power of two.
//! * [`content`] is the greatest common divisor of long integers.
//! * [`is_full_rank`] decides whether rows span their space; [`divide_all`] reduces fractions in vector
//!   lanes.
//!
//! This room uses no other room.

mod common_factor;
mod divisor;
pub mod exact;
mod field;
mod lehmer;
mod limbs;
mod mersenne;
mod modular_inverse;
mod montgomery;
mod rank;
mod residue50;
mod residue_lanes;
mod signed;
mod signed_words;
mod wide;
mod word;
mod words;

pub(super) use common_factor::whole;
pub use common_factor::{CHUNK, divide_all};
pub use divisor::{common_divisor, content, fraction};
pub use field::{Field, Rational, invert_all, inverted_together, lowest_terms};
pub use limbs::{Limbs, product};
pub use mersenne::{Mersenne61, Mersenne127};
pub use rank::{echelon, is_full_rank};
pub use residue_lanes::{LANES, canonical, invert_lanes};
pub use residue50::{P, PRIME_50, Residue50, fused};
pub use signed::SignedField;
pub use signed_words::{
    Signed, SignedWords, add_product, as_signed, divide_by_power, inverse_of_odd, is_negative,
    negate, twos,
};
pub use wide::{Mersenne521, Mersenne1279, Mersenne3217, Mersenne9689, Mersenne19937, Wide};
pub use word::{Word, mix, proportional};
pub use words::{integer, push_integer};
