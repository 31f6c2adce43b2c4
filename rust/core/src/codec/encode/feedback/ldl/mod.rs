//! Errors that make up for each other: feedback coding against a layer's inputs.
//!
//! **What is minimised.** A layer's outputs are W·x. With H = E[x·xᵀ], the second moment of its inputs,
//! the error that codes Q leave in them is tr((W − Q)·H·(W − Q)ᵀ) in the mean, not Σ(w − q)². Where
//! inputs go together, the error of one weight can undo that of another.
//!
//! **How.** H = U·D·Uᵀ with U unit upper triangular and D diagonal. Write w_j for what input j is
//! multiplied by, a vector over all outputs, and e_j = w_j − q_j. Then the error is
//! Σ_j D_j·|e_j + Σ_{i<j} U_ij·e_i|². So code inputs in order, and let the target of input j be
//!
//! ```text
//! t_j = w_j + Σ_{i<j} U_ij·(w_i − q_i)
//! ```
//!
//! The error becomes Σ_j D_j·|t_j − q_j|²: what each vector's own code leaves, whatever came before.
//! Among all ways to feed errors back linearly this is the best (Chee et al., *QuIP*, arXiv
//! 2307.13304, section 3, where it is called LDLQ; OPTQ/GPTQ, arXiv 2210.17323, computes the same).
//!
//! **With a trellis.** Feedback needs final errors, and a trellis code has them only at the end of a
//! search. QTIP (arXiv 2406.11235) therefore codes blocks of inputs together and feeds back between
//! blocks alone. Here the search runs along the outputs of one input, which H does not couple: so a
//! whole vector is searched at once, and feedback is from every input to every later one, exact. And
//! as vectors have rates of their own, the bits go where D_j·|t_j|² is largest: by the factorisation
//! these weights are the error of the outputs, so what the determinant of H is below the product of
//! its diagonal is gained, and reverse water-filling over D_j·σ_j² on top.

mod factor;
#[cfg(test)]
mod factor_tests;
mod finished;

pub use factor::Factor;
pub use finished::{Finished, Targets};
