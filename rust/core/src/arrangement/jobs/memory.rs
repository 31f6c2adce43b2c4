//! Memory for coordinates, with a reserve for all other allocations.
//!
//! Vectors of coordinates grow by allocations that may fail, and then the search stops. All other
//! allocations are small, but if one of them fails, the process aborts. So coordinates never take the last
//! memory: a vector only keeps its growth if [`CUSHION`] more bytes could be allocated after it.

/// The number of bytes that stay free.
const CUSHION: usize = 16 << 20;

/// If a vector cannot grow to twice its size, it grows by at least this many words. A smaller growth would
/// soon have to be repeated.
const LEAST: usize = 1 << 17;

/// Make room for this many more words. False if there is no memory for them.
pub fn make_room(numbers: &mut Vec<u64>, more: usize) -> bool {
    let before = numbers.capacity();
    let grown = |numbers: &mut Vec<u64>| {
        if has_cushion() {
            return true;
        }
        numbers.shrink_to(before);
        false
    };
    if numbers.try_reserve(more).is_ok() && grown(numbers) {
        return true;
    }
    numbers.try_reserve_exact(more.max(LEAST)).is_ok() && grown(numbers)
}

/// Whether [`CUSHION`] bytes can be allocated. They are freed at once.
fn has_cushion() -> bool {
    let mut cushion: Vec<u8> = Vec::new();
    let there = cushion.try_reserve_exact(CUSHION).is_ok();
    // Without this line the compiler could remove the allocation.
    std::hint::black_box(cushion.as_mut_ptr());
    there
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_made_and_nothing_is_lost() {
        let mut numbers = vec![1, 2, 3];
        assert!(make_room(&mut numbers, 1000));
        assert!(numbers.capacity() >= 1003);
        assert!(!make_room(&mut numbers, usize::MAX / 16));
        assert_eq!(numbers, [1, 2, 3]);
    }
}
