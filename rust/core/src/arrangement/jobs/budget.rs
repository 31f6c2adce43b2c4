//! What a run of a search may spend: vertices, time and work.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::Control;

/// Units of work between two looks at the clock and the stop flag. A unit takes about a nanosecond.
const LOOK: u64 = 1 << 18;

/// What one run of a search may spend, shared by its threads.
#[derive(Debug)]
pub struct Limits {
    /// Vertices that may still be found.
    room: AtomicU64,
    /// When to stop.
    deadline: Option<Instant>,
}

impl Limits {
    /// At most `vertices` vertices, until `deadline`.
    pub fn new(vertices: Option<u64>, deadline: Option<Instant>) -> Self {
        Self {
            room: vertices.unwrap_or(u64::MAX).into(),
            deadline,
        }
    }

    /// No limit.
    pub fn none() -> Self {
        Self::new(None, None)
    }

    /// Whether the clock or the number of vertices says to stop.
    pub fn reached(&self) -> bool {
        self.room.load(Ordering::Relaxed) == 0 || self.deadline.is_some_and(|d| Instant::now() >= d)
    }

    /// Vertices that may still be found.
    pub fn room(&self) -> u64 {
        self.room.load(Ordering::Relaxed)
    }

    /// Room for up to `wanted` vertices, taken.
    fn reserve(&self, wanted: u64) -> u64 {
        let mut room = self.room.load(Ordering::Relaxed);
        loop {
            let granted = room.min(wanted);
            let left = if room == u64::MAX {
                room
            } else {
                room - granted
            };
            match self
                .room
                .compare_exchange_weak(room, left, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return granted,
                Err(now) => room = now,
            }
        }
    }
}

/// The account of one job's run.
#[derive(Debug)]
pub struct Meter<'a> {
    control: &'a Control,
    limits: &'a Limits,
    work: u64,
    until_look: u64,
    /// How many units one unit counts as, in the arithmetic that runs.
    pub weight: u64,
    stopped: bool,
}

impl<'a> Meter<'a> {
    /// A budget of `work` units.
    pub fn new(control: &'a Control, limits: &'a Limits, work: u64) -> Self {
        Self {
            control,
            limits,
            work,
            until_look: 0,
            weight: 1,
            stopped: false,
        }
    }

    /// Spend `units`. False if they may not be spent, and from then on always. A budget above 0 allows
    /// at least one step, so that every run makes progress.
    #[inline]
    pub fn spend(&mut self, units: u64) -> bool {
        if self.stopped || self.work == 0 {
            self.stopped = true;
            return false;
        }
        let units = units * self.weight;
        self.work = self.work.saturating_sub(units);
        match self.until_look.checked_sub(units) {
            Some(left) => self.until_look = left,
            None => self.look(),
        }
        !self.stopped
    }

    #[cold]
    fn look(&mut self) {
        self.until_look = LOOK;
        self.stopped = self.control.check().is_err() || self.limits.reached();
    }

    /// How many of `wanted` vertices may be reported; fewer than all stop the run.
    #[inline]
    pub fn reserve(&mut self, wanted: usize) -> usize {
        let granted = self.limits.reserve(wanted as u64) as usize;
        self.stopped |= granted < wanted;
        self.control.advance(granted as u64);
        granted
    }

    /// Whether the run has to stop.
    pub fn stopped(&self) -> bool {
        self.stopped
    }
}
