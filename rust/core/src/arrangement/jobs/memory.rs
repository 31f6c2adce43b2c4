//! Room for coordinates that leaves memory for everything else.
//!
//! Vectors of coordinates ask before they grow, and a search stops where there is no memory. All else
//! allocates a few bytes at a time, and a failure there would abort the process. So coordinates never
//! take the last of the memory: a growth counts only if [`CUSHION`] bytes could still be had after it.

/// Bytes that stay free, as far as an allocation can tell.
const CUSHION: usize = 16 << 20;

/// The least growth, in words, where there is no memory for twice as much: a small one would only be
/// asked for again.
const LEAST: usize = 1 << 17;

/// Whether there is room for so many more words in the end.
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

/// Whether so many bytes could be had; they are given back at once.
fn has_cushion() -> bool {
    let mut cushion: Vec<u8> = Vec::new();
    let there = cushion.try_reserve_exact(CUSHION).is_ok();
    // Without this a compiler may leave out the allocation.
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
