//! A polyhedron {x : C·x ≤ e}, to which a search can be restricted.
//!
//! * [`Halfspaces`] are the inequalities, and decide whether a vertex satisfies them.
//! * [`Pruning`] decides which flats miss the polyhedron. All vertices below a flat lie on it, so no vertex
//!   below such a flat satisfies the inequalities.
//! * `feasibility` has the linear program behind that.
//!
//! This room uses `arithmetic`, `input` and `jobs`.

mod feasibility;
mod inequalities;
mod pruning;

pub use inequalities::Halfspaces;
pub use pruning::Pruning;
