//! The rows of a flat by their keys, in a hash table with open addressing.
//!
//! Clearing the table costs nothing: what earlier sets have left is told by its number.

/// The first row of each place. One allocation serves one set after the other.
#[derive(Debug, Default)]
pub struct RowSet {
    /// 0, or `base` + 1 + the place of a row. Values up to `base` are left from earlier sets.
    slots: Vec<u32>,
    base: u32,
    /// Rows that may have been put in since.
    count: u32,
}

/// A [`RowSet`] while rows are put in.
pub struct Rows<'a> {
    slots: &'a mut [u32],
    base: u32,
    shift: u32,
}

impl RowSet {
    /// Nothing seen, and room for `count` rows.
    #[inline]
    pub fn clear(&mut self, count: usize) -> Rows<'_> {
        // So sparse that few rows meet in a slot: a branch that goes wrong costs more than memory.
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
    /// Whether row `at` is the first of its point; it is remembered if it is. `same` says of a row
    /// seen before whether it is that point.
    #[inline(always)]
    pub fn first(&mut self, at: usize, key: u64, same: impl Fn(usize) -> bool) -> bool {
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
