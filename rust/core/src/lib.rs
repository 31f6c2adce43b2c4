//! The engines of `hypercomp-rs`, without Python.
//!
//! * [`codec`]: weights as trajectory codes of an ergodic map (arXiv 2409.00592).
//! * [`container`]: compressed tensors in safetensors files.
//! * [`arrangement`]: the vertices of a hyperplane arrangement, exactly (arXiv 2401.16675).
//! * [`representation`]: `.ine` and `.ext` files of cddlib and lrslib.
//!
//! These modules never import each other. All report errors as [`Error`] and can be stopped through
//! [`Control`].

pub mod arrangement;
pub mod codec;
pub mod container;
mod control;
mod error;
pub mod representation;
pub mod simd;
pub mod team;

pub use control::Control;
pub use error::{Error, ErrorKind, Result};
pub use simd::SimdLevel;
