//! A short trial of a search: whether it finds a vertex soon.

use super::vertex_search::VertexSearch;
use super::worker::Worker;
use crate::Control;
use crate::arrangement::jobs::{Job, Limits, SearchResult, Wanted};

impl VertexSearch {
    /// Whether a first vertex comes within some milliseconds of work, or the search ends by then.
    ///
    /// In an order with a pattern, such as that of all sign vectors, a search over flats can go through
    /// subtrees without a vertex for hours. [`Arrangement::shuffled`] is the way out. An order that serves
    /// is better kept: structured arrangements are often searched faster in the order of their structure.
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
