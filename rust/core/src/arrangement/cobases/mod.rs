//! Reverse search over cobases by the Zero rule (arXiv 2401.16675).
//!
//! * [`Dictionary`] is the arrangement as seen from one cobasis, in a field, and [`IntegerDictionary`] the
//!   same in integers of any size. Both are a [`Tableau`].
//! * [`zero_rule`] is the search on any of them, and [`zero_lanes`] the same in vector lanes where a prime
//!   below 2⁵⁰ suffices.
//!
//! This room uses `arithmetic`, `input` and `jobs`.

mod dictionary;
mod integer_dictionary;
mod tableau;
pub mod zero_lanes;
pub mod zero_rule;

pub use dictionary::Dictionary;
pub use integer_dictionary::IntegerDictionary;
pub use tableau::Tableau;
