//! Hyper-compression: weights as trajectory codes of an ergodic map (arXiv 2409.00592).
//!
//! The codec is a row of rooms. Each uses only rooms that stand before it here:
//!
//! | room | what it has |
//! |---|---|
//! | [`numbers`] | float types, fields of bits, numbers in bytes that are not trusted |
//! | [`trellis`] | the codes: constants, state map, levels |
//! | [`kernels`] | the loops that take the time, each in vectors and in a portable form |
//! | [`published`] | the published codec: trajectory codes of groups of weights |
//! | [`format`](mod@format) | a compressed tensor, and its stored form |
//! | [`operations`] | what is done with a compressed tensor: decompression, rows, products |
//! | [`encode`] | from weights to a compressed tensor |
//!
//! Data flow of compression: any float type, normalised by a power of two ([`numbers::element`]) →
//! rows as streams, streams as chains ([`format::layout`]) → incoherence ([`kernels::hadamard`]) → bits
//! for each stream ([`encode::rate`]) → scales ([`format::scale`]) → the search over registers of a code
//! ([`kernels::viterbi`]) → planes ([`numbers::bitstream`]) → what is stored
//! ([`format::tensor`]). `docs/format.md` has the bits.

pub mod encode;
pub mod format;
pub mod kernels;
pub mod numbers;
pub mod operations;
pub mod published;
pub mod trellis;

pub use encode::{Codec, Goal, SecondMoment, TrellisParams};
pub use format::{Axes, CodesAt, CompressedTensor, Exceptions, Parts, Payload, Placement, Streams};
pub use operations::Linear;
pub use published::{Winding, WindingParams};
