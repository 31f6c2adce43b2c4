//! Hyper-compression: weights as trajectory codes of an ergodic map (arXiv 2409.00592).
//!
//! The codec has seven folders. Each uses only the folders above it in this table:
//!
//! | folder | contents |
//! |---|---|
//! | [`numbers`] | float types, fields of bits, checked reading of untrusted bytes |
//! | [`trellis`] | the codes: constants, state map, levels |
//! | [`kernels`] | the loops that take most of the time, each portable and for every vector unit |
//! | [`published`] | the published codec: trajectory codes of groups of weights |
//! | [`format`](mod@format) | a compressed tensor, and its stored form |
//! | [`operations`] | operations on a compressed tensor: decompression, rows, products |
//! | [`encode`] | from weights to a compressed tensor |
//!
//! Data flow of compression: any float type, normalised by a power of two ([`numbers::element`]) → rows
//! as streams, streams as chains ([`format::layout`]) → incoherence ([`kernels::hadamard`]) → bits for
//! each stream ([`encode::rate`]) → scales ([`format::scale`]) → the Viterbi search over the states of
//! a code ([`kernels::viterbi`]) → planes of bits ([`numbers::bitstream`]) → the compressed tensor
//! ([`format::tensor`]). `docs/format.md` specifies the stored bits.

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
