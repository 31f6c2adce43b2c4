//! Huge pages for large vectors: vertices are written once and read in another order, where small
//! pages cost a fault for every hundred vertices and a walk of the page table for every one. (For
//! vectors that have room for all they will hold: moving huge pages costs more than they save.)

/// Below this many bytes it does not matter.
const LARGE: usize = 4 << 20;

/// Let the system back a vector's memory, touched or not, with huge pages where it can.
pub fn advise<T>(vector: &Vec<T>) {
    let bytes = vector.capacity() * size_of::<T>();
    if bytes < LARGE {
        return;
    }
    #[cfg(target_os = "linux")]
    {
        const PAGE: usize = 4096;
        let start = (vector.as_ptr() as usize).next_multiple_of(PAGE);
        let end = (vector.as_ptr() as usize + bytes) / PAGE * PAGE;
        // SAFETY: the range lies within the vector's allocation, and the advice changes how memory is
        // mapped, never what is in it. Where it is refused nothing is lost.
        unsafe {
            libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_HUGEPAGE);
        }
    }
}
