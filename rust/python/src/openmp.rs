//! The OpenMP runtime, set from Python, whose threads run short work.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use hypercomp_core::team::{OpenMp, Parallel};
use pyo3::prelude::*;

/// The address of its `GOMP_parallel` (0 for none), and the process that set it.
static PARALLEL: AtomicUsize = AtomicUsize::new(0);
static PROCESS: AtomicU32 = AtomicU32::new(0);

/// Run short work on the threads of an OpenMP runtime. `parallel` is the address of its `GOMP_parallel`
/// in this process, which must stay valid. 0 selects this package's own threads again.
#[pyfunction]
pub fn use_openmp(parallel: usize) {
    PROCESS.store(std::process::id(), Ordering::Relaxed);
    PARALLEL.store(parallel, Ordering::Release);
}

/// A team of this many of its threads. `None` if Python has set no runtime, or in a fork of the process
/// that set it.
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
