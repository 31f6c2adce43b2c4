//! Huge pages for large vectors.
//!
//! Vertices are written once and read in another order. With small pages that costs a page fault for
//! every hundred vertices and a walk of the page table for every one. Only vectors with room for all
//! that they will hold are advised, because moving huge pages costs more than they save.

/// Smaller vectors are left alone: it makes no difference to them.
const ADVISED_FROM_BYTES: usize = 4 << 20;

/// Let the system back a vector's memory, touched or not, with huge pages where it can.
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
        // SAFETY: the range lies within the vector's allocation, and the advice changes how memory is
        // mapped, never what is in it. Where it is refused nothing is lost.
        unsafe {
            libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_HUGEPAGE);
        }
    }
}
