//! What a run of a search may spend: vertices, time and work.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::Control;

/// Units of work between two looks at the clock and the stop flag. A unit takes about a nanosecond.
const LOOK: u64 = 1 << 18;

/// What one run of a search may spend, shared by its threads.
///
/// The time counts from the first step of the search, and that step is always made. So a run makes
/// progress however long it takes to get ready, and however short its time is. A moment at which a run
/// has to end, in the middle of a step too, is a [`Control::until`].
#[derive(Debug)]
pub struct Limits {
    /// Vertices that may still be found.
    room: AtomicU64,
    /// Time from the first step.
    time: Option<Duration>,
    /// When the first step was made.
    begun: OnceLock<Instant>,
    /// Whether there was no memory for what was found.
    out_of_memory: AtomicBool,
}

impl Limits {
    /// At most `vertices` vertices, and `time` from the first step on.
    pub fn new(vertices: Option<u64>, time: Option<Duration>) -> Self {
        Self {
            room: vertices.unwrap_or(u64::MAX).into(),
            time,
            begun: OnceLock::new(),
            out_of_memory: false.into(),
        }
    }

    /// No limit.
    pub fn none() -> Self {
        Self::new(None, None)
    }

    /// Whether the clock, the number of vertices or the memory says to stop.
    pub fn reached(&self) -> bool {
        self.room.load(Ordering::Relaxed) == 0
            || self.out_of_memory()
            || self.begun.get().is_some_and(|begun| {
                let over = |time| begun.elapsed() >= time;
                self.time.is_some_and(over)
            })
    }

    /// Whether there was no memory for what was found.
    pub fn out_of_memory(&self) -> bool {
        self.out_of_memory.load(Ordering::Relaxed)
    }

    /// Say that there is no memory; all threads stop.
    pub fn exhaust_memory(&self) {
        self.out_of_memory.store(true, Ordering::Relaxed);
    }

    /// Start the clock, if this is the first step; whether it is.
    fn begin(&self) -> bool {
        let mut first = false;
        self.begun.get_or_init(|| {
            first = true;
            Instant::now()
        });
        first
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
        let reached = !self.limits.begin() && self.limits.reached();
        self.stopped = self.control.check().is_err() || reached;
    }

    /// Say that there is no memory for what was found, and stop.
    pub fn exhaust_memory(&mut self) {
        self.limits.exhaust_memory();
        self.stopped = true;
    }

    /// How many of `wanted` vertices may be reported; fewer than all stop the run.
    #[inline]
    pub(super) fn reserve(&mut self, wanted: usize) -> usize {
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
