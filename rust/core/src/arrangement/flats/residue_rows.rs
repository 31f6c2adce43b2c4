//! The rows of the hyperplanes on a flat, modulo the prime of
//! [`Residue50`](crate::arrangement::arithmetic::Residue50), column by column in vector lanes.
//!
//! A row has r + 1 residues on a flat of dimension r. To find proportional rows, each row gets a key: the
//! ratio of two linear forms of its entries, with fixed coefficients without a pattern. Proportional rows have
//! equal keys.

use crate::SimdLevel;
use crate::arrangement::arithmetic::{
    Field, LANES, PRIME_50, Residue50, canonical, fused, invert_lanes,
};

/// Rows of residues. The last row is that of infinity.
#[derive(Clone, Debug, Default)]
pub struct ResidueRows {
    count: usize,
    /// [`count`](Self::count), rounded up for lanes.
    padded: usize,
    /// The columns, of `padded` residues each.
    residues: Vec<f64>,
}

/// Memory for restrictions, and their result.
#[derive(Debug)]
pub struct RowKeys {
    simd: SimdLevel,
    /// The coefficients of the two forms.
    forms: [Vec<f64>; 2],
    numerators: Vec<f64>,
    denominators: Vec<f64>,
    products: Vec<f64>,
    /// Whether the denominator of a row is 0.
    undefined: Vec<bool>,
    /// The multiples of the pivot's column that are added to the other columns.
    multiples: Vec<f64>,
}

/// What the residues of a row say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// The row is 0 modulo the prime.
    Zero,
    /// The denominator of the key is 0 by chance.
    Missing,
    /// Proportional rows have equal keys.
    Some(u64),
}

impl RowKeys {
    /// For rows of up to `width` residues.
    pub fn new(simd: SimdLevel, width: usize) -> Self {
        // The steps of SplitMix64.
        let mut state = 0u64;
        let mut next = |_| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
            Residue50::from_double(((z ^ z >> 31) % PRIME_50) as f64).symmetric() as f64
        };
        Self {
            simd,
            forms: std::array::from_fn(|_| (0..width).map(&mut next).collect()),
            numerators: Vec::new(),
            denominators: Vec::new(),
            products: Vec::new(),
            undefined: Vec::new(),
            multiples: Vec::new(),
        }
    }

    /// The key of a row of the last restriction.
    pub fn of(&self, rows: &ResidueRows, at: usize) -> Key {
        if !self.undefined[at] {
            Key::Some((self.numerators[at] + 0.0).to_bits())
        } else if (0..rows.width()).all(|c| rows.column(c)[at] == 0.0) {
            Key::Zero
        } else {
            Key::Missing
        }
    }
}

impl ResidueRows {
    /// These rows, each given by its residues.
    pub fn new(rows: &[Vec<Residue50>]) -> Self {
        let count = rows.len();
        let padded = count.next_multiple_of(LANES);
        let width = rows.first().map_or(0, Vec::len);
        let mut residues = vec![0.0; width * padded];
        for (at, row) in rows.iter().enumerate() {
            for (c, x) in row.iter().enumerate() {
                residues[c * padded + at] = x.symmetric() as f64;
            }
        }
        Self {
            count,
            padded,
            residues,
        }
    }

    /// The number of rows.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The number of columns.
    pub fn width(&self) -> usize {
        self.residues.len().checked_div(self.padded).unwrap_or(0)
    }

    /// A column, and some numbers that are of no row.
    pub fn column(&self, at: usize) -> &[f64] {
        &self.residues[at * self.padded..][..self.padded]
    }

    /// Make `child` these rows on the flat that row `chosen` cuts out, and compute their keys. The chosen
    /// row is not 0 modulo the prime, and becomes 0.
    pub fn restrict(&self, chosen: usize, child: &mut Self, keys: &mut RowKeys) {
        let width = self.width();
        let Some(pivot) = (0..width).find(|c| self.column(*c)[chosen] != 0.0) else {
            debug_assert!(false, "a row that is kept is not 0 modulo the prime");
            return;
        };
        let inverse = Residue50::from_double(self.column(pivot)[chosen])
            .inverse()
            .negated()
            .symmetric() as f64;
        keys.multiples.clear();
        keys.multiples
            .extend((0..width).map(|c| fused(0.0, self.column(c)[chosen], inverse)));
        (child.count, child.padded) = (self.count, self.padded);
        child.residues.resize((width - 1) * self.padded, 0.0);
        match keys.simd {
            SimdLevel::Portable => eliminate(self, pivot, child, keys),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the token proves that the machine has these instructions.
            SimdLevel::Avx2(_) => unsafe { eliminate_avx2(self, pivot, child, keys) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            SimdLevel::Avx512(_) | SimdLevel::Vbmi(_) => unsafe {
                eliminate_avx512(self, pivot, child, keys);
            },
        }
    }

    /// Keep only these rows.
    pub fn retain(&mut self, kept: &[bool]) {
        let count = kept.iter().filter(|kept| **kept).count();
        if count == self.count {
            return;
        }
        let padded = count.next_multiple_of(LANES);
        for c in 0..self.width() {
            let mut to = c * padded;
            for (at, _) in kept.iter().enumerate().filter(|(_, kept)| **kept) {
                self.residues[to] = self.residues[c * self.padded + at];
                to += 1;
            }
            // Columns further on are not yet moved, and none of their entries is as far in front.
            self.residues[to..(c + 1) * padded].fill(0.0);
        }
        self.residues.truncate(self.width() * padded);
        (self.count, self.padded) = (count, padded);
    }

    /// Whether the first `count` rows and the last have full rank modulo the prime.
    pub fn span(&self, count: usize) -> bool {
        let width = self.width();
        let mut echelon: Vec<(usize, Vec<f64>)> = Vec::with_capacity(width);
        for at in [self.count - 1].into_iter().chain(0..count) {
            let mut row: Vec<f64> = (0..width).map(|c| self.column(c)[at]).collect();
            for (pivot, other) in &echelon {
                let (ours, theirs) = (-row[*pivot], other[*pivot]);
                if ours != 0.0 {
                    for (x, by) in row.iter_mut().zip(other) {
                        *x = fused(fused(0.0, *x, theirs), ours, *by);
                    }
                }
            }
            if let Some(pivot) = row.iter().position(|x| *x != 0.0) {
                echelon.push((pivot, row));
                if echelon.len() == width {
                    return true;
                }
            }
        }
        false
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn eliminate_avx512(rows: &ResidueRows, pivot: usize, child: &mut ResidueRows, keys: &mut RowKeys) {
    eliminate(rows, pivot, child, keys);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn eliminate_avx2(rows: &ResidueRows, pivot: usize, child: &mut ResidueRows, keys: &mut RowKeys) {
    eliminate(rows, pivot, child, keys);
}

/// Add a multiple of the pivot's column to every other column, and compute the keys.
#[inline(always)]
fn eliminate(rows: &ResidueRows, pivot: usize, child: &mut ResidueRows, keys: &mut RowKeys) {
    let padded = rows.padded;
    for sums in [&mut keys.numerators, &mut keys.denominators] {
        sums.clear();
        sums.resize(padded, 0.0);
    }
    let factors = rows.column(pivot);
    let columns = (0..rows.width()).filter(|c| *c != pivot);
    let to = child.residues.chunks_exact_mut(padded);
    for (at, (c, to)) in columns.zip(to).enumerate() {
        let multiple = keys.multiples[c];
        let (alpha, beta) = (keys.forms[0][at], keys.forms[1][at]);
        let sums = keys.numerators.iter_mut().zip(&mut keys.denominators);
        for ((to, (from, factor)), (numerator, denominator)) in to
            .iter_mut()
            .zip(rows.column(c).iter().zip(factors))
            .zip(sums)
        {
            let x = fused(*from, *factor, multiple);
            *to = x;
            *numerator = fused(*numerator, x, alpha);
            *denominator = fused(*denominator, x, beta);
        }
    }
    keys.undefined.clear();
    keys.undefined
        .extend(keys.denominators.iter().map(|x| *x == 0.0));
    for (x, undefined) in keys.denominators.iter_mut().zip(&keys.undefined) {
        *x = if *undefined { 1.0 } else { *x };
    }
    invert_lanes(&mut keys.denominators, &mut keys.products);
    for (numerator, inverse) in keys.numerators.iter_mut().zip(&keys.denominators) {
        *numerator = canonical(fused(0.0, *numerator, *inverse));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use num_bigint::BigInt;
    use proptest::prelude::*;

    proptest! {
        /// On every level, compared with an elimination in single residues.
        #[test]
        fn rows_are_restricted(
            (rows, kept) in (2usize..6).prop_flat_map(|width| (
                proptest::collection::vec(proptest::collection::vec(-2i64..3, width), 2..40),
                proptest::collection::vec(any::<bool>(), 40),
            )),
        ) {
            let field = |x: &i64| Residue50::from_integer(&BigInt::from(*x));
            let width = rows[0].len();
            let plain: Vec<Vec<Residue50>> =
                rows.iter().map(|row| row.iter().map(field).collect()).collect();
            let Some(pivot) = plain[0].iter().position(|x| !x.is_zero()) else { return Ok(()) };
            let inverse = plain[0][pivot].inverse();
            let expected: Vec<Vec<Residue50>> = plain
                .iter()
                .map(|row| (0..width)
                    .filter(|c| *c != pivot)
                    .map(|c| row[c].minus_product(&row[pivot], &plain[0][c].times(&inverse)))
                    .collect())
                .collect();
            let proportional = |a: &[Residue50], b: &[Residue50]| {
                (0..a.len()).all(|i| (0..i).all(|j| a[i].times(&b[j]) == a[j].times(&b[i])))
            };
            for simd in SimdLevel::available() {
                let whole = ResidueRows::new(&plain);
                prop_assert_eq!((whole.count(), whole.width()), (rows.len(), width));
                let mut child = ResidueRows::default();
                let mut keys = RowKeys::new(simd, width);
                whole.restrict(0, &mut child, &mut keys);
                for (at, row) in expected.iter().enumerate() {
                    for (c, x) in row.iter().enumerate() {
                        prop_assert_eq!(Residue50::from_double(child.column(c)[at]), *x);
                    }
                    let key = keys.of(&child, at);
                    prop_assert_eq!(key == Key::Zero, row.iter().all(Field::is_zero));
                    for (other, theirs) in expected.iter().enumerate().take(at) {
                        if key != Key::Zero && keys.of(&child, other) != Key::Zero {
                            let same = keys.of(&child, other) == key;
                            prop_assert_eq!(same, proportional(row, theirs));
                        }
                    }
                }
                let kept: Vec<bool> = kept[..rows.len()].to_vec();
                let left: Vec<&Vec<Residue50>> =
                    expected.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(row, _)| row).collect();
                if left.is_empty() {
                    continue;
                }
                child.retain(&kept);
                prop_assert_eq!((child.count(), child.width()), (left.len(), width - 1));
                for (at, row) in left.iter().enumerate() {
                    for (c, x) in row.iter().enumerate() {
                        prop_assert_eq!(Residue50::from_double(child.column(c)[at]), *x);
                    }
                }
                // Of all rows, the last among them.
                let mut found: Vec<Vec<Residue50>> = Vec::new();
                for row in &left {
                    let mut row = row.to_vec();
                    for other in &found {
                        let pivot = other.iter().position(|x| !x.is_zero()).unwrap();
                        let by = row[pivot].times(&other[pivot].inverse());
                        row = row.iter().zip(other).map(|(x, y)| x.minus_product(&by, y)).collect();
                    }
                    if !row.iter().all(Field::is_zero) {
                        found.push(row);
                    }
                }
                prop_assert_eq!(child.span(left.len() - 1), found.len() == width - 1);
            }
        }
    }
}
