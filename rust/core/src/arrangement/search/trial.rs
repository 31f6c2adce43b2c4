//! A short trial that shows whether a search finds a vertex soon.

use super::vertex_search::VertexSearch;
use super::worker::Worker;
use crate::Control;
use crate::arrangement::jobs::{Job, Limits, SearchResult, Wanted};

impl VertexSearch {
    /// Whether the search finds a first vertex, or ends, within some milliseconds of work.
    ///
    /// If the order of the hyperplanes has a pattern, as that of all sign vectors has, a search over flats
    /// can spend hours in subtrees without a vertex. [`Arrangement::shuffled`](crate::arrangement::input::Arrangement::shuffled) avoids that. But if the trial
    /// succeeds, keep the order: a search of a structured arrangement is often faster in its own order.
    pub fn finds_soon(&self, control: &Control) -> bool {
        const WORK: u64 = 1 << 24;
        let limits = Limits::new(Some(1), None);
        let mut found = SearchResult::new(self.arrangement.dimension());
        let wanted = Wanted {
            coordinates: false,
            all_flats: false,
        };
        let left = Worker::new(self).run(Job::whole(), wanted, WORK, &limits, control, &mut found);
        found.vertices > 0 || left.is_empty() || control.check().is_err()
    }
}
