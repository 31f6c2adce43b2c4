//! All calls from Python into the core go through here: it chooses the threads, releases the GIL, and
//! stops the call within a tenth of a second of Ctrl-C.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hypercomp_core::team::SHARED_FROM;
use hypercomp_core::team::{Alone, CurrentPool, Helped, Standby, Team};
use hypercomp_core::{Control, Error, ErrorKind, Result, SimdLevel};
use pyo3::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::to_python;
use crate::openmp;

/// How often the waiting thread looks for signals: a tenth of the second that Ctrl-C may take.
const SIGNAL_INTERVAL: Duration = Duration::from_millis(50);

/// The thread pools made so far, by number of threads. There is one pool for each number; but of
/// one-thread pools there are as many as there were simultaneous calls, so that calls with `threads=1`
/// run side by side.
///
/// The process id is stored with them because a fork copies this list but not the threads: a child
/// process that used its parent's pool would wait for ever.
struct Pools {
    process: u32,
    by_threads: Vec<(usize, Arc<Pool>)>,
}

/// A thread pool, and its standby for short calls.
struct Pool {
    threads: ThreadPool,
    standby: Arc<Standby>,
}

static POOLS: Mutex<Pools> = Mutex::new(Pools {
    process: 0,
    by_threads: Vec::new(),
});

/// Number of threads of a call with `threads=None`: one for each core that the process may use.
pub fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn pool(threads: Option<usize>) -> Result<Arc<Pool>> {
    let threads = match threads {
        Some(0) => {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "threads=0: give a positive number, or None for one a core",
            ));
        }
        Some(n) => n,
        None => default_threads(),
    };
    let mut pools = POOLS
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let process = std::process::id();
    if pools.process != process {
        // Dropping a pool joins its threads, and after a fork there are none to join.
        std::mem::forget(std::mem::take(&mut pools.by_threads));
        pools.process = process;
    }
    // In a busy one-thread pool this call would wait for the other one to end.
    let free = |pool: &Arc<Pool>| threads > 1 || Arc::strong_count(pool) == 1;
    let mut made = pools.by_threads.iter();
    if let Some((_, pool)) = made.find(|(n, pool)| *n == threads && free(pool)) {
        return Ok(pool.clone());
    }
    let pool = ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|i| format!("hypercomp-{i}"))
        .build()
        .map_err(|e| {
            Error::new(
                ErrorKind::TooLarge,
                format!("threads={threads}: the system gave no such thread pool ({e})"),
            )
        })?;
    let pool = Arc::new(Pool {
        threads: pool,
        standby: Arc::default(),
    });
    pools.by_threads.push((threads, pool.clone()));
    Ok(pool)
}

/// The level of vector instructions; an error, before any work, if the machine lacks the requested one.
fn simd_in_use(py: Python<'_>) -> PyResult<SimdLevel> {
    SimdLevel::in_use().map_err(|e| to_python(py, e))
}

/// Run `work` on a pool of `threads` with the GIL released.
///
/// The calling thread only waits. If a signal handler raises (Ctrl-C), `work` is cancelled through its
/// [`Control`], and the caller gets the handler's exception.
pub fn enter<T: Send>(
    py: Python<'_>,
    threads: Option<usize>,
    work: impl FnOnce(&Control) -> Result<T> + Send,
) -> PyResult<T> {
    enter_under(py, threads, &Control::new(), work)
}

/// [`enter`] with a [`Control`] of the caller, by which other threads can observe and stop the call.
/// Python handles signals in its main thread only.
pub fn enter_under<T: Send>(
    py: Python<'_>,
    threads: Option<usize>,
    control: &Control,
    work: impl FnOnce(&Control) -> Result<T> + Send,
) -> PyResult<T> {
    simd_in_use(py)?;
    let pool = pool(threads).map_err(|e| to_python(py, e))?;
    let mut raised = None;
    let result = py.detach(|| {
        let (sender, receiver) = channel();
        let raised = &mut raised;
        pool.threads.in_place_scope(move |scope| {
            scope.spawn(move |_| {
                // The receiver waits for this message, so it still exists.
                let _ = sender.send(work(control));
            });
            loop {
                match receiver.recv_timeout(SIGNAL_INTERVAL) {
                    Ok(result) => return Some(result),
                    Err(RecvTimeoutError::Timeout) if raised.is_none() => {
                        if let Err(e) = Python::attach(|py| py.check_signals()) {
                            *raised = Some(e);
                            control.cancel();
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    // `work` panicked: the scope resumes the panic as soon as it closes.
                    Err(RecvTimeoutError::Disconnected) => return None,
                }
            }
        })
    });
    match (raised, result) {
        (Some(e), _) => Err(e),
        (None, Some(result)) => result.map_err(|e| to_python(py, e)),
        (None, None) => unreachable!("the scope resumed the panic of its task"),
    }
}

/// Calls with more weights or products than this check for signals while they run. Smaller calls end
/// within a fraction of a second on one core with vector instructions.
const INTERRUPTIBLE_ABOVE: usize = 1 << 30;

/// Run `work` on the calling thread and its helpers, with the GIL released.
///
/// `size` is the number of weights to decode or of products to add. Signals are checked only after the
/// call, so a long call goes through [`enter`] instead.
pub fn enter_together<T: Send>(
    py: Python<'_>,
    threads: Option<usize>,
    size: usize,
    work: impl FnOnce(&dyn Team, &Control) -> Result<T> + Send,
) -> PyResult<T> {
    let simd = simd_in_use(py)?;
    if size < SHARED_FROM {
        let result = py.detach(|| work(&Alone, &Control::new()));
        return result.map_err(|e| to_python(py, e));
    }
    if size > INTERRUPTIBLE_ABOVE || simd == SimdLevel::Portable {
        return enter(py, threads, |control| work(&CurrentPool, control));
    }
    if let Some(team) = threads.filter(|n| *n > 1).and_then(openmp::team) {
        return py
            .detach(|| work(&team, &Control::new()))
            .map_err(|e| to_python(py, e));
    }
    let pool = pool(threads).map_err(|e| to_python(py, e))?;
    let team = Helped {
        pool: &pool.threads,
        standby: &pool.standby,
    };
    py.detach(|| work(&team, &Control::new()))
        .map_err(|e| to_python(py, e))
}
