//! Reverse search over cobases by the Zero rule (arXiv 2401.16675).
//!
//! * [`Dictionary`] is the dictionary of a cobasis in a field. [`IntegerDictionary`] is the same in integers
//!   of any size. Both are a [`Tableau`].
//! * [`zero_rule`] is the search on either of them. [`zero_lanes`] is the search in vector lanes, for
//!   inputs whose minors are so small that a prime below 2⁵⁰ suffices.
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
