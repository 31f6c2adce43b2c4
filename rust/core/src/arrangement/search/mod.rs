//! A whole search of an arrangement: the choice of arithmetic, the run on threads, and estimates of its size.
//!
//! * [`VertexSearch`] prepares a search by a [`Method`], and chooses the arithmetic.
//! * [`Worker`] runs jobs of a search on one thread. [`share`] distributes jobs to all threads of a pool.
//! * [`VertexSearch::probes`] estimates the size of a search.
//!
//! This room uses all rooms above it in the table of [`arrangement`](super).

mod estimate;
mod probes;
mod runner;
pub mod share;
mod trial;
mod vertex_search;
mod worker;
mod workspaces;

pub use vertex_search::{Method, VertexSearch};
pub use worker::Worker;
