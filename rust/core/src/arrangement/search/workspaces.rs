//! The interface of a runner of jobs in one arithmetic, and workspaces that are kept between runs.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use super::estimate::{Probe, Random};
use crate::arrangement::jobs::{Job, Walk};
use crate::{Control, Result};

/// Runs jobs in one arithmetic. It owns the workspace for that.
pub(super) trait Runner: Send {
    fn run(&mut self, job: Job, walk: &mut Walk<'_>);
    /// Set the stop flag that long steps check.
    fn set_control(&mut self, control: &Control);
    /// A random way of `depth` steps down the tree. Over cobases, it has no node and always goes to the leaves.
    /// `None` if numbers do not fit the arithmetic.
    fn probe(
        &mut self,
        random: &mut Random,
        depth: usize,
        control: &Control,
    ) -> Result<Option<Probe>>;
    /// The factor by which work in this arithmetic is multiplied.
    fn weight(&self) -> u64;
}

/// The workspace of a worker for each tier. `None` if it was not needed so far.
pub(super) type Runners = Vec<Option<Box<dyn Runner>>>;

/// Workspaces for the next worker. Clones of a search share them.
#[derive(Clone, Default)]
pub(super) struct Idle(Arc<Mutex<Vec<Runners>>>);

impl Idle {
    fn lock(&self) -> MutexGuard<'_, Vec<Runners>> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Free all workspaces.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// The workspaces of one worker.
    pub fn take(&self) -> Option<Runners> {
        self.lock().pop()
    }

    /// Keep the workspaces of a worker for the next one.
    pub fn leave(&self, runners: Runners) {
        if runners.iter().any(Option::is_some) {
            self.lock().push(runners);
        }
    }
}

impl fmt::Debug for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Idle({})", self.lock().len())
    }
}
