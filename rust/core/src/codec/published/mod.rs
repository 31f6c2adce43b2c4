//! The method as published: one code for K consecutive weights (arXiv 2409.00592).
//!
//! # The scheme
//! A tensor, flattened in C order and padded with its mean to a multiple of K, is a cloud of groups
//! in R^K. Around its mean c lies a cube of side l, which the irrational winding of the paper fills
//! with U samples, in steps of (l/m^K, …, l/m², l/m) modulo l, m = ⌈U^(1/K)⌉. Sample θ is
//!
//! ```text
//! (c − l/2) + (θ·l/m^K, θ·l/m^(K−1), …, θ·l/m) mod l,   θ = 0..U−1
//! ```
//!
//! which has index θ + 1; index 0 is c. The paper and its program have K = 2, steps l/m² and l/m. For
//! other K the slopes go on as powers of m, so that the winding visits every cell of an m × … × m grid
//! once before it closes. K = 1 is the uniform grid of U levels.
//!
//! A group in the closed cube has category 0. One outside is pulled towards c, by the factor of its
//! `category`, and pushed back by it when decoded. A group's code is the index of the nearest sample +
//! (U + 1)·category, in as many bits as the tensor's largest code needs. The number of categories is
//! found by trial: the first number of 1..=class_max whose mean absolute error is within the threshold,
//! or else the one with the least error.
//!
//! # Why the nearest sample is the nearest
//! Written in base m, the digits of θ choose the coordinates one after the other, each from an
//! arithmetic progression; a branch-and-bound over the digits drops only samples that the coordinates
//! chosen so far put farther away than a known sample. `orbit` has the proof, which includes rounding
//! and ties (lowest index). A group costs O(2^K) for any U, without a tree or a table.
//!
//! # Speed
//! At K = 2 the search is some 400 instructions a pair, with hardly any unpredictable branches. Groups
//! inside the cube are searched once, those outside once for every number of categories tried.
//!
//! Data flows one way: `params` → `survey` (centre, farthest) → `encode` (a `coder` per
//! number of categories: `category`, `orbit`) → `codes` → `stored`.

mod category;
mod coder;
mod codes;
mod decode;
mod encode;
mod orbit;
mod params;
mod stored;
mod survey;
mod winding;

pub use coder::Decoding;
pub(in crate::codec) use decode::Filler;
pub use params::WindingParams;
pub use winding::Winding;
