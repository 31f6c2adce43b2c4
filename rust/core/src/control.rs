//! Lets a caller observe and stop a long call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::{Error, ErrorKind, Result};

/// A stop flag and a count of work done, shared by a running call and its observers.
///
/// A search calls [`check`](Self::check) at least every few milliseconds and
/// [`advance`](Self::advance) as it finishes units of work; another thread may call
/// [`cancel`](Self::cancel) or read [`done`](Self::done) at any moment.
///
/// Clones share both.
#[derive(Clone, Debug, Default)]
pub struct Control(Arc<Shared>);

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

    /// Ask the search to stop; it returns [`ErrorKind::Cancelled`] soon after.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::Relaxed);
    }

    /// `Err(Cancelled)` once [`cancel`](Self::cancel) has been called.
    #[inline]
    pub fn check(&self) -> Result<()> {
        if self.0.cancelled.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Cancelled, "stopped by the caller"));
        }
        Ok(())
    }

    /// Count `units` more of work as done (weights searched, cobases visited).
    #[inline]
    pub fn advance(&self, units: u64) {
        self.0.done.fetch_add(units, Ordering::Relaxed);
    }

    /// Units of work done so far.
    pub fn done(&self) -> u64 {
        self.0.done.load(Ordering::Relaxed)
    }
}
