//! Reverse search over cobases by the Zero rule (arXiv 2401.16675).
//!
//! * [`Dictionary`] is the arrangement as seen from one cobasis, in a field.
//! * [`zero_rule`] is the search in any field, and [`zero_lanes`] the same in vector lanes where a prime
//!   below 2⁵⁰ suffices.
//!
//! This room uses `arithmetic`, `input` and `jobs`.

mod dictionary;
pub mod zero_lanes;
pub mod zero_rule;

pub use dictionary::Dictionary;
