//! A thread's part in a search.

use super::runner::runner as make_runner;
use super::vertex_search::VertexSearch;
use super::workspaces::Runners;
use crate::Control;
use crate::arrangement::arithmetic::push_integer;
use crate::arrangement::jobs::{Job, Limits, Meter, SearchResult, Walk, Wanted};

/// A thread's part in a search: its workspaces, made when first needed.
///
/// To make a workspace can take longer than a run may. So a worker takes one that another has left, and
/// leaves its own to the next run.
pub struct Worker<'a> {
    search: &'a VertexSearch,
    runners: Runners,
}

impl<'a> Worker<'a> {
    /// A worker with the workspaces of an earlier one, or none yet.
    pub fn new(search: &'a VertexSearch) -> Self {
        Self {
            search,
            runners: search
                .idle
                .take()
                .unwrap_or_else(|| search.tiers.iter().map(|_| None).collect()),
        }
    }

    /// Run one job for about `work` units. What it finds is added to `result`; the jobs that are left are
    /// returned.
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
        let mut walk = Walk {
            meter: Meter::new(control, limits, work),
            wanted,
            limbs: search.limbs,
            result: std::mem::take(result),
            path: Vec::new(),
            remaining: Vec::new(),
            outgrown: Vec::new(),
        };
        if search.arrangement.dimension() == 0 {
            point(job, &mut walk);
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
                runner.attend(control);
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
        *result = walk.result;
        // The last arithmetic leaves a job only where it was stopped in the middle of a step.
        walk.remaining.append(&mut walk.outgrown);
        walk.remaining
    }
}

impl Drop for Worker<'_> {
    fn drop(&mut self) {
        // After a panic they may be in any state.
        if !std::thread::panicking() {
            self.search.idle.leave(std::mem::take(&mut self.runners));
        }
    }
}

/// The space is a point, the empty intersection, and that is a vertex.
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
