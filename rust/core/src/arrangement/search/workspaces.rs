//! What runs jobs in one arithmetic, and workspaces that wait between runs.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use super::estimate::Random;
use crate::arrangement::jobs::{Job, Walk};
use crate::{Control, Result};

/// Runs jobs in one arithmetic.
pub(super) trait Runner: Send {
    fn run(&mut self, job: Job, walk: &mut Walk<'_>);
    /// Let long steps look at this stop flag.
    fn attend(&mut self, control: &Control);
    /// One probe of the size of its tree.
    fn probe(&mut self, random: &mut Random, control: &Control) -> Result<f64>;
    /// How many units of work one unit counts as in this arithmetic.
    fn weight(&self) -> u64;
}

/// A worker's workspace for each tier, if it was needed so far.
pub(super) type Runners = Vec<Option<Box<dyn Runner>>>;

/// Workspaces that wait for the next worker. Clones of a search share them.
#[derive(Clone, Default)]
pub(super) struct Idle(Arc<Mutex<Vec<Runners>>>);

impl Idle {
    fn lock(&self) -> MutexGuard<'_, Vec<Runners>> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Give back their memory.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// Those of one worker.
    pub fn take(&self) -> Option<Runners> {
        self.lock().pop()
    }

    /// Keep a worker's for the next one.
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
