//! Hyper-compression: weights as trajectory codes of an ergodic map (arXiv 2409.00592).
//!
//! Data flows one way: [`element`] (any float type, normalised by a power of two) →
//! [`layout`] (rows as streams, streams as chains) → [`hadamard`] (incoherence) → [`rate`] (bits for
//! each stream) → [`scale`] → [`viterbi`] (the search over registers of a [`trellis`] code) →
//! [`bitstream`] (planes) → [`tensor`] (what is stored). `docs/format.md` has the bits.

pub mod bitstream;
pub mod constants;
pub mod decode;
pub mod element;
pub mod feedback;
pub mod hadamard;
pub mod layout;
pub mod mask;
pub mod product;
pub mod rate;
pub mod scale;
pub mod scoring;
pub mod tensor;
pub mod trellis;
pub mod viterbi;
pub mod winding;
