//! Shares pieces of work that take microseconds among threads.
//!
//! A parallel iterator of rayon starts on another thread and waits for it. Where a whole call takes a
//! millisecond and other programs want the cores too, that wait is most of the call (measured on two
//! busy cores: 7 ms for 2.4 ms of work on one core). Here the calling thread begins at once. Other
//! threads take pieces from the same queue as soon as they are awake. The call ends when all pieces are
//! done, and does not wait for threads that have not woken up by then.
//!
//! A model calls layer after layer, some microseconds apart. A sleeping thread may take a millisecond
//! to wake up, where a hypervisor has taken its core away. So a thread that has helped stays awake for
//! a moment ([`Standby`]), and so does a caller that waits for the last piece of a helper (products of
//! one vector and layers of 11008 x 4096 on two cores: 2.1 ms without, 1.5 ms with it).

mod openmp;
mod standby;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rayon::ThreadPool;

pub use openmp::{OpenMp, Parallel};
pub use standby::Standby;

use crate::Result;

/// Work on at least this many weights or products is shared with other threads. The calling thread does
/// smaller work alone, because waking others would take longer.
pub const SHARED_FROM: usize = 1 << 17;

/// How long the caller waits awake for the last pieces of others: longer than a piece takes.
const AWAKE: Duration = Duration::from_micros(50);

/// Threads that work together.
pub trait Team: Sync {
    /// Call `work` on the calling thread, and on the others as soon as they are awake. Returns when
    /// every call has returned.
    fn run(&self, work: &(dyn Fn() + Sync));
}

/// The calling thread.
#[derive(Clone, Copy, Debug)]
pub struct Alone;

impl Team for Alone {
    fn run(&self, work: &(dyn Fn() + Sync)) {
        work();
    }
}

/// The calling thread, and the threads of rayon's current pool but one.
#[derive(Clone, Copy, Debug)]
pub struct CurrentPool;

impl Team for CurrentPool {
    fn run(&self, work: &(dyn Fn() + Sync)) {
        let send = |door: Arc<Door>| rayon::spawn(move || door.help());
        run_helped(rayon::current_num_threads() - 1, send, work);
    }
}

/// The calling thread, which does not belong to the pool, and all threads of the pool but one.
#[derive(Clone, Copy, Debug)]
pub struct Helped<'p> {
    /// The pool whose threads help.
    pub pool: &'p ThreadPool,
    /// The standby of the pool, in which its threads stay awake between calls.
    pub standby: &'p Arc<Standby>,
}

impl Team for Helped<'_> {
    fn run(&self, work: &(dyn Fn() + Sync)) {
        let helpers = self.pool.current_num_threads() - 1;
        let send = |door: Arc<Door>| {
            if let Err(door) = self.standby.leave(door) {
                let standby = Arc::clone(self.standby);
                self.pool.spawn(move || standby.help(door));
            }
        };
        run_helped(helpers, send, work);
    }
}

/// The helpers inside a door.
#[derive(Debug, Default)]
struct Attendance {
    at_work: usize,
    closed: bool,
    panicked: bool,
}

/// Controls access to borrowed work. Helpers enter only while the door is open. The caller returns only
/// after the door is closed and no helper is inside. So whatever the work borrows outlives every use of
/// it.
#[derive(Debug)]
struct Door {
    work: *const (dyn Fn() + Sync),
    attendance: Mutex<Attendance>,
    left: Condvar,
    /// The number of helpers inside, readable without the lock.
    inside: AtomicUsize,
}

// SAFETY: the work is `Sync`, and `help` and `Caller` keep to the rule above.
unsafe impl Send for Door {}
// SAFETY: as above.
unsafe impl Sync for Door {}

impl Door {
    fn attendance(&self) -> MutexGuard<'_, Attendance> {
        self.attendance
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn help(&self) {
        {
            let mut attendance = self.attendance();
            if attendance.closed {
                return;
            }
            attendance.at_work += 1;
            self.inside.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: this helper is inside, so the caller is still there, and with it what is borrowed.
        let work = unsafe { &*self.work };
        // The caller raises a helper's panic again; on the helper's thread it would end the process.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        let mut attendance = self.attendance();
        attendance.at_work -= 1;
        self.inside.fetch_sub(1, Ordering::Relaxed);
        attendance.panicked |= result.is_err();
        self.left.notify_one();
    }
}

/// Closes the door and waits for the helpers inside, also if the caller's own share panics.
struct Caller<'d>(&'d Door);

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        self.0.attendance().closed = true;
        let start = Instant::now();
        while self.0.inside.load(Ordering::Relaxed) > 0 && start.elapsed() < AWAKE {
            std::hint::spin_loop();
        }
        let mut attendance = self.0.attendance();
        while attendance.at_work > 0 {
            attendance = self
                .0
                .left
                .wait(attendance)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn run_helped(helpers: usize, send: impl Fn(Arc<Door>), work: &(dyn Fn() + Sync)) {
    let work: *const (dyn Fn() + Sync + '_) = work;
    let door = Arc::new(Door {
        // SAFETY: only the lifetime is changed; `Door` says why nobody sees the work after it.
        work: unsafe {
            std::mem::transmute::<*const (dyn Fn() + Sync + '_), *const (dyn Fn() + Sync + 'static)>(
                work,
            )
        },
        attendance: Mutex::default(),
        left: Condvar::new(),
        inside: AtomicUsize::new(0),
    });
    let caller = Caller(&door);
    for _ in 0..helpers {
        send(Arc::clone(&door));
    }
    // SAFETY: the caller of this function holds what is borrowed.
    unsafe { (*work)() };
    drop(caller);
    assert!(!door.attendance().panicked, "a helper panicked");
}

/// Call `each` for every item, with a buffer that `new` makes for each thread. After an error no
/// further item is begun. Of several errors the first is returned.
pub fn share<I: Iterator + Send, M>(
    team: &dyn Team,
    items: I,
    new: impl Fn() -> M + Sync,
    each: impl Fn(&mut M, I::Item) -> Result<()> + Sync,
) -> Result<()> {
    let queue = Mutex::new((items, Ok(())));
    team.run(&|| {
        let lock = || queue.lock().unwrap_or_else(PoisonError::into_inner);
        let next = || {
            let (items, result) = &mut *lock();
            if result.is_ok() { items.next() } else { None }
        };
        let Some(mut item) = next() else {
            // All work was done before this thread woke up.
            return;
        };
        let mut memory = new();
        loop {
            if let Err(error) = each(&mut memory, item) {
                let (_, result) = &mut *lock();
                if result.is_ok() {
                    *result = Err(error);
                }
                return;
            }
            match next() {
                Some(another) => item = another,
                None => return,
            }
        }
    });
    queue.into_inner().unwrap_or_else(PoisonError::into_inner).1
}

/// Cut `slice` into consecutive pieces of these lengths.
pub(crate) fn split_mut<T>(
    mut slice: &mut [T],
    lengths: impl Iterator<Item = usize>,
) -> Vec<&mut [T]> {
    lengths
        .map(|length| {
            slice
                .split_off_mut(..length)
                .expect("the lengths add up to the slice")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::{Error, ErrorKind};

    fn helped<'p>(pool: &'p ThreadPool, standby: &'p Arc<Standby>) -> Helped<'p> {
        Helped { pool, standby }
    }

    fn on_five(work: impl FnOnce() + Send) {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(5).build();
        pool.unwrap().install(work);
    }

    #[test]
    fn every_item_is_done_once() {
        on_five(|| {
            for team in [&Alone as &dyn Team, &CurrentPool] {
                let counts: Vec<AtomicUsize> = (0..1000).map(|_| AtomicUsize::new(0)).collect();
                let each = |_: &mut (), count: &AtomicUsize| {
                    count.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                };
                share(team, counts.iter(), || (), each).unwrap();
                assert!(
                    counts
                        .iter()
                        .all(|count| count.load(Ordering::Relaxed) == 1)
                );
            }
        });
    }

    #[test]
    fn a_pool_helps_a_thread_that_is_not_its_own() {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(5)
            .build()
            .unwrap();
        let standby = Arc::default();
        for _ in 0..200 {
            let counts: Vec<AtomicUsize> = (0..100).map(|_| AtomicUsize::new(0)).collect();
            let each = |_: &mut (), count: &AtomicUsize| {
                std::thread::yield_now();
                count.fetch_add(1, Ordering::Relaxed);
                Ok(())
            };
            share(&helped(&pool, &standby), counts.iter(), || (), each).unwrap();
            assert!(
                counts
                    .iter()
                    .all(|count| count.load(Ordering::Relaxed) == 1)
            );
        }
    }

    #[test]
    fn nobody_who_comes_late_is_waited_for() {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(2)
            .build()
            .unwrap();
        let standby = Arc::default();
        let (release, held) = std::sync::mpsc::channel::<()>();
        let held = Mutex::new(held);
        pool.spawn(move || held.lock().unwrap().recv().unwrap_or(()));
        pool.spawn(|| std::thread::sleep(std::time::Duration::from_millis(1)));
        let started = std::time::Instant::now();
        share(&helped(&pool, &standby), 0..10, || (), |(), _| Ok(())).unwrap();
        assert!(started.elapsed().as_secs() < 5);
        drop(release);
    }

    #[test]
    fn a_panic_reaches_the_caller() {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(3)
            .build()
            .unwrap();
        let standby = Arc::default();
        for bad in [0, 50, 99] {
            let each = |_: &mut (), i: usize| {
                assert!(i != bad, "as planned");
                std::thread::yield_now();
                Ok(())
            };
            let work = || share(&helped(&pool, &standby), 0..100, || (), each);
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            assert!(result.is_err());
        }
    }

    #[test]
    fn an_error_ends_the_work() {
        on_five(|| {
            let done = AtomicUsize::new(0);
            let each = |_: &mut (), i: usize| {
                if i == 7 {
                    return Err(Error::new(ErrorKind::Cancelled, "seven"));
                }
                done.fetch_add(1, Ordering::Relaxed);
                std::thread::yield_now();
                Ok(())
            };
            let error = share(&CurrentPool, 0..1_000_000, || (), each).unwrap_err();
            assert_eq!(error.message(), "seven");
            assert!(done.load(Ordering::Relaxed) < 1_000_000);
        });
    }
}
