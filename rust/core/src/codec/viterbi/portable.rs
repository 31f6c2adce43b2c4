//! The steps of the search in plain Rust: what the vector forms must equal, bit for bit.

use super::SearchTables;

/// See [`fill_distances`](super::fill_distances).
pub fn distances(tables: &SearchTables<'_>, x: i16, out: &mut [u16]) {
    out.fill(u16::MAX);
    for cell in tables.candidates(x) {
        let levels = &tables.levels[cell * out.len()..][..out.len()];
        for (least, level) in out.iter_mut().zip(levels) {
            let difference = x.saturating_sub(*level).unsigned_abs().min(tables.cap);
            let scaled = u32::from(difference) << tables.shift;
            *least = (*least).min(((scaled * scaled + (1 << 14)) >> 15) as u16);
        }
    }
    super::rebase(out);
}

/// See [`add_compare_select`](super::add_compare_select).
pub fn add_compare_select(
    spread: &[u8],
    distances: &[u16],
    metrics: &[u16],
    next: &mut [u16],
    decisions: &mut [u32],
) {
    let states = metrics.len();
    let branch = |register: usize| {
        let position = usize::from(spread[register >> 4]) + (register & 15);
        metrics[register >> 1].saturating_add(distances[position])
    };
    for (word, decision) in decisions.iter_mut().enumerate() {
        *decision = 0;
        for bit in 0..32 {
            let state = word * 32 + bit;
            let (low, high) = (branch(state), branch(state + states));
            next[state] = low.min(high);
            *decision |= u32::from(low <= high) << bit;
        }
    }
}
