//! The work of one thread in a search.

use num_bigint::BigInt;

use super::runner::runner as make_runner;
use super::vertex_search::{Method, VertexSearch};
use super::workspaces::Runners;
use crate::Control;
use crate::arrangement::arithmetic::push_integer;
use crate::arrangement::halfspaces::Pruning;
use crate::arrangement::jobs::{Job, Limits, Meter, Prune, SearchResult, Walk, Wanted};

/// Runs jobs of a search on one thread. It makes a workspace for a tier when it first needs one.
///
/// Making a workspace can take longer than a whole run. So workers take over the workspaces of earlier
/// workers, and leave their own to later ones.
pub struct Worker<'a> {
    search: &'a VertexSearch,
    runners: Runners,
    pruning: Option<Pruning>,
}

impl<'a> Worker<'a> {
    /// A worker with the workspaces of an earlier one, if there are any.
    pub fn new(search: &'a VertexSearch) -> Self {
        let within = search.within.clone();
        Self {
            search,
            pruning: within.map(|within| Pruning::new(search.arrangement.clone(), within)),
            runners: search
                .idle
                .take()
                .unwrap_or_else(|| search.tiers.iter().map(|_| None).collect()),
        }
    }

    /// Run one job for about `work` units of work. Adds to `result`, and returns the jobs that are left.
    pub fn run(
        &mut self,
        job: Job,
        wanted: Wanted,
        work: u64,
        limits: &Limits,
        control: &Control,
        result: &mut SearchResult,
    ) -> Vec<Job> {
        let search = self.search;
        let (words, vertices) = (result.numbers.len(), result.vertices);
        let mut walk = Walk {
            meter: Meter::new(control, limits, work),
            wanted: Wanted {
                // Only coordinates show which vertices are within a polyhedron.
                coordinates: wanted.coordinates || search.within.is_some(),
                ..wanted
            },
            pruning: self
                .pruning
                .as_mut()
                .map(|pruning| pruning as &mut dyn Prune),
            limbs: search.limbs,
            result: std::mem::take(result),
            path: Vec::new(),
            remaining: Vec::new(),
            outgrown: Vec::new(),
        };
        // Room for coordinates is made by the number of vertices, and those that were only counted have none.
        let held = words / ((search.arrangement.dimension() + 1) * search.limbs);
        let held = if search.within.is_some() {
            held as u64
        } else {
            vertices
        };
        walk.result.vertices = held;
        if search.arrangement.dimension() == 0 {
            point(job, &mut walk);
        } else if search.arrangement.dimension() == 1 && search.method == Method::Flats {
            points(search.arrangement.rows(), job, &mut walk);
        } else {
            let mut jobs = vec![job];
            for (tier, runner) in search.tiers.iter().zip(&mut self.runners) {
                if runner.is_none() {
                    *runner = make_runner(search, tier, control);
                }
                let Some(runner) = runner else {
                    walk.remaining.append(&mut jobs);
                    break;
                };
                runner.set_control(control);
                walk.meter.weight = runner.weight();
                for job in jobs.drain(..) {
                    if walk.meter.stopped() {
                        walk.remaining.push(job);
                    } else {
                        runner.run(job, &mut walk);
                    }
                }
                jobs = std::mem::take(&mut walk.outgrown);
                if jobs.is_empty() {
                    break;
                }
            }
        }
        if let Some(within) = &search.within {
            let found = walk.result.vertices - held;
            let numbers = &mut walk.result.numbers;
            let kept = within.retain(numbers, words, search.limbs);
            if !wanted.coordinates {
                numbers.truncate(words);
            }
            limits.give_back(found - kept);
            walk.result.vertices = vertices + kept;
        }
        *result = walk.result;
        // The last tier leaves a job here only if it was stopped within a step.
        walk.remaining.append(&mut walk.outgrown);
        walk.remaining
    }
}

impl Drop for Worker<'_> {
    fn drop(&mut self) {
        // After a panic the workspaces may be in any state.
        if !std::thread::panicking() {
            self.search.idle.leave(std::mem::take(&mut self.runners));
        }
    }
}

/// The search of the real line over flats. Each hyperplane a·x = b is the vertex b/a. The rows are primitive and
/// distinct, so these fractions are in lowest terms, and none is found twice.
fn points(rows: &[Vec<BigInt>], job: Job, walk: &mut Walk<'_>) {
    let to = job.to.min(rows.len() as u32);
    for number in job.from..to {
        if !walk.meter.spend(1) || walk.reserve(1) == 0 {
            walk.remaining.push(Job {
                from: number,
                ..job
            });
            return;
        }
        walk.result.vertices += 1;
        walk.result.flats[0] += 1;
        if walk.wanted.coordinates {
            // The numerator, and the denominator, which is positive.
            for x in rows[number as usize].iter().rev() {
                push_integer(x, walk.limbs, &mut walk.result.numbers);
            }
        }
    }
}

/// The search of R⁰. Its only point is the empty intersection, and so a vertex.
fn point(job: Job, walk: &mut Walk<'_>) {
    if job.from > 0 {
        return;
    }
    if walk.reserve(1) == 0 {
        walk.remaining.push(job);
        return;
    }
    walk.result.vertices += 1;
    walk.result.cobases += 1;
    if walk.wanted.coordinates {
        push_integer(&1.into(), walk.limbs, &mut walk.result.numbers);
    }
}
