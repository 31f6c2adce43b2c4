//! Lets a caller observe and stop a long call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use crate::{Error, ErrorKind, Result};

/// A stop flag and a count of work done, shared by a running call and its observers.
///
/// A search calls [`check`](Self::check) at least every few milliseconds and
/// [`advance`](Self::advance) as it finishes units of work; another thread may call
/// [`cancel`](Self::cancel) or read [`done`](Self::done) at any moment.
///
/// Clones share both.
#[derive(Clone, Debug, Default)]
pub struct Control {
    shared: Arc<Shared>,
    /// When this control, but not those that it shares its flag with, counts as cancelled.
    deadline: Option<Instant>,
}

#[derive(Debug, Default)]
struct Shared {
    cancelled: AtomicBool,
    done: AtomicU64,
}

impl Control {
    /// A control that is not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// A control of the same flag and count that counts as cancelled from `deadline` on as well: for the
    /// part of a call that has to end in time.
    #[must_use]
    pub fn until(&self, deadline: Option<Instant>) -> Self {
        Self {
            shared: self.shared.clone(),
            deadline: match (self.deadline, deadline) {
                (Some(mine), Some(other)) => Some(mine.min(other)),
                (mine, other) => mine.or(other),
            },
        }
    }

    /// Ask the search to stop; it returns [`ErrorKind::Cancelled`] soon after.
    pub fn cancel(&self) {
        self.shared.cancelled.store(true, Ordering::Relaxed);
    }

    /// `Err(Cancelled)` once [`cancel`](Self::cancel) has been called, or the deadline is over.
    #[inline]
    pub fn check(&self) -> Result<()> {
        #[cfg(test)]
        gauge::checked();
        let over = |deadline| Instant::now() >= deadline;
        if self.shared.cancelled.load(Ordering::Relaxed) || self.deadline.is_some_and(over) {
            return Err(Error::new(ErrorKind::Cancelled, "stopped by the caller"));
        }
        Ok(())
    }

    /// Count `units` more of work as done (weights searched, cobases visited).
    #[inline]
    pub fn advance(&self, units: u64) {
        self.shared.done.fetch_add(units, Ordering::Relaxed);
    }

    /// Units of work done so far.
    pub fn done(&self) -> u64 {
        self.shared.done.load(Ordering::Relaxed)
    }
}

/// What a thread computes between two checks, for tests.
#[cfg(test)]
pub(crate) mod gauge {
    use std::cell::Cell;
    use std::time::Duration;

    thread_local! {
        static LAST: Cell<Option<Duration>> = const { Cell::new(None) };
        static LONGEST: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    /// The longest time that a call on this thread computes between two checks, before its first one or after
    /// its last one. Waiting for a processor does not count.
    pub fn longest<T>(call: impl FnOnce() -> T) -> (Duration, T) {
        LONGEST.set(Duration::ZERO);
        LAST.set(Some(processor_time()));
        let result = call();
        checked();
        LAST.set(None);
        (LONGEST.get(), result)
    }

    pub(super) fn checked() {
        if let Some(last) = LAST.get() {
            let now = processor_time();
            LONGEST.set(LONGEST.get().max(now - last));
            LAST.set(Some(now));
        }
    }

    #[cfg(target_os = "linux")]
    fn processor_time() -> Duration {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the call writes to `time` alone.
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }

    #[cfg(not(target_os = "linux"))]
    fn processor_time() -> Duration {
        use std::sync::OnceLock;
        use std::time::Instant;
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed()
    }
}
