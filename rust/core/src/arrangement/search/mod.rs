//! A search of an arrangement from end to end: its arithmetic, its jobs on threads, and its size.
//!
//! * [`VertexSearch`] prepares a search by a [`Method`] and decides which arithmetic it may run in.
//! * [`Worker`] runs jobs of it on one thread; [`share`] shares jobs out to all threads of a pool.
//! * [`VertexSearch::probes`] estimates how large a search is.
//!
//! This room uses all others but `float` and `baselines`.

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
