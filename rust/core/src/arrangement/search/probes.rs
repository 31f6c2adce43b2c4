//! Estimates of the size of a search.

use super::estimate::{Probe, Random};
use super::runner::runner;
use super::vertex_search::{Tier, VertexSearch};
use crate::arrangement::jobs::Job;
use crate::{Control, Result};

impl VertexSearch {
    /// `probes` independent estimates of the number of vertices, or of cobases for the Zero rule. The
    /// expected value of each is that number.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) only.
    pub fn probes(&self, probes: usize, seed: u64, control: &Control) -> Result<Vec<f64>> {
        if self.arrangement.dimension() == 0 {
            return Ok(vec![1.0; probes]);
        }
        let made = self.made_probes(probes, usize::MAX, seed, control)?;
        Ok(made.into_iter().map(|probe| probe.weight).collect())
    }

    /// Random parts of a search over flats: `probes` times everything below a flat of `depth` hyperplanes, with a
    /// weight. The expected value of the weight times any quantity of the part is the sum of that quantity over all
    /// parts. A weight of 0 stands for no part at all.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) only.
    pub fn random_jobs(
        &self,
        probes: usize,
        depth: usize,
        seed: u64,
        control: &Control,
    ) -> Result<Vec<(Job, f64)>> {
        let made = self.made_probes(probes, depth, seed, control)?;
        Ok(made
            .into_iter()
            .map(|probe| (Job::below(probe.node), probe.weight))
            .collect())
    }

    fn made_probes(
        &self,
        probes: usize,
        depth: usize,
        seed: u64,
        control: &Control,
    ) -> Result<Vec<Probe>> {
        // Machine integers may not fit. Of the others, the first is the fastest.
        let fits = |tier: &&Tier| !matches!(tier, Tier::Narrow(_) | Tier::Wide(_));
        for tier in self.tiers.iter().filter(fits) {
            let Some(mut runner) = runner(self, tier, control) else {
                control.check()?;
                return Ok(Vec::new());
            };
            let mut random = Random::new(seed);
            let made: Option<Vec<Probe>> = (0..probes)
                .map(|_| runner.probe(&mut random, depth, control))
                .collect::<Result<_>>()?;
            control.check()?;
            if let Some(made) = made {
                return Ok(made);
            }
        }
        Ok(Vec::new())
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
        // Down to planes, the parts are those of the search: one flat, in which the twelve planes meet.
        for (job, weight) in search.random_jobs(50, 2, 0, &control).unwrap() {
            assert_eq!(job.node, [13, 12]);
            assert!((weight - 1.0).abs() < 1e-9, "{weight}");
        }
        for estimate in search.probes(50, 0, &control).unwrap() {
            // C(12, 3) subsets, all independent.
            assert!((estimate - 220.0).abs() < 1e-9, "{estimate}");
        }
    }
}
