//! Distribution of a search to threads.
//!
//! Each thread takes a job, runs it for a budget, and puts back the jobs that are left. The jobs at the end
//! of the queue are the deepest, and so the smallest. A thread that is done with its own jobs takes one from
//! the front, where the large ones are. If there are fewer jobs than threads, as at the beginning and towards
//! the end of a search, budgets are short, and the range of children of a job is cut in two. So no thread
//! waits long, even if the tree is unbalanced.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};

use super::vertex_search::{Method, VertexSearch};
use super::worker::Worker;
use crate::arrangement::jobs::{
    BUDGET, Job, Limits, SearchResult, Wanted, make_room, out_of_memory,
};
use crate::arrangement::output::{BUCKET, advise, sorted};
use crate::{Control, Result};

/// The budget while another thread may be waiting. Beginning a job takes a tenth of it.
const BUDGET_WHILE_WAITING: u64 = 1 << 17;

/// The jobs that wait, the number of threads at work, and the results.
struct Queue {
    jobs: VecDeque<Job>,
    busy: usize,
    /// The results of the threads that are done.
    results: Vec<SearchResult>,
}

/// Counts a thread as busy until it is dropped. A panic drops it as well, so the others do not wait for ever.
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

/// Run jobs on the threads of the present pool, until no job is left, a limit is reached or the caller
/// cancels. Returns the result, and the jobs that are left.
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

/// The result without coordinates, the coordinates that each thread has found, and the jobs that are left.
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

/// The result of a whole search, or the error with which the caller stopped it.
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
        // A single thread always takes jobs from the front, in the order of the search.
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

    /// Reserve memory for the most vertices that are possible, up to a limit. A vector that grows would be
    /// copied several times. The operating system provides memory only when it is written, so memory that is
    /// reserved and not used costs nothing.
    fn make_room(&self, numbers: &mut Vec<u64>) {
        const MOST: f64 = (1u64 << 27) as f64;
        // Stores of whole vectors write up to this many words beyond the last point.
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

    /// The next job and its budget. `None` if there is nothing more to do.
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
                    // The vertices that are not wanted are dropped after each job.
                    1 if self.search.within.is_none() => u64::MAX,
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

    /// Put back the jobs that are left of one. The smallest comes first.
    fn put_back(&self, left: Vec<Job>) {
        let mut queue = self.lock();
        if self.threads == 1 {
            // Keep the order of the search, so that the same vertices come first for every limit.
            left.into_iter()
                .rev()
                .for_each(|job| queue.jobs.push_front(job));
            return;
        }
        for job in left.into_iter().rev() {
            // The numbers of the children of a flat are below its smallest member.
            let rows = self.search.arrangement().rows().len() as u32;
            let end = job.to.min(*job.node.last().unwrap_or(&rows));
            if queue.jobs.len() < self.threads && self.has_numbered_children() && end > job.from + 1
            {
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

    /// Whether children are numbered by hyperplanes, so that the range of a job can be cut in two.
    fn has_numbered_children(&self) -> bool {
        self.search.method() == Method::Flats
    }
}
