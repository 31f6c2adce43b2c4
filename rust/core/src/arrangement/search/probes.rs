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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrangement::Method;
    use crate::arrangement::arithmetic::Rational;
    use crate::arrangement::input::Arrangement;

    /// Planes of R³ in general position, and two more coordinates that are 0 at every vertex. Of the hundreds of
    /// pairs of children only one has vertices below it.
    #[test]
    fn a_probe_takes_the_only_way() {
        let space = (1i64..=12).map(|k| [k * k * k, k * k, k, 0, 0, 1]);
        let rows: Vec<Vec<Rational>> = space
            .chain([[0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 1, 0]])
            .map(|row| row.map(|x| Rational::from_integer(x.into())).to_vec())
            .collect();
        let arrangement = Arrangement::new(&rows, 5).unwrap();
        let control = Control::new();
        let search = VertexSearch::new(arrangement, Method::Flats, &control).unwrap();
        for estimate in search.probes(50, 0, &control).unwrap() {
            // C(12, 3) subsets, all independent.
            assert!((estimate - 220.0).abs() < 1e-9, "{estimate}");
        }
    }
}
