//! A search shared out to threads.
//!
//! Each thread takes a job, runs it for a budget, and puts back what is left. The jobs at the top of
//! the stack are the deepest and so the smallest. An idle thread takes from the bottom, where the large
//! ones are. If there are fewer jobs than threads, the range of children of a job is cut in two, and
//! budgets are short. This happens at the beginning and towards the end of a search. So no thread waits
//! for long, however unbalanced the tree is.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};

use super::vertex_search::{Method, VertexSearch};
use super::worker::Worker;
use crate::arrangement::jobs::{Job, Limits, SearchResult, Wanted, make_room, out_of_memory};
use crate::arrangement::output::{BUCKET, advise, sorted};
use crate::{Control, Result};

/// Units of work in a budget: about a millisecond, beside which taking up a job costs nothing.
const BUDGET: u64 = 1 << 20;

/// The budget while a thread may be waiting: taking up a job is a tenth of it.
const BUDGET_WHILE_WAITING: u64 = 1 << 17;

/// The jobs that wait, and how many threads are at work.
struct Queue {
    jobs: VecDeque<Job>,
    busy: usize,
    /// What the threads have found that are done.
    results: Vec<SearchResult>,
}

/// Counts a thread as busy. Dropping it, also in a panic, ends that: else the others would wait for ever.
struct AtWork<'a, 'b>(&'b Shared<'a>);

impl Drop for AtWork<'_, '_> {
    fn drop(&mut self) {
        self.0.lock().busy -= 1;
        self.0.changed.notify_all();
    }
}

struct Shared<'a> {
    search: &'a VertexSearch,
    wanted: Wanted,
    limits: &'a Limits,
    control: &'a Control,
    threads: usize,
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// Run jobs on the threads of the present pool, until none is left, a limit is reached or the caller
/// cancels. What was found, and the jobs that are left.
///
/// # Errors
/// [`ErrorKind::OutOfMemory`](crate::ErrorKind::OutOfMemory).
pub fn run(
    search: &VertexSearch,
    jobs: Vec<Job>,
    wanted: Wanted,
    limits: &Limits,
    control: &Control,
) -> Result<(SearchResult, Vec<Job>)> {
    let (mut result, parts, left) = run_in_parts(search, jobs, wanted, limits, control)?;
    for part in parts {
        result.add_numbers(part)?;
    }
    result.numbers.shrink_to_fit();
    Ok((result, left))
}

/// [`run`] with the vertices sorted by their coordinates.
///
/// # Errors
/// As [`run`].
pub fn run_sorted(
    search: &VertexSearch,
    jobs: Vec<Job>,
    wanted: Wanted,
    limits: &Limits,
    control: &Control,
) -> Result<(SearchResult, Vec<Job>)> {
    let (mut result, parts, left) = run_in_parts(search, jobs, wanted, limits, control)?;
    let dimension = search.arrangement().dimension();
    result.numbers = sorted(parts, dimension, search.limbs(), BUCKET)?;
    Ok((result, left))
}

/// What was found without coordinates, the coordinates that each thread found, and the jobs that are left.
fn run_in_parts(
    search: &VertexSearch,
    jobs: Vec<Job>,
    wanted: Wanted,
    limits: &Limits,
    control: &Control,
) -> Result<(SearchResult, Vec<Vec<u64>>, Vec<Job>)> {
    let threads = rayon::current_num_threads();
    let shared = Shared {
        search,
        wanted,
        limits,
        control,
        threads,
        queue: Mutex::new(Queue {
            jobs: VecDeque::new(),
            busy: 0,
            results: Vec::new(),
        }),
        changed: Condvar::new(),
    };
    shared.put_back(jobs);
    rayon::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|_| shared.work());
        }
        shared.work();
    });
    let queue = shared
        .queue
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    if limits.out_of_memory() {
        let words = queue.results.iter().map(|found| found.numbers.len());
        return Err(out_of_memory(words.sum()));
    }
    if queue.jobs.is_empty() {
        search.release();
    }
    let mut result = SearchResult::new(search.arrangement().dimension());
    let mut parts = Vec::with_capacity(threads);
    for mut other in queue.results {
        parts.push(std::mem::take(&mut other.numbers));
        result.add(other)?;
    }
    Ok((result, parts, queue.jobs.into()))
}

/// The whole of a search, or the error with which the caller stopped it.
pub fn run_whole(search: &VertexSearch, wanted: Wanted, control: &Control) -> Result<SearchResult> {
    let (result, _) = run(search, vec![Job::whole()], wanted, &Limits::none(), control)?;
    control.check()?;
    Ok(result)
}

/// [`run_whole`] with the vertices sorted by their coordinates.
pub fn run_whole_sorted(
    search: &VertexSearch,
    wanted: Wanted,
    control: &Control,
) -> Result<SearchResult> {
    let jobs = vec![Job::whole()];
    let (result, _) = run_sorted(search, jobs, wanted, &Limits::none(), control)?;
    control.check()?;
    Ok(result)
}

impl Shared<'_> {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn stopping(&self) -> bool {
        self.control.check().is_err() || self.limits.reached()
    }

    fn work(&self) {
        let mut worker = Worker::new(self.search);
        let mut result = SearchResult::new(self.search.arrangement().dimension());
        self.make_room(&mut result.numbers);
        // One thread takes its jobs in order, from the front.
        let mut steals = true;
        while let Some((job, budget)) = self.take(steals) {
            let at_work = AtWork(self);
            let left = worker.run(
                job,
                self.wanted,
                budget,
                self.limits,
                self.control,
                &mut result,
            );
            steals = left.is_empty() || self.threads == 1;
            self.put_back(left);
            drop(at_work);
        }
        self.lock().results.push(result);
    }

    /// Reserve room for as many coordinates as there can be, up to a limit. The system provides memory
    /// only as it is written, in huge pages. A vector that grows would be copied again and again.
    fn make_room(&self, numbers: &mut Vec<u64>) {
        const MOST: f64 = (1u64 << 27) as f64;
        // The last point is written with some words beyond it.
        const SLACK: usize = 64;
        if !self.wanted.coordinates {
            return;
        }
        let arrangement = self.search.arrangement();
        let (count, dimension) = (arrangement.rows().len(), arrangement.dimension());
        let subsets = (0..dimension).map(|k| count.saturating_sub(k) as f64 / (k + 1) as f64);
        let vertices = subsets.product::<f64>().min(self.limits.room() as f64);
        let words = vertices * ((dimension + 1) * self.search.limbs()) as f64;
        if make_room(numbers, words.min(MOST) as usize + SLACK) {
            advise(numbers);
        }
    }

    /// A job and its budget, or none if there is nothing more to do.
    fn take(&self, steals: bool) -> Option<(Job, u64)> {
        let mut queue = self.lock();
        loop {
            if self.stopping() {
                return None;
            }
            let job = if steals {
                queue.jobs.pop_front()
            } else {
                queue.jobs.pop_back()
            };
            if let Some(job) = job {
                queue.busy += 1;
                let budget = match self.threads {
                    1 => u64::MAX,
                    threads if queue.jobs.len() < threads => BUDGET_WHILE_WAITING,
                    _ => BUDGET,
                };
                return Some((job, budget));
            }
            if queue.busy == 0 {
                return None;
            }
            queue = self
                .changed
                .wait(queue)
                .unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    /// Put back what is left of a job, which lists its smallest part first.
    fn put_back(&self, left: Vec<Job>) {
        let mut queue = self.lock();
        if self.threads == 1 {
            // In the order of the search, so that however it is cut the same vertices come first.
            left.into_iter()
                .rev()
                .for_each(|job| queue.jobs.push_front(job));
            return;
        }
        for job in left.into_iter().rev() {
            // The numbers of a flat's children end with its smallest member's.
            let rows = self.search.arrangement().rows().len() as u32;
            let end = job.to.min(*job.node.last().unwrap_or(&rows));
            if queue.jobs.len() < self.threads && self.is_range(&job) && end > job.from + 1 {
                let middle = job.from + (end - job.from) / 2;
                queue.jobs.push_back(Job {
                    from: middle,
                    ..job.clone()
                });
                queue.jobs.push_back(Job { to: middle, ..job });
            } else {
                queue.jobs.push_back(job);
            }
        }
    }

    /// Whether a job's positions are the numbers of hyperplanes.
    fn is_range(&self, _: &Job) -> bool {
        self.search.method() == Method::Flats
    }
}
