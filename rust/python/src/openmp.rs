//! Which OpenMP runtime's threads share short work out: what Python said.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use hypercomp_core::team::{OpenMp, Parallel};
use pyo3::prelude::*;

/// The address of its `GOMP_parallel`, 0 for none, and the process that was told.
static PARALLEL: AtomicUsize = AtomicUsize::new(0);
static PROCESS: AtomicU32 = AtomicU32::new(0);

/// Share short work out among the threads of an OpenMP runtime: `parallel` is the address of its
/// `GOMP_parallel` in this process, which must stay there; 0 for threads of our own again.
#[pyfunction]
pub fn use_openmp(parallel: usize) {
    PROCESS.store(std::process::id(), Ordering::Relaxed);
    PARALLEL.store(parallel, Ordering::Release);
}

/// So many of its threads. `None` where Python has named no runtime, or this is a fork of the process
/// that was told.
pub fn team(threads: usize) -> Option<OpenMp> {
    let address = PARALLEL.load(Ordering::Acquire);
    if address == 0 || PROCESS.load(Ordering::Relaxed) != std::process::id() {
        return None;
    }
    // SAFETY: `use_openmp` was given the address of just such a function, in this process.
    unsafe {
        let parallel = std::mem::transmute::<usize, Parallel>(address);
        Some(OpenMp::new(parallel, threads))
    }
}
