//! The limits of a run of a search: vertices, time and work.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::Control;

/// The clock and the stop flag are checked after this many units of work. A unit takes about a nanosecond.
const CHECK_INTERVAL: u64 = 1 << 18;

/// Units of work for which a thread runs a job before it looks for other threads. This is about a millisecond;
/// beginning a job should take much less.
pub const BUDGET: u64 = 1 << 20;

/// The limits of one run of a search, which its threads share.
///
/// The time counts from the first step of the search, and the first step is always made. So a run makes
/// progress even if its preparation takes long or its time is short. If a run has to end at a certain
/// moment, even within a step, use [`Control::until`].
#[derive(Debug)]
pub struct Limits {
    /// The number of vertices that may still be reported.
    room: AtomicU64,
    /// The time that the run may take from the first step on.
    time: Option<Duration>,
    /// The time of the first step.
    begun: OnceLock<Instant>,
    /// Whether memory for coordinates could not be allocated.
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

    /// Whether the time, the number of vertices or the memory is used up.
    pub fn reached(&self) -> bool {
        self.room.load(Ordering::Relaxed) == 0
            || self.out_of_memory()
            || self.begun.get().is_some_and(|begun| {
                let over = |time| begun.elapsed() >= time;
                self.time.is_some_and(over)
            })
    }

    /// Whether memory for coordinates could not be allocated.
    pub fn out_of_memory(&self) -> bool {
        self.out_of_memory.load(Ordering::Relaxed)
    }

    /// Record that memory could not be allocated. Then all threads stop.
    pub fn exhaust_memory(&self) {
        self.out_of_memory.store(true, Ordering::Relaxed);
    }

    /// Start the clock if this is the first step, and return whether it is.
    fn begin(&self) -> bool {
        let mut first = false;
        self.begun.get_or_init(|| {
            first = true;
            Instant::now()
        });
        first
    }

    /// The number of vertices that may still be reported.
    pub fn room(&self) -> u64 {
        self.room.load(Ordering::Relaxed)
    }

    /// Give back the room of vertices that were reported and are not wanted.
    pub fn give_back(&self, vertices: u64) {
        if self.room() != u64::MAX {
            self.room.fetch_add(vertices, Ordering::Relaxed);
        }
    }

    /// Reserve room for up to `wanted` vertices, and return for how many there was room.
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

/// The budget of one job, and what it has spent.
#[derive(Debug)]
pub struct Meter<'a> {
    control: &'a Control,
    limits: &'a Limits,
    work: u64,
    until_check: u64,
    /// A factor on all units: the cost of the present arithmetic.
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
            until_check: 0,
            weight: 1,
            stopped: false,
        }
    }

    /// Spend `units` before a step. False if the run has to stop; then all later calls return false. A budget
    /// above 0 allows at least one step, so that every run makes progress.
    #[inline]
    pub fn spend(&mut self, units: u64) -> bool {
        if self.stopped || self.work == 0 {
            self.stopped = true;
            return false;
        }
        let units = units * self.weight;
        self.work = self.work.saturating_sub(units);
        match self.until_check.checked_sub(units) {
            Some(left) => self.until_check = left,
            None => self.check(),
        }
        !self.stopped
    }

    #[cold]
    fn check(&mut self) {
        self.until_check = CHECK_INTERVAL;
        let reached = !self.limits.begin() && self.limits.reached();
        self.stopped = self.control.check().is_err() || reached;
    }

    /// Record that memory for coordinates could not be allocated, and stop.
    pub fn exhaust_memory(&mut self) {
        self.limits.exhaust_memory();
        self.stopped = true;
    }

    /// Reserve room for `wanted` vertices, and return how many may be reported. If these are fewer, the run
    /// stops.
    #[inline]
    pub(super) fn reserve(&mut self, wanted: usize) -> usize {
        let granted = self.limits.reserve(wanted as u64) as usize;
        self.stopped |= granted < wanted;
        self.control.advance(granted as u64);
        granted
    }

    /// The stop flag.
    pub fn control(&self) -> &'a Control {
        self.control
    }

    /// Whether the run has to stop.
    pub fn stopped(&self) -> bool {
        self.stopped
    }
}
