//! Jobs: a search cut into pieces that run within a budget.
//!
//! * [`Job`] is a part of a search tree. [`Wanted`] says what a search has to find. [`Walk`] is the state of
//!   a run.
//!   [`Prune`] says which parts of the tree are left out.
//! * [`Limits`] are the limits of a run, which its threads share. [`Meter`] is the budget of one job,
//!   usually of [`BUDGET`] units.
//! * [`SearchResult`] is the result of a run.
//! * [`make_room`] allocates memory for coordinates, and [`out_of_memory`] is the error if there is none.
//!
//! This room uses no other room: jobs are plain numbers, for every search and every arithmetic.

mod budget;
mod job;
mod memory;
mod result;

pub use budget::{BUDGET, Limits, Meter};
pub use job::{Job, Prune, Walk, Wanted};
pub use memory::make_room;
pub use result::{SearchResult, out_of_memory};
