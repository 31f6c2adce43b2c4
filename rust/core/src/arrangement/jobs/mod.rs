//! Jobs: a search cut into pieces that run within a budget.
//!
//! * [`Job`] is a part of a search tree, [`Wanted`] what is asked of a search, and [`Walk`] a run under
//!   way.
//! * [`Limits`] are what all threads of a run may spend together, and [`Meter`] is one job's account.
//! * [`SearchResult`] is what a run has found.
//!
//! [`out_of_memory`] is the error where there is no memory for it.
//!
//! This room uses no other: jobs are plain numbers, whatever is searched and in whatever arithmetic.

mod budget;
mod job;
mod memory;
mod result;

pub use budget::{Limits, Meter};
pub use job::{Job, Walk, Wanted};
pub use memory::make_room;
pub use result::{SearchResult, out_of_memory};
