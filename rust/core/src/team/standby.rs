//! Threads that stay awake for a moment after they have helped, because the next call is likely to come
//! soon.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Door;

/// How long they stay awake. Between two layers of a model there are some tens of microseconds of other
/// work.
const AWAKE: Duration = Duration::from_micros(200);

/// Looks at the queue between two looks at the clock, at which others may have the core.
const LOOKS: usize = 64;

/// The threads of a pool that wait, awake, and what has been left for them.
///
/// A caller that leaves work first takes one from `free`, and a thread that gives up waiting takes itself
/// from it. So for each piece of work there is a thread that has not given up.
#[derive(Debug, Default)]
pub struct Standby {
    /// Waiting, and nothing left for them.
    free: AtomicUsize,
    /// Doors in the queue.
    waiting: AtomicUsize,
    queue: Mutex<VecDeque<Arc<Door>>>,
}

impl Standby {
    fn queue(&self) -> MutexGuard<'_, VecDeque<Arc<Door>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one of the `free` could be taken away.
    fn take(&self) -> bool {
        let less = |free: usize| free.checked_sub(1);
        let taken = self
            .free
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
        taken.is_ok()
    }

    /// Leave work to a thread that is awake; it is given back where there is none.
    pub(super) fn leave(&self, door: Arc<Door>) -> Result<(), Arc<Door>> {
        if !self.take() {
            return Err(door);
        }
        self.queue().push_back(door);
        self.waiting.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Help, and go on with what is left meanwhile and soon after.
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
