//! A set of rows by their keys, in a hash table with open addressing.
//!
//! A new set needs no clearing of the table: entries of earlier sets have smaller values, and count as
//! empty.

/// Memory for sets of rows, one after the other.
#[derive(Debug, Default)]
pub struct RowSet {
    /// For a row in the present set, `base` + 1 + its place. Values up to `base` count as empty.
    slots: Vec<u32>,
    base: u32,
    /// The most rows of the present set.
    count: u32,
}

/// The present set of a [`RowSet`].
pub struct Rows<'a> {
    slots: &'a mut [u32],
    base: u32,
    shift: u32,
}

impl RowSet {
    /// An empty set with room for `count` rows.
    #[inline]
    pub fn new_set(&mut self, count: usize) -> Rows<'_> {
        // The table is so large that rows seldom share a slot: a mispredicted branch costs more than memory.
        let bits = (32 * count).next_power_of_two().trailing_zeros().max(4);
        let base = self.base.checked_add(self.count);
        let base = base.filter(|base| base.checked_add(count as u32).is_some());
        self.base = base.unwrap_or_else(|| {
            self.slots.fill(0);
            0
        });
        self.count = count as u32;
        if self.slots.len() < 1 << bits {
            self.slots.resize(1 << bits, 0);
        }
        Rows {
            slots: &mut self.slots[..1 << bits],
            base: self.base,
            shift: 64 - bits,
        }
    }
}

impl Rows<'_> {
    /// Add row `at`, unless an equal row is in the set. Returns whether it was added. `same` says whether
    /// a row in the set equals row `at`.
    #[inline(always)]
    pub fn insert(&mut self, at: usize, key: u64, mut same: impl FnMut(usize) -> bool) -> bool {
        let mask = self.slots.len() - 1;
        let mut slot = (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> self.shift) as usize;
        loop {
            let place = &mut self.slots[slot & mask];
            if *place <= self.base {
                *place = self.base + at as u32 + 1;
                return true;
            }
            if same((*place - self.base) as usize - 1) {
                return false;
            }
            slot += 1;
        }
    }
}
