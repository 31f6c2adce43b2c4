//! Estimates of the size of a search.

use super::estimate::Random;
use super::runner::runner;
use super::vertex_search::VertexSearch;
use crate::{Control, Result};

impl VertexSearch {
    /// `probes` independent estimates of the number of vertices, or of cobases for the Zero rule. The
    /// expected value of each is that number.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) only.
    pub fn probes(&self, probes: usize, seed: u64, control: &Control) -> Result<Vec<f64>> {
        let mut random = Random::new(seed);
        if self.arrangement.dimension() == 0 {
            return Ok(vec![1.0; probes]);
        }
        let Some(tier) = self.tiers.last() else {
            return Ok(Vec::new());
        };
        let Some(mut runner) = runner(self, tier, control) else {
            control.check()?;
            return Ok(Vec::new());
        };
        (0..probes)
            .map(|_| runner.probe(&mut random, control))
            .collect()
    }
}
