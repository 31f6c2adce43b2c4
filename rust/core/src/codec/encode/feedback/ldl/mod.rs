//! Error feedback against the second moment of a layer's inputs (LDLQ).
//!
//! **What is minimised.** A layer's outputs are W·x. With H = E[x·xᵀ], the second moment of its inputs,
//! the mean squared error of the outputs with decoded weights Q is tr((W − Q)·H·(W − Q)ᵀ), not Σ(w −
//! q)². If inputs are correlated, the error of one weight can cancel that of another.
//!
//! **How.** H = U·D·Uᵀ with U unit upper triangular and D diagonal. Let w_j be the vector of all
//! weights of input j, one for each output, and e_j = w_j − q_j. Then the error is Σ_j D_j·|e_j +
//! Σ_{i<j} U_ij·e_i|². So code inputs in order, and let the target of input j be
//!
//! ```text
//! t_j = w_j + Σ_{i<j} U_ij·(w_i − q_i)
//! ```
//!
//! The error becomes Σ_j D_j·|t_j − q_j|², which depends on the coding error of each vector alone.
//! Among all ways to feed errors back linearly this is the best (Chee et al., *QuIP*, arXiv 2307.13304,
//! section 3, where it is called LDLQ; OPTQ/GPTQ, arXiv 2210.17323, computes the same).
//!
//! **With a trellis.** Feedback needs final errors, and a trellis code has them only at the end of a
//! search. QTIP (arXiv 2406.11235) therefore codes blocks of inputs together and feeds back between
//! blocks alone. Here the search runs along the outputs of one input, which H does not couple. So a
//! whole vector is searched at once, and feedback from every input to every later one is exact. Each
//! vector has its own rate, so bits go where D_j·|t_j|² is largest. The gain is the ratio of the
//! product of H's diagonal to its determinant, and the gain of reverse water-filling over D_j·σ_j² in
//! addition.

mod factor;
#[cfg(test)]
mod factor_tests;
mod finished;

pub use factor::Factor;
pub use finished::{Finished, Targets};
