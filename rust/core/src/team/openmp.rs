//! A team of threads of an OpenMP runtime that the process already uses, such as torch's.
//!
//! These threads stay awake for milliseconds after each of torch's operators and do not yield. If they
//! occupy all cores, the threads of another pool run late or not at all (a Llama-type model of a
//! billion weights on two cores: 12 tokens a second with a pool beside them, 20 if they sleep). With
//! the runtime's own threads, a layer is one more parallel region of the same team.

use std::ffi::{c_uint, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use super::Team;

/// `void GOMP_parallel(void (*fn)(void *), void *data, unsigned num_threads, unsigned flags)`: calls
/// `fn` on the calling thread and the others of its team, and returns when every call has. GCC's
/// compilers have called it since 4.9; the runtimes of LLVM and Intel export it, too.
pub type Parallel = unsafe extern "C" fn(extern "C" fn(*mut c_void), *mut c_void, c_uint, c_uint);

/// A number of threads of a runtime, including the calling one.
#[derive(Clone, Copy, Debug)]
pub struct OpenMp {
    parallel: Parallel,
    threads: c_uint,
}

impl OpenMp {
    /// # Safety
    /// `parallel` does what [`Parallel`] says, in this process: after a fork the threads of the parent
    /// do not exist, and GCC's runtime would wait for them.
    pub unsafe fn new(parallel: Parallel, threads: usize) -> Self {
        Self {
            parallel,
            threads: c_uint::try_from(threads).unwrap_or(c_uint::MAX),
        }
    }
}

/// The function that every thread calls, and whether a call panicked.
struct Region<'w> {
    work: &'w (dyn Fn() + Sync),
    panicked: AtomicBool,
}

extern "C" fn call(region: *mut c_void) {
    // SAFETY: `run` gave this pointer, and waits for all calls.
    let region = unsafe { &*region.cast::<Region<'_>>() };
    // A panic must not go through the runtime's frames.
    if catch_unwind(AssertUnwindSafe(region.work)).is_err() {
        region.panicked.store(true, Ordering::Relaxed);
    }
}

impl Team for OpenMp {
    fn run(&self, work: &(dyn Fn() + Sync)) {
        let mut region = Region {
            work,
            panicked: AtomicBool::new(false),
        };
        let data: *mut Region<'_> = &raw mut region;
        // SAFETY: the function is what `new` was promised, and the region outlives all calls, which
        // only share it.
        unsafe { (self.parallel)(call, data.cast(), self.threads, 0) };
        assert!(
            !region.panicked.load(Ordering::Relaxed),
            "a thread of the team panicked"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::team::share;

    /// A stand-in for an OpenMP runtime, which creates its threads for each call.
    unsafe extern "C" fn parallel(
        work: extern "C" fn(*mut c_void),
        data: *mut c_void,
        threads: c_uint,
        _: c_uint,
    ) {
        let data = data.expose_provenance();
        std::thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(move || work(std::ptr::with_exposed_provenance_mut(data)));
            }
            work(std::ptr::with_exposed_provenance_mut(data));
        });
    }

    const TEAM: OpenMp = OpenMp {
        parallel,
        threads: 3,
    };

    #[test]
    fn every_item_is_done_once() {
        let counts: Vec<AtomicUsize> = (0..1000).map(|_| AtomicUsize::new(0)).collect();
        let each = |_: &mut (), count: &AtomicUsize| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        share(&TEAM, counts.iter(), || (), each).unwrap();
        let mut counts = counts.iter().map(|count| count.load(Ordering::Relaxed));
        assert!(counts.all(|count| count == 1));
    }

    #[test]
    fn a_panic_reaches_the_caller() {
        for bad in [0, 50, 99] {
            let each = |_: &mut (), i: usize| {
                assert!(i != bad, "as planned");
                std::thread::yield_now();
                Ok(())
            };
            let work = || share(&TEAM, 0..100, || (), each);
            assert!(catch_unwind(AssertUnwindSafe(work)).is_err());
        }
    }
}
