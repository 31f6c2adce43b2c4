//! Threads that stay awake for a moment after they have helped, because the next call is likely to come
//! soon.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Door;

/// How long threads stay awake. Between two layers of a model there are some tens of microseconds of
/// other work.
const AWAKE: Duration = Duration::from_micros(200);

/// Checks of the queue between two checks of the clock; at a check of the clock the thread yields its
/// core.
const LOOKS: usize = 64;

/// The waiting threads of a pool that are awake, and the work left for them.
///
/// A caller that leaves work first decrements `free`, and so does a thread that stops waiting. So for
/// each piece of work there is a thread that is still waiting.
#[derive(Debug, Default)]
pub struct Standby {
    /// Number of waiting threads for which no work has been left.
    free: AtomicUsize,
    /// Doors in the queue.
    waiting: AtomicUsize,
    queue: Mutex<VecDeque<Arc<Door>>>,
}

impl Standby {
    fn queue(&self) -> MutexGuard<'_, VecDeque<Arc<Door>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decrement `free`; false if it is 0.
    fn take(&self) -> bool {
        let less = |free: usize| free.checked_sub(1);
        let taken = self
            .free
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
        taken.is_ok()
    }

    /// Leave work to a thread that is awake. If there is none, the work is returned.
    pub(super) fn leave(&self, door: Arc<Door>) -> Result<(), Arc<Door>> {
        if !self.take() {
            return Err(door);
        }
        self.queue().push_back(door);
        self.waiting.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Help, then do the work that is left meanwhile and shortly afterwards.
    pub(super) fn help(&self, door: Arc<Door>) {
        door.help();
        drop(door);
        while let Some(door) = self.wait() {
            door.help();
        }
    }

    fn wait(&self) -> Option<Arc<Door>> {
        self.free.fetch_add(1, Ordering::AcqRel);
        let start = Instant::now();
        loop {
            for _ in 0..LOOKS {
                if self.waiting.load(Ordering::Acquire) > 0
                    && let Some(door) = self.queue().pop_front()
                {
                    self.waiting.fetch_sub(1, Ordering::AcqRel);
                    return Some(door);
                }
                std::hint::spin_loop();
            }
            if start.elapsed() > AWAKE && self.take() {
                return None;
            }
            std::thread::yield_now();
        }
    }
}
