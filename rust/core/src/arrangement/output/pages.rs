//! Huge pages for large vectors.
//!
//! Vertices are written once and then read in another order. With small pages that takes a page fault for
//! every hundred vertices, and a walk of the page table for every vertex. Use this only for vectors that will
//! not grow: moving huge pages takes longer than they save.

/// For smaller vectors huge pages make no difference.
const ADVISED_FROM_BYTES: usize = 4 << 20;

/// Ask the operating system to use huge pages for the memory of a vector, its spare capacity included.
pub fn advise<T>(vector: &Vec<T>) {
    let bytes = vector.capacity() * size_of::<T>();
    if bytes < ADVISED_FROM_BYTES {
        return;
    }
    #[cfg(target_os = "linux")]
    {
        const PAGE: usize = 4096;
        let start = (vector.as_ptr() as usize).next_multiple_of(PAGE);
        let end = (vector.as_ptr() as usize + bytes) / PAGE * PAGE;
        // SAFETY: the range lies within the allocation of the vector. The advice changes how memory is
        // mapped and never its contents. If the system refuses, nothing changes.
        unsafe {
            libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_HUGEPAGE);
        }
    }
}
